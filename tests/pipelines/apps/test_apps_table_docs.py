from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow as pa

from curation.joined import CLIPS_ALL
from pipelines.apps.table_docs import render_tables, type_name
from schemas.errors import ErrorCode
from schemas.tables import STRING_MAP, STRINGS, TABLES

DOC = Path(__file__).parents[3] / "docs" / "tables.md"


def test_the_page_is_up_to_date() -> None:
    assert DOC.read_text(encoding="utf-8") == render_tables(), (
        "run: python -m pipelines.apps.table_docs > docs/tables.md"
    )


def test_every_column_and_code_is_on_it() -> None:
    page = render_tables()
    for table in TABLES.values():
        section = page.split(f"\n## {table.name}\n")[1].split("\n## ")[0]
        assert [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")] == table.names
    wide = page.split("\n## clips_all\n")[1].split("\n## ")[0]
    assert [line.split("`")[1] for line in wide.splitlines() if line.startswith("| `")] == [n for *_, n in CLIPS_ALL]
    assert all(f"| `{code}` |" in page for code in ErrorCode)


def test_rows_have_as_many_cells_as_their_header() -> None:
    lines = render_tables().splitlines()
    for before, line in itertools.pairwise(lines):
        if before.startswith("|") and line.startswith("|"):
            assert before.replace("\\|", "").count("|") == line.replace("\\|", "").count("|")


def test_types_read_well() -> None:
    assert type_name(STRINGS) == "list of text"
    assert type_name(STRING_MAP) == "map of text to text"
    assert type_name(pa.float32()) == "float32"
    assert type_name(pa.bool_()) == "true/false"
