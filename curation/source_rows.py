"""Rows of `sources`: what container and decode tell of a source, and what is known of one that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curation.tally import Header, Tally
from schemas.errors import ErrorCode

if TYPE_CHECKING:
    from curation.decode import SourceReader


def source_columns(reader: SourceReader) -> dict[str, Any]:
    """The columns of `sources` that the container and the decode tell."""
    probe = reader.probe
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
        "announced_frames": probe.announced_frames,
        "has_audio": probe.has_audio,
        "color_range": probe.color_range,
        "color_matrix": probe.color_matrix,
        "color_transfer": probe.color_transfer,
        "color_primaries": probe.color_primaries,
        **counted_columns(reader.tally, reader.header, 1),
    }


def counted_columns(tally: Tally, header: Header, segments: int) -> dict[str, Any]:
    """The columns of `sources` that follow from what was counted, in one pass or in several segments together."""
    failure = tally.failure(header)
    return {
        "status": "partial" if failure else "ok",
        "error_code": str(failure[0]) if failure else None,
        "error": failure[1] if failure else None,
        "fps": tally.fps(header),
        "variable_fps": tally.variable_fps(header),
        "num_frames": tally.frames,
        "duration_s": tally.duration_s(header),
        "segments": segments,
        "frames_decoded": tally.decoded - tally.run_up,
        "frames_run_up": tally.run_up,
        "damaged_frames": tally.damaged_frames,
        "decode_errors": tally.errors,
        "timestamp_faults": tally.timestamp_faults(header),
        "seekable": tally.seekable,
    }


NO_COLUMNS: dict[str, Any] = dict.fromkeys(
    (
        "container", "codec", "pixel_format", "width", "height", "coded_width", "coded_height", "rotation", "sample_aspect_ratio", "fps",
        "variable_fps", "num_frames", "announced_frames", "duration_s", "has_audio", "color_range", "color_matrix", "color_transfer",
        "color_primaries", "segments", "frames_decoded", "frames_run_up", "damaged_frames", "decode_errors", "timestamp_faults",
        "seekable",
    )
)  # fmt: skip
"""`source_columns` of a source of which nothing is known."""


def failed_source(code: ErrorCode, message: str) -> dict[str, Any]:
    """The columns of `sources` for a source that could not be used at all."""
    return {**NO_COLUMNS, "status": "error", "error_code": str(code), "error": message}
