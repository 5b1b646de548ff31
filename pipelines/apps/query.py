"""`stiv query`: the user's own SQL over the views of a corpus, and results as a table, JSON lines or CSV."""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from curation.corpus import Corpus
from curation.joined import CLIPS_ALL
from curation.views import VIEWS, connect
from schemas.errors import UsageError
from schemas.tables import TABLES

_NO_COLUMN = re.compile(r'column (?:named )?"([^"]+)"', re.IGNORECASE)
_NO_TABLE = re.compile(r"Table with name (\S+) does not exist", re.IGNORECASE)
_KIND = re.compile(r"^[A-Z]\w*(?: \w+)* Error: ")
_FORBIDDEN = re.compile(
    r"file system operations are disabled|configuration has been locked|has been disabled", re.IGNORECASE
)
_COLUMNS = list(dict.fromkeys([*(n for *_, n in CLIPS_ALL), *(c for t in TABLES.values() for c in t.names)]))


def run_query(corpus: Corpus, sql: str, use: Mapping[str, str] | None = None, limit: int | None = None) -> pa.Table:
    """Run one SELECT (or DESCRIBE, SUMMARIZE, …) over the views; at most ``limit`` rows are fetched.

    Raises:
        UsageError: the SQL does not work; the message is DuckDB's, made short, with a guess where a name is unknown.
    """
    with connect(corpus, use) as db:
        try:
            relation = db.sql(sql)
            if relation is None:
                raise UsageError(
                    "The SQL has no result.", fix='Ask for one: `stiv query CORPUS "SELECT … FROM clips_all"`.'
                )
            return (relation if limit is None else relation.limit(limit)).to_arrow_table()
        except duckdb.Error as error:
            raise query_error(error) from None


def query_error(error: duckdb.Error) -> UsageError:
    """DuckDB's complaint as one line and a fix."""
    text = str(error)
    first = _KIND.sub("", text.splitlines()[0]).rstrip("!. ") if text else type(error).__name__
    if _FORBIDDEN.search(text):
        return UsageError(
            "A query may only read the corpus: files, extensions and settings are out of reach.",
            fix="Write the result elsewhere with `--csv` or `--json`.",
        )
    if match := _NO_TABLE.search(first):
        return UsageError(
            f"There is no table `{match[1]}`.", fix=_guess(match[1], VIEWS) or f"There are: {', '.join(VIEWS)}."
        )
    match = _NO_COLUMN.search(first)
    if match and ("not found" in first or "does not have" in first):
        if there := _views_with(match[1]):
            return UsageError(
                f"There is no column `{match[1]}` here.",
                fix=f"It is one of {' and '.join(f'`{view}`' for view in there)}: ask there, or join on `clip_id`."
                if "clips_all" in there
                else f"It is one of {' and '.join(f'`{view}`' for view in there)}.",
            )
        return UsageError(
            f"There is no column `{match[1]}` here.",
            fix=_guess(match[1], _COLUMNS) or '`stiv query CORPUS "DESCRIBE clips_all"` lists the columns.',
        )
    return UsageError(
        f"The query does not work: {first}.", fix='`stiv query CORPUS "DESCRIBE clips_all"` lists the columns.'
    )


def _views_with(column: str) -> list[str]:
    """The views that have a column of just this name."""
    columns = {**{table: list(facts.names) for table, facts in TABLES.items()}, "clips_all": [n for *_, n in CLIPS_ALL]}
    return [view for view in VIEWS if column.lower() in columns[view]]


def _guess(word: str, known: list[str] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(f'`{c}`' for c in close)}?" if close else ""


# Printing ----------------------------------------------------------------------------------------------------------------


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
    grid = Table(header_style="bold", show_edge=False, pad_edge=False)
    for name, kind in zip(names, kinds, strict=True):
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        grid.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(cell(v) for v in row))
    console.print(grid)
    if total > len(rows):
        console.print(Text(f"{len(rows)} of {total} rows; --limit shows more.", style="dim"))
    else:
        console.print(Text(f"{total} row{'' if total == 1 else 's'}", style="dim"))


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
