"""Captions from a chat model: what it is asked, and what is made of whatever it answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from curation.captioning import make_captioners, make_rewriter
from curation.captioning.chat_captioner import ChatCaptioner, prompt_facts
from curation.captioning.contract import CaptionText, ClipFacts, StillRef, caption_clips
from curation.captioning.describe import DescribeCaptioner
from curation.captioning.styles import UnusableAnswer, read_answer, with_form
from curation.evenly import evenly
from schemas.chat import Answer
from schemas.recipe_learned import Captions, Chat
from schemas.tables import CAPTIONS

ALL = ("long", "short", "structured")
ROW: dict[str, Any] = {"duration_s": 4.04, "width": 1920, "height": 1080, "fps": 29.97, "start_frame": 100}


def clip(clip_id: str = "c1", stills: int = 4, row: dict[str, Any] = ROW, given: str | None = None) -> ClipFacts:
    refs = [StillRef(100 + 10 * i, lambda i=i: f"jpeg {i}".encode()) for i in range(stills)]  # type: ignore[misc]
    return ClipFacts(clip_id, f"/v/{clip_id}.mp4", f"{clip_id}.mp4", given, row, refs)


def said(captioner: Any, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
    return asyncio.run(captioner.caption(clips))


# What is asked --------------------------------------------------------------------------------------------------------


def test_one_question_per_clip_holds_facts_stills_and_all_styles(scripted_chat: Any) -> None:
    chat = scripted_chat(lambda ask: '{"caption": "A cat.", "short": "Cat.", "structured": {"subjects": ["cat"]}}')
    captioner = ChatCaptioner("vlm", chat, "{stills} stills, {duration} s, {width}x{height}, {odd}\n", ALL, 2)
    (text,) = said(captioner, [clip(stills=4)])
    assert text == CaptionText("A cat.", "Cat.", '{"subjects": ["cat"]}')
    (ask,) = chat.asked
    assert ask.prompt.startswith("2 stills, 4 s, 1920x1080, {odd}\n\n")
    assert all(key in ask.prompt for key in ('"caption"', '"short"', '"structured"'))
    assert ask.want_json
    assert [read() for read in ask.stills] == [b"jpeg 1", b"jpeg 3"]
    assert ask.key == "c1:110,130"


def test_the_long_style_alone_is_asked_for_as_plain_text(scripted_chat: Any) -> None:
    chat = scripted_chat(lambda ask: "A cat sits.")
    assert said(ChatCaptioner("vlm", chat, "Describe.\n", ("long",), 2), [clip()]) == [CaptionText("A cat sits.")]
    assert not chat.asked[0].want_json
    assert "JSON" not in chat.asked[0].prompt
    assert '"short"' not in with_form("x", ("long", "structured"))


def test_a_clip_without_stills_is_not_asked_about(scripted_chat: Any) -> None:
    chat = scripted_chat(lambda ask: ask.key)
    texts = said(ChatCaptioner("vlm", chat, "x\n", ("long",), 2), [clip("a"), clip("b", stills=0), clip("c")])
    assert [text and text.caption for text in texts] == ["a:110,130", None, "c:110,130"]


def test_unmeasured_facts_are_unknown() -> None:
    facts = prompt_facts(clip(row={"fps": None}, given=" a {width} "), 3)
    assert facts == {
        "duration": "unknown",
        "width": "unknown",
        "height": "unknown",
        "fps": "unknown",
        "camera": "unknown",
        "stills": "3",
        "source_caption": "a {width}",
    }


def test_stills_are_spread_evenly() -> None:
    stills = clip(stills=16).stills
    assert [s.frame for s in evenly(stills, 4)] == [120, 160, 200, 240]
    assert evenly(stills, 99) == list(stills)
    assert evenly([], 4) == []


def test_the_fingerprint_follows_all_that_a_caption_depends_on(scripted_chat: Any) -> None:
    def mark(model: str = "m", prompt: str = "p\n", styles: tuple[str, ...] = ("long",), stills: int = 2) -> str:
        return ChatCaptioner("vlm", scripted_chat(str, model), prompt, styles, stills).fingerprint

    marks = [mark(), mark(model="n"), mark(prompt="q\n"), mark(styles=ALL), mark(stills=3)]
    assert len(set(marks)) == 5
    assert mark() == marks[0]


# What is read ---------------------------------------------------------------------------------------------------------

GOOD = {
    '{"caption": "A cat.", "short": "Cat."}': ("A cat.", "Cat."),
    '```json\n{"caption": "A cat.", "short": "Cat."}\n```': ("A cat.", "Cat."),
    'Sure! Here it is:\n{"caption": "A cat.", "short": "Cat."}\nAnything else?': ("A cat.", "Cat."),
    'In {braces} first: {"caption": "A {big} cat.", "short": "Cat."}': ("A {big} cat.", "Cat."),
    '[{"caption": "A cat.", "short": "Cat."}]': ("A cat.", "Cat."),
    '{"result": {"caption": "A cat.", "short": "Cat."}}': ("A cat.", "Cat."),
    '{"caption": "A cat\nsits.", "short": 3}': ("A cat sits.", None),
    '{"caption": "A \\ud800 cat.", "short": "  "}': ("A \ufffd cat.", None),
    '<think>{"caption": "no"}</think>{"caption": "A cat."}': ("A cat.", None),
    "A cat sits on a mat.": ("A cat sits on a mat.", None),
    "Caption: A cat.": ("A cat.", None),
    '"A cat sits."': ("A cat sits.", None),
    "“A cat sits.”": ("A cat sits.", None),
    '"Stop" and "go" are painted on a wall. "Stop"': ('"Stop" and "go" are painted on a wall. "Stop"', None),
    "```\nA cat sits.\n```": ("A cat sits.", None),
    "[Music] A man sings {la la}.": ("[Music] A man sings {la la}.", None),
    "A sign reads 'caption'.": ("A sign reads 'caption'.", None),
}


@pytest.mark.parametrize("answer", GOOD)
def test_a_caption_is_found_wherever_it_stands(answer: str) -> None:
    text = read_answer(answer, ("long", "short"))
    assert (text.caption, text.short) == GOOD[answer]
    assert text.structured is None


BROKEN = [
    '{"caption": "A cat sits on a m',
    "{'caption': 'A cat.'}",
    '```json\n{"caption": "A cat.", "short": "Ca',
    'Here: {"caption": "A cat',
    '{"caption": "A cat.", "structured": {"text": "SALE"}, "sho',
    '{"text": "A cat."}',
    '{"caption": null}',
    '{"caption": ["A cat."]}',
    "{" * 5000,
    '{"a":' * 5000,
    '["A cat."',
    "<think>The user wants a caption, so",
    "{'caption': __import__('os').getcwd()}",
]


@pytest.mark.parametrize("answer", BROKEN)
def test_broken_json_is_no_caption(answer: str) -> None:
    with pytest.raises(UnusableAnswer, match="cut short"):
        read_answer(answer, ALL)


@pytest.mark.parametrize("answer", ["", " \n", '{"caption": " "}', "<think>hm</think>\n", "```\n```"])
def test_nothing_is_no_caption(answer: str) -> None:
    with pytest.raises(UnusableAnswer, match="empty"):
        read_answer(answer, ALL)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't assist with that request.",
        "I’m really sorry, I can’t help with identifying people.",
        "Sorry, I am not able to describe this video.",
        "I apologize, but the frames do not contain enough information.",
        "As an AI language model, I cannot watch videos.",
        "I am unable to view the images you mention.",
        "I cannot see any video. Please upload the video frames.",
        "Unable to process the video.",
        "No image was provided, so no description is possible.",
        "Unfortunately, I cannot provide a description of this content.",
        '{"caption": "I can\'t help with that.", "short": ""}',
    ],
)
def test_a_refusal_in_words_is_no_caption(answer: str) -> None:
    with pytest.raises(UnusableAnswer, match="refusals"):
        read_answer(answer, ALL)


@pytest.mark.parametrize(
    "caption",
    [
        "Sorry is written in red paint on a brick wall.",
        "A man is unable to open the jar.",
        "An AI conference: a speaker stands before a slide.",
        "No image is on the screen at first, then a logo fades in.",
        "Unable to stop, a skater falls into the snow.",
        "I-beams are lifted by a crane.",
        "I do not see a red car; I see a blue one.",
        "I cannot see a person in the video, only an empty street.",
        "This video shows a policeman who reads the rules.",
        "Désolation : une plaine sans arbres.",
    ],
)
def test_a_caption_that_sounds_alike_is_no_refusal(caption: str) -> None:
    assert read_answer(caption, ALL).caption == caption


@pytest.mark.parametrize(
    "answer",
    [
        "Es tut mir leid, aber ich kann dieses Video nicht beschreiben.",
        "Leider kann ich das Video nicht beschreiben.",
        "Lo siento, no puedo describir este video.",
        "Désolé, je ne peux pas décrire cette vidéo.",
        "Je suis désolée, mais je ne peux pas vous aider.",
        "对不起，我无法描述这个视频。",
        "很抱歉，我不能描述。",
        "申し訳ありませんが、この動画を説明できません。",
        "I must decline to describe this.",
        "Sorry, but that's not something I can help with.",
        "This content violates my guidelines.",
        "I don't see any video attached.",
        "I do not see enough to say.",
        "I don't have access to videos.",
        "Sure! Unfortunately, I cannot describe it.",
    ],
)
def test_refusals_come_in_many_tongues_and_manners(answer: str) -> None:
    with pytest.raises(UnusableAnswer, match="refusals"):
        read_answer(answer, ALL)


@pytest.mark.parametrize(
    "answer",
    [
        "Sure! Here is the description: A dog runs.",
        "Sure! A dog runs.",
        "Certainly, here's a short caption for the video:\n\nA dog runs.",
        "**Caption:** A dog runs.",
        "**Description**: A dog runs.",
        "Here is the caption:\n**Caption:** A dog runs.",
        "Caption: “A dog runs.”",
    ],
)
def test_what_announces_a_caption_is_left_out(answer: str) -> None:
    assert read_answer(answer, ("long",)).caption == "A dog runs."


def test_an_announcement_of_nothing_is_empty() -> None:
    with pytest.raises(UnusableAnswer, match="empty"):
        read_answer("Here is the description:", ("long",))


def test_structured_answers_are_json_that_utf8_can_hold() -> None:
    text = read_answer('{"caption": "x", "structured": {"a": "\\ud800é", "n": NaN, "k": [1, {"b": null}]}}', ALL)
    assert text.structured is not None
    assert json.loads(text.structured) == {"a": "\ufffdé", "n": None, "k": [1, {"b": None}]}
    assert "é" in text.structured
    for other in ('"text"', "[1]", "3", "{}"):
        assert read_answer(f'{{"caption": "x", "structured": {other}}}', ALL).structured is None


def test_styles_that_were_not_asked_for_are_not_taken() -> None:
    answer = '{"caption": "x", "short": "y", "structured": {"a": "b"}}'
    assert read_answer(answer, ("long",)) == CaptionText("x")
    assert read_answer(answer, ("long", "structured")) == CaptionText("x", structured='{"a": "b"}')


# The chain ------------------------------------------------------------------------------------------------------------


def test_a_failed_answer_leaves_the_clip_to_the_next_captioner(scripted_chat: Any) -> None:
    answers = {
        "a": '{"caption": "A cat.", "short": "Cat."}',
        "b": None,
        "c": '{"caption": "A c',
        "d": "I cannot\x1b see any video.",
        "e": Answer(None, "429"),
        "f": '{"caption": "A d',
    }
    chat = scripted_chat(lambda ask: answers[ask.key[0]])
    captioner = ChatCaptioner("openai", chat, "x\n", ("long", "short"), 2)
    rows = asyncio.run(caption_clips([clip(i, row={}) for i in answers], [captioner, _Bare()], 4000))
    assert [row["captioner"] for row in rows] == ["openai"] + ["bare"] * 5
    assert [row["captioner_fingerprint"] for row in rows] == [captioner.fingerprint] + ["bare-1"] * 5
    assert (rows[0]["caption"], rows[0]["caption_short"], rows[0]["caption_scope"]) == ("A cat.", "Cat.", "clip")
    assert captioner.warnings == [
        'openai: answers were cut short, or no JSON with a caption (2 ×), such as clip c: {"caption": "A c',
        "openai: answers were refusals (1 ×), such as clip d: I cannot see any video.",
    ]
    table = pa.Table.from_pylist(rows, schema=CAPTIONS.arrow)
    table.validate(full=True)
    assert all(list(row) == CAPTIONS.names for row in rows)


class _Bare:
    name = "bare"
    fingerprint = "bare-1"
    warnings = ()

    async def caption(self, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
        return [CaptionText("x") for _ in clips]


def test_the_recipe_makes_its_captioners(scripted_chat: Any) -> None:
    section = Captions(captioners=("openai", "frames+llm", "vlm", "describe")).model_dump(mode="json")
    section["chats"] = {name: Chat(stills=n).model_dump() for n, name in enumerate(("vlm", "openai", "llm"), 1)}
    chats = {name: scripted_chat(lambda ask: "x", name) for name in section["chats"]}
    made = make_captioners(section, chats.__getitem__)
    assert [c.name for c in made] == ["openai", "frames+llm", "vlm", "describe"]
    for captioner, name, stills in ((made[0], "openai", 2), (made[2], "vlm", 1)):
        said(captioner, [clip()])
        assert len(chats[name].asked[-1].stills) == stills
    assert made[0].fingerprint != made[2].fingerprint
    assert isinstance(made[3], DescribeCaptioner)
    assert make_rewriter(section, chats.__getitem__) is None


def test_models_are_made_only_when_a_captioner_needs_them() -> None:
    def never(name: str) -> Any:
        raise AssertionError(name)

    assert len(make_captioners(Captions().model_dump(mode="json"), never)) == 2
