"""Stage `scan`: every source of a part, once, in child processes; then the part's tables, `sources` last."""

from __future__ import annotations

import shutil
import signal
import tarfile
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from io import BytesIO
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessFuture

from curation import child
from curation.corpus import SCAN_VERSION, Corpus, part_name
from curation.listing import uri_to_path
from curation.source_rows import failed_source
from pipelines.children import DEATHS
from pipelines.context import Worker
from schemas import ids
from schemas.errors import ErrorCode, StorageError

POISON_AFTER = 3
"""A segment that was begun this often in one run without an answer has killed its worker each time."""

NAME = "scan"


def run(worker: Worker, part: int) -> None:
    """Scan one part; does nothing when it is committed already. Sources finished before a kill are not scanned again."""
    corpus = worker.corpus
    if corpus.store.exists(corpus.path("sources", part)):
        return
    rows = corpus.read("plan", part).to_pylist()
    base = scratch(corpus, part)
    _scan_sources(worker, part, rows, base)
    counts = _commit(corpus, part, rows, base)
    shutil.rmtree(base, ignore_errors=True)
    worker.emit({"kind": "part", "stage": NAME, "part": part, **counts})


def scratch(corpus: Corpus, part: int) -> Path:
    """Where finished sources of an unfinished part wait."""
    return corpus.store.scratch("scan", f"v{SCAN_VERSION}-{corpus.facts['fingerprint']}", part_name(part))


def _scan_sources(worker: Worker, part: int, rows: list[dict[str, Any]], base: Path) -> None:
    context = worker.context
    fresh: list[dict[str, Any]] = []
    suspects: list[dict[str, Any]] = []
    for row in rows:
        answer = child.read_result(base / row["segment_id"])
        begun = child.attempts(base / row["segment_id"], context.run_id)
        if answer is not None:
            worker.emit(_event(part, row, answer["source"], len(answer["clips"]), resumed=True))
        elif begun >= POISON_AFTER:
            text = f"its worker died {POISON_AFTER} times while scanning it"
            _give_up(worker, part, row, base, ErrorCode.POISON, text)
        else:
            (suspects if begun else fresh).append(row)
    # One thread per source decodes at the least cost; idle processors help only when there are fewer sources than processors.
    threads = max(1, context.jobs // len(fresh)) if fresh else 1

    def start(row: dict[str, Any], alone: bool) -> ProcessFuture:
        return _submit(worker, row, base, 1 if alone else threads)

    def stalled(row: dict[str, Any]) -> bool:
        return _stalled(base / row["segment_id"])

    for row, future in worker.children.settle(fresh, start, suspects=suspects, hopeless=stalled):
        _take(worker, part, row, base, future)


def _submit(worker: Worker, row: dict[str, Any], base: Path, threads: int) -> ProcessFuture:
    settings = worker.context.recipe.scan
    job = child.Job(
        path=str(uri_to_path(row["uri"])),
        rel_path=row["rel_path"],
        folder=str(base / row["segment_id"]),
        settings=settings.model_dump(mode="json"),
        threads=threads,
        run_id=worker.context.run_id,
    )
    return worker.children.submit(child.run, job, limit_s=settings.source_limit_s)


def _take(worker: Worker, part: int, row: dict[str, Any], base: Path, future: Future[Any]) -> None:
    """Record what came of a source's scan."""
    settings = worker.context.recipe.scan
    try:
        outcome = future.result()
    except FutureTimeout:
        text = f"took more than scan.source_limit_s = {settings.source_limit_s:g} seconds"
        _give_up(worker, part, row, base, ErrorCode.TIMEOUT, text)
    except DEATHS as error:
        if _stalled(base / row["segment_id"]):
            text = f"gave no frame for scan.stall_s = {settings.stall_s:g} seconds"
            _give_up(worker, part, row, base, ErrorCode.TIMEOUT, text)
        else:
            how = _exit_words(error.exitcode) if isinstance(error, ProcessExpired) else str(error)
            _give_up(worker, part, row, base, ErrorCode.CRASHED, f"the decoder process died twice ({how})")
    except StorageError:
        raise  # scratch space is full or gone: not the source's fault
    except Exception as error:
        # A fault of ours in one source must not cost the others their run; the row and the run's record name it.
        worker.emit({"kind": "note", "text": f"{row['uri']}: internal error: {error!r}"})
        _give_up(worker, part, row, base, ErrorCode.CRASHED, f"internal error: {type(error).__name__}: {error}")
    else:
        event = {"kind": "source", "stage": NAME, "part": part, "uri": row["uri"], "bytes": row["bytes"]}
        worker.emit({**event, **outcome})


def _give_up(worker: Worker, part: int, row: dict[str, Any], base: Path, code: ErrorCode, text: str) -> None:
    folder = base / row["segment_id"]
    sha256, size = child.read_hash(folder)
    source = {
        **failed_source(code, text),
        "source_id": ids.source_id(row["rel_path"], sha256),
        "sha256": sha256,
        "bytes": size,
    }
    child.write_result(folder, source, [], [])
    worker.emit(_event(part, row, source, 0))


def _event(
    part: int, row: dict[str, Any], source: dict[str, Any], clips: int, *, resumed: bool = False
) -> dict[str, Any]:
    return {
        "kind": "source",
        "stage": NAME,
        "part": part,
        "uri": row["uri"],
        "bytes": row["bytes"],
        "status": source["status"],
        "error_code": source["error_code"],
        "clips": clips,
        "video_s": source["duration_s"] or 0.0,
        "frames": source["frames_decoded"] or 0,
        "resumed": resumed,
    }


def _stalled(folder: Path) -> bool:
    try:
        return (folder / child.STALL_FILE).stat().st_size > 0
    except FileNotFoundError:
        return False


def _exit_words(code: int | None) -> str:
    if code is not None and -code in {int(s) for s in signal.Signals}:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _commit(corpus: Corpus, part: int, rows: list[dict[str, Any]], base: Path) -> dict[str, int]:
    """Put the part's tables together in the order of the plan and commit them."""
    sources: list[dict[str, Any]] = []
    clips: list[dict[str, Any]] = []
    transitions: list[dict[str, Any]] = []
    tar_path = base / "stills.tar"
    with tarfile.open(tar_path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows:
            folder = base / row["segment_id"]
            answer = child.read_result(folder)
            if answer is None:
                raise RuntimeError(f"segment {row['segment_id']} of {part_name(part)} has no result")
            given = {key: row[key] for key in ("uri", "rel_path", "license", "tags", "extra")}
            sources.append({**answer["source"], **given})
            transitions += answer["transitions"]
            if answer["clips"]:
                with (folder / child.STILLS_FILE).open("rb") as stills:
                    for clip in answer["clips"]:
                        clips.append(_with_stills(clip, stills, tar))
    corpus.write("transitions", part, transitions)
    corpus.store.commit_file(corpus.path("stills", part), tar_path)
    corpus.write("clips", part, clips)
    corpus.write("sources", part, sources)
    return {"sources": len(sources), "clips": len(clips), "errors": sum(s["status"] == "error" for s in sources)}


def _with_stills(clip: dict[str, Any], stills: Any, tar: tarfile.TarFile) -> dict[str, Any]:
    """Copy a clip's stills into the part's tar and note where each JPEG lies there."""
    placed = clip.pop("stills")
    offsets = []
    for number, (_, offset, size) in enumerate(placed):
        stills.seek(offset)
        info = tarfile.TarInfo(f"{clip['clip_id']}.{number:02d}.jpg")
        info.size, info.mtime, info.mode = size, 0, 0o644
        offsets.append(tar.offset + tarfile.BLOCKSIZE)  # the header of a USTAR member with a short name is one block
        tar.addfile(info, BytesIO(stills.read(size)))
    clip["stills_frame"] = [frame for frame, _, _ in placed]
    clip["stills_offset"] = offsets
    clip["stills_size"] = [size for _, _, size in placed]
    return clip
