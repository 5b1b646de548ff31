"""Spans of a video that no corpus holds as clips to cut, for tests and benchmarks of cutting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curation.cutting import ClipToCut
from curation.decode import SourceReader
from curation.probe import Probe


@dataclass(frozen=True)
class Timed:
    """A video of which every frame's time is known."""

    path: Path
    probe: Probe
    pts: list[int]
    """Time stamps of the frames."""
    end_pts: int

    def clip(self, start: int, end: int, **changes: Any) -> ClipToCut:
        """Frames start .. end - 1, of a source that was scanned without a fault, with other values of some fields."""
        probe, base, aspect = self.probe, self.probe.time_base, self.probe.sample_aspect_ratio
        first, last = self.pts[start], [*self.pts, self.end_pts][end]
        clip = ClipToCut(
            clip_id=f"{start}",
            path=self.path,
            stream_index=probe.stream_index,
            time_base=f"{base.numerator}/{base.denominator}",
            start_pts=first,
            end_pts=last,
            start_frame=start,
            end_frame=end,
            start_s=float(first * base),
            end_s=float(last * base),
            rotation=probe.rotation,
            width=probe.width,
            height=probe.height,
            sample_aspect_ratio=f"{aspect.numerator}:{aspect.denominator}",
            pixel_format=probe.pixel_format,
            codec=probe.codec,
            faultless=True,
        )
        return replace(clip, **changes)


def timed(path: Path) -> Timed:
    """A video with its frames' times, read by decoding it once."""
    with SourceReader(path) as reader:
        stamps = [pts for _, _, pts in reader.decoded()]
        return Timed(path, reader.probe, stamps, reader.end_pts)
