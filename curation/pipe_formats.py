"""How a decoded frame can go through a pipe as raw video in NUT: under which pixel format, and in which range."""

from __future__ import annotations

from av.video.frame import VideoFrame

# NUT has a tag for these; a format without one would silently be read as something else.
_PIPED = frozenset(
    f"{prefix}{sampling}p{depth}" for prefix, sampling, depth in
    [("yuv", s, d) for s in ("420", "422", "444") for d in ("", "10le", "12le")] + [("yuvj", s, "") for s in ("420", "422", "444")]
) | {"nv12", "gray", "gray10le", "gray12le", "rgb24"}  # fmt: skip
PC = 2
"""AVCOL_RANGE_JPEG: full range."""


def pipe_format(frame: VideoFrame) -> str:
    """Pixel format in which a frame goes through the pipe: its own, or the nearest that NUT can name."""
    name, layout = frame.format.name, frame.format
    if name in _PIPED:
        return name
    deep = max(component.bits for component in layout.components) > 8
    if layout.is_rgb or layout.has_palette:
        return "rgb48le" if deep else "rgb24"
    if name.startswith(("gray", "ya", "mono")):
        return "gray16le" if deep else "gray"
    return "yuv444p16le" if deep else "yuv444p"


def full_range(frame: VideoFrame) -> bool:
    """Whether the samples span 0..255 (scaled to the depth). Untagged grey and RGB do, as swscale takes them."""
    if int(frame.color_range) != 0:
        return int(frame.color_range) == PC
    return (
        frame.format.is_rgb or frame.format.has_palette or frame.format.name.startswith(("yuvj", "gray", "ya", "mono"))
    )
