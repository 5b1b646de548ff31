"""The set ``odd``: sound files that are not what a simple reader expects. ``width`` and ``height`` are as displayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from curation.golden import scenes
from curation.golden.timeline import Cut, Timeline
from curation.golden.video import GoldenVideo, played

SIZE = (320, 180)
_SETS = ("odd",)


def videos(seed: int) -> list[GoldenVideo]:
    """All videos of the set: two pans of 25 frames with a cut between them, unless the name says otherwise."""
    base = 1_000_000 * seed + 600_000

    def make(
        name: str,
        *,
        size: tuple[int, int] = SIZE,
        shown: tuple[int, int] | None = None,
        sets: tuple[str, ...] = _SETS,
        length: int = 25,
        **options: Any,
    ) -> GoldenVideo:
        shots = (scenes.pan(size, base, length, 2.0), scenes.pan(size, base + 1, length, -1.0, 1.0))
        width, height = shown or size
        line = Timeline(shots, (Cut(),))
        return played(f"odd_{name}", sets, line, size=size, width=width, height=height, **options)

    return [
        # ``stored_top`` tells which side of the upright picture is the stored picture's top row.
        *(
            make(
                f"rotated_{angle}",
                shown=SIZE[::-1] if angle % 180 else SIZE,
                encoding={"rotation": angle},
                rotation=angle,
                stored_top=side,
            )
            for angle, side in ((90, "right"), (180, "bottom"), (270, "left"))
        ),
        make(
            "rotated_90_mkv",
            shown=SIZE[::-1],
            suffix=".mkv",
            encoding={"rotation": 90},
            rotation=90,
            stored_top="right",
        ),
        *(_variable_rate(make, suffix) for suffix in (".mp4", ".mkv")),
        make("late_start", suffix=".mkv", encoding={"pts": [2500 + 40 * k for k in range(50)]}, start_s=2.5),
        make("late_start_mp4", encoding={"pts": [2500 + 40 * k for k in range(50)]}, start_s=2.5),
        make("size_321x181", size=(321, 181), encoding={"pix_fmt": "yuv444p"}),
        make("size_321x181_vp9", size=(321, 181), suffix=".webm", encoding={"codec": "libvpx-vp9"}),
        make("ten_bit", suffix=".mkv", encoding={"codec": "libx265", "pix_fmt": "yuv420p10le"}, bits=10),
        make("ten_bit_h264", encoding={"pix_fmt": "yuv420p10le"}, bits=10),
        make("full_range", encoding={"full_range": True}, color_range="pc"),
        _grey(base),
        _alpha(base, "alpha_ffv1", ".mkv", {"codec": "ffv1", "pix_fmt": "yuva420p"}),
        _alpha(base, "alpha_prores", ".mov", {"codec": "prores_ks", "pix_fmt": "yuva444p10le"}),
        make("anamorphic", size=(240, 180), shown=SIZE, encoding={"sar": Fraction(4, 3)}, sar=[4, 3]),
        make("tone", encoding={"audio": True}, has_audio=True),
        make("tone_webm", suffix=".webm", encoding={"codec": "libvpx-vp9", "audio": True}, has_audio=True),
        make("hevc", encoding={"codec": "libx265"}),
        make("vp9", suffix=".mkv", encoding={"codec": "libvpx-vp9"}),
        make("av1", encoding={"codec": "libsvtav1"}),
        make("mpeg4", suffix=".avi", encoding={"codec": "mpeg4"}),
        make("mpeg2", suffix=".ts", encoding={"codec": "mpeg2video"}),
        make("h264_ts", suffix=".ts"),
        make("mjpeg", suffix=".avi", encoding={"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        make("flv", suffix=".flv", encoding={"codec": "flv"}),
        make("wmv", suffix=".wmv", encoding={"codec": "wmv2"}),
        make("all_keyframes", suffix=".mov", encoding={"gop": 1}),
        make("no_bframes", encoding={"bframes": 0, "gop": 10}),
        played("odd_one_frame", _SETS, Timeline((scenes.still(SIZE, base, 1),)), size=SIZE),
        played("odd_tiny", _SETS, Timeline((scenes.pan((16, 16), base, 30, 0.5),)), size=(16, 16)),
        played("odd_fast_rate", _SETS, Timeline((scenes.pan(SIZE, base, 120, 0.5),)), size=SIZE, fps=120.0),
        played("odd_ntsc", _SETS, Timeline((scenes.pan(SIZE, base, 60, 1.0),)), size=SIZE, fps=30000 / 1001),
    ]


def _variable_rate(make: Callable[..., GoldenVideo], suffix: str) -> GoldenVideo:
    """Steps of 20, 40 and 100 ms by turns; the cut at frame 60 falls on 3200 ms."""
    steps = [(20, 40, 100)[k % 3] for k in range(119)]
    pts = [0, *np.cumsum(steps).tolist()]
    name = "variable_rate" if suffix == ".mp4" else "variable_rate_mkv"
    truth = {"pts_ms": pts, "vfr": True, "sets": ("odd", "demo") if suffix == ".mp4" else _SETS}
    return make(name, suffix=suffix, length=60, encoding={"pts": pts}, **truth)


def _grey(base: int) -> GoldenVideo:
    """One plane, no colour at all."""
    grey = scenes.pan(SIZE, base, 25, 2.0).through(lambda picture, _: np.ascontiguousarray(picture[..., 1]))
    return played(
        "odd_grey", _SETS, Timeline((grey,)), size=SIZE, suffix=".mkv", encoding={"codec": "ffv1", "pix_fmt": "gray"}
    )


def _alpha(base: int, name: str, suffix: str, encoding: dict[str, Any]) -> GoldenVideo:
    """A fourth channel that rises from 0 at the left border to 255 at the right one."""
    line = Timeline((scenes.pan(SIZE, base, 25, 2.0),))
    alpha = np.rint(np.linspace(0, 255, SIZE[0])).astype(np.uint8)

    def frames() -> Iterator[np.ndarray]:
        for picture in line.frames():
            yield np.dstack([picture, np.broadcast_to(alpha, picture.shape[:2])])

    truth = line.truth(25.0, *SIZE) | {"alpha": True}
    return GoldenVideo(f"odd_{name}", _SETS, 25.0, SIZE, frames, truth, suffix, encoding=encoding)
