"""The ledger: which clips each training step saw. Room: stiv_train.

Steps count from 1: step N is the one after which the metrics say N, and the checkpoint of step N has seen steps 1 to N. A part is
committed just before each checkpoint, so weights and ledger agree: parts that begin after a run's newest checkpoint were never
committed with weights, and are removed on resuming.

RUN/ledger/part-00000001.parquet    step int64, rows list<uint32>: rows of the data plan, present samples of all processes,
                                    in order of their place in the batch; empty where a step was skipped
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.storage import Store
from schemas.errors import UsageError

if TYPE_CHECKING:
    from stiv_train.distributed import World
    from stiv_train.run_folder import Run

SCHEMA = pa.schema([("step", pa.int64()), ("rows", pa.list_(pa.uint32()))])


class LedgerWriter:
    """Collects what this process saw since the last commit."""

    def __init__(self, run: Path, done: int) -> None:
        """``done``: steps that the checkpoint to go on from has seen."""
        self.store = Store(run)
        self.first = done + 1
        self._seen: list[np.ndarray] = []
        self._last = done

    def forget_later(self) -> None:
        """Remove parts that no checkpoint stands for."""
        for first in _parts(self.store):
            if first >= self.first:
                self.store.remove(_name(first))

    def add(self, step: int, positions: np.ndarray, rows: np.ndarray) -> None:
        """A step, with this process' samples: (B,) places in the batch and (B,) rows of the plan."""
        self._seen.append(np.stack([np.full(len(rows), step), positions, rows], 1).astype(np.int64))
        self._last = step

    def commit(self, world: World) -> None:
        """Write what all processes saw since the last commit. All must call it, the main one writes."""
        if self._last < self.first:
            return
        mine = np.concatenate(self._seen) if self._seen else np.zeros((0, 3), np.int64)
        seen = np.concatenate([part.reshape(-1, 3) for part in world.gather(mine.reshape(-1))])
        if world.main:
            self.store.commit_table(_name(self.first), ledger_table(seen, self.first, self._last))
        self.first = self._last + 1
        self._seen = []


def ledger_table(seen: np.ndarray, first: int, last: int) -> pa.Table:
    """(n, 3) int64 of step, place and row, in any order → one row for each of the steps first..last."""
    seen = seen[np.lexsort((seen[:, 1], seen[:, 0]))]
    steps = np.arange(first, last + 1)
    offsets = np.searchsorted(seen[:, 0], np.arange(first, last + 2))
    rows = pa.ListArray.from_arrays(offsets.astype(np.int32), pa.array(seen[:, 2].astype(np.uint32)))
    return pa.table([pa.array(steps), rows], schema=SCHEMA)


# Reading ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """When clips were trained on."""

    clips: pa.Table
    """Rows of the plan."""
    steps: np.ndarray
    """(n,) int64, ascending, once per visit of a clip."""


def recorded(run: Run) -> tuple[int, int]:
    """First and last step in the ledger; (0, 0) when it is empty."""
    store = Store(run.path)
    parts = _parts(store)
    return (parts[0], int(pc.max(_read(store, parts[-1])["step"]).as_py())) if parts else (0, 0)


def rows_of_step(run: Run, step: int) -> np.ndarray:
    """(n,) int64 rows of the plan that a step saw.

    Raises:
        UsageError: the ledger has no such step.
    """
    store = Store(run.path)
    parts = [first for first in _parts(store) if first <= step]
    if parts:
        table = _read(store, parts[-1])
        if step - parts[-1] < len(table):
            return np.asarray(table["rows"][step - parts[-1]].values, dtype=np.int64)
    first, last = recorded(run)
    have = f"It has steps {first} to {last}." if last else "It is empty until the first checkpoint."
    raise UsageError(f"The ledger of `{run.path}` has no step {step}.", fix=have)


def clips_of_step(run: Run, step: int) -> pa.Table:
    """Rows of the plan that a step saw, in their order in the batch."""
    return run.plan().table.take(pa.array(rows_of_step(run, step)))


def steps_of_source(run: Run, source: str) -> Seen:
    """When the clips of a source were trained on.

    Args:
        source: its URI, its id, or the id of one clip.

    Raises:
        UsageError: the plan has no such source.
    """
    table = run.plan().table
    hit = np.zeros(len(table), bool)
    for column in ("uri", "source_id", "clip_id"):
        hit |= np.asarray(pc.equal(table[column], source).fill_null(False).combine_chunks(), dtype=bool)
    if not hit.any():
        raise UsageError(
            f"No clip of `{source}` is in the data plan of `{run.path}`.",
            fix="Give the source's URI or id as the tables of the corpus have it: `stiv query CORPUS 'SELECT uri, source_id FROM sources'`.",
        )
    steps = [step[hit[rows]] for step, rows in visits(run)]
    return Seen(table.filter(pa.array(hit)), np.concatenate(steps) if steps else np.zeros(0, np.int64))


def visits(run: Run) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each part of the ledger (n,) steps and (n,) rows, one of each per visit."""
    store = Store(run.path)
    for first in _parts(store):
        table = _read(store, first).combine_chunks()
        rows = table["rows"].combine_chunks()
        yield (
            np.repeat(np.asarray(table["step"]), np.diff(np.asarray(rows.offsets))),
            np.asarray(rows.flatten(), dtype=np.int64),
        )


def _read(store: Store, first: int) -> pa.Table:
    return store.read_table(_name(first))


def _name(first: int) -> str:
    return f"ledger/part-{first:08d}.parquet"


def _parts(store: Store) -> list[int]:
    """First steps of the committed parts, ascending."""
    names = [n.removeprefix("part-").removesuffix(".parquet") for n in store.names("ledger") if n.startswith("part-")]
    return sorted(int(n) for n in names if n.isdigit())
