"""Child processes that do the native work of a part: they may hang, crash or be killed without harm to anybody else."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from schemas.errors import StivError

T = TypeVar("T")

TASKS_PER_CHILD = 200
"""A child is replaced after this many tasks, so that a leak in a native library stays small."""


def available_cpus() -> int:
    """CPUs that this process may use (containers and affinity masks count)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def close_stdin() -> None:
    """Point standard input at nothing.

    A program that touches the terminal from a background process group is stopped by it, and its whole group with it: the run
    would stand still without a word.
    """
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)


def _begin(niceness: int) -> None:
    close_stdin()
    # Ctrl-C reaches the whole process group; the parent alone decides what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(niceness)
    import cv2

    cv2.setNumThreads(1)


STOPPED = frozenset({-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, signal.SIGTERM})
"""Exit codes of a process that somebody stopped on purpose: a scheduler, a service manager."""

DEATHS = (ProcessExpired, BrokenProcessPool)
"""What a future raises when its child, or with it the whole pool, died."""


class Children:
    """A pool of spawned processes, started at the first task and kept between parts."""

    def __init__(self, jobs: int) -> None:
        self.jobs = max(1, jobs)
        self._pool: ProcessPool | None = None

    def submit(self, function: Callable[..., Any], *args: Any, limit_s: float) -> ProcessFuture:
        """Run an importable function in a child. Over ``limit_s`` seconds the child is killed and the future times out."""
        if self._pool is not None and not self._pool.active:
            self.stop()  # a child that died before it took a task breaks pebble's pool: begin a new one
        if self._pool is None:
            # The children share the processors; a pool of BLAS threads in each would only fight over them.
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            # Spawned, never forked: forking inside a Ray worker deadlocks.
            self._pool = ProcessPool(
                max_workers=self.jobs,
                max_tasks=TASKS_PER_CHILD,
                initializer=_begin,
                initargs=[5],
                context=multiprocessing.get_context("spawn"),
            )
        return self._pool.schedule(function, args=list(args), timeout=limit_s)

    def settle(
        self,
        items: Iterable[T],
        start: Callable[[T, bool], Future[Any]],
        *,
        suspects: Iterable[T] = (),
        hopeless: Callable[[T], bool] = lambda item: False,
    ) -> Iterator[tuple[T, Future[Any]]]:
        """Run a task for each item and yield (item, finished future), in the order in which they end.

        An item whose child died goes once more, by itself, after the others: so nobody else can be blamed for the next death.

        Args:
            start: submits the task of an item; told whether it runs by itself.
            suspects: items that are known to have been at work in a death, and go by themselves at once.
            hopeless: a dead child's item for which another try is known to be in vain.

        Raises:
            StivError: a child was told to stop: no item is to blame, the run as a whole is being ended.
        """
        alone = list(suspects)
        futures: dict[Future[Any], T] = {start(item, False): item for item in items}
        for future in as_completed(list(futures)):
            item, error = futures[future], future.exception()
            _check_not_stopped(error)
            if isinstance(error, DEATHS) and not hopeless(item):
                alone.append(item)
            else:
                yield item, future
        for item in alone:
            future = start(item, True)
            _check_not_stopped(future.exception())
            yield item, future

    def stop(self) -> None:
        """End all children at once, finished or not."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None


def _check_not_stopped(error: BaseException | None) -> None:
    if isinstance(error, ProcessExpired) and error.exitcode in STOPPED:
        raise StivError("A worker process was told to stop.", fix="Run the same command again to go on.")
