"""Stage `export`: cut the clips of one shard, each once and only survivors, then pack them into a tar with its index."""

from __future__ import annotations

from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from pebble import ProcessFuture

from curation import frame_note, joined
from curation.corpus import Corpus
from curation.cutting import CutError, CutResult
from curation.finished import CUT_COLUMNS, cut_settings, find_finished, forget_finished, mp4_path, read_finished
from curation.opening import SourceFailure
from curation.shard_plan import failed_path, index_path, read_plan, tar_path
from curation.shards import Member, Sample, verify_tar, write_tar
from curation.variants import Variant
from curation.views import table_dataset
from pipelines.children import DEATHS
from pipelines.context import Worker
from pipelines.stages.cut_job import SourceChanged, bars_of, cut_one, frames_path, make_job
from schemas.errors import ERROR_CODES, ErrorCode, StivError, StorageError
from schemas.ids import fingerprint
from schemas.recipe import Export
from schemas.tables import SHARD_FAILURES, SHARDS

NAME = "export"

SECONDS_PER_CLIP_SECOND = 120.0
"""A cut may take this long per second of clip before its process is killed; at least ten minutes."""

Failure = tuple[ErrorCode, str]
"""Why a clip could not be cut."""


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
    again, tried = set[str](), dict[str, Failure]()
    if corpus.store.exists(index_path(variant, shard)):
        again = _retryable(corpus, variant, shard)
        tried = failures = _cut_all(worker, _rows(worker, [m for m in members if m[0] in again]), settings, base)
        if again <= failures.keys():
            _note_failures(corpus, variant, shard, failures)
            return
    rows = _rows(worker, members)
    find_finished(corpus, set(rows), settings, base, {c for c, row in rows.items() if not any(bars_of(row))})
    failures = tried | _cut_all(worker, {c: row for c, row in rows.items() if c not in again}, settings, base)
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
    failures: dict[str, Failure],
) -> None:
    """Publish a shard. An index that stood for an older tar goes first, so that none ever speaks of another tar's bytes."""
    store = corpus.store
    store.remove(index_path(variant, shard))
    if failures:
        store.commit_table(failed_path(variant, shard), _failure_table(shard, failures))
    else:
        store.remove(failed_path(variant, shard))
    store.commit_file(tar_path(variant, shard), tar)
    store.commit_table(index_path(variant, shard), pa.Table.from_pylist(index, schema=SHARDS.arrow))


def _failure_table(shard: str, failures: dict[str, Failure]) -> pa.Table:
    lost = [
        {"clip_id": c, "shard": shard, "error_code": str(code), "error": text}
        for c, (code, text) in sorted(failures.items())
    ]
    return pa.Table.from_pylist(lost, schema=SHARD_FAILURES.arrow)


def _note_failures(corpus: Corpus, variant: Variant, shard: str, failures: dict[str, Failure]) -> None:
    """Clips that a finished shard lacks were tried again in vain; the reason may be another one now."""
    path = failed_path(variant, shard)
    if not failures:
        return
    before = corpus.store.read_table(path)
    known = {r["clip_id"]: (ErrorCode(r["error_code"]), r["error"]) for r in before.to_pylist()}
    now = _failure_table(shard, known | failures)
    if not now.equals(before):
        corpus.store.commit_table(path, now)


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


def _cut_all(worker: Worker, rows: dict[str, dict[str, Any]], settings: Export, base: Path) -> dict[str, Failure]:
    """Cut what is not cut yet. Gives the clips that could not be cut, with the reason."""
    failures: dict[str, Failure] = {}
    changed: dict[str, str] = {}
    todo: list[dict[str, Any]] = []
    for clip_id, row in rows.items():
        finished = read_finished(base, clip_id)
        if finished is not None:
            worker.emit(_cut_event(row, finished[0].how, base, resumed=True))
        else:
            todo.append(row)
    for row, future in worker.children.settle(todo, lambda row, alone: _submit(worker, row, settings, base)):
        clip_id = row["clip_id"]
        try:
            done = future.result()
        except SourceChanged as error:
            failures[clip_id], changed[clip_id] = (error.code, error.message), error.sha256
        except (FutureTimeout, *DEATHS, SourceFailure, CutError) as error:
            failures[clip_id] = _failure(error)
        except StivError:
            raise
        except Exception as error:  # one clip must not end the run: it is told, and its row says so
            worker.emit({"kind": "note", "text": f"{row['source_uri']}: internal error: {error!r}"})
            failures[clip_id] = ErrorCode.CRASHED, f"internal error: {type(error).__name__}: {error}"
        else:
            worker.emit(_cut_event(row, done.how, base))
    failures |= _replaced(worker.corpus, {c: (rows[c]["source_uri"], sha256) for c, sha256 in changed.items()})
    for clip_id, (code, text) in failures.items():
        how = "replaced" if code is ErrorCode.REPLACED else "failed"
        worker.emit({**_cut_event(rows[clip_id], how, base), "error_code": str(code), "error": text})
    return failures


def _submit(worker: Worker, row: dict[str, Any], settings: Export, base: Path) -> ProcessFuture:
    limit_s = max(600.0, SECONDS_PER_CLIP_SECOND * row["duration_s"])
    return worker.children.submit(cut_one, make_job(row, settings, base), limit_s=limit_s)


def _failure(error: Exception) -> Failure:
    if isinstance(error, SourceFailure):
        return error.code, error.message
    if isinstance(error, CutError):
        return ErrorCode.CUT_FAILED, error.message
    if isinstance(error, FutureTimeout):
        return ErrorCode.TIMEOUT, "cutting took too long"
    return ErrorCode.CRASHED, "the process that cut it died twice"


def _replaced(corpus: Corpus, changed: dict[str, tuple[str, str]]) -> dict[str, Failure]:
    """Of clips whose source changed, those for which there is nothing left to do: the corpus has what is in its place now.

    Args:
        changed: clip → (address of its source, sha256 of what is there).
    """
    if not changed:
        return {}
    places = ds.field("uri").isin(list({uri for uri, _ in changed.values()}))
    scanned = table_dataset(corpus, "sources").to_table(columns=["uri", "sha256"], filter=places).to_pylist()
    known = {(row["uri"], row["sha256"]) for row in scanned}
    text = "the source was overwritten after it was scanned; its new content is a source of its own"
    return {clip: (ErrorCode.REPLACED, text) for clip, now in changed.items() if now in known}


def _cut_event(row: dict[str, Any], how: str, base: Path, *, resumed: bool = False) -> dict[str, Any]:
    """What came of a clip, and the frames decoded for it that are in no record yet, whatever came of it."""
    return {
        "kind": "clip",
        "how": how,
        "clip_s": row["duration_s"] if how in ("copy", "encode") else 0.0,
        "frames": frame_note.take(frames_path(base, row["clip_id"])).total,
        "uri": row["source_uri"],
        "resumed": resumed,
    }


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
