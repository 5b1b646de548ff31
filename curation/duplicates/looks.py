"""What is remembered of a clip to compare it with others: about 200 bytes a clip, a table beside the rows of a part.

A clip's number is ``part << 32 | row``, the row being that of its look in the part's file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa

from curation.evenly import evenly
from curation.expressions import connection
from curation.percentiles import resolve_percentiles
from curation.rules import check_number

HASHES = ("phash_a", "phash_b", "phash_c")
NO_HASH = np.uint64(2**64 - 1)
"""Stands for NULL: the uppermost bit of a hash is never set."""
STILLS = 3
"""Stills of a clip that are looked at to prove a near duplicate, spread evenly."""
NO_CELL = -1
"""Cell of a clip without a vector."""
_BARS = ("bar_left", "bar_top", "bar_right", "bar_bottom")

_U64, _F64, _F32 = pa.uint64(), pa.float64(), pa.float32()
SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("id_high", _U64),
        ("id_low", _U64),
        ("source", _U64),
        ("content_high", _U64),
        ("content_low", _U64),
        *((name, _U64) for name in HASHES),
        ("value", _F64),
        ("duration", _F64),
        ("brightness", _F32),
        ("colourfulness", _F32),
        ("aspect", _F32),
        ("cell", pa.int32()),
        ("vector_row", pa.int32()),
        ("next_cell", pa.int32()),
        ("next_row", pa.int32()),
        ("stills_offset", pa.list_(pa.int64())),
        ("stills_size", pa.list_(pa.int64())),
        ("crop", pa.list_(_F32)),
    ]
)
"""``id_*``: the clip's id as two numbers. ``content_*``: halves of a 128-bit digest of the source's content and the clip's frames (0, 0: the
content is not known). ``value``: what decides which clip is kept, NaN where it is unknown. ``aspect``: natural logarithm of width / height
without black bars. NaN stands for NULL. ``crop``: black bars left, top, right, bottom as shares. ``vector_row``: row in the part's file of
vectors. ``next_*``: the same for the second nearest cell."""


@dataclass(frozen=True)
class Looks:
    """Looks of many clips as columns of equal length, without what only single clips are asked for."""

    index: np.ndarray
    """(n,) int64: number of the clip."""
    old: np.ndarray
    """(n,) bool: the clip was kept by an earlier search; it is compared with, and stays as it is."""
    id_high: np.ndarray
    id_low: np.ndarray
    source: np.ndarray
    content_high: np.ndarray
    content_low: np.ndarray
    phash: np.ndarray
    """(n, 3) uint64, ``NO_HASH`` for NULL."""
    value: np.ndarray
    duration: np.ndarray
    brightness: np.ndarray
    colourfulness: np.ndarray
    aspect: np.ndarray
    cell: np.ndarray
    vector_row: np.ndarray
    next_cell: np.ndarray
    next_row: np.ndarray
    mirrored: np.ndarray
    """(n,) bool: this is how the clip would look with left and right exchanged."""

    def __len__(self) -> int:
        return len(self.index)

    def take(self, rows: np.ndarray) -> Looks:
        """The looks of some rows, by number or by mask."""
        return Looks(*(getattr(self, f.name)[rows] for f in fields(self)))

    def best_first(self) -> np.ndarray:
        """(n,) int64: rows in the order in which clips are kept: what is kept already, then the largest value, the longest, the first id.

        An unknown value comes last.
        """
        known = ~np.isnan(self.value)
        value = np.where(known, self.value, 0.0)
        return np.lexsort((self.id_low, self.id_high, -self.duration, -value, ~known, ~self.old))


COLUMNS = [name for name in SCHEMA.names if name not in ("clip_id", "stills_offset", "stills_size", "crop")]
"""Columns of a look that :func:`load` needs."""


def make(wide: pa.Table, keep: str, cells: np.ndarray, vector_rows: np.ndarray) -> pa.Table:
    """Looks of the clips in ``wide`` (rows of ``curation.joined.read_measured``), in their order.

    Args:
        keep: the expression that decides which clip is kept.
        cells: (n, 2) nearest cell of each clip's vector and the next one, ``NO_CELL`` where it has none.
        vector_rows: (n, 2) rows of its vector in the part's file, which holds it once for each of the two.

    Raises:
        RecipeError: ``keep`` is no number over the columns.
    """
    rows = wide.select([c for c in _NEEDED if c in wide.column_names]).to_pylist()
    values = numbers(wide, keep)
    made = [
        _look(row, value, cell, vector)
        for row, value, cell, vector in zip(rows, values, cells.tolist(), vector_rows.tolist(), strict=True)
    ]
    return pa.Table.from_pylist(made, schema=SCHEMA)


_NEEDED = (
    *("clip_id", "source_id", "source_sha256", "start_frame", "end_frame", "duration_s", "width", "height"),
    *(*HASHES, "brightness", "colourfulness", "stills_offset", "stills_size", *_BARS),
)


def numbers(table: pa.Table, sql: str, *, where: str = "dedup.keep") -> list[float | None]:
    """A scalar expression on every row, in order; None where it is NULL or no finite number.

    Raises:
        RecipeError: it is not one scalar expression, or no number, or asks for a percentile.
    """
    check_number(sql, table.schema, where=where)
    resolve_percentiles(sql, {}, where=where)
    with connection() as db:
        db.register("clips_in_hand", table)
        found = db.sql(f"SELECT TRY_CAST((\n{sql}\n) AS DOUBLE) AS v FROM clips_in_hand").to_arrow_table()
    return [v if v is not None and np.isfinite(v) else None for v in found.column("v").to_pylist()]


def _look(row: dict[str, object], value: float | None, cell: list[int], vector_row: list[int]) -> dict[str, object]:
    digits = str(row["clip_id"])[1:]
    sha = row["source_sha256"]
    content = _halves(f"{sha}:{row['start_frame']}:{row['end_frame']}") if sha else (0, 0)
    sides = [_share(row, bar, side) for bar, side in zip(_BARS, ("width", "height") * 2, strict=True)]
    left, top, right, bottom = sides
    inner = (_number(row["width"]) * (1 - left - right), _number(row["height"]) * (1 - top - bottom))
    offsets, sizes = row["stills_offset"] or [], row["stills_size"] or []
    chosen = evenly(range(len(offsets)), STILLS)  # type: ignore[arg-type]
    return {
        "clip_id": row["clip_id"],
        "id_high": int(digits[:16], 16),
        "id_low": int(digits[16:], 16),
        "source": _halves(str(row["source_id"]))[0],
        "content_high": content[0],
        "content_low": content[1],
        **{name: int(NO_HASH) if row[name] is None else row[name] for name in HASHES},
        "value": np.nan if value is None else value,
        "duration": row["duration_s"],
        "brightness": np.nan if row["brightness"] is None else row["brightness"],
        "colourfulness": np.nan if row["colourfulness"] is None else row["colourfulness"],
        "aspect": float(np.log(max(inner[0], 1.0) / max(inner[1], 1.0))),
        "cell": cell[0],
        "vector_row": vector_row[0],
        "next_cell": cell[1],
        "next_row": vector_row[1],
        "stills_offset": [offsets[i] for i in chosen],  # type: ignore[index]
        "stills_size": [sizes[i] for i in chosen],  # type: ignore[index]
        "crop": sides,
    }


def _share(row: dict[str, object], bar: str, side: str) -> float:
    return _number(row[bar] or 0) / max(_number(row[side]), 1.0)


def _number(value: object) -> float:
    return float(value)  # type: ignore[arg-type]


def _halves(text: str) -> tuple[int, int]:
    found = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(found[:8], "big"), int.from_bytes(found[8:16], "big")


def load(parts: Iterable[tuple[int, pa.Table, np.ndarray | None]]) -> Looks:
    """Looks of many parts.

    Args:
        parts: (number, its looks with at least :data:`COLUMNS`, None or (n,) bool: which of them an earlier search kept). Clips that an
            earlier search dropped are left out; None: the part is new.
    """
    pieces = []
    for part, table, kept in parts:
        index = (np.int64(part) << np.int64(32)) + np.arange(table.num_rows, dtype=np.int64)
        columns = {name: table.column(name).to_numpy() for name in COLUMNS}
        phash = np.stack([columns.pop(name) for name in HASHES], axis=1)
        old, mirrored = np.full(len(index), kept is not None), np.zeros(len(index), bool)
        looks = Looks(index=index, old=old, phash=phash, mirrored=mirrored, **columns)
        pieces.append(looks if kept is None else looks.take(kept))
    return concatenate(pieces)


def concatenate(pieces: Sequence[Looks]) -> Looks:
    """Looks one after the other; none gives none."""
    if not pieces:
        empty = SCHEMA.empty_table()
        return load([(0, empty, None)])
    return Looks(*(np.concatenate([getattr(p, f.name) for p in pieces]) for f in fields(Looks)))
