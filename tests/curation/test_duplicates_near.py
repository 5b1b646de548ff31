"""Agreement of hashes and facts, against all pairs looked at one by one."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import cv2
import numpy as np
import pytest

from curation.duplicates import near
from curation.duplicates.looks import NO_HASH, Looks
from curation.golden import draw
from curation.signals.phash import phash


def looks_of(phash: np.ndarray, **columns: np.ndarray) -> Looks:
    """Looks with these hashes, (n, 3), that are alike in everything else; the first are the best."""
    count = len(phash)
    numbers = np.arange(count)
    plain: dict[str, np.ndarray] = {
        "index": numbers,
        "old": np.zeros(count, bool),
        "id_high": numbers.astype(np.uint64),
        "id_low": np.zeros(count, np.uint64),
        "source": numbers.astype(np.uint64),
        "content_high": np.zeros(count, np.uint64),
        "content_low": np.zeros(count, np.uint64),
        "value": np.zeros(count),
        "duration": np.full(count, 5.0),
        "brightness": np.full(count, 0.5, np.float32),
        "colourfulness": np.full(count, 30, np.float32),
        "aspect": np.zeros(count, np.float32),
        "cell": np.zeros(count, np.int32),
        "vector_row": np.zeros(count, np.int32),
        "next_cell": np.zeros(count, np.int32),
        "next_row": np.zeros(count, np.int32),
        "mirrored": np.zeros(count, bool),
    }
    return Looks(phash=phash.astype(np.uint64), **(plain | columns))


def flip(value: int, bits: list[int]) -> int:
    for bit in bits:
        value ^= 1 << bit
    return value


def search(looks: Looks, max_distance: int = 8, hashes: int = 2, slices: int = 1) -> list[tuple[int, int]]:
    """(worse, better) clips of all buckets, in the order of finding."""
    found = []
    for bucket in near.buckets(slices):
        mine = looks.take(near.members(looks, bucket))
        pairs = near.candidates(mine, bucket, max_distance, hashes)
        found += list(zip(mine.index[pairs.worse].tolist(), mine.index[pairs.better].tolist(), strict=True))
    return found


def random_hashes(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, 2**63, (count, 3), dtype=np.uint64)


@pytest.mark.parametrize("slices", [1, 3])
def test_finds_every_pair_within_six_bits_once(slices: int) -> None:
    rng = np.random.default_rng(4)
    phash = random_hashes(rng, 400)
    for copy in range(200, 400):
        for place in range(3):
            distance = rng.integers(0, 7)
            bits = rng.choice(63, distance, replace=False).tolist()
            phash[copy, place] = flip(int(phash[copy - 200, place]), bits)
    found = search(looks_of(phash), slices=slices)
    wanted = [
        (b, a)
        for a, b in combinations(range(400), 2)
        if sorted(int(x ^ y).bit_count() for x, y in zip(phash[a].tolist(), phash[b].tolist(), strict=True))[1] <= 8
    ]
    assert sorted(found) == sorted(wanted)
    assert len(wanted) >= 200


def test_finds_nine_tenths_of_pairs_at_eight_bits_in_one_place() -> None:
    rng = np.random.default_rng(5)
    phash = random_hashes(rng, 2000)
    for copy in range(1000, 2000):
        original = phash[copy - 1000]
        apart = [rng.choice(63, bits, replace=False).tolist() for bits in (8, 16, 40)]
        phash[copy] = [flip(int(h), bits) for h, bits in zip(original, apart, strict=True)]
    assert 870 <= len(search(looks_of(phash))) <= 940


def test_two_places_must_agree_the_second_more_loosely() -> None:
    a = [0x0F0F_3333_5555_0FF0, 0x1234_5678_9ABC_DEF0, 0x7777_0000_1111_2222]

    def apart(*bits: int) -> bool:
        other = [flip(h, list(range(0, 3 * n, 3))) for h, n in zip(a, bits, strict=True)]
        return search(looks_of(np.array([a, other], np.uint64))) != []

    assert apart(0, 0, 0)
    assert apart(4, 16, 21)
    assert not apart(4, 17, 21)
    assert not apart(10, 10, 10)


@pytest.mark.parametrize(("hashes", "found"), [(1, True), (2, False), (3, False)])
def test_as_many_hashes_agree_as_asked(hashes: int, found: bool) -> None:
    rng = np.random.default_rng(6)
    phash = random_hashes(rng, 2)
    phash[1, 1] = phash[0, 1]
    assert bool(search(looks_of(phash), hashes=hashes)) is found


def test_a_missing_hash_agrees_with_nothing() -> None:
    nothing = np.full((3, 3), NO_HASH)
    assert search(looks_of(nothing), hashes=1) == []
    rng = np.random.default_rng(7)
    phash = random_hashes(rng, 2)
    phash[1] = phash[0]
    phash[:, 0] = NO_HASH
    assert search(looks_of(phash)) == [(1, 0)]
    assert search(looks_of(phash), hashes=3) == []


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("duration", [5.0, 6.4], True),
        ("duration", [5.0, 7.0], False),
        ("duration", [1.0, 1.45], True),
        ("brightness", [0.5, 0.58], True),
        ("brightness", [0.5, 0.65], False),
        ("brightness", [np.nan, 0.65], True),
        ("colourfulness", [30, 40], True),
        ("colourfulness", [0, 30], False),
        ("aspect", [0.57, 0.6], True),
        ("aspect", [0.57, -0.57], False),
        ("source", [3, 3], False),
    ],
)
def test_facts_that_copying_leaves_must_agree(column: str, values: list[float], found: bool) -> None:
    looks = looks_of(np.repeat(random_hashes(np.random.default_rng(8), 1), 2, axis=0))
    kind = getattr(looks, column).dtype
    assert bool(search(replace(looks, **{column: np.array(values).astype(kind)}))) is found


def test_the_worse_gives_way_whatever_the_order_of_rows() -> None:
    rng = np.random.default_rng(9)
    phash = np.repeat(random_hashes(rng, 20), 3, axis=0)
    value = rng.random(60)
    value[::7] = np.nan
    looks = looks_of(phash, value=value)
    found = set(search(looks))
    assert len(found) == 60
    for worse, better in found:
        assert np.isnan(value[worse]) or value[better] >= value[worse]
    mixed = looks.take(rng.permutation(60))
    assert set(search(mixed)) == found


def test_old_clips_are_compared_with_and_never_give_way() -> None:
    phash = np.repeat(random_hashes(np.random.default_rng(10), 1), 4, axis=0)
    looks = looks_of(phash, old=np.array([False, True, True, False]), value=np.array([9.0, 1.0, 2.0, 3.0]))
    assert set(search(looks)) == {(0, 1), (0, 2), (3, 1), (3, 2), (3, 0)}


def test_the_hash_of_a_mirrored_picture_is_known_without_it() -> None:
    found = 0
    for seed in range(10):
        picture = cv2.cvtColor(draw.texture(240, 135, seed), cv2.COLOR_RGB2GRAY)
        hashes = np.array([[phash(picture)] * 3, [phash(picture[:, ::-1].copy())] * 3], np.uint64)
        both = near.with_mirrored(looks_of(hashes))
        assert both.mirrored.tolist() == [False, False, True, True]
        assert int(both.phash[2, 0] ^ hashes[1, 0]).bit_count() <= 10
        assert search(looks_of(hashes)) == []
        found += search(both) == [(1, 0)]
    assert found >= 9


def test_a_symmetric_clip_is_no_copy_of_itself_and_old_clips_are_not_mirrored() -> None:
    hashes = random_hashes(np.random.default_rng(12), 1) & np.uint64(0xAAAA_AAAA_AAAA_AAAA)
    assert search(near.with_mirrored(looks_of(hashes))) == []
    assert len(near.with_mirrored(looks_of(np.repeat(hashes, 2, axis=0), old=np.array([True, False])))) == 3


def test_a_crowd_of_equal_clips_costs_little_and_all_give_way_to_the_best() -> None:
    phash = np.repeat(random_hashes(np.random.default_rng(11), 1), 20_000, axis=0)
    found = search(looks_of(phash))
    assert len(found) <= 20_000 * near.BEST
    assert {worse for worse, better in found if better == 0} == set(range(1, 20_000))
