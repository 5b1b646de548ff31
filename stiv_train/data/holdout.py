"""Which sources are held out for validation: whole groups of sources that share content, by a hash of the group's name.

The hash depends on nothing but the name, so a group stays on its side when other sources come, when the selection changes, and
under any seed.

LEGEND  N sources.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.expressions import connection

_SALT = "held out for validation:"


def hold_out(names: pa.Array, share: float, others: Sequence[pa.Array] = ()) -> np.ndarray:
    """Which sources are held out: (N,) bool. About ``share`` of the groups; at least one where there are two groups or more.

    Args:
        names: (N,) what a source is by its content: equal names are one group. No NULL.
        share: 0 holds out nothing.
        others: further columns (N,), such as clusters of near duplicates: sources that agree in a value, NULL apart, are one
            group. The group has the name that comes first in the alphabet.

    A single group is never held out: there would be nothing left to train on.
    """
    held = np.zeros(len(names), bool)
    if not share or not len(names):
        return held
    order = pc.sort_indices(names).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    label = components(rank, [codes(names), *(codes(column) for column in others)])
    if (label == label[0]).all():
        return held
    place = units(names.take(pa.array(order[label])))
    held = place < share
    return held if held.any() else place == place.min()


def components(start: np.ndarray, columns: Sequence[np.ndarray]) -> np.ndarray:
    """Connected components: the smallest of ``start`` (N,) among all rows that hang together with a row. (N,) like ``start``.

    Rows hang together that agree in any of ``columns``, each (N,) whole numbers from 0.
    """
    label = start
    while True:
        lower = label
        for column in columns:
            least = np.full(int(column.max(initial=-1)) + 1, np.iinfo(np.int64).max)
            np.minimum.at(least, column, lower)
            lower = least[column]
        if np.array_equal(lower, label):
            return label
        label = lower


def codes(column: pa.Array) -> np.ndarray:
    """Equal values → equal whole numbers from 0, and every NULL a number of its own. (N,) int64."""
    numbers = column.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    absent = numbers < 0
    numbers[absent] = numbers.max(initial=-1) + 1 + np.arange(absent.sum())
    return numbers


def units(texts: pa.Array) -> np.ndarray:
    """A number in [0, 1) for each text, from its MD5 sum. (N,) float64."""
    with connection() as db:
        db.register("named", pa.table({"n": np.arange(len(texts)), "name": texts}))
        sums = db.sql(f"SELECT md5_number_lower('{_SALT}' || name) AS sum FROM named ORDER BY n").to_arrow_table()
    return (sums.column("sum").to_numpy() >> np.uint64(11)) / 2**53
