"""Opening a media file safely.

Nothing here follows a reference out of the file: containers and protocols are on a short list, so a playlist, a concat script or
a nested address that calls itself ``.mp4`` is refused instead of opened.
"""

from __future__ import annotations

from pathlib import Path

import av
import av.container
import av.logging

from curation.regular import NotRegularError, check_regular
from curation.webp import is_animated, is_webp
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

_AUDIO_MAGIC = {
    b"ID3": "MP3",
    b"fLaC": "FLAC",
    b"#!AMR": "AMR",
    b"caff": "CAF",
    b"MAC ": "Monkey's Audio",
    b"wvpk": "WavPack",
}
_RIFF_KINDS = {b"RIFFWAVE": "WAV", b"RF64WAVE": "WAV", b"FORMAIFF": "AIFF", b"FORMAIFC": "AIFF"}


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
        SourceFailure: with the code that fits: empty, unreadable, unsupported, no regular file, a still picture, no permission.
    """
    path = Path(path)
    try:
        check_regular(path)
        with path.open("rb") as handle:
            head = handle.read(32)
    except FileNotFoundError:
        raise SourceFailure(ErrorCode.NOT_FOUND, "the file is not there") from None
    except PermissionError:
        raise SourceFailure(ErrorCode.NO_PERMISSION, "the file may not be read by this user") from None
    except NotRegularError as error:
        raise SourceFailure(ErrorCode.UNSUPPORTED, str(error)) from None
    except OSError as error:
        raise SourceFailure(ErrorCode.READ_FAILED, f"reading failed: {error.strerror or error}") from None
    if not head:
        raise SourceFailure(ErrorCode.EMPTY_FILE, "the file has no bytes")
    if head.startswith(_PLAYLIST_MAGIC):
        raise SourceFailure(
            ErrorCode.UNSUPPORTED, "the file is a playlist or script that names other files, not a video itself"
        )
    if is_webp(head):
        # FFmpeg has no demuxer that gives more than a still picture.
        if is_animated(head):
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
        audio = _audio_kind(head)
        if audio is not None:
            raise SourceFailure(
                ErrorCode.NO_VIDEO_STREAM, f"the file is {audio} audio, without a video stream"
            ) from None
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


def _audio_kind(head: bytes) -> str | None:
    """Which kind of audio file begins with these bytes, of those that hold nothing else (a cover aside)."""
    for magic, kind in _AUDIO_MAGIC.items():
        if head.startswith(magic):
            return kind
    # Every frame of MPEG audio begins with eleven bits (ISO/IEC 11172-3, 2.4.1.3), of AAC in ADTS with twelve and layer 0.
    if head[0] == 0xFF and head[1:2] >= b"\xe0":
        return "AAC" if head[1] & 0xF6 == 0xF0 else "MP3"
    return _RIFF_KINDS.get(head[:4] + head[8:12])
