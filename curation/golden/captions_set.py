"""Right and wrong captions of golden clips, labelled: what the gate on captions is measured with.

The clips are those of the set ``shapes`` and the moving shapes of the set ``demo``, whose truth says shape, colour, direction and
background. A caption is right if all that it says is true of the clip; each wrong one has one fault of a known kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from curation.golden import set_demo, set_shapes
from curation.golden.shapes import COLOURS, DIRECTIONS, GROUNDS, SHAPES

RIGHT_KINDS = {
    "plain": "the clip's own caption",
    "short": "four or five words",
    "paraphrased": "one sentence in other words",
    "long": "a paragraph of four to six sentences",
}
"""Kind → what its captions are like."""

WRONG_KINDS = {
    "object_added": "one thing too many in a sentence of its own",
    "object_slipped_in": "one thing too many within a sentence",
    "object_added_long": "one thing too many within a paragraph of four to six sentences",
    "object_swapped": "another shape",
    "colour_swapped": "another colour of the shape",
    "ground_swapped": "another colour of the background",
    "direction_swapped": "another direction",
    "repetition": "the caption again and again, or one phrase of it",
    "refusal": "a model's excuse",
    "language": "true, but in another language",
    "mixed_language": "a sentence of English, the rest in another language",
    "boilerplate": "what stands beside videos on the web",
    "cut_short": "nothing, or the first word or two",
}
"""Kind → its fault."""

HALLUCINATED = (
    "object_added",
    "object_slipped_in",
    "object_added_long",
    "object_swapped",
    "colour_swapped",
    "ground_swapped",
)
"""Kinds whose fault is a thing that no still shows."""


@dataclass(frozen=True, slots=True)
class ClipTruth:
    """What is true of a clip, in words."""

    video: str
    shape: str
    colour: str
    direction: str
    ground: str
    """With its article: `a plain black background`."""
    ground_words: tuple[str, ...]
    """Everything that may rightly be said of the background, its name last."""
    things: tuple[str, ...] = ()
    """Bare names of what it shows besides; golden clips show nothing else."""


@dataclass(frozen=True, slots=True)
class LabelledCaption:
    """A caption with what is known about it."""

    clip: ClipTruth
    kind: str
    right: bool
    caption: str


def clip_truths(seed: int = 0, shapes: int = 72) -> list[ClipTruth]:
    """The clips that captions are written for: ``shapes`` of the set of that name, and those of the demo."""
    found = []
    for video in set_shapes.videos(seed, shapes):
        t, ground = video.truth, str(video.truth["ground"])
        words = ("plain", *ground.split(), "background")
        found.append(
            ClipTruth(video.name, t["shape"], t["colour"], t["direction"], f"a plain {ground} background", words)
        )
    for video in set_demo.videos(seed):
        if video.truth["outcome"] == "kept" and video.caption and video.caption.endswith("across a rough dark wall."):
            shape, colour, direction = (str(video.truth["shots"][0][k]) for k in ("shape", "colour", "direction"))
            words = ("rough", "dark", "grey", "wall", "background")
            found.append(ClipTruth(video.name, shape, colour, direction, "a rough dark wall", words))
    return found


def labelled_captions(seed: int = 0, shapes: int = 72) -> list[LabelledCaption]:
    """For every clip a caption of each kind, in a fixed order; chance (which other colour, which phrase) follows the seed."""
    found = []
    for number, clip in enumerate(clip_truths(seed, shapes)):
        rng = np.random.default_rng([seed, 15, number])
        found += [LabelledCaption(clip, kind, True, text) for kind, text in _right(clip, rng)]
        found += [LabelledCaption(clip, kind, False, text) for kind, text in _wrong(clip, rng)]
    return found


def _pick(rng: np.random.Generator, choices: Sequence[str], but: str = "") -> str:
    left = [choice for choice in choices if choice != but]
    return left[int(rng.integers(len(left)))]


def _course(direction: str) -> str:
    return f"to the {direction}" if direction in ("left", "right") else f"{direction}wards"


def _plain(clip: ClipTruth) -> str:
    return f"A {clip.colour} {clip.shape} moves {_course(clip.direction)} across {clip.ground}."


_SIDES = {"left": ("right", "left"), "right": ("left", "right"), "up": ("bottom", "top"), "down": ("top", "bottom")}


def _long(clip: ClipTruth, rng: np.random.Generator) -> str:
    begin, end = _SIDES[clip.direction]
    thing = f"{clip.colour} {clip.shape}"
    sentences = [
        f"The picture shows {clip.ground}, with a single {thing} on it.",
        f"At first the {clip.shape} is near the {begin}.",
        f"It moves {_course(clip.direction)} at a steady pace, until it is near the {end}.",
        "Nothing else changes, and the camera does not move.",
        f"The {thing} keeps its size and its shape from the first moment to the last.",
        "It is a simple animation without any writing.",
    ]
    return " ".join(sentences[: int(rng.integers(4, 7))])


_PARAPHRASES = (
    "Across {ground} glides a {colour} {shape}, heading {course}.",
    "On {ground}, a {colour} {shape} travels steadily {course}.",
    "We see a {colour} {shape} which slides {course} in front of {ground}.",
)


def _right(clip: ClipTruth, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    yield "plain", _plain(clip)
    yield "short", f"{clip.colour.capitalize()} {clip.shape} moving {clip.direction}."
    yield "paraphrased", _fill(_pick(rng, _PARAPHRASES), clip)
    yield "long", _long(clip, rng)


def _fill(text: str, clip: ClipTruth) -> str:
    return text.format(ground=clip.ground, colour=clip.colour, shape=clip.shape, course=_course(clip.direction))


_THINGS = ("brown dog", "wooden table", "smiling woman", "small boat", "parked car", "tall tree", "glass of water")

_REFUSALS = (
    "I'm sorry, but I cannot describe this video.",
    "As an AI language model, I am unable to view videos.",
    "Unfortunately, I can't see the content of this clip. Please provide a description.",
    "I cannot assist with that request.",
    "No image was provided, so there is nothing to describe.",
    "I don't have access to the frames of this video.",
)

_BOILERPLATE = (
    "{plain} Subscribe to our channel for more videos!",
    "Watch more at https://example.com/shapes and www.example.org",
    "IMG_20240311_174502.mp4",
    "{plain} #shapes #motion #satisfying",
    "Thanks for watching",
    "{plain} All rights reserved.",
    "{plain} Click the link below for details.",
)

_LANGUAGES: dict[str, tuple[str, dict[str, str], dict[str, str], dict[str, str]]] = {
    "de": (
        "Ein Gegenstand bewegt sich langsam vor einem einfarbigen Hintergrund: {shape}, {colour}, {direction}.",
        {"circle": "ein Kreis", "square": "ein Quadrat", "triangle": "ein Dreieck"},
        {"red": "rot", "green": "grün", "blue": "blau", "yellow": "gelb", "purple": "violett", "white": "weiß"},
        {"left": "nach links", "right": "nach rechts", "up": "nach oben", "down": "nach unten"},
    ),
    "fr": (
        "Une forme se déplace lentement devant un fond uni : {shape}, de couleur {colour}, {direction}.",
        {"circle": "un cercle", "square": "un carré", "triangle": "un triangle"},
        {
            "red": "rouge",
            "green": "verte",
            "blue": "bleue",
            "yellow": "jaune",
            "purple": "violette",
            "white": "blanche",
        },
        {"left": "vers la gauche", "right": "vers la droite", "up": "vers le haut", "down": "vers le bas"},
    ),
    "es": (
        "Una figura se mueve despacio sobre un fondo liso: {shape} de color {colour} que va {direction}.",
        {"circle": "un círculo", "square": "un cuadrado", "triangle": "un triángulo"},
        {"red": "rojo", "green": "verde", "blue": "azul", "yellow": "amarillo", "purple": "morado", "white": "blanco"},
        {"left": "hacia la izquierda", "right": "hacia la derecha", "up": "hacia arriba", "down": "hacia abajo"},
    ),
    "it": (
        "Una figura si muove lentamente su uno sfondo a tinta unita: {shape} di colore {colour} che va {direction}.",
        {"circle": "un cerchio", "square": "un quadrato", "triangle": "un triangolo"},
        {"red": "rosso", "green": "verde", "blue": "blu", "yellow": "giallo", "purple": "viola", "white": "bianco"},
        {"left": "verso sinistra", "right": "verso destra", "up": "verso l'alto", "down": "verso il basso"},
    ),
    "ru": (
        "На однотонном фоне медленно движется {shape}, цвет {colour}, направление {direction}.",
        {"circle": "круг", "square": "квадрат", "triangle": "треугольник"},
        {
            "red": "красный",
            "green": "зелёный",
            "blue": "синий",
            "yellow": "жёлтый",
            "purple": "фиолетовый",
            "white": "белый",
        },
        {"left": "влево", "right": "вправо", "up": "вверх", "down": "вниз"},
    ),
    "zh": (
        "在纯色背景上，一个{colour}{shape}慢慢地{direction}移动。",
        {"circle": "圆形", "square": "正方形", "triangle": "三角形"},
        {"red": "红色", "green": "绿色", "blue": "蓝色", "yellow": "黄色", "purple": "紫色", "white": "白色"},
        {"left": "向左", "right": "向右", "up": "向上", "down": "向下"},
    ),
}
"""ISO 639-1 code → sentence, shapes, colours, directions."""


def _translated(clip: ClipTruth, language: str) -> str:
    sentence, shapes, colours, directions = _LANGUAGES[language]
    return sentence.format(shape=shapes[clip.shape], colour=colours[clip.colour], direction=directions[clip.direction])


def _wrong(clip: ClipTruth, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    plain, thing = _plain(clip), _pick(rng, _THINGS)
    yield "object_added", f"{plain} A {thing} is in front of it."
    yield "object_slipped_in", plain.replace(" moves ", f" and a {thing} move ")
    begin, _ = _SIDES[clip.direction]
    # Chance of its own: the other kinds keep theirs.
    long = _long(clip, rng.spawn(1)[0])
    yield "object_added_long", long.replace(f"near the {begin}.", f"near the {begin}, beside a {thing}.", 1)
    yield "object_swapped", plain.replace(clip.shape, _pick(rng, SHAPES, but=clip.shape))
    yield "colour_swapped", plain.replace(clip.colour, _pick(rng, tuple(COLOURS), but=clip.colour), 1)
    grounds = [f"a plain {ground} background" for ground in GROUNDS if not set(ground.split()) & set(clip.ground_words)]
    yield "ground_swapped", plain.replace(clip.ground, _pick(rng, grounds))
    yield (
        "direction_swapped",
        plain.replace(_course(clip.direction), _course(_pick(rng, tuple(DIRECTIONS), clip.direction))),
    )
    yield "repetition", _repeated(clip, rng)
    yield "refusal", _pick(rng, _REFUSALS)
    language = _pick(rng, tuple(_LANGUAGES))
    yield "language", _translated(clip, language)
    yield "mixed_language", f"{plain} {_translated(clip, language)} {_translated(clip, language)}"
    yield "boilerplate", _pick(rng, _BOILERPLATE).format(plain=plain)
    yield "cut_short", _pick(rng, ("", f"A {clip.colour}", "The"))


def _repeated(clip: ClipTruth, rng: np.random.Generator) -> str:
    times = int(rng.integers(3, 7))
    if rng.random() < 0.5:
        return " ".join([_plain(clip)] * times)
    phrase = f"and a {clip.colour} {clip.shape} "
    return _plain(clip)[:-1] + f" {phrase * times}".rstrip()
