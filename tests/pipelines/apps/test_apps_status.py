from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import asdict

import pytest
from rich.console import Console

from curation import variants
from curation.corpus import Corpus, table_folder
from curation.lock import hold
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
    text, embeddings, duplicates, selections, captions, checks, decisions = status.variants
    assert 0 < text.passed < text.rows < 44
    assert text.rows == embeddings.rows == embeddings.passed == duplicates.rows
    assert duplicates.passed == 5  # one of each part is near another, and two are that of part 0
    assert 0 < checks.passed < checks.rows == captions.rows
    assert selections.rows == decisions.rows == 44
    assert 0 < decisions.passed < captions.passed < selections.passed == captions.rows < 44
    assert [v.stale for v in status.variants] == [[]] * 7
    (shards,) = status.shards
    assert (shards.planned, shards.finished, shards.failed, shards.bytes) == (3, 2, 1, 20480)
    assert shards.samples + shards.failed < decisions.passed
    json.dumps(asdict(status))


def test_next_is_to_finish_the_tars_and_to_try_again_what_may_have_passed(corpus: Corpus) -> None:
    tars, again = corpus_status(corpus).next
    assert tars.command.startswith("stiv export ")
    assert "1 of 3 tars" in tars.why
    assert again.command == f"stiv retry {corpus.store.uri}"
    assert again.why == "1 source failed for a reason that may have passed"  # of four that failed


def test_a_retry_is_told_of_only_where_it_would_plan_something(build: Build) -> None:
    corpus = build(upto="planned")
    assert not _retries(corpus)  # nothing is scanned
    corpus = build(upto="scanned")
    assert _retries(corpus)
    corpus.write("plan", 3, [])
    corpus.store.commit_bytes("plan/parts.json", b'{"parts": 4}')
    assert not _retries(corpus)  # planned again already, as far as one can see
    for table in ("transitions", "clips"):
        corpus.write(table, 3, [])
    rows = [r for part in range(3) for r in corpus.read("sources", part).to_pylist() if r["error_code"] == "not_found"]
    corpus.write("sources", 3, [{**r, "status": "ok", "error_code": None, "error": None} for r in rows])
    assert not _retries(corpus)


def _retries(corpus: Corpus) -> list[str]:
    return [step.command for step in corpus_status(corpus).next if step.command.startswith("stiv retry")]


@pytest.mark.parametrize(
    ("upto", "command"),
    [
        ("planned", "scan"),
        ("scanned", "features"),
        ("measured", "dedup"),
        ("deduplicated", "select"),
        ("selected", "caption"),
        ("captioned", "check"),
        ("checked", "judge"),
        ("judged", "export"),
    ],
)
def test_next_follows_the_stages(build: Build, upto: str, command: str) -> None:
    corpus = build(upto=upto)
    assert corpus_status(corpus).next[0].command == f"stiv {command} {corpus.store.uri}"
    assert f"stiv {command}" in _printed(corpus)


def test_what_was_learned_is_counted_in_words(learned: Corpus) -> None:
    text = " ".join(_printed(learned).split())
    for words in (
        "Embeddings `default`: 39 of 39 with a vector",
        "Scores `default`: 39 of 39 scored",
        "Duplicates `default`: 8 of 39 give way to another",
        "Checks `default`: 11 of 25 with a category",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("upto", "without", "command"),
    [("selected", "duplicates", "caption"), ("judged", "checks", "export"), ("deduplicated", "embeddings", "select")],
)
def test_what_a_recipe_left_out_is_not_asked_for_afterwards(
    build: Build, upto: str, without: str, command: str
) -> None:
    """Whoever selected without duplicates, or judged without checks, turned them off."""
    corpus = build(upto=upto)
    corpus.store.remove(table_folder(without))
    new = [step.command.split()[1] for step in corpus_status(corpus).next if "--replace" not in step.command]
    assert new == [command, "retry"]


@pytest.mark.parametrize(
    ("upto", "why"), [("measured", "no duplicates were sought yet"), ("captioned", "no caption was checked yet")]
)
def test_a_step_to_come_says_what_is_missing(build: Build, upto: str, why: str) -> None:
    assert corpus_status(build(upto=upto)).next[0].why == why


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


def test_a_name_that_is_only_measured_is_not_finished(build: Build) -> None:
    corpus = build(upto="judged")
    text = variants.prepare(corpus, "text", "all", {"rules": []}, {})
    for part in corpus.parts():
        corpus.write("text", part, [], "all")
    step = corpus_status(corpus).next[0]
    assert step.command == f"stiv dedup {corpus.store.uri} --name all"
    assert "then select, caption, check, judge and export, each with --name all" in step.why
    found = variants.prepare(corpus, "duplicates", "all", {"rules": []}, {"text": text.as_input()})
    for part in corpus.parts():
        corpus.write("duplicates", part, [], "all")
    step = corpus_status(corpus).next[0]
    assert step.command == f"stiv select {corpus.store.uri} --name all"
    assert "then caption, check, judge and export, each with --name all" in step.why
    inputs = {"text": text.as_input(), "duplicates": found.as_input()}
    variants.prepare(corpus, "selections", "other", {"rules": []}, inputs)
    assert not any("only measured" in s.why for s in corpus_status(corpus).next)


def test_a_corpus_that_does_without_duplicates_and_checks_is_not_told_to_make_them_for_a_name(build: Build) -> None:
    corpus = build(upto="judged")
    for table in ("duplicates", "checks"):
        corpus.store.remove(table)
    variants.prepare(corpus, "text", "all", {"rules": []}, {})
    for part in corpus.parts():
        corpus.write("text", part, [], "all")
    (step,) = [s for s in corpus_status(corpus).next if "only measured" in s.why]
    assert step.command == f"stiv select {corpus.store.uri} --name all"
    assert "then caption, judge and export" in step.why


def test_where_nothing_is_named_default_the_next_stage_goes_on_with_the_name(build: Build) -> None:
    corpus = build(upto="measured")
    for table in ("text", "embeddings"):
        corpus.store.move(f"features/{table}/default", f"features/{table}/strict")
    step = corpus_status(corpus).next[0]
    assert step.command == f"stiv dedup {corpus.store.uri} --name strict"


def test_an_empty_plan(build: Build) -> None:
    status = corpus_status(build(upto="planned", parts=0))
    assert status.next[0].command.startswith("stiv plan ")
    assert status.planned_sources == 0


def test_missing_parts_are_counted(build: Build) -> None:
    corpus = build(upto="judged")
    corpus.store.remove(corpus.path("captions", 1, "default"))
    status = corpus_status(corpus)
    assert {v.table: v.parts_missing for v in status.variants if v.parts_missing} == {"captions": 1}
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
    assert stale["checks"] == ["its captions `default` are stale themselves"]
    assert stale["decisions"] == [
        "its captions `default` are stale themselves",
        "its checks `default` are stale themselves",
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
    stale = {v.table: v.stale for v in status.variants}
    assert stale["checks"] == ["its captions `default` are gone"]
    assert stale["decisions"] == ["its captions `default` are gone", "its checks `default` are stale themselves"]


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


def test_nothing_scanned_is_one_line(build: Build) -> None:
    corpus = build(upto="planned")
    for table in ("text", "embeddings", "captions"):
        variants.prepare(corpus, table, "default", {}, {})
    variants.prepare(corpus, "shards", "default", {}, {})
    assert "0 of 0" not in _printed(corpus)
    assert "0 of 3 parts" in _printed(corpus)


def test_a_corpus_that_is_being_written_is_left_alone(build: Build) -> None:
    corpus = build(upto="scanned")
    with hold(corpus.store, "stiv curate"):
        text = _printed(corpus)
        assert corpus_status(corpus).next == []
    assert f"being written by stiv curate, process {os.getpid()}" in text
    assert "Next" not in text
    assert "Everything is there" not in text
    assert corpus_status(corpus).writer is None


@pytest.mark.parametrize(
    ("ending", "says", "why"),
    [
        ({"outcome": "interrupted"}, ", interrupted", "the last one was interrupted"),
        ({"outcome": "failed", "error": "The disk is full."}, ", failed: The disk is full.", "the last one failed"),
        (
            {"outcome": "killed", "error": "x"},
            "stiv curate: killed, left no record, noticed 20",
            "the last one was killed",
        ),
    ],
)
def test_a_curate_that_broke_off_is_named_and_goes_on_with_one_command(
    build: Build, ending: dict[str, str], says: str, why: str
) -> None:
    corpus = build(upto="captioned", with_errors=False)
    corpus.store.remove(corpus.path("text", 1, "default"))
    corpus.store.remove(corpus.path("embeddings", 1, "default"))
    corpus.write_run({"command": "curate", "options": {"name": "default"}, "counts": {}, **ending})
    (step,) = corpus_status(corpus).next
    assert step.command == f"stiv curate VIDEOS --out {corpus.store.uri}"
    assert step.why == f"{why}: the same command as before goes on"
    assert says in _printed(corpus)
    corpus.write_run({"command": "features", "outcome": "finished", "counts": {}})
    commands = [step.command for step in corpus_status(corpus).next]
    assert commands[0] == f"stiv features {corpus.store.uri}"
    assert len(commands) == len(set(commands))


def test_a_killed_writer_is_named_before_the_next_one_comes(build: Build) -> None:
    corpus = build(upto="captioned", with_errors=False)
    corpus.write_run({"command": "scan", "outcome": "finished", "seconds": 1.0, "counts": {}})
    assert corpus.store.local is not None
    (corpus.store.local / ".lock").write_text("stiv curate, process 1 on here, since 2026-01-01 00:00:00 UTC")
    assert "stiv curate, process 1 on here, since 2026-01-01 00:00:00 UTC: killed, left no record" in _printed(corpus)
    assert corpus_status(corpus).next[0].command.startswith("stiv curate ")


def test_a_broken_curate_of_another_name_goes_on_under_it(build: Build) -> None:
    corpus = build(upto="captioned", with_errors=False)
    corpus.write_run({"command": "curate", "options": {"name": "strict"}, "outcome": "interrupted", "counts": {}})
    assert corpus_status(corpus).next[0].command == f"stiv curate VIDEOS --out {corpus.store.uri} --name strict"


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
