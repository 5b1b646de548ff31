"""Opening a media file for its packets: what headers tell is enough, so nothing is decoded."""

from __future__ import annotations

from pathlib import Path

import av
import av.container

from curation.opening import OPEN_OPTIONS

HEADER_ONLY = {"codec_whitelist": "none"}
"""Opening decodes frames to learn the pixel format and how far frames are reordered: 10 to 40 ms at 1080p. Where it may use no decoder
it goes without. A decoder opened so learns the order of showing as it goes, like that of a reader who does not look ahead."""
_SELF_TOLD = ("mov,mp4", "matroska", "mpegts", "flv")
"""Containers that give every frame's time of showing, and the parameter sets of ``_SELF_TOLD_CODECS``, without a decoder."""
_SELF_TOLD_CODECS = ("h264", "hevc", "vp9", "av1")


def open_headers(path: Path, codec: str) -> av.container.InputContainer | None:
    """Open a source for its packets, without decoding; None where its headers alone do not tell enough, or it does not open."""
    if codec not in _SELF_TOLD_CODECS:
        return None
    try:
        container = av.open(f"file:{path}", options={**OPEN_OPTIONS, **HEADER_ONLY}, metadata_errors="replace")
    except (av.error.FFmpegError, OSError):
        return None
    sized = all(stream.codec_context is not None and stream.codec_context.width for stream in container.streams.video)
    if container.format.name.startswith(_SELF_TOLD) and sized:
        return container
    container.close()
    return None
