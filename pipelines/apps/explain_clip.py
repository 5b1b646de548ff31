"""The story of one clip: its source, how its span came about, every measurement, every rule, its caption, and where it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import pyarrow as pa

from curation.corpus import Corpus
from curation.rules import apply_rules
from curation.views import Chosen
from pipelines.apps.explain_learned import Kinship, check_of, kinship, looked_at
from pipelines.apps.explain_source import Reading, Row, rows, transitions_of
from pipelines.apps.query_text import plain
from pipelines.apps.verdicts import OUTCOME, RuleInForce, rules_in_force
from schemas.recipe import Rule
from schemas.tables import CAPTIONS, CLIPS, EMBEDDINGS, SIGNAL_COLUMNS, TEXT, Column


@dataclass(frozen=True)
class Measured:
    """One signal of the clip."""

    name: str
    value: Any
    """NULL: not measured."""
    unit: str
    meaning: str
    percentile: float | None
    """Share of the corpus's clips below it, in percent (ties count half); None for hashes and NULL."""


@dataclass(frozen=True)
class Ruling:
    """One rule and this clip."""

    stage: str
    name: str
    drop: str
    sql: str
    """With percentiles as numbers."""
    percentiles: dict[str, float | None]
    """Each percentile that it asks for, as written, and the number it stands for."""
    values: dict[str, Any]
    """The columns it looks at, with the clip's values."""
    outcome: str
    """`drop`, `pass`, `unknown` (a value is NULL) or `skipped` (the clip was out before the rule's stage)."""


@dataclass(frozen=True)
class Origin:
    """How the clip's span came about."""

    before: Row | None
    """The transition before it; None: the beginning of the source."""
    after: Row | None
    trimmed_before: int
    """Frames between that transition (or the piece before) and the clip."""
    trimmed_after: int
    pieces: int
    """Clips that its shot was split into."""
    shot_frames: int | None
    """Frames of the whole shot."""


@dataclass(frozen=True)
class ClipStory:
    """All that is known of a clip."""

    corpus: str
    use: dict[str, str | None]
    clip_id: str
    part: int
    reading: Reading
    span: Row
    origin: Origin
    signals: list[Measured]
    stills_file: str
    stills: list[Row]
    looked_at: Row | None
    """What embedders, scorers and taggers said; None: none of them looked."""
    kinship: Kinship | None
    """Its duplicates; None: none were sought for it."""
    rules: list[Ruling]
    caption: Row | None
    """None: no caption row."""
    check: Row | None
    """What was found out about the caption; None: it was not checked."""
    outcome: str
    """`kept`, `dropped` or `open`."""
    reason: str | None
    reasons: list[str]
    shard: Row | None
    why_no_shard: str | None

    def as_json(self) -> Row:
        return {"kind": "clip", **asdict(self)}


def clip_story(
    corpus: Corpus,
    db: duckdb.DuckDBPyConnection,
    near: duckdb.DuckDBPyConnection,
    clip_id: str,
    reading: Reading,
    chosen: Chosen,
) -> ClipStory:
    """Tell it. ``db`` shows the whole corpus, ``near`` at least the part of the clip."""
    wide = near.sql("SELECT * FROM clips_all WHERE clip_id = $id LIMIT 1", params={"id": clip_id}).to_arrow_table()
    row = {name: plain(wide.column(name)[0].as_py(), wide.schema.field(name).type) for name in wide.column_names}
    part = near.execute("SELECT max(part) FROM _clips WHERE clip_id = ?", [clip_id]).fetchall()[0][0]
    outcome = rows(near, f"SELECT {OUTCOME} AS outcome FROM clips_all WHERE clip_id = ?", clip_id)[0]["outcome"]
    decided = row["kept"] is not None
    signal_names = {c.name for c in SIGNAL_COLUMNS}
    skipped = signal_names | {"stills_frame", "stills_offset", "stills_size"}
    shard = {k: row[k] for k in row if k == "shard" or k.startswith("shard_")} if row["shard"] is not None else None
    return ClipStory(
        corpus=corpus.store.uri,
        use=chosen.names,
        clip_id=clip_id,
        part=part,
        reading=reading,
        span={c: row[c] for c in CLIPS.names if c not in skipped},
        origin=_origin(near, row),
        signals=_signals(db, row),
        stills_file=corpus.path("stills", part),
        stills=[
            {"frame": f, "offset": o, "bytes": s}
            for f, o, s in zip(
                row["stills_frame"] or [], row["stills_offset"] or [], row["stills_size"] or [], strict=True
            )
        ],
        looked_at=looked_at(row),
        kinship=kinship(db, near, row),
        rules=[_ruling(rule, wide, row) for rule in rules_in_force(corpus, chosen)],
        caption={c: row[c] for c in CAPTIONS.names if c != "clip_id"} if row["caption_words"] is not None else None,
        check=check_of(row),
        outcome=outcome,
        reason=row["reason"] if decided else row["selection_reason"],
        reasons=(row["reasons"] if decided else row["selection_reasons"]) or [],
        shard=shard,
        why_no_shard=None if shard else _why_no_shard(near, clip_id, outcome, chosen),
    )


def _origin(db: duckdb.DuckDBPyConnection, row: Row) -> Origin:
    changes = transitions_of(db, row["source_id"])
    before = next((t for t in reversed(changes) if t["end_frame"] <= row["start_frame"]), None)
    after = next((t for t in changes if t["start_frame"] >= row["end_frame"]), None)
    pieces = rows(
        db,
        "SELECT piece, start_frame, end_frame FROM clips WHERE source_id = ? AND shot = ? ORDER BY start_frame",
        row["source_id"],
        row["shot"],
    )
    shot_start = before["end_frame"] if before else 0
    shot_end = after["start_frame"] if after else row["source_num_frames"]
    begin = max([shot_start, *(p["end_frame"] for p in pieces if p["end_frame"] <= row["start_frame"])])
    ends = [p["start_frame"] for p in pieces if p["start_frame"] >= row["end_frame"]]
    finish = min(ends) if ends else shot_end if shot_end is not None else row["end_frame"]
    return Origin(
        before, after, row["start_frame"] - begin, finish - row["end_frame"], len(pieces), None if shot_end is None else shot_end - shot_start
    )  # fmt: skip


def _signals(db: duckdb.DuckDBPyConnection, row: Row) -> list[Measured]:
    text = [c for c in TEXT.columns if c.name != "clip_id"]
    # Only of OpenCLIP, and only what it was given the weights for.
    learned = [c for c in EMBEDDINGS.columns if c.type == pa.float32() and row[c.name] is not None]
    return [
        *_measured(db, "clips", SIGNAL_COLUMNS, row),
        *_measured(db, TEXT.name, text, row),
        *_measured(db, EMBEDDINGS.name, learned, row),
    ]


def _measured(db: duckdb.DuckDBPyConnection, view: str, columns: Sequence[Column], row: Row) -> list[Measured]:
    def is_measure(kind: pa.DataType) -> bool:
        return pa.types.is_floating(kind) or pa.types.is_int32(kind)  # hashes are unsigned 64-bit

    ranked = [c for c in columns if is_measure(c.type) and row[c.name] is not None]
    below: dict[str, float] = {}
    if ranked:
        # One pass over the corpus for all signals; a tie counts half. The cast makes equal what was equal in the table.
        value = {c.name: f"CAST(${c.name} AS {'INTEGER' if pa.types.is_int32(c.type) else 'FLOAT'})" for c in ranked}
        places = ", ".join(
            f"100.0 * (count(*) FILTER ({n} < {v}) + 0.5 * count(*) FILTER ({n} = {v})) / count({n})"
            for n, v in value.items()
        )
        found = db.execute(f"SELECT {places} FROM {view}", {n: row[n] for n in value})
        below = dict(zip(value, found.fetchall()[0], strict=True))
    return [Measured(c.name, row[c.name], c.unit, c.meaning, below.get(c.name)) for c in columns]


def _ruling(rule: RuleInForce, wide: pa.Table, row: Row) -> Ruling:
    if rule.stage == "judge" and row["caption_words"] is None:
        outcome = "skipped"
    else:
        found = apply_rules(wide, [Rule(name=rule.name, drop=rule.sql)])
        outcome = "drop" if found.dropped[0] else "unknown" if found.unknown[rule.name] else "pass"
    return Ruling(
        rule.stage, rule.name, rule.drop, rule.sql, rule.percentiles, {c: row.get(c) for c in rule.columns}, outcome
    )


def _why_no_shard(db: duckdb.DuckDBPyConnection, clip_id: str, outcome: str, chosen: Chosen) -> str:
    if outcome == "dropped":
        return "it was dropped"
    if outcome == "open":
        return "it is not decided yet"
    if chosen["shards"] is None:
        return "nothing is exported yet"
    lost = rows(db, "SELECT shard, error_code, error FROM shard_failures WHERE clip_id = ?", clip_id)
    if lost:
        return f"cutting it for shard {lost[0]['shard']} failed: {lost[0]['error_code']}, {lost[0]['error']}"
    planned = rows(db, "SELECT shard FROM shard_plan WHERE clip_id = ?", clip_id)
    if planned:
        return f"it is planned for shard {planned[0]['shard']}, which is not finished"
    return f"the plan of shards `{chosen['shards']}` does not name it: it was made from other decisions, or before this part"
