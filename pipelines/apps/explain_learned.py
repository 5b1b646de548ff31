"""What was learned of one clip: what it shows, what it duplicates or stands for, and what was found out about its caption."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import duckdb

from pipelines.apps.explain_source import Row, rows
from schemas.tables import CHECKS, EMBEDDINGS, SCORES

OTHERS = 20
"""Most clips that gave way for one that are named."""


@dataclass(frozen=True)
class Other:
    """Another clip of the same cluster."""

    clip_id: str
    where: str | None
    """Its source's relative path; None where its clip row is gone."""
    start_s: float | None
    end_s: float | None
    kind: str
    similarity: float


@dataclass(frozen=True)
class Kinship:
    """A clip among which duplicates were sought."""

    kept: Other | None
    """The clip that is kept in its place, with the evidence; None where the clip itself is kept."""
    gave_way: list[Other]
    """Clips that gave way for this one, the most alike first, at most 20."""
    gave_way_clips: int
    """How many they are in all."""


def kinship(db: duckdb.DuckDBPyConnection, near: duckdb.DuckDBPyConnection, row: Row) -> Kinship | None:
    """Tell it of the clip with this row of `clips_all`; None where it was not looked at.

    ``db`` shows the whole corpus, ``near`` at least the part of the clip.
    """
    clip = row["clip_id"]
    if not near.execute("SELECT count(*) FROM duplicates WHERE clip_id = ?", [clip]).fetchall()[0][0]:
        return None
    kind, similarity = row["duplicate_kind"], row["duplicate_similarity"]
    if row["duplicate_of"] is not None:
        return Kinship(_others(db, [(row["duplicate_of"], kind, similarity)])[0], [], 0)
    if row["duplicate_cluster"] is None:
        return Kinship(None, [], 0)
    found = db.execute(
        "SELECT clip_id, any_value(duplicate_kind), any_value(duplicate_similarity) FROM duplicates "
        "WHERE duplicate_of = ? GROUP BY 1 ORDER BY 2, 3 DESC, 1",
        [clip],
    ).fetchall()
    return Kinship(None, _others(db, found[:OTHERS]), len(found))


def _others(db: duckdb.DuckDBPyConnection, wanted: list[tuple[str, str, float]]) -> list[Other]:
    places = {
        r["clip_id"]: r
        for r in rows(
            db,
            "SELECT clip_id, start_s, end_s, rel_path FROM clips LEFT JOIN sources USING (source_id) "
            "WHERE clip_id IN (SELECT unnest(?))",
            [clip for clip, _, _ in wanted],
        )
    }
    nowhere = {"rel_path": None, "start_s": None, "end_s": None}
    return [
        # A share of 64 bits or a cosine in single precision: six digits are all of it.
        Other(clip, place["rel_path"], place["start_s"], place["end_s"], kind, round(similarity, 6))
        for clip, kind, similarity in wanted
        for place in [places.get(clip, nowhere)]
    ]


def looked_at(row: Row) -> Row | None:
    """What embedders, scorers and taggers said, from a row of `clips_all`; None where none of them looked."""
    if row["embedding_model"] is None and row["user_scores"] is None:
        return None
    return {
        c.name: row[c.name] for t in (EMBEDDINGS, SCORES) for c in t.columns if c.name in row and c.name != "clip_id"
    }


def check_of(row: Row) -> Row | None:
    """What was found out about the caption, with ``dsg`` as values; None where it was not checked."""
    if row["category_source"] is None and row["caption_language"] is None and row["dsg"] is None:
        return None
    found = {name: row[name] for name in CHECKS.names if name != "clip_id"}
    return {**found, "dsg": _parsed(row["dsg"])}


def _parsed(text: str | None) -> Any:
    """JSON as values. What is no JSON is kept as it is: a report should not fail over a column."""
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text
