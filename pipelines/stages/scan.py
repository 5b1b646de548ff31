"""Stage `scan`: every segment of a part, once, in child processes; then the part's tables, `sources` last.

A long source is several segments, and each is a piece of work of its own for the pool. When all of them have answered they are put
together; if they do not fit, the source is scanned again in one piece.
"""

from __future__ import annotations

import itertools
import shutil
import signal
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessFuture

from curation import child
from curation.corpus import SCAN_VERSION, Corpus, part_name
from curation.forgotten import Forgotten
from curation.listing import uri_to_path
from curation.source_rows import failed_source
from pipelines import scan_child
from pipelines.children import DEATHS
from pipelines.context import Worker
from pipelines.stages.scan_commit import commit
from pipelines.stages.scan_tasks import Source, Task
from schemas import ids
from schemas.errors import ErrorCode, StorageError

POISON_AFTER = 3
"""A segment that was begun this often in one run without an answer has killed its worker each time."""

NAME = "scan"


def run(worker: Worker, part: int) -> None:
    """Scan one part; does nothing when it is committed already. Segments finished before a kill are not scanned again."""
    corpus = worker.corpus
    if corpus.store.exists(corpus.path("sources", part)):
        return
    rows = corpus.read("plan", part).to_pylist()
    base = scratch(corpus, part)
    sources = [Source(list(group), base) for _, group in itertools.groupby(rows, key=lambda row: row["uri"])]
    _scan(worker, part, sources)
    counts = commit(corpus, part, sources, base)
    shutil.rmtree(base, ignore_errors=True)
    worker.emit({"kind": "part", "stage": NAME, "part": part, **counts})


def scratch(corpus: Corpus, part: int) -> Path:
    """Where finished segments of an unfinished part wait."""
    return corpus.store.scratch("scan", f"v{SCAN_VERSION}-{corpus.facts['fingerprint']}", part_name(part))


def _scan(worker: Worker, part: int, sources: Sequence[Source]) -> None:
    """Bring every source to answers that fit."""
    for source in sources:
        source.left = source.missing()
        if not source.left:
            _tell(worker, part, source)
    # A second round scans those sources in one piece whose segments do not fit.
    while any(source.left for source in sources):
        _round(worker, part, [source for source in sources if source.left])


def _round(worker: Worker, part: int, sources: Sequence[Source]) -> None:
    owner = {task.folder: source for source in sources for task in source.left}
    fresh: list[Task] = []
    suspects: list[Task] = []
    for task in [task for source in sources for task in source.left]:
        begun = child.attempts(task.folder, worker.context.run_id)
        if begun >= POISON_AFTER:
            _give_up(task, ErrorCode.POISON, f"its worker died {POISON_AFTER} times while scanning it")
            _finish(worker, part, owner[task.folder], task)
        else:
            (suspects if begun else fresh).append(task)
    # Long work first, so that all processors end at about the same time. One thread decodes at the least cost and is all that a
    # segment may have; idle processors help only when there are fewer files than processors.
    fresh.sort(key=lambda task: -task.cost)
    threads = max(1, worker.context.jobs // len(fresh)) if fresh else 1
    forgotten = Forgotten.read(worker.corpus.store).contents

    def start(task: Task, alone: bool) -> ProcessFuture:
        return _submit(worker, task, threads if task.whole and not alone else 1, forgotten)

    for task, future in worker.children.settle(fresh, start, suspects=suspects, hopeless=lambda t: _stalled(t.folder)):
        source = owner[task.folder]
        _take(worker, source, task, future)
        _finish(worker, part, source, task)


def _submit(worker: Worker, task: Task, threads: int, forgotten: frozenset[str]) -> ProcessFuture:
    settings, row = worker.context.recipe.scan, task.row
    job = child.Job(
        path=str(uri_to_path(row["uri"])),
        rel_path=row["rel_path"],
        folder=str(task.folder),
        settings=settings.model_dump(mode="json"),
        threads=threads,
        run_id=worker.context.run_id,
        from_s=None if task.whole else row["from_s"],
        to_s=None if task.whole else row["to_s"],
        hash=task.whole or row["segment"] == 0,
        forgotten=forgotten,
    )
    return worker.children.submit(scan_child.run, job, limit_s=settings.source_limit_s)


def _take(worker: Worker, source: Source, task: Task, future: Future[Any]) -> None:
    """Record what came of a scan."""
    settings = worker.context.recipe.scan
    try:
        outcome = future.result()
    except FutureTimeout:
        _give_up(task, ErrorCode.TIMEOUT, f"took more than scan.source_limit_s = {settings.source_limit_s:g} seconds")
    except DEATHS as error:
        if _stalled(task.folder):
            _give_up(task, ErrorCode.TIMEOUT, f"gave no frame for scan.stall_s = {settings.stall_s:g} seconds")
        else:
            how = _exit_words(error.exitcode) if isinstance(error, ProcessExpired) else str(error)
            _give_up(task, ErrorCode.CRASHED, f"the decoder process died twice ({how})")
    except StorageError:
        raise  # scratch space is full or gone: not the source's fault
    except Exception as error:
        # A fault of ours in one source must not cost the others their run; the row and the run's record name it.
        worker.emit({"kind": "note", "text": f"{task.row['uri']}: internal error: {error!r}"})
        _give_up(task, ErrorCode.CRASHED, f"internal error: {type(error).__name__}: {error}")
    else:
        source.cpu_s.update(outcome["cpu_s"])


def _give_up(task: Task, code: ErrorCode, text: str) -> None:
    sha256, size = child.read_hash(task.folder)
    identity = {"source_id": ids.source_id(task.row["rel_path"], sha256), "sha256": sha256, "bytes": size}
    child.write_result(task.folder, {**failed_source(code, text), **identity}, [], [], None)


def _finish(worker: Worker, part: int, source: Source, task: Task) -> None:
    """A task of a source is done. When it was the last, look at the answers: they fit, or there is another task."""
    source.resumed = False
    source.left.remove(task)
    if source.left:
        return
    source.left = source.missing()
    if not source.left:
        _tell(worker, part, source)
    elif source.misfit is not None:
        uri = task.row["uri"]
        worker.emit({"kind": "note", "text": f"{uri}: scanned again in one piece, because {source.misfit}"})


def _tell(worker: Worker, part: int, source: Source) -> None:
    """Say what came of a source, and what this run decoded for it."""
    row = source.rows[0]
    found, clips = source.summary()
    frames = source.take_frames()
    from_before = (found["frames_decoded"] or 0) - frames.used
    event = {
        "kind": "source",
        "stage": NAME,
        "part": part,
        "uri": row["uri"],
        "bytes": row["bytes"],
        "status": found["status"],
        "error_code": found["error_code"],
        "clips": clips,
        "video_s": found["duration_s"] or 0.0,
        "source_frames": max(0, (found["num_frames"] or 0) - from_before),
        "frames": frames,
        "cpu_s": dict(source.cpu_s),
        "resumed": source.resumed,
    }
    worker.emit(event)


def _stalled(folder: Path) -> bool:
    try:
        return (folder / child.STALL_FILE).stat().st_size > 0
    except FileNotFoundError:
        return False


def _exit_words(code: int | None) -> str:
    if code is not None and -code in {int(s) for s in signal.Signals}:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
