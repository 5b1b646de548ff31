"""The loop as a contract: what is learnt does not depend on how often it was stopped, on workers or on pieces; nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from curation.corpus import Corpus
from curation.lock import hold
from curation.storage import Store
from schemas.errors import CorpusBusyError, StorageError, TooManyErrorsError, UsageError
from schemas.train_recipe import TrainRecipe
from stiv_train import ledger, memory, objective
from stiv_train.checkpoint import read, state
from stiv_train.data.batch import Batch
from stiv_train.data.loader import make_loader
from stiv_train.distributed import World
from stiv_train.events import Event, Note, Progress, Validated
from stiv_train.loop import train
from stiv_train.meter import NotFiniteError
from stiv_train.resuming import MAY_CHANGE, recipe_identity
from stiv_train.run_folder import Run
from stiv_train.starting import start

Recipes = Callable[..., TrainRecipe]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def corpus(shapes_corpus: Corpus) -> str:
    return shapes_corpus.store.uri


@pytest.fixture(scope="module")
def base(corpus: str, tiny_recipe: Recipes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two steps with both checkpoints, not to be written to."""
    run = tmp_path_factory.mktemp("base") / "run"
    torch.set_num_threads(1)
    train(corpus, tiny_recipe({"train.steps": 2, "train.save_every": 1, "train.keep": 2}), run)
    return run


@pytest.fixture
def own_base(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "run"))


@pytest.fixture
def own_corpus(shapes_corpus: Corpus, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(shapes_corpus.store.uri, tmp_path / "corpus"))


def everything(run: Path, step: int) -> dict[str, torch.Tensor]:
    folder = Run.open(run).checkpoint(step)
    found = {f"{part}/{k}": v for part in ("weights", "ema", "optimiser") for k, v in read(folder, part).items()}
    assert len({k.partition("/")[0] for k in found}) == 3
    return found


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def lines(run: Path, key: str = "loss") -> dict[int, float]:
    text = (run / "metrics.jsonl").read_text().splitlines()
    return {line["step"]: line[key] for line in map(json.loads, text) if key in line}


def seen(run: Path, last: int) -> list[list[int]]:
    return [ledger.rows_of_step(Run.open(run), step).tolist() for step in range(1, last + 1)]


def break_clip(corpus: Path) -> str:
    """Overwrite the bytes of one exported clip; its id."""
    tar = min((corpus / "shards" / "default").glob("*.tar"))
    member = pq.read_table(tar.with_suffix(".parquet")).sort_by("byte_offset").to_pylist()[1]
    with tar.open("r+b") as file:
        file.seek(member["byte_offset"])
        file.write(b"\0" * member["byte_size"])
    clip: str = member["clip_id"]
    return clip


# Learning ---------------------------------------------------------------------------------------------------------------


def test_one_batch_is_learnt_by_heart(corpus: str, tiny_recipe: Recipes, tmp_path: Path) -> None:
    recipe = tiny_recipe({"optim.kind": "adamw", "conditioning.text_drop": 0.0})
    alone = World(torch.device("cpu"))
    ready = start(
        corpus, recipe, tmp_path / "run", select=None, resume=False, init=None, world=alone, on_event=lambda event: None
    )
    with make_loader(ready.plan, ready.corpus, recipe, start_step=0, stop_step=1) as loader:
        inputs = ready.objective.inputs(next(loader))
    losses = []
    for _ in range(70):
        loss = ready.objective.losses(ready.called, inputs).mean()
        loss.backward()
        ready.trained.optimiser.param_groups[0]["lr"] = 5e-3
        ready.trained.optimiser.step()
        ready.trained.optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[0] > 1
    assert losses[-1] < losses[0] / 10, losses[-1]


def test_training_lowers_loss_and_says_so(corpus: str, tiny_recipe: Recipes, tmp_path: Path) -> None:
    events: list[Event] = []
    settings = {"train.steps": 30, "train.log_every": 10, "train.validate_every": 15, "train.sample_every": 15}
    settings |= {"optim.kind": "adamw", "optim.lr": 3e-3, "train.batch": 8, "conditioning.token_drop": 0.0}
    done = train(corpus, tiny_recipe(settings), tmp_path / "run", on_event=events.append)
    losses, validation = lines(tmp_path / "run"), lines(tmp_path / "run", "validation_loss")
    assert list(losses) == [10, 20, 30]
    assert losses[30] < losses[10]
    assert list(validation) == [0, 15, 30]
    assert validation[30] < 0.97 * validation[0]
    assert done.validation == tuple(validation.items())
    assert done.loss == losses[30]
    assert (done.step, done.steps, done.stopped, done.broken) == (30, 30, 0, 0)
    assert [e.step for e in events if isinstance(e, Progress)] == list(losses)
    assert [e.step for e in events if isinstance(e, Validated)] == [0, 15, 30]
    last = [e for e in events if isinstance(e, Progress)][-1]
    assert "step 30/30" in last.line()
    assert "waiting for data" in last.line()
    from PIL import Image

    for step in (15, 30):
        with Image.open(tmp_path / "run" / "samples" / f"step-{step:08d}.png") as sheet:
            assert sheet.size == (4 * 96 + 3 * 2, 96)  # enlarged to be seen
    assert "moves" in (tmp_path / "run" / "samples" / "prompts.txt").read_text()
    assert {
        "lr",
        "grad_norm",
        "samples_per_s",
        "tokens_per_s",
        "data_wait_share",
        "epoch",
        "time",
        "broken",
    } <= json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[1]).keys()
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_without_held_out_clips_validation_is_skipped_with_a_note(
    corpus: str, tiny_recipe: Recipes, tmp_path: Path
) -> None:
    events: list[Event] = []
    settings = {"data.validation_share": 0.0, "train.steps": 1}
    done = train(corpus, tiny_recipe(settings), tmp_path / "run", on_event=events.append)
    assert done.validation == ()
    assert not lines(tmp_path / "run", "validation_loss")
    assert len([e for e in events if isinstance(e, Note) and "held out" in e.text]) == 1
    assert (tmp_path / "run" / "samples" / "step-00000001.png").exists()


# Stopping and going on --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optim", "workers", "task"), [("adamw", 1, "t2v"), ("adafactor", 0, "ti2v")], ids=["adamw", "adafactor-ti2v"]
)
def test_stopped_and_resumed_equals_straight_bit_for_bit(
    corpus: str, tiny_recipe: Recipes, tmp_path: Path, optim: str, workers: int, task: str
) -> None:
    def recipe(steps: int, **more: Any) -> TrainRecipe:
        return tiny_recipe({"train.steps": steps, "optim.kind": optim, "conditioning.task": task, **more})

    train(corpus, recipe(6), tmp_path / "straight")
    train(corpus, recipe(3), tmp_path / "stopped")
    halfway = everything(tmp_path / "stopped", 3)
    train(corpus, recipe(6, **{"data.workers": workers}), tmp_path / "stopped", resume=True)
    straight = everything(tmp_path / "straight", 6)
    assert same(straight, everything(tmp_path / "stopped", 6))
    assert not same(straight, halfway)
    assert seen(tmp_path / "straight", 6) == seen(tmp_path / "stopped", 6)
    one, two = lines(tmp_path / "straight"), lines(tmp_path / "stopped")
    assert one == two
    assert list(one) == [1, 2, 3, 4, 5, 6]
    assert lines(tmp_path / "straight", "validation_loss")[6] == lines(tmp_path / "stopped", "validation_loss")[6]


def test_a_crash_costs_only_what_came_after_the_last_checkpoint(
    corpus: str, tiny_recipe: Recipes, tmp_path: Path
) -> None:
    class Crash(Exception):
        pass

    def crash(event: Event) -> None:
        if isinstance(event, Progress) and event.step == 3:
            raise Crash

    settings = {"train.steps": 4, "train.save_every": 2}
    train(corpus, tiny_recipe(settings), tmp_path / "straight")
    with pytest.raises(Crash):
        train(corpus, tiny_recipe(settings), tmp_path / "crashed", on_event=crash)
    run = Run.open(tmp_path / "crashed")
    assert run.steps() == [2]
    assert list(lines(run.path)) == [1, 2, 3]
    # As if killed while saving: a part of the ledger without its checkpoint, half a line, half a checkpoint.
    shutil.copy(run.path / "ledger" / "part-00000001.parquet", run.path / "ledger" / "part-00000003.parquet")
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    (run.checkpoints / ".step-00000004").mkdir()
    train(None, None, tmp_path / "crashed", resume=True)
    assert same(everything(tmp_path / "straight", 4), everything(tmp_path / "crashed", 4))
    assert lines(tmp_path / "straight") == lines(tmp_path / "crashed")
    assert len((run.path / "metrics.jsonl").read_text().splitlines()) == 4 + 2, (
        "each step once, and validation before and after"
    )
    assert seen(tmp_path / "straight", 4) == seen(tmp_path / "crashed", 4)
    assert sorted(p.name for p in run.checkpoints.iterdir()) == ["step-00000002", "step-00000004"]


def test_a_run_without_a_checkpoint_begins_again(corpus: str, tiny_recipe: Recipes, tmp_path: Path) -> None:
    def crash(event: Event) -> None:
        if isinstance(event, Progress):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        train(corpus, tiny_recipe({"train.steps": 2}), tmp_path / "crashed", on_event=crash)
    train(corpus, tiny_recipe({"train.steps": 2}), tmp_path / "straight")
    train(None, None, tmp_path / "crashed", resume=True)
    assert same(everything(tmp_path / "straight", 2), everything(tmp_path / "crashed", 2))
    assert list(lines(tmp_path / "crashed", "validation_loss")) == [0, 2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_saves_and_returns(
    corpus: str, tiny_recipe: Recipes, tmp_path: Path, number: signal.Signals
) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Progress) and event.step == 2:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    done = train(corpus, tiny_recipe({"train.steps": 50}), tmp_path / "run", on_event=interrupt)
    assert (done.step, done.stopped) == (3, number)
    assert "--resume goes on" in done.text()
    assert number.name in done.text()
    assert Run.open(tmp_path / "run").steps() == [3]
    assert len(seen(tmp_path / "run", 3)) == 3
    assert signal.getsignal(number) is before


# Order ------------------------------------------------------------------------------------------------------------------


def test_any_number_of_workers_learns_the_same_from_the_same(corpus: str, tiny_recipe: Recipes, tmp_path: Path) -> None:
    runs = []
    for workers in (0, 1, 3):
        run = tmp_path / str(workers)
        train(corpus, tiny_recipe({"data.workers": workers, "train.steps": 3}), run)
        runs.append((seen(run, 3), everything(run, 3)))
    assert all(rows == runs[0][0] and same(tensors, runs[0][1]) for rows, tensors in runs[1:])


def test_the_ledger_says_what_the_loader_gave(corpus: str, tiny_recipe: Recipes, tmp_path: Path) -> None:
    recipe = tiny_recipe({"train.steps": 5, "train.save_every": 2})
    train(corpus, recipe, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    with make_loader(run.plan(), Corpus.open(corpus), recipe, start_step=0, stop_step=5) as loader:
        given = [(batch.rows.tolist(), batch.clip_ids) for batch in loader]
    assert seen(run.path, 5) == [rows for rows, _ in given]
    assert ledger.clips_of_step(run, 4)["clip_id"].to_pylist() == given[3][1]
    source = ledger.clips_of_step(run, 4)["uri"][0].as_py()
    assert 4 in ledger.steps_of_source(run, source).steps.tolist()
    assert len(list((run.path / "ledger").glob("*.parquet"))) == 3


def test_pieces_change_rounding_only(corpus: str, base: Path, tiny_recipe: Recipes, tmp_path: Path) -> None:
    train(corpus, tiny_recipe({"train.accumulate": 3, "train.steps": 2}), tmp_path / "run")
    assert lines(base) == pytest.approx(lines(tmp_path / "run"), rel=1e-5)
    assert lines(base, "grad_norm") == pytest.approx(lines(tmp_path / "run", "grad_norm"), rel=1e-4)


@pytest.mark.parametrize(("count", "number"), [(7, 3), (2, 4), (0, 2), (8, 1)])
def test_pieces_cover_a_batch_once(count: int, number: int) -> None:
    parts = objective.pieces(count, number)
    assert len(parts) == number
    assert [n for part in parts for n in range(count)[part]] == list(range(count))
    assert max(p.stop - p.start for p in parts) - min(p.stop - p.start for p in parts) <= 1


# What goes wrong --------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_with_the_clips(
    corpus: str, tiny_recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_inputs = objective.Objective.inputs
    spoilt: list[str] = []

    def spoil(self: Any, batch: Batch, *args: Any, **kwargs: Any) -> Any:
        inputs = true_inputs(self, batch, *args, **kwargs)
        if batch.step == 2 and kwargs.get("purpose") != "validation":
            spoilt.extend(batch.clip_ids)
            inputs.clean[1] = torch.inf
        return inputs

    recipe = tiny_recipe({"train.steps": 5, "train.save_every": 2})
    train(corpus, recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": 2})}), tmp_path / "two")
    monkeypatch.setattr(objective.Objective, "inputs", spoil)
    with pytest.raises(NotFiniteError, match="loss of step 3 is not finite") as caught:
        train(corpus, recipe, tmp_path / "run")
    assert len(spoilt) == 4
    assert all(clip in caught.value.message for clip in spoilt)
    assert caught.value.message.index(spoilt[1]) == min(caught.value.message.index(clip) for clip in spoilt)
    report = json.loads((tmp_path / "run" / "not-finite-step-00000003.json").read_text())
    assert report["step"] == 3
    assert report["loss"] is None
    assert [clip["clip_id"] for clip in report["clips"] if clip["loss"] is None] == [spoilt[1]]
    assert Run.open(tmp_path / "run").steps() == [2]
    assert same(everything(tmp_path / "run", 2), everything(tmp_path / "two", 2))


def test_broken_samples_are_listed_and_left_out(own_corpus: Path, tiny_recipe: Recipes, tmp_path: Path) -> None:
    clip = break_clip(own_corpus)
    settings = {"train.steps": 6, "data.validation_share": 0.0}
    done = train(str(own_corpus), tiny_recipe(settings), tmp_path / "straight")
    assert done.broken == 1
    listed = [json.loads(line) for line in (tmp_path / "straight" / "quarantine.jsonl").read_text().splitlines()]
    assert {entry["clip_id"] for entry in listed} == {clip}
    assert listed[0].keys() == {
        "step",
        "row",
        "clip_id",
        "shard",
        "error",
    }
    rows = seen(tmp_path / "straight", 6)
    broken_row = listed[0]["row"]
    for entry in listed:
        assert len(rows[entry["step"] - 1]) < 4
    assert all(broken_row not in step for step in rows)
    assert len(Run.open(tmp_path / "straight").plan().at(np.array([broken_row]))) == 1
    train(str(own_corpus), tiny_recipe({**settings, "train.steps": 3}), tmp_path / "stopped")
    train(str(own_corpus), tiny_recipe(settings), tmp_path / "stopped", resume=True)
    assert same(everything(tmp_path / "straight", 6), everything(tmp_path / "stopped", 6))
    listings = [(tmp_path / name / "quarantine.jsonl").read_text() for name in ("straight", "stopped")]
    assert listings[0] == listings[1]


def test_a_step_with_broken_samples_only_is_skipped(own_corpus: Path, tiny_recipe: Recipes, tmp_path: Path) -> None:
    break_clip(own_corpus)
    settings = {"train.steps": 12, "train.batch": 1, "data.validation_share": 0.0}
    events: list[Event] = []
    train(str(own_corpus), tiny_recipe(settings), tmp_path / "run", on_event=events.append)
    skipped = [e.text for e in events if isinstance(e, Note) and "skipped" in e.text]
    empty = [step for step, rows in enumerate(seen(tmp_path / "run", 12), 1) if not rows]
    assert len(empty) == 1
    assert len(skipped) == 1
    assert f"Step {empty[0]} " in skipped[0]
    assert state(Run.open(tmp_path / "run").checkpoint())["ema_updates"] == 11


def test_too_many_broken_samples_stop_with_all_saved(own_corpus: Path, tiny_recipe: Recipes, tmp_path: Path) -> None:
    break_clip(own_corpus)
    settings = {"train.steps": 12, "data.validation_share": 0.0, "train.quarantine_limit": 0}
    with pytest.raises(TooManyErrorsError, match="quarantine_limit") as caught:
        train(str(own_corpus), tiny_recipe(settings), tmp_path / "run")
    assert "--resume" in caught.value.fix
    run = Run.open(tmp_path / "run")
    assert len(seen(run.path, run.steps()[-1])) == run.steps()[-1]
    done = train(None, tiny_recipe({**settings, "train.quarantine_limit": 1}), run.path, resume=True)
    assert done.step == 12
    assert done.broken == 1


def test_an_existing_run_is_not_overwritten(corpus: str, base: Path, tiny_recipe: Recipes, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"already holds a run.*--resume"):
        train(corpus, tiny_recipe(), base)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        train(corpus, tiny_recipe(), tmp_path / "full")
    with pytest.raises(UsageError, match="is not a run"):
        train(corpus, tiny_recipe(), tmp_path / "nothing", resume=True)
    assert not (tmp_path / "nothing").exists()


def test_a_run_is_written_by_one_at_a_time(own_base: Path) -> None:
    with hold(Store(own_base), "training"), pytest.raises(CorpusBusyError, match="is being written"):
        train(None, None, own_base, resume=True)


def test_resuming_with_another_recipe_says_what_differs(corpus: str, own_base: Path, tiny_recipe: Recipes) -> None:
    with pytest.raises(UsageError, match=r"optim\.lr: 0\.001 → 0\.5.*--init"):
        train(corpus, tiny_recipe({"optim.lr": 0.5}), own_base, resume=True)
    with pytest.raises(UsageError, match=r"data\.select: \(none\) → "):
        train(corpus, tiny_recipe(), own_base, select="duration > 0", resume=True)
    changed = {
        "train.steps": 3,
        "train.log_every": 2,
        "train.keep": 1,
        "data.prefetch": 2,
        "train.checkpointing": "full",
    }
    done = train(corpus, tiny_recipe(changed), own_base, resume=True)
    assert done.step == 3
    assert Run.open(own_base).recipe == tiny_recipe(changed)
    assert Run.open(own_base).steps() == [3]


def test_on_a_cosine_the_number_of_steps_must_stay(tiny_recipe: Recipes) -> None:
    for decay, free in (("constant", True), ("cosine", False)):
        few, many = (tiny_recipe({"optim.decay": decay, "train.steps": n}) for n in (1, 4))
        assert (recipe_identity(few) == recipe_identity(many)) is free


def test_settings_that_may_change_exist(tiny_recipe: Recipes) -> None:
    sections = tiny_recipe().model_dump()
    assert all(name in sections[section] for section, names in MAY_CHANGE.items() for name in names)


@pytest.mark.parametrize("harm", ["missing", "short"])
def test_a_tar_that_changed_since_is_named_on_resuming(own_corpus: Path, own_base: Path, harm: str) -> None:
    tar = max((own_corpus / "shards" / "default").glob("*.tar"))
    if harm == "missing":
        tar.unlink()
    else:
        os.truncate(tar, tar.stat().st_size // 2)
    what = "is not there" if harm == "missing" else "is shorter"
    with pytest.raises(StorageError, match=f"{tar.name}. {what}.*stiv export"):
        train(str(own_corpus), None, own_base, resume=True)


def test_a_checkpoint_of_another_run_is_refused(own_base: Path) -> None:
    path = Run.open(own_base).checkpoint() / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "plan": "other"}))
    with pytest.raises(UsageError, match="was made with another plan"):
        train(None, None, own_base, resume=True)


def test_a_model_that_cannot_fit_is_refused_before_anything_is_written(
    corpus: str, base: Path, tiny_recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda world: 2**20)
    with pytest.raises(UsageError, match=r"would need about .* MiB of memory .*, and 1 MiB are free"):
        train(corpus, tiny_recipe(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="would need about"):
        train(None, None, base, resume=True)


# From another run -------------------------------------------------------------------------------------------------------


def test_a_video_model_starts_from_an_image_models_average(corpus: str, tiny_recipe: Recipes, tmp_path: Path) -> None:
    image = tiny_recipe(
        {"model.temporal": False, "data.buckets": [{"frames": 1, "height": 32, "width": 32}], "train.steps": 3}
    )
    train(corpus, image, tmp_path / "image")
    train(corpus, tiny_recipe({"train.steps": 1, "optim.lr": 1e-12}), tmp_path / "video", init=tmp_path / "image")
    before, after = Run.open(tmp_path / "image"), Run.open(tmp_path / "video")
    averages, weights = before.weights(), after.weights(ema=False)
    assert all(torch.allclose(weights[name], tensor, atol=1e-6) for name, tensor in averages.items())
    assert not all(torch.equal(before.weights(ema=False)[name], tensor) for name, tensor in averages.items())
    new = weights.keys() - averages.keys()
    assert new
    assert all("temporal" in name for name in new)
    assert torch.equal(before.latents().basis, after.latents().basis)  # type: ignore[attr-defined]
    assert before.config.rope_reference == (1, 2, 2)
    assert after.config.rope_reference == (2, 2, 2)
    assert after.facts["init"] == {"run": str(before.path), "step": 3}


def test_positions_stay_those_of_the_run_it_starts_from(
    corpus: str, base: Path, tiny_recipe: Recipes, tmp_path: Path
) -> None:
    large = tiny_recipe({"train.steps": 1, "data.buckets": [{"frames": 8, "height": 64, "width": 32}]})
    train(corpus, large, tmp_path / "large", init=base)
    assert Run.open(tmp_path / "large").config.rope_reference == (2, 2, 2)


def test_weights_of_another_shape_or_codec_are_refused(
    corpus: str, base: Path, tiny_recipe: Recipes, tmp_path: Path
) -> None:
    for settings, message in (
        ({"model.width": 128}, r"`network\.\S+` is .* there and .* here"),
        ({"model.depth": 3}, r"`network\.blocks\.2\.\S+` is not there"),
        ({"model.temporal": False}, r"`network\.\S*temporal\S+` is there and not here"),
        ({"latents.channels": 4}, r"take or predict something else: latents\.channels: 8 → 4"),
        ({"model.skip": True}, r"take or predict something else: model\.skip: false → true"),
    ):
        with pytest.raises(UsageError, match=message):
            train(corpus, tiny_recipe(settings), tmp_path / "other", init=base)
        assert not (tmp_path / "other").exists()


# What a run gives -------------------------------------------------------------------------------------------------------


def test_a_run_gives_its_model_with_average_or_last_weights(base: Path, tiny_recipe: Recipes) -> None:
    run = Run.open(base)
    assert run.steps() == [1, 2]
    assert run.recipe == tiny_recipe({"train.steps": 2, "train.save_every": 1, "train.keep": 2})
    average, last = run.model().state_dict(), run.model(ema=False).state_dict()
    assert average.keys() == last.keys()
    assert not same(average, last)
    assert same(run.model(step=1, ema=False).state_dict(), read(run.checkpoint(1), "weights"))
    assert not any(p.requires_grad for p in run.model().parameters())
    with pytest.raises(UsageError, match=r"no checkpoint of step 7.*1, 2"):
        run.model(step=7)


def test_activation_checkpointing_changes_nothing(
    corpus: str, base: Path, tiny_recipe: Recipes, tmp_path: Path
) -> None:
    for kind in ("attention", "full"):
        train(corpus, tiny_recipe({"train.checkpointing": kind, "train.steps": 2}), tmp_path / kind)
        assert same(everything(base, 2), everything(tmp_path / kind, 2))


@pytest.mark.slow
def test_compilation_changes_rounding_only(corpus: str, base: Path, tiny_recipe: Recipes, tmp_path: Path) -> None:
    settings = {"train.compile": True, "train.checkpointing": "attention", "train.steps": 2}
    train(corpus, tiny_recipe(settings), tmp_path / "run")
    assert everything(tmp_path / "run", 2).keys() == everything(base, 2).keys()
    assert lines(tmp_path / "run") == pytest.approx(lines(base), rel=1e-4)


@pytest.mark.filterwarnings("ignore:Mismatch dtype")
def test_bf16_trains_with_weights_and_average_in_float32(corpus: str, tiny_recipe: Recipes, tmp_path: Path) -> None:
    train(corpus, tiny_recipe({"train.precision": "bf16", "train.steps": 2}), tmp_path / "run")
    assert {t.dtype for t in everything(tmp_path / "run", 2).values()} == {torch.float32}
