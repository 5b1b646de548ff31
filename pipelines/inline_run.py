"""Executor `inline`: a loop in this process, for debugging, tests and machines without Ray."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.chain import Stage, carry_out
from pipelines.context import Context, Emit, Worker


def run_inline(context: Context, stages: Sequence[Stage], units: Sequence[int], emit: Emit) -> None:
    """Run every stage on every unit, unit by unit. Children still work side by side within a unit."""
    worker = Worker(context, emit)
    try:
        for unit in units:
            for stage in stages:
                if not carry_out(stage, worker, unit):
                    break
    finally:
        worker.close()
