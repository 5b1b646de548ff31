"""Results of `stiv query`: as a table for people, or as JSON lines or CSV."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_FOLDED = 32
"""Columns of texts may be made so narrow, so that the others fit beside them."""

_BETWEEN = 3
"""Columns of the terminal between two of a table."""


def plain(value: Any, kind: pa.DataType) -> Any:
    """A cell as JSON can hold it. 32-bit floats get the shortest digits that say them: 0.31, not 0.3100000023841858."""
    if value is None:
        return None
    if pa.types.is_float32(kind):
        short = float(str(np.float32(value)))
        return short if np.isfinite(short) else str(short)
    if pa.types.is_floating(kind):
        return float(value) if np.isfinite(value) else str(value)
    if (
        pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
    ):
        return value
    if pa.types.is_map(kind):
        return {str(k): plain(v, kind.item_type) for k, v in (value.items() if isinstance(value, dict) else value)}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return [plain(v, kind.value_type) for v in value]
    if pa.types.is_struct(kind):
        return {f.name: plain(value[f.name], f.type) for f in kind}
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def print_table(
    table: pa.Table, console: Console, *, limit: int | None = None, as_json: bool = False, as_csv: bool = False
) -> None:
    """Print a result.

    For people: at most ``limit`` rows; NULL is a dim ``NULL``, an empty text ``''``. As JSON lines or as CSV (NULL is an empty
    cell): all rows, without a line break or a mark that is not part of the data.
    """
    names, kinds = table.column_names, table.schema.types
    shown = table if limit is None or as_json or as_csv else table.slice(0, limit)
    rows = ([plain(v.as_py(), k) for v, k in zip(row, kinds, strict=True)] for row in zip(*shown.columns, strict=True))
    if as_json:
        for row in rows:
            console.file.write(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n")
    elif as_csv:
        writer = csv.writer(console.file, lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            writer.writerow([_csv_cell(v) for v in row])
    else:
        _print_rich(names, kinds, list(rows), table.num_rows, console)


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _print_rich(
    names: list[str], kinds: list[pa.DataType], rows: list[list[Any]], total: int, console: Console
) -> None:
    columns = [_Column(n, k, [cell(row[i]) for row in rows]) for i, (n, k) in enumerate(zip(names, kinds, strict=True))]
    if sum(c.least for c in columns) + _BETWEEN * (len(columns) - 1) <= console.width:
        _print_grid(columns, console)
    else:
        _print_blocks(columns, len(rows), console)
    if total > len(rows):
        console.print(Text(f"{len(rows)} of {total} rows; --limit shows more.", style="dim"))
    else:
        console.print(Text(f"{total} row{'' if total == 1 else 's'}", style="dim"))


@dataclass(frozen=True)
class _Column:
    name: str
    kind: pa.DataType
    cells: list[Text]

    @property
    def width(self) -> int:
        return max(cell_len(self.name), *(c.cell_len for c in self.cells), 0)

    @property
    def folds(self) -> bool:
        """Whether its cells may be broken over lines: texts and paths, but never an id or a number."""
        return any(" " in c.plain or "/" in c.plain for c in self.cells)

    @property
    def least(self) -> int:
        """The width without which it cannot be read."""
        return min(self.width, max(_FOLDED, cell_len(self.name))) if self.folds else self.width


def _print_grid(columns: list[_Column], console: Console) -> None:
    grid = Table(header_style="bold", show_edge=False, pad_edge=False)
    for c in columns:
        numeric = pa.types.is_integer(c.kind) or pa.types.is_floating(c.kind)
        least = c.least if c.folds else None
        grid.add_column(
            Text(c.name), justify="right" if numeric else "left", overflow="fold", no_wrap=not c.folds, min_width=least
        )
    for row in zip(*(c.cells for c in columns), strict=True):
        grid.add_row(*row)
    console.print(grid)


def _print_blocks(columns: list[_Column], rows: int, console: Console) -> None:
    """One line for each value, for what does not fit side by side."""
    width = max(cell_len(c.name) for c in columns)
    for number in range(rows):
        console.print(Text(f"── {number + 1} ──", style="dim"))
        for c in columns:
            name = c.name + " " * (width - cell_len(c.name))
            console.print(Text.assemble((name, "bold"), "  ", c.cells[number]), soft_wrap=True)


def cell(value: Any) -> Text:
    """A value for a person's eyes."""
    if value is None:
        return Text("NULL", style="dim italic")
    if isinstance(value, bool):
        return Text("true" if value else "false")
    if isinstance(value, float):
        return Text(f"{value:.6g}")
    if isinstance(value, list | dict):
        return Text(json.dumps(value, ensure_ascii=False))
    return Text("''", style="dim") if value == "" else Text(_printable(str(value)))


def _printable(text: str) -> str:
    """Control characters made visible, so that a file name cannot drive the terminal."""
    return "".join(c if c.isprintable() or c == " " else repr(c)[1:-1] for c in text)
