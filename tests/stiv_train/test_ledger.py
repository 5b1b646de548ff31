"""The ledger: what goes in comes out, by step and by source, and agrees with the checkpoint."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from schemas.errors import UsageError
from stiv_train import ledger
from stiv_train.distributed import World
from stiv_train.ledger import LedgerWriter

ALONE = World(torch.device("cpu"))


def a_run(path: Path, clips: int = 6) -> Any:
    """Stands for a run whose plan has two clips of each source."""
    table = pa.table(
        {
            "clip_id": [f"c{n}" for n in range(clips)],
            "source_id": [f"s{n // 2}" for n in range(clips)],
            "uri": [f"/videos/{n // 2}.mp4" for n in range(clips)],
        }
    )
    plan = SimpleNamespace(table=table, at=lambda rows: table.take(pa.array(rows)))
    return SimpleNamespace(path=path, plan=lambda: plan)


def write(path: Path, steps: dict[int, list[int]], done: int = 0) -> LedgerWriter:
    writer = LedgerWriter(path, done)
    for step, rows in steps.items():
        writer.add(step, np.arange(len(rows)), np.array(rows, np.int64))
    writer.commit(ALONE)
    return writer


def test_what_steps_saw_comes_back_in_the_order_of_the_batch(tmp_path: Path) -> None:
    steps = {1: [4, 0], 2: [], 3: [5], 4: [1, 0, 2]}
    write(tmp_path, {s: steps[s] for s in (1, 2)})
    write(tmp_path, {s: steps[s] for s in (3, 4)}, done=2)
    run = a_run(tmp_path)
    assert {s: ledger.rows_of_step(run, s).tolist() for s in steps} == steps
    assert ledger.recorded(run) == (1, 4)
    assert ledger.clips_of_step(run, 4)["clip_id"].to_pylist() == ["c1", "c0", "c2"]
    assert ledger.clips_of_step(run, 2).num_rows == 0


def test_processes_are_put_together_by_place_in_the_batch() -> None:
    seen = np.array([[7, 3, 30], [7, 1, 10], [8, 0, 5], [7, 0, 99], [7, 2, 20]])
    table = ledger.ledger_table(seen, 7, 9)
    assert table.schema == ledger.SCHEMA
    assert table.to_pylist() == [
        {"step": 7, "rows": [99, 10, 20, 30]},
        {"step": 8, "rows": [5]},
        {"step": 9, "rows": []},
    ]


def test_a_source_is_found_by_uri_id_and_clip(tmp_path: Path) -> None:
    write(tmp_path, {1: [4, 0], 2: [1], 3: [5]})
    write(tmp_path, {4: [1, 0, 2]}, done=3)
    run = a_run(tmp_path)
    for name in ("/videos/0.mp4", "s0"):
        seen = ledger.steps_of_source(run, name)
        assert seen.steps.tolist() == [1, 2, 4, 4]
        assert seen.clips["clip_id"].to_pylist() == ["c0", "c1"]
    assert ledger.steps_of_source(run, "c1").steps.tolist() == [2, 4]
    assert ledger.steps_of_source(run, "c3").steps.tolist() == []
    with pytest.raises(UsageError, match="No clip of `s9`"):
        ledger.steps_of_source(run, "s9")


def test_steps_it_does_not_have_are_refused_with_what_it_has(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    with pytest.raises(UsageError, match="empty until the first checkpoint"):
        ledger.rows_of_step(run, 1)
    write(tmp_path, {1: [0], 2: [1]})
    for step in (0, 3):
        with pytest.raises(UsageError, match="It has steps 1 to 2"):
            ledger.rows_of_step(run, step)


def test_parts_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    write(tmp_path, {1: [0], 2: [1]})
    write(tmp_path, {3: [2], 4: [3]}, done=2)  # killed before the checkpoint of step 4 was saved
    writer = LedgerWriter(tmp_path, 2)
    writer.forget_later()
    run = a_run(tmp_path)
    assert ledger.recorded(run) == (1, 2)
    writer.add(3, np.arange(1), np.array([5]))
    writer.commit(ALONE)
    assert ledger.rows_of_step(run, 3).tolist() == [5]


def test_nothing_new_writes_no_part(tmp_path: Path) -> None:
    writer = write(tmp_path, {1: [0]})
    writer.commit(ALONE)
    assert [p.name for p in sorted((tmp_path / "ledger").glob("*.parquet"))] == ["part-00000001.parquet"]


def test_it_is_compact(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).permutation(1_000_000)
    write(tmp_path, {step: rows[step * 1000 : step * 1000 + 1000].tolist() for step in range(1, 101)})
    path = tmp_path / "ledger" / "part-00000001.parquet"
    assert path.stat().st_size < 6 * 100_000, "under six bytes for each sample seen"
    assert pq.read_schema(path).remove_metadata().equals(ledger.SCHEMA)
