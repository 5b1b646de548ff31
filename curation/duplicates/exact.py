"""Exact duplicates: equal spans of sources with equal content, and so equal pictures."""

from __future__ import annotations

import numpy as np

from curation.duplicates.looks import Looks


def members(looks: Looks, slice_: int, slices: int) -> np.ndarray:
    """(n,) bool: clips whose content falls to one of so many slices; those of unknown content to none."""
    known = (looks.content_high != 0) | (looks.content_low != 0)
    return np.asarray(known & (looks.content_low % np.uint64(slices) == slice_))


def pairs(looks: Looks) -> tuple[np.ndarray, np.ndarray]:
    """Rows (worse, better): every new clip with the best clip that is equal to it."""
    order = looks.best_first()
    sort = order[
        np.lexsort((looks.content_low[order], looks.content_high[order]))
    ]  # stable: the best of equals stays first
    high, low = looks.content_high[sort], looks.content_low[sort]
    first = np.r_[True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])] if len(sort) else np.zeros(0, bool)
    leader = sort[np.maximum.accumulate(np.where(first, np.arange(len(sort)), 0))]
    copies = ~first & ~looks.old[sort]
    return sort[copies], leader[copies]
