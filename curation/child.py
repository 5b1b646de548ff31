"""The body of a child process that scans one segment: it can hang or crash without harm, and its answer is a folder of files.

Importable by name, so that a spawned process finds it; imports nothing that a worker does not need.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from curation.frame_note import SUFFIX, FrameNote, Frames
from curation.regular import NotRegularError, check_regular
from curation.storage import storage_errors
from schemas.errors import ErrorCode
from schemas.recipe import Scan

if TYPE_CHECKING:
    from curation.shots.network import ShotNetwork

STALL_FILE = "stalled.txt"
RESULT_FILE = "result.json"
STILLS_FILE = "stills.bin"
HASH_FILE = "sha256.txt"
ATTEMPT_FILE = "attempts.json"
FRAMES_FILE = f"scan{SUFFIX}"
CHUNK = 1 << 22


@dataclass(frozen=True)
class Job:
    """One segment to scan. Everything in it can be sent to another process."""

    path: str
    rel_path: str
    folder: str
    settings: dict[str, Any]
    """The recipe's scan section as JSON-like values."""
    threads: int
    run_id: str
    """Which run this is: attempts are counted within one run."""
    from_s: float | None = None
    """The segment's span in the source's time, as the plan has it; None at the outer ends."""
    to_s: float | None = None
    hash: bool = True
    """Whether to hash the content: once for each source is enough."""
    forgotten: frozenset[str] = frozenset()
    """SHA-256 of contents that are not to be taken in."""


def sha256_of(path: Path, alive: Callable[[], None] = lambda: None) -> str:
    """Hex SHA-256 of a file's content, read in pieces; ``alive`` is called after each.

    Raises:
        NotRegularError: a pipe would be waited for, and a device has no end.
        OSError: it cannot be read.
    """
    check_regular(path)
    state = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            state.update(chunk)
            alive()
    return state.hexdigest()


class Watch:
    """Ends this process when no frame came for ``stall_s`` seconds, or when the parent is gone.

    The timer is faulthandler's, a thread of its own outside the interpreter, so it fires even while a decoder holds the lock.
    """

    def __init__(self, stall_s: float, log: TextIO) -> None:
        self._stall_s = stall_s
        # Asked of the spawner, not of the system: the parent may be gone by now.
        spawner = multiprocessing.parent_process()
        self._parent = os.getppid() if spawner is None else spawner.pid
        self._log = log
        self._armed = 0.0
        self.alive()

    def alive(self) -> None:
        """Say that work goes on. Cheap: the timer is set again at most four times a second."""
        now = time.monotonic()
        if now - self._armed < 0.25:
            return
        self._armed = now
        if os.getppid() != self._parent:
            os._exit(3)
        faulthandler.dump_traceback_later(self._stall_s, exit=True, file=self._log)

    def stop(self) -> None:
        faulthandler.cancel_dump_traceback_later()


def run(job: Job, network: ShotNetwork | None = None) -> dict[str, Any]:
    """Scan one segment into ``job.folder`` and say shortly what came of it. The result file appears last and whole.

    Returns:
        CPU seconds by kind of work, for the run's record. The frames are in ``FRAMES_FILE``.
    """
    from curation.opening import SourceFailure, quiet_decoder
    from curation.scan import ScanResult, scan_source
    from curation.segments import Piece
    from curation.source_rows import failed_source
    from schemas import ids

    quiet_decoder()
    folder, path = Path(job.folder), Path(job.path)
    folder.mkdir(parents=True, exist_ok=True)
    _count_attempt(folder, job.run_id)
    settings = Scan.model_validate(job.settings)
    sha256: str | None = None
    size: int | None = None
    with FrameNote(folder / FRAMES_FILE) as note, (folder / STALL_FILE).open("w", encoding="utf-8") as log:
        watch = Watch(settings.stall_s, log)

        def frame_done() -> None:
            note.count()
            watch.alive()

        try:
            try:
                sha256 = sha256_of(path, watch.alive) if job.hash else None
                size = path.stat().st_size
                if sha256 in job.forgotten:
                    raise SourceFailure(
                        ErrorCode.FORGOTTEN, "its content was taken out of this corpus with `stiv forget`"
                    )
            except OSError as error:
                result = ScanResult(failed_source(*_unreadable(error)))
            else:
                # From here on an OSError is about our scratch space, never the source's fault.
                with storage_errors(f"Writing to `{folder}`"):
                    if sha256 is not None:
                        (folder / HASH_FILE).write_text(f"{sha256} {size}", encoding="ascii")
                    with (folder / STILLS_FILE).open("w+b") as stills:
                        result = scan_source(
                            path,
                            ids.source_id(job.rel_path, sha256),
                            settings,
                            stills,
                            threads=job.threads,
                            piece=Piece(job.from_s, job.to_s),
                            network=network,
                            alive=frame_done,
                        )
        except SourceFailure as failure:
            result = ScanResult(failed_source(failure.code, failure.message))
        except MemoryError:
            result = ScanResult(failed_source(ErrorCode.CRASHED, "the decoder ran out of memory"))
        finally:
            watch.stop()
            note.save()
        if result.source["frames_decoded"] is not None:
            own, seams = result.source["frames_decoded"], result.source["frames_run_up"]
            note.settle(Frames(used=own, run_up=seams, again=result.rescanned_frames))
    result.source.update(source_id=ids.source_id(job.rel_path, sha256), sha256=sha256, bytes=size)
    write_result(folder, result.source, result.transitions, result.clips, result.segment)
    return {"cpu_s": result.seconds}


def _unreadable(error: OSError) -> tuple[ErrorCode, str]:
    if isinstance(error, FileNotFoundError):
        return ErrorCode.NOT_FOUND, "the file is not there"
    if isinstance(error, PermissionError):
        return ErrorCode.NO_PERMISSION, "the file may not be read by this user"
    if isinstance(error, IsADirectoryError):
        return ErrorCode.UNSUPPORTED, "this is a folder, not a file"
    if isinstance(error, NotRegularError):
        return ErrorCode.UNSUPPORTED, str(error)
    return ErrorCode.READ_FAILED, f"reading failed: {error.strerror or error}"


def _count_attempt(folder: Path, run_id: str) -> None:
    (folder / ATTEMPT_FILE).write_text(
        json.dumps({"run": run_id, "count": attempts(folder, run_id) + 1}), encoding="utf-8"
    )


def attempts(folder: Path, run_id: str) -> int:
    """How often this run began to scan the segment. More than a few without an answer: it kills its workers."""
    try:
        noted = json.loads((folder / ATTEMPT_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return 0
    return int(noted["count"]) if noted.get("run") == run_id else 0


def read_hash(folder: Path) -> tuple[str | None, int | None]:
    """Content hash and size that a child noted before it began to decode."""
    try:
        sha256, size = (folder / HASH_FILE).read_text(encoding="ascii").split()
    except (FileNotFoundError, ValueError):
        return None, None
    return sha256, int(size)


def write_result(
    folder: Path,
    source: dict[str, Any],
    transitions: list[dict[str, Any]],
    clips: list[dict[str, Any]],
    segment: dict[str, Any] | None,
) -> None:
    """Put a segment's answer in its folder in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STALL_FILE).unlink(missing_ok=True)
    scratch = folder / (RESULT_FILE + ".tmp")
    answer = {
        "source": source,
        "transitions": transitions,
        "clips": clips,
        "segment": segment,
        "stills_bytes": _stills_bytes(folder),
    }
    with storage_errors(f"Writing to `{folder}`"):
        scratch.write_text(json.dumps(answer, allow_nan=False), encoding="utf-8")
        scratch.replace(folder / RESULT_FILE)


def read_result(folder: Path) -> dict[str, Any] | None:
    """A segment's answer, or None when it has none yet, or not a whole one."""
    try:
        answer: dict[str, Any] = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):  # cut short by a power failure: as if it were not there
        return None
    return answer if answer["stills_bytes"] == _stills_bytes(folder) else None


def _stills_bytes(folder: Path) -> int:
    try:
        return (folder / STILLS_FILE).stat().st_size
    except FileNotFoundError:
        return 0
