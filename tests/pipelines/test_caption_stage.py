"""The stage `caption` with chat models: everything in flight at once, one order, nothing paid for is lost, all of it told."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curation import joined
from curation.captioning.contract import ClipFacts
from curation.corpus import Corpus
from curation.variants import Variant
from pipelines.context import Context, Event, Worker
from pipelines.stages import caption, chats
from schemas.chat import Answer, Ask, Usage
from schemas.errors import BudgetError, RecipeError, UsageError
from schemas.recipe import CurateRecipe
from schemas.recipe_learned import Captions, Chat


class Endpoint:
    """A chat model that answers when ``ready`` says so."""

    name = "toy-vl"
    fingerprint = "toy-1"

    def __init__(self, answer: Callable[[Ask], Answer]) -> None:
        self.usage = Usage()
        self.answer = answer
        self.answered: list[str] = []
        self.waiting = self.closed = 0
        self.all_wait_for = 0

    async def ask(self, asks: Sequence[Ask], on_answer: Callable[[int, Answer], None]) -> list[Answer]:
        self.waiting += len(asks)
        async with asyncio.timeout(5):
            while self.waiting < self.all_wait_for:
                await asyncio.sleep(0)
        answers = []
        for ask in asks:
            assert all(read().startswith(b"\xff\xd8") for read in ask.stills)
            answers.append(self.answer(ask))
            await asyncio.sleep(0.001)
            self.answered.append(ask.key)
            on_answer(len(answers) - 1, answers[-1])
            self.usage.asked += 1
            self.usage.prompt_tokens += 10
            self.usage.usd += 0.5
        return answers

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption, "BATCH", 1)


def clip_of(ask: Ask) -> str:
    return ask.key.partition(":")[0]


def make_worker(corpus: Path, model: Endpoint, monkeypatch: pytest.MonkeyPatch, **section: Any) -> Worker:
    settings = Captions(**{"captioners": ("openai", "describe"), **section}).model_dump(mode="json")
    settings["chats"] = dict.fromkeys(("openai", "llm"), Chat(stills=2).model_dump(mode="json"))
    variants = {
        "captions": Variant("captions", "new", settings, {}, "f", "new", {}),
        "selections": Variant("selections", "default", {}, {}, "f", "default", {}),
    }
    monkeypatch.setattr(chats, "_model", lambda worker, name: model)
    events: list[Event] = []
    worker = Worker(Context(str(corpus), "run", 1, CurateRecipe(), variants), events.append)
    worker.events = events  # type: ignore[attr-defined]
    return worker


@pytest.fixture
def corpus(straight: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(straight, tmp_path / "corpus"))


def told(worker: Worker, kind: str) -> list[Event]:
    return [event for event in worker.events if event["kind"] == kind]  # type: ignore[attr-defined]


def rows(corpus: Path) -> list[dict[str, Any]]:
    return Corpus.open(corpus).read("captions", 0, "new").to_pylist()


@pytest.mark.usefixtures("one_by_one")
def test_all_clips_of_a_part_are_in_flight_at_once_and_come_back_in_order(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Endpoint(lambda ask: Answer(f'{{"caption": "Clip {clip_of(ask)}.", "short": "Short."}}'))
    model.all_wait_for = 4
    worker = make_worker(corpus, model, monkeypatch)
    caption.run(worker, 0)
    clips = Corpus.open(corpus).read("clips", 0, columns=["clip_id"])["clip_id"].to_pylist()
    assert [row["clip_id"] for row in rows(corpus)] == clips
    assert [row["caption"] for row in rows(corpus)] == [f"Clip {clip}." for clip in clips]
    assert {row["captioner"] for row in rows(corpus)} == {"openai"}
    assert all(len(key.split(",")) == 2 for key in model.answered)
    assert [event["clips"] for event in told(worker, "captioned")] == [1] * 4
    assert told(worker, "part") == [
        {"kind": "part", "stage": "caption", "part": 0, "clips": 4, "captioners": {"openai": 4}}
    ]
    caption.run(worker, 0)
    assert len(model.answered) == 4


def test_what_was_asked_is_told_for_each_part_and_the_chat_is_closed(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Endpoint(lambda ask: Answer(None, "refused"))
    model.usage = Usage(asked=7, prompt_tokens=70, usd=3.5, warnings=["told before"])
    worker = make_worker(corpus, model, monkeypatch)
    model.answer = lambda ask: model.usage.warnings.append("slow") or Answer('{"caption": "A c')  # type: ignore[func-returns-value]
    caption.run(worker, 0)
    zeros = dict.fromkeys(("reused", "failed", "retries", "completion_tokens"), 0)
    assert told(worker, "asked") == [
        {"kind": "asked", "who": "toy-vl", "asked": 4, "prompt_tokens": 40, "usd": 2.0, **zeros}
    ]
    notes = Counter(event["text"].partition(",")[0] for event in told(worker, "note"))
    assert notes == {"toy-vl: slow": 4, "openai: answers were cut short": 1}
    assert {row["captioner"] for row in rows(corpus)} == {"describe"}
    assert model.closed == 1


@pytest.mark.usefixtures("one_by_one")
def test_an_error_waits_for_answers_on_their_way_and_commits_nothing(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(ask: Ask) -> Answer:
        if budget and not tried:
            tried.append(ask)
            raise BudgetError("The budget is spent.")
        return Answer("A cat.")

    budget, tried = [1.0], list[Ask]()
    model = Endpoint(answer)
    worker = make_worker(corpus, model, monkeypatch)
    with pytest.raises(BudgetError):
        caption.run(worker, 0)
    assert len(model.answered) == 3
    assert model.closed == 1
    assert told(worker, "asked")[0]["asked"] == 3
    assert not (corpus / "captions" / "new").exists()

    # What was answered is kept: with more money only the rest is asked.
    budget.clear()
    again = make_worker(corpus, model, monkeypatch)
    caption.run(again, 0)
    assert len(model.answered) == 4
    assert (told(again, "asked")[0]["asked"], told(again, "asked")[0]["reused"]) == (1, 3)
    assert {row["caption"] for row in rows(corpus)} == {"A cat."}
    assert [path.name for path in (corpus / "answers").rglob("*.*")] == ["part-000000.jsonl"]


def test_the_recipe_rewrites(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(ask: Ask) -> Answer:
        return Answer('{"caption": "A red car drives along a road."}' if ask.stills else "A car drives.")

    model = Endpoint(answer)
    worker = make_worker(corpus, model, monkeypatch, rewrite={"enabled": True})
    caption.run(worker, 0)
    assert {row["caption"] for row in rows(corpus)} == {"A car drives."}
    assert {row["caption_original"] for row in rows(corpus)} == {"A red car drives along a road."}
    # Four clips of one caption: it is put in other words once.
    assert len(model.answered) == 5


def test_two_names_of_one_model_keep_their_answers_in_one_place(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Endpoint(lambda ask: Answer("A patch."))
    worker = make_worker(corpus, model, monkeypatch, captioners=("frames+llm",), vision="openai", styles=("long",))
    caption.run(worker, 0)
    (kept,) = (corpus / "answers").rglob("*.*")
    assert len(kept.read_text().splitlines()) == len(model.answered) == 4 * 2 + 4


def test_a_machine_with_other_weights_than_where_the_run_began_asks_nothing(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Endpoint(lambda ask: Answer("A patch."))
    worker = make_worker(corpus, model, monkeypatch)
    made = worker.context.variants["captions"]
    for mark in ("toy-0", model.fingerprint):
        worker.context.variants["captions"] = replace(
            made, inputs={"chat openai": {"name": "toy", "fingerprint": mark}}
        )
        if mark != model.fingerprint:
            with pytest.raises(UsageError, match=r"`openai` \(toy-vl\) has other weights on this machine"):
                caption.run(worker, 0)
            assert model.answered == []
    caption.run(worker, 0)
    assert len(model.answered) == 4


def test_facts_of_a_clip_read_stills_only_when_asked(corpus: Path) -> None:
    opened = Corpus.open(corpus)
    reads: list[Any] = []
    real = opened.store.read_range
    opened.store.read_range = lambda *place: reads.append(place) or real(*place)  # type: ignore[method-assign,func-returns-value]
    facts = caption.facts_of(opened, 0, joined.read_scanned(opened, 0).to_pylist())
    assert all(isinstance(fact, ClipFacts) and len(fact.stills) >= 2 for fact in facts)
    assert not reads
    assert facts[0].stills[1].read().startswith(b"\xff\xd8")
    assert len(reads) == 1


# Over HTTP ------------------------------------------------------------------------------------------------------------

OFF = (
    "features.text.enabled=false",
    "features.embeddings.enabled=false",
    "dedup.enabled=false",
    "check.enabled=false",
    "judge.caption_language=off",
)


def over_http(url: str, *more: str) -> tuple[str, ...]:
    chat = (f"chat.openai.base_url={url}", "chat.openai.model=toy", "chat.openai.stills=3", "chat.openai.retries=0")
    price = ("chat.openai.usd_per_million_input=1000", "chat.openai.usd_per_million_output=0")
    return (*OFF, 'captions.captioners=["openai","describe"]', *chat, *price, *more)


def test_a_run_over_http_asks_once_for_each_clip_and_prompt(
    corpus: Path, run: Callable[..., Any], openai_server: Any
) -> None:
    good = '```json\n{"caption": "A patchwork drifts by.", "short": "A patchwork."}\n```'
    openai_server.script([good, good, openai_server.reply(refusal="no", text=None), '{"caption": "A patch'])
    stages = ("select", "caption", "judge")
    _, counts = run(corpus, settings=over_http(openai_server.url), stages=stages, name="asked")
    assert counts.captioners == {"openai": 2, "describe": 2}
    assert len(openai_server.requests) == 4
    assert all(len(seen.stills) == 3 for seen in openai_server.requests)
    assert all(
        seen.prompt.startswith("These 3 pictures are stills of one video clip of") for seen in openai_server.requests
    )
    told = counts.asked["toy"]
    assert (told["asked"] + told["failed"], told["prompt_tokens"], told["usd"]) == (4, 400, pytest.approx(0.4))
    found = Corpus.open(corpus).read("captions", 0, "asked").to_pylist()
    assert sorted(row["caption_short"] for row in found if row["captioner"] == "openai") == ["A patchwork."] * 2

    # Under another name, nothing that was answered is asked again, whatever the answer was.
    _, counts = run(corpus, settings=over_http(openai_server.url, "captions.max_chars=11"), stages=stages, name="short")
    assert len(openai_server.requests) == 4
    assert counts.asked["toy"]["reused"] == 4
    assert counts.asked["toy"]["usd"] == 0
    found = Corpus.open(corpus).read("captions", 0, "short").to_pylist()
    assert [row["caption"] for row in found if row["captioner"] == "openai"] == ["A patchwork"] * 2

    # Another prompt is another question.
    other = over_http(openai_server.url, 'captions.prompt="Say it in {duration} words.\\n"')
    run(corpus, settings=other, stages=stages, name="other")
    assert len(openai_server.requests) == 8
    assert all(re.match(r"Say it in [\d.]+ words\.\n", prompt) for prompt in openai_server.prompts()[4:])


def test_frames_and_llm_over_http(corpus: Path, run: Callable[..., Any], openai_server: Any) -> None:
    openai_server.script(
        lambda seen: "A patch." if seen.stills else '{"caption": "Patches drift.", "short": "Patches."}'
    )
    llm = (f"chat.llm.base_url={openai_server.url}", "chat.llm.model=words")
    frames = ('captions.captioners=["frames+llm"]', "captions.vision=openai")
    _, counts = run(
        corpus, settings=over_http(openai_server.url, *llm, *frames), stages=("select", "caption"), name="f"
    )
    assert counts.captioners == {"frames+llm": 4}
    assert (counts.asked["toy"]["asked"], counts.asked["words"]["asked"]) == (12, 4)
    assert all(seen.prompt.count("s: A patch.") == 3 for seen in openai_server.requests if not seen.stills)


def test_an_unnamed_model_and_an_unknown_captioner_stop_before_anything_is_done(
    corpus: Path, run: Callable[..., Any]
) -> None:
    for setting, why in (('["openai"]', "chat model `openai` has no name"), ('["opnai"]', "no captioner `opnai`")):
        with pytest.raises(RecipeError, match=why):
            run(corpus, settings=(*OFF, f"captions.captioners={setting}"), stages=("select", "caption"), name="x")
    assert not (corpus / "captions" / "x").exists()
