"""What a run says at its end, and the `--use` that goes with another name."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pytest
from rich.console import Console

from curation import variants
from curation.corpus import Corpus
from curation.planning import Planned
from curation.views import choose
from pipelines.apps.names import of_name, use_flag
from pipelines.apps.report import render_report
from pipelines.apps.status import corpus_status
from pipelines.apps.summary import print_summary, summarise
from pipelines.cli.common import parse_use
from pipelines.progress import Counts
from pipelines.run import Outcome
from schemas.errors import UsageError
from schemas.tables import SHARD_FAILURES, SHARDS

Build = Callable[..., Corpus]


def _said(corpus: Corpus, name: str = "default", counts: Counts | None = None) -> str:
    summary = summarise(corpus, Planned([], 0, 15, 0), Outcome(True, 1.0, {}, None), counts or Counts(), name)
    console = Console(file=io.StringIO(), width=400)
    print_summary(summary, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def _decide(corpus: Corpus, name: str) -> None:
    inputs = {t: variants.need(corpus, t, "default").as_input() for t in ("selections", "captions")}
    variants.prepare(corpus, "decisions", name, {"rules": []}, inputs)
    for part in corpus.parts():
        corpus.write("decisions", part, corpus.read("decisions", part, "default").to_pylist(), name)


def _fail(corpus: Corpus, code: str, error: str) -> None:
    """Nothing of the first tar could be cut."""
    members = corpus.store.read_table("shards/default/000000.parquet").column("clip_id").to_pylist()
    rows = [{"clip_id": c, "shard": "000000", "error_code": code, "error": error} for c in members]
    corpus.store.commit_table(
        "shards/default/000000.failed.parquet", pa.Table.from_pylist(rows, schema=SHARD_FAILURES.arrow)
    )
    corpus.store.commit_table("shards/default/000000.parquet", SHARDS.arrow.empty_table())


def test_finished_tars_count_also_without_a_sample(build: Build) -> None:
    corpus = build()
    assert "in 2 tars" in _said(corpus)
    _fail(corpus, "cut_failed", "It cannot be copied: its codec keyframes are too far apart.")
    assert "in 2 tars" in _said(corpus)


def test_a_retry_is_promised_only_where_it_may_help(build: Build) -> None:
    corpus = build()
    assert "Not cut  1 kept clip\n" in _said(corpus)
    assert "the next run tries 1 clip again" in _said(corpus)
    corpus.store.remove("shards/default/000001.failed.parquet")
    _fail(corpus, "cut_failed", "It cannot be copied: its codec keyframes are too far apart.")
    text = _said(corpus)
    assert "tries" not in text
    assert "too far apart" in text
    for key in ("export.cut=auto", "export.copy_start_tolerance_s", "export.copy_keyframe_interval_s"):
        assert key in text


def test_a_small_sum_is_not_nothing(build: Build) -> None:
    counts = Counts()
    counts.asked["Qwen"] = Counter(asked=3, prompt_tokens=2000, completion_tokens=100, usd=0.00023)  # type: ignore[call-arg]
    (line,) = [line for line in _said(build(), counts=counts).splitlines() if line.startswith("Asked")]
    assert line.endswith("Qwen: 3 questions, 2,000 tokens sent, 100 answered, under $0.01")


def test_no_word_is_doubled(build: Build) -> None:
    (line,) = [line for line in _said(build()).splitlines() if line.startswith("Decoded")]
    assert line.lower().count("decoded") == 1
    assert line.endswith("1.00x by the scans behind the tables")


def test_the_ledger_tells_this_run_from_the_tables(build: Build) -> None:
    """After an interruption the tables show each frame once; what was lost is said, but not of the tables."""
    counts = Counts(analysis_frames=600, abandoned_frames=40, export_frames=90)
    (line,) = [line for line in _said(build(), counts=counts).splitlines() if line.startswith("Decoded")]
    assert "x by the scans behind the tables; in this run 600 for analysis, 40 in scans that were cut short, 90" in line


def test_sources_worth_another_try_are_told_of(build: Build) -> None:
    corpus = build()
    assert f"stiv retry {corpus.store.uri}  # 1 source failed for a reason that may have passed" in _said(corpus)
    assert "stiv retry" not in _said(build(with_errors=False))


def test_clips_of_an_overwritten_source_are_no_failure(build: Build) -> None:
    corpus = build()
    corpus.store.remove("shards/default/000001.failed.parquet")
    _fail(corpus, "replaced", "the source was overwritten after it was scanned")
    text = _said(corpus)
    assert "Not cut" not in text
    assert re.search(r"Left out \d+ kept clips: their source was overwritten", text)
    for name in ("000002.tar", "000002.parquet"):
        corpus.store.commit_bytes(f"shards/default/{name}", b"")
    corpus.store.commit_table("shards/default/000002.parquet", SHARDS.arrow.empty_table())
    status = corpus_status(corpus)
    assert (status.shards[0].failed, status.shards[0].replaced > 0) == (0, True)
    assert [step.command.split()[1] for step in status.next] == ["retry"]


def test_next_commands_look_at_the_name_that_was_made(build: Build) -> None:
    corpus = build()
    assert "--use" not in _said(corpus)
    assert "--use" not in render_report(corpus).decode()
    _decide(corpus, "strict")
    assert _said(corpus, "strict").count(" --use strict\n") == 2
    page = render_report(corpus, {"decisions": "strict"}).decode()
    copied = [line for line in page.split("data-copy=")[1:] if line.startswith(('"stiv explain', '"stiv query'))]
    assert copied
    assert all("--use strict" in line.split("</button>")[0] for line in copied)


def test_a_bare_name_stands_for_every_table_that_has_it(build: Build) -> None:
    corpus = build()
    _decide(corpus, "strict")
    where = corpus.store.uri
    assert parse_use(["strict"], where) == of_name(corpus, "strict") == {"decisions": "strict"}
    assert parse_use(["decisions=default,strict", "text=default"], where) == {"decisions": "default", "text": "default"}
    assert parse_use(None, where) == {}
    with pytest.raises(UsageError, match=r"nothing.*has that name.*default, strict"):
        parse_use(["strikt"], where)
    with pytest.raises(UsageError, match="form"):
        parse_use(["clips=x"], where)


def test_the_flag_leads_back_to_what_was_chosen(build: Build) -> None:
    corpus = build()
    _decide(corpus, "strict")
    _decide(corpus, "other")
    for use in ({}, {"decisions": "strict"}, {"decisions": "strict", "shards": "default"}):
        chosen = choose(corpus, use)
        flag = use_flag(corpus, chosen).removeprefix(" --use ")
        assert choose(corpus, parse_use([flag], corpus.store.uri)) == chosen
    assert use_flag(corpus, choose(corpus)) == ""


def test_status_says_what_became_of_clips_that_could_not_be_cut(build: Build) -> None:
    corpus = build()
    for name in ("000002.tar", "000002.parquet"):
        corpus.store.commit_bytes(f"shards/default/{name}", b"")
    corpus.store.commit_table("shards/default/000002.parquet", SHARDS.arrow.empty_table())
    step = corpus_status(corpus).next[0]
    assert "1 kept clip of shards `default` could not be cut; another try may help" in step.why
    corpus.store.remove("shards/default/000001.failed.parquet")
    _fail(corpus, "cut_failed", "ffmpeg refused it.")
    step = corpus_status(corpus).next[0]
    assert "shard_failures" in step.command


def test_a_conflict_names_what_was_changed_and_not_what_follows(build: Build) -> None:
    corpus = build()
    text = variants.prepare(
        corpus,
        "text",
        "plain",
        {"score_all": False, "stills": 3, "rules": []},
        {"model": {"name": "m", "fingerprint": "1"}},
    )
    corpus.write("text", 0, [], "plain")
    settings = {
        **text.settings,
        "score_all": True,
        "rules": [{"name": f"r{i}", "drop": "motion < 1"} for i in range(9)],
    }
    with pytest.raises(
        UsageError, match=r"^The text named `plain` in `\S+` was made otherwise: score_all: \S+ → \S+\."
    ) as caught:
        variants.prepare(corpus, "text", "plain", settings, text.inputs)
    assert "rules" not in str(caught.value)
    with pytest.raises(UsageError, match=r"and 6 more\."):
        variants.prepare(corpus, "text", "plain", {**settings, "score_all": False}, text.inputs)


def test_a_changed_rule_is_named_first_and_as_it_is_set(build: Build) -> None:
    corpus = build()

    def refused(table: str, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> str:
        found = variants.need(corpus, table, "default")
        rules = change([dict(rule) for rule in found.settings["rules"]])
        with pytest.raises(UsageError) as caught:
            variants.prepare(corpus, table, "default", {**found.settings, "rules": rules}, found.inputs)
        return caught.value.message

    def lower(rules: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{**r, "drop": "sharpness < 0.05"} if r["name"] == "blurred" else r for r in rules]

    for table, were in (("text", "was"), ("selections", "were")):
        assert refused(table, lower) == (
            f"`select.blurred` differs: `sharpness < 0.1` → `sharpness < 0.05`. The {table} named `default` "
            f"in `{corpus.store.uri}` {were} made with the rules as they were."
        )
    added = refused("decisions", lambda rules: [*rules[1:], {"name": "mine", "drop": "caption_words > 0.5"}])
    assert added.startswith("`judge.no_caption` is gone; `judge.mine` is new. The decisions named")
    assert refused("selections", lambda rules: rules[::-1]).startswith("the rules of `select` have another order.")
