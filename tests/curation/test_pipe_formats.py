"""What pixel format frames are handed to the encoder in, and what range their values have."""

from __future__ import annotations

import av
import numpy as np
import pytest

from curation.pipe_formats import full_range, pipe_format


@pytest.mark.parametrize(
    ("pixel_format", "tag", "full"),
    [
        ("gray", 0, True),
        ("gray", 1, False),
        ("yuvj420p", 0, True),
        ("yuv420p", 0, False),
        ("yuv420p", 2, True),
        ("rgb24", 0, True),
    ],
)
def test_the_range_of_untagged_frames_follows_their_format(pixel_format: str, tag: int, full: bool) -> None:
    frame = av.VideoFrame(16, 16, pixel_format)
    frame.color_range = tag
    assert full_range(frame) is full


def test_every_pixel_format_has_a_way_through_the_pipe() -> None:
    """Formats that NUT cannot name would silently be taken for another one."""
    array = np.zeros((16, 32, 3), np.uint8)
    known = {"yuv420p", "yuvj420p", "yuv422p10le", "nv12", "gray", "gray10le", "rgb24"}
    for name in known | {
        "nv16",
        "p010le",
        "yuv440p",
        "yuva420p",
        "bgra",
        "gbrp12le",
        "rgb48le",
        "ya8",
        "yuv410p",
        "monob",
    }:
        frame = av.VideoFrame.from_ndarray(array, format="rgb24").reformat(format=name)
        chosen = pipe_format(frame)
        assert (chosen == name) == (name in known | {"rgb48le"})
        deep = max(component.bits for component in frame.format.components) > 8
        assert (max(component.bits for component in av.VideoFormat(chosen).components) > 8) == deep
