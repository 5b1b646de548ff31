"""The story of one source: listed, read, its transitions, its clips in order, and the stretches that became no clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from curation.corpus import Corpus
from pipelines.apps.status_facts import meaning
from pipelines.apps.verdicts import OUTCOME, REASON
from schemas.recipe import Shots
from schemas.tables import SOURCES

Row = dict[str, Any]


@dataclass(frozen=True)
class Stretch:
    """A half-open span of a source that became no clip, and why."""

    start_frame: int
    end_frame: int
    start_s: float
    end_s: float
    why: str


@dataclass(frozen=True)
class Reading:
    """How a source was listed and read."""

    listed: Row
    """The row of the plan, with ``part``."""
    facts: Row | None
    """The newest row of `sources`, with ``part``; None before it is scanned."""
    error: str | None
    """What its error code means, and whether retrying may help; None without one."""
    earlier: list[str]
    """Older rows under the same address, in words."""


@dataclass(frozen=True)
class SourceStory:
    """All that is known of a source."""

    corpus: str
    use: dict[str, str | None]
    reading: Reading
    transitions: list[Row]
    clips: list[Row]
    """Each clip's span, outcome, reason and shard, in order."""
    stretches: list[Stretch]

    def as_json(self) -> Row:
        return {"kind": "source", **asdict(self)}


def rows(db: duckdb.DuckDBPyConnection, sql: str, *values: Any) -> list[Row]:
    """The result of a query as dictionaries."""
    cursor = db.execute(sql, list(values))
    names = [d[0] for d in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def read_story(db: duckdb.DuckDBPyConnection, uri: str) -> Reading:
    """What plan and scan say of the source at an address."""
    listed = rows(db, "SELECT * FROM _plan WHERE uri = ? ORDER BY part DESC, segment LIMIT 1", uri)[0]
    found = rows(db, "SELECT * FROM _sources WHERE uri = ? ORDER BY part DESC", uri)
    facts = found[0] if found else None
    error = None
    if facts is not None and facts["error_code"]:
        retry, text = meaning(facts["error_code"])
        error = f"{text}; {'trying again may help' if retry else 'trying again will not help'}"
    earlier = [
        f"part {r['part']}: {r['status']}" + (f" ({r['error_code']})" if r["error_code"] else "") + (f", as {r['source_id']}" if facts and r["source_id"] != facts["source_id"] else "")
        for r in found[1:]
    ]  # fmt: skip
    return Reading(listed, facts, error, earlier)


def source_story(
    corpus: Corpus, db: duckdb.DuckDBPyConnection, reading: Reading, use: dict[str, str | None]
) -> SourceStory:
    """Tell it. ``db`` shows at least the part of the source."""
    facts = reading.facts
    if facts is None or facts["status"] == "error":
        return SourceStory(corpus.store.uri, use, reading, [], [], [])
    transitions = transitions_of(db, facts["source_id"])
    clips = rows(
        db,
        "SELECT clip_id, shot, piece, start_frame, end_frame, start_s, end_s, duration_s, "
        f"{OUTCOME} AS outcome, {REASON} AS reason, caption, shard FROM clips_all WHERE source_id = ? ORDER BY start_frame",
        facts["source_id"],
    )
    return SourceStory(
        corpus.store.uri,
        use,
        reading,
        transitions,
        clips,
        stretches(facts, transitions, clips, corpus.recipe.scan.shots),
    )


def transitions_of(db: duckdb.DuckDBPyConnection, source_id: str) -> list[Row]:
    """A source's transitions in order."""
    return rows(db, "SELECT * FROM transitions WHERE source_id = ? ORDER BY start_frame, end_frame", source_id)


def stretches(facts: Row, transitions: Sequence[Row], clips: Sequence[Row], shots: Shots) -> list[Stretch]:
    """What of a source became no clip, in order, each with its reason: the transitions, and per shot what no clip covers.

    Frames at transitions and at clips have known times; the source's first and last frame get theirs from the frame rate.
    """
    frames, fps = facts["num_frames"], facts["fps"]
    if not frames or not fps:
        return []
    times: dict[int, float] = {
        r[f"{end}_frame"]: r[f"{end}_s"] for end in ("start", "end") for r in (*transitions, *clips)
    }
    anchor = min(times, default=0)
    first_s = times[anchor] - anchor / fps if times else 0.0
    times.setdefault(0, max(0.0, first_s))
    times.setdefault(frames, times[0] + (facts["duration_s"] or frames / fps))
    found: list[Stretch] = []

    def add(start: int, end: int, why: str) -> None:
        if end > start:
            found.append(Stretch(start, end, times[start], times[end], why))

    edges: list[Row | None] = [None, *transitions]
    for number, before in enumerate(edges):
        after = transitions[number] if number < len(transitions) else None
        start = before["end_frame"] if before else 0
        end = after["start_frame"] if after else frames
        inside = [c for c in clips if start <= c["start_frame"] < end]
        place = start
        for clip in inside:
            add(place, clip["start_frame"], _beside(place == start, before, after))
            place = max(place, clip["end_frame"])
        if inside:
            add(place, end, _beside(False, before, after))
        elif end > start:
            add(start, end, _no_clip(start, end, before is not None, after is not None, times, shots))
        if after is not None:
            add(
                after["start_frame"],
                after["end_frame"],
                f"{after['kind']}: shows two shots, or black, at once" if after["kind"] != "cut" else "cut",
            )
    return found


def _beside(leading: bool, before: Row | None, after: Row | None) -> str:
    edge = before if leading else after
    if edge is None:
        return "left over at the " + ("beginning" if leading else "end") + " of the source"
    return f"trimmed {'after' if leading else 'before'} the {edge['kind']}"


def _no_clip(
    start: int, end: int, trimmed_before: bool, trimmed_after: bool, times: Mapping[int, float], shots: Shots
) -> str:
    length = times[end] - times[start]
    trimmed = (trimmed_before + trimmed_after) * shots.trim_frames
    left = max(0.0, length * (1 - trimmed / (end - start)))
    if left < shots.min_s:
        return f"shot too short: {left:.2f} s after trimming, scan.shots.min_s is {shots.min_s:g} s"
    return "no clip was made of this shot"


SOURCE_FACTS = tuple(
    c
    for c in SOURCES.columns
    if c.name not in ("source_id", "uri", "rel_path", "license", "tags", "extra", "error", "error_code", "status")
)
"""Columns of `sources` that describe the file itself."""
