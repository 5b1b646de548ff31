"""Executor `ray`: the stages as Ray Data actor pools, chained, so that each part flows on as soon as it can.

What travels between actors is a part's number; files carry the data. So a lost actor or node costs only a repeat of parts that were
not committed, and stages do nothing on parts that are.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curation.shots.backends import needs_network
from pipelines.chain import EMBED, SCAN, STAGES, Stage, carry_out
from pipelines.children import close_stdin
from pipelines.context import Context, Emit, Event, Worker
from pipelines.failures import internal_error
from pipelines.variant_settings import chats_of, checks_agreement
from schemas.errors import StivError, UsageError
from schemas.recipe import CurateRecipe

MAX_CHILDREN = 8
"""Children of one actor: an actor is also the unit that autoscaling adds and that a failure takes away."""

NATIVE_SHARE = 0.7
"""Share of a CPU that a child reserves. Pools that reserve every CPU starve Ray Data's own tasks, and the run hangs without a word."""

LIGHT_CPUS = 0.1
POLL_S = 0.5
LAST_EVENTS_S = 5.0
"""An interrupted run waits so long for what its workers have told."""
RETRIES = 12
"""How often a part whose actor died is tried again. The scan gives a source up that was at work in three such deaths, so that
even several of them in one part are passed."""


@dataclass(frozen=True)
class Pool:
    """Resources of one stage's actors."""

    actors: int
    children: int
    cpus: float
    memory: int
    gpus: float = 0.0


def size_pools(
    stages: Sequence[Stage], units: int, nodes: Sequence[tuple[float, float]], gpus: float = 0.0
) -> dict[str, Pool]:
    """How many actors each stage gets at most, and what each reserves. Pure; at least one actor of every stage fits.

    Native stages of one chain share the processors: each may have a child for every CPU, and reserves its part of it. So the
    one that has work takes what the other leaves. A stage with a network counts as one of them where there is no GPU; where there
    are some, it gets an actor for each, or for a part of each where several such stages share them.

    Args:
        nodes: (CPUs, bytes of memory) of each node of the cluster.
        gpus: GPUs of the whole cluster.

    Raises:
        UsageError: not even one actor per stage fits on the largest node.
    """
    total = sum(cpus for cpus, _ in nodes)
    largest, room = max(nodes, default=(0.0, 0.0))
    if largest < 1:
        raise UsageError(
            f"The Ray cluster has {total:g} CPUs (largest node: {largest:g}); curation needs a node with at least one.",
            fix="Start Ray with more CPUs (`ray start --num-cpus=…`), or use --executor inline.",
        )
    on_gpu = [s for s in stages if s.load == "model"] if gpus >= 1 else []
    busy = [s for s in stages if s.load in ("native", "model") and s not in on_gpu]
    native = [s for s in busy if s.load == "native"]
    fixed = sum(s.memory_mb for s in stages if s not in native) * 1_000_000
    each = sum(s.memory_mb for s in native) * 1_000_000
    children = max(1, min(MAX_CHILDREN, int(largest), int((room - fixed) // each) if each else MAX_CHILDREN))
    if fixed + children * each > room:
        raise UsageError(
            f"The largest Ray node has {room / 1e9:.1f} GB of memory; {', '.join(s.name for s in stages)} together "
            f"need at least {(fixed + each) / 1e9:.1f} GB there.",
            fix="Use a machine with more memory, or --executor inline with --jobs 1, which reserves none.",
        )
    pools: dict[str, Pool] = {}
    for stage in stages:
        memory = stage.memory_mb * 1_000_000
        if stage in on_gpu:
            share = min(1.0, gpus / len(on_gpu))
            actors = 1 if stage.single else max(1, min(int(gpus / share / len(on_gpu)), units))
            # Threads that read and decode stills ahead of the GPU; they mostly wait.
            feeders = max(1, min(MAX_CHILDREN, int(largest) // (2 * len(on_gpu))))
            pools[stage.name] = Pool(actors, feeders, LIGHT_CPUS, memory, share)
        elif stage.load == "cpu":
            actors = max(1, min(sum(int(min(cpus, free // memory)) for cpus, free in nodes), units))
            pools[stage.name] = Pool(actors, 1, NATIVE_SHARE, memory)
        elif stage in busy:
            fits = [
                int(min(cpus // children, (free - fixed) // (children * each) if each else cpus // children))
                for cpus, free in nodes
            ]
            actors = 1 if stage.single else max(1, min(sum(max(0, n) for n in fits), units))
            reserved = round(children * NATIVE_SHARE / len(busy), 2)
            pools[stage.name] = Pool(actors, children, reserved, memory * (children if stage in native else 1))
        else:
            pools[stage.name] = Pool(1, 1, LIGHT_CPUS, memory)
    return pools


MODEL_MB = 2000
"""Of a worker with a network of its own, so that a node is not filled with them; large models need more, and a GPU."""

NETWORK_MB = 400
"""What a shot network adds to a scanning child: 650 to 810 MB were seen in all."""


def as_configured(stage: Stage, recipe: CurateRecipe) -> Stage:
    """A stage with what it takes under a recipe: with or without a network."""
    if stage is SCAN and needs_network(recipe.scan.shots):
        return replace(stage, memory_mb=stage.memory_mb + NETWORK_MB)
    if stage is EMBED and recipe.features.embeddings.backend == "openclip":
        return replace(stage, load="model", memory_mb=MODEL_MB)
    if stage.table in ("captions", "checks"):
        backends = {getattr(recipe.chat, name).backend for name in chats_of(recipe, stage.table)}
        if "transformers" in backends or (stage.table == "checks" and checks_agreement(recipe)):
            stage = replace(stage, load="model", memory_mb=MODEL_MB)
        return replace(stage, single="openai" in backends)
    return stage


def key_variables(recipe: CurateRecipe, stage: Stage) -> set[str]:
    """Environment variables with the keys of the endpoints that a stage asks."""
    chats = (getattr(recipe.chat, name) for name in chats_of(recipe, stage.table))
    return {chat.api_key_env for chat in chats if chat.backend == "openai"}


FAILURE = "failure"
"""Kind of the event that carries an error to the driver. Raised through Ray it would arrive as a text of many frames."""


class StageActor:
    """One worker of one stage, on whatever machine Ray puts it."""

    def __init__(self, context: Context, stage: str, sink: Any) -> None:
        import ray

        self._stage = STAGES[stage]
        self._sent: list[Any] = []
        close_stdin()
        if key_variables(context.recipe, self._stage):
            os.environ.update(ray.get(sink.keys.remote()))
        self._worker = Worker(context, lambda event: self._sent.append(sink.push.remote(event)))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import ray

        done = []
        try:
            for unit in batch["unit"]:
                done.append(carry_out(self._stage, self._worker, int(unit)))
        except StivError as error:
            self._worker.emit({"kind": FAILURE, "error": error})
        except Exception as error:
            self._worker.emit({"kind": FAILURE, "error": internal_error(error)})
        ray.get(self._sent)  # the driver reads the last events when the last batch is back: they must be there
        self._sent.clear()
        # Later stages see only the units that they may go on with.
        return {"unit": batch["unit"][[number for number, whole in enumerate(done) if whole]]}


class EventSink:
    """Collects events of all workers until the driver fetches them; and holds the keys of endpoints, which no node's environment has.

    Arguments of its methods go from process to process. Those of an actor's maker are kept by Ray, and an object of its store may be
    written to disk: neither is a place for a key.
    """

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._keys: dict[str, str] = {}

    def hand(self, keys: dict[str, str]) -> None:
        """``keys``: environment variable → value."""
        self._keys = keys

    def keys(self) -> dict[str, str]:
        return self._keys

    def push(self, event: Event) -> None:
        self._events.append(event)

    def drain(self) -> list[Event]:
        events, self._events = self._events, []
        return events


@contextlib.contextmanager
def ray_session(address: str | None, jobs: int) -> Iterator[Any]:
    """A connection to a Ray cluster: the one at ``address``, or a local one that ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # After Ctrl-C a thread that still waits for results must not start a second Ray when the first is gone.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        with _silent_stderr():
            if address:
                # The nodes do not know this process's environment.
                kept = {k: os.environ[k] for k in ("STIV_OFFLINE", "HF_HUB_OFFLINE") if k in os.environ}
                ray.init(address=address, runtime_env={"env_vars": kept} if kept else None, **quiet)
            else:
                # Only part numbers travel, so the object store can be small (its default may exceed a container's shared memory).
                ray.init(num_cpus=jobs, include_dashboard=False, object_store_memory=100_000_000, **quiet)
    except Exception as error:
        where = f"at `{address}`" if address else "on this machine"
        raise UsageError(
            f"Ray could not be started {where}: {error}", fix="Check --ray-address, or use --executor inline."
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_terminate)  # Ray puts its own in place, which ends the process at once
    try:
        yield ray
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Ray's native start-up says on the terminal that it was told to say nothing. Errors still arrive as exceptions."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def run_ray(context: Context, stages: Sequence[Stage], units: Sequence[int], emit: Emit, ray: Any) -> None:
    """Run every stage on every unit; units overtake each other, order does not matter.

    Raises:
        StivError: as the stage raised it on its worker.
    """
    if not units:
        return
    from ray.data import ActorPoolStrategy, DataContext

    settings = DataContext.get_current()
    settings.enable_progress_bars = False
    settings.print_on_execution_start = False
    for name in ("ray.data", "ray.data._internal"):
        logging.getLogger(name).setLevel(logging.ERROR)
    nodes = [
        (float(node["Resources"].get("CPU", 0)), float(node["Resources"].get("memory", 0)))
        for node in ray.nodes()
        if node["Alive"]
    ]
    gpus = sum(float(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"])
    pools = size_pools([as_configured(s, context.recipe) for s in stages], len(units), nodes, gpus)
    sink = ray.remote(num_cpus=0, max_restarts=-1)(EventSink).remote()
    variables = {name for stage in stages for name in key_variables(context.recipe, stage)}
    ray.get(sink.hand.remote({name: os.environ[name] for name in variables if name in os.environ}))
    # One unit per block: tiny rows would otherwise wait for their block to end before the next stage sees them.
    data = ray.data.from_items([{"unit": unit} for unit in units], override_num_blocks=len(units))
    with warnings.catch_warnings():
        # Ray 2.60 says that it will drop the last two, but has no other way yet to bound retries (its default is: for ever).
        warnings.filterwarnings("ignore", message=".*ray_remote_args.*deprecated")
        for stage in stages:
            pool = pools[stage.name]
            data = data.map_batches(
                StageActor,
                fn_constructor_kwargs={
                    "context": replace(context, jobs=pool.children),
                    "stage": stage.name,
                    "sink": sink,
                },
                batch_size=1,
                compute=ActorPoolStrategy(min_size=1, max_size=pool.actors, max_tasks_in_flight_per_actor=2),
                num_cpus=pool.cpus,
                num_gpus=pool.gpus,
                memory=pool.memory,
                max_restarts=RETRIES,
                max_task_retries=RETRIES,
            )
    try:
        _consume(data, emit, sink, ray)
    except StivError:
        raise
    except ray.exceptions.RayError as error:
        last = str(error).strip().splitlines()[-1]
        raise StivError(
            f"Ray could not go on: {last}",
            fix="Run the same command again: finished parts are kept. If it comes again, try --executor inline.",
        ) from error


def _consume(data: Any, emit: Emit, sink: Any, ray: Any) -> None:
    """Pull the results through while events are shown from a thread of their own.

    The pull is in the main thread, where Ctrl-C arrives, so that Ray Data can end its actors before Ray itself goes.
    """
    stop = threading.Event()
    failure: list[BaseException] = []

    def drain(limit_s: float | None = None) -> None:
        for event in ray.get(sink.drain.remote(), timeout=limit_s):
            if event["kind"] == FAILURE:
                raise event["error"]
            emit(event)

    def watch() -> None:
        try:
            while not stop.wait(POLL_S):
                drain()
        except BaseException as error:
            # Too many errors, say: the main thread must hear of it while it waits.
            if not stop.is_set():
                failure.append(error)
                # A shell that starts us in the background has SIGINT ignored; then the other signal does it.
                heard = callable(signal.getsignal(signal.SIGINT))
                _thread.interrupt_main(signal.SIGINT if heard else signal.SIGTERM)

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        for _ in data.iter_batches(batch_size=None, prefetch_batches=0):
            pass
    except KeyboardInterrupt:
        if failure:
            raise failure[0] from None
        _rest(stop, watcher)
        with contextlib.suppress(Exception):
            drain(LAST_EVENTS_S)  # what was done until now belongs into the run's record
        raise
    finally:
        _rest(stop, watcher)
    if failure:
        raise failure[0]
    drain()


def _rest(stop: threading.Event, watcher: threading.Thread) -> None:
    stop.set()
    watcher.join(10 * POLL_S)
