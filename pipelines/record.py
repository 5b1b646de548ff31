"""What a run puts on record: how it ended, settings, timings, counts, and the frames that it decoded."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from curation.environment import engine_version, environment
from curation.run_records import FAILED, FINISHED, INTERRUPTED, KILLED, last_record, take_left
from curation.storage import Store
from curation.variants import Variant
from pipelines.prepare import Options
from pipelines.progress import Counts, Progress
from schemas.recipe import CurateRecipe


def say_killed(store: Store, progress: Progress) -> bool:
    """Where the last run was killed: say so, for nothing else is known of it. Whether it was."""
    last = last_record(store)
    killed = last is not None and last.get("outcome") == KILLED
    if last is not None and killed:
        text = f"the last `stiv {last['command']}` was killed and left no record; what it had finished is kept."
        progress.handle({"kind": "note", "text": text})
    return killed


def book_left(store: Store, progress: Progress) -> None:
    """Enter what was decoded by work that nobody has heard of: it was stopped, or ended when nobody listened any more."""
    frames, export = take_left(store)
    progress.book(frames)
    progress.counts.source_frames += frames.used
    progress.counts.export_frames += export


def make_record(
    command: str, recipe: CurateRecipe, options: Options, counts: Counts, seconds: float, made: dict[str, Variant]
) -> dict[str, Any]:
    """The record of a run that ends now, as JSON-like values. Called while an error is under way, it says which."""
    # Not asdict: it would count a Counter's pairs again.
    told = {f.name: getattr(counts, f.name) for f in fields(counts)}
    return {
        "command": command,
        **_ending(),
        "started": (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds"),
        "engine": engine_version(),
        "environment": environment(),
        "recipe": recipe.model_dump(mode="json"),
        "options": asdict(options),
        "variants": {table: {"name": v.name, "fingerprint": v.fingerprint} for table, v in made.items()},
        "seconds": round(seconds, 3),
        "decode": {
            "source_frames": counts.source_frames,
            "analysis_frames": counts.analysis_frames,
            "analysis_ratio": ratio(counts.analysis_frames, counts.source_frames),
            "run_up_frames": counts.run_up_frames,
            "rescanned_frames": counts.rescanned_frames,
            "abandoned_frames": counts.abandoned_frames,
            "export_frames": counts.export_frames,
        },
        "cpu_s": {k: round(v, 3) for k, v in sorted(told.pop("cpu_s").items())},
        "counts": {k: dict(v) if isinstance(v, Counter) else v for k, v in told.items()},
    }


def _ending() -> dict[str, str]:
    error = sys.exc_info()[1]
    if error is None:
        return {"outcome": FINISHED}
    if isinstance(error, KeyboardInterrupt):
        return {"outcome": INTERRUPTED}
    first = str(error).strip().partition("\n")[0]
    return {"outcome": FAILED, "error": first or type(error).__name__}


def ratio(part: float, whole: float) -> float | None:
    """How many times the whole, to four places; None of nothing."""
    return round(part / whole, 4) if whole else None
