"""Training runs that have to do with a source: whose data plan names it, and in which steps it was seen. Room: pipelines."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import StivError, UsageError


@dataclass(frozen=True)
class RunSaw:
    """What a training run has to do with some sources."""

    run: str
    plan: str
    """Hash of its data plan."""
    clips: int
    """Rows of the plan that name them."""
    held_out: int
    """Those of them that are for validation only."""
    visits: int
    steps: Sequence[int]
    """Steps that saw any of them, ascending."""
    checkpoints: Sequence[int]
    """Steps of the checkpoints that were saved after the first of those steps."""
    error: str | None = None
    """Why it cannot be told."""


def runs_below(folder: str) -> Iterator[Path]:
    """A run of `stiv train`, or all runs in a folder.

    Raises:
        UsageError: there is no such folder.
    """
    if not os.path.isdir(folder):
        raise UsageError(
            f"`{folder}` is not a folder.", fix="Give runs of `stiv train`, or a folder that holds some, to --runs."
        )
    for here, inner, files in os.walk(folder):
        inner.sort()
        if "run.json" in files:
            inner.clear()
            yield Path(here)


def runs_that_saw(folders: Sequence[str], sources: Collection[str], clips: Collection[str]) -> list[RunSaw]:
    """The runs whose data plan names a source or clip; nothing of a run is changed.

    Args:
        sources: source ids.
        clips: clip ids.
    """
    paths = dict.fromkeys(path.resolve() for folder in folders for path in runs_below(folder))
    found = [_look(path, sources, clips) for path in paths]
    return [saw for saw in found if saw.clips or saw.error]


def _look(path: Path, sources: Collection[str], clips: Collection[str]) -> RunSaw:
    from stiv_train.data.plan import load_plan
    from stiv_train.ledger import visits
    from stiv_train.run_folder import Run

    try:
        run = Run(path, {})  # its plan, ledger and checkpoints tell all, whatever else of it may be damaged
        plan = load_plan(path, verify=False)
        hit = _named(plan.table, "source_id", sources) | _named(plan.table, "clip_id", clips)
        validation = plan.table["validation"].to_numpy()
        steps = [step[hit[rows]] for step, rows in visits(run)] if hit.any() else []
        seen = np.concatenate(steps) if steps else np.zeros(0, np.int64)
        saved = [step for step in run.steps() if len(seen) and step >= seen.min()]
        return RunSaw(
            str(path),
            plan.hash,
            int(hit.sum()),
            int((hit & validation).sum()),
            len(seen),
            np.unique(seen).tolist(),
            saved,
        )
    except StivError as error:
        return RunSaw(str(path), "", 0, 0, 0, (), (), error=str(error))


def _named(table: pa.Table, column: str, values: Collection[str]) -> np.ndarray:
    found = pc.is_in(table[column], pa.array(sorted(values), pa.string()))
    return np.asarray(found.combine_chunks().to_numpy(zero_copy_only=False), dtype=bool)
