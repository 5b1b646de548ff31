"""``percentile(column, q)`` in a rule: found in the text, measured once over the corpus, and written in as a number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from curation.expressions import PERCENTILE, Node, byte_span, parse, walk
from schemas.errors import RecipeError

Wanted = tuple[str, float]
"""A column, as written, and a percentile in 0..100."""

_FIX = "Write `percentile(column, q)` with the name of a numeric column and q a number from 0 to 100."


def _calls(sql: str, where: str) -> list[tuple[Node, Wanted]]:
    found = []
    for node in walk(parse(sql, where)):
        if node["class"] == "FUNCTION" and node["function_name"].lower() == PERCENTILE:
            found.append((node, _arguments(node, sql, where)))
    return found


def _arguments(node: Node, sql: str, where: str) -> Wanted:
    arguments = [a["expression"] for a in node["arguments"]]
    if len(arguments) == 2 and not node["schema"] and node["filter"] is None and not node["distinct"]:
        column, q = arguments
        is_number = q["class"] == "CONSTANT" and q["literal"]["kind"] in ("INTEGER", "NUMERIC")
        if column["class"] == "COLUMN_REF" and len(column["column_names"]) == 1 and is_number:
            value = float(q["literal"]["text"])
            if 0 <= value <= 100:
                return column["column_names"][0], value
    start, end = byte_span(node)
    raise RecipeError(f"{where}: `{sql.encode()[start:end].decode()}` is not a percentile of a column.", fix=_FIX)


def find_percentiles(sql: str, *, where: str = "expression") -> list[Wanted]:
    """Each percentile that an expression asks for, once, in order of appearance.

    Raises RecipeError where the expression does not parse, or a call's arguments are not (column, number from 0 to 100).
    """
    return list(dict.fromkeys(wanted for _, wanted in _calls(sql, where)))


def resolve_percentiles(sql: str, values: Mapping[Wanted, float | None], *, where: str = "expression") -> str:
    """The expression with a number in place of each percentile; None (nothing was measured) becomes NULL.

    Raises RecipeError where ``values`` lacks one that the expression asks for.
    """
    text = sql.encode()
    for node, wanted in sorted(_calls(sql, where), key=lambda c: byte_span(c[0]), reverse=True):
        if wanted not in values:
            raise RecipeError(
                f"{where}: `percentile({wanted[0]}, {wanted[1]:g})` has not been measured over the corpus.",
                fix="Percentiles are resolved once, before the rules run.",
            )
        start, end = byte_span(node)
        text = text[:start] + _number(values[wanted]).encode() + text[end:]
    return text.decode()


def _number(value: float | None) -> str:
    """A DOUBLE literal that reads back as exactly ``value``; in brackets, since `a -` before a negative one is a comment."""
    if value is None:
        return "CAST(NULL AS DOUBLE)"
    if not math.isfinite(value):
        raise ValueError(f"a percentile must be finite, not {value}")
    digits = repr(float(value))
    return f"({digits})" if "e" in digits else f"({digits}e0)"


def measure_percentiles(tables: Iterable[pa.Table], wanted: Iterable[Wanted]) -> dict[Wanted, float | None]:
    """Exact percentiles over all rows of ``tables``, linear between ranks; NULLs do not count; None without any value.

    Holds one value per row and column in memory, in the column's own type. Raises RecipeError for a column that is
    missing or not numeric.
    """
    asked = list(dict.fromkeys(wanted))
    pieces: dict[str, list[np.ndarray]] = {column: [] for column, _ in asked}
    for table in tables:
        by_name = {name.lower(): i for i, name in enumerate(table.column_names)}
        for column, held in pieces.items():
            index = by_name.get(column.lower())
            if index is None:
                raise RecipeError(f"`percentile({column}, …)`: there is no column `{column}`.", fix=_FIX)
            values = table.column(index)
            if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
                raise RecipeError(f"`percentile({column}, …)`: the column is {values.type}, not a number.", fix=_FIX)
            held.append(values.drop_null().to_numpy())
    ranked = {column: np.sort(np.concatenate(held)) if held else np.empty(0) for column, held in pieces.items()}
    return {(column, q): _percentile(ranked[column], q) for column, q in asked}


def _percentile(ranked: np.ndarray, q: float) -> float | None:
    """``ranked`` (n,) ascending; the value at rank (n − 1) q / 100, Hyndman and Fan's definition 7 (1996)."""
    if len(ranked) == 0:
        return None
    rank = (len(ranked) - 1) * q / 100
    low = math.floor(rank)
    high = min(low + 1, len(ranked) - 1)
    below, above = float(ranked[low]), float(ranked[high])
    return below + (above - below) * (rank - low)
