"""Reading one SQL expression safely: its parse tree, the columns it names, and what it may not contain.

Rules and ``--select`` are one scalar DuckDB expression each. DuckDB itself parses them (``json_serialize_sql``), and what
may stand in them is judged on that tree: nothing that reads files, looks at other rows, or changes from run to run. The
connection refuses files, extensions and changes of its own settings besides, so that a gap in one guard is not a hole.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from schemas.errors import RecipeError

Node = dict[str, Any]
"""A node of DuckDB's serialised parse tree; ``class`` says what it is, positions count bytes of UTF-8."""

PERCENTILE = "percentile"
"""Name of the only function that DuckDB does not know; ``curation.percentiles`` turns calls of it into numbers."""

_PREFIX = "SELECT (\n"

_SETTINGS = {
    "threads": "1",
    "temp_directory": "",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    # Together: x / 0 is NULL (an unknown, which decides nothing), not infinity or NaN, which DuckDB sorts above everything.
    "ieee_floating_point_ops": "false",
    "error_on_division_by_zero": "false",
}

_REFUSED_CLASSES = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "`*` or COLUMNS()",
    "PARAMETER": "a placeholder (`?` or `$name`)",
    "POSITIONAL_REFERENCE": "a column by position (`#1`)",
    "DEFAULT": "DEFAULT",
}
_ALLOWED_CLASSES = frozenset(
    {"COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "BETWEEN", "OPERATOR", "FUNCTION"}
    | {"CASE", "CAST", "COLLATE", "LAMBDA", "TYPE"}
)
_CHANGES = "which gives other answers from run to run"
# DuckDB lists these as functions of their arguments alone, but they read the clock or its own version.
_UNDECLARED_CHANGES = frozenset({"age", "current_localtime", "current_localtimestamp", "version"})
_CLOCK_WORDS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
_ZONED = ("TIME ZONE", "TIMESTAMPTZ")  # in the names of types
_UNLISTED = {"unnest": "table", "count_star": "aggregate"}
_KINDS = {
    "aggregate": "an aggregate, which looks at other rows",
    "window": "a window function, which looks at other rows",
    "table": "a table function",
    "table_macro": "a table function",
    "pragma": "a pragma",
}

EXAMPLE = "Write one SQL expression that is true or false for a clip, such as `motion < 0.2 OR brightness < 0.03`."


@dataclass(frozen=True, slots=True)
class _Function:
    kinds: frozenset[str]
    changes: bool
    macros: tuple[tuple[str, frozenset[str]], ...]
    """(body, lower-case parameter names) of each overload, where the function is a macro."""


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config=dict(_SETTINGS))
    # Not start-up options: the time zone belongs to an extension that is loaded with the library, and without external
    # access the folder for spilling can no longer be turned off. Nothing can be set after the lock.
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute("SET GLOBAL enable_external_access = false")
    connection.execute("SET GLOBAL lock_configuration = true")
    return connection


def connection() -> duckdb.DuckDBPyConnection:
    """A fresh connection to the locked in-memory database: one thread, no files, no extensions, settings fixed."""
    return _database().cursor()


def _serialise(statement: str) -> Node:
    with connection() as db:
        row = db.execute("SELECT json_serialize_sql(?)", [statement]).fetchone()
    if row is None:
        raise AssertionError("a SELECT without FROM has one row")
    tree: Node = json.loads(row[0])
    return tree


def walk(node: Any) -> Iterator[Node]:
    """Every expression node of a tree, parents first, in the order of the text."""
    if isinstance(node, dict):
        if "class" in node:
            yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


def byte_span(node: Node) -> tuple[int, int]:
    """Where a node of :func:`parse` stands in the expression's UTF-8 text, as (start, end)."""
    start = int(node["query_location"]) - len(_PREFIX)
    return start, start + int(node["query_location_length"])


@functools.lru_cache(maxsize=1024)
def parse(sql: str, where: str) -> Node:
    """The tree of an expression that holds nothing forbidden. Columns and types are not looked at yet.

    Raises RecipeError, naming ``where``, for a syntax error (with its position) and for anything but one scalar expression.
    """
    bare = _serialise("SELECT " + sql)
    if bare["error"]:
        _raise_syntax(bare, sql, where)
    if len(bare["statements"]) != 1:
        raise RecipeError(f"{where}: `{sql}` is more than one SQL statement.", fix=EXAMPLE)
    # Judged in the brackets in which it is evaluated later. That the bare text parses too proves its own brackets balanced.
    tree = _serialise(f"{_PREFIX}{sql}\n)")
    if tree["error"]:
        raise RecipeError(f"{where}: `{sql}` is a query or a list, not one expression.", fix=EXAMPLE)
    node = tree["statements"][0]["node"]
    expressions: list[Node] = node.get("select_list", [])
    if len(expressions) != 1:
        raise RecipeError(f"{where}: `{sql}` is {len(expressions)} expressions, not one.", fix=EXAMPLE)
    for part in walk(expressions):
        _refuse(part, sql, where)
    return expressions[0]


def _raise_syntax(tree: Node, sql: str, where: str) -> None:
    message = str(tree["error_message"])
    if "without selection list" in message:
        raise RecipeError(f"{where}: the expression is empty.", fix=EXAMPLE)
    if tree["error_type"] != "parser":
        raise RecipeError(f"{where}: `{sql}` is more than one SQL statement.", fix=EXAMPLE)
    place = ""
    if "position" in tree:
        offset = max(int(tree["position"]) - len("SELECT "), 0)
        place = f" at character {len(sql.encode()[:offset].decode(errors='ignore')) + 1}"
    raise RecipeError(f"{where}: {message}{place} of `{sql}`.", fix=EXAMPLE)


def _refuse(node: Node, sql: str, where: str) -> None:
    kind = node["class"]
    if kind in _REFUSED_CLASSES:
        what = _REFUSED_CLASSES[kind]
        raise RecipeError(f"{where}: `{sql}` holds {what}; only one clip's own columns may be used.", fix=EXAMPLE)
    if kind not in _ALLOWED_CLASSES or node["type"] == "GROUPING_FUNCTION":
        raise RecipeError(f"{where}: `{sql}` holds {node['type']}, which has no place in a rule.", fix=EXAMPLE)
    if kind == "FUNCTION":
        name = node["function_name"].lower()
        reason = None if name == PERCENTILE else refusal(name)
        if reason is not None:
            raise RecipeError(f"{where}: `{name}` is {reason}.", fix=_function_fix(name, reason))
    if kind == "COLUMN_REF" and node["column_names"][-1].lower() in _CLOCK_WORDS:
        raise RecipeError(
            f"{where}: `{node['column_names'][-1]}` is the clock, {_CHANGES}.", fix="Write the date out instead."
        )


def _function_fix(name: str, reason: str) -> str:
    if reason.startswith("no function"):
        close = difflib.get_close_matches(name, [n for n in _functions() if refusal(n) is None], n=1)
        return f"Did you mean `{close[0]}`?" if close else "DuckDB's scalar functions may be used."
    if reason == _KINDS["aggregate"]:
        return "For a threshold relative to the corpus, use `percentile(column, q)`."
    if _CHANGES in reason:
        return "A decision must come out the same every time: use the clip's own columns."
    return EXAMPLE


@functools.cache
def _functions() -> dict[str, _Function]:
    with connection() as db:
        rows = db.execute(
            "SELECT lower(function_name), function_type, stability, parameter_types, return_type, macro_definition, parameters"
            " FROM duckdb_functions()"
        ).fetchall()
    found: dict[str, _Function] = {}
    for name, kind, stability, types, result, body, parameters in rows:
        before = found.get(name, _Function(frozenset(), name in _UNDECLARED_CHANGES, ()))
        found[name] = _Function(
            before.kinds | {kind},
            before.changes or (kind == "scalar" and not _is_fixed(stability, types, result)),
            before.macros + (((body, frozenset(p.lower() for p in parameters)),) if kind == "macro" else ()),
        )
    return found


def _is_fixed(stability: str, types: Sequence[str], result: str) -> bool:
    """Whether a scalar function gives the same answer for the same arguments in every run.

    From 2.0.1 on DuckDB says of what works with a time zone (`-` has such a form) that it does so within one query only, as the zone
    can be set. Here it is UTC.
    """
    zoned = any(mark in str(kind) for kind in (*types, result) for mark in _ZONED)
    return stability == "CONSISTENT" or (stability == "CONSISTENT_WITHIN_QUERY" and len(types) > 0 and zoned)


@functools.cache
def refusal(name: str) -> str | None:
    """Why the function of that lower-case name may not stand in a rule, or None where it may."""
    function = _functions().get(name)
    if name in _UNLISTED:
        return _KINDS[_UNLISTED[name]]
    if function is None:
        return "no function that is known here"
    if function.changes:
        return f"a function {_CHANGES}"
    if name.startswith("__"):
        return "internal to DuckDB"
    if "macro" in function.kinds:
        bad = any(_macro_is_refused(body, parameters) for body, parameters in function.macros)
        return f"a shorthand for something {_CHANGES} or that looks beyond the clip" if bad else None
    if "scalar" in function.kinds:
        return None
    return _KINDS[min(function.kinds)]


def _macro_is_refused(body: str, parameters: frozenset[str]) -> bool:
    for node in walk(_serialise("SELECT " + body)):
        if node["class"] in _REFUSED_CLASSES:
            return True
        if node["class"] == "FUNCTION" and refusal(node["function_name"].lower()) is not None:
            return True
        if node["class"] == "COLUMN_REF" and node["column_names"][0].lower() not in parameters:
            return True
    return False


def named_columns(tree: Node) -> list[str]:
    """The columns that an expression names, as written, each once, in order. Parameters of lambdas are none."""
    parameters: set[str] = set()
    for node in walk(tree):
        if node["class"] == "LAMBDA":
            parameters.update(n["column_names"][0].lower() for n in walk(node["lhs"]) if n["class"] == "COLUMN_REF")
    names: dict[str, None] = {}
    for node in walk(tree):
        if node["class"] == "COLUMN_REF" and node["column_names"][0].lower() not in parameters:
            names[node["column_names"][0]] = None
        # `tags.len()` is written like a function in a schema; DuckDB then finds the column.
        elif node["class"] == "FUNCTION" and node["schema"] and node["schema"].lower() not in ("main", "pg_catalog"):
            names[node["schema"]] = None
    return list(names)
