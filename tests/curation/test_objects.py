"""Words of a caption that may name things, and the word lists behind them."""

from __future__ import annotations

import pytest

from curation.captioning.objects import object_words, singular
from curation.captioning.wordlists import word_lines, word_set
from curation.golden.captions_set import labelled_captions


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("", ""),
        ("A red circle moves to the right across a plain black background.", "circle"),
        ("Person walking.", "person"),
        (
            "A brown dog runs along a wide beach while two children throw a ball into the sea.",
            "dog beach child ball sea",
        ),
        ("Several vehicles drive down a busy city street, their headlights glowing.", "vehicle city street headlight"),
        ("The man's T-shirt and the snow-covered houses.", "man shirt snow house"),
        ("A woman in a yellow dress is slowly painting a building.", "woman dress painting building"),
        ("It is dark, quiet and much bigger than before; nobody knows why.", ""),
        ("The camera pans while the view becomes increasingly blurry.", ""),
        ("A CHEF’S KNIVES", "chef knife"),
        ("Three dogs and another dog.", "dog dog"),
        ("A gizmotron beside a flurb.", "gizmotron flurb"),
        ("Warships, prisms, ambulances and butterflies", "warship prism ambulance butterfly"),
        ("Un perro corre", "un perro corre"),
        ("3 cats, 2nd floor, x y", "cat nd floor"),
    ],
)
def test_object_words(text: str, things: str) -> None:
    assert object_words(text) == things.split()


@pytest.mark.parametrize(
    ("word", "one"),
    [
        ("dogs", "dog"),
        ("women", "woman"),
        ("people", "person"),
        ("leaves", "leaf"),
        ("bodies", "body"),
        ("movies", "movie"),
        ("boxes", "box"),
        ("churches", "church"),
        ("horses", "horse"),
        ("houses", "house"),
        ("tomatoes", "tomato"),
        ("shoes", "shoe"),
        ("buses", "bus"),
        ("grass", "grass"),
        ("cactus", "cactus"),
        ("tennis", "tennis"),
        ("sunglasses", "sunglasses"),
        ("glasses", "glass"),
        ("gas", "gas"),
        ("is", "is"),
    ],
)
def test_singular(word: str, one: str) -> None:
    assert singular(word) == one
    assert singular(one) == one


def test_things_are_things_and_the_other_lists_are_not() -> None:
    wrong = [word for word in word_set("things") if object_words(word) != [singular(word)]]
    assert wrong == []
    for name in ("function", "verbs", "adjectives", "colours", "abstract", "past"):
        spoken = [word for word in word_set(name) if object_words(word) and word not in word_set("things")]
        assert [word for word in spoken if "-" not in word and "'" not in word] == [], name


def test_verbs_are_known_in_all_their_forms() -> None:
    assert object_words("walks walked walking carries carried carrying goes going passes passing flies") == []


def test_lists_are_plain_lower_case_words() -> None:
    for name in "abstract adjectives categories colours directions e_nouns either function numbers past same singulars things verbs".split():
        words = word_set(name)
        assert words, name
        assert all(word == word.lower() and word.isascii() for word in words), name
    assert all(len(line) == 2 for line in word_lines("singulars"))


def test_right_captions_of_golden_clips_name_shape_and_ground_only() -> None:
    known = {"circle", "square", "triangle", "wall", "animation"}
    for labelled in labelled_captions(shapes=24):
        if labelled.right:
            words = set(object_words(labelled.caption))
            assert labelled.clip.shape in words, labelled.caption
            assert words <= known, labelled.caption


def test_things_that_look_like_verbs_are_things_and_a_lot_is_none() -> None:
    found = object_words("A lot of doves, a dove, a saw, a match, saplings and their offspring.")
    assert found == ["dove", "dove", "saw", "match", "sapling", "offspring"]
