"""Who writes a corpus: one process at a time, by a lock that dies with it. Its name stays in the file if it could not take it away."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from curation.run_records import record_killed
from curation.storage import Store, storage_errors
from schemas.errors import CorpusBusyError

_TRIES = 4
_WAIT_S = 0.05
"""Whoever only looks at the lock (:func:`look`) has it for an instant; a writer does not give way to that."""


@dataclass(frozen=True)
class Writer:
    """Who has the lock, or was killed while it had it."""

    text: str
    """Such as ``stiv curate, process 7 on host, since 2026-01-01 10:00:00 UTC``."""
    at_work: bool


@contextlib.contextmanager
def hold(store: Store, what: str) -> Iterator[None]:
    """The writer's lock on a corpus folder, which need not be a corpus yet. A writer of a corpus that was killed is put on record.

    Raises:
        CorpusBusyError: somebody else has it.
        StorageError: the folder cannot be written.
    """
    path = _path(store)
    with storage_errors(f"Creating `{path}`"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+", encoding="utf-8")
    with handle:
        if not _lock(handle):
            handle.seek(0)
            raise CorpusBusyError(
                f"`{store.uri}` is being written by another process ({handle.read().strip() or 'unknown'}).",
                fix="Wait for it, or stop it; nothing it has finished is lost.",
            )
        handle.seek(0)
        killed = handle.read().strip()
        if killed and store.exists("corpus.json"):
            record_killed(store, killed)
        handle.truncate(0)
        handle.write(
            f"{what}, process {os.getpid()} on {socket.gethostname()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        )
        handle.flush()
        try:
            yield
        finally:
            handle.truncate(0)


def look(store: Store) -> Writer | None:
    """Who writes the corpus now, or was killed while it did; None where nobody does and the last one ended in good order."""
    try:
        handle = _path(store).open(encoding="utf-8")
    except OSError:  # none yet, or not ours to look at
        return None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            at_work = False
        except OSError:
            at_work = True
        text = handle.read().strip()
    return Writer(text or "unknown", at_work) if text or at_work else None


def _path(store: Store) -> Path:
    return store.local / ".lock" if store.local is not None else store.scratch() / "lock"


def _lock(handle: TextIO) -> bool:
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if left:
                time.sleep(_WAIT_S)
    return False
