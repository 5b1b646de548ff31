"""What a corpus holds, what is missing or stale, and what to run next. Reads listings and a few columns, no pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow.dataset as ds

from curation import variants
from curation.corpus import VARIANT_TABLES, Corpus
from curation.lock import Writer, look
from curation.run_records import last_record
from curation.shard_plan import covered_parts, tar_sizes
from curation.variants import Variant, stale_reasons
from curation.views import NAMED, NONE, Chosen, connect, table_dataset
from pipelines.apps.status_steps import Step, next_steps
from schemas.errors import ERROR_CODES, ErrorCode

PASSED = {
    "text": ("looked at have text", ds.field("text_area") > 0),
    "embeddings": ("with a vector", ds.field("embedding").is_valid()),
    "scores": ("scored", ds.field("clip_id").is_valid()),
    "duplicates": ("give way to another", ds.field("duplicate_of").is_valid()),
    "selections": ("selected", ds.field("selected")),
    "captions": ("with a caption", ds.field("caption").is_valid()),
    "checks": ("with a category", ds.field("category").is_valid()),
    "decisions": ("kept", ds.field("kept")),
}
"""Table → what its good rows are called, and which they are."""


@dataclass(frozen=True)
class ErrorCount:
    """Sources that share an error code."""

    code: str
    status: str
    """`partial` or `error`."""
    sources: int
    retry: bool
    """Whether trying again may help."""
    meaning: str
    examples: list[str]
    """Relative paths, at most three."""


@dataclass(frozen=True)
class VariantStatus:
    """One name of one table."""

    table: str
    name: str
    parts_done: int
    parts_missing: int
    """Scanned parts that it does not have."""
    rows: int
    passed: int
    passed_name: str
    made_from: dict[str, str]
    stale: list[str]
    """Why it should be made again; empty when it should not."""


@dataclass(frozen=True)
class ShardsStatus:
    """One shards variant."""

    name: str
    planned: int
    finished: int
    samples: int
    seconds: float
    bytes: int
    """Of the finished tars."""
    failed: int
    """Kept clips of finished tars that could not be cut."""
    failed_retry: int
    """Of these, those that the next export tries again."""
    replaced: int
    """Kept clips of finished tars whose source was overwritten, and whose new content was scanned too: there is nothing to do."""
    cut: str
    """How it was to cut: `auto`, `copy` or `encode`."""
    parts_behind: int
    """Parts of the corpus that its plan does not cover."""
    made_from: dict[str, str]
    stale: list[str]


@dataclass(frozen=True)
class Status:
    """All of it; JSON-able with ``dataclasses.asdict``."""

    corpus: str
    engine: str
    fingerprint: str
    planned_parts: int
    scanned_parts: int
    planned_sources: int
    planned_bytes: int
    sources: dict[str, int]
    """Status → sources read so far; the newest row of each."""
    errors: list[ErrorCount]
    source_seconds: float
    clips: int
    clip_seconds: float
    transitions: dict[str, int]
    variants: list[VariantStatus]
    shards: list[ShardsStatus]
    retryable: int
    """Sources whose newest scan failed for a reason that may have passed."""
    writer: Writer | None
    """Who writes the corpus now, or was killed while it did."""
    last_run: dict[str, Any] | None
    environment: list[str]
    """How this machine differs from the one that began the corpus."""
    next: list[Step] = field(default_factory=list)


def corpus_status(corpus: Corpus) -> Status:
    """Look at a corpus. Changes nothing."""
    parts, scanned = corpus.parts(), corpus.scanned()
    with connect(corpus, NONE) as db:

        def rows(sql: str) -> list[tuple[Any, ...]]:
            return db.execute(sql).fetchall()

        # A file larger than a segment has several rows.
        planned_sources, planned_bytes = rows(
            "SELECT count(DISTINCT uri), coalesce(sum(bytes) FILTER (segment = 0), 0) FROM plan"
        )[0]
        sources = dict(rows("SELECT status, count(*) FROM sources GROUP BY 1 ORDER BY 1"))
        source_seconds = rows("SELECT coalesce(sum(duration_s), 0) FROM sources")[0][0]
        clips, clip_seconds = rows("SELECT count(*), coalesce(sum(duration_s), 0) FROM clips")[0]
        retryable = retryable_sources(db)
        transitions = dict(rows("SELECT kind, count(*) FROM transitions GROUP BY 1 ORDER BY 1"))
        errors = [
            ErrorCount(code, status, n, *meaning(code), examples)
            for code, status, n, examples in rows(
                "SELECT coalesce(error_code, 'unknown'), status, count(*) AS n, min(rel_path, 3) FROM sources WHERE status <> 'ok' GROUP BY 1, 2 ORDER BY n DESC, 1, 2"
            )
        ]
    found = Status(
        corpus=corpus.store.uri,
        engine=corpus.facts.get("engine", "unknown"),
        fingerprint=corpus.facts["fingerprint"],
        planned_parts=len(parts),
        scanned_parts=len(scanned),
        planned_sources=planned_sources,
        planned_bytes=int(planned_bytes),
        sources=sources,
        errors=errors,
        source_seconds=source_seconds,
        clips=clips,
        clip_seconds=clip_seconds,
        transitions=transitions,
        variants=[_variant(corpus, t, n, scanned) for t in VARIANT_TABLES for n in corpus.variants(t)],
        shards=[_shards(corpus, n, len(parts)) for n in corpus.variants("shards")],
        retryable=retryable,
        writer=look(corpus.store),
        last_run=last_record(corpus.store),
        environment=corpus.environment_changes(),
    )
    found.next.extend(next_steps(found))
    return found


def meaning(code: str) -> tuple[bool, str]:
    """Whether retrying may help with an error code, and what it means."""
    try:
        return ERROR_CODES[ErrorCode(code)]
    except (ValueError, KeyError):
        return False, "a code that this version does not know"


def retryable_sources(db: duckdb.DuckDBPyConnection) -> int:
    """How many sources `stiv retry` would plan again, were every part scanned."""
    codes = [str(code) for code, (retry, _) in ERROR_CODES.items() if retry]
    newest = "SELECT arg_max(status, part) AS status, arg_max(error_code, part) AS code FROM _sources GROUP BY uri"
    sql = f"SELECT count(*) FROM ({newest}) WHERE status = 'error' AND list_contains(?, code)"
    return int(db.execute(sql, [codes]).fetchall()[0][0])


def _variant(corpus: Corpus, table: str, name: str, scanned: set[int]) -> VariantStatus:
    variant = variants.need(corpus, table, name)
    done = corpus.done(table, name)
    rows = table_dataset(corpus, table, name)
    passed_name, passes = PASSED[table]
    return VariantStatus(
        table, name, len(done), len(scanned - done), rows.count_rows(), rows.count_rows(filter=passes), passed_name,
        _made_from(variant), stale_reasons(corpus, variant),
    )  # fmt: skip


def _shards(corpus: Corpus, name: str, parts: int) -> ShardsStatus:
    variant = variants.need(corpus, "shards", name)
    with connect(corpus, Chosen({**NONE.names, "shards": name})) as db:
        planned = db.execute("SELECT count(DISTINCT shard) FROM shard_plan").fetchall()[0][0]
        samples, seconds = db.execute("SELECT count(*), coalesce(sum(num_frames / fps), 0) FROM shards").fetchall()[0]
        failed = dict(db.execute("SELECT error_code, count(*) FROM shard_failures GROUP BY 1").fetchall())
    replaced = failed.pop(str(ErrorCode.REPLACED), 0)
    sizes = tar_sizes(corpus, variant)
    return ShardsStatus(
        name, planned, len(sizes), samples, float(seconds), sum(sizes.values()), sum(failed.values()),
        sum(n for code, n in failed.items() if meaning(code)[0]), replaced, variant.settings.get("cut", "auto"), parts - covered_parts(corpus, variant),
        _made_from(variant), stale_reasons(corpus, variant),
    )  # fmt: skip


def _made_from(variant: Variant) -> dict[str, str]:
    return {table: given["name"] for table, given in variant.inputs.items() if table in NAMED}
