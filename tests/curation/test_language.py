"""Languages of captions: short English is never called another language for sure; common languages are found."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys

import pytest

from curation.captioning.contract import ClipFacts
from curation.captioning.describe import DescribeCaptioner
from curation.captioning.language import LANGUAGES, MIN_LETTERS, detect_language
from curation.golden.captions_set import labelled_captions
from curation.golden.videos import catalogue

ENGLISH = [
    "A red circle moves to the right across a plain black background.",
    "Person walking.",
    "Sunset over Rio de Janeiro.",
    "Cooking pasta carbonara al dente in a trattoria.",
    "A karate master in Okinawa.",
    "A chef plates sushi.",
    "Festival parade, Rio",
    "GOLDEN NEWS",
    "Time-lapse, Tokyo skyline.",
    "Restaurant interior",
    "A portrait video clip.",
    "I'm sorry, but I cannot describe this video.",
]

OTHERS = {
    "de": "Eine Frau geht mit ihrem Hund am Strand spazieren.",
    "fr": "Une femme promène son chien sur la plage.",
    "es": "Una mujer pasea con su perro por la playa.",
    "it": "Una donna passeggia con il suo cane sulla spiaggia.",
    "pt": "Uma mulher passeia com o cão na praia.",
    "nl": "Een vrouw wandelt met haar hond op het strand.",
    "pl": "Kobieta spaceruje z psem po plaży.",
    "tr": "Bir kadın köpeğiyle sahilde yürüyor.",
    "vi": "Một người phụ nữ dắt chó đi dạo trên bãi biển.",
    "uk": "Жінка гуляє з собакою на пляжі.",
    "ja": "女性が海岸で犬を散歩させている。",
    "zh": "一位女士在海滩上遛狗。",
    "ko": "한 여성이 해변에서 개와 산책하고 있다.",
    "ar": "امرأة تمشي مع كلبها على الشاطئ.",
    "el": "Ένας κόκκινος κύκλος κινείται προς τα δεξιά.",
}


def dropped(text: str) -> bool:
    """What the default rule `caption_language` does."""
    language, score = detect_language(text)
    return language is not None and score is not None and language != "en" and score > 0.9


@pytest.mark.parametrize("text", ENGLISH)
def test_short_english_passes(text: str) -> None:
    assert not dropped(text)


@pytest.mark.parametrize("language", OTHERS)
def test_common_languages_are_found_and_dropped(language: str) -> None:
    assert detect_language(OTHERS[language])[0] == language
    assert dropped(OTHERS[language])


def test_what_describe_can_say_passes() -> None:
    values = {
        "motion": (0.1, 1.0, 5.0, 20.0, 90.0),
        "brightness": (0.05, 0.2, 0.5, 0.7, 0.9),
        "contrast": (0.1, 0.4, 0.8, None),
        "colourfulness": (2.0, 10.0, 20.0, 40.0, 70.0, 90.0),
        "sharpness": (0.05, 0.2, None),
    }
    clips = []
    for i, row in enumerate(itertools.product(*values.values())):
        camera = ("static", "pan", "tilt", "zoom", "roll", "shake", None)[i % 7]
        size = ((1920, 1080), (1080, 1920), (720, 720))[i % 3]
        facts = dict(zip(values, row, strict=True)) | {"camera_motion": camera, "width": size[0], "height": size[1]}
        facts |= {"duration_s": 0.4 + i % 50} | ({"text_area": 0.1, "static_share": 0.7} if i % 4 == 0 else {})
        clips.append(ClipFacts(str(i), "", "", None, facts, []))
    bare = ClipFacts("bare", "", "", None, {}, [])
    texts = asyncio.run(DescribeCaptioner().caption([*clips, bare]))
    said = [text for caption in texts if caption is not None for text in (caption.caption, caption.short or "")]
    assert len(said) == 2 * len(clips) + 2
    assert [text for text in said if dropped(text)] == []


def test_captions_of_golden_videos_and_right_ones_pass() -> None:
    golden = [video.caption for video in catalogue() if video.caption]
    right = [labelled.caption for labelled in labelled_captions() if labelled.right]
    assert len(golden) > 100
    assert [text for text in (*golden, *right) if dropped(text)] == []


@pytest.mark.parametrize("text", [None, "", "A man.", "12:30", "你好", "🎉🎉🎉 100%", "..."])
def test_too_little_text_is_null(text: str | None) -> None:
    assert detect_language(text) == (None, None)


def test_letters_of_scripts_without_an_alphabet_count_twice() -> None:
    assert MIN_LETTERS == 8
    assert detect_language("赤い円が")[0] == "ja"
    assert detect_language("abcdefg") == (None, None)


def test_codes_are_those_of_iso_639_1_and_the_score_is_a_share() -> None:
    assert len(set(LANGUAGES)) == len(LANGUAGES)
    assert all(len(code) == 2 for code in LANGUAGES)
    for text in (*ENGLISH, *OTHERS.values()):
        language, score = detect_language(text)
        assert language in LANGUAGES
        assert score is not None
        assert 0 < score <= 1
        assert score == round(score, 4)
        assert detect_language(text) == (language, score)


def test_half_surrogates_and_long_texts_do_no_harm() -> None:
    assert detect_language("A man walks along the road \ud83d and waves.")[0] == "en"
    assert detect_language("A man walks along the road. " * 2000)[0] == "en"


def test_importing_costs_nothing() -> None:
    """The model is read with the first text, for most processes never ask."""
    code = "import sys, curation.captioning.language; sys.exit('py3langid' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
