from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict

import pytest
from rich.console import Console

from curation import variants
from curation.corpus import Corpus
from pipelines.apps.status import corpus_status, print_status

Build = Callable[..., Corpus]


def _printed(corpus: Corpus) -> str:
    console = Console(file=io.StringIO(), width=160)
    print_status(corpus_status(corpus), console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_whole_corpus_in_numbers(corpus: Corpus) -> None:
    status = corpus_status(corpus)
    assert (status.planned_parts, status.scanned_parts, status.planned_sources) == (3, 3, 15)
    assert status.sources == {"error": 4, "ok": 10, "partial": 1}
    assert status.clips == 44
    assert status.source_seconds == pytest.approx(11 * 40)
    assert status.transitions == {"cut": 22, "dissolve": 11}
    assert {e.code: (e.status, e.sources, e.retry) for e in status.errors} == {
        "unreadable": ("error", 2, False),
        "truncated": ("partial", 1, False),
        "not_found": ("error", 1, True),
        "empty_file": ("error", 1, False),
    }
    text, selections, captions, decisions = status.variants
    assert 0 < text.passed < text.rows < 44
    assert selections.rows == decisions.rows == 44
    assert 0 < decisions.passed < captions.passed < selections.passed == captions.rows < 44
    assert [v.stale for v in status.variants] == [[], [], [], []]
    (shards,) = status.shards
    assert (shards.planned, shards.finished, shards.failed, shards.bytes) == (3, 2, 1, 20480)
    assert shards.samples + shards.failed < decisions.passed
    json.dumps(asdict(status))


def test_next_is_to_finish_the_tars(corpus: Corpus) -> None:
    (step,) = corpus_status(corpus).next
    assert step.command.startswith("stiv export ")
    assert "1 of 3 tars" in step.why


@pytest.mark.parametrize(
    ("upto", "command"),
    [
        ("planned", "scan"),
        ("scanned", "features"),
        ("measured", "dedup"),
        ("selected", "caption"),
        ("captioned", "check"),
        ("judged", "export"),
    ],
)
def test_next_follows_the_stages(build: Build, upto: str, command: str) -> None:
    corpus = build(upto=upto)
    assert corpus_status(corpus).next[0].command == f"stiv {command} {corpus.store.uri}"
    assert f"stiv {command}" in _printed(corpus)


def test_a_corpus_made_without_text_is_not_told_to_look_for_it(build: Build) -> None:
    corpus = build(upto="judged")
    corpus.store.remove("features")
    commands = [step.command for step in corpus_status(corpus).next]
    assert not any("features" in command and "--replace" not in command for command in commands)


def test_before_the_scan_there_is_one_thing_to_do(build: Build) -> None:
    corpus = build(upto="planned")
    variants.prepare(corpus, "text", "default", {}, {})
    variants.prepare(corpus, "shards", "default", {}, {})
    (step,) = corpus_status(corpus).next
    assert step.command == f"stiv curate VIDEOS --out {corpus.store.uri}"


def test_a_name_that_has_only_text_is_not_finished(build: Build) -> None:
    corpus = build(upto="judged")
    text = variants.prepare(corpus, "text", "all", {"rules": []}, {})
    for part in corpus.parts():
        corpus.write("text", part, [], "all")
    step = corpus_status(corpus).next[0]
    assert step.command == f"stiv select {corpus.store.uri} --name all"
    assert "caption, check, judge and export, each with --name all" in step.why
    variants.prepare(corpus, "selections", "other", {"rules": []}, {"text": text.as_input()})
    assert not any("only text" in s.why for s in corpus_status(corpus).next)


def test_where_nothing_is_named_default_the_next_stage_goes_on_with_the_name(build: Build) -> None:
    corpus = build(upto="measured")
    corpus.store.move("features/text/default", "features/text/strict")
    (step,) = corpus_status(corpus).next
    assert step.command == f"stiv dedup {corpus.store.uri} --name strict"


def test_an_empty_plan(build: Build) -> None:
    status = corpus_status(build(upto="planned", parts=0))
    assert status.next[0].command.startswith("stiv plan ")
    assert status.planned_sources == 0


def test_missing_parts_are_counted(build: Build) -> None:
    corpus = build(upto="judged")
    corpus.store.remove(corpus.path("captions", 1, "default"))
    status = corpus_status(corpus)
    assert {v.table: v.parts_missing for v in status.variants} == {
        "text": 0,
        "selections": 0,
        "captions": 1,
        "decisions": 0,
    }
    assert "1 part to do" in _printed(corpus)


def test_a_changed_input_makes_all_that_follows_stale(build: Build) -> None:
    corpus = build()
    new = variants.prepare(corpus, "selections", "default", {"rules": []}, {}, replace=True)
    for part in corpus.parts():
        corpus.write("selections", part, corpus.read("selections", part, "default").to_pylist(), new.folder)
    variants.switch(corpus, new)
    status = corpus_status(corpus)
    stale = {v.table: v.stale for v in status.variants}
    assert stale["selections"] == []
    assert stale["captions"] == ["its selections `default` have changed since"]
    assert stale["decisions"] == [
        "its captions `default` are stale themselves",
        "its selections `default` have changed since",
    ]
    assert status.shards[0].stale == [
        "its captions `default` are stale themselves",
        "its decisions `default` are stale themselves",
    ]
    assert "--replace" in status.next[0].command


def test_a_vanished_input_is_named(build: Build) -> None:
    corpus = build()
    corpus.store.remove("captions/default")
    status = corpus_status(corpus)
    decisions = next(v for v in status.variants if v.table == "decisions")
    assert decisions.stale == ["its captions `default` are gone"]


def test_shards_that_do_not_cover_new_parts(build: Build) -> None:
    corpus = build()
    corpus.write("plan", 3, [])
    corpus.store.commit_bytes("plan/parts.json", b'{"parts": 4}')
    assert corpus_status(corpus).shards[0].parts_behind == 1


def test_a_tar_without_its_index_is_not_finished(build: Build) -> None:
    corpus = build()
    corpus.store.commit_bytes("shards/default/000002.tar", b"half")
    assert corpus_status(corpus).shards[0].finished == 2


def test_several_variants_without_a_default_are_no_error(build: Build) -> None:
    corpus = build()
    corpus.store.move("shards/default", "shards/a")
    variants.prepare(corpus, "shards", "b", {}, {})
    assert [s.name for s in corpus_status(corpus).shards] == ["a", "b"]


def test_the_last_run_and_another_machine_are_named(build: Build) -> None:
    corpus = build()
    corpus.write_run({"command": "curate", "seconds": 75.0, "counts": {}})
    corpus.facts["environment"] = {**corpus.facts["environment"], "processor": "abacus"}
    text = _printed(corpus)
    assert "stiv curate, took 1.2 min, ended 20" in text
    assert "abacus" in text


def test_names_are_not_taken_for_markup(build: Build) -> None:
    corpus = build()
    corpus.store.move("shards/default", "shards/[red]x")
    assert "[red]x" in _printed(corpus)
