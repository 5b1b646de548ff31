"""Whether two clips show the same picture, by structure and by colour."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from curation.duplicates import stills
from curation.golden import draw
from curation.golden.encode import encode
from curation.golden.set_copies import COPIES
from curation.golden.shapes import COLOURS, MovingShape
from curation.signals.crop import NO_BARS, Crop

SIZE = (480, 270)


def sketches(*pictures: np.ndarray, crop: Crop = NO_BARS) -> stills.Sketches:
    found = []
    for picture in pictures:
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        one = stills.sketch(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes(), crop)
        found += [] if one is None else [one]
    return stills.Sketches(found)


def likeness(a: stills.Sketches, b: stills.Sketches) -> float:
    return stills.match(a.stills[0], b.stills[0]).likeness


def recorded(pictures: list[np.ndarray], path: Path, kind: str) -> list[np.ndarray]:
    """Pictures of a copy of that kind, encoded and decoded."""
    copy = COPIES[kind]
    encode(copy.make(pictures, 8.0), path, 8.0, **copy.encoding)
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def shape_on(ground: tuple[int, int, int], colour: str, shape: str = "triangle") -> np.ndarray:
    plain = np.full((270, 480, 3), ground, np.uint8)
    return MovingShape(shape, colour, "left", 45.0, 0.0, (250.0, 140.0)).paint(plain, 0)


@pytest.mark.parametrize("kind", sorted(set(COPIES) - {"mirrored"}))
def test_copies_are_the_same_picture(kind: str) -> None:
    for seed in range(4):
        original = draw.texture(*SIZE, seed)
        copy = COPIES[kind].make([original] * 9, 25.0)[0]
        bar = (copy.shape[0] - 270) / 2 / copy.shape[0] if kind == "letterboxed" else 0.0
        assert stills.same(sketches(original), sketches(copy, crop=Crop(0, bar, 0, bar)))


def test_a_moment_later_is_the_same_picture() -> None:
    wide = draw.texture(SIZE[0] + 60, SIZE[1], 5)
    assert stills.same(sketches(wide[:, :480]), sketches(wide[:, 45:525]))


def test_different_pictures_are_not() -> None:
    some = [sketches(draw.texture(*SIZE, seed)) for seed in range(12)]
    found = [likeness(a, b) for i, a in enumerate(some) for b in some[:i]]
    assert max(found) < stills.NEARLY
    assert not any(stills.same(a, b) for i, a in enumerate(some) for b in some[:i])


def card(words: str) -> np.ndarray:
    return draw.text_box(np.full((180, 320, 3), GROUND, np.uint8), (20, 60, 280, 60), words, ground=GROUND)


GROUND = (40, 50, 90)


def test_cards_with_other_words_are_other_pictures() -> None:
    words = ["THE LAST NIGHT", "CHAPTER TWO", "A SONG OF STONE", "SEVEN ROADS", "WINTER SEA", "FIRST DAY"]
    some = [sketches(card(line)) for line in words]
    assert not any(stills.same(a, b) for i, a in enumerate(some) for b in some[:i])


def test_where_nothing_moves_one_other_word_makes_another_picture() -> None:
    one, other = card("SEVEN RIVER STONE"), card("SEVEN SONG STONE")
    assert likeness(sketches(one), sketches(other)) >= stills.SAME
    assert not stills.same(sketches(one, one), sketches(other, other))
    assert stills.same(sketches(one, one), sketches(one, one))


def test_where_things_move_a_copy_may_differ_as_much_as_from_moment_to_moment() -> None:
    def moment(at: int) -> np.ndarray:
        thing = MovingShape("square", "white", "right", 20.0, 6.0, (110.0, 140.0))
        return thing.paint(draw.texture(*SIZE, 4), at)

    moving, later = sketches(moment(0), moment(30)), sketches(moment(14), moment(44))
    assert stills.SAME <= likeness(moving, later) < 1 - stills.LESS - 0.05
    assert stills.same(moving, later)
    still, later_still = sketches(moment(0), moment(0)), sketches(moment(14), moment(14))
    assert not stills.same(still, later_still)
    assert stills.same(moving, later_still), "it is enough that one moves"


@pytest.mark.parametrize("kind", ["re-encoded", "resized", "cropped"])
def test_copies_of_faint_pictures_may_differ_by_what_coding_does(tmp_path: Path, kind: str) -> None:
    for seed in range(3):
        faint = draw.texture(320, 180, seed, mean=130, std=5)
        original = recorded([faint] * 8, tmp_path / "original.mp4", "re-encoded")
        copy = recorded(original, tmp_path / "copy.mp4", kind)
        assert stills.same(sketches(original[2], original[6]), sketches(copy[2], copy[6]))


def test_likeness_in_the_large_is_not_enough() -> None:
    """Two pictures with the same slow structure, which is what a hash sees."""
    slow = cv2.GaussianBlur(draw.texture(*SIZE, 1), (0, 0), 40).astype(np.float32)
    fine = [draw.texture(*SIZE, seed, std=12).astype(np.float32) - 118 for seed in (2, 3)]
    a, b = (np.clip(slow + f, 0, 255).astype(np.uint8) for f in fine)
    assert not stills.same(sketches(a), sketches(b))


@pytest.mark.parametrize("sides", [(6, 6, 6, 6), (0, 12, 0, 12), (0, 24, 0, 0), (24, 0, 0, 13)])
def test_cropped_copies_are_compared_at_the_size_before_the_crop(sides: tuple[int, int, int, int]) -> None:
    left, right, top, bottom = sides
    for seed in range(10):
        original = draw.texture(*SIZE, seed)
        cropped = cv2.resize(original[top : 270 - bottom, left : 480 - right], SIZE, interpolation=cv2.INTER_CUBIC)
        for a, b in ((original, cropped), (cropped, original)):
            assert likeness(sketches(a), sketches(b)) > 0.94
            assert stills.same(sketches(a, a), sketches(b, b))


def test_a_thing_of_another_size_is_another_thing() -> None:
    ground = np.full((270, 480, 3), GROUND, np.uint8)

    def thing(radius: float) -> stills.Sketches:
        picture = MovingShape("circle", "white", "left", radius, 0.0, (250.0, 140.0)).paint(ground, 0)
        return sketches(picture, picture)

    assert stills.same(thing(50), thing(52.5))
    assert not stills.same(thing(50), thing(60))


@pytest.mark.parametrize(
    ("one", "other", "ground"),
    [
        ("yellow", "green", (16, 16, 18)),
        ("red", "blue", (16, 16, 18)),
        ("green", "white", (84, 58, 36)),
        ("white", "yellow", (58, 58, 60)),
    ],
)
def test_shapes_of_other_colours_are_other_pictures(one: str, other: str, ground: tuple[int, int, int]) -> None:
    a, b = (sketches(shape_on(ground, colour)) for colour in (one, other))
    assert likeness(a, b) >= stills.SAME, "their luma has the same structure, else this would test nothing"
    assert not stills.same(a, b)
    assert not stills.same(b, a)


@pytest.mark.parametrize("kind", ["re-encoded", "resized", "watermarked", "cropped"])
@pytest.mark.parametrize("colour", COLOURS)
def test_a_coloured_shape_is_found_in_its_copies(tmp_path: Path, kind: str, colour: str) -> None:
    pictures = [cv2.resize(shape_on((58, 58, 60), colour), (256, 144), interpolation=cv2.INTER_AREA)] * 8
    copy = recorded(pictures, tmp_path / "copy.mp4", kind)
    assert stills.same(sketches(*pictures[:2]), sketches(*copy[4:6]))


def test_one_thing_in_another_colour_makes_another_picture_however_rich_the_ground() -> None:
    for seed in range(4):
        ground = draw.texture(*SIZE, seed)
        thing = MovingShape("circle", "red", "left", 40.0, 0.0, (240.0, 140.0))
        # Both of one luma, so that only colour tells them apart.
        a, b = (_with_luma(replace(thing, colour=c).paint(ground, 0), ground) for c in ("red", "blue"))
        assert likeness(sketches(a), sketches(b)) > 0.9
        assert not stills.same(sketches(a), sketches(b))
        assert stills.same(sketches(a), sketches(a))


def test_another_tint_makes_another_picture() -> None:
    grey = cv2.cvtColor(draw.texture(*SIZE, 3), cv2.COLOR_RGB2GRAY) // 2 + 60
    planes = np.full((*grey.shape, 3), 128, np.uint8)
    planes[..., 0] = grey
    blue = planes.copy()
    blue[..., 2] += 14
    a, b = (sketches(cv2.cvtColor(p, cv2.COLOR_YCrCb2RGB)) for p in (planes, blue))
    assert likeness(a, b) > 0.95
    assert not stills.same(a, b)
    slight = planes.copy()
    slight[..., 2] += 4
    assert stills.same(a, sketches(cv2.cvtColor(slight, cv2.COLOR_YCrCb2RGB)))


def test_pictures_without_colour_are_compared_by_structure_alone() -> None:
    """Chroma of grey film is noise of the encoder, which is not the same in two copies."""
    grey = cv2.cvtColor(cv2.cvtColor(draw.texture(*SIZE, 3), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    noise = np.random.default_rng(0).normal(0, 1, (2, 30, 54, 3))
    a, b = (
        np.clip(grey + 4 * cv2.resize(n, SIZE, interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8) for n in noise
    )
    assert stills.same(sketches(a), sketches(b))


def test_a_mirrored_copy_is_the_same_when_mirrored() -> None:
    original = draw.texture(*SIZE, 8)
    copy = sketches(np.ascontiguousarray(original[:, ::-1]))
    assert not stills.same(sketches(original), copy)
    assert stills.same(sketches(original), copy.mirrored())


def test_a_small_still_keeps_what_it_has() -> None:
    """Stills of 64 pixels, read at half of that, would be 0.8 like those of 128."""
    for seed in range(4):
        large = cv2.resize(draw.texture(*SIZE, seed), (128, 128), interpolation=cv2.INTER_AREA)
        small = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA)
        assert likeness(sketches(large), sketches(small)) > 0.95


def test_colours_are_compared_at_the_size_and_place_of_the_structure() -> None:
    cells = np.random.default_rng(1).uniform(70, 190, (36, 64, 2)).astype(np.float32)
    for seed in range(10):
        planes = cv2.cvtColor(draw.texture(*SIZE, seed), cv2.COLOR_RGB2YCrCb)
        planes[..., 1:] = cv2.resize(cells, SIZE, interpolation=cv2.INTER_NEAREST)
        original = cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB)
        cropped = COPIES["cropped"].make([original], 25.0)[0]
        assert stills.same(sketches(original), sketches(cropped))


def test_flat_dark_and_damaged_stills_prove_nothing() -> None:
    assert sketches(np.full((270, 480, 3), 90, np.uint8)).stills == []
    assert sketches(np.zeros((270, 480, 3), np.uint8)).stills == []
    assert stills.sketch(b"", NO_BARS) is None
    assert stills.sketch(b"no JPEG at all", NO_BARS) is None
    assert not stills.same(sketches(), sketches())
    assert not stills.same(sketches(), sketches(draw.texture(*SIZE, 1)))


def _with_luma(picture: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The picture with the luma of another."""
    planes, luma = (cv2.cvtColor(p, cv2.COLOR_RGB2YCrCb) for p in (picture, like))
    planes[..., 0] = luma[..., 0]
    return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB))
