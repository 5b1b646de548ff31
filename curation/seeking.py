"""Seeking to a codec keyframe at or before an instant, checked rather than trusted."""

from __future__ import annotations

from collections.abc import Iterator

import av
import av.container
from av.packet import Packet
from av.video.stream import VideoStream

_BACK_S = (0, 1, 5, 20)
"""Seconds before the wanted instant to seek to, one after the other. Indices of mp4 and mov hold decoding times, and those of
other containers may be coarse, so that a first seek can land after it."""


def seek_keyframe(
    container: av.container.InputContainer, stream: VideoStream, wanted: int, *demuxed: VideoStream
) -> tuple[Packet, Iterator[Packet]] | None:
    """The packet of a codec keyframe that is shown at or before the time stamp ``wanted``, and the packets after it in decoding order.

    Args:
        demuxed: the streams whose packets are wanted; none means all.

    Returns:
        None where there is no such keyframe, or the container cannot be sought.
    """
    assert stream.time_base is not None
    for back in _BACK_S:
        try:
            container.seek(wanted - int(back / stream.time_base), stream=stream, backward=True)
            packets = iter(container.demux(*demuxed))
            first = next((p for p in packets if p.stream_index == stream.index and p.is_keyframe and p.size), None)
        except av.error.FFmpegError:
            continue
        shown = None if first is None else first.pts if first.pts is not None else first.dts
        if first is not None and shown is not None and shown <= wanted:
            return first, packets
    return None
