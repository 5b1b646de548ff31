"""What an encoded clip looks like, whoever encodes it: its picture and size, its times, x264's and the mp4's settings, colour tags."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from curation.x264 import steady_params
from schemas.recipe import Export

PIPE_SWS = int(
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INP
)
"""swscale with rounding that is the same on every processor, where frames must change before they are sent."""
SQUARE = Fraction(1)
"""Every exported pixel's sample aspect ratio."""
RGB, UNKNOWN, TV, BT709 = 0, 2, 1, 1
"""Numbers of ISO/IEC 23091-2; of the range, AVColorRange."""
_LEAST_BOX = 16


def fitted_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """(width, height) of an encoded clip: even, short side at most ``short_side``, aspect kept, never enlarged, at least 2."""
    least = min(width, height)
    scale = 1.0 if least <= short_side else max(2, 2 * (short_side // 2)) / least

    def even(side: int) -> int:
        return max(2, min(2 * round(side * scale / 2), 2 * (side // 2)))

    return even(width), even(height)


Box = tuple[int, int, int, int]
"""(left, top, width, height) in displayed pixels."""


def box_without_bars(width: int, height: int, top: int, bottom: int, left: int, right: int) -> Box | None:
    """The picture within its black bars, rounded inwards to even offsets and sides; None where nothing is to be cut off.

    All in displayed pixels. Bars that leave less than ``_LEAST_BOX`` pixels of a side are not believed.
    """
    if not (top or bottom or left or right):
        return None
    x, y = left + left % 2, top + top % 2
    box_width, box_height = (width - right - x) // 2 * 2, (height - bottom - y) // 2 * 2
    return (x, y, box_width, box_height) if min(box_width, box_height) >= _LEAST_BOX else None


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the clip is, and in which units."""

    num_frames: int
    length: int
    """From the first frame to the end of the last, in ticks."""
    timescale: int
    """Ticks per second."""

    @property
    def fps(self) -> float:
        return self.num_frames * self.timescale / self.length


@dataclass(frozen=True, slots=True)
class Picture:
    """What the encoder must do to stored frames, besides encoding."""

    rotation: int
    """Clockwise degrees."""
    width: int
    """As displayed, before shrinking."""
    height: int
    square_pixels: bool
    box: Box | None = None
    """What is left without black bars, where they are to be cut off."""

    def shown_size(self, short_side: int) -> tuple[int, int]:
        """(width, height) of the encoded clip."""
        width, height = (self.width, self.height) if self.box is None else self.box[2:]
        return fitted_size(width, height, short_side)

    def stored_box(self, width: int, height: int) -> Box:
        """``box`` (or the whole picture) on an upright picture whose pixels need not be square; offsets are even, as 4:2:0 needs."""
        x, y, box_width, box_height = self.box or (0, 0, self.width, self.height)
        left, top = (2 * round(at / 2) for at in (x * width / self.width, y * height / self.height))
        return (
            left,
            top,
            min(width - left, round(box_width * width / self.width)),
            min(height - top, round(box_height * height / self.height)),
        )


def x264_options(timing: Timing, settings: Export) -> dict[str, Any]:
    """How to encode, whoever runs x264."""
    rate = Fraction(timing.fps).limit_denominator(10_000)
    return {
        "preset": settings.preset, "crf": settings.crf,
        # A clip lies within one shot, so keyframes come only where they are asked for.
        "sc_threshold": 0, "forced-idr": 1, "g": 1 << 30,
        "x264-params": ":".join((f"fps={rate.numerator}/{rate.denominator}", *steady_params())),
    }  # fmt: skip


def keyframe_due(timing: Timing, settings: Export) -> float:
    """Seconds after a codec keyframe from which a frame becomes the next one.

    So that the last frame no more than the interval after it does, going by the mean gap between frames. A limit in frames (``g``)
    would say nothing about time at a variable rate, so it is set out of reach.
    """
    return max(0.0, settings.keyframe_interval_s - 0.999 / timing.fps)


def mp4_options(timing: Timing, *, sound: bool) -> dict[str, Any]:
    """How to write the mp4. Without an edit list no reader can see other frames than another; sound needs one to stay in step."""
    options: dict[str, Any] = {
        "fflags": "+bitexact", "movflags": "+faststart+negative_cts_offsets", "video_track_timescale": timing.timescale,
    }  # fmt: skip
    return options if sound else options | {"use_editlist": 0}


def colour_tags(first: VideoFrame, *, rgb: bool = False) -> dict[str, int]:
    """What the encoded clip says of its colours, in numbers of ISO/IEC 23091-2: the source's words, where it has any."""
    matrix = BT709 if rgb or int(first.colorspace) == RGB else int(first.colorspace)
    tags = {"colorspace": matrix, "color_primaries": int(first.color_primaries), "color_trc": int(first.color_trc)}
    return {name: value for name, value in tags.items() if value != UNKNOWN} | {"color_range": TV}
