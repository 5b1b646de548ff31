"""What the report says in numbers: headline, funnel, reasons, captions, shapes. Aggregates over views only; nothing grows with the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from curation.joined import CLIPS_ALL
from pipelines.apps import report_duplicates
from pipelines.apps.report_signals import chosen_columns
from pipelines.apps.status_facts import Status
from pipelines.apps.verdicts import OUTCOME, REASON, REASONS, RuleInForce

SAMPLE_CAPTIONS = 3
MOST_SHAPES = 8


@dataclass(frozen=True)
class Count:
    """How many, and how much video."""

    clips: int
    seconds: float


@dataclass(frozen=True)
class FunnelRow:
    """One step of the way from files to samples."""

    label: str
    detail: str
    kind: str
    """`source`, `rule`, `step` or `end`."""
    count: int
    lost: int
    """Gone for good at this step."""
    waiting: int
    """Not there yet: to be scanned, decided or exported."""
    whole: int
    """What the bar's full width stands for."""
    seconds: float | None
    """NULL where the length is not known."""


@dataclass(frozen=True)
class ReasonRow:
    """One rule and what it did."""

    rule: RuleInForce
    first: Count
    """Clips of which it is the first reason."""
    any: int
    alone: int
    """Clips that only this rule drops: what loosening it would bring back."""
    unknown: int
    """Clips for which it came out NULL."""


@dataclass(frozen=True)
class CaptionRow:
    """One captioner's work."""

    captioner: str | None
    clips: int
    kept: int
    mean_words: float
    scopes: str
    rewritten: int
    """Captions that a language model shortened or restyled afterwards."""
    samples: list[tuple[str, str]]
    """(clip id, caption)."""


@dataclass(frozen=True)
class Shape:
    """One value of a property, with the clips that have it."""

    label: str
    clips: int
    kept: int


@dataclass(frozen=True)
class Totals:
    """Clips by outcome."""

    all: Count
    kept: Count
    dropped: Count
    open: Count
    captioned: Count
    exported: Count


_TOLD_COLUMNS = (
    "clip_id",
    "width",
    "height",
    "fps",
    "camera_motion",
    "has_sound",
    "kept",
    "selection_selected",
    "text_stills",
    "captioner",
    "caption_scope",
    *report_duplicates.COLUMNS,
)


def tell(db: duckdb.DuckDBPyConnection, rules: Sequence[RuleInForce]) -> None:
    """Join everything once and keep the few narrow columns that the report counts, as the table `told`: one row per clip.

    It has each clip's outcome (`kept`, `dropped`, `open`), its first reason ``why`` and all reasons ``whys``, ``has_caption``,
    ``rewritten``, ``exported``, the columns of the histograms, and for rule number i whether it came out NULL (``unknown_i``). About 250 bytes a
    clip, which go to a temporary folder where memory does not hold them.
    """
    columns = [*_TOLD_COLUMNS, *chosen_columns(rules)]
    columns += [f"{OUTCOME} AS outcome", f"{REASON} AS why", f"{REASONS} AS whys"]
    columns += ["caption IS NOT NULL AS has_caption", "shard IS NOT NULL AS exported"]
    columns += ["caption_original IS NOT NULL AS rewritten"]
    columns += [f"({_seen(r)} AND (\n{r.sql}\n) IS NULL) AS unknown_{i}" for i, r in enumerate(rules)]
    db.execute(f"CREATE TABLE told AS SELECT {', '.join(dict.fromkeys(columns))} FROM clips_all")


_LOOKED = {
    "text": "text_stills IS NOT NULL",
    "embeddings": "embedding_model IS NOT NULL",
    "scores": "user_scores IS NOT NULL",
}
"""Table of features → SQL: whether a clip was looked at for it."""


def _seen(rule: RuleInForce) -> str:
    """SQL: whether a rule can be known of a clip. What nobody asked for is not unknown, nor what other rules left out."""
    if rule.idle:
        return "false"
    if rule.stage == "judge":
        return "caption_words IS NOT NULL"
    looked = [_LOOKED[table] for table, _, name in CLIPS_ALL if table in _LOOKED and name in rule.columns]
    if not looked:
        return "true"
    return f"({' AND '.join(dict.fromkeys(looked))} OR {OUTCOME} <> 'dropped')"


def _rows(db: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return db.execute(sql).fetchall()


def totals(db: duckdb.DuckDBPyConnection) -> Totals:
    """Clips and seconds by outcome, in one pass."""
    conditions = (
        "true",
        "outcome = 'kept'",
        "outcome = 'dropped'",
        "outcome = 'open'",
        "has_caption",
        "exported",
    )
    asked = ", ".join(f"count(*) FILTER ({c}), coalesce(sum(duration_s) FILTER ({c}), 0)" for c in conditions)
    row = _rows(db, f"SELECT {asked} FROM told")[0]
    return Totals(*(Count(row[i], float(row[i + 1])) for i in range(0, len(row), 2)))


def reasons(db: duckdb.DuckDBPyConnection, rules: Sequence[RuleInForce]) -> list[ReasonRow]:
    """What each rule dropped, in the order of the rules."""
    first = {
        (stage, name): Count(n, float(seconds))
        for stage, name, n, seconds in _rows(
            db,
            "SELECT CASE WHEN selection_selected THEN 'judge' ELSE 'select' END, why, count(*), sum(duration_s) "
            "FROM told WHERE outcome = 'dropped' GROUP BY 1, 2",
        )
    }
    every = {
        name: (n, alone)
        for name, n, alone in _rows(
            db,
            "SELECT r, count(*), count(*) FILTER (alone) FROM "
            "(SELECT unnest(whys) AS r, len(whys) = 1 AS alone FROM told WHERE outcome = 'dropped') GROUP BY 1",
        )
    }
    unknown: tuple[int, ...] = ()
    if rules:
        unknown = _rows(
            db, f"SELECT {', '.join(f'count(*) FILTER (unknown_{i})' for i in range(len(rules)))} FROM told"
        )[0]
    return [
        ReasonRow(r, first.get((r.stage, r.name), Count(0, 0.0)), *every.get(r.name, (0, 0)), unknown[i])
        for i, r in enumerate(rules)
    ]


def funnel(status: Status, total: Totals, rows: Sequence[ReasonRow], lost: int) -> list[FunnelRow]:
    """The way from files to samples, step by step. A pure function of the counts; ``lost`` clips could not be cut."""
    found = status.planned_sources
    read = sum(status.sources.values())
    failed = status.sources.get("error", 0)
    steps = [FunnelRow("Sources found", "files in the plan", "source", found, 0, 0, found, None)]
    if not status.scanned_parts:
        return steps
    detail = "opened and decoded, at least in part"
    steps.append(
        FunnelRow(
            "Readable", detail, "source", read - failed, failed, max(0, found - read), found, status.source_seconds
        )
    )
    clips = total.all
    left, seconds = clips.clips, clips.seconds

    def step(label: str, detail: str, kind: str, count: Count, lost: int = 0, waiting: int = 0) -> FunnelRow:
        return FunnelRow(label, detail, kind, count.clips, lost, waiting, clips.clips, count.seconds)

    def after(row: ReasonRow) -> FunnelRow:
        nonlocal left, seconds
        left, seconds = left - row.first.clips, max(0.0, seconds - row.first.seconds)
        return step(row.rule.name, row.rule.drop, "rule", Count(left, seconds), row.first.clips)

    steps.append(step("Clips", "shots found, trimmed and split", "step", clips))
    steps += [after(r) for r in rows if r.rule.stage == "select"]
    tables = {v.table for v in status.variants}
    if "captions" in tables:
        # No loss of its own: what has no caption is dropped, or not, by the caption rules that follow.
        steps.append(step("With caption", "a captioner had a text", "step", total.captioned))
    steps += [after(r) for r in rows if r.rule.stage == "judge"]
    if "decisions" in tables:
        steps.append(step("Kept", "no rule dropped it", "end", total.kept, waiting=total.open.clips))
    if status.shards:
        to_do = max(0, total.kept.clips - total.exported.clips - lost)
        steps.append(step("Exported", "in a finished shard", "end", total.exported, lost, to_do))
    return steps


def captions(db: duckdb.DuckDBPyConnection) -> list[CaptionRow]:
    """Captions by who wrote them, with a fair sample of each (the first by clip id, which is a hash)."""
    found = _rows(
        db,
        "SELECT captioner, count(*) AS n, count(*) FILTER (kept), avg(caption_words) FILTER (has_caption), "
        "coalesce(string_agg(DISTINCT caption_scope, ', ' ORDER BY caption_scope), ''), count(*) FILTER (rewritten), "
        f"min(clip_id, {SAMPLE_CAPTIONS}) FILTER (has_caption) "
        "FROM told WHERE caption_words IS NOT NULL GROUP BY captioner ORDER BY n DESC, captioner",
    )
    wanted = [clip for row in found for clip in row[6] or []]
    sql = "SELECT clip_id, left(caption, 1000) FROM captions WHERE clip_id IN (SELECT unnest(?))"
    text = dict(db.execute(sql, [wanted]).fetchall()) if wanted else {}
    return [
        CaptionRow(name, n, kept, float(words or 0), scopes, rewritten, [(clip, text[clip]) for clip in ids or []])
        for name, n, kept, words, scopes, rewritten, ids in found
    ]


_SHAPES = {
    "Resolution": "format('{} × {}', width, height)",
    "Orientation": "CASE WHEN width > 1.05 * height THEN 'landscape' WHEN height > 1.05 * width THEN 'portrait' ELSE 'square' END",
    "Frame rate": "format('{:g} fps', round(fps, 2))",
    "Camera motion": "coalesce(camera_motion, 'not measured')",
    "Sound": "CASE WHEN has_sound THEN 'with sound' WHEN has_sound IS NOT NULL THEN 'without sound' ELSE 'not measured' END",
    "Duration": "CASE WHEN duration_s < 3 THEN '0 to 3 s' WHEN duration_s < 5 THEN '3 to 5 s' WHEN duration_s < 10 THEN '5 to 10 s' "
    "WHEN duration_s < 20 THEN '10 to 20 s' ELSE '20 s and longer' END",
}
_IN_ORDER = {"Duration": "min(duration_s)"}
_MEASURED = {"Camera motion": "camera_motion", "Sound": "has_sound"}
"""Left out where not one clip has a value."""


def shapes(db: duckdb.DuckDBPyConnection) -> dict[str, list[Shape]]:
    """Clips by resolution, orientation, frame rate, camera motion, sound and duration: the most frequent values, the rest summed up."""
    found: dict[str, list[Shape]] = {}
    for title, value in _SHAPES.items():
        if title in _MEASURED and not _rows(db, f"SELECT count({_MEASURED[title]}) FROM told")[0][0]:
            continue
        order = _IN_ORDER.get(title, "n DESC")
        rows = _rows(
            db,
            f"SELECT {value} AS v, count(*) AS n, count(*) FILTER (outcome = 'kept') FROM told GROUP BY v ORDER BY {order}, v",
        )
        listed = [Shape(str(v), n, kept) for v, n, kept in rows[:MOST_SHAPES]]
        rest = rows[MOST_SHAPES:]
        if rest:
            listed.append(Shape(f"{len(rest)} others", sum(r[1] for r in rest), sum(r[2] for r in rest)))
        found[title] = listed if rows else []
    return found


def exported_how(db: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Samples of the shards by `copy` and `encode`."""
    return dict(_rows(db, "SELECT how, count(*) FROM shards GROUP BY 1 ORDER BY 1"))


def failures(db: duckdb.DuckDBPyConnection) -> list[tuple[str, int, str]]:
    """(error code, clips, an example) of kept clips that could not be cut."""
    return [
        (c, n, e)
        for c, n, e in _rows(
            db, "SELECT error_code, count(*), min(error) FROM shard_failures GROUP BY 1 ORDER BY 2 DESC, 1"
        )
    ]
