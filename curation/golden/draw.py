"""Drawing from a seed: textures, camera moves, light, blur, bars and text boxes. No state, no files.

Pictures are (h, w, 3) uint8 RGB unless a docstring says otherwise; x runs right, y down, in pixels. A camera that moves by
(dx, dy) pixels a frame makes the picture move by (-dx, -dy): *motion* below always means that of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Colour = tuple[int, int, int]
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)

_OCTAVES = (128, 64, 32, 16, 8, 4, 2)
"""Cell sizes of the noise in pixels. Equal energy per octave is the 1/f amplitude spectrum of natural pictures
(Field 1987, "Relations between the statistics of natural images and the response properties of cortical cells")."""
LUMA = (0.2126, 0.7152, 0.0722)
"""Weights of R, G, B in luma: Recommendation ITU-R BT.709-6, item 3.2."""


def texture(
    width: int, height: int, seed: int, *, mean: float = 118.0, std: float = 44.0, edges: int = 120
) -> np.ndarray:
    """A rich picture: noise on seven octaves over overlapping polygons with hard borders, in a palette of its own.

    Sharp on the finest scale (so sharpness means something) and without repeats (so optical flow has one answer).
    ``edges`` is the number of polygons per million pixels. ``mean`` and ``std`` are those of the luma in grey levels
    before clipping to 4..251, which keeps every pixel from counting as black or as clipped.
    """
    rng = np.random.default_rng([seed, 1])
    palette = _palette(rng)
    picture = _polygons(width, height, rng, palette, max(8, round(edges * width * height / 1e6)))
    noise = _noise(width, height, rng)
    luma = picture @ np.array(LUMA, np.float32)
    picture -= float(luma.mean())
    picture *= 0.8 * std / max(float(luma.std()), 1e-6)
    picture += (0.6 * std / float(noise.std())) * (noise - float(noise.mean()))[..., None]
    return np.clip(np.rint(picture + mean), 4, 251).astype(np.uint8)


def _palette(rng: np.random.Generator) -> np.ndarray:
    """(6, 3) float32 RGB: four colours of neighbouring hues and two of the opposite one, from dark to light."""
    hue = rng.random() * 180
    hues = (hue + np.array([0, 12, -12, 20, 90, 100]) + 6 * rng.random(6)) % 180
    saturation = 50 + 110 * rng.random(6)
    value = np.linspace(60, 230, 6) + 25 * rng.random(6)
    hsv = np.stack([hues, saturation, rng.permutation(value)], axis=1)
    return cv2.cvtColor(hsv[None].astype(np.uint8), cv2.COLOR_HSV2RGB)[0].astype(np.float32)


def _polygons(width: int, height: int, rng: np.random.Generator, palette: np.ndarray, count: int) -> np.ndarray:
    """(h, w, 3) float32 of ``count`` anti-aliased polygons of radius 12 to 160 px, large ones first."""
    canvas = np.full((height, width, 3), palette[0], np.uint8)
    sizes = np.sort(12 * np.exp(rng.random(count) * np.log(160 / 12)))[::-1]
    for size in sizes:
        centre = rng.random(2) * (width, height)
        corners = int(rng.integers(3, 9))
        angles = np.sort(rng.random(corners)) * 2 * np.pi
        points = centre + size * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        colour = palette[int(rng.integers(0, len(palette)))]
        cv2.fillPoly(canvas, [np.rint(points * 16).astype(np.int32)], [float(v) for v in colour], cv2.LINE_AA, shift=4)
    return canvas.astype(np.float32)


def _noise(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """(h, w) float32: one octave of uniform noise for each cell size, cubically interpolated, equal in energy."""
    total = np.zeros((height, width), np.float32)
    for cell in _OCTAVES:
        small = rng.random((height // cell + 4, width // cell + 4), dtype=np.float32) - 0.5
        large = cv2.resize(small, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
        total += large[cell : cell + height, cell : cell + width]
    return total


def window(source: np.ndarray, x: float, y: float, width: int, height: int) -> np.ndarray:
    """The ``width`` × ``height`` picture whose top left corner lies at (x, y) of ``source``, exact to a fraction of a pixel.

    Whole positions are plain crops. Others are sampled by a windowed sinc, which moves a texture without softening it
    visibly; so a pan's speed is true by construction. Four pixels of margin are needed on each side then.

    Raises:
        ValueError: the window leaves ``source``.
    """
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - x0, y - y0
    pad = 0 if fx == 0 and fy == 0 else _REACH
    if min(x0, y0) < pad or x0 + width + pad > source.shape[1] or y0 + height + pad > source.shape[0]:
        raise ValueError(
            f"window {width}x{height} at ({x}, {y}) leaves a source of {source.shape[1]}x{source.shape[0]}"
        )
    piece = source[y0 - pad : y0 + height + pad, x0 - pad : x0 + width + pad]
    if not pad:
        return piece.copy()
    moved = cv2.sepFilter2D(piece, -1, _taps(fx), _taps(fy), borderType=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(moved[pad:-pad, pad:-pad])


_REACH = 4


def _taps(fraction: float) -> np.ndarray:
    """(9,) float32 weights of the pixels -4..4 that sample at ``fraction`` (0 ≤ fraction < 1), summing to 1.

    A sinc under a Hann window of four lobes. Unlike Lanczos' kernel its centroid is ``fraction`` itself: details of four
    pixels and more move by the wanted way to 0.004 pixels (with Lanczos' three lobes: 0.02).
    """
    at = np.arange(-_REACH, _REACH + 1) - fraction
    taps = np.where(np.abs(at) < _REACH, np.sinc(at) * (0.5 + 0.5 * np.cos(np.pi * at / _REACH)), 0.0)
    return (taps / taps.sum()).astype(np.float32)


def camera(
    source: np.ndarray, centre: tuple[float, float], width: int, height: int, *, zoom: float = 1.0, degrees: float = 0.0
) -> np.ndarray:
    """What a camera sees that looks at ``centre`` of ``source``, magnified by ``zoom`` and turned by ``degrees``.

    Positive degrees turn the picture clockwise. Sampled bicubically; beyond the source its mirror image is seen.
    """
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    middle = ((width - 1) / 2, (height - 1) / 2)
    matrix = np.array(
        [
            [cos, sin, centre[0] - cos * middle[0] - sin * middle[1]],
            [-sin, cos, centre[1] + sin * middle[0] - cos * middle[1]],
        ]
    )
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(source, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def mix(first: np.ndarray, second: np.ndarray | Colour, weight: float) -> np.ndarray:
    """``(1 - weight) * first + weight * second``, rounded; ``second`` may be a plain colour."""
    other = np.asarray(second, np.float32)
    return np.rint(first.astype(np.float32) * (1 - weight) + other * weight).astype(np.uint8)


def level(picture: np.ndarray, gain: float, offset: float = 0.0) -> np.ndarray:
    """``gain * picture + offset`` in grey levels, rounded and clipped to 0..255."""
    return np.clip(np.rint(picture.astype(np.float32) * gain + offset), 0, 255).astype(np.uint8)


def blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of standard deviation ``sigma`` pixels (kernel out to four of them)."""
    side = 2 * int(np.ceil(4 * sigma)) + 1
    return cv2.GaussianBlur(picture, (side, side), sigma, borderType=cv2.BORDER_REFLECT_101)


def upscale(picture: np.ndarray, factor: float) -> np.ndarray:
    """The same size, but with only 1 / ``factor`` of the resolution: reduced by area, enlarged bicubically."""
    height, width = picture.shape[:2]
    low = cv2.resize(picture, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
    return cv2.resize(low, (width, height), interpolation=cv2.INTER_CUBIC)


def bars(picture: np.ndarray, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0) -> np.ndarray:
    """A copy with black bars of so many pixels painted over its borders."""
    out = picture.copy()
    height, width = out.shape[:2]
    out[:top] = 0
    out[height - bottom :] = 0
    out[:, :left] = 0
    out[:, width - right :] = 0
    return out


Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""


def text_box(
    picture: np.ndarray, box: Box, text: str, *, colour: Colour = WHITE, ground: Colour = (24, 24, 32)
) -> np.ndarray:
    """A copy with a filled ``box`` in which ``text`` stands on one line, as large as fits with a small margin."""
    x, y, width, height = box
    out = picture.copy()
    out[y : y + height, x : x + width] = ground
    (text_w, text_h), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 2)
    scale = min(0.9 * width / text_w, 0.6 * height / text_h)
    (text_w, text_h), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)
    origin = (x + (width - text_w) // 2, y + (height + text_h) // 2)
    return cv2.putText(out, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 2, cv2.LINE_AA)


def letters(box: Box, text: str) -> Box:
    """The tight frame around the letters that :func:`text_box` draws."""
    x, y, width, height = box
    drawn = text_box(np.zeros((y + height, x + width, 3), np.uint8), box, text, ground=BLACK)
    rows, columns = np.flatnonzero(drawn.any(axis=(1, 2))), np.flatnonzero(drawn.any(axis=(0, 2)))
    return int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def area_share(boxes: Sequence[Box], width: int, height: int) -> float:
    """Share (0..1) of a ``width`` × ``height`` frame that the union of ``boxes`` covers."""
    mask = np.zeros((height, width), bool)
    for x, y, w, h in boxes:
        mask[y : y + h, x : x + w] = True
    return float(mask.mean())
