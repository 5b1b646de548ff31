"""Right and wrong captions of golden clips, and what each part of the gate makes of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pyarrow as pa
import pytest

from curation.captioning.contract import ClipFacts, StillRef
from curation.captioning.dsg import Dsg
from curation.captioning.language import detect_language
from curation.captioning.prompts import load_prompt
from curation.captioning.text import measure_text
from curation.golden.captions_set import (
    HALLUCINATED,
    RIGHT_KINDS,
    WRONG_KINDS,
    LabelledCaption,
    clip_truths,
    labelled_captions,
)
from curation.golden.scripted_models import ScriptedLanguage, ScriptedVision, chance, is_shown, noun_phrases
from curation.rules import apply_rules
from schemas.recipe import Judge
from schemas.tables import CAPTIONS, CHECKS

CAPTIONS_OF_24 = labelled_captions(shapes=24)


def test_every_clip_has_every_kind_once_and_the_same_seed_gives_the_same() -> None:
    kinds = [*RIGHT_KINDS, *WRONG_KINDS]
    assert [c.kind for c in CAPTIONS_OF_24] == kinds * len(clip_truths(shapes=24))
    assert all(c.right == (c.kind in RIGHT_KINDS) for c in CAPTIONS_OF_24)
    assert labelled_captions(shapes=24) == CAPTIONS_OF_24
    assert labelled_captions(seed=1, shapes=24) != CAPTIONS_OF_24
    assert len(clip_truths(shapes=24)) == 24 + 4


def test_right_captions_name_only_what_is_shown_and_wrong_things_are_not_shown() -> None:
    for labelled in CAPTIONS_OF_24:
        shown = [is_shown(labelled.clip, phrase) for phrase in noun_phrases(labelled.caption)]
        if labelled.right:
            assert all(shown), labelled
        elif labelled.kind in HALLUCINATED:
            assert not all(shown), labelled


def test_wrong_captions_differ_from_the_plain_one() -> None:
    for clip in clip_truths(shapes=24):
        of_clip = {c.kind: c.caption for c in CAPTIONS_OF_24 if c.clip == clip}
        assert of_clip["plain"] not in [text for kind, text in of_clip.items() if kind != "plain"]


def gate(captions: list[LabelledCaption], wrong: float = 0.0) -> dict[str, list[set[str]]]:
    """Kind → names of the default rules that drop each caption."""
    vision = ScriptedVision(clip_truths(shapes=24), wrong)
    dsg = Dsg(ScriptedLanguage(), vision, load_prompt("dsg_questions"), load_prompt("dsg_answers"), 4)
    facts = [
        ClipFacts(c.clip.video, "", "", None, {}, [StillRef(frame, lambda: b"") for frame in range(4)])
        for c in captions
    ]
    said = asyncio.run(dsg.examine(facts, [c.caption for c in captions]))
    rows: list[dict[str, Any]] = []
    for labelled, found in zip(captions, said, strict=True):
        measured = measure_text(labelled.caption)
        language, score = detect_language(labelled.caption)
        rows.append(
            {
                "caption": labelled.caption or None,
                "caption_words": measured.words,
                "caption_repetition": measured.repetition,
                "caption_script": measured.script,
                "caption_script_share": measured.script_share,
                "caption_language": language,
                "caption_language_score": score,
                **found,
            }
        )
    schema = pa.schema([*CAPTIONS.arrow, *(field for field in CHECKS.arrow if field.name != "clip_id")])
    verdicts = apply_rules(pa.Table.from_pylist(rows, schema), Judge().rules)
    by_kind: dict[str, list[set[str]]] = {}
    for labelled, names in zip(captions, verdicts.all, strict=True):
        by_kind.setdefault(labelled.kind, []).append(set(names))
    return by_kind


@pytest.fixture(scope="module")
def dropped() -> dict[str, list[set[str]]]:
    return gate(CAPTIONS_OF_24)


@pytest.mark.parametrize("kind", RIGHT_KINDS)
def test_no_right_caption_is_dropped(dropped: dict[str, list[set[str]]], kind: str) -> None:
    assert dropped[kind] == [set()] * len(dropped[kind])


@pytest.mark.parametrize("kind", HALLUCINATED)
def test_what_is_not_shown_is_found_by_dsg_alone(dropped: dict[str, list[set[str]]], kind: str) -> None:
    assert dropped[kind] == [{"hallucinated"}] * len(dropped[kind])


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("repetition", 1.0),
        ("refusal", 1.0),
        ("boilerplate", 1.0),
        ("cut_short", 1.0),
        ("mixed_language", 1.0),
        ("language", 0.9),
    ],
)
def test_bad_texts_are_found_by_rules_without_a_model(
    dropped: dict[str, list[set[str]]], kind: str, least: float
) -> None:
    found = [bool(names - {"hallucinated"}) for names in dropped[kind]]
    assert sum(found) >= least * len(found)


def test_a_wrong_direction_passes_for_no_still_shows_it(dropped: dict[str, list[set[str]]]) -> None:
    """What the gate cannot do is said, and a change of that should be noticed."""
    assert dropped["direction_swapped"] == [set()] * len(dropped["direction_swapped"])


def test_errors_of_the_vision_model_cost_recall() -> None:
    swapped = [c for c in CAPTIONS_OF_24 if c.kind == "colour_swapped"]
    found = gate(swapped, wrong=0.3)["colour_swapped"]
    share = sum("hallucinated" in names for names in found) / len(found)
    # Seen on none of four stills: 0.7⁴ = 0.24 of the shapes; the ground is wrongly missed on all four in 0.8 %.
    assert 0.05 < share < 0.5


def test_scripted_errors_follow_seed_and_question_alone() -> None:
    draws = [chance(0, "x", i) for i in range(4000)]
    assert draws == [chance(0, "x", i) for i in range(4000)]
    assert all(0 <= d < 1 for d in draws)
    assert sum(d < 0.1 for d in draws) / 4000 == pytest.approx(0.1, abs=0.02)
    assert draws[:10] != [chance(1, "x", i) for i in range(10)]
