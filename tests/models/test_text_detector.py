"""The text detector against text of known area, straight and turned; and what it must not do."""

import importlib.util
import socket
import sys

import cv2
import numpy as np
import pytest

from curation.golden import draw
from models.text_detector.boxes import covered_share, find_boxes
from models.text_detector.detector import TextDetector, fingerprint, weights_file
from schemas.errors import UsageError

SIZE = (640, 360)
WORDS = "THE QUICK BROWN FOX"


@pytest.fixture(scope="module")
def detector() -> TextDetector:
    return TextDetector(736, 0.6)


def written(degrees: float, scale: float = 1.2) -> tuple[np.ndarray, float]:
    """A texture with a line of text on a dark strip, turned; and the strip's share of the picture."""
    width, height = SIZE
    (w, h), low = cv2.getTextSize(WORDS, cv2.FONT_HERSHEY_SIMPLEX, scale, 3)
    x, y = (width - w) // 2, (height + h) // 2
    letters, strip = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    cv2.putText(letters, WORDS, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 3, cv2.LINE_AA)
    cv2.rectangle(strip, (x, y - h), (x + w, y + low), 255, -1)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    letters, strip = cv2.warpAffine(letters, turn, SIZE), cv2.warpAffine(strip, turn, SIZE)
    picture = np.where(strip[..., None] > 127, np.uint8(30), draw.texture(width, height, 3))
    picture[letters > 127] = 255
    return picture, float(np.mean(strip > 127))


@pytest.mark.parametrize("degrees", [0, 20, -30, 90])
def test_a_line_of_text_covers_what_it_covers_at_any_angle(detector: TextDetector, degrees: float) -> None:
    picture, share = written(degrees, scale=0.8 if degrees == 90 else 1.2)
    assert share * 0.7 < detector.area(picture) < share * 1.6


def test_area_grows_with_the_letters(detector: TextDetector) -> None:
    areas = [detector.area(written(0, scale)[0]) for scale in (0.6, 1.0, 1.5)]
    assert areas[0] * 1.5 < areas[1] < areas[2] / 1.5


@pytest.mark.parametrize("seed", range(8))
def test_there_is_no_text_in_texture(detector: TextDetector, seed: int) -> None:
    assert detector.area(draw.texture(*SIZE, seed)) < 0.02


def test_a_plain_picture_has_none(detector: TextDetector) -> None:
    for value in (0, 127, 255):
        assert detector.area(np.full((SIZE[1], SIZE[0], 3), value, np.uint8)) == 0
    sky = np.repeat(np.linspace(200, 255, SIZE[1], dtype=np.float32)[:, None], SIZE[0], 1)
    assert detector.area(cv2.merge([sky, sky * 0.9, sky * 0.8]).astype(np.uint8)) == 0


def test_the_same_picture_gives_the_same_boxes(detector: TextDetector) -> None:
    picture, _ = written(15)
    again = TextDetector(736, 0.6)
    first = detector.boxes(picture)
    detector.boxes(draw.texture(300, 200, 1))  # another size in between
    for other in (detector.boxes(picture), again.boxes(picture)):
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_boxes_are_in_pixels_of_the_picture_as_given(detector: TextDetector) -> None:
    picture, share = written(0)
    large = cv2.resize(picture, (1920, 1080), interpolation=cv2.INTER_CUBIC)
    corners = max(detector.boxes(large), key=cv2.contourArea)
    assert pytest.approx(corners[:, 0].mean(), abs=60) == 960
    assert detector.area(large) == pytest.approx(detector.area(picture), rel=0.25)
    assert share > 0


def test_tiny_and_narrow_pictures(detector: TextDetector) -> None:
    for height, width in ((1, 1), (8, 8), (2, 500), (500, 3)):
        assert 0 <= detector.area(np.full((height, width, 3), 90, np.uint8)) <= 1


def test_overlapping_boxes_count_once_and_what_lies_outside_not_at_all() -> None:
    box = np.array([[10, 10], [49, 10], [49, 29], [10, 29]], np.float32)
    assert covered_share([box, box], 100, 50) == pytest.approx(40 * 20 / 5000)
    assert covered_share([box, box + 20], 100, 50) == pytest.approx((40 * 20 * 2 - 20 * 0) / 5000, abs=0.02)
    assert covered_share([box - 1000], 100, 50) == 0
    assert covered_share([], 100, 50) == 0


def test_turned_core_gives_a_turned_box() -> None:
    core = cv2.boxPoints(((100.0, 80.0), (80.0, 12.0), 30.0))
    probability = np.zeros((160, 200), np.float32)
    cv2.fillPoly(probability, [core.astype(np.int32)], 0.9)
    (corners,) = find_boxes(probability, 0.5)
    grown = 1.6 * 80 * 12 / 92
    area = cv2.contourArea(corners)
    assert area == pytest.approx((80 + grown) * (12 + grown), rel=0.25)  # drawing it added a pixel
    assert area < 0.6 * np.prod(np.ptp(corners, axis=0))  # its upright frame
    assert corners.mean(axis=0) == pytest.approx([100, 80], abs=1.5)
    assert find_boxes(probability, 0.95) == []
    assert find_boxes(np.full((160, 200), 0.9, np.float32), 0.5) == []  # a whole picture is no line of text


def test_nothing_is_fetched_and_nothing_else_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    TextDetector(320, 0.5).area(draw.texture(320, 200, 1))
    assert "rapidocr" not in sys.modules  # only its weights are used
    assert len(fingerprint()) == 16


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match="onnxruntime") as caught:
        TextDetector(320, 0.5)
    assert "pip install" in caught.value.fix
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="rapidocr") as caught:
        weights_file()
    assert "features.text.enabled=false" in caught.value.fix
