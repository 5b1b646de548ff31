"""Near duplicates, first half: which pairs of clips have perceptual hashes that agree, found without looking at all pairs.

A hash has 64 bits in eight bands of eight. Two clips meet where two bands of their hashes at the same place are equal: 28 pairs of bands,
16 bits each. Hashes that differ in up to 6 bits always meet; in 7, but for 2.7 %, and in 8, but for 9.6 %, of the ways in which the bits can
be spread (bits of one band count once, so that the real loss is smaller). At three places, and with mirrored
clips, that is one comparison for every 260 pairs of clips, were bits independent: a hundredth of the work of all pairs, but its square.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from curation.duplicates.looks import NO_HASH, Looks, concatenate

PLACES = 3
BANDS = 8
WEAK = 2
"""One hash must agree within ``max_distance``; the others that must agree, within so many times as much. Between the nearest samples of a
clip and of a copy that begins 0.3 s later lie up to 0.4 s, so where the camera moves, one place of three may be hit well and the others not."""

DURATION = 1.3
"""Durations of copies differ at most by this factor, or by half a second."""
BRIGHTNESS = 0.1
COLOURFULNESS = 0.5
"""Natural logarithm, 3 added before: grey stays grey."""
ASPECT = 0.25
"""Natural logarithm of the ratio."""

CROWD = 16
"""Of clips with all three hashes equal, only so many (the best) are offered to others: the rest are compared with those, and not with each other."""
BEST = 8
"""Most better partners of a clip that one bucket looks at closely: those that would be kept rather than the others."""
_CHUNK = 1_000_000
"""Comparisons at once: about 100 MB."""


@dataclass(frozen=True)
class Bucket:
    """A share of the search: pairs that meet at ``place``, with ``band`` as the first of their equal bands, and a value of it that falls to
    ``slice`` of ``slices``."""

    place: int
    band: int
    slice: int
    slices: int


def buckets(slices: int) -> list[Bucket]:
    """All buckets; each pair of clips that meet is found in exactly one of them."""
    return [Bucket(p, b, s, slices) for p in range(PLACES) for b in range(BANDS - 1) for s in range(slices)]


def with_mirrored(looks: Looks) -> Looks:
    """The looks, and once more those of new clips as if they were mirrored.

    Mirroring changes the sign of the odd columns of a cosine transform. A bit says whether a coefficient is above the median, which is near
    zero: so the hash of the mirrored picture is found by turning the bits of those columns, but for 0 to 6 at the closest of a clip's three places (measured on 68 clips).
    """
    new = looks.take(~looks.old)
    phash = np.where(new.phash == NO_HASH, NO_HASH, new.phash ^ _ODD_COLUMNS)
    return concatenate([looks, replace(new, phash=phash, mirrored=np.ones(len(new), bool))])


_ODD_COLUMNS = np.uint64(0x5555_5555_5555_5555)


def members(looks: Looks, bucket: Bucket) -> np.ndarray:
    """(n,) bool: which clips belong in a bucket."""
    hashes = looks.phash[:, bucket.place]
    mine = _band(hashes, bucket.band).astype(np.uint32) * 157 % 256 * bucket.slices // 256 == bucket.slice
    return np.asarray(mine & (hashes != NO_HASH))


@dataclass(frozen=True)
class Pairs:
    """Pairs of clips, as rows of the looks they were found in: ``worse`` would give way to ``better``."""

    worse: np.ndarray
    better: np.ndarray
    similarity: np.ndarray
    """(n,) float32: share of equal bits of the two closest hashes."""
    mirrored: np.ndarray
    """(n,) bool: they agree when one is mirrored."""


def candidates(looks: Looks, bucket: Bucket, max_distance: int, hashes: int) -> Pairs:
    """The pairs of a bucket whose hashes and facts agree. Clips of one source are no copies of each other and are left out.

    Args:
        looks: the bucket's members. Mirrored ones are only the worse of a pair, which is enough: mirroring either is the same.
        max_distance: most bits in which the closest of three hashes may differ.
        hashes: how many of the three must agree, the others within ``WEAK`` times as many bits.
    """
    order = looks.best_first()
    looks = looks.take(order)
    offered = _offered(looks.phash) & ~looks.mirrored
    found = []
    for second in range(bucket.band + 1, BANDS):
        for better, worse in _meetings(looks, bucket, second, offered, max_distance):
            # The cheapest test first: most pairs that meet are met with elsewhere, or by accident.
            good = _met_here(looks, better, worse, bucket, second)
            better, worse = better[good], worse[good]
            good = (looks.source[better] != looks.source[worse]) & facts_agree(looks, better, worse)
            better, worse = better[good], worse[good]
            good = _agree(looks, better, worse, bucket.place, max_distance, hashes)
            found.append(np.stack([better[good], worse[good]]))
    better, worse = np.concatenate(found, axis=1) if found else np.zeros((2, 0), np.int64)
    sort = np.lexsort((better, worse))
    better, worse = better[sort], worse[sort]
    first = np.flatnonzero(np.r_[True, worse[1:] != worse[:-1]]) if len(worse) else np.zeros(0, np.int64)
    turn = np.arange(len(worse)) - np.repeat(first, np.diff(np.r_[first, len(worse)]))
    better, worse = better[turn < BEST], worse[turn < BEST]
    distance = np.sort(distances(looks.phash, better, worse), axis=1)[:, 0]
    return Pairs(order[worse], order[better], (1 - distance / 64).astype(np.float32), looks.mirrored[worse])


def _band(hashes: np.ndarray, band: int) -> np.ndarray:
    return (hashes >> np.uint64(8 * band)).astype(np.uint8)


def _offered(phash: np.ndarray) -> np.ndarray:
    """(n,) bool: whether a clip, in the order of preference, is among the first ``CROWD`` with its three hashes."""
    sort = np.lexsort(phash.T)  # stable: preference is kept among equals
    ordered = phash[sort]
    starts = np.flatnonzero(np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)]) if len(phash) else np.zeros(0, int)
    turn = np.arange(len(phash)) - np.repeat(starts, np.diff(np.r_[starts, len(phash)]))
    out = np.zeros(len(phash), bool)
    out[sort] = turn < CROWD
    return out


def _meetings(
    looks: Looks, bucket: Bucket, second: int, offered: np.ndarray, max_distance: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(better, worse) rows of new clips and of those offered that are better, where both bands are equal."""
    hashes = looks.phash[:, bucket.place]
    key = _band(hashes, bucket.band).astype(np.uint16) << np.uint16(8) | _band(hashes, second)
    # Stable, so that preference is kept within a group; the clips that are offered stand first in it.
    order = np.concatenate([np.flatnonzero(offered), np.flatnonzero(~offered)])
    order = order[np.argsort(key[order], kind="stable")]
    key = key[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.zeros(0, np.int64)
    sizes = np.diff(np.r_[starts, len(key)])
    start = np.repeat(starts, sizes)
    turn = np.arange(len(key)) - start
    on_offer = np.add.reduceat(offered[order], starts) if len(key) else np.zeros(0, np.int64)
    counts = np.where(looks.old[order], 0, np.minimum(turn, np.repeat(on_offer, sizes)))
    ends = np.cumsum(counts)
    at = 0
    while at < len(counts):
        done = ends[at - 1] if at else 0
        stop = max(int(np.searchsorted(ends, done + _CHUNK, side="right")), at + 1)
        these = counts[at:stop]
        worse = np.repeat(np.arange(at, stop), these)
        better = np.repeat(start[at:stop], these) + _count_up(these)
        better, worse = order[better], order[worse]
        close = np.bitwise_count(hashes[better] ^ hashes[worse]) <= max_distance
        close &= (
            better < worse
        )  # a clip that is not offered may be better than one that is: its equals are compared with that one
        yield better[close], worse[close]
        at = stop


def _count_up(counts: np.ndarray) -> np.ndarray:
    """0, 1, …, counts[0] − 1, 0, 1, …, counts[1] − 1, …"""
    total = int(counts.sum())
    return np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)


def distances(phash: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, 3): bits in which hashes differ, 64 where one is NULL."""
    x, y = phash[a], phash[b]
    return np.where((x == NO_HASH) | (y == NO_HASH), 64, np.bitwise_count(x ^ y))


def _met_here(looks: Looks, a: np.ndarray, b: np.ndarray, bucket: Bucket, second: int) -> np.ndarray:
    """(n,) bool: whether the bands in which pairs meet are the first two that are equal, at this place."""
    apart = looks.phash[a, bucket.place] ^ looks.phash[b, bucket.place]
    below = np.zeros(len(a), np.int8)
    for band in range(second):
        below += _band(apart, band) == 0
    return np.asarray((below == 1) & (_band(apart, bucket.band) == 0))


def _agree(looks: Looks, a: np.ndarray, b: np.ndarray, place: int, max_distance: int, hashes: int) -> np.ndarray:
    """(n,) bool: which pairs agree in their hashes, and have not been found at an earlier place."""
    distance = distances(looks.phash, a, b)
    good = (distance <= WEAK * max_distance).sum(axis=1) >= hashes
    for before in range(place):
        apart = looks.phash[a, before] ^ looks.phash[b, before]
        equal = np.sum([_band(apart, band) == 0 for band in range(BANDS)], axis=0)
        good &= ~((distance[:, before] <= max_distance) & (equal >= 2))
    return np.asarray(good)


def facts_agree(looks: Looks, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) bool: which pairs are alike in what copying leaves as it is. What is not known agrees with everything."""
    long, short = np.maximum(looks.duration[a], looks.duration[b]), np.minimum(looks.duration[a], looks.duration[b])
    grey = [np.log(looks.colourfulness[i] + 3) for i in (a, b)]
    return np.asarray(
        ((long <= DURATION * short) | (long <= short + 0.5))
        & ~(np.abs(looks.brightness[a] - looks.brightness[b]) > BRIGHTNESS)
        & ~(np.abs(grey[0] - grey[1]) > COLOURFULNESS)
        & ~(np.abs(looks.aspect[a] - looks.aspect[b]) > ASPECT)
    )
