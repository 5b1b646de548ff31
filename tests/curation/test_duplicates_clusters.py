"""Who gives way to whom."""

from __future__ import annotations

import numpy as np

from curation.duplicates.clusters import EXACT, NEAR, SEMANTIC, Evidence, Fate, decide


def fates(pairs: list[tuple[int, int, int, float]], clips: int) -> dict[int, Fate]:
    """Of clips 0, 1, …, the first the best, from (worse, better, kind, similarity)."""
    columns = list(zip(*pairs, strict=True)) or [[], [], [], []]
    kinds = (np.int64, np.int64, np.int8, np.float64)
    evidence = Evidence(*(np.array(c, kind) for c, kind in zip(columns, kinds, strict=True)))
    return decide(evidence, np.arange(clips))


def test_the_worse_gives_way() -> None:
    assert fates([(1, 0, NEAR, 0.9)], 2) == {0: Fate(0, "near", 0.9), 1: Fate(0, "near", 0.9)}


def test_nothing_found_nothing_decided() -> None:
    assert fates([], 0) == {}


def test_a_chain_does_not_grow() -> None:
    found = fates([(1, 0, NEAR, 0.9), (2, 1, NEAR, 0.9), (3, 2, NEAR, 0.9)], 4)
    assert found[1].kept == 0
    assert found[2].kept == 2, "it matches a clip that was dropped, not the one that is kept"
    assert found[3].kept == 2


def test_a_long_chain_makes_small_clusters() -> None:
    found = fates([(i + 1, i, NEAR, 0.9) for i in range(99)], 100)
    sizes = np.bincount([fate.kept for fate in found.values()])
    assert sizes.max() == 2


def test_exact_copies_go_where_their_equal_goes() -> None:
    found = fates([(1, 0, NEAR, 0.9), (2, 1, EXACT, 1.0)], 3)
    assert found[2] == found[1] == Fate(0, "near", 0.9), "not exact: that is what it is to the other that is dropped"
    assert found[0] == Fate(0, "near", 0.9)


def test_strongest_evidence_then_the_likest_then_the_best() -> None:
    found = fates(
        [
            (3, 0, SEMANTIC, 0.99),
            (3, 1, NEAR, 0.9),
            (3, 2, NEAR, 0.95),
            (4, 1, NEAR, 0.9),
            (4, 0, NEAR, 0.9),
        ],
        5,
    )
    assert found[3] == Fate(2, "near", 0.95)
    assert found[4] == Fate(0, "near", 0.9)


def test_a_kept_clip_tells_its_nearest_member() -> None:
    found = fates([(1, 0, SEMANTIC, 0.99), (2, 0, NEAR, 0.9), (3, 0, NEAR, 0.95)], 4)
    assert found[0] == Fate(0, "near", 0.95)


def test_the_same_pair_may_come_twice() -> None:
    assert fates([(1, 0, NEAR, 0.9), (1, 0, EXACT, 1.0)], 2)[1] == Fate(0, "exact", 1.0)
