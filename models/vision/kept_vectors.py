"""The vectors of a clip's stills as they are kept, so that other tags or another head need no second look. Room: models.

In: unit vectors. Out: bytes, and unit vectors again. All that is said of a clip is worked out from these, whether they were made just now
or read again: so both give the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_KEPT = np.dtype("<f2")


def pack(vectors: Sequence[np.ndarray]) -> bytes:
    """(n, D) unit vectors as float16, little-endian, one after the other."""
    return np.stack(vectors).astype(_KEPT).tobytes()


def unpack(data: bytes, count: int) -> np.ndarray:
    """(n, D) float32 of length 1; ``count``: n, at least 1."""
    vectors = np.frombuffer(data, _KEPT).reshape(count, -1).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
