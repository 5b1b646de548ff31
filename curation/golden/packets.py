"""Videos whose packets hold other bytes, to deceive what reads headers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av


def rewrite(path: Path, out: Path, data: Sequence[bytes]) -> None:
    """The first video stream of ``path`` with other bytes in its packets, one for each in decoding order."""
    with av.open(str(path)) as container, av.open(str(out), "w") as target:
        stream = container.streams.video[0]
        track = target.add_stream_from_template(stream, opaque=True)
        for packet, changed in zip((p for p in container.demux(stream) if p.size), data, strict=True):
            new: Any = av.Packet(changed)
            new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
            new.is_keyframe, new.stream = packet.is_keyframe, track
            target.mux(new)
