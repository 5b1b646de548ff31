"""Vectors without weights: copies are near, other pictures are not, and a picture that shows nothing has none."""

import cv2
import numpy as np
import pytest

from curation import perceptual
from curation.golden import draw
from curation.golden.set_copies import COPIES
from curation.perceptual import WIDTH, clip_vector, picture_vector


def scene(seed: int, width: int = 640, height: int = 360) -> np.ndarray:
    return draw.texture(width, height, seed)


def vector(picture: np.ndarray) -> np.ndarray:
    found = picture_vector(picture)
    assert found is not None
    return found


def again(picture: np.ndarray, scale: float, quality: int) -> np.ndarray:
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def test_length_and_width() -> None:
    found = clip_vector([scene(1), scene(2)])
    assert found is not None
    assert found.shape == (WIDTH,) == (299,)
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("scale", "quality"), [(1.0, 20), (0.5, 60), (0.25, 60), (2.0, 90)])
def test_copies_are_near(scale: float, quality: int) -> None:
    for seed in range(8):
        assert vector(scene(seed)) @ vector(again(scene(seed), scale, quality)) > 0.97


@pytest.mark.parametrize("kind", ["resized", "watermarked"])
def test_golden_copies_are_near(kind: str) -> None:
    for seed in range(8):
        (copied,) = COPIES[kind].make([scene(seed)], 25.0)
        assert vector(scene(seed)) @ vector(copied) > (0.97 if kind == "resized" else 0.9)


def test_other_scenes_are_far() -> None:
    vectors = np.stack([vector(scene(seed)) for seed in range(24)])
    cosines = vectors @ vectors.T
    assert (cosines - 2 * np.eye(24)).max() < 0.8


def test_other_shape_of_the_same_picture_is_the_same() -> None:
    squeezed = cv2.resize(scene(3), (360, 360), interpolation=cv2.INTER_AREA)
    assert vector(scene(3)) @ vector(squeezed) > 0.99


def test_the_mean_of_stills() -> None:
    one, two = vector(scene(1)), vector(scene(2))
    found = clip_vector([scene(1), scene(2)])
    assert found is not None
    assert found == pytest.approx((one + two) / np.linalg.norm(one + two), abs=1e-6)
    alone = clip_vector([scene(1)])
    assert alone == pytest.approx(one, abs=1e-6)


@pytest.mark.parametrize("grey", [0, 16, 128, 255])
def test_a_picture_that_shows_nothing_has_none(grey: int) -> None:
    flat = np.full((64, 96, 3), grey, np.uint8)
    noisy = np.clip(flat.astype(int) + np.random.default_rng(0).integers(-1, 2, flat.shape), 0, 255).astype(np.uint8)
    assert picture_vector(flat) is None
    assert picture_vector(noisy) is None
    assert clip_vector([flat, noisy]) is None
    assert clip_vector([]) is None
    with_scene = clip_vector([flat, scene(1)])
    assert with_scene == pytest.approx(vector(scene(1)), abs=1e-6)


def test_a_flat_colour_is_that_colour() -> None:
    def colour(b: int, g: int, r: int) -> np.ndarray:
        return vector(np.full((48, 48, 3), (b, g, r), np.uint8))

    assert colour(200, 30, 30) @ colour(190, 35, 28) > 0.97
    assert colour(200, 30, 30) @ colour(30, 30, 200) < 0.3
    assert np.isfinite(colour(0, 0, 255)).all()


def test_one_wave_is_one_coefficient() -> None:
    """Luma 128 + 60·cos(π(x + ½)·3/64) is the third DCT coefficient along x and no other; its colour is grey."""
    x = np.arange(64)
    wave = np.rint(128 + 60 * np.cos(np.pi * (x + 0.5) * 3 / 64)).astype(np.uint8)
    found = vector(np.repeat(np.repeat(wave[None], 64, 0)[..., None], 3, 2))
    luma, chroma = found[: perceptual.LUMA**2 - 1], found[perceptual.LUMA**2 - 1 :][: 2 * perceptual.CHROMA**2]
    assert np.abs(luma).argmax() == 3 - 1  # the constant coefficient is left out
    assert np.abs(np.delete(luma, 2)).max() < 0.02 * luma[2]
    assert np.abs(chroma).max() < 0.01
    edges = found[-(perceptual.CELLS**2) * perceptual.BINS :].reshape(-1, perceptual.BINS)
    assert (edges[:, 0] > 0).all()  # gradients along x only
    assert np.abs(edges[:, 1:]).max() < 1e-6


def test_edges_know_their_direction_up_to_the_sign() -> None:
    ramp = np.tile(np.arange(64, dtype=np.float32) * 2, (64, 1))
    rising, falling, down = (perceptual._edges(r) for r in (ramp, ramp[:, ::-1].copy(), ramp.T.copy()))
    assert rising == pytest.approx(falling)
    assert np.argmax(rising.reshape(-1, 8), 1).tolist() == [0] * 16
    assert np.argmax(down.reshape(-1, 8), 1).tolist() == [4] * 16
    inside = rising.reshape(4, 4, 8)[1, 1]
    assert inside[0] == pytest.approx(1.0)  # root of the gradient, 2 levels a pixel, less 1 of noise
