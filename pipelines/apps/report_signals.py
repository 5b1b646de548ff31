"""Histograms of the signals, exact and the same on every run: counts in fine bins, in a few passes over the views."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from curation.joined import CLIPS_ALL
from pipelines.apps.verdicts import RuleInForce
from schemas.tables import SIGNAL_COLUMNS, TABLES, Column

FINE = 1024
"""Bins that are counted; those that are shown are sums of neighbours."""

SHOWN = 44
TAIL = 0.005
"""Share of the clips at either end that may fall outside what is shown."""

ZOOMS = 4
"""Passes at most: a long tail is cut off step by step until the bulk fills enough fine bins."""

OUTCOMES = ("kept", "dropped", "open")

Counts = dict[int, tuple[int, int, int]]
"""Fine bin → clips kept, dropped, open."""


@dataclass(frozen=True)
class Bin:
    """Clips with a value from ``low`` (inclusive) to ``high``; the first and last bin also hold what lies beyond."""

    low: float
    high: float
    kept: int
    dropped: int
    open: int


@dataclass(frozen=True)
class Threshold:
    """A rule's comparison of this signal with a number."""

    rule: str
    op: str
    value: float


@dataclass(frozen=True)
class Histogram:
    """One signal over all clips."""

    name: str
    unit: str
    meaning: str
    bins: list[Bin]
    thresholds: list[Threshold]
    clips: int
    unknown: int
    """Clips where it is NULL."""
    low: float
    high: float
    """Smallest and largest value of all."""
    median: float
    """To within a fine bin."""


def column_facts() -> dict[str, Column]:
    """Numeric columns of `clips_all` → their documentation. Hashes are not numbers."""
    found = {}
    for table, column, name in CLIPS_ALL:
        facts = next(c for c in TABLES[table].columns if c.name == column)
        if pa.types.is_floating(facts.type) or (pa.types.is_integer(facts.type) and facts.type != pa.uint64()):
            found[name] = facts
    return found


def chosen_columns(rules: Sequence[RuleInForce]) -> list[str]:
    """What is worth a histogram: the signals, duration, caption length, and whatever a rule compares with a number."""
    numeric = column_facts()
    bars = {f"bar_{side}" for side in ("top", "bottom", "left", "right")}
    names = [c.name for c in SIGNAL_COLUMNS if c.name in numeric and c.name not in bars]
    names += ["duration_s", "caption_words", "caption_repetition"]
    names += [c for rule in rules for c, _, _ in rule.thresholds if c in numeric]
    return list(dict.fromkeys(names))


def histograms(db: duckdb.DuckDBPyConnection, rules: Sequence[RuleInForce]) -> list[Histogram]:
    """One for every chosen column that has values. ``db`` has the view `told`."""
    names = chosen_columns(rules)
    facts = column_facts()
    asked = ", ".join(f"count({n}), min({n}), max({n})" for n in names)
    row = db.execute(f"SELECT count(*), {asked} FROM told").fetchall()[0]
    extent = {n: row[1 + 3 * i : 4 + 3 * i] for i, n in enumerate(names) if row[1 + 3 * i]}
    thresholds = {n: [Threshold(r.name, op, v) for r in rules for c, op, v in r.thresholds if c == n] for n in extent}
    window = {n: (float(low), float(high)) for n, (_, low, high) in extent.items()}
    counts: dict[str, Counts] = {}
    pending = set(extent)
    for zoom in range(ZOOMS):
        counts.update(_count(db, {n: window[n] for n in names if n in pending}, facts))
        narrower = {n: _bulk(window[n], counts[n], thresholds[n]) for n in pending}
        pending = {n for n, w in narrower.items() if zoom < ZOOMS - 1 and w[1] - w[0] < (window[n][1] - window[n][0]) / 8}
        if not pending:
            break
        window.update({n: narrower[n] for n in pending})
    found = []
    for name, (known, low, high) in extent.items():
        shown = _bulk(window[name], counts[name], thresholds[name])
        bins = _bins(window[name], counts[name], shown, _is_integer(facts[name]))
        middle = _quantile(window[name], counts[name], 0.5)
        found.append(
            Histogram(name, facts[name].unit, facts[name].meaning, bins, thresholds[name], known, row[0] - known, float(low), float(high), middle)
        )
    return found


def _is_integer(column: Column) -> bool:
    return bool(pa.types.is_integer(column.type))


def _steps(window: tuple[float, float], integer: bool) -> int:
    """Fine bins in a window; whole numbers get bins of whole numbers, one each where there are few."""
    low, high = window
    if not integer:
        return FINE if high > low else 1
    return min(FINE, int(high - low) + 1)


def _count(db: duckdb.DuckDBPyConnection, windows: Mapping[str, tuple[float, float]], facts: Mapping[str, Column]) -> dict[str, Counts]:
    """Clips by column, fine bin and outcome, all columns in one pass. Values outside a window count in its end bins."""
    found: dict[str, Counts] = {n: {} for n in windows}
    if not windows:
        return found
    entries = []
    for i, (name, (low, high)) in enumerate(windows.items()):
        integer = _is_integer(facts[name])
        steps = _steps((low, high), integer)
        span = (high - low + 1) if integer else (high - low) or 1.0
        place = f"least({steps - 1}, greatest(0, floor(({name}::DOUBLE - {low!r}::DOUBLE) / {span!r}::DOUBLE * {steps})))::INTEGER"
        entries.append(f"{{'s': {i}, 'b': {place}}}")
    sql = (
        f"SELECT e.s, e.b, count(*) FILTER (outcome = 'kept'), count(*) FILTER (outcome = 'dropped'), count(*) FILTER (outcome = 'open') "
        f"FROM (SELECT outcome, unnest([{', '.join(entries)}]) AS e FROM told) WHERE e.b IS NOT NULL GROUP BY 1, 2"
    )
    names = list(windows)
    for number, place, *by_outcome in db.execute(sql).fetchall():
        found[names[number]][place] = (by_outcome[0], by_outcome[1], by_outcome[2])
    return found


def _edge(window: tuple[float, float], place: float) -> float:
    return window[0] + (window[1] - window[0]) * place / FINE


def _quantile(window: tuple[float, float], counts: Counts, q: float) -> float:
    """The middle of the fine bin in which the quantile lies."""
    total = sum(map(sum, counts.values()))
    seen = 0
    last = max(counts)
    steps = FINE if last > 0 else 1
    for place in sorted(counts):
        seen += sum(counts[place])
        if seen >= q * total:
            return window[0] + (window[1] - window[0]) * min(1.0, (place + 0.5) / steps)
    return window[1]


def _bulk(window: tuple[float, float], counts: Counts, thresholds: Sequence[Threshold]) -> tuple[float, float]:
    """The span that holds nearly all clips, stretched to thresholds that lie near it."""
    total = sum(map(sum, counts.values()))
    seen, first, last = 0, 0, FINE
    for place in sorted(counts):
        if seen <= TAIL * total:
            first = place
        seen += sum(counts[place])
        if seen >= (1 - TAIL) * total:
            last = place + 1
            break
    low, high = _edge(window, first), min(window[1], _edge(window, last))
    room = 0.6 * (high - low)
    for threshold in thresholds:
        if low - room <= threshold.value < low:
            low = threshold.value - 0.04 * (high - low)
        elif high < threshold.value <= high + room:
            high = threshold.value + 0.04 * (high - low)
    return low, high


def _bins(window: tuple[float, float], counts: Counts, shown: tuple[float, float], integer: bool) -> list[Bin]:
    """The shown span in bins of equal width, each the sum of the fine bins whose middle lies in it."""
    low, high = shown
    if integer:
        low, high = math.floor(low), math.ceil(high) + (1 if math.ceil(high) == high else 0)
        wide = max(1, math.ceil((high - low) / SHOWN))
        number = max(1, math.ceil((high - low) / wide))
        high = low + number * wide
    else:
        number = SHOWN if high > low else 1
    width = (high - low) / number or 1.0
    sums = [[0, 0, 0] for _ in range(number)]
    steps = _steps(window, integer)
    reach = (window[1] - window[0] + 1) if integer else (window[1] - window[0])
    for place, by_outcome in counts.items():
        middle = window[0] + reach * (place + (0.0 if integer and steps == reach else 0.5)) / steps
        into = min(number - 1, max(0, math.floor((middle - low) / width + 1e-9)))
        for i, n in enumerate(by_outcome):
            sums[into][i] += n
    return [Bin(low + i * width, low + (i + 1) * width, *sums[i]) for i in range(number)]
