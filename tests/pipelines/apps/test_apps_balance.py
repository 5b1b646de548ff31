"""The balance of a corpus by category, and weights that flatten it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from curation import joined
from curation.corpus import Corpus
from curation.rules import check_number
from pipelines.apps.balance import CategoryShare, category_balance, flattening_weight

CATEGORIES = (["food", "people"], ["food"], ["people", "food"], [])
"""Of the four clips, in the order of the captions."""


@pytest.fixture
def corpus(straight: Path, tmp_path: Path) -> Corpus:
    out = Path(shutil.copytree(straight, tmp_path / "corpus"))
    opened = Corpus.open(out)
    rows = opened.read("checks", 0, "default").to_pylist()
    assert len(rows) == len(CATEGORIES)
    for row, categories in zip(rows, CATEGORIES, strict=True):
        row.update(category=categories[0] if categories else None, categories=categories, category_source="rules")
    (out / opened.path("checks", 0, "default")).unlink()
    opened.write("checks", 0, rows, "default")
    return opened


def balance_of(corpus: Corpus) -> list[CategoryShare]:
    found = category_balance(corpus)
    assert found is not None
    return found


def test_each_clip_counts_once_by_its_first_category(corpus: Corpus) -> None:
    seconds = {
        row["clip_id"]: row["duration_s"]
        for row in corpus.read("clips", 0, columns=["clip_id", "duration_s"]).to_pylist()
    }
    ids = corpus.read("checks", 0, "default")["clip_id"].to_pylist()
    lengths = [seconds[clip] for clip in ids]
    found = balance_of(corpus)
    assert [(row.category, row.clips, row.clips_also) for row in found] == [
        ("food", 2, 3),
        ("people", 1, 2),
        (None, 1, 0),
    ]
    assert [row.hours * 3600 for row in found] == pytest.approx([lengths[0] + lengths[1], lengths[2], lengths[3]])
    assert sum(row.share for row in found) == pytest.approx(1)


def test_clips_that_were_dropped_do_not_count(corpus: Corpus) -> None:
    rows = corpus.read("decisions", 0, "default").to_pylist()
    first = corpus.read("checks", 0, "default")["clip_id"].to_pylist()[0]
    for row in rows:
        row["kept"] = row["clip_id"] != first
    assert corpus.store.local is not None
    (corpus.store.local / corpus.path("decisions", 0, "default")).unlink()
    corpus.write("decisions", 0, rows, "default")
    assert [(row.category, row.clips) for row in balance_of(corpus)][-1] == (None, 1)
    assert {row.category: row.clips for row in balance_of(corpus)}["food"] == 1


def test_before_decisions_captioned_clips_count_and_without_checks_there_is_no_balance(corpus: Corpus) -> None:
    assert corpus.store.local is not None
    for table in ("shards", "decisions"):
        shutil.rmtree(corpus.store.local / table)
    assert sum(row.clips for row in balance_of(corpus)) == 4
    shutil.rmtree(corpus.store.local / "checks")
    assert category_balance(corpus) is None


def test_captions_that_were_checked_and_none_kept_are_another_case(corpus: Corpus) -> None:
    rows = corpus.read("decisions", 0, "default").to_pylist()
    assert corpus.store.local is not None
    (corpus.store.local / corpus.path("decisions", 0, "default")).unlink()
    corpus.write("decisions", 0, [{**row, "kept": False} for row in rows], "default")
    assert category_balance(corpus) == []


def shares(**clips: int) -> list[CategoryShare]:
    return [CategoryShare(name, count, 1.0, 0.1, count) for name, count in clips.items()]


def test_weights_even_categories_out() -> None:
    balance = [*shares(people=60, food=20, city=10), CategoryShare(None, 500, 9.0, 0.5, 0)]
    assert (
        flattening_weight(balance)
        == "CASE category WHEN 'people' THEN 0.5 WHEN 'food' THEN 1.5 WHEN 'city' THEN 3 ELSE 1 END"
    )
    assert flattening_weight(balance, most=2.0).endswith("WHEN 'city' THEN 2 ELSE 1 END")
    assert (
        flattening_weight(balance, strength=0)
        == "CASE category WHEN 'people' THEN 1 WHEN 'food' THEN 1 WHEN 'city' THEN 1 ELSE 1 END"
    )
    assert flattening_weight([]) == "1"


def test_quotes_in_names_stay_in_their_place() -> None:
    balance = [CategoryShare("kids' toys", 10, 1.0, 0.5, 10), CategoryShare("food", 10, 1.0, 0.5, 10)]
    assert flattening_weight(balance).startswith("CASE category WHEN 'kids'' toys' THEN 1 ")
    check_number(flattening_weight(balance), joined.wide_schema(), where="data.weight")


def test_the_weight_is_an_expression_that_the_data_plan_takes() -> None:
    check_number(flattening_weight(shares(people=60, food=20)), joined.wide_schema(), where="data.weight")
