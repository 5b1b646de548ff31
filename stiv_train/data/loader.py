"""Batches for the loop: the order says which rows, worker processes read and decode them, and they come back in the order of steps.

In: a data plan, the corpus with its tars, the recipe. Out: one :class:`Batch` per step. What it holds depends on (plan, seed, step) alone. A
worker is sent all it must know of its step, so it keeps nothing but open tars, and its memory does not grow.

LEGEND  B samples of this process.
"""

from __future__ import annotations

import atexit
import time
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader

from curation.corpus import Corpus
from curation.opening import quiet_decoder
from curation.variants import need
from schemas.errors import StivError
from schemas.train_recipe import Bucket, TrainRecipe
from stiv_train.data.assembly import COLUMNS, Assembled, Assembler, Work, assemble
from stiv_train.data.batch import Batch
from stiv_train.data.order import Order, Share
from stiv_train.data.reading import ShardReader
from stiv_train.data.worker_process import Begin, start_method, starting_workers

if TYPE_CHECKING:
    from stiv_train.data.plan import DataPlan

Value = TypeVar("Value")


def make_loader(
    plan: DataPlan,
    corpus: Corpus,
    recipe: TrainRecipe,
    *,
    start_step: int,
    stop_step: int,
    rank: int = 0,
    world: int = 1,
    workers: int | None = None,
    seed: int | None = None,
) -> Loader:
    """Batches of steps ``start_step`` to ``stop_step`` (exclusive), this process' share of each. Workers begin at once.

    Args:
        workers: processes that read and decode; None takes the recipe's, 0 decodes here.
        seed: None takes the recipe's.

    Raises:
        UsageError: the plan has no samples to train on.
        VariantError: the corpus has no such shards.
    """
    quiet_decoder()
    seed = recipe.train.seed if seed is None else seed
    works = Works(plan, recipe, Order(plan, seed), seed, range(start_step, stop_step), rank, world)
    reader = ShardReader(corpus.store, need(corpus, "shards", recipe.data.shards))
    count = recipe.data.workers if workers is None else workers
    return Loader(works, reader, count, recipe.data.prefetch, {"plan": plan.hash, "seed": seed})


def load_rows(
    plan: DataPlan, corpus: Corpus, recipe: TrainRecipe, rows: Sequence[int] | np.ndarray, *, step: int = 0
) -> Batch:
    """Rows of one bucket, in the order given, decoded here: each from its first frame, cropped at the centre.

    Positions are places in ``rows``; ``step`` only goes into the batch.

    Raises:
        ValueError: rows of several buckets.
        StorageError: a tar is missing, cut short or unreadable.
    """
    quiet_decoder()
    numbers = np.asarray(rows, np.int64)
    facts = plan.at(numbers, [*COLUMNS, "caption", "bucket"]).to_pydict()
    buckets = set(facts.pop("bucket"))
    if len(buckets) != 1:
        raise ValueError(f"rows of one bucket are needed, not of {sorted(buckets)}")
    bucket = int(buckets.pop())
    visits = np.zeros(len(numbers), np.int64)
    share = Share(step, bucket, 0, len(numbers), np.arange(len(numbers), dtype=np.int64), numbers, visits)
    reader = ShardReader(corpus.store, need(corpus, "shards", recipe.data.shards))
    try:
        return _batch(share, facts, assemble(_work(share, facts, plan.buckets[bucket], recipe, None), reader))
    finally:
        reader.close()


class Loader(AbstractContextManager["Loader"]):
    """Gives one batch per step. Close it, or use it as a context manager: workers live until then.

    Raises, while it is iterated over:
        StorageError: a tar is missing, cut short or unreadable.
        StivError: a worker process died.
    """

    waited_s: float
    """Seconds spent waiting for batches so far."""

    def __init__(
        self, works: Works, reader: ShardReader, workers: int, prefetch: int, facts: Mapping[str, Any]
    ) -> None:
        self.waited_s = 0.0
        self._works, self._facts = works, dict(facts)
        self._next_step = works.steps.start
        self._reader, self._has_workers = reader, workers > 0
        with starting_workers(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This DataLoader will create")  # the recipe says how many
            loading: DataLoader[Any] = DataLoader(
                Assembler(reader),
                batch_size=None,
                sampler=works,
                num_workers=workers,
                prefetch_factor=prefetch if workers else None,
                multiprocessing_context=start_method(reader.store) if workers else None,
                collate_fn=_as_it_is,
                worker_init_fn=Begin(),
                generator=torch.Generator(),  # else it draws from the generator that belongs to the model
            )
            self._source: Iterator[Assembled | StivError] | None = iter(loading)
        # Workers do not heed the SIGTERM by which Python ends forgotten children when it exits.
        atexit.register(self.close)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._source is None:
            raise StopIteration
        began = time.perf_counter()
        try:
            got = next(self._source)
        except StopIteration:
            self.close()
            raise
        except (RuntimeError, EOFError, OSError) as error:
            if not self._has_workers or "in DataLoader worker process" in str(error):
                raise  # a fault in the work itself, with the worker's own traceback
            self.close()
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise StivError(
                f"A process that reads and decodes training samples died ({reason}).",
                fix="Often memory has run out, or /dev/shm is small: lower `data.workers` or `data.prefetch`, then go on with --resume.",
            ) from error
        finally:
            self.waited_s += time.perf_counter() - began
        share, facts = self._works.sent.popleft()
        if isinstance(got, StivError):
            self.close()
            raise got
        self._next_step = share.step + 1
        return _batch(share, facts, got)

    def state(self) -> dict[str, Any]:
        """What resuming needs: the next step, and what makes it mean the same samples."""
        return {"step": self._next_step, **self._facts}

    def close(self) -> None:
        """End the workers. May be called twice; there are no batches afterwards."""
        source, self._source = self._source, None
        if source is None:
            return
        atexit.unregister(self.close)
        shut = getattr(source, "_shutdown_workers", None)  # not there without workers
        if shut is not None:
            shut()
            for process in getattr(source, "_workers", ()):
                if process.is_alive():  # in the middle of a step for longer than torch waits
                    process.kill()
                    process.join()
        self._reader.close()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass
class Works:
    """The work of each step, made when a worker is free for it; ``sent`` remembers what is under way, in order."""

    plan: DataPlan
    recipe: TrainRecipe
    order: Order
    seed: int
    steps: range
    rank: int
    world: int

    def __post_init__(self) -> None:
        self.sent: deque[tuple[Share, dict[str, list[Any]]]] = deque()

    def __iter__(self) -> Iterator[Work]:
        for step in self.steps:
            share = self.order.share(step, self.rank, self.world)
            facts = self.plan.at(share.rows, [*COLUMNS, "caption"]).to_pydict()
            self.sent.append((share, facts))
            yield _work(share, facts, self.plan.buckets[share.bucket], self.recipe, self.seed)


def _work(share: Share, facts: Mapping[str, list[Any]], bucket: Bucket, recipe: TrainRecipe, seed: int | None) -> Work:
    data = recipe.data
    return Work(
        bucket=bucket,
        stride=data.stride,
        seed=seed,
        random_start=data.start == "random",
        random_crop=data.crop == "random",
        rows=share.rows,
        visits=share.visits,
        **{name: facts[name] for name in COLUMNS},
    )


def _batch(share: Share, facts: Mapping[str, list[Any]], got: Assembled) -> Batch:
    return Batch(
        step=share.step,
        epoch=share.epoch,
        bucket=share.bucket,
        planned=share.planned,
        positions=share.positions[got.kept],
        rows=share.rows[got.kept],
        clip_ids=[facts["clip_id"][n] for n in got.kept],
        captions=[facts["caption"][n] for n in got.kept],
        pixels=got.pixels.numpy(),
        micro=got.micro,
        broken=got.broken,
    )


def _as_it_is(value: Value) -> Value:
    return value
