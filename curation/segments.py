"""Long sources in pieces: where to divide them, and which frames belong to which piece.

A segment owns the frames whose time stamps lie in its half-open span. Its scan begins at a codec keyframe some seconds before and
goes on for some seconds after, so that everything that looks around a frame sees at a seam what it would see within one piece.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path

import av
import av.container
from av.packet import Packet
from av.video.stream import VideoStream

from curation.opening import SourceFailure, open_container
from curation.probe import video_stream
from curation.seeking import seek_keyframe
from schemas.errors import ErrorCode
from schemas.recipe import Plan

RUN_UP_S = 6.0
"""Seconds decoded on both sides of a seam besides: more than the 4.5 s that the shot finder looks at around a frame, of which slow
fades take 3."""

SOUND_S = 0.4
"""Seconds of sound heard on both sides of a seam besides: a loudness block (ITU-R BS.1770)."""

NEVER = 1 << 62
"""Beyond every time stamp."""

_SEEKABLE = ("mov", "matroska")
"""First names of the container formats that hold an index of codec keyframes."""

_RUN_UP_SHARE = 0.25
"""A source whose codec keyframes lie so far apart that run-ups would be more than this of a segment is not divided."""

_MOST = 10_000
"""A header that promises more segments than this is not believed."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A half-open span of a source's own time in seconds. None: from the first frame, to the last."""

    from_s: float | None = None
    to_s: float | None = None

    def bounds(self, time_base: Fraction) -> tuple[int, int]:
        """The first time stamp that is owned and the first after it that is not. Neighbours round alike, so they meet."""
        low, high = self.from_s, self.to_s
        return (
            -NEVER if low is None else _to_pts(low, time_base),
            NEVER if high is None else _to_pts(high, time_base),
        )


WHOLE = Piece()


def _to_pts(seconds: float, time_base: Fraction) -> int:
    return ceil(Fraction(seconds) / time_base)


def divide(path: Path, size: int | None, settings: Plan) -> list[Piece]:
    """The pieces in which a source is to be scanned: a fixed function of the file and the settings.

    Only files over ``segment_mb`` are opened, and only those whose container has an index of codec keyframes are divided, into pieces
    of equal length of at most ``segment_minutes``. Whatever stands against that makes the source one piece; the scan says what is wrong.
    """
    if size is None or size <= settings.segment_mb * 1e6:
        return [WHOLE]
    try:
        with open_container(path) as container:
            return _pieces(container, settings.segment_minutes * 60)
    except (SourceFailure, av.error.FFmpegError, OSError):
        return [WHOLE]


def _pieces(container: av.container.InputContainer, length_s: float) -> list[Piece]:
    stream = video_stream(container)
    if stream.time_base is None or container.format.name.split(",")[0] not in _SEEKABLE:
        return [WHOLE]
    start_s = float((stream.start_time or 0) * stream.time_base)
    if stream.duration is not None:
        duration_s = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        duration_s = container.duration / av.time_base - max(0.0, start_s)
    else:
        return [WHOLE]
    count = ceil(min(duration_s / length_s, _MOST + 1) - 1e-9)
    if count > _MOST:
        return [WHOLE]
    seams = [start_s + duration_s * number / count for number in range(1, count)]
    if not seams or not _has_keyframes(container, stream, seams, _RUN_UP_SHARE * duration_s / count + RUN_UP_S):
        return [WHOLE]
    return [Piece(a, b) for a, b in zip([None, *seams], [*seams, None], strict=True)]


def _has_keyframes(
    container: av.container.InputContainer, stream: VideoStream, seams: list[float], reach_s: float
) -> bool:
    """Whether the container's index has a codec keyframe within reach before each seam's run-up begins."""
    assert stream.time_base is not None
    # Matroska's index is read at the first seek.
    container.seek(_to_pts(seams[-1], stream.time_base), stream=stream, backward=True)
    index = stream.index_entries
    for seam in seams:
        wanted = _to_pts(seam - RUN_UP_S, stream.time_base)
        if wanted <= (stream.start_time or 0):
            continue  # that scan begins at the first frame
        found = index.search_timestamp(wanted, backward=True)
        if found < 0 or not index[found].is_keyframe:
            return False
        if float((wanted - index[found].timestamp) * stream.time_base) > reach_s:
            return False
    return True


def packets_before(
    container: av.container.InputContainer, stream: VideoStream, piece: Piece
) -> tuple[Iterator[Packet], int]:
    """Packets of all streams from the codec keyframe at which the scan of a later piece begins, and that keyframe's time stamp.

    Frames shown before the keyframe may refer to what was not decoded: leave them out.

    Raises:
        SourceFailure: the container cannot be sought to a codec keyframe early enough. The source must be scanned in one piece.
    """
    assert stream.time_base is not None
    assert piece.from_s is not None
    wanted = _to_pts(piece.from_s - RUN_UP_S, stream.time_base)
    if wanted <= (stream.start_time or 0):
        return iter(container.demux()), -NEVER
    found = seek_keyframe(container, stream, wanted)
    if found is not None and found[0].pts is not None:
        return itertools.chain([found[0]], found[1]), found[0].pts
    raise SourceFailure(ErrorCode.READ_FAILED, f"no codec keyframe is found {RUN_UP_S:g} s before {piece.from_s:.3f} s")
