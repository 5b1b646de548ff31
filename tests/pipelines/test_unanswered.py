"""An endpoint that fails for a while: no clip is handed on because of it, and the same command asks only what has no answer."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation.corpus import Corpus
from schemas.errors import BudgetError, TooManyErrorsError, UnansweredError

AFTER = ("select", "caption", "check", "judge", "export")
QUIET = ("features.text.enabled=false", "features.embeddings.enabled=false", "dedup.enabled=false")
KEEP = ("select.still=off", "select.unaesthetic=off", "select.blurred=off", "judge.caption_language=off")
GOOD = '{"caption": "A patchwork drifts by.", "short": "A patchwork."}'


@pytest.fixture(scope="module")
def scanned(videos: Path, tmp_path_factory: pytest.TempPathFactory, run: Callable[..., Any]) -> Path:
    """Four parts, three of them with clips: one, one and two."""
    out = tmp_path_factory.mktemp("parts") / "corpus"
    run(out, videos, settings=("plan.part_sources=1", *QUIET), stages=("scan",))
    return out


@pytest.fixture
def corpus(scanned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scanned, tmp_path / "corpus"))


def settings(url: str, *more: str) -> tuple[str, ...]:
    chat = {"base_url": url, "model": "toy", "stills": 2, "retries": 1, "concurrency": 1}
    both = (f"chat.{name}.{key}={value}" for name in ("openai", "llm") for key, value in chat.items())
    return ("plan.part_sources=1", *QUIET, *KEEP, 'captions.captioners=["openai","describe"]', *both, *more)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between two tries."""
    monkeypatch.setattr("models.chat.openai_chat.pause_s", lambda turn, chance: 0.0)


def captioners(corpus: Path) -> Counter[str]:
    opened = Corpus.open(corpus)
    tables = [opened.read("captions", part, "default") for part in opened.done("captions", "default")]
    return Counter(name for table in tables for name in table["captioner"].to_pylist())


def test_an_endpoint_that_was_down_throughout_leaves_nothing_that_must_be_mended(
    corpus: Path, run: Callable[..., Any], openai_server: Any
) -> None:
    openai_server.script(lambda seen: openai_server.reply(status=500))
    given = settings(openai_server.url)
    with pytest.raises(UnansweredError) as failed:
        run(corpus, settings=given, stages=AFTER)
    assert failed.value.exit_code == 3
    assert failed.value.message == (
        "4 questions have no answer, for a reason that may pass (such as toy: HTTP 500: status 500); "
        "unfinished because of that: 3 of 4 parts."
    )
    assert "same command" in failed.value.fix
    assert captioners(corpus) == {}
    assert not list((corpus / "shards").rglob("*.tar"))

    openai_server.script(lambda seen: GOOD)
    run(corpus, settings=given, stages=AFTER)
    assert captioners(corpus) == {"openai": 4}
    assert len(list((corpus / "shards/default").glob("*.tar"))) == 1


def test_one_failure_leaves_its_part_and_no_other_and_is_asked_again_alone(
    corpus: Path, scanned: Path, tmp_path: Path, run: Callable[..., Any], openai_server: Any, tree: Callable[..., Any]
) -> None:
    openai_server.script([openai_server.reply(status=503)] * 2 + [GOOD] * 3)
    given = settings(openai_server.url)
    with pytest.raises(UnansweredError, match=r"^1 question has no answer.*: 1 of 4 parts"):
        run(corpus, settings=given, stages=AFTER)
    assert captioners(corpus) == {"openai": 3 - (len(Corpus.open(corpus).done("captions", "default")) == 2)}
    asked = len(openai_server.requests)
    openai_server.script(lambda seen: GOOD)
    run(corpus, settings=given, stages=AFTER)
    assert len(openai_server.requests) == asked + 1
    straight = Path(shutil.copytree(scanned, tmp_path / "straight"))
    run(straight, settings=given, stages=AFTER)
    assert tree(corpus) == tree(straight)


def test_replacing_goes_on_too_and_the_old_one_stays_until_then(
    corpus: Path, run: Callable[..., Any], openai_server: Any
) -> None:
    given = settings(openai_server.url)
    run(corpus, settings=(*given, 'captions.captioners=["describe"]'), stages=AFTER)
    openai_server.script(lambda seen: openai_server.reply(status=500))
    with pytest.raises(UnansweredError):
        run(corpus, settings=given, stages=AFTER, replace=True)
    assert captioners(corpus) == {"describe": 4}
    openai_server.script(lambda seen: GOOD)
    run(corpus, settings=given, stages=AFTER, replace=True)
    assert captioners(corpus) == {"openai": 4}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_question_that_will_never_be_answered_goes_to_the_next_captioner(
    corpus: Path, run: Callable[..., Any], openai_server: Any, status: int
) -> None:
    replies = [GOOD, openai_server.reply(status=status), openai_server.reply(None, refusal="no"), GOOD]
    openai_server.script(replies)
    run(corpus, settings=settings(openai_server.url), stages=AFTER)
    assert captioners(corpus) == {"openai": 2, "describe": 2}


def test_what_stops_a_run_goes_before_what_is_left_open(
    corpus: Path, run: Callable[..., Any], openai_server: Any
) -> None:
    openai_server.script([openai_server.reply(status=503)] * 2 + [openai_server.reply(status=402)])
    with pytest.raises(BudgetError):
        run(corpus, settings=settings(openai_server.url), stages=AFTER)
    openai_server.close()
    with pytest.raises(TooManyErrorsError, match="nobody answers"):
        run(corpus, settings=settings(openai_server.url), stages=AFTER)
    assert captioners(corpus) == {}


LISTED = json.dumps({"objects": [{"object": "patchwork", "sentence": 1}]})


@pytest.mark.parametrize("who", ["questions", "stills", "categories"])
def test_checks_wait_for_their_answers_as_well(
    corpus: Path, run: Callable[..., Any], openai_server: Any, who: str
) -> None:
    def kind(seen: Any) -> str:
        if "caption" in seen.prompt and seen.stills:
            return "captions"
        return "stills" if seen.stills else "questions" if '"objects"' in seen.prompt else "categories"

    good = {"captions": GOOD, "stills": '{"1": "yes"}', "questions": LISTED, "categories": '{"categories": ["art"]}'}
    failing = {who}
    openai_server.script(
        lambda seen: openai_server.reply(status=500) if kind(seen) in failing else good[kind(seen)],
    )
    checks = ("check.dsg.enabled=true", "check.dsg.vision=openai", "check.categories.backend=chat")
    given = settings(openai_server.url, *checks)
    with pytest.raises(UnansweredError, match="HTTP 500"):
        run(corpus, settings=given, stages=AFTER)
    assert captioners(corpus) == {"openai": 4}
    opened = Corpus.open(corpus)
    assert len(opened.done("checks", "default")) == 1  # that of the part without a clip
    assert len(opened.done("decisions", "default")) == 1

    failing.clear()
    asked = len(openai_server.requests)
    run(corpus, settings=given, stages=AFTER)
    assert not {"captions", *({"questions", "categories"} - {who})} & {
        kind(seen) for seen in openai_server.requests[asked:]
    }
    rows = [row for part in range(4) for row in opened.read("checks", part, "default").to_pylist()]
    assert len(rows) == 4
    assert {(row["dsg_i"], row["category"]) for row in rows} == {(0.0, "art")}


@pytest.mark.ray
@pytest.mark.slow
def test_on_ray_other_parts_go_on_to_their_end(corpus: Path, run: Callable[..., Any], openai_server: Any) -> None:
    openai_server.script([openai_server.reply(status=503)] * 2)
    given = settings(openai_server.url, "captions.styles=[long]")
    with pytest.raises(UnansweredError, match=r"^1 question has no answer.*: 1 of 4 parts"):
        run(corpus, settings=given, stages=AFTER, executor="ray")
    opened = Corpus.open(corpus)
    assert len(opened.done("captions", "default")) == len(opened.done("decisions", "default")) == 3
    run(corpus, settings=given, stages=AFTER, executor="ray")
    assert captioners(corpus) == {"openai": 4}
