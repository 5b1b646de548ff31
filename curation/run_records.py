"""Records of runs: what each did, timings, counts and the decode ledger. The only place where the time of day is written."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

from curation.frame_note import Frames, take_below
from curation.storage import Store

FINISHED, INTERRUPTED, FAILED, KILLED = "finished", "interrupted", "failed", "killed"
"""How a run may end. A killed one writes nothing: the next writer of the corpus notes it down."""


def write_record(store: Store, record: dict[str, Any]) -> str:
    """Keep a record; gives its relative path. Names sort by time."""
    now = datetime.now(UTC)
    path = f"runs/{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z-{os.urandom(3).hex()}.json"
    store.commit_bytes(path, (json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())
    return path


def last_record(store: Store) -> dict[str, Any] | None:
    """The newest record, with ``ended`` (UTC): it is written at the end and named by that moment. None before the first."""
    names = [n for n in store.names("runs") if n.endswith(".json")]
    if not names:
        return None
    record: dict[str, Any] = json.loads(store.read_bytes(f"runs/{names[-1]}"))
    stamp = names[-1]
    return {**record, "ended": f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]} UTC"}


def record_killed(store: Store, writer: str) -> None:
    """Write the record that a killed writer of a corpus left out, with what is known of the frames that it decoded.

    Args:
        writer: what it said of itself in the lock, such as ``stiv curate, process 7 on host, since …``.
    """
    frames, export = take_left(store)
    write_record(
        store,
        {
            "command": command_of(writer),
            "outcome": KILLED,
            "error": f"It was killed before it could write this ({writer}).",
            "decode": {
                "analysis_frames": frames.used,
                "run_up_frames": frames.run_up,
                "rescanned_frames": frames.again,
                "abandoned_frames": frames.lost,
                "export_frames": export,
            },
        },
    )


def take_left(store: Store) -> tuple[Frames, int]:
    """(frames decoded for analysis, for export) that nobody has booked: of work that was under way when it was stopped."""
    base = store.scratch()
    return take_below(base / "scan"), take_below(base / "export").total


def command_of(writer: str) -> str:
    """The command that a writer names: ``curate`` of ``stiv curate, process 7 on host, since …``."""
    return writer.partition(",")[0].removeprefix("stiv ")
