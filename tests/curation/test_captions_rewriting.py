"""Captions in other words: shorter is welcome, another object is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from curation.captioning.additions import added_words
from curation.captioning.contract import CaptionText, ClipFacts, caption_clips
from curation.captioning.prompts import load_prompt
from curation.captioning.rewriting import Rewriter
from schemas.chat import Answer

CAPTION = "A brown dog runs along a wide beach while two children throw a ball into the sea."


def rewritten(chat: Any, captions: Sequence[str], prompt: str = "Shorten: {caption}\n") -> tuple[list[str | None], Any]:
    rewriter = Rewriter(chat, prompt)
    return asyncio.run(rewriter.rewrite(captions, [f"c{i}" for i in range(len(captions))])), rewriter


@pytest.mark.parametrize(
    "rewrite",
    [
        "A dog runs along a beach.",
        "Two children throw a ball into the sea; a brown dog is running on the beach.",
        "In this video a child throws a ball, and the camera shows dogs in the background.",
        "The clip begins with a quick, happy dog moving through the picture.",
        "",
    ],
)
def test_the_same_things_in_other_words_are_no_addition(rewrite: str) -> None:
    assert added_words(CAPTION, rewrite) == []


@pytest.mark.parametrize(
    ("rewrite", "added"),
    [
        ("A dog and a cat run along the beach.", ["cat"]),
        ("A dog runs along a beach with a kite, and kites fly over the pier.", ["kite", "pier"]),
        ("A labrador runs.", ["labrador"]),
        ("Children throw a ball from a boat.", ["boat"]),
        ("Zwei Kinder.", ["zwei", "kinder"]),
        ("A dog is moving to the left.", ["left"]),
    ],
)
def test_another_thing_is_an_addition(rewrite: str, added: list[str]) -> None:
    assert added_words(CAPTION, rewrite) == added


def test_a_shorter_caption_is_taken(scripted_chat: Any) -> None:
    chat = scripted_chat(lambda ask: "Caption: A dog runs along a beach.")
    texts, rewriter = rewritten(chat, [CAPTION])
    assert texts == ["A dog runs along a beach."]
    assert chat.asked[0].prompt.startswith(f"Shorten: {CAPTION}\n\nAnswer with")
    assert not chat.asked[0].stills
    assert rewriter.warnings == []


def test_an_added_object_refuses_the_rewrite_and_is_counted(scripted_chat: Any) -> None:
    answers = iter(["A dog runs with a kite.", "A dog and a boat.", "A beach."])
    texts, rewriter = rewritten(scripted_chat(lambda ask: next(answers)), [CAPTION, CAPTION + " 2", CAPTION + " 3"])
    assert texts == [None, None, "A beach."]
    assert rewriter.warnings == [
        "rewrite: rewrites were refused for what they add (2 ×), such as kite in: A dog runs with a kite."
    ]


def test_refusals_and_failures_leave_the_caption(scripted_chat: Any) -> None:
    answers = iter(["I'm sorry, I can't help with that.", None, Answer(None, "500"), " "])
    texts, rewriter = rewritten(scripted_chat(lambda ask: next(answers)), ["a dog", "b dog", "c dog", "d dog"])
    assert texts == [None] * 4
    assert [w.partition(",")[0] for w in rewriter.warnings] == [
        "rewrite: answers were refusals",
        "rewrite: answers were empty",
    ]


def test_equal_captions_are_asked_about_once(scripted_chat: Any) -> None:
    chat = scripted_chat(lambda ask: "a dog")
    assert rewritten(chat, ["a dog runs", "a dog", "a dog runs"])[0] == ["a dog"] * 3
    assert len(chat.asked) == 2


def test_the_caption_is_put_into_the_prompt_once(scripted_chat: Any) -> None:
    chat = scripted_chat(lambda ask: None)
    rewritten(chat, ["a {caption} b"], "Do it.\n")
    assert chat.asked[0].prompt.startswith("Do it.\n\na {caption} b\n\n")
    rewritten(chat, ["a dog"], load_prompt("rewrite"))
    assert chat.asked[1].prompt.count("a dog") == 1
    assert "{" not in chat.asked[1].prompt


class _Given:
    name = "given"
    fingerprint = "given-1"
    warnings = ()

    async def caption(self, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
        return [CaptionText(c.manifest_caption, "short") if c.manifest_caption else None for c in clips]


def test_rows_hold_the_rewrite_and_the_original(scripted_chat: Any) -> None:
    answers = {"a dog runs fast": "a dog runs", "a cat": "a cat and a mouse", "same": "same"}
    chat = scripted_chat(lambda ask: next(v for k, v in answers.items() if f": {k}\n" in ask.prompt))
    clips = [ClipFacts(str(i), "x", "x", text, {}, []) for i, text in enumerate([*answers, None])]
    rows = asyncio.run(caption_clips(clips, [_Given()], 4000, Rewriter(chat, "Shorten: {caption}\n")))
    assert [row["caption"] for row in rows] == ["a dog runs", "a cat", "same", None]
    assert [row["caption_original"] for row in rows] == ["a dog runs fast", None, None, None]
    assert [row["caption_words"] for row in rows] == [3, 2, 1, 0]
    assert [row["caption_short"] for row in rows] == ["short", "short", "short", None]
    assert [row["captioner_fingerprint"] for row in rows] == ["given-1"] * 3 + [None]
    assert len(chat.asked) == 3


class _Styled:
    """Says short and structured texts, too: of each clip its side-car holds `short|structured`."""

    name = "styled"
    fingerprint = "styled-1"
    warnings = ()

    async def caption(self, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
        parts = [(clip.manifest_caption or "").split("|") for clip in clips]
        return [CaptionText("A brown dog runs along a beach.", short, structured) for short, structured in parts]


def styled(scripted_chat: Any, answer: str | None, *texts: str) -> tuple[list[tuple[Any, Any, bool]], Rewriter]:
    rewriter = Rewriter(scripted_chat(lambda ask: answer), "Shorten: {caption}\n")
    clips = [ClipFacts(str(i), "x", "x", text, {}, []) for i, text in enumerate(texts)]
    rows = asyncio.run(caption_clips(clips, [_Styled()], 4000, rewriter))
    return [
        (row["caption_short"], row["caption_structured"], row["caption_original"] is not None) for row in rows
    ], rewriter


TRUE, FALSE = '{"subjects": ["a brown dog"], "setting": {"place": "beach"}}', '{"subjects": ["a dog", "two kites"]}'


def test_with_a_rewrite_the_short_and_the_structured_text_may_add_nothing_either(scripted_chat: Any) -> None:
    texts = (f"A brown dog.|{TRUE}", f"A dog with a kite.|{TRUE}", f"A black dog.|{FALSE}", "A dog.|{broken cat")
    found, rewriter = styled(scripted_chat, "A dog runs.", *texts)
    # Held to the caption as it was, not to the rewrite: the colour is true.
    assert found == [("A brown dog.", TRUE, True), (None, TRUE, True), (None, None, True), ("A dog.", None, True)]
    (text,) = rewriter.warnings
    assert text.startswith("rewrite: short or structured texts were left out for what they add (4 ×), such as kite in:")


@pytest.mark.parametrize("answer", [None, "A dog with a kite.", "A brown dog runs along a beach."])
def test_without_a_rewrite_they_stay(scripted_chat: Any, answer: str | None) -> None:
    found, rewriter = styled(scripted_chat, answer, f"A dog with a kite.|{FALSE}")
    assert found == [("A dog with a kite.", FALSE, False)]
    assert not any("short or structured" in text for text in rewriter.warnings)
