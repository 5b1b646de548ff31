"""Opening a media file safely.

Nothing here follows a reference out of the file: containers and protocols are on a short list, so a playlist, a concat script or
a nested address that calls itself ``.mp4`` is refused instead of opened.
"""

from __future__ import annotations

from pathlib import Path

import av
import av.container
import av.logging

from schemas.errors import ErrorCode

# Demuxers that read one self-contained file. Not on it, on purpose: hls, dash, concat, image sequences, devices, subtitles, tty.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,mpegvideo,m4v,asf,ogg,gif,apng,mxf,ivf,h263,h264,hevc,"
    "av1,obu,nut,dv,rm,wtv,y4m,yuv4mpegpipe,swf,vc1"
)
OPEN_OPTIONS = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
"""Options for every container that is opened anywhere in the engine."""

_PLAYLIST_MAGIC = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"[Reference]", b"<?xml", b"<MPD", b"<asx")
_STILL_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"8BPS": "PSD",
}


class SourceFailure(Exception):
    """A source cannot be used (further). Becomes a row, never ends a run."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        return (SourceFailure, (self.code, self.message))


def quiet_decoder() -> None:
    """Keep FFmpeg's messages off the terminal; what matters is in the tally. Its log callback into Python can deadlock, so it goes."""
    av.logging.restore_default_callback()
    av.logging.set_libav_level(av.logging.PANIC)


def open_container(path: str | Path) -> av.container.InputContainer:
    """Open a local file for reading.

    Raises:
        SourceFailure: with the code that fits: empty, unreadable, unsupported, a still picture, no permission.
    """
    path = Path(path)
    try:
        with path.open("rb") as handle:
            head = handle.read(32)
    except FileNotFoundError:
        raise SourceFailure(ErrorCode.NOT_FOUND, "the file is not there") from None
    except PermissionError:
        raise SourceFailure(ErrorCode.NO_PERMISSION, "the file may not be read by this user") from None
    except OSError as error:
        raise SourceFailure(ErrorCode.READ_FAILED, f"reading failed: {error.strerror or error}") from None
    if not head:
        raise SourceFailure(ErrorCode.EMPTY_FILE, "the file has no bytes")
    if head.startswith(_PLAYLIST_MAGIC):
        raise SourceFailure(
            ErrorCode.UNSUPPORTED, "the file is a playlist or script that names other files, not a video itself"
        )
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        # The animation flag of the WebP container. FFmpeg has no demuxer that gives more than a still picture.
        if head[12:16] == b"VP8X" and head[20] & 2:
            raise SourceFailure(ErrorCode.UNSUPPORTED, "the file is an animated WebP, for which there is no decoder")
        raise SourceFailure(ErrorCode.STILL_IMAGE, "the file is a WebP picture, not a video")
    for magic, kind in _STILL_MAGIC.items():
        # An animated PNG has the same first bytes as a still one; the demuxer tells them apart below.
        if head.startswith(magic) and kind != "PNG":
            raise SourceFailure(ErrorCode.STILL_IMAGE, f"the file is a {kind} picture, not a video")
    try:
        # The "file:" prefix keeps FFmpeg from reading a colon in a name as a protocol.
        return av.open(f"file:{path}", mode="r", options=dict(OPEN_OPTIONS), metadata_errors="replace")
    except av.error.ArgumentError:
        if head.startswith(b"\x89PNG"):
            raise SourceFailure(ErrorCode.STILL_IMAGE, "the file is a PNG picture, not a video") from None
        raise SourceFailure(
            ErrorCode.UNSUPPORTED,
            "the content is of a kind that is not read as video (a playlist, a picture, a subtitle, a script)",
        ) from None
    except av.error.InvalidDataError:
        raise SourceFailure(
            ErrorCode.UNREADABLE, "no known container: not a media file, or its header is lost"
        ) from None
    except av.error.PermissionError:
        raise SourceFailure(ErrorCode.NO_PERMISSION, "the file may not be read by this user") from None
    except (av.error.FFmpegError, OSError) as error:
        raise SourceFailure(ErrorCode.UNREADABLE, f"the container does not open: {error}") from None
