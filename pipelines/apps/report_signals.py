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
    integer: bool


def column_facts() -> dict[str, Column]:
    """Numeric columns of `clips_all` → their documentation. Hashes are not numbers."""
    found = {}
    for table, column, name in CLIPS_ALL:
        facts = next(c for c in TABLES[table].columns if c.name == column)
        if pa.types.is_floating(facts.type) or (pa.types.is_integer(facts.type) and facts.type != pa.uint64()):
            found[name] = facts
    return found


def chosen_columns(rules: Sequence[RuleInForce]) -> list[str]:
    """What is worth a histogram: the signals, text, learned scores, duration, captions and their checks, and whatever a rule compares with a number."""
    numeric = column_facts()
    bars = {f"bar_{side}" for side in ("top", "bottom", "left", "right")}
    names = [c.name for c in SIGNAL_COLUMNS if c.name in numeric and c.name not in bars]
    names += [
        "text_area",
        "openclip_consistency",
        "aesthetic_laion",
        "duration_s",
        "caption_words",
        "caption_repetition",
    ]
    names += ["agreement", "dsg_i"]
    names += [c for rule in rules for c, _, _ in rule.thresholds if c in numeric]
    return list(dict.fromkeys(names))


def histograms(db: duckdb.DuckDBPyConnection, rules: Sequence[RuleInForce]) -> list[Histogram]:
    """One for every chosen column that has values. ``db`` has the table `told`."""
    names = chosen_columns(rules)
    facts = column_facts()
    asked = ", ".join(f"count({n}), min({n}), max({n})" for n in names)
    row = db.execute(f"SELECT count(*), {asked} FROM told").fetchall()[0]
    extent = {n: row[1 + 3 * i : 4 + 3 * i] for i, n in enumerate(names) if row[1 + 3 * i]}
    thresholds = {n: [Threshold(r.name, op, v) for r in rules for c, op, v in r.thresholds if c == n] for n in extent}
    window = {n: Window(float(low), float(high), _is_integer(facts[n])) for n, (_, low, high) in extent.items()}
    counts: dict[str, Counts] = {}
    pending = set(extent)
    for zoom in range(ZOOMS):
        counts.update(_count(db, {n: window[n] for n in names if n in pending}))
        narrower = {
            n: Window(*_bulk(window[n], counts[n], thresholds[n], facts[n].unit), window[n].integer) for n in pending
        }
        pending = {
            n
            for n, w in narrower.items()
            if zoom < ZOOMS - 1 and 0 < w.reach < window[n].reach / 8 and window[n].steps == FINE
        }
        if not pending:
            break
        window.update({n: narrower[n] for n in pending})
    found = []
    for name, (known, low, high) in extent.items():
        shown = _bulk(window[name], counts[name], thresholds[name], facts[name].unit)
        found.append(
            Histogram(
                name=name,
                unit=facts[name].unit,
                meaning=facts[name].meaning,
                bins=_bins(window[name], counts[name], shown),
                thresholds=thresholds[name],
                clips=known,
                unknown=row[0] - known,
                low=float(low),
                high=float(high),
                median=_median(db, name),
                integer=window[name].integer,
            )
        )
    return found


@dataclass(frozen=True)
class Window:
    """The values from ``low`` to ``high`` (inclusive), in fine bins of equal width; whole numbers get one each where they are few."""

    low: float
    high: float
    integer: bool

    @property
    def reach(self) -> float:
        return self.high - self.low + (1 if self.integer else 0)

    @property
    def steps(self) -> int:
        if self.integer:
            return max(1, min(FINE, math.ceil(self.reach)))
        return FINE if self.reach > 0 else 1

    def edge(self, place: int) -> float:
        return self.low + self.reach * place / self.steps

    def middle(self, place: int) -> float:
        """A value that stands for a fine bin: its middle, or its number where numbers are counted one by one."""
        return (
            self.low + place
            if self.integer and self.steps == self.reach
            else self.low + self.reach * (place + 0.5) / self.steps
        )


def _is_integer(column: Column) -> bool:
    return bool(pa.types.is_integer(column.type))


def _count(db: duckdb.DuckDBPyConnection, windows: Mapping[str, Window]) -> dict[str, Counts]:
    """Clips by column, fine bin and outcome, all columns in one pass. Values outside a window count in its end bins."""
    found: dict[str, Counts] = {n: {} for n in windows}
    if not windows:
        return found
    entries = []
    for i, (name, w) in enumerate(windows.items()):
        place = f"least({w.steps - 1}, greatest(0, floor(({name}::DOUBLE - {w.low!r}::DOUBLE) / {w.reach or 1.0!r}::DOUBLE * {w.steps})))::INTEGER"
        # `greatest` passes NULL over, so NULL must be kept out by hand.
        entries.append(f"{{'s': {i}, 'b': CASE WHEN {name} IS NOT NULL THEN {place} END}}")
    sql = (
        f"SELECT e.s, e.b, count(*) FILTER (outcome = 'kept'), count(*) FILTER (outcome = 'dropped'), count(*) FILTER (outcome = 'open') "
        f"FROM (SELECT outcome, unnest([{', '.join(entries)}]) AS e FROM told) WHERE e.b IS NOT NULL GROUP BY 1, 2"
    )
    names = list(windows)
    for number, place, *by_outcome in db.execute(sql).fetchall():
        found[names[number]][place] = (by_outcome[0], by_outcome[1], by_outcome[2])
    return found


def _median(db: duckdb.DuckDBPyConnection, name: str) -> float:
    """Of one column at a time: a median holds all its values in memory."""
    return float(db.execute(f"SELECT median({name}::DOUBLE) FROM told").fetchall()[0][0])


def _quantile(counts: Counts, q: float) -> int:
    """The fine bin in which the quantile lies."""
    total, seen = sum(map(sum, counts.values())), 0
    for place in sorted(counts):
        seen += sum(counts[place])
        if seen >= q * total:
            return place
    return max(counts)


def _bulk(window: Window, counts: Counts, thresholds: Sequence[Threshold], unit: str) -> tuple[float, float]:
    """The span that holds nearly all clips, stretched to thresholds that lie near it."""
    first, last = _quantile(counts, TAIL), _quantile(counts, 1 - TAIL)
    low, high = window.edge(first), window.edge(last + 1)
    if window.integer:
        low, high = float(math.floor(low)), math.ceil(high) - 1.0
    if high <= low and not window.integer:
        # All alike: show them within the scale, or with some room on both sides.
        low, high = (0.0, 1.0) if unit == "0..1" else (low - max(1.0, abs(low)) / 2, low + max(1.0, abs(low)) / 2)
    room = 0.6 * max(high - low, 1.0 if window.integer else 0.0)
    for threshold in thresholds:
        if low - room <= threshold.value < low:
            low = threshold.value - 0.04 * (high - low)
        elif high < threshold.value <= high + room:
            high = threshold.value + 0.04 * (high - low)
    return (float(math.floor(low)), float(math.ceil(high))) if window.integer else (low, high)


def _bins(window: Window, counts: Counts, shown: tuple[float, float]) -> list[Bin]:
    """The shown span in bins of equal width, each the sum of the fine bins whose middle lies in it."""
    low, high = shown
    if window.integer:
        width = float(max(1, math.ceil((high - low + 1) / SHOWN)))
        number = math.ceil((high - low + 1) / width)
    else:
        width, number = (high - low) / SHOWN, SHOWN
    sums = [[0, 0, 0] for _ in range(number)]
    for place, by_outcome in counts.items():
        into = min(number - 1, max(0, math.floor((window.middle(place) - low) / width)))
        for i, n in enumerate(by_outcome):
            sums[into][i] += n
    return [Bin(low + i * width, low + (i + 1) * width, *sums[i]) for i in range(number)]
