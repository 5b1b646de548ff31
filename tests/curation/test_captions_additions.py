"""What a text says that its caption does not: things, colours, numbers and directions; and what the words alone cannot tell."""

from __future__ import annotations

import pytest

from curation.captioning.additions import added_words
from curation.captioning.objects import singular
from curation.captioning.wordlists import word_lines, word_set

SHORTENED = [
    (
        "Two men are lifting a heavy box and putting it onto a truck. The camera is still.",
        "Two men lift a heavy box onto a truck.",
    ),
    (
        "A bird is flying over the sea at sunset, and waves are rolling towards the shore.",
        "A bird flies over the sea at sunset; waves roll towards the shore.",
    ),
    (
        "A chef pours oil into a hot pan, then adds three eggs and stirs them with a wooden spoon.",
        "A chef pours oil into a pan, adds three eggs and stirs them with a spoon.",
    ),
    (
        "A man in a grey suit stands in front of a white wall and is facing the camera while talking.",
        "A man in a grey suit stands before a white wall, faces the camera and talks.",
    ),
    (
        "Steam rises from a cup of coffee that stands on a table beside an open book.",
        "A cup of steaming coffee stands on a table beside a book.",
    ),
    (
        "A red car drives along a winding road through a forest. The camera follows it from above.",
        "From above, the camera follows a red car that drives along a winding forest road.",
    ),
    (
        "Several children are sliding down a snowy hill on sleds, laughing and shouting.",
        "Children slide down a snowy hill on sleds, laughing.",
    ),
    (
        "A city street at night with bright lights, busy traffic and people crossing the road.",
        "People cross a busy city street at night with bright lights.",
    ),
    (
        "An old man with a white beard sits on a bench in a park and feeds pigeons.",
        "An old man with a white beard feeds pigeons on a park bench.",
    ),
    (
        "A train is passing a small station; a few passengers are standing on the platform.",
        "A train passes a small station where a few passengers stand on the platform.",
    ),
    (
        "A black dog is running across a field, jumps over a fence and catches a ball.",
        "A black dog runs across a field, jumps over a fence and catches a ball.",
    ),
    (
        "The camera slowly zooms in on a silver ring that is lying on dark velvet.",
        "A silver ring lies on dark velvet; the camera slowly zooms in.",
    ),
    (
        "Dancers in orange costumes are moving in a circle on a stage while a band plays behind them.",
        "Dancers in orange costumes move in a circle on a stage in front of a band.",
    ),
    (
        "A woman ties her shoes, stands up and starts running along a path by the river.",
        "A woman ties her shoes, stands up and runs along a path by the river.",
    ),
    (
        "A boat with two sails is drifting on a calm lake surrounded by mountains.",
        "A boat with two sails drifts on a calm lake among mountains.",
    ),
    (
        "A girl's face in close-up: she smiles, turns her head to the left and looks away.",
        "Close-up of a girl's face; she smiles and turns her head left.",
    ),
    (
        "A horse race: seven horses gallop around a track while the crowd cheers.",
        "Seven horses race around a track; a crowd cheers.",
    ),
    (
        "Someone is slicing a lemon on a cutting board with a sharp knife.",
        "A lemon is sliced on a cutting board with a sharp knife.",
    ),
]
"""A caption and a shorter one that adds nothing, with the verbs in other forms."""


@pytest.mark.parametrize(("caption", "shorter"), SHORTENED)
def test_what_only_shortens_adds_nothing(caption: str, shorter: str) -> None:
    assert added_words(caption, shorter) == []


@pytest.mark.parametrize(
    ("caption", "text", "added"),
    [
        ("A woman sits on the grass.", "A woman sits on a slide with a camera.", "slide camera"),
        ("A woman in an orange dress.", "A woman and an orange.", "orange"),
        ("A red circle moves left.", "A blue circle moves right.", "blue right"),
        ("A dog runs.", "Seven dogs run.", "seven"),
        ("A bird flies over the sea.", "A bird and a fly over the sea.", "fly"),
        ("A man faces the sea.", "A man with a smiling face by the sea.", "face"),
        ("A man ties a rope.", "A man with a tie holds a rope.", "tie"),
        ("A cup on a table.", "Steam rises from a cup on a table.", "steam"),
        ("A man lifts a box.", "A man in a lift with a box.", "lift"),
        ("A man digs.", "A man digs in a mine.", "mine"),
        ("A knife on a table.", "A silver knife on a table.", "silver"),
        ("A man lights a candle.", "A man with a candle and a light.", "light"),
        ("A dog in a field.", "A dog chases flies in a field.", "fly"),
        ("A man walks.", "A man walks away to the left.", "left"),
        ("The camera moves.", "The camera moves upwards.", "upward"),
        ("A cat.", "A cat with grey fur.", "grey fur"),
        ("A man works.", "Two men work.", "two"),
        ("A car on a road.", "Several cars on a road.", "several"),
        ("A man sits.", "A man sits in an office.", "office"),
        ("A child plays.", "A child plays on slides.", "slide"),
        (
            "A man stands.",
            "A man stands with a carnation in a clearing, behind a partition.",
            "carnation clearing partition",
        ),
        ("A man stands.", "A man stands at a tournament reception.", "tournament"),
        ("A man stands.", "A man stands in a cavity, in a convertible, at the attachments.", "cavity attachment"),
    ],
)
def test_new_things_colours_numbers_and_directions_are_added(caption: str, text: str, added: str) -> None:
    assert added_words(caption, text) == added.split()


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("Two people", "A couple of people"),
        ("A pair of dogs", "2 dogs"),
        ("12 cars", "Twelve cars"),
        ("A gray cat", "A grey cat"),
        ("Dogs run", "Many dogs run"),
        ("Three dogs", "A group of dogs"),
        ("It turns anticlockwise", "It turns counterclockwise"),
        ("It moves upwards", "It moves up"),
        ("A dog", "One dog"),
        ("Steam rises from a cup", "The steam of a cup"),
        ("There are flies", "Flies"),
        ("A dog", "A dog. The camera pans over it, and the camera is still"),
        ("A man is tying a rope", "A man ties a rope"),
        ("A man walks", "A man is walking, by walking at a walking pace"),
        ("People gather", "A gathering of people"),
        ("Two teams play", "Two teams, playing with determination"),
    ],
)
def test_other_words_for_the_same_add_nothing(caption: str, text: str) -> None:
    assert added_words(caption, text) == []


@pytest.mark.parametrize(
    ("caption", "text", "added"),
    [
        (
            "A young woman in a yellow dress is slowly painting an old building while the camera moves to the right.",
            "A woman in a yellow dress paints a building; the camera moves right.",
            "paint",
        ),
        (
            "Light falls through a window onto a wooden floor where a cat is sleeping.",
            "A cat sleeps on a wooden floor in the light of a window.",
            "light",
        ),
        ("A poodle", "A dog", "dog"),
        ("A man and a woman", "Both smile", "both"),
    ],
)
def test_in_doubt_a_word_is_added(caption: str, text: str, added: str) -> None:
    """What strictness costs: right texts that are refused."""
    assert added_words(caption, text) == added.split()


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("A red circle and a blue square", "A blue circle and a red square"),
        ("A dog chases a cat", "A cat chases a dog"),
        ("One ball rolls left, the other right", "One ball rolls right, the other left"),
        ("The crowd waves", "The crowd in the waves"),
        ("A small dog", "A large dog"),
        ("A dog", "Dogs"),
        ("The camera zooms in", "The camera zooms out"),
        ("A man stands before a house", "A man sits behind a house"),
        ("A woman with a hat", "A woman holding the camera, with a hat"),
        ("Workers lift a box", "Workers lift a box in tubing, in a convertible"),
    ],
)
def test_what_words_alone_cannot_tell(caption: str, text: str) -> None:
    """The limits that the documentation states: a change of them should be noticed."""
    assert added_words(caption, text) == []


def test_the_lists_hold_each_word_once_and_either_holds_singulars_of_no_thing() -> None:
    for name in ("colours", "numbers", "directions", "either"):
        words = [word for line in word_lines(name) for word in line[name == "either" :]]
        assert len(words) == len(set(words)), name
    either = [word for _, *words in word_lines("either") for word in words]
    assert [word for word in either if singular(word) != word] == []
    assert [word for word in either if word in word_set("things")] == []
