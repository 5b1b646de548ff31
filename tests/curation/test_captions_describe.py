"""Captions made of measurements: what is said, and that nothing else is."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curation import joined
from curation.captioning.colours import colour_shares, dominant_colours
from curation.captioning.contract import ClipFacts, StillRef, caption_clips
from curation.captioning.describe import DescribeCaptioner
from curation.rules import apply_rules
from schemas.recipe import CurateRecipe
from schemas.tables import CAPTIONS

NO_BARS = (0.0, 0.0, 0.0, 0.0)
ROW: dict[str, Any] = {
    "width": 1920,
    "height": 1080,
    "duration_s": 8.2,
    "motion": 3.0,
    "camera_motion": "pan",
    "text_area": 0.0,
    "brightness": 0.45,
    "contrast": 0.4,
    "colourfulness": 40.0,
    "sharpness": 0.7,
    "static_share": 0.1,
    "black_share": 0.0,
    "bar_share": 0.0,
    "bar_top": 0,
    "bar_bottom": 0,
    "bar_left": 0,
    "bar_right": 0,
}


def jpeg(*bands: tuple[int, int, int], size: int = 512) -> bytes:
    """A picture of equally high bands of BGR colours."""
    rows = [np.full((size // len(bands), size, 3), colour, np.uint8) for colour in bands]
    done, data = cv2.imencode(".jpg", np.concatenate(rows), [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    return data.tobytes()


def facts(row: Mapping[str, Any], *stills: bytes) -> ClipFacts:
    refs = [StillRef(i, lambda s=s: s) for i, s in enumerate(stills)]  # type: ignore[misc]
    return ClipFacts("c", "/v/secret_dog_name.mp4", "secret_dog_name.mp4", "a dog", row, refs)


def said(row: Mapping[str, Any], *stills: bytes) -> str:
    (text,) = asyncio.run(DescribeCaptioner().caption([facts(row, *stills)]))
    assert text is not None
    assert text.scope == "clip"
    return text.caption


def test_everything_measured_is_said() -> None:
    row = {
        **ROW,
        "text_area": 0.12,
        "static_share": 0.6,
        "black_share": 0.1,
        "bar_share": 0.25,
        "bar_top": 135,
        "bar_bottom": 135,
    }
    (text,) = asyncio.run(DescribeCaptioner().caption([facts(row, jpeg((40, 160, 60), (200, 120, 40)))]))
    assert text is not None
    assert text.caption == (
        "A landscape video clip of about 8 seconds with moderate movement. The camera pans. "
        "The picture is moderately bright and sharp, with medium contrast and moderate colours. "
        "Most of it is green and blue. "
        "Text covers about 12% of the picture. "
        "Nothing changes for about 60% of the time. "
        "It is black for about 10% of the time."
    )
    assert text.short == "A moderately bright landscape video clip with moderate movement."
    assert json.loads(text.structured or "") == {
        "shape": "landscape",
        "seconds": 8,
        "camera": "pan",
        "movement": "moderate movement",
        "light": "moderately bright",
        "contrast": "medium",
        "colour": "moderate colours",
        "sharpness": "sharp",
        "still_percent": 60,
        "black_percent": 10,
        "bars_percent": 25,
        "text_percent": 12,
        "bars_at": ["top", "bottom"],
        "colours": ["green", "blue"],
    }


def test_bars_which_an_export_may_cut_off_are_a_fact_but_no_sentence() -> None:
    row = {**ROW, "bar_share": 0.26, "bar_top": 140, "bar_bottom": 140}
    (text,) = asyncio.run(DescribeCaptioner().caption([facts(row)]))
    assert text is not None
    assert "bars" not in text.caption + text.short
    assert json.loads(text.structured or "")["bars_percent"] == 26


@pytest.mark.parametrize(
    ("camera", "residual", "sure"),
    [("pan", 0.41, False), ("pan", 0.4, True), ("pan", None, True), ("static", 1.0, True), ("shake", 0.9, False)],
)
def test_a_move_that_leaves_much_of_the_motion_is_not_said(camera: str, residual: float | None, sure: bool) -> None:
    (text,) = asyncio.run(
        DescribeCaptioner().caption([facts({**ROW, "camera_motion": camera, "motion_residual": residual})])
    )
    assert text is not None
    assert ("camera" in text.caption) == sure
    assert ("camera" in json.loads(text.structured or "")) == sure


def test_small_shares_are_not_worth_a_sentence() -> None:
    assert said({**ROW, "black_share": 0.04, "static_share": 0.49, "bar_share": 0.005, "bar_top": 2}) == said(ROW)
    assert "%" not in said(ROW)


def test_what_was_not_measured_is_left_out() -> None:
    assert said({}) == "A video clip."
    assert said({"width": 1080, "height": 1920, "duration_s": 1.2, "motion": None}) == (
        "A portrait video clip of about 1 second."
    )
    assert said({"width": 64, "height": 64, "duration_s": 0.52, "contrast": 0.1}) == (
        "A square video clip of about 0.5 seconds. The picture has low contrast."
    )
    assert said({"brightness": 0.01}) == "A video clip. The picture is very dark."


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("motion", {0.1: "almost no movement", 1.0: "little", 5.0: "moderate mo", 20.0: "much", 90.0: "very fast"}),
        ("brightness", {0.0: "very dark", 0.1: "is dark", 0.7: "is bright", 1.0: "very bright"}),
        ("contrast", {0.1: "low contrast", 0.2: "medium contrast", 0.9: "high contrast"}),
        ("colourfulness", {0.0: "hardly any", 10.0: "faint", 20.0: "muted", 60.0: "strong", 200.0: "very strong"}),
        ("sharpness", {0.05: "blurred", 0.2: "soft", 0.9: "sharp"}),
        ("static_share", {0.5: "Nothing changes for about 50% of the time"}),
    ],
)
def test_words_for_values(column: str, values: dict[float, str]) -> None:
    for value, words in values.items():
        assert words in said({**ROW, column: value})


def test_nothing_is_said_of_content_or_names() -> None:
    vocabulary = set(
        """a about all almost and any at black blue blurred bottom bright brown camera changes clip colour colours contrast
        covers dark faint fast for green grey hardly has high is it landscape left little low medium moderate moderately
        most movement much muted no nothing of orange pans picture pink portrait purple red right second seconds sharp soft
        square strong text the time top turquoise very video white with yellow""".split()
    )
    stills = [jpeg((255, 0, 0)), jpeg((0, 0, 255), (0, 255, 0)), jpeg((10, 10, 10))]
    rows = [ROW, {}, {**ROW, "bar_share": 0.3, "bar_left": 9, "bar_right": 9}]
    rows += [{**ROW, "motion": m, "brightness": b, "sharpness": b} for m in (0, 1, 50) for b in (0, 0.2, 0.9)]
    for row in rows:
        for still in stills:
            assert set(re.findall("[a-z]+", said(row, still).lower())) <= vocabulary


@pytest.mark.parametrize(
    ("bgr", "name"),
    [
        ((0, 0, 0), "black"),
        ((128, 128, 128), "grey"),
        ((255, 255, 255), "white"),
        ((20, 20, 220), "red"),
        ((60, 20, 220), "red"),
        ((20, 130, 240), "orange"),
        ((20, 60, 100), "brown"),
        ((20, 230, 240), "yellow"),
        ((40, 180, 40), "green"),
        ((190, 190, 20), "turquoise"),
        ((220, 90, 20), "blue"),
        ((200, 30, 130), "purple"),
        ((160, 30, 230), "pink"),
    ],
)
def test_colour_names(bgr: tuple[int, int, int], name: str) -> None:
    assert dominant_colours(colour_shares([jpeg(bgr)], NO_BARS)) == (name,)


def test_colours_need_their_share() -> None:
    red, green, blue, grey = (20, 20, 220), (40, 180, 40), (220, 90, 20), (128, 128, 128)
    assert dominant_colours(colour_shares([jpeg(red, green)], NO_BARS)) in (("red", "green"), ("green", "red"))
    assert dominant_colours(colour_shares([jpeg(red, red, red, red, red, green)], NO_BARS)) == ("red",)
    assert dominant_colours(colour_shares([jpeg(red, green, blue, grey)], NO_BARS)) == ()
    assert dominant_colours(colour_shares([jpeg(red), jpeg(green), jpeg(red)], NO_BARS)) == ("red", "green")


def test_bars_have_no_colour() -> None:
    black, green = (0, 0, 0), (40, 180, 40)
    barred = jpeg(black, green, black, size=513)
    assert dominant_colours(colour_shares([barred], NO_BARS))[0] == "black"
    shares = colour_shares([barred], (1 / 3, 1 / 3, 0.0, 0.0))
    assert dominant_colours(shares) == ("green",)
    assert shares[0] < 0.01
    assert "Most of it is green." in said({**ROW, "bar_top": 360, "bar_bottom": 360, "bar_share": 0.67}, barred)


def test_stills_that_do_not_decode_are_left_out() -> None:
    assert colour_shares([b"", b"not a picture"], NO_BARS).sum() == 0
    assert dominant_colours(colour_shares([], NO_BARS)) == ()
    assert dominant_colours(colour_shares([b"x", jpeg((20, 20, 220))], NO_BARS)) == ("red",)
    assert "Most of it" not in said(ROW, b"not a picture")


def test_a_few_stills_are_read_spread_over_the_clip() -> None:
    read: list[int] = []

    def still(frame: int) -> StillRef:
        def get() -> bytes:
            read.append(frame)
            return jpeg((20, 20, 220), size=64)

        return StillRef(frame, get)

    asyncio.run(DescribeCaptioner().caption([ClipFacts("c", "x", "x", None, ROW, [still(i) for i in range(16)])]))
    assert read == [2, 6, 10, 14]


def test_described_clips_pass_the_rules_over_captions() -> None:
    rows = [{}, ROW, {**ROW, "bar_share": 0.3, "bar_top": 9, "bar_bottom": 9, "static_share": 0.7, "black_share": 0.5}]
    captions = asyncio.run(caption_clips([facts(row) for row in rows], [DescribeCaptioner()], 4000))
    table = pa.Table.from_pylist(captions, schema=CAPTIONS.arrow)
    verdicts = apply_rules(joined.add_checks(table, None), CurateRecipe().judge.rules)
    assert verdicts.all == [[], [], []]
