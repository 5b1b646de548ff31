"""Which clips the report shows, and what it says under each. Samples are fair and fixed: the first by clip id, which is a hash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from curation.corpus import Corpus
from curation.views import Chosen, connect
from pipelines.apps.explain_source import Row, rows
from pipelines.apps.report_duplicates import Cluster
from pipelines.apps.report_signals import column_facts
from pipelines.apps.thumbnails import Pointer, Thumbnails
from pipelines.apps.verdicts import OUTCOME, REASONS, RuleInForce
from pipelines.apps.words import clock, number

KEPT = 24
PER_REASON = 12
NEIGHBOURS = 3
"""Clips shown on either side of a threshold."""

MOST_THRESHOLDS = 8

SHOWN_VALUES = ("motion", "sharpness", "brightness", "aesthetic_photo")


@dataclass(frozen=True)
class Card:
    """One clip as shown."""

    clip_id: str
    path: str
    """Its source's relative path."""
    name: str
    """The last part of that."""
    span: str
    image: str | None
    """Data URI of a JPEG, or None where there is no readable still."""
    width: int
    height: int
    """Of the clip, in pixels as displayed."""
    outcome: str
    reasons: list[str]
    caption: str | None
    captioner: str | None
    values: list[tuple[str, str]]


@dataclass(frozen=True)
class ReasonSheet:
    """Clips that a rule was the first to drop."""

    reason: str
    clips: int
    cards: list[Card]


@dataclass(frozen=True)
class BorderCard:
    """A clip near a threshold."""

    card: Card
    value: str
    away: str
    """How far in rank: share of the measured clips that lie between it and the threshold."""


@dataclass(frozen=True)
class Border:
    """A rule's threshold with the clips nearest to it, in rising order of the value."""

    rule: str
    column: str
    op: str
    threshold: str
    unit: str
    below: list[BorderCard]
    above: list[BorderCard]


@dataclass(frozen=True)
class Twin:
    """A clip that gave way to another."""

    card: Card
    kind: str
    similarity: str


@dataclass(frozen=True)
class ClusterSheet:
    """A kept clip beside those that gave way for it."""

    kept: Card
    twins: list[Twin]
    more: int
    """Clips that gave way for it and are not shown."""


@dataclass(frozen=True)
class Sheets:
    """All that is shown of clips."""

    kept: list[Card]
    open: list[Card]
    dropped: list[ReasonSheet]
    borders: list[Border]
    clusters: list[ClusterSheet]
    unreadable: list[str]
    """Stills that could not be read, in words."""


def sheets(
    corpus: Corpus,
    chosen: Chosen,
    db: duckdb.DuckDBPyConnection,
    rules: Sequence[RuleInForce],
    clusters: Sequence[Cluster] = (),
) -> Sheets:
    """Choose the clips, then fetch rows and stills of only those, and of ``clusters``. ``db`` has the table `told`."""
    kept, waiting = _outcome_ids(db)
    by_reason = _reason_ids(db)
    near = _nearest(db, rules)
    columns = {r.name: r.columns for r in rules}
    wanted = [
        *kept,
        *waiting,
        *(c for _, ids in by_reason.values() for c in ids),
        *(c for n in near for c, _, _ in (*n.below, *n.above)),
        *(c for cluster in clusters for c in (cluster.kept, *(m.clip_id for m in cluster.members))),
    ]
    found = _fetch(corpus, chosen, db, wanted, rules)
    stills = Thumbnails(corpus)
    images = stills.load({c: _pointer(row) for c, row in found.items()})

    def card(clip: str) -> Card:
        return _card(found[clip], images.get(clip), columns)

    order = {r.name: i for i, r in enumerate(rules)}
    dropped = [
        ReasonSheet(reason, n, [card(c) for c in ids])
        for reason, (n, ids) in sorted(by_reason.items(), key=lambda i: (order.get(i[0], len(order)), i[0]))
    ]
    borders = [n.border(card) for n in near]
    alike = [
        ClusterSheet(
            card(c.kept),
            [Twin(card(m.clip_id), m.kind, number(m.similarity, 3)) for m in c.members],
            c.clips - len(c.members),
        )
        for c in clusters
        if c.kept in found
    ]
    return Sheets([card(c) for c in kept], [card(c) for c in waiting], dropped, borders, alike, stills.problems)


def _outcome_ids(db: duckdb.DuckDBPyConnection) -> tuple[list[str], list[str]]:
    kept, waiting = db.execute(
        f"SELECT min(clip_id, {KEPT}) FILTER (outcome = 'kept'), min(clip_id, {KEPT}) FILTER (outcome = 'open') FROM told"
    ).fetchall()[0]
    return kept or [], waiting or []


def _reason_ids(db: duckdb.DuckDBPyConnection) -> dict[str, tuple[int, list[str]]]:
    sql = f"SELECT coalesce(why, 'no reason given'), count(*), min(clip_id, {PER_REASON}) FROM told WHERE outcome = 'dropped' GROUP BY 1"
    return {why: (n, ids) for why, n, ids in db.execute(sql).fetchall()}


@dataclass(frozen=True)
class _Near:
    rule: str
    column: str
    op: str
    value: float
    clips: int
    below: list[tuple[str, float, int]]
    """(clip id, value, rank distance), rising."""
    above: list[tuple[str, float, int]]

    def border(self, card: Any) -> Border:
        def shown(items: Iterable[tuple[str, float, int]]) -> list[BorderCard]:
            return [
                BorderCard(card(c), number(v, 3), f"{rank} of {self.clips:,} away" if rank > 1 else "next to it")
                for c, v, rank in items
            ]

        return Border(
            self.rule,
            self.column,
            self.op,
            number(self.value),
            column_facts()[self.column].unit,
            shown(self.below),
            shown(self.above),
        )


def _nearest(db: duckdb.DuckDBPyConnection, rules: Sequence[RuleInForce]) -> list[_Near]:
    """For each threshold the clips nearest in rank on either side; thresholds that divide the clips come first."""
    numeric = column_facts()
    asked = [(r.name, c, op, v) for r in rules for c, op, v in r.thresholds if c in numeric]
    asked = list(dict.fromkeys(asked))
    if not asked:
        return []
    parts = []
    for _, column, op, value in asked:
        # The threshold itself belongs to the side on which the comparison puts it.
        under = "<=" if op in (">", "<=") else "<"
        over = ">=" if under == "<" else ">"
        pair = f"{{'v': {column}::DOUBLE, 'c': clip_id}}"
        parts += [
            f"count({column})",
            f"count(*) FILTER ({column} {under} {value!r}::DOUBLE)",
            f"max({pair}, {NEIGHBOURS}) FILTER ({column} {under} {value!r}::DOUBLE)",
            f"min({pair}, {NEIGHBOURS}) FILTER ({column} {over} {value!r}::DOUBLE)",
        ]
    row = db.execute(f"SELECT {', '.join(parts)} FROM told").fetchall()[0]
    found = []
    for i, (rule, column, op, value) in enumerate(asked):
        clips, under_count, below, above = row[4 * i : 4 * i + 4]
        if not clips:
            continue
        near = _Near(
            rule, column, op, value, clips,
            [(e["c"], e["v"], rank) for rank, e in reversed(list(enumerate(below or [], 1)))],
            [(e["c"], e["v"], rank) for rank, e in enumerate(above or [], 1)],
        )  # fmt: skip
        found.append((0 if 0 < under_count < clips else 1, i, near))
    return [near for _, _, near in sorted(found, key=lambda f: f[:2])[:MOST_THRESHOLDS]]


_CARD_COLUMNS = (
    "clip_id", "source_rel_path", "start_s", "end_s", "width", "height", "caption", "captioner", "stills_offset", "stills_size",
)  # fmt: skip


def _fetch(
    corpus: Corpus, chosen: Chosen, db: duckdb.DuckDBPyConnection, clip_ids: Iterable[str], rules: Sequence[RuleInForce]
) -> dict[str, Row]:
    """What is shown of the clips, from only those parts in which they lie."""
    unique = sorted(set(clip_ids))
    if not unique:
        return {}
    chosen_ids = "clip_id IN (SELECT unnest(?))"
    part = dict(db.execute(f"SELECT clip_id, max(part) FROM _clips WHERE {chosen_ids} GROUP BY 1", [unique]).fetchall())
    columns = dict.fromkeys([*_CARD_COLUMNS, *SHOWN_VALUES, *(c for r in rules for c in r.columns)])
    sql = f"SELECT {', '.join(columns)}, {OUTCOME} AS outcome, {REASONS} AS whys FROM clips_all WHERE {chosen_ids}"
    with connect(corpus, chosen, set(part.values())) as near:
        return {row["clip_id"]: {**row, "part": part[row["clip_id"]]} for row in rows(near, sql, unique)}


def _pointer(row: Row) -> Pointer | None:
    """Where the clip's middle still lies."""
    offsets, sizes = row["stills_offset"] or [], row["stills_size"] or []
    middle = len(offsets) // 2
    return Pointer(row["part"], offsets[middle], sizes[middle]) if offsets and len(sizes) == len(offsets) else None


def _card(row: Row, image: str | None, columns: dict[str, tuple[str, ...]]) -> Card:
    whys = row["whys"] or []
    # What the rules looked at that dropped it, else the usual ones.
    names = list(dict.fromkeys(c for w in whys for c in columns.get(w, ()))) or list(SHOWN_VALUES)
    values = [
        (n, number(row[n], 3)) for n in names if isinstance(row.get(n), int | float) and not isinstance(row[n], bool)
    ]
    return Card(
        clip_id=row["clip_id"],
        path=row["source_rel_path"],
        name=row["source_rel_path"].rpartition("/")[2],
        span=f"{clock(row['start_s'])} – {clock(row['end_s'])}",
        image=image,
        width=row["width"],
        height=row["height"],
        outcome=row["outcome"],
        reasons=list(whys) if row["outcome"] == "dropped" else [],
        caption=row["caption"],
        captioner=row["captioner"],
        values=values[:4],
    )
