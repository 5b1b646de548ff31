"""Which sentences speak of an object: by its full name, or by its head noun alone."""

from __future__ import annotations

import pytest

from curation.captioning.mentions import Sentence, sentences_of, stems


def speaking(names: list[str], *sentences: str) -> list[set[int]]:
    return sentences_of(names, [Sentence.of(sentence) for sentence in sentences])


@pytest.mark.parametrize(
    ("sentence", "speaks"),
    [
        ("A brown dog runs.", True),
        ("The brown dog's tail wags.", True),
        ("The dog barks.", True),
        ("Dogs!", True),
        ("He feeds his dog.", True),
        ("The big brown dog.", True),
        ("A white dog.", False),
        ("A toy dog.", False),
        ("A sleeping dog.", False),
        ("Another dog.", False),
        ("No dog.", False),
        ("A white dog chases the dog.", True),
        ("A brown cat.", False),
        ("It barks.", False),
        ("A dogma.", False),
    ],
)
def test_a_brown_dog(sentence: str, speaks: bool) -> None:
    assert speaking(["brown dog"], sentence) == [{1} if speaks else set()]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a glass of water", "The glass falls."),
        ("a group of young people", "The people laugh."),
        ("woman in a red dress", "The woman laughs."),
        ("two brown dogs", "The two dogs bark."),
        ("black fly", "The fly lands."),
        ("小狗", "那只小狗跑了。"),
    ],
)
def test_the_head_noun(name: str, sentence: str) -> None:
    assert speaking([name], sentence) == [{1}]


def test_a_head_noun_of_two_objects_is_nobodys() -> None:
    sentences = ("A red circle and a blue circle.", "The circle moves.", "The blue circle stops.")
    assert speaking(["red circle", "blue circle"], *sentences) == [{1}, {1, 3}]
    assert speaking(["red circle"], *sentences) == [{1, 2}]


def test_small_words_are_no_part_of_a_name() -> None:
    assert stems("Two of the dogs with a kite") == {"dog", "kite"}
    assert stems("some of them, a") == {"them"}
    assert Sentence.of("A cardboard box.").shared("car") == 0
