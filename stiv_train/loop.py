"""The training loop. Room: stiv_train.

In: a corpus with shards, a recipe, a folder. Out: a run (see `run_folder`). It reads from top to bottom; what has state of its own is
called by name: `starting` makes all that is needed, `objective` turns batches into losses, `meter` adds up, `ledger` records.

Steps count from 1 where people read them: step N is the one after which N steps are done.
"""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from curation.lock import hold
from curation.storage import Store
from schemas.train_recipe import TrainRecipe
from stiv_train import checkpoint, starting
from stiv_train.data.batch import Batch, Broken
from stiv_train.data.loader import make_loader
from stiv_train.distributed import World, joined
from stiv_train.events import Event, Note, OnEvent, Saved, Validated
from stiv_train.ledger import LedgerWriter
from stiv_train.meter import Meter
from stiv_train.metrics import Metrics
from stiv_train.objective import pieces
from stiv_train.optim import clip_gradients, learning_rate, set_learning_rate
from stiv_train.parallelize import gradients_meet, shard_again
from stiv_train.quarantine import Quarantine
from stiv_train.resuming import identity
from stiv_train.run_folder import Run
from stiv_train.sample_grid import SampleGrid
from stiv_train.starting import Started
from stiv_train.stopping import StopRequest, on_signals
from stiv_train.validation import HeldOut


@dataclass(frozen=True)
class Summary:
    """How a call of :func:`train` ended."""

    run: Path
    step: int
    """Steps done; a checkpoint of that step is saved."""
    steps: int
    """Steps in all."""
    stopped: int
    """Number of the signal that ended it early, 0 if none did."""
    loss: float | None
    """Mean training loss in the last line of metrics; None without one."""
    validation: tuple[tuple[int, float], ...]
    """(step, loss) of every validation of this call, in order."""
    broken: int
    """Different samples in quarantine."""
    seconds: float

    def text(self) -> str:
        """In a sentence."""
        if self.step < self.steps:
            name = signal.Signals(self.stopped).name if self.stopped else "a request"
            return f"Stopped by {name} at step {self.step:,} of {self.steps:,}, all saved; --resume goes on."
        return f"Trained {self.step:,} steps; the run is in {self.run}."


def train(
    corpus: str | None,
    recipe: TrainRecipe | None,
    out: str | Path,
    *,
    select: str | None = None,
    resume: bool = False,
    init: str | Path | None = None,
    on_event: OnEvent | None = None,
) -> Summary:
    """Train, in this process and those that torchrun started beside it.

    Args:
        corpus: folder or address; with ``resume`` None takes the run's.
        recipe: with ``resume`` None takes the run's.
        out: the run's folder: new or empty, or with ``resume`` one that was begun.
        select: stands in place of the recipe's ``data.select``.
        resume: go on from the newest checkpoint, to the very weights that an undisturbed run would have had.
        init: another run, from whose averaged weights this one starts.
        on_event: called in the main process with what is worth telling.

    Raises:
        UsageError: nothing was done. NotFiniteError, TooManyErrorsError, StorageError: what was saved is sound.
    """
    began = time.perf_counter()
    if resume and recipe is None:
        recipe = Run.open(out).recipe
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(joined(recipe.train.device if recipe else "auto"))
        tell = on_event if on_event is not None and world.main else _silent
        if resume and world.main:
            stack.enter_context(hold(Store(Run.open(out).path), "training"))
        ready = starting.start(corpus, recipe, out, select=select, resume=resume, init=init, world=world, on_event=tell)
        if not resume and world.main:
            stack.enter_context(hold(Store(ready.run.path), "training"))
        return _loop(ready, world, stack.enter_context(on_signals()), tell, began)


def _loop(ready: Started, world: World, stop: StopRequest, tell: OnEvent, began: float) -> Summary:
    run, recipe, objective, trained = ready.run, ready.recipe, ready.objective, ready.trained
    model, settings, optimiser = ready.model, recipe.train, trained.optimiser
    done, last_loss, measured = ready.done, None, []
    signalled, saved = 0, done if run.steps() else -1
    held_out = HeldOut(objective, ready.plan, ready.corpus, world)
    grid = SampleGrid(objective, held_out, run.path, world)
    meter = Meter(world, run.path)
    metrics = Metrics(run.path, done, tell, write=world.main)
    quarantine = Quarantine(run.path / "quarantine.jsonl", settings.quarantine_limit)
    quarantine.go_on_from(done, write=world.main)
    ledger = LedgerWriter(run.path, done)
    if world.main:
        ledger.forget_later()

    def validate() -> None:
        if not len(held_out.rows):
            return
        with trained.ema.applied(model):
            line = held_out.measure(model)
            shard_again(model)
        if not line["validation_clips"]:
            tell(Note("None of the held-out clips could be read, so there is no validation loss."))
            return
        metrics.write(done, line)
        measured.append((done, line["validation_loss"]))
        tell(Validated(done, line["validation_loss"]))

    def show() -> None:
        with trained.ema.applied(model):
            path = grid.write(model, done)
            shard_again(model)
        tell(Saved(done, "samples", str(path)))

    def save() -> None:
        nonlocal saved
        if done == saved:
            return
        # Ledger first: killed in between, its part is taken back on resuming, whereas one never written would be lost.
        ledger.commit(world)
        path = checkpoint.save(run.checkpoints, done, trained, identity(ready.plan, recipe), write=world.main)
        world.wait()
        if world.main:
            checkpoint.prune(run.checkpoints, settings.keep)
        saved = done
        tell(Saved(done, "checkpoint", str(path)))

    if not len(held_out.rows):
        tell(Note("No clip is held out (data.validation_share), so there is no validation loss."))
    if done == 0:
        validate()
    model.train()
    loader = make_loader(
        ready.plan, ready.corpus, recipe, start_step=done, stop_step=settings.steps, rank=world.rank, world=world.size
    )
    with contextlib.closing(loader), contextlib.closing(metrics):
        mark = time.perf_counter()
        for batch in loader:
            arrived = time.perf_counter()
            step = batch.step + 1
            # The one word between the processes before each step: who has how much, and whether anyone was asked to stop.
            present, broken, term, interrupt = world.sum(
                len(batch.rows), len(batch.broken), stop.signal == signal.SIGTERM, stop.signal == signal.SIGINT
            )
            signalled = signal.SIGTERM if term else signal.SIGINT if interrupt else 0
            last = step == settings.steps or bool(signalled)
            if broken:
                found = world.gather_json([asdict(sample) for sample in batch.broken])
                quarantine.add(step, [Broken(**sample) for part in found for sample in part], write=world.main)
                if quarantine.full:
                    meter.settle()
                    save()
                    raise quarantine.error()
            rate = learning_rate(batch.step, recipe.optim, settings.steps)
            set_learning_rate(optimiser, rate)
            if present:
                losses = _backward(ready, world, batch, present)
                norm = clip_gradients(model.parameters(), recipe.optim.clip)
                meter.add(step, batch, losses, norm)
            else:
                tell(Note(f"Step {step} is skipped: all its samples are broken (quarantine.jsonl lists them)."))
            # Looking makes the host wait for the device: on a GPU only where something is written, so that nothing unsound is.
            every = (settings.log_every, settings.validate_every, settings.sample_every, settings.save_every)
            if world.device.type == "cpu" or last or any(step % n == 0 for n in every):
                meter.settle()
            if present:
                optimiser.step()
                optimiser.zero_grad()
                trained.ema.update(model)
            ledger.add(step, batch.positions, batch.rows)
            done = step
            now = time.perf_counter()
            meter.took(present, present * objective.tokens(batch.bucket), broken, arrived - mark, now - mark)
            if last or step % settings.log_every == 0:
                line, progress = meter.report(step, settings.steps, rate, batch.epoch)
                last_loss = line["loss"]
                metrics.write(step, line)
                tell(progress)
            finished = step == settings.steps
            if finished or (step % settings.validate_every == 0 and not signalled):
                validate()
            if finished or (step % settings.sample_every == 0 and not signalled):
                show()
            if last or step % settings.save_every == 0:
                save()
            if signalled:
                break
            mark = time.perf_counter()
    return Summary(
        run=run.path,
        step=done,
        steps=settings.steps,
        stopped=int(signalled),
        loss=last_loss,
        validation=tuple(measured),
        broken=len(quarantine),
        seconds=time.perf_counter() - began,
    )


def _backward(ready: Started, world: World, batch: Batch, present: int) -> torch.Tensor:
    """Gradients of the mean loss over the samples of all processes; the losses (B,) of this process' samples.

    Each sample counts 1 / ``present`` wherever it is computed and however the batch is cut, so neither the number of processes nor
    that of the pieces changes what is learnt.
    """
    losses = []
    parts = pieces(len(batch.rows), ready.recipe.train.accumulate)
    for number, part in enumerate(parts):
        count = part.stop - part.start
        if not count and world.size == 1:
            continue
        # Processes meet in every pass, so one without samples goes through the motions.
        inputs = ready.objective.inputs(batch, part) if count else ready.objective.stand_in(batch.bucket)
        with gradients_meet(ready.called, number == len(parts) - 1):
            each = ready.objective.losses(ready.called, inputs)
            # DDP and FSDP take the mean over the processes, of which each has summed its own.
            (each.sum() * (world.size / present if count else 0.0)).backward()
        losses.append(each.detach()[:count])
    return torch.cat(losses)


def _silent(event: Event) -> None:
    """For processes other than the main one."""
