"""Vectors, cells and cosines, against all pairs."""

from __future__ import annotations

import numpy as np

from curation.duplicates import cells


def vectors(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    return cells.unit(np.random.default_rng(seed).standard_normal((count, width)))


def test_close_pairs_are_those_of_all_pairs() -> None:
    base = vectors(300)
    some = cells.unit(np.concatenate([base, base[:100] + 0.05 * vectors(100, seed=1)]))
    worse, better, cosine = cells.close_pairs(some, np.ones(400, bool), 0.96)
    every = some.astype(np.float64) @ some.T.astype(np.float64)
    wanted = {(b, a) for a, b in np.argwhere(np.triu(every >= 0.96, 1)).tolist()}
    assert set(zip(worse.tolist(), better.tolist(), strict=True)) == wanted
    assert len(wanted) >= 100
    np.testing.assert_allclose(cosine, every[worse, better], atol=1e-6)


def test_pairs_reach_over_blocks() -> None:
    some = np.concatenate([vectors(5000), vectors(1, seed=9)])
    some[4999] = some[1]
    worse, better, _ = cells.close_pairs(some, np.ones(len(some), bool), 0.99)
    assert (worse.tolist(), better.tolist()) == ([4999], [1])


def test_partners_are_the_best_few() -> None:
    worse, better, _ = cells.close_pairs(np.repeat(vectors(1), 50, axis=0), np.ones(50, bool), 0.99)
    assert np.bincount(worse).max() == cells.BEST
    assert better[worse == 40].tolist() == list(range(cells.BEST))


def test_old_clips_give_way_to_nobody() -> None:
    worse, better, _ = cells.close_pairs(np.repeat(vectors(1), 3, axis=0), np.array([False, True, False]), 0.99)
    assert (worse.tolist(), better.tolist()) == ([1], [0])


def test_cells_are_the_clusters_that_are_there() -> None:
    centres = vectors(5, seed=2)
    rng = np.random.default_rng(3)
    own = np.arange(500) % 5
    some = cells.unit(centres[own] + 0.02 * rng.standard_normal((500, 16)))
    found = cells.nearest(some, cells.fit(some, 5, seed=1))[:, 0]
    assert all(len(set(found[own == k].tolist())) == 1 for k in range(5))


def test_centres_are_the_same_each_time_and_of_length_one() -> None:
    some = vectors(200)
    first = cells.fit(some, 7)
    np.testing.assert_array_equal(first, cells.fit(some, 7))
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)


def test_the_next_cell_is_the_second_nearest() -> None:
    some, centres = vectors(50), vectors(6, seed=4)
    order = np.argsort(-(some @ centres.T), axis=1)
    np.testing.assert_array_equal(cells.nearest(some, centres), order[:, :2])
    assert cells.nearest(some, centres[:1]).tolist() == [[0, -1]] * 50


def test_no_more_cells_than_clips() -> None:
    assert cells.cell_count(10, None) == 1
    assert cells.cell_count(10, 50) == 10
    assert cells.cell_count(0, None) == 1
    assert cells.cell_count(90_000_000, None) == cells.MOST_CELLS
    assert len(cells.fit(vectors(3), 9)) == 3
    assert len(cells.fit(np.repeat(vectors(1), 20, axis=0), 4)) == 1
