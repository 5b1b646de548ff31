"""Cleaning and measuring texts."""

from __future__ import annotations

import unicodedata

import pytest

from curation.captioning.text import clean_text, cut_at_word, measure_text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("...!?", 0),
        ("A red car", 3),
        ("Don't stop", 2),
        ("the dogs' tails", 3),
        ("It’s 5 o’clock", 3),
        ("snake_case and kebab-case", 5),
        ("12 cats, 3.5 km", 5),
        ("cafe\u0301 closed", 2),
        ("東京タワー", 5),
        ("東京 Tower 2024年", 5),
        ("한국어 문장", 2),
        ("नमस्ते दुनिया", 2),
        ("বাংলা ভাষা", 2),
        ("ﬁne Ｗide", 2),
    ],
)
def test_words(text: str, words: int) -> None:
    assert measure_text(text).words == words


@pytest.mark.parametrize(
    ("text", "script", "share"),
    [
        ("A red car, 1999", "latin", 1.0),
        ("Красная машина", "cyrillic", 1.0),
        ("Κόκκινο αυτοκίνητο", "greek", 1.0),
        ("北京的夜景", "han", 1.0),
        ("东京の夜景非常美丽而且明亮", "han", 1.0),
        ("東京タワーの夜景が美しい", "japanese", 1.0),
        ("ｶﾀｶﾅ", "japanese", 1.0),
        ("빨간 자동차", "hangul", 1.0),
        ("سيارة حمراء", "arabic", 1.0),
        ("מכונית אדומה", "hebrew", 1.0),
        ("लाल गाड़ी", "devanagari", 1.0),
        ("รถสีแดง", "thai", 1.0),
        ("𝓗𝓮𝓵𝓵𝓸 Ｗide 2ª", "latin", 1.0),
        ("abc где", "cyrillic", 0.5),
        ("abcd где", "latin", 4 / 7),
        ("123 !?", None, None),
        ("", None, None),
    ],
)
def test_script(text: str, script: str | None, share: float | None) -> None:
    measured = measure_text(text)
    assert measured.script == script
    assert measured.script_share == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "repetition"),
    [
        ("no no no", 0.0),
        ("a b c d e f", 0.0),
        ("a b c a b c", 1 / 4),
        ("dog dog dog dog dog", 2 / 3),
        ("Dog, dog. DOG! dog?", 1 / 2),
        ("A cat sits here. A cat sits here.", 1 / 2),
        ("A cat sits here. Then it goes. A CAT sits here!", 4 / 11),
        ("Pan left. Zoom out. Pan left. Zoom in.", 1 / 6),
        ("It is 3.5 km long and 3.5 km wide.", 1 / 9),
        ("红红红红红", 2 / 3),
        ("", 0.0),
    ],
)
def test_repetition(text: str, repetition: float) -> None:
    assert measure_text(text).repetition == pytest.approx(repetition)


def test_nothing_measured_of_nothing() -> None:
    assert measure_text(None) == (0, 0.0, None, None)


def test_cleaning_gives_one_paragraph() -> None:
    assert clean_text("  A\tred \r\n\r\n car\u00a0\u2003here\x00now \ufeff\u200b ") == "A red car here now"
    assert clean_text("\n \t") == ""


def test_cleaning_leaves_joiners_and_mends_half_surrogates() -> None:
    assert clean_text("👩\u200d🚀 ok") == "👩\u200d🚀 ok"
    cleaned = clean_text("a\ud800b")
    assert cleaned == "a\ufffdb"
    assert cleaned.encode()


def test_cutting_keeps_whole_words() -> None:
    text = "a red car drives on"
    assert cut_at_word(text, 100) == text
    assert cut_at_word(text, len(text)) == text
    assert cut_at_word(text, 9) == "a red car"
    assert cut_at_word(text, 12) == "a red car"
    assert cut_at_word("a, b", 2) == "a,"


def test_cutting_a_script_without_blanks_fills_the_limit() -> None:
    assert cut_at_word("東京タワーの夜景", 4) == "東京タワ"
    assert cut_at_word("At 東京タワーの夜景が美しい", 10) == "At 東京タワーの夜"
    cut = cut_at_word("e\u0301" * 5, 5)
    assert cut == "e\u0301" * 2
    assert not unicodedata.combining(cut_at_word("e\u0301\u0302\u0303", 2)[0])
