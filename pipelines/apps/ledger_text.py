"""What the ledger of a run says, in tables and as JSON: the clips of a step, the steps of a source."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from pipelines.apps.words import brief, plural

MOST_STEPS = 40
"""Steps written out on a terminal; JSON has them all."""


def step_facts(step: int, clips: pa.Table) -> dict[str, Any]:
    """The clips that a step saw, in their order in the batch. ``clips``: rows of the data plan."""
    columns = ["clip_id", "uri", "shard", "shard_key", "caption"]
    return {"step": step, "clips": clips.select(columns).to_pylist()}


def print_step(step: int, clips: pa.Table, console: Console) -> None:
    """The same as a table."""
    if not len(clips):
        console.print(f"Step {step:,} was skipped: all its samples were broken (quarantine.jsonl lists them).")
        return
    table = Table(title=f"Step {step:,} saw {plural(len(clips), 'clip')}", title_justify="left", box=None)
    for name in ("clip", "source", "tar", "caption"):
        table.add_column(name, no_wrap=name in ("clip", "tar"))
    for clip in step_facts(step, clips)["clips"]:
        table.add_row(clip["clip_id"], clip["uri"], clip["shard"], brief(clip["caption"], 80))
    console.print(table, markup=False)


def source_facts(source: str, clips: pa.Table, steps: np.ndarray) -> dict[str, Any]:
    """When clips were seen. ``steps`` (n,): once per visit of a clip, ascending."""
    return {
        "source": source,
        "clips": clips.select(["clip_id", "uri", "validation"]).to_pylist(),
        "visits": len(steps),
        "steps": steps.tolist(),
    }


def print_source(source: str, clips: pa.Table, steps: np.ndarray, console: Console) -> None:
    """The same in words."""
    held_out = sum(clips["validation"].to_pylist())
    side = f", {plural(held_out, 'of them held out', 'of them held out')} for validation" if held_out else ""
    console.print(f"{source}: {plural(len(clips), 'clip')} in the data plan{side}.", markup=False)
    if not len(steps):
        console.print("No step so far in the ledger saw it.")
        return
    shown = ", ".join(f"{step:,}" for step in steps[:MOST_STEPS])
    more = f" … and {len(steps) - MOST_STEPS:,} more (--json lists all)" if len(steps) > MOST_STEPS else ""
    console.print(f"Seen {plural(len(steps), 'time')}, in steps {shown}{more}.", markup=False)
