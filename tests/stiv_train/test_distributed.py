"""Two processes over gloo learn what one learns; what they tell each other arrives."""

from __future__ import annotations

import json
import multiprocessing
import runpy
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curation.corpus import Corpus
from schemas.errors import UsageError
from schemas.train_recipe import TrainRecipe
from stiv_train import ledger
from stiv_train.checkpoint import read
from stiv_train.distributed import World, choose_device
from stiv_train.loop import train
from stiv_train.run_folder import Run

Recipes = Callable[..., TrainRecipe]

_RANK = """
import json, os
os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2",
                  MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
import torch
torch.set_num_threads(1)
"""

_TRAIN = (
    _RANK
    + """
from schemas.train_recipe import TrainRecipe
from stiv_train.distributed import joined
from stiv_train.loop import train
with joined("cpu"):
    for job in json.loads(jobs):
        job["recipe"] = job["recipe"] and TrainRecipe.model_validate(job["recipe"])
        train(**job)
"""
)

_TALK = (
    _RANK
    + """
import numpy as np
from pathlib import Path
from stiv_train.distributed import joined
with joined("cpu") as world:
    said = {
        "main": world.main, "size": world.size, "beside": world.beside,
        "sum": world.sum(rank + 1, 10),
        "tensor": world.sum_tensor(torch.tensor([0.5 + rank])).tolist(),
        "arrays": [part.tolist() for part in world.gather(np.arange(3 * rank, dtype=np.int64))],
        "json": world.gather_json({"from": rank, "word": "é" * rank}),
    }
    world.wait()
Path(out, f"{rank}.json").write_text(json.dumps(said))
"""
)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Runs a script in two processes that have joined each other. They are forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["stiv_train.loop", "open_clip"])
    folder = tmp_path_factory.mktemp("script")

    def run(script: str, **names: Any) -> None:
        path = folder / "script.py"
        path.write_text(script)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        processes = [
            context.Process(target=runpy.run_path, args=(str(path), {**names, "rank": rank, "port": port}))
            for rank in range(2)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            process.kill()
        assert [process.exitcode for process in processes] == [0, 0]

    return run


def job(corpus: str | None, recipe: TrainRecipe | None, out: Path, **more: Any) -> dict[str, Any]:
    return {"corpus": corpus, "recipe": recipe and recipe.model_dump(mode="json"), "out": str(out), **more}


def lines(run: Path, key: str) -> dict[int, float]:
    text = (run / "metrics.jsonl").read_text().splitlines()
    return {line["step"]: line[key] for line in map(json.loads, text) if key in line}


def close(run: Path, other: Path, step: int) -> None:
    """Two runs have learnt the same, but for rounding."""
    a, b = Run.open(run), Run.open(other)
    for part in ("weights", "ema", "optimiser"):
        one, two = read(a.checkpoint(step), part), read(b.checkpoint(step), part)
        assert one.keys() == two.keys()
        for name in one:
            torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}")
    for key in ("loss", "grad_norm"):
        assert lines(run, key) == pytest.approx(lines(other, key), rel=1e-4)
    measured, again = lines(run, "validation_loss"), lines(other, "validation_loss")
    assert measured.keys() == {0, step}
    assert {n: again[n] for n in measured} == pytest.approx(measured, rel=1e-4)
    for n in range(1, step + 1):
        assert ledger.rows_of_step(a, n).tolist() == ledger.rows_of_step(b, n).tolist()


@pytest.fixture
def recipes(tiny_recipe: Recipes) -> Recipes:
    # No rounding is blown up: AdamW's first steps would turn the sign of a gradient of 1e-9 into a whole step.
    return lambda settings: tiny_recipe({"train.steps": 3, "optim.lr": 1e-4, "train.sample_every": 3, **settings})


def test_two_processes_learn_what_one_learns(
    shapes_corpus: Corpus, recipes: Recipes, two: Callable[..., None], tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    corpus = shapes_corpus.store.uri
    # Three samples over two processes, in two pieces: one process has an empty piece.
    settings = {"train.batch": 3, "train.accumulate": 2}
    train(corpus, recipes({**settings, "train.accumulate": 1}), tmp_path / "one")
    jobs = [
        job(corpus, recipes({**settings, "train.steps": 1}), tmp_path / "two"),
        job(corpus, recipes(settings), tmp_path / "two", resume=True),
    ]
    two(_TRAIN, jobs=json.dumps(jobs))
    close(tmp_path / "one", tmp_path / "two", 3)
    assert (tmp_path / "two" / "samples" / "step-00000003.png").exists()
    # What two began one can finish: nothing of a checkpoint knows how many there were.
    done = train(corpus, recipes({**settings, "train.steps": 4}), tmp_path / "two", resume=True)
    assert done.step == 4


@pytest.mark.slow
@pytest.mark.parametrize("optim", ["adamw", "adafactor"])
def test_sharded_weights_learn_what_whole_ones_learn(
    shapes_corpus: Corpus, recipes: Recipes, two: Callable[..., None], tmp_path: Path, optim: str
) -> None:
    torch.set_num_threads(1)
    corpus = shapes_corpus.store.uri
    settings = {"optim.kind": optim, "train.batch": 3, "model.width": 128}
    train(corpus, recipes(settings), tmp_path / "one")
    sharded = {**settings, "train.sharding": "fsdp", "train.checkpointing": "attention", "train.accumulate": 2}
    jobs = [
        job(corpus, recipes({**sharded, "train.steps": 2}), tmp_path / "two"),
        job(corpus, recipes(sharded), tmp_path / "two", resume=True),
    ]
    two(_TRAIN, jobs=json.dumps(jobs))
    close(tmp_path / "one", tmp_path / "two", 3)


def test_what_processes_tell_each_other_arrives(two: Callable[..., None], tmp_path: Path) -> None:
    two(_TALK, out=str(tmp_path))
    for rank in range(2):
        said = json.loads((tmp_path / f"{rank}.json").read_text())
        assert said == {
            "main": rank == 0,
            "size": 2,
            "beside": 2,
            "sum": [3, 20],
            "tensor": [2.0],
            "arrays": [[], [0, 1, 2]],
            "json": [{"from": 0, "word": ""}, {"from": 1, "word": "é"}],
        }


def test_one_process_talks_to_itself() -> None:
    alone = World(torch.device("cpu"))
    assert alone.main
    assert alone.sum(1, True) == [1, 1]
    assert alone.gather_json([1]) == [[1]]
    assert alone.gather(np.arange(2))[0].tolist() == [0, 1]


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda", 0)
    assert choose_device("cpu", 3) == torch.device("cpu")
    with pytest.raises(UsageError, match="by process 1 of this machine, and 1 can be used"):
        choose_device("cuda", 1)
