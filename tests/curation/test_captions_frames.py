"""Stills captioned one by one, then merged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from curation.captioning.contract import CaptionText, ClipFacts, StillRef
from curation.captioning.frames_captioner import FramesCaptioner
from schemas.chat import Answer, Ask

ROW = {"duration_s": 4.0, "fps": 25.0, "start_frame": 100}


def clip(clip_id: str, stills: int = 2, row: dict[str, Any] = ROW) -> ClipFacts:
    refs = [StillRef(125 + 50 * i, lambda i=i: b"%d" % i) for i in range(stills)]  # type: ignore[misc]
    return ClipFacts(clip_id, clip_id, clip_id, None, row, refs)


def said(captioner: FramesCaptioner, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
    return asyncio.run(captioner.caption(clips))


def test_stills_one_by_one_then_one_merger_per_clip(scripted_chat: Any) -> None:
    vision = scripted_chat(lambda ask: f"Caption: seen {ask.key} {{duration}}.")
    language = scripted_chat(lambda ask: f'{{"caption": "All of {ask.key}.", "short": "Short."}}')
    captioner = FramesCaptioner(
        vision, language, "One still.\n", "Merge {stills} of {duration} s:\n{frames}\nEnd.\n", ("long", "short"), 8
    )
    texts = said(captioner, [clip("a"), clip("b", 1)])
    assert texts == [CaptionText("All of a.", "Short."), CaptionText("All of b.", "Short.")]
    assert [ask.key for ask in vision.asked] == ["a:125", "a:175", "b:125"]
    assert all(len(ask.stills) == 1 and not ask.want_json for ask in vision.asked)
    first, second = language.asked
    # What the stills are said to show is not filled in again.
    assert first.prompt.startswith(
        "Merge 2 of 4 s:\nAt 1.0 s: seen a:125 {duration}.\nAt 3.0 s: seen a:175 {duration}.\nEnd.\n\nAnswer with one JSON"
    )
    assert second.prompt.startswith("Merge 1 of 4 s:\nAt 1.0 s: seen b:125")
    assert not first.stills
    assert first.want_json
    assert captioner.warnings == []


def test_stills_without_an_answer_are_left_out(scripted_chat: Any) -> None:
    answers: dict[str, str | Answer | None] = {
        "a:125": None,
        "a:175": "A dog.",
        "b:125": "I'm sorry, I can't help with that.",
        "b:175": Answer(None, "timed out"),
        "c:125": "A cat.",
        "c:175": " ",
    }
    vision = scripted_chat(lambda ask: answers[ask.key])
    language = scripted_chat(lambda ask: "Merged." if "A dog." in ask.prompt else None)
    captioner = FramesCaptioner(vision, language, "x\n", "merge\n", ("long",), 8)
    texts = said(captioner, [clip("a"), clip("b"), clip("c"), clip("d", 0)])
    assert texts == [CaptionText("Merged."), None, None, None]
    assert [ask.key for ask in language.asked] == ["a", "c"]
    assert language.asked[0].prompt.startswith("merge\n\nAt 3.0 s: A dog.\n\n")
    assert len(captioner.warnings) == 2


def test_at_most_so_many_stills_are_described(scripted_chat: Any) -> None:
    vision = scripted_chat(lambda ask: "Seen.")
    captioner = FramesCaptioner(vision, scripted_chat(lambda ask: "x"), "x\n", "merge\n", ("long",), 3)
    said(captioner, [clip("a", 9, {})])
    assert [ask.key for ask in vision.asked] == ["a:175", "a:325", "a:475"]


def test_a_still_without_a_rate_is_named_by_its_frame(scripted_chat: Any) -> None:
    language = scripted_chat(lambda ask: "x")
    said(
        FramesCaptioner(scripted_chat(lambda ask: "Seen."), language, "x\n", "merge\n", ("long",), 1),
        [clip("a", 1, {})],
    )
    assert "Frame 125: Seen." in language.asked[0].prompt


def test_the_fingerprint_follows_models_prompts_and_styles(scripted_chat: Any) -> None:
    def mark(vision: str = "v", language: str = "l", frame: str = "f", merge: str = "m", stills: int = 2) -> str:
        def chat(name: str) -> Any:
            return scripted_chat(lambda ask: "x", name)

        return FramesCaptioner(chat(vision), chat(language), frame, merge, ("long",), stills).fingerprint

    marks = {mark(), mark(vision="w"), mark(language="k"), mark(frame="g"), mark(merge="n"), mark(stills=3)}
    assert len(marks) == 6


def test_the_embedded_prompts_fit(scripted_chat: Any) -> None:
    from curation.captioning.prompts import load_prompt

    asked: list[Ask] = []
    vision, language = (scripted_chat(lambda ask: asked.append(ask) or "Seen.") for _ in range(2))
    said(FramesCaptioner(vision, language, load_prompt("frame"), load_prompt("merge"), ("long",), 2), [clip("a")])
    assert not any("{" in ask.prompt for ask in asked)
    assert "At 1.0 s: Seen.\nAt 3.0 s: Seen." in asked[-1].prompt
