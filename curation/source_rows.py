"""Rows of `sources`: what container and decode tell of a source, and what is known of one that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas.errors import ErrorCode

if TYPE_CHECKING:
    from curation.decode import SourceReader


def source_columns(reader: SourceReader) -> dict[str, Any]:
    """The columns of `sources` that the container and the decode tell."""
    probe, tally = reader.probe, reader.tally
    length = None
    if tally.first_pts is not None and tally.end_pts is not None:
        length = float((tally.end_pts - tally.first_pts) * probe.time_base)
    aspect = probe.sample_aspect_ratio
    return {
        "container": probe.container,
        "codec": probe.codec,
        "pixel_format": probe.pixel_format,
        "width": probe.width,
        "height": probe.height,
        "coded_width": probe.coded_width,
        "coded_height": probe.coded_height,
        "rotation": probe.rotation,
        "sample_aspect_ratio": f"{aspect.numerator}:{aspect.denominator}",
        "fps": reader.fps,
        "variable_fps": reader.variable_fps,
        "num_frames": tally.frames,
        "announced_frames": probe.announced_frames,
        "duration_s": length,
        "has_audio": probe.has_audio,
        "color_range": probe.color_range,
        "color_matrix": probe.color_matrix,
        "color_transfer": probe.color_transfer,
        "color_primaries": probe.color_primaries,
        "frames_decoded": tally.frames,
        "damaged_frames": tally.damaged_within(0, tally.frames),
    }


NO_COLUMNS: dict[str, Any] = dict.fromkeys(
    (
        "container", "codec", "pixel_format", "width", "height", "coded_width", "coded_height", "rotation", "sample_aspect_ratio", "fps",
        "variable_fps", "num_frames", "announced_frames", "duration_s", "has_audio", "color_range", "color_matrix", "color_transfer",
        "color_primaries", "frames_decoded", "damaged_frames",
    )
)  # fmt: skip
"""`source_columns` of a source of which nothing is known."""


def failed_source(code: ErrorCode, message: str) -> dict[str, Any]:
    """The columns of `sources` for a source that could not be used at all."""
    return {**NO_COLUMNS, "status": "error", "error_code": str(code), "error": message}
