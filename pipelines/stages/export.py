"""Stage `export`: cut the clips of one shard, each once and only survivors, then pack them into a tar with its index."""

from __future__ import annotations

import json
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pebble import ProcessExpired

from curation import joined
from curation.child import sha256_of
from curation.corpus import Corpus
from curation.cutting import ClipToCut, CutError, CutResult, cut_clip
from curation.finished import cut_settings, find_finished
from curation.listing import uri_to_path
from curation.opening import SourceFailure, quiet_decoder
from curation.shard_plan import failed_path, index_path, read_plan, tar_path
from curation.shards import Sample, verify_tar, write_tar
from curation.variants import Variant
from pipelines.context import Worker
from schemas.errors import ErrorCode
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


def pending(corpus: Corpus, variant: Variant) -> list[int]:
    """Planned shards without an index."""
    names = set(corpus.store.names(variant.path))
    return [int(shard) for shard in read_plan(corpus, variant) if f"{shard}.parquet" not in names]


def run(worker: Worker, number: int) -> None:
    """Make one shard; does nothing when it is committed already. Clips cut before a kill are not cut again."""
    corpus, variant = worker.corpus, worker.variant("shards")
    shard = f"{number:06d}"
    if corpus.store.exists(index_path(variant, shard)):
        return
    settings = Export.model_validate(variant.settings)
    members = read_plan(corpus, variant)[shard]
    rows = _rows(worker, members)
    base = corpus.store.scratch("export", fingerprint(cut_settings(settings)))
    wanted = set(rows)
    find_finished(corpus, variant, wanted, fingerprint(cut_settings(settings)), base)
    failures = _cut_all(worker, rows, settings, base)
    samples, results = [], {}
    for clip_id, _ in members:
        if clip_id in failures:
            continue
        row = rows[clip_id]
        result = CutResult(**json.loads((base / f"{clip_id}.json").read_text(encoding="utf-8")))
        results[clip_id] = result
        samples.append(
            Sample(clip_id, clip_id, base / f"{clip_id}.mp4", row["caption"], sample_facts(row, result, variant))
        )
    tar = base / f"{variant.name}-{shard}.tar"
    written = write_tar(samples, tar)
    verify_tar(tar, written)
    index = [
        {
            "clip_id": m.clip_id,
            "shard": shard,
            "shard_key": m.key,
            "byte_offset": m.byte_offset,
            "byte_size": m.byte_size,
            "sha256": m.sha256,
            **{
                k: getattr(results[m.clip_id], k)
                for k in ("start_frame", "end_frame", "num_frames", "width", "height", "fps", "how")
            },
            "caption": rows[m.clip_id]["caption"],
        }
        for m in written
    ]
    store = corpus.store
    if failures:
        lost = [
            {"clip_id": c, "shard": shard, "error_code": str(code), "error": text}
            for c, (code, text) in sorted(failures.items())
        ]
        store.commit_table(failed_path(variant, shard), pa.Table.from_pylist(lost, schema=SHARD_FAILURES.arrow))
    store.commit_file(tar_path(variant, shard), tar)
    store.commit_table(index_path(variant, shard), pa.Table.from_pylist(index, schema=SHARDS.arrow))
    for clip_id in rows:
        for ending in (".mp4", ".json"):
            (base / f"{clip_id}{ending}").unlink(missing_ok=True)
    worker.emit(
        {
            "kind": "part",
            "stage": NAME,
            "part": number,
            "clips": len(index),
            "failed": len(failures),
            "bytes": store.size(tar_path(variant, shard)),
        }
    )


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
    futures: dict[Any, str] = {}
    for clip_id, row in rows.items():
        done = base / f"{clip_id}.json"
        if done.exists() and (base / f"{clip_id}.mp4").exists():
            facts = json.loads(done.read_text(encoding="utf-8"))
            worker.emit(
                {"kind": "clip", "how": facts["how"], "clip_s": row["duration_s"], "frames": 0, "resumed": True}
            )
            continue
        job = CutJob(_to_cut(row), settings.model_dump(mode="json"), str(base), row["source_sha256"], row["mtime_ns"])
        limit = max(600.0, SECONDS_PER_CLIP_SECOND * row["duration_s"])
        futures[worker.children.submit(cut_one, job, limit_s=limit)] = clip_id
    for future in as_completed(list(futures)):
        clip_id = futures[future]
        try:
            result = future.result()
        except FutureTimeout:
            failures[clip_id] = (ErrorCode.TIMEOUT, "cutting took too long")
        except ProcessExpired as error:
            failures[clip_id] = (ErrorCode.CRASHED, f"the process that cut it died (exit code {error.exitcode})")
        except SourceFailure as failure:
            failures[clip_id] = (failure.code, failure.message)
        except CutError as error:
            failures[clip_id] = (ErrorCode.READ_FAILED, str(error))
        else:
            worker.emit(
                {
                    "kind": "clip",
                    "how": result.how,
                    "clip_s": rows[clip_id]["duration_s"],
                    "frames": result.frames_decoded,
                }
            )
            continue
        code, text = failures[clip_id]
        worker.emit(
            {
                "kind": "clip",
                "how": "failed",
                "clip_s": 0.0,
                "frames": 0,
                "error_code": str(code),
                "uri": rows[clip_id]["source_uri"],
                "error": text,
            }
        )
    return failures


def cut_one(job: CutJob) -> CutResult:
    """Cut one clip in a child process. The facts beside the .mp4 appear last: they say that it is whole.

    Raises:
        SourceFailure: the source is gone, or is not what was scanned.
    """
    quiet_decoder()
    _check_unchanged(job)
    out = Path(job.folder) / f"{job.clip.clip_id}.mp4"
    result = cut_clip(job.clip, Export.model_validate(job.settings), out)
    facts = out.with_suffix(".json")
    scratch = facts.with_name(facts.name + ".tmp")
    scratch.write_text(json.dumps(asdict(result)), encoding="utf-8")
    scratch.replace(facts)
    return result


def _check_unchanged(job: CutJob) -> None:
    path = job.clip.path
    try:
        now = path.stat().st_mtime_ns
    except OSError as error:
        raise SourceFailure(ErrorCode.NOT_FOUND, f"the source cannot be read any more: {error.strerror}") from None
    if now != job.mtime_ns and sha256_of(path) != job.sha256:
        raise SourceFailure(
            ErrorCode.READ_FAILED,
            "the source has changed since it was scanned: run `stiv plan` and `stiv scan` for the new content",
        )


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
    )


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
        "start_frame": result.start_frame,
        "end_frame": result.end_frame,
        "num_frames": result.num_frames,
        "width": result.width,
        "height": result.height,
        "fps": result.fps,
        "how": result.how,
        "recipe": variant.fingerprint,
    }
