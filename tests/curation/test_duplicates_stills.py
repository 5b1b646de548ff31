"""Whether two clips show the same picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from curation.duplicates import stills
from curation.golden import draw
from curation.golden.set_copies import COPIES
from curation.signals.crop import NO_BARS, Crop

SIZE = (480, 270)


def sketches(picture: np.ndarray, crop: Crop = NO_BARS) -> list[np.ndarray]:
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
    found = stills.sketch(jpeg, crop)
    return [] if found is None else [found]


@pytest.mark.parametrize("kind", sorted(set(COPIES) - {"mirrored"}))
def test_copies_are_the_same_picture(kind: str) -> None:
    for seed in range(4):
        original = draw.texture(*SIZE, seed)
        copy = COPIES[kind].make([original] * 9, 25.0)[0]
        bar = (copy.shape[0] - 270) / 2 / copy.shape[0] if kind == "letterboxed" else 0.0
        crop = Crop(0, bar, 0, bar)
        assert stills.likeness(sketches(original), sketches(copy, crop)) >= stills.SAME


def test_a_moment_later_is_the_same_picture() -> None:
    wide = draw.texture(SIZE[0] + 60, SIZE[1], 5)
    assert stills.likeness(sketches(wide[:, :480]), sketches(wide[:, 45:525])) >= stills.SAME


def test_different_pictures_are_not() -> None:
    some = [sketches(draw.texture(*SIZE, seed)) for seed in range(12)]
    found = [stills.likeness(a, b) for i, a in enumerate(some) for b in some[:i]]
    assert max(found) < stills.SAME - 0.1


def test_cards_with_other_words_are_other_pictures() -> None:
    words = ["THE LAST NIGHT", "CHAPTER TWO", "A SONG OF STONE", "SEVEN ROADS", "WINTER SEA", "FIRST DAY"]
    cards = [draw.text_box(np.zeros((180, 320, 3), np.uint8), (20, 60, 280, 60), w, ground=(0, 0, 0)) for w in words]
    some = [sketches(card) for card in cards]
    assert max(stills.likeness(a, b) for i, a in enumerate(some) for b in some[:i]) < stills.SAME


def test_likeness_in_the_large_is_not_enough() -> None:
    """Two pictures with the same slow structure, which is what a hash sees."""
    slow = cv2.GaussianBlur(draw.texture(*SIZE, 1), (0, 0), 40).astype(np.float32)
    fine = [draw.texture(*SIZE, seed, std=12).astype(np.float32) - 118 for seed in (2, 3)]
    a, b = (np.clip(slow + f, 0, 255).astype(np.uint8) for f in fine)
    assert stills.likeness(sketches(a), sketches(b)) < stills.SAME


def test_flat_dark_and_damaged_stills_prove_nothing() -> None:
    assert sketches(np.full((270, 480, 3), 90, np.uint8)) == []
    assert sketches(np.zeros((270, 480, 3), np.uint8)) == []
    assert stills.sketch(b"", NO_BARS) is None
    assert stills.sketch(b"no JPEG at all", NO_BARS) is None
    assert stills.likeness([], []) == -1
    assert stills.likeness([], sketches(draw.texture(*SIZE, 1))) == -1
