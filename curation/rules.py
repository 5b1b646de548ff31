"""Rules over a table of clips: checking an expression, and applying many of them in one query.

A rule's ``drop`` and a ``--select`` are one scalar DuckDB expression each over the columns of the table. What may stand in
one is decided in ``curation.expressions``; ``percentile(column, q)`` is resolved in ``curation.percentiles`` beforehand.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from curation.expressions import EXAMPLE, Node, connection, named_columns, parse
from curation.percentiles import find_percentiles, measure_percentiles, resolve_percentiles
from schemas.errors import RecipeError
from schemas.recipe import Rule

__all__ = [
    "Verdicts",
    "apply_keep",
    "apply_rules",
    "check_expression",
    "check_number",
    "columns_used",
    "find_percentiles",
    "literal_thresholds",
    "measure_percentiles",
    "resolve_percentiles",
]

_TABLE = "clips_in_hand"
_COLUMNS_FIX = '`stiv query CORPUS "DESCRIBE clips_all"` lists the columns.'
_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NEGATED = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the rules say of each row of a table, in its order, and how often."""

    dropped: list[bool]
    """Whether at least one rule drops the row."""
    first: list[str | None]
    """Name of the first rule, in the order of the recipe, that drops the row; None where none does."""
    all: list[list[str]]
    """Names of all rules that drop the row, in the order of the recipe."""
    unknown: dict[str, int]
    """Rule → rows for which it came out NULL; such a rule drops nothing."""
    dropped_by: dict[str, int]
    """Rule → rows that it drops, whether or not others drop them too."""
    first_by: dict[str, int]
    """Rule → rows for which it is the first."""


def check_expression(sql: str, schema: pa.Schema, *, where: str) -> None:
    """Checks that ``sql`` is one boolean scalar expression over the columns of ``schema``, and tries it on a row of NULLs.

    ``where`` names the place, for example "rule `still`". Raises RecipeError for a syntax error, an unknown column, another
    type than BOOLEAN, more than one statement or expression, and whatever reads files, looks at other rows or depends on
    the clock or on chance. `percentile(column, q)` may stand in it, resolved or not.
    """
    kind = _kind_of(sql, schema, where)
    if not pa.types.is_boolean(kind):
        raise RecipeError(f"{where}: `{sql}` is not true or false but {kind}.", fix=EXAMPLE)


def check_number(sql: str, schema: pa.Schema, *, where: str) -> None:
    """As :func:`check_expression`, for an expression that is a number."""
    kind = _kind_of(sql, schema, where)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise RecipeError(
            f"{where}: `{sql}` is not a number but {kind}.",
            fix="Write one SQL expression that is a number for each clip, such as `least(motion / 5, 2)`.",
        )


def _kind_of(sql: str, schema: pa.Schema, where: str) -> pa.DataType:
    """The type of an expression that may stand in a rule, found on a row of NULLs."""
    _check_columns(parse(sql, where), schema, where)
    wanted = find_percentiles(sql, where=where)
    # A row is needed: without one, `motion < 'abc'` is never worked out, and would fail hours later.
    trial = pa.table({name: pa.nulls(1, kind) for name, kind in zip(schema.names, schema.types, strict=True)})
    try:
        measure_percentiles([trial], wanted)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error.message}", fix=error.fix) from error
    plain = resolve_percentiles(sql, dict.fromkeys(wanted), where=where)
    try:
        return _evaluate(trial, [plain]).schema.field(0).type
    except duckdb.Error as error:
        raise RecipeError(f"{where}: `{sql}` does not work: {_first_line(error)}.", fix=_COLUMNS_FIX) from error


def _check_columns(tree: Node, schema: pa.Schema, where: str) -> None:
    known = {name.lower(): name for name in schema.names}
    for name in named_columns(tree):
        if name.lower() not in known:
            close = difflib.get_close_matches(name.lower(), known, n=1)
            guess = f"Did you mean `{known[close[0]]}`? " if close else ""
            raise RecipeError(f"{where}: there is no column `{name}`.", fix=guess + _COLUMNS_FIX)


def columns_used(sql: str, *, where: str = "expression") -> frozenset[str]:
    """The columns that an expression names, as written: what must be known before it can be applied."""
    return frozenset(named_columns(parse(sql, where)))


def apply_rules(table: pa.Table, rules: Sequence[Rule]) -> Verdicts:
    """All rules on all rows of ``table``, in one query. Rows keep their order; NULL drops nothing and is counted.

    Raises RecipeError, naming the rule, where one does not fit the table or fails on a value in it (an impossible cast,
    the logarithm of zero). Division by zero is NULL.
    """
    columns = _verdicts_of(table, [(f"rule `{rule.name}`", rule.drop) for rule in rules])
    names = [rule.name for rule in rules]
    true = np.zeros((table.num_rows, len(rules)), dtype=bool)
    for i, column in enumerate(columns):
        true[:, i] = column.fill_null(False).to_numpy()
    reasons: list[list[str]] = [[] for _ in range(table.num_rows)]
    for row, rule in zip(*(index.tolist() for index in np.nonzero(true)), strict=True):
        reasons[row].append(names[rule])
    firsts = true.argmax(axis=1)[true.any(axis=1)] if names else np.empty(0, dtype=np.int64)
    first_counts = np.bincount(firsts, minlength=len(names))
    return Verdicts(
        dropped=[bool(r) for r in reasons],
        first=[r[0] if r else None for r in reasons],
        all=reasons,
        unknown={name: column.null_count for name, column in zip(names, columns, strict=True)},
        dropped_by={name: int(true[:, i].sum()) for i, name in enumerate(names)},
        first_by={name: int(first_counts[i]) for i, name in enumerate(names)},
    )


def apply_keep(table: pa.Table, sql: str, *, where: str = "--select") -> tuple[list[bool], int]:
    """Which rows a keeping expression takes, in the table's order, and for how many it is NULL: those are left out.

    Raises RecipeError as :func:`apply_rules` does.
    """
    (column,) = _verdicts_of(table, [(where, sql)])
    return column.fill_null(False).to_pylist(), column.null_count


def _verdicts_of(table: pa.Table, expressions: Sequence[tuple[str, str]]) -> list[pa.ChunkedArray]:
    """One boolean column per (where, SQL), as long as the table."""
    if not expressions:
        return []
    for where, sql in expressions:
        _check_columns(parse(sql, where), table.schema, where)
        resolve_percentiles(sql, {}, where=where)
    try:
        found = _evaluate(table, [sql for _, sql in expressions])
    except duckdb.Error:
        for where, sql in expressions:
            _evaluate_alone(table, sql, where)
        raise
    for (where, sql), kind in zip(expressions, found.schema.types, strict=True):
        if not pa.types.is_boolean(kind):
            check_expression(sql, table.schema, where=where)
    return found.columns


def _evaluate_alone(table: pa.Table, sql: str, where: str) -> None:
    """Finds the culprit after a query of many rules failed: raises RecipeError if it is this one."""
    check_expression(sql, table.schema, where=where)
    try:
        _evaluate(table, [sql])
    except duckdb.Error as error:
        raise RecipeError(
            f"{where}: `{sql}` failed on a value: {_first_line(error)}.",
            fix="`try_cast(x AS type)` and `try(x)` give NULL where x has no value.",
        ) from error


def _evaluate(table: pa.Table, expressions: Sequence[str]) -> pa.Table:
    # The line break ends a comment at the end of an expression before it can swallow the bracket.
    listed = ", ".join(f"(\n{sql}\n) AS v{i}" for i, sql in enumerate(expressions))
    with connection() as db:
        db.register(_TABLE, table)
        found = db.sql(f"SELECT {listed} FROM {_TABLE}").to_arrow_table()
    if found.num_rows != table.num_rows:
        raise AssertionError(f"{table.num_rows} rows went into the rules, {found.num_rows} came out")
    return found


def _first_line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0].rstrip(".")


def literal_thresholds(sql: str, *, where: str = "expression") -> list[tuple[str, str, float]]:
    """Comparisons of a column with a number that count by themselves, as (column, operator, number), column first.

    ``0.5 < motion`` is reported as ``motion > 0.5``, BETWEEN as two comparisons, and one under NOT as its negation. Not listed are other
    comparisons, such as ``least(width, height) < 240``, and those that something about another column must join: in
    ``height > width AND sharpness < 0.3`` no number divides the clips that are dropped from the others.
    """
    return _thresholds(parse(sql, where), False)


def _thresholds(node: object, negated: bool) -> list[tuple[str, str, float]]:
    if isinstance(node, list):
        return [found for part in node for found in _thresholds(part, negated)]
    if not isinstance(node, dict):
        return []
    kind = node.get("type")
    # NOT turns `or` into `and`.
    if kind == ("CONJUNCTION_OR" if negated else "CONJUNCTION_AND") and len(_columns_in(node)) > 1:
        return []
    if kind == "COMPARE_BETWEEN":
        sides = [(node["input"], ">=", node["lower"]), (node["input"], "<=", node["upper"])]
    elif kind in _COMPARISONS and node.get("class") == "COMPARISON":
        operator = _COMPARISONS[kind]
        sides = [(node["left"], operator, node["right"]), (node["right"], _MIRRORED[operator], node["left"])]
    else:
        inner = negated != (kind == "OPERATOR_NOT")
        return [found for part in node.values() for found in _thresholds(part, inner)]
    found = []
    for left, operator, right in sides:
        column, number = _column(left), _constant(right)
        if column is not None and number is not None:
            found.append((column, _NEGATED[operator] if negated else operator, number))
    return found or [f for side in (sides[0][0], sides[0][2]) for f in _thresholds(side, negated)]


def _columns_in(node: object) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_columns_in, node))
    if not isinstance(node, dict):
        return set()
    if node.get("class") == "COLUMN_REF":
        return {".".join(node["column_names"]).lower()}
    return set().union(*map(_columns_in, node.values()))


def _column(node: Node) -> str | None:
    if node["class"] == "CAST":
        return _column(node["child"])
    return node["column_names"][0] if node["class"] == "COLUMN_REF" and len(node["column_names"]) == 1 else None


def _constant(node: Node) -> float | None:
    if node["class"] == "CAST":
        return _constant(node["child"])
    if node["class"] == "FUNCTION" and node["function_name"] == "-" and len(node["arguments"]) == 1:
        inner = _constant(node["arguments"][0]["expression"])
        return None if inner is None else -inner
    if node["class"] == "CONSTANT" and node["literal"]["kind"] in ("INTEGER", "NUMERIC"):
        return float(node["literal"]["text"])
    return None
