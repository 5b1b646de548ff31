"""Parameter sets of H.264 and HEVC that stand in packets: whether a decoder that begins in the middle would miss some."""

from __future__ import annotations

from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from curation.nal_units import NAL_CODECS, header_units, is_sequence_set, is_slice, leading_sets, length_size
from curation.tally import Tally


class KnownSets:
    """The parameter sets that a container's header holds, against those that its packets bring."""

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        self._codec = codec
        self._size = length_size(codec, extradata)
        self._known = frozenset(header_units(codec, extradata))

    @staticmethod
    def of(context: VideoCodecContext) -> KnownSets | None:
        """None for codecs without such sets."""
        codec = context.codec.canonical_name
        return KnownSets(codec, context.extradata) if codec in NAL_CODECS else None

    def look(self, packet: Packet[VideoStream], tally: Tally) -> None:
        """Note in the tally what a packet brings, and what a keyframe lacks."""
        data, size = memoryview(packet), self._size
        if size is not None and len(data) > size and not packet.is_keyframe and is_slice(self._codec, data[size]):
            return  # nearly all packets
        has_form = False
        for unit in leading_sets(self._codec, data, size):
            has_form |= is_sequence_set(self._codec, unit)
            if unit not in self._known:
                tally.foreign_sets = True
        if packet.is_keyframe and not has_form:
            tally.bare_keyframes = True
