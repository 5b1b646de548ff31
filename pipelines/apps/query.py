"""`stiv query`: the user's own SQL over the views of a corpus."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

import duckdb
import pyarrow as pa

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
