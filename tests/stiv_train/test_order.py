"""The order of samples: complete, weighted, mixed, local, and a function of plan, seed and step alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import UsageError
from schemas.train_recipe import Bucket
from stiv_train.data.order import BLOCK, WINDOW, Order, Schedule, hash_units


def plan_of(
    weights: list[float] | np.ndarray, *, batches: tuple[int, ...] = (8,), buckets: Any = None, held: Any = None
) -> Any:
    """A data plan as far as the order looks at it."""
    count = len(weights)
    table = pa.table(
        {
            "clip_id": [f"c{n:05d}" for n in range(count)],
            "bucket": pa.array(np.zeros(count) if buckets is None else buckets, pa.int16()),
            "weight": pa.array(weights, pa.float64()),
            "validation": pa.array(np.zeros(count, bool) if held is None else held),
        }
    )
    return SimpleNamespace(table=table, buckets=tuple(Bucket(batch=batch) for batch in batches))


def rows_of(order: Order, steps: int) -> np.ndarray:
    return np.concatenate([order.share(step).rows for step in range(steps)])


def test_every_epoch_has_every_sample_once_and_no_remainder_is_dropped() -> None:
    order = Order(plan_of([1.0] * 100, batches=(32,)), 0)
    rows = rows_of(order, 25)  # 800 samples: 8 epochs, whose ends fall within batches
    assert all(len(order.share(step).rows) == 32 for step in range(25))
    epochs = rows.reshape(8, 100)
    assert all(sorted(epoch) == list(range(100)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 8
    assert tuple(epochs[0]) != tuple(range(100))
    assert [order.share(step).epoch for step in (0, 3, 4, 24)] == [0, 0, 1, 7]


def test_a_step_is_found_without_walking_to_it() -> None:
    weights = np.random.default_rng(0).choice([0.3, 0.5, 1, 2, 3.7], 500)
    walked = Order(plan_of(weights, batches=(24,)), 5)
    shares = [walked.share(step) for step in range(200)]
    for step in (199, 0, 120, 7):
        there = Order(plan_of(weights, batches=(24,)), 5).share(step)
        assert np.array_equal(there.rows, shares[step].rows)
        assert np.array_equal(there.visits, shares[step].visits)
        assert there.epoch == shares[step].epoch


def test_weights_are_visits_per_epoch() -> None:
    weights = [2.0, 1.0, 0.5, 0.25, 1.5] * 40
    order = Order(plan_of(weights, batches=(25,)), 1)
    steps = round(sum(weights)) * 8 // 25  # about eight epochs
    rows = rows_of(order, steps)
    seen = Counter(rows.tolist())
    # The eighth epoch may not be whole at this point, so each count is that of seven or eight epochs.
    for row, weight in enumerate(weights):
        assert int(7 * weight) <= seen[row] <= -(-8 * weight // 1)
    stream = order._streams[0]
    one = Counter(rows[: stream.total(1)].tolist())
    assert all(one[row] == 2 for row in range(0, 200, 5))
    assert all(one[row] == 1 for row in range(1, 200, 5))
    halves = [one[row] for row in range(2, 200, 5)]
    assert set(halves) == {0, 1}
    assert 10 <= sum(halves) <= 30  # half of the forty, by hash
    eight = Counter(rows_of(Order(plan_of([0.5] * 40, batches=(1,)), 1), 160).tolist())
    assert set(eight.values()) == {4}  # 160 steps are eight epochs of twenty


def test_visit_numbers_count_up_without_gaps() -> None:
    weights = np.random.default_rng(3).choice([0.4, 1, 2, 5], 60)
    order = Order(plan_of(weights, batches=(7,)), 9)
    stream = order._streams[0]
    rows, visits = stream.take(0, stream.total(6))
    for row in range(60):
        assert sorted(visits[rows == row]) == list(range(int((rows == row).sum())))


def test_visits_to_one_clip_lie_apart() -> None:
    order = Order(plan_of([4.0] * 5000, batches=(256,)), 0)
    repeats = [len(rows) - len(set(rows.tolist())) for rows in (order.share(step).rows for step in range(70))]
    assert sum(repeats) / (70 * 256) < 0.1


def test_shares_of_processes_make_up_the_batch() -> None:
    order = Order(plan_of([1.0] * 50, batches=(10,)), 2)
    for step in range(12):
        whole = order.share(step)
        assert whole.positions.tolist() == list(range(10))
        for world in (2, 3, 4):
            shares = [order.share(step, rank, world) for rank in range(world)]
            assert np.array_equal(np.concatenate([s.rows for s in shares]), whole.rows)
            assert np.array_equal(np.concatenate([s.visits for s in shares]), whole.visits)
            assert np.array_equal(np.concatenate([s.positions for s in shares]), whole.positions)
            assert max(len(s.rows) for s in shares) - min(len(s.rows) for s in shares) <= 1
            assert {(s.planned, s.epoch, s.bucket) for s in shares} == {(10, whole.epoch, whole.bucket)}


def test_buckets_take_turns_in_proportion() -> None:
    buckets = [0] * 120 + [1] * 60
    plan = plan_of([1.0] * 180, batches=(8, 16), buckets=buckets)
    order = Order(plan, 0)  # 15 steps an epoch of the first, 3.75 of the second: four to one
    taken = [order.share(step) for step in range(100)]
    for share in taken:
        assert {buckets[row] for row in share.rows} == {share.bucket}
        assert len(share.rows) == share.planned == (8, 16)[share.bucket]
    for until in range(1, 101):
        second = sum(share.bucket for share in taken[:until])
        assert abs(second - until / 5) <= 1
    for bucket in (0, 1):
        own = [row for share in taken if share.bucket == bucket for row in share.rows.tolist()]
        size = buckets.count(bucket)
        assert all(len(set(own[i : i + size])) == size for i in range(0, len(own) - size + 1, size))


def test_the_schedule_is_exact_however_far_it_runs() -> None:
    rates = [3.0, 1.0, 0.37, 0.0]
    schedule = Schedule(rates)
    for start in (0, 10**6, 10**14):
        seen = [schedule.at(start + n) for n in range(300)]
        for bucket, rate in enumerate(rates):
            turns = [turn for b, turn in seen if b == bucket]
            assert turns == list(range(turns[0], turns[0] + len(turns))) if rate else not turns
            assert abs(len(turns) - 300 * rate / sum(rates)) <= 1.5
    share = Fraction(schedule.at(10**14 - 1)[1], 10**14)
    assert any(abs(share - Fraction(rate / sum(rates))) < 1e-6 for rate in rates)


def test_held_out_rows_are_never_trained_on() -> None:
    held = [n % 3 == 0 for n in range(30)]
    assert set(rows_of(Order(plan_of([1.0] * 30, held=held), 0), 10).tolist()) == {n for n in range(30) if n % 3}
    with pytest.raises(UsageError, match="no samples to train on"):
        Order(plan_of([1.0] * 3, held=[True] * 3), 0)


def test_fewer_samples_than_a_batch_and_weights_near_nothing() -> None:
    assert sorted(Order(plan_of([1.0] * 3, batches=(9,)), 0).share(4).rows.tolist()) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    rare = Order(plan_of([0.001, 0.002], batches=(3,)), 0)
    seen = Counter(rows_of(rare, 1000).tolist())
    assert seen[0] + seen[1] == 3000
    assert abs(seen[0] - 1000) <= 1


def test_reading_stays_local_and_samples_mix() -> None:
    count = 3 * BLOCK * WINDOW + 1000
    order = Order(plan_of(np.ones(count), batches=(64,)), 0)
    rows = rows_of(order, count // 64)
    # A stretch as long as a window lies in two windows at most: in the shards, that many runs of neighbouring rows.
    stretch = rows[5000 : 5000 + BLOCK * WINDOW // 2]
    assert len(set((stretch // BLOCK).tolist())) <= 2 * WINDOW
    assert len(set((rows[:64] // BLOCK).tolist())) > 40  # but one batch comes from all over
    assert abs(rows[:2000].mean() / count - 0.5) < 0.1


def test_seeds_and_buckets_have_orders_of_their_own() -> None:
    plan = plan_of([1.0] * 200, batches=(100, 100), buckets=[0, 1] * 100)
    first, second = Order(plan, 1), Order(plan, 2)
    a = {s.bucket: s.rows // 2 for s in (first.share(0), first.share(1))}
    b = {s.bucket: s.rows // 2 for s in (second.share(0), second.share(1))}
    assert not np.array_equal(a[0], a[1])
    assert not np.array_equal(a[0], b[0])


def test_the_hash_of_a_clip_does_not_depend_on_chunks() -> None:
    texts = [f"clip-{n}" * (n % 3 + 1) for n in range(2000)]
    rows = np.arange(2000)
    whole = hash_units(pa.chunked_array([texts]), rows)
    pieces = hash_units(pa.chunked_array([texts[:7], texts[7:7], texts[7:1500], texts[1500:]]), rows)
    sliced = hash_units(pa.chunked_array([pa.array(["x", *texts]).slice(1)]), rows)
    assert np.array_equal(whole, pieces)
    assert np.array_equal(whole, sliced)
    assert np.array_equal(hash_units(pa.chunked_array([texts[:7], texts[7:]]), rows[5:900]), whole[5:900])
    assert len(set(whole.tolist())) == 2000
    assert np.abs(np.histogram(whole, 10, (0, 1))[0] - 200).max() < 60


def test_the_order_stays_what_it_was() -> None:
    """Runs are resumed by later versions of the engine and of NumPy: another order under the same plan would break them."""
    weights = [0.5, 1.0, 2.0, 1.3] * 100
    order = Order(plan_of(weights, batches=(8, 4), buckets=[0, 0, 0, 1] * 100), 7)
    digest = hashlib.sha256()
    for step in (*range(40), 10_000, 12_345_678):
        share = order.share(step)
        digest.update(repr((share.bucket, share.epoch, share.rows.tolist(), share.visits.tolist())).encode())
    assert digest.hexdigest()[:16] == "d327203ca1270d15"
