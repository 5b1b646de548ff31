from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from curation import variants
from curation.corpus import Corpus
from curation.joined import CLIPS_ALL
from curation.views import VIEWS, choose, connect
from pipelines.apps.query import run_query
from pipelines.apps.query_text import print_table
from schemas.errors import UsageError, VariantError
from schemas.tables import TABLES

Build = Callable[..., Corpus]


def _one(corpus: Corpus, sql: str, use: dict[str, str] | None = None) -> object:
    return run_query(corpus, sql, use).column(0)[0].as_py()


def test_views_have_the_documented_columns(corpus: Corpus) -> None:
    with connect(corpus) as db:
        for view in VIEWS:
            names = [row[0] for row in db.execute(f"DESCRIBE {view}").fetchall()]
            assert names == ([n for *_, n in CLIPS_ALL] if view == "clips_all" else TABLES[view].names)


def test_clips_all_joins_without_losing_or_doubling_a_clip(corpus: Corpus) -> None:
    clips = sum(corpus.read("clips", p).num_rows for p in corpus.parts())
    assert _one(corpus, "SELECT count(*) FROM clips_all") == clips == 44
    kept = _one(corpus, "SELECT count(*) FROM clips_all WHERE kept")
    assert kept == _one(corpus, "SELECT count(*) FROM decisions WHERE kept")
    assert _one(corpus, "SELECT count(*) FROM clips_all WHERE shard IS NOT NULL") == _one(
        corpus, "SELECT count(*) FROM shards"
    )
    wrong = "SELECT count(*) FROM clips_all WHERE source_rel_path <> (SELECT any_value(rel_path) FROM sources s WHERE s.source_id = clips_all.source_id)"
    assert _one(corpus, wrong) == 0


def test_a_part_joins_only_with_itself(build: Build) -> None:
    """A source that was listed twice has the same clips in two parts: each row keeps its own decision."""
    corpus = build(upto="judged")
    again = 3
    corpus.write("plan", again, corpus.read("plan", 0).to_pylist())
    corpus.store.commit_bytes("plan/parts.json", b'{"parts": 4}')
    for table in ("transitions", "clips", "sources"):
        corpus.write(table, again, corpus.read(table, 0).to_pylist())
    for table in ("selections", "captions"):
        corpus.write(table, again, corpus.read(table, 0, "default").to_pylist(), "default")
    rows = corpus.read("decisions", 0, "default").to_pylist()
    corpus.write("decisions", again, [{**r, "kept": False, "reason": "x", "reasons": ["x"]} for r in rows], "default")
    assert _one(corpus, "SELECT count(*) FROM clips_all") == 44 + len(rows)
    assert _one(corpus, "SELECT count(*) FROM clips_all WHERE reason = 'x'") == len(rows)


def test_uncommitted_parts_do_not_count(build: Build) -> None:
    corpus = build(upto="scanned")
    before = _one(corpus, "SELECT count(*) FROM clips")
    lost = corpus.read("clips", 2).num_rows
    corpus.store.remove(corpus.path("sources", 2))
    assert _one(corpus, "SELECT count(*) FROM clips") == before - lost
    assert _one(corpus, "SELECT count(*) FROM transitions WHERE source_id NOT IN (SELECT source_id FROM sources)") == 0


def test_the_newest_row_of_a_source_wins(build: Build) -> None:
    corpus = build(upto="scanned")
    old = corpus.read("sources", 0).to_pylist()
    unread = corpus.read("sources", 2).to_pylist()[3]
    assert unread["sha256"] is None
    later = [
        {**old[0], "status": "partial"},
        {**unread, "source_id": "s" + "1" * 31, "sha256": "f" * 64, "status": "ok"},
    ]
    corpus.write("plan", 3, [])
    corpus.store.commit_bytes("plan/parts.json", b'{"parts": 4}')
    for table in ("transitions", "clips"):
        corpus.write(table, 3, [])
    before = _one(corpus, "SELECT count(*) FROM sources")
    corpus.write("sources", 3, later)
    assert _one(corpus, "SELECT count(*) FROM sources") == before
    assert _one(corpus, f"SELECT status FROM sources WHERE source_id = '{old[0]['source_id']}'") == "partial"
    assert _one(corpus, f"SELECT status FROM sources WHERE uri = '{unread['uri']}'") == "ok"


@pytest.mark.parametrize("upto", ["planned", "scanned", "judged"])
def test_tables_that_are_not_there_yet_are_empty(build: Build, upto: str) -> None:
    corpus = build(upto=upto)
    assert _one(corpus, "SELECT count(*) FROM shards") == 0
    assert _one(corpus, "SELECT count(*) FROM clips_all WHERE shard IS NOT NULL") == 0
    assert _one(corpus, "SELECT count(*) FROM plan") == 15


def _second_decisions(corpus: Corpus, name: str = "strict") -> None:
    inputs = {t: variants.need(corpus, t, "default").as_input() for t in ("selections", "captions")}
    variants.prepare(corpus, "decisions", name, {"rules": []}, inputs)
    for part in corpus.parts():
        rows = corpus.read("decisions", part, "default").to_pylist()
        corpus.write(
            "decisions", part, [{**r, "kept": False, "reason": "strict", "reasons": ["strict"]} for r in rows], name
        )


def test_use_chooses_the_variant(build: Build) -> None:
    corpus = build()
    _second_decisions(corpus)
    assert _one(corpus, "SELECT count(*) FROM clips_all WHERE kept") != 0
    assert _one(corpus, "SELECT count(*) FROM clips_all WHERE kept", {"decisions": "strict"}) == 0
    with pytest.raises(VariantError, match="nothere"):
        choose(corpus, {"decisions": "nothere"})
    with pytest.raises(UsageError, match="no variants"):
        choose(corpus, {"clips": "x"})


def test_several_variants_without_default_must_be_named(build: Build) -> None:
    corpus = build()
    _second_decisions(corpus)
    corpus.store.move("decisions/default", "decisions/other")
    with pytest.raises(VariantError, match=r"other, strict.*--use decisions=other"):
        choose(corpus)
    corpus.store.remove("decisions/strict")
    assert choose(corpus)["decisions"] == "other"


def test_what_a_named_variant_was_made_from_is_shown_with_it(build: Build) -> None:
    corpus = build()
    selections = variants.prepare(corpus, "selections", "loose", {"rules": []}, {})
    variants.prepare(corpus, "decisions", "loose", {"rules": []}, {"selections": selections.as_input()})
    assert choose(corpus, {"decisions": "loose"})["selections"] == "loose"
    assert choose(corpus, {"decisions": "loose"})["captions"] == "default"
    assert choose(corpus, {"decisions": "loose", "selections": "default"})["selections"] == "default"


def test_a_query_can_reach_nothing_but_the_corpus(corpus: Corpus, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    for sql in (
        f"COPY (SELECT 1) TO '{target}'",
        "SELECT * FROM read_csv('/etc/hosts')",
        f"ATTACH '{tmp_path / 'x.db'}'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
    ):
        with pytest.raises(UsageError):
            run_query(corpus, sql)
    assert not target.exists()


def test_querying_leaves_no_file_behind(corpus: Corpus) -> None:
    assert corpus.store.local is not None

    def files() -> list[tuple[str, int]]:
        return sorted(
            (os.path.join(d, n), os.stat(os.path.join(d, n)).st_mtime_ns)
            for d, _, names in os.walk(str(corpus.store.local))
            for n in names
        )

    before = files()
    run_query(corpus, "SELECT * FROM clips_all ORDER BY motion")
    assert files() == before


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT motoin FROM clips", r"no column `motoin`.*Did you mean `motion`"),
        ("SELECT loudness FROM text", r"no column `loudness` here.*one of `clips` and `clips_all`"),
        ("SELECT sha257 FROM sources", r"Did you mean `sha256`"),
        ("SELECT * FROM clip", r"no table `clip`.*Did you mean `clips`"),
        ("SELECT clips.brightnes FROM clips", r"brightnes.*`brightness`"),
        ("SELEC 1", "does not work: syntax error"),
        ("SELECT sqrt(-1) FROM clips", "does not work"),
        ("", "no result"),
    ],
)
def test_errors_say_what_to_do(corpus: Corpus, sql: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        run_query(corpus, sql)
    assert "\n" not in str(caught.value)


def test_limit_fetches_no_more(corpus: Corpus) -> None:
    assert run_query(corpus, "SELECT * FROM clips", limit=5).num_rows == 5


def test_describe_and_summarise_work(corpus: Corpus) -> None:
    assert run_query(corpus, "DESCRIBE clips_all").num_rows == len(CLIPS_ALL)
    assert run_query(corpus, "SHOW TABLES").num_rows >= len(VIEWS)


def as_text(table: pa.Table, limit: int | None = None, *, as_json: bool = False, as_csv: bool = False) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_table(table, console, limit=limit, as_json=as_json, as_csv=as_csv)
    return console.file.getvalue()  # type: ignore[attr-defined]


ODD = pa.table(
    {
        "text": pa.array(["plain", None, "", 'quote " and\nline']),
        "x": pa.array([0.31, None, 1e-9, float("nan")], pa.float32()),
        "n": pa.array([2**63 + 5, None, 0, 1], pa.uint64()),
        "yes": pa.array([True, None, False, True]),
        "raw": pa.array([b"\x00\xff", None, b"", b"a"]),
        "tags": pa.array([["a", None], None, [], ["b"]], pa.list_(pa.string())),
        "extra": pa.array([[("k", "v")], None, [], [("é", None)]], pa.map_(pa.string(), pa.string())),
        "s": pa.array(
            [{"v": 0.5, "c": "x"}, None, {"v": None, "c": None}, {"v": 1.0, "c": ""}],
            pa.struct([("v", pa.float32()), ("c", pa.string())]),
        ),
    }
)


def test_json_lines_keep_types_and_nulls() -> None:
    rows = [json.loads(line) for line in as_text(ODD, as_json=True).splitlines()]
    assert rows[0] == {
        "text": "plain",
        "x": 0.31,
        "n": 2**63 + 5,
        "yes": True,
        "raw": "00ff",
        "tags": ["a", None],
        "extra": {"k": "v"},
        "s": {"v": 0.5, "c": "x"},
    }
    assert set(rows[1].values()) == {None}
    assert rows[3]["x"] == "nan"
    assert rows[3]["extra"] == {"é": None}


def test_csv_quotes_and_leaves_null_empty() -> None:
    text = as_text(ODD, as_csv=True)
    assert text.splitlines()[0] == "text,x,n,yes,raw,tags,extra,s"
    assert text.splitlines()[2] == ",,,,,,,"
    assert '"quote "" and\nline"' in text
    assert '"{""k"": ""v""}"' in text


def test_the_table_for_people_marks_null_and_counts_rows() -> None:
    text = as_text(ODD.select(["text", "x"]), limit=2)
    assert "NULL" in text
    assert "0.31" in text
    assert "0.310000" not in text
    assert "2 of 4 rows" in text
    assert "4 rows" in as_text(ODD.select(["text"]))


def test_a_file_name_cannot_drive_the_terminal() -> None:
    assert "\x1b" not in as_text(pa.table({"name": ["\x1b[2Jgone"]}))
    assert "[bold]x" in as_text(pa.table({"name": ["[bold]x"]}))


ID = "c0123456789abcdef0123456789abcde"


def test_what_does_not_fit_is_a_block_for_each_row() -> None:
    columns = {"clip_id": [ID, ID], "x": [0.5, None], **{f"column_{i}": [f"v{i}", "w"] for i in range(12)}}
    lines = as_text(pa.table(columns)).splitlines()
    assert lines[0] == "── 1 ──"
    assert [line.split() for line in lines[1:4]] == [["clip_id", ID], ["x", "0.5"], ["column_0", "v0"]]
    assert lines.count(lines[1]) == 2
    assert len({line.index(value) for line, value in zip(lines[1:4], (ID, "0.5", "v0"), strict=True)}) == 1
    assert lines[-1] == "2 rows"
    assert len(lines) == 2 * (1 + 14) + 1


def test_ids_are_never_broken_and_texts_are() -> None:
    text = "A long caption of a clip, with more words than there is room for in one line of the terminal."
    table = pa.table({"clip_id": [ID], "caption": [text], "n": [123456789]})
    lines = as_text(table).splitlines()
    assert "┃" in lines[0]
    assert [ID in line for line in lines] == ["123456789" in line for line in lines]
    assert sum(ID in line for line in lines) == 1
    assert len(lines) > 4  # the caption takes several lines
    assert max(map(len, lines)) <= 100
    beside_a_hash = as_text(pa.table({"sha256": ["0f" * 32], "caption": [text]})).splitlines()
    assert "┃" in beside_a_hash[0]
    assert sum("0f" * 32 in line for line in beside_a_hash) == 1
    two_ids = as_text(table.append_column("source_id", pa.array([ID]))).splitlines()
    assert "┃" not in two_ids[0]  # no room for both and a caption that can be read
    assert sum(line.endswith(ID) for line in two_ids) == 2


def test_no_row_is_no_block() -> None:
    assert as_text(pa.table({f"a_long_name_{i}": pa.array([], pa.string()) for i in range(20)})) == "0 rows\n"
