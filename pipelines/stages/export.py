"""Stage `export`: cut the clips of one shard, each once and only survivors, then pack them into a tar with its index."""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from pebble import ProcessFuture

from curation import joined
from curation.child import sha256_of
from curation.corpus import Corpus
from curation.cutting import ClipToCut, CutError, CutResult, cut_clip
from curation.finished import (
    CUT_COLUMNS,
    cut_settings,
    find_finished,
    forget_finished,
    mp4_path,
    note_finished,
    read_finished,
)
from curation.listing import uri_to_path
from curation.opening import SourceFailure, quiet_decoder
from curation.shard_plan import failed_path, index_path, read_plan, tar_path
from curation.shards import Member, Sample, verify_tar, write_tar
from curation.storage import storage_errors
from curation.variants import Variant
from pipelines.children import DEATHS
from pipelines.context import Worker
from schemas.errors import ERROR_CODES, ErrorCode, StorageError
from schemas.ids import fingerprint
from schemas.recipe import Export
from schemas.tables import SHARD_FAILURES, SHARDS

NAME = "export"

SECONDS_PER_CLIP_SECOND = 120.0
"""A cut may take this long per second of clip before its process is killed; at least ten minutes."""


@dataclass(frozen=True)
class CutJob:
    """One clip to cut. Everything in it can be sent to another process."""

    clip: ClipToCut
    settings: dict[str, Any]
    folder: str
    sha256: str | None
    mtime_ns: int | None
    """When the source was last changed, as listed."""
    size: int | None


def pending(corpus: Corpus, variant: Variant) -> list[int]:
    """Planned shards without an index, and those that lack clips which another try may bring."""
    names = set(corpus.store.names(variant.path))
    return [
        int(shard)
        for shard in read_plan(corpus, variant)
        if f"{shard}.parquet" not in names
        or (f"{shard}.failed.parquet" in names and _retryable(corpus, variant, shard))
    ]


def _retryable(corpus: Corpus, variant: Variant, shard: str) -> set[str]:
    """Clips of a shard whose failure may have passed: a disk that was not there, a process that was killed."""
    path = failed_path(variant, shard)
    if not corpus.store.exists(path):
        return set()
    return {
        r["clip_id"] for r in corpus.store.read_table(path).to_pylist() if ERROR_CODES[ErrorCode(r["error_code"])][0]
    }


def run(worker: Worker, number: int) -> None:
    """Make one shard; does nothing when it is committed already. Clips cut before a kill are not cut again.

    A shard that lacks clips is taken up again when another try may bring them, and made anew if it does.
    """
    corpus, variant = worker.corpus, worker.variant("shards")
    shard = f"{number:06d}"
    settings = Export.model_validate(variant.settings)
    base = corpus.store.scratch(*scratch_names(settings))
    members = read_plan(corpus, variant, shard)[shard]
    if corpus.store.exists(index_path(variant, shard)):
        again = _retryable(corpus, variant, shard)
        if (
            not again
            or again <= _cut_all(worker, _rows(worker, [m for m in members if m[0] in again]), settings, base).keys()
        ):
            return
    rows = _rows(worker, members)
    find_finished(corpus, set(rows), settings, base, {c for c, row in rows.items() if not any(_bars(row))})
    failures = _cut_all(worker, rows, settings, base)
    samples, cut = [], {}
    for clip_id in rows.keys() - failures.keys():
        finished = read_finished(base, clip_id)
        if finished is None:
            raise RuntimeError(f"clip {clip_id} of shard {shard} was cut, but is not there")
        cut[clip_id] = finished
    for clip_id, _ in members:
        if clip_id in cut:
            facts = sample_facts(rows[clip_id], cut[clip_id][0], variant)
            samples.append(Sample(clip_id, clip_id, mp4_path(base, clip_id), rows[clip_id]["caption"], facts))
    tar = base / f"{variant.name}-{shard}.tar"
    written = write_tar(samples, tar)
    verify_tar(tar, written)
    for member in written:
        if member.sha256 != cut[member.clip_id][1]:
            forget_finished(base, member.clip_id)
            raise StorageError(
                f"The cut clip {member.clip_id} changed on disk before it was packed.",
                fix="Check the disk, then run the same command again: it is cut anew.",
            )
    _commit(corpus, variant, shard, tar, [_index_row(m, shard, rows, cut) for m in written], failures)
    for clip_id in rows:
        forget_finished(base, clip_id)
    size = corpus.store.size(tar_path(variant, shard))
    worker.emit(
        {"kind": "part", "stage": NAME, "part": number, "clips": len(written), "failed": len(failures), "bytes": size}
    )


def scratch_names(settings: Export) -> tuple[str, str]:
    """Where finished cuts of unfinished shards wait: shared by all variants that cut alike."""
    return "export", fingerprint(cut_settings(settings))


def _index_row(
    member: Member, shard: str, rows: dict[str, dict[str, Any]], cut: dict[str, tuple[CutResult, str]]
) -> dict[str, Any]:
    result = cut[member.clip_id][0]
    return {
        "clip_id": member.clip_id,
        "shard": shard,
        "shard_key": member.key,
        "byte_offset": member.byte_offset,
        "byte_size": member.byte_size,
        "sha256": member.sha256,
        **{k: getattr(result, k) for k in CUT_COLUMNS},
        "caption": rows[member.clip_id]["caption"],
    }


def _commit(
    corpus: Corpus,
    variant: Variant,
    shard: str,
    tar: Path,
    index: list[dict[str, Any]],
    failures: dict[str, tuple[ErrorCode, str]],
) -> None:
    """Publish a shard. An index that stood for an older tar goes first, so that none ever speaks of another tar's bytes."""
    store = corpus.store
    store.remove(index_path(variant, shard))
    if failures:
        lost = [
            {"clip_id": c, "shard": shard, "error_code": str(code), "error": text}
            for c, (code, text) in sorted(failures.items())
        ]
        store.commit_table(failed_path(variant, shard), pa.Table.from_pylist(lost, schema=SHARD_FAILURES.arrow))
    else:
        store.remove(failed_path(variant, shard))
    store.commit_file(tar_path(variant, shard), tar)
    store.commit_table(index_path(variant, shard), pa.Table.from_pylist(index, schema=SHARDS.arrow))


def _rows(worker: Worker, members: list[tuple[str, int]]) -> dict[str, dict[str, Any]]:
    """The wide rows of a shard's clips, with the listing's modification time."""
    corpus = worker.corpus
    found: dict[str, dict[str, Any]] = {}
    wanted = {clip for clip, _ in members}
    for part in sorted({part for _, part in members}):
        captions = corpus.read("captions", part, worker.variant("captions").folder)
        times = {
            r["rel_path"]: r["mtime_ns"]
            for r in corpus.read("plan", part, columns=["rel_path", "mtime_ns"]).to_pylist()
        }
        for row in joined.add_captions(joined.read_scanned(corpus, part), captions).to_pylist():
            if row["clip_id"] in wanted:
                found[row["clip_id"]] = {**row, "mtime_ns": times.get(row["source_rel_path"])}
    return {clip: found[clip] for clip, _ in members}


def _cut_all(
    worker: Worker, rows: dict[str, dict[str, Any]], settings: Export, base: Path
) -> dict[str, tuple[ErrorCode, str]]:
    """Cut what is not cut yet. Gives the clips that could not be cut, with the reason."""
    failures: dict[str, tuple[ErrorCode, str]] = {}
    todo: list[dict[str, Any]] = []
    for clip_id, row in rows.items():
        finished = read_finished(base, clip_id)
        if finished is not None:
            worker.emit(_cut_event(row, finished[0].how, 0, resumed=True))
        else:
            todo.append(row)
    for row, future in worker.children.settle(todo, lambda row, alone: _submit(worker, row, settings, base)):
        failure = _take(worker, row, future)
        if failure is not None:
            failures[row["clip_id"]] = failure
    return failures


def _submit(worker: Worker, row: dict[str, Any], settings: Export, base: Path) -> ProcessFuture:
    job = CutJob(
        _to_cut(row),
        settings.model_dump(mode="json"),
        str(base),
        row["source_sha256"],
        row["mtime_ns"],
        row["source_bytes"],
    )
    return worker.children.submit(cut_one, job, limit_s=max(600.0, SECONDS_PER_CLIP_SECOND * row["duration_s"]))


def _take(worker: Worker, row: dict[str, Any], future: Future[Any]) -> tuple[ErrorCode, str] | None:
    """Tell what came of a cut; the reason where it failed."""
    try:
        result = future.result()
    except FutureTimeout:
        failure = (ErrorCode.TIMEOUT, "cutting took too long")
    except DEATHS:
        failure = (ErrorCode.CRASHED, "the process that cut it died twice")
    except SourceFailure as error:
        failure = (error.code, error.message)
    except CutError as error:
        failure = (ErrorCode.CUT_FAILED, error.message)
    else:
        worker.emit(_cut_event(row, result.how, result.frames_decoded))
        return None
    worker.emit({**_cut_event(row, "failed", 0), "error_code": str(failure[0]), "error": failure[1]})
    return failure


def _cut_event(row: dict[str, Any], how: str, frames: int, *, resumed: bool = False) -> dict[str, Any]:
    seconds = 0.0 if how == "failed" else row["duration_s"]
    return {
        "kind": "clip",
        "how": how,
        "clip_s": seconds,
        "frames": frames,
        "uri": row["source_uri"],
        "resumed": resumed,
    }


def cut_one(job: CutJob) -> CutResult:
    """Cut one clip in a child process.

    Raises:
        SourceFailure: the source is gone, or is not what was scanned.
        CutError: this clip cannot be cut.
        StorageError: the disk is full.
    """
    quiet_decoder()
    _check_unchanged(job)
    folder = Path(job.folder)
    with storage_errors(f"Writing to `{folder}`"):
        result = cut_clip(job.clip, Export.model_validate(job.settings), mp4_path(folder, job.clip.clip_id))
        note_finished(folder, job.clip.clip_id, result)
    return result


def _check_unchanged(job: CutJob) -> None:
    path = job.clip.path
    try:
        now = path.stat()
        untouched = (now.st_mtime_ns, now.st_size) == (job.mtime_ns, job.size)
        same = untouched or _content(path, now.st_mtime_ns, now.st_size) == job.sha256
    except OSError as error:
        raise SourceFailure(ErrorCode.NOT_FOUND, f"the source cannot be read any more: {error.strerror}") from None
    if not same:
        raise SourceFailure(
            ErrorCode.CHANGED, "the source has changed since it was scanned: curate it again to have its new content"
        )


@lru_cache(maxsize=64)
def _content(path: Path, mtime_ns: int, size: int) -> str:
    """Checksum of a file that was touched; once per state of the file, not once per clip of it."""
    return sha256_of(path)


def _to_cut(row: dict[str, Any]) -> ClipToCut:
    return ClipToCut(
        clip_id=row["clip_id"],
        path=uri_to_path(row["source_uri"]),
        stream_index=row["stream_index"],
        time_base=row["time_base"],
        start_pts=row["start_pts"],
        end_pts=row["end_pts"],
        start_frame=row["start_frame"],
        end_frame=row["end_frame"],
        start_s=row["start_s"],
        end_s=row["end_s"],
        rotation=row["source_rotation"],
        width=row["width"],
        height=row["height"],
        sample_aspect_ratio=row["source_sample_aspect_ratio"],
        pixel_format=row["source_pixel_format"],
        codec=row["source_codec"],
        fps=row["fps"],
        faultless=not any(row[f"source_{n}"] for n in ("damaged_frames", "decode_errors", "timestamp_faults")),
        bars=_bars(row),
    )


def _bars(row: dict[str, Any]) -> tuple[int, int, int, int]:
    return (row["bar_top"] or 0, row["bar_bottom"] or 0, row["bar_left"] or 0, row["bar_right"] or 0)


_FACTS = (
    "clip_id", "source_id", "start_s", "end_s", "motion", "motion_p95", "sharpness", "brightness", "contrast", "colourfulness",
    "aesthetic_photo", "caption", "caption_short", "caption_structured", "captioner", "caption_scope",
)  # fmt: skip


def sample_facts(row: dict[str, Any], result: CutResult, variant: Variant) -> dict[str, Any]:
    """The sample's ``.json``: what a reader without the tables needs, and where it came from."""
    return {
        **{name: row[name] for name in _FACTS},
        "source": row["source_rel_path"],
        "source_sha256": row["source_sha256"],
        "license": row["source_license"],
        "tags": row["source_tags"],
        "extra": dict(row["source_extra"] or ()),
        "start_frame": result.start_frame,
        "end_frame": result.end_frame,
        "num_frames": result.num_frames,
        "width": result.width,
        "height": result.height,
        "fps": result.fps,
        "how": result.how,
        "recipe": variant.fingerprint,
    }
