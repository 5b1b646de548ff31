"""Pictures made ready in threads while the network is at work. Room: models.

In: for each picture a function that reads and decodes it. Out: batches for the network, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np

Load = Callable[[], np.ndarray | None]
"""Gives a picture, (h, w, 3) uint8 BGR as OpenCV decodes it; None where it is damaged. Called in some thread."""


def batches(
    loads: Iterable[Load], fit: Callable[[np.ndarray], np.ndarray], size: int, threads: int
) -> Iterator[tuple[list[bool], np.ndarray]]:
    """Load and fit pictures ahead of whoever takes the batches: one batch is at work, the next one is being made.

    Args:
        fit: (h, w, 3) uint8 RGB → (H, W, 3) uint8.
        size: most pictures in a batch, damaged ones among them.
        threads: that load and fit.

    Yields:
        Which of the next loads gave a picture, and those pictures: (b, H, W, 3) uint8; b may be 0.
    """
    waiting = iter(loads)
    with ThreadPoolExecutor(threads, "stills") as pool:
        ahead: deque[Future[np.ndarray | None]] = deque()
        try:
            while True:
                ahead.extend(pool.submit(_ready, load, fit) for load in islice(waiting, 2 * size - len(ahead)))
                if not ahead:
                    return
                found = [ahead.popleft().result() for _ in range(min(size, len(ahead)))]
                ahead.extend(pool.submit(_ready, load, fit) for load in islice(waiting, 2 * size - len(ahead)))
                there = [picture for picture in found if picture is not None]
                yield (
                    [picture is not None for picture in found],
                    np.stack(there) if there else np.zeros((0, 1, 1, 3), np.uint8),
                )
        finally:
            for future in ahead:
                future.cancel()


def _ready(load: Load, fit: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
    picture = load()
    return None if picture is None else fit(np.ascontiguousarray(picture[..., ::-1]))
