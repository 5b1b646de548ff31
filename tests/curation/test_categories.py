"""Categories of captions: keywords in order of evidence, and a language model that is held to the list."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from curation.captioning.categories import (
    CATEGORIES,
    MOST,
    ChatCategories,
    _keywords,
    categories_by_rules,
    category_columns,
)
from curation.captioning.objects import singular
from curation.captioning.prompts import load_prompt
from curation.captioning.wordlists import word_lines
from curation.golden.captions_set import labelled_captions
from curation.golden.categories_set import LABELLED
from schemas.tables import CHECKS


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("A red circle moves to the right across a plain black background.", "shapes"),
        ("A woman walks her dog along the beach at sunset.", "people animals water sky"),
        ("Cars drive over a bridge at night past city lights.", "city vehicles"),
        ("Two dogs and a cat chase a ball; a man looks on.", "animals people"),
        ("A band plays guitar and drums on a stage.", "performance"),
        ("A chef fries an onion in a frying pan.", "food people"),
        ("People are skiing down a snowy mountain.", "people sport nature"),
        ("Gameplay of Minecraft", "animation"),
        ("A traffic light turns green.", "city"),
        ("There are no people, only mountains without any snow.", "nature"),
        ("A landscape video clip of about 6 seconds. The camera pans.", ""),
        ("A portrait video of a painter.", "art"),
        ("A painted portrait of a king.", "art"),
        ("A DOCTOR’S MICROSCOPE", "science"),
        ("The square is full of people.", "city people"),
        ("In the town square, pigeons.", "city animals"),
        ("A large square with a fountain.", "city water"),
        ("A square moves to the left.", "shapes"),
        ("A man holds a red square.", "people shapes"),
        ("A beach devoid of people.", "water"),
        ("A street without cars or people.", "city"),
        ("No cars or people on the beach.", "water"),
        ("A room with no windows, doors or furniture; a man sits.", "indoors people"),
        ("A field free of snow and trees.", "nature"),
        ("Neither cars nor people, only a dog.", "animals"),
        ("There aren't any boats on the lake.", "water"),
        ("A lake with no sign of boats.", "water"),
        # Where a denial ends.
        ("A street without cars, and people walk.", "city people"),
        ("A street without cars and a man walks.", "city people"),
        ("A woman without a hat walks her dog.", "people animals"),
        ("Not the dog but a cat.", "animals"),
        ("Something happens.", ""),
        ("", ""),
        ("Ein Kreis bewegt sich.", ""),
    ],
)
def test_categories_by_rules(caption: str, found: str) -> None:
    assert categories_by_rules(caption) == found.split()


def test_keywords_are_looked_for_in_english_only() -> None:
    caption = "Eine Frau im roten Rock."
    assert categories_by_rules(caption, "de", 0.97) == []
    for language, score in ((None, None), ("en", 0.99), ("de", 0.89)):
        assert categories_by_rules(caption, language, score) == ["nature"]


def test_one_category_more_evidence_comes_first_and_ties_go_by_place() -> None:
    assert categories_by_rules("A horse in a kitchen.") == ["animals", "indoors", "food"]
    assert categories_by_rules("A kitchen with a horse.")[-1] == "animals"
    assert categories_by_rules("A kitchen with a horse and a dog.")[0] == "animals"
    assert categories_by_rules("dog dog dog dog, a pizza with soup")[0] == "food"  # different words, not repeats


def test_a_caption_of_everything_has_only_the_strongest() -> None:
    everything = (
        "A man, a dog, a tree, the sea, a cloud, a street, a sofa, a car, a pizza, football, a violin, a crane."
    )
    assert len(categories_by_rules(everything)) == MOST


def test_keywords_are_singular_and_every_category_has_some() -> None:
    assert [line[0] for line in word_lines("categories")] == list(CATEGORIES)
    assert all(len(line) > 12 for line in word_lines("categories"))
    assert [w for w in _keywords() if "_" not in w and singular(w) != w] == []
    assert 16 <= len(CATEGORIES) <= 20


def test_golden_captions_are_about_shapes() -> None:
    for labelled in labelled_captions(shapes=12):
        if labelled.right and labelled.kind != "long":
            assert categories_by_rules(labelled.caption)[0] == "shapes"


def test_hand_written_captions_of_every_category_are_mostly_told_right() -> None:
    """The numbers that the documentation states."""
    assert list(LABELLED) == list(CATEGORIES)
    found = [(categories_by_rules(text), name) for name, texts in LABELLED.items() for text in texts]
    told = [(categories[0], name) for categories, name in found if categories]
    assert (len(found), len(told), sum(category == name for category, name in told)) == (90, 83, 81)


def test_columns_are_those_of_the_table() -> None:
    names = {name for name in CHECKS.names if name.startswith("categor")}
    assert set(category_columns(["food"], "rules")) == names
    assert category_columns([], "rules") == {"category": None, "categories": [], "category_source": "rules"}
    assert set(category_columns(None, "rules").values()) == {None}


# By a language model ----------------------------------------------------------------------------------------------------


def chosen(scripted_chat: Any, answer: Any, caption: str = "A dog.") -> tuple[dict[str, Any], Any, Any]:
    chat = scripted_chat(lambda ask: answer)
    asker = ChatCategories(chat, load_prompt("categories"))
    (row,) = asyncio.run(asker.categorise(["c1"], [caption]))
    return row, chat, asker


@pytest.mark.parametrize(
    "answer",
    [
        '{"categories": ["food", "indoors"]}',
        '```json\n{"categories": ["Food", " indoors ", "food"]}\n```',
        '["food", "indoors"]',
        "food, indoors",
        "- food\n- indoors",
        '{"categories": ["food", "cooking show", "indoors"]}',
        "<think>animals?</think> food, indoors",
    ],
)
def test_answers_are_read_and_held_to_the_list(scripted_chat: Any, answer: str) -> None:
    row, _, asker = chosen(scripted_chat, answer)
    assert row == {"category": "food", "categories": ["food", "indoors"], "category_source": "scripted"}
    assert bool(asker.warnings) == ("cooking" in answer)


@pytest.mark.parametrize(
    "answer", ["", "I cannot say.", '{"categories": ["pets"]}', '{"categories": []}', "[1, 2]", None]
)
def test_without_a_category_of_the_list_the_rules_take_over(scripted_chat: Any, answer: str | None) -> None:
    row, _, _ = chosen(scripted_chat, answer)
    assert row == {"category": "animals", "categories": ["animals"], "category_source": "rules"}


def test_the_question_holds_the_list_and_the_caption_and_equal_ones_are_asked_once(scripted_chat: Any) -> None:
    chat = scripted_chat(lambda ask: '{"categories": ["food"]}')
    asker = ChatCategories(chat, load_prompt("categories"))
    rows = asyncio.run(asker.categorise(["a", "b", "c", "d"], ["A {caption} dog.", None, "A {caption} dog.", ""]))
    assert [ask.key for ask in chat.asked] == ["a"]
    assert all(f"- {name}: " in chat.asked[0].prompt for name in CATEGORIES)
    assert "Caption: A {caption} dog." in chat.asked[0].prompt
    assert [row["category"] for row in rows] == ["food", None, "food", None]
    assert rows[1]["category_source"] is None


def test_a_prompt_without_places_gets_both(scripted_chat: Any) -> None:
    chat = scripted_chat(lambda ask: "food")
    asyncio.run(ChatCategories(chat, "Choose well.\n").categorise(["a"], ["A dog."]))
    assert chat.asked[0].prompt.startswith("Choose well.\n\n- people: ")
    assert "\n\nA dog.\n\nAnswer" in chat.asked[0].prompt
