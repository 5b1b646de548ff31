"""Makes docs/tables.md from the schemas: ``python -m pipelines.apps.table_docs > docs/tables.md``."""

from __future__ import annotations

import sys

import pyarrow as pa

from curation.corpus import VARIANT_TABLES, table_folder
from curation.joined import CLIPS_ALL
from schemas.errors import ERROR_CODES
from schemas.tables import TABLES, Column, Table

_HEAD = """\
# Tables

Made from `schemas/tables.py` by `python -m pipelines.apps.table_docs > docs/tables.md`; change the schemas, not this file.

A corpus is a folder of parquet tables. The plan splits the input once into parts; part N of one table joins only with part N of another.
`stiv query CORPUS "SELECT …"` shows every table below as a view of the same name, and all of them joined as [`clips_all`](#clips_all).

NULL means "not measured" or "not known"; no table holds NaN. Spans are half-open: the end is the first frame, or the first moment, that
does not belong any more.
"""

_WHERE = {
    "shard_plan": "shards/<name>/plan.parquet",
    "shards": "shards/<name>/NNNNNN.parquet",
    "shard_failures": "shards/<name>/NNNNNN.failed.parquet",
}
_COMMITS = {
    "plan": "`plan/parts.json` says how many parts count.",
    "sources": "Written last: it commits the scan of its part.",
    "shards": "Written last: it commits the tar of the same name.",
}


def render_tables() -> str:
    """The whole page as Markdown."""
    sections = [_HEAD, _contents(), *(_table(t) for t in TABLES.values()), _wide(), _errors()]
    return "\n".join(sections)


def _contents() -> str:
    lines = [f"- [`{t.name}`](#{t.name}): {t.row}" for t in TABLES.values()]
    lines.append("- [`clips_all`](#clips_all): a clip with everything that is known of it")
    lines.append("- [Error codes](#error-codes)")
    return "\n".join(lines) + "\n"


def _table(table: Table) -> str:
    named = table.name in VARIANT_TABLES
    where = _WHERE.get(table.name, f"{table_folder(table.name)}/{'<name>/' if named else ''}part-NNNNNN.parquet")
    note = f" {_COMMITS[table.name]}" if table.name in _COMMITS else ""
    rows = [_row(c.name, c) for c in table.columns]
    return f"## {table.name}\n\nA row is {table.row}. Files: `{where}`.{note}\n\n{_HEADER}\n" + "\n".join(rows) + "\n"


_HEADER = "| column | type | unit | NULL | meaning |\n|---|---|---|---|---|"


def _row(name: str, column: Column) -> str:
    return f"| `{name}` | {type_name(column.type)} | {_cell(column.unit)} | {'yes' if column.nullable else ''} | {_cell(column.meaning)} |"


def type_name(kind: pa.DataType) -> str:
    """A type in the words of SQL's readers: ``text``, ``int32``, ``list of text``."""
    if pa.types.is_list(kind):
        return f"list of {type_name(kind.value_type)}"
    if pa.types.is_map(kind):
        return f"map of {type_name(kind.key_type)} to {type_name(kind.item_type)}"
    return {"string": "text", "bool": "true/false", "float": "float32", "double": "float64"}.get(str(kind), str(kind))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _wide() -> str:
    lines = [
        "## clips_all",
        "",
        "A row is a clip with everything that is known of it: rules, queries and the report speak of these columns. Columns of `clips` keep their",
        "names; those of other tables carry a prefix, unless their name begins with it. Whatever has not happened to a clip yet is NULL.",
        "",
        "| column | from | type | unit | meaning |",
        "|---|---|---|---|---|",
    ]
    for table, column, name in CLIPS_ALL:
        facts = next(c for c in TABLES[table].columns if c.name == column)
        lines.append(
            f"| `{name}` | `{table}.{column}` | {type_name(facts.type)} | {_cell(facts.unit)} | {_cell(facts.meaning)} |"
        )
    return "\n".join(lines) + "\n"


def _errors() -> str:
    lines = [
        "## Error codes",
        "",
        "Why a source is `error` (none of it was used) or `partial` (some of it was). Retrying helps only where the cause may go away.",
        "",
        "| code | retrying may help | meaning |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{code}` | {'yes' if retry else 'no'} | {_cell(text)} |" for code, (retry, text) in ERROR_CODES.items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_tables())
