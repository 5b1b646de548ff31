"""From a decoded frame to what the pass works on: small upright planes, the native luma plane, stills."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from curation.frames import SMALL_SIDE, Frame

if TYPE_CHECKING:
    from curation.probe import Probe

# The default swscale paths differ by CPU flags; with these two the output is the same on every machine.
_AREA = int(Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT)
_SAME_SIZE = int(Interpolation.POINT | Interpolation.BITEXACT)
"""For a change of format alone: swscale's own converter, a seventh of the cost. Colour is repeated, not smoothed, which a JPEG that
stores it at half size undoes."""
_BT709 = 1  # AVCOL_SPC_BT709
_TURN = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
LEAST_ROWS = 1.66
"""Rows of a frame for each row of its small picture, at least; where there are more by a whole factor, rows between are not looked at.
Every 4th row of 1080, every 3rd of 720. Speeds and what the camera does come out the same as with all rows (within 1 %), a slow tilt
with a residual of 0.09 in place of 0.05; with fewer rows the flow of fine level stripes breaks."""
_PLANAR_LUMA = ("yuv", "nv12", "nv16", "nv21", "gray", "p010", "p012", "p016", "p210")


def fit_long_side(width: int, height: int, side: int) -> tuple[int, int]:
    """(width, height) scaled down so that the longer is at most ``side``; never enlarged, never below 1 pixel."""
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def fit_short_side(width: int, height: int, side: int) -> tuple[int, int]:
    """(width, height) scaled down so that the shorter is at most ``side``; never enlarged."""
    scale = min(1.0, side / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _even(size: tuple[int, int]) -> tuple[int, int]:
    return max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2)


def rows_apart(rows: int, small_rows: int) -> int:
    """Every how many rows of a frame are enough for its small picture."""
    return max(1, int(rows / (LEAST_ROWS * small_rows)))


class _Thin:
    """A frame made of every n-th row of frames of one size and planar format.

    This runs between two calls of the decoder, which pushes Python's own code out of the processor's caches: few steps count here
    more than what they do.
    """

    def __init__(self, frame: VideoFrame, every: int) -> None:
        self._frame = VideoFrame(frame.width, frame.height // every // 2 * 2, frame.format.name)
        self._marks: tuple[int, int] | None = None
        self._distances = [plane.line_size for plane in frame.planes]
        self._copies = []
        for target, source in zip(self._frame.planes, frame.planes, strict=True):
            first, apart = every // 2 * source.line_size, every * source.line_size
            rows = min(target.height, len(range(every // 2, source.height, every)))
            shape = rows, min(target.line_size, source.line_size)
            self._copies.append((np.ndarray(shape, np.uint8, target, 0, (target.line_size, 1)), first, (apart, 1)))  # type: ignore[arg-type]

    def fill(self, frame: VideoFrame) -> VideoFrame | None:
        """Those rows of ``frame``, the same of each plane; None where rows lie at another distance than in the frame that this was made
        for. The next call writes over them."""
        planes = frame.planes
        if [plane.line_size for plane in planes] != self._distances:
            return None
        for (target, first, strides), plane in zip(self._copies, planes, strict=True):
            target[...] = np.ndarray(target.shape, np.uint8, plane, first, strides)  # type: ignore[arg-type]  # it has a buffer
        marks = frame.colorspace, frame.color_range
        if marks != self._marks:
            self._frame.colorspace, self._frame.color_range = self._marks = marks
        return self._frame


class FrameMaker:
    """Turns decoded frames of one source into :class:`Frame`; sizes are worked out once.

    One swscale step gives the small planes: by area, with the change to full range in the same pass. That takes every pixel format.
    Of high frames only some rows are read, since the time goes into rows: 0.6 of the time at 1080p, 0.8 at 720p. A pyramid of OpenCV's
    2 × 2 means takes no less of the same rows. BGR instead of planes would cost half as much again.
    """

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._seconds = probe.time_base.as_integer_ratio()
        self._size = (probe.width, probe.height)
        self._turn = _TURN.get(probe.rotation)
        self._small = self._stored(_even(fit_long_side(probe.width, probe.height, SMALL_SIDE)))
        self._reformatter = VideoReformatter()
        self._key = ("", 0, 0)  # format and size of the newest frame; they may change on the way
        self._thin: _Thin | None = None
        self._full_range = False

    def _stored(self, shown: tuple[int, int]) -> tuple[int, int]:
        """A size as displayed, as it lies before the turn."""
        return (shown[1], shown[0]) if self._probe.rotation in (90, 270) else shown

    def make(self, frame: VideoFrame, index: int, pts: int, *, with_luma: bool) -> Frame:
        """One :class:`Frame`. The luma plane is a view into the decoder's buffer where the format is 8-bit planar."""
        small = self._reformatter.reformat(
            self._thinned(frame), width=self._small[0], height=self._small[1], format="yuv420p", interpolation=_AREA,
            dst_color_range=ColorRange.JPEG, threads=1,
        )  # fmt: skip
        gray, cb, cr = (self._plane(plane) for plane in small.planes)
        ticks, per_second = self._seconds
        return Frame(
            index=index,
            pts=pts,
            time=pts * ticks / per_second,
            gray=gray,
            cb=cb,
            cr=cr,
            bt709=int(frame.colorspace) == _BT709,
            luma=native_luma(frame) if with_luma else None,
            rotation=self._probe.rotation,
            display_size=self._size,
            full_range=self._full_range or int(frame.color_range) == 2,
        )

    def _thinned(self, frame: VideoFrame) -> VideoFrame:
        """The frame with as few of its rows as the small one needs, or itself."""
        key = (frame.format.name, frame.width, frame.height)
        if key != self._key:
            self._key, every = key, rows_apart(frame.height, self._small[1])
            self._full_range = key[0].startswith(("yuvj", "rgb", "bgr", "gbr", "pal"))
            usual = all(plane.line_size > 0 and 2 * plane.height >= frame.height for plane in frame.planes)
            self._thin = _Thin(frame, every) if every > 1 and frame.format.is_planar and usual else None
        if self._thin is None:
            return frame
        thinned = self._thin.fill(frame)
        if thinned is None:
            self._key = ("", 0, 0)
            return self._thinned(frame)
        return thinned

    def _plane(self, plane: VideoPlane) -> np.ndarray:
        """A small plane, upright, without the padding of its rows."""
        picture: np.ndarray = np.ndarray((plane.height, plane.width), np.uint8, plane, 0, (plane.line_size, 1))  # type: ignore[arg-type]
        return np.ascontiguousarray(picture) if self._turn is None else cv2.rotate(picture, self._turn)

    def shrunk(self, frame: VideoFrame, short_side: int) -> VideoFrame:
        """The frame at a still's size, still in the source's colours and not turned: cheap to make and to hold."""
        size = self._stored(fit_short_side(self._probe.width, self._probe.height, short_side))
        return frame.reformat(width=size[0], height=size[1], format="yuv420p", interpolation=_AREA, threads=1)

    def jpeg(self, shrunk: VideoFrame, quality: int) -> bytes:
        """A frame from :meth:`shrunk` as displayed, as JPEG bytes."""
        picture: np.ndarray = shrunk.reformat(format="bgr24", interpolation=_SAME_SIZE, threads=1).to_ndarray()
        if self._turn is not None:
            picture = cv2.rotate(picture, self._turn)
        done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not done:
            raise RuntimeError("OpenCV could not encode a JPEG")
        return data.tobytes()


def native_luma(frame: VideoFrame) -> np.ndarray:
    """(H, W) uint8 luma as stored. Deeper formats are brought to 8 bits; formats without a luma plane are converted."""
    name = frame.format.name
    plane = frame.planes[0]
    bits = frame.format.components[0].bits
    if not name.startswith(_PLANAR_LUMA) or name.startswith("yuyv") or plane.height != frame.height:
        return frame.reformat(format="gray", interpolation=_AREA, threads=1).to_ndarray()
    if bits == 8:
        return np.frombuffer(memoryview(plane), np.uint8).reshape(frame.height, plane.line_size)[:, : frame.width]
    order = ">u2" if name.endswith("be") else "<u2"
    deep = np.frombuffer(memoryview(plane), order).reshape(frame.height, plane.line_size // 2)[:, : frame.width]
    # p010 and its kin keep their bits at the top of the word, the yuv420p10 family at the bottom.
    shift = 8 if name.startswith("p0") or name.startswith("p2") else bits - 8
    return (deep >> shift).astype(np.uint8)
