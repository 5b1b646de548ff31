"""What the packets of a video hold, and videos whose packets hold other bytes, to deceive what reads headers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av


def stored_in(path: Path) -> tuple[bytes | None, list[tuple[bytes, int, bool]]]:
    """Extradata, and (data, time of showing, is codec keyframe) of each packet of the first video stream, in decoding order."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        found = [(bytes(p), p.pts or 0, p.is_keyframe) for p in container.demux(stream) if p.size]
        return stream.codec_context.extradata, found


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
