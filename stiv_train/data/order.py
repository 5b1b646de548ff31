"""Which samples a training step sees: a pure function of (plan, seed, step), the same for any number of workers and processes.

In: the data plan's columns bucket, weight, validation and clip_id. Out: rows of the plan and how often each was seen before. No
pixels are read here.

Every bucket is an endless stream of visits, cut into batches without regard to the ends of epochs: all batches are full, and no
sample is ever left over. A low-discrepancy schedule says which bucket a step takes its batch from.

LEGEND  N rows of a stream, V visits in an epoch, B samples of a batch.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from schemas.errors import UsageError

if TYPE_CHECKING:
    from stiv_train.data.plan import DataPlan

BLOCK = 32
"""Rows that neighbour in the shards and stay together in a window: what one window reads of a tar lies within some tens of megabytes."""
WINDOW = 128
"""Blocks whose rows are mixed: 4,096 samples from up to 128 places of the corpus, as many files as a process keeps open."""

ORDER, SAMPLE = 1, 2
"""Purposes of random numbers; each has streams of its own."""
_WORD = (1 << 64) - 1
_RATE = 1 << 32


def keyed(seed: int, purpose: int, *place: int) -> np.random.Philox:
    """The random stream of a place (up to three whole numbers). Raw words of Philox are the same in every version of NumPy."""
    counter = np.array([0, *place, *[0] * (3 - len(place))], np.uint64)
    return np.random.Philox(key=np.array([seed & _WORD, purpose], np.uint64), counter=counter)


def hash_units(ids: pa.ChunkedArray, rows: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for the text of every row, depending on nothing but the text (FNV-1a, then mixed).

    ``rows`` (N,) int64, ascending. Returns (N,) float64.
    """
    found, first = [np.empty(0, np.uint64)], 0
    # Chunk by chunk: all texts of a large plan in one array would be longer than its 32-bit offsets can say.
    for chunk in ids.chunks:
        last = first + len(chunk)
        begin, end = np.searchsorted(rows, [first, last])
        texts = chunk.take(pa.array(rows[begin:end] - first)).cast(pa.large_binary())
        first = last
        if begin == end:
            continue
        _, where, content = texts.buffers()
        ends = np.frombuffer(where, np.int64)[texts.offset : texts.offset + len(texts) + 1]
        data = np.frombuffer(content, np.uint8)
        value = np.full(len(texts), 0xCBF29CE484222325, np.uint64)
        lengths = np.diff(ends)
        for at in range(int(lengths.max())):
            live = np.flatnonzero(lengths > at)
            value[live] = (value[live] ^ data[ends[live] + at]) * np.uint64(0x100000001B3)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
        found.append(value ^ (value >> np.uint64(31)))
    return (np.concatenate(found) >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Stream:
    """The endless stream of visits to the rows of one bucket.

    In epoch e the clip with weight w and hash u is visited floor(w·(e+1) + u) - floor(w·e + u) times: exactly w times for a whole
    w, and over many epochs w times on average for any other.
    """

    def __init__(self, rows: np.ndarray, weights: np.ndarray, ids: pa.ChunkedArray, seed: int, bucket: int) -> None:
        """``rows`` (N,) of the plan, ascending, with their ``weights`` (N,) > 0; ``ids`` are the clip ids of the whole plan."""
        self.rows = rows.astype(np.int32 if not len(rows) or rows[-1] < 2**31 else np.int64)
        self._seed, self._bucket = seed, bucket
        whole = np.floor(weights)
        self._partial = np.flatnonzero(weights != whole)
        self._fraction = (weights - whole)[self._partial]
        self._unit = hash_units(ids, rows[self._partial])
        self._whole = whole.astype(np.int32)
        self._whole_sum = int(self._whole.sum(dtype=np.int64))
        self.visits_per_epoch = self._whole_sum + float(self._fraction.sum())
        self._even = not len(self._partial) and len(rows) > 0 and bool((self._whole == self._whole[0]).all())
        if self._even:
            self._whole = np.broadcast_to(self._whole[0].copy(), len(rows))  # one number in place of N
        self._epochs: OrderedDict[int, _Epoch] = OrderedDict()

    def total(self, epoch: int) -> int:
        """Visits in all epochs before ``epoch``."""
        return self._whole_sum * epoch + int(self._extra(epoch).sum())

    def locate(self, position: int) -> _Epoch:
        """The epoch in which the visit at a position of the stream lies."""
        for epoch in self._epochs.values():
            if epoch.start <= position < epoch.start + epoch.size:
                return epoch
        # total(e) is e · visits_per_epoch, but for less than one visit for each row with a fraction.
        slack = len(self._partial) + 1
        low = max(0, int((position - slack) / self.visits_per_epoch) - 1)
        high = int((position + slack) / self.visits_per_epoch) + 2
        number = low + bisect_right(range(low, high + 1), position, key=self.total) - 1
        found = self._epochs[number] = self._epoch(number)
        if len(self._epochs) > 2:
            self._epochs.popitem(last=False)
        return found

    def take(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the plan and visit numbers (how often each row came before), both (stop - start,) int64."""
        rows, visits = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        while start < stop:
            epoch = self.locate(start)
            end = min(stop, epoch.start + epoch.size)
            local, turn = epoch.entries(start - epoch.start, end - epoch.start)
            rows.append(self.rows[local].astype(np.int64))
            visits.append(self._seen_before(local, epoch.number) + turn)
            start = end
        return np.concatenate(rows), np.concatenate(visits)

    def _extra(self, epoch: int) -> np.ndarray:
        """Visits that fractions of weights have brought before ``epoch``."""
        return np.floor(self._fraction * epoch + self._unit).astype(np.int64)

    def _seen_before(self, local: np.ndarray, epoch: int) -> np.ndarray:
        seen = self._whole[local].astype(np.int64) * epoch
        if len(self._partial):
            at = np.minimum(np.searchsorted(self._partial, local), len(self._partial) - 1)
            extra = np.floor(self._fraction[at] * epoch + self._unit[at]).astype(np.int64)
            seen += np.where(self._partial[at] == local, extra, 0)
        return seen

    def _epoch(self, number: int) -> _Epoch:
        start = self.total(number)
        key = (self._seed, number, self._bucket)
        if self._even:
            return _Epoch(key, start, len(self.rows), int(self._whole[0]), None)
        visits = self._whole.astype(np.int64)
        visits[self._partial] += self._extra(number + 1) - self._extra(number)
        # All first visits in the order of the rows, then all second ones, …: visits to one clip come to lie in different blocks.
        turns = [left := np.flatnonzero(visits)]
        for turn in range(1, int(visits.max())):
            turns.append(left := left[visits[left] > turn])
        return _Epoch(key, start, 0, 0, turns)


class _Epoch:
    """The visits of one epoch in their keyed order: blocks are permuted, then the rows of each window of blocks."""

    def __init__(
        self, key: tuple[int, int, int], start: int, even: int, turns: int, uneven: list[np.ndarray] | None
    ) -> None:
        """Either every one of ``even`` rows is visited ``turns`` times, or ``uneven`` lists the rows of each turn."""
        self.key, self.number, self.start = key, key[1], start
        self._even = even
        self._uneven = None if uneven is None else np.concatenate(uneven)
        self._turn_starts = None if uneven is None else np.cumsum([0, *map(len, uneven)])
        self.size = even * turns if uneven is None else len(self._uneven)  # type: ignore[arg-type]
        self._blocks = self._shuffled(-(-self.size // BLOCK), 0)
        self._windows = -(-len(self._blocks) // WINDOW)
        short = -self.size % BLOCK
        # The last block of the epoch may be short: every window after it begins that much earlier.
        self._short_at = int(np.flatnonzero(self._blocks == len(self._blocks) - 1)[0]) if short else len(self._blocks)
        self._short = short
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def entries(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """(index of the row within the stream, turn within the epoch) of the visits at places ``start`` to ``stop``."""
        pieces = []
        while start < stop:
            window = bisect_right(range(self._windows), start, key=self._window_start) - 1
            first = self._window_start(window)
            pieces.append(self._window(window)[start - first : stop - first])
            start += len(pieces[-1])
        entry = np.concatenate(pieces)
        if self._uneven is None or self._turn_starts is None:
            return entry % self._even, entry // self._even
        return self._uneven[entry], np.searchsorted(self._turn_starts, entry, side="right") - 1

    def _first_block(self, window: int) -> int:
        return window * len(self._blocks) // self._windows  # windows of equal size, so that none at the end mixes badly

    def _window_start(self, window: int) -> int:
        block = self._first_block(window)
        return block * BLOCK - (self._short if block > self._short_at else 0)

    def _window(self, window: int) -> np.ndarray:
        if window not in self._kept:
            blocks = self._blocks[self._first_block(window) : self._first_block(window + 1)]
            entries = (blocks[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1)
            entries = entries[entries < self.size]
            self._kept[window] = entries[self._shuffled(len(entries), 1 + window)]
            if len(self._kept) > 2:
                self._kept.popitem(last=False)
        return self._kept[window]

    def _shuffled(self, count: int, level: int) -> np.ndarray:
        """A permutation of 0 … count-1. (count,) int64."""
        seed, epoch, bucket = self.key
        return np.argsort(keyed(seed, ORDER, epoch, bucket, level).random_raw(count), kind="stable")


class Schedule:
    """Which bucket each step takes: in proportion to the rates at every moment, as evenly as can be.

    Turn j of the bucket with rate q is due at time (2j+1) / 2q; steps are all turns in order of time, ties in order of buckets.
    Times are compared as fractions of whole numbers, so the schedule is exact however far it runs.
    """

    def __init__(self, rates: Sequence[float]) -> None:
        """``rates``: steps of each bucket per epoch; 0 for a bucket without samples."""
        whole = sum(rates)
        self._rates = {b: max(1, round(_RATE * rate / whole)) for b, rate in enumerate(rates) if rate > 0}
        self._sum = sum(self._rates.values())

    def at(self, step: int) -> tuple[int, int]:
        """(bucket, how many of its turns came before)."""
        spread = len(self._rates) + 1
        for bucket, rate in self._rates.items():
            low = max(0, (step - spread) * rate // self._sum - 1)
            turns = range(low, (step + spread) * rate // self._sum + 3)
            turn = low + bisect_left(turns, step, key=lambda turn, bucket=bucket: self._before(bucket, turn))  # type: ignore[misc]
            if self._before(bucket, turn) == step:
                return bucket, turn
        raise AssertionError(f"no bucket has step {step}")

    def _before(self, bucket: int, turn: int) -> int:
        """How many turns of all buckets are due before this one."""
        own, count = self._rates[bucket], 0
        for other, rate in self._rates.items():
            due = (2 * turn + 1) * rate - (other >= bucket)
            count += (due // own + 1) // 2
        return count


@dataclass(frozen=True)
class Share:
    """What one process does of one step."""

    step: int
    bucket: int
    epoch: int
    """Of the first sample of the whole batch."""
    planned: int
    """Samples of the whole batch, over all processes."""
    positions: np.ndarray
    """(B,) int64: places in the whole batch."""
    rows: np.ndarray
    """(B,) int64: rows of the plan."""
    visits: np.ndarray
    """(B,) int64: how often the row came before, in all epochs."""


class Order:
    """The samples of every step. Set up in one pass over the plan; then any step is found without walking to it."""

    def __init__(self, plan: DataPlan, seed: int) -> None:
        """
        Raises:
            UsageError: the plan has no samples to train on.
        """
        table = plan.table
        bucket = table["bucket"].to_numpy()
        weight = table["weight"].to_numpy()
        used = ~table["validation"].to_numpy() & (weight > 0)
        self.batches = [bucket.batch or 1 for bucket in plan.buckets]  # a plan's buckets say their batch
        self._streams = []
        for number in range(len(self.batches)):
            rows = np.flatnonzero(used & (bucket == number))
            self._streams.append(Stream(rows, weight[rows], table["clip_id"], seed, number))
        if not any(len(stream.rows) for stream in self._streams):
            raise UsageError(
                "The data plan has no samples to train on: it is empty, or all of them are held out for validation.",
                fix="Widen `select`, or lower `data.validation_share`.",
            )
        self._schedule = Schedule(
            [s.visits_per_epoch / size for s, size in zip(self._streams, self.batches, strict=True)]
        )
        self.visits_per_epoch = sum(stream.visits_per_epoch for stream in self._streams)

    def share(self, step: int, rank: int = 0, world: int = 1) -> Share:
        """The part of a step's batch that process ``rank`` of ``world`` works on: neighbouring places, as even as can be."""
        bucket, turn = self._schedule.at(step)
        size, stream = self.batches[bucket], self._streams[bucket]
        first, last = rank * size // world, (rank + 1) * size // world
        rows, visits = stream.take(turn * size + first, turn * size + last)
        return Share(
            step, bucket, stream.locate(turn * size).number, size, np.arange(first, last, dtype=np.int64), rows, visits
        )
