"""Parameter sets of H.264 and HEVC that stand in packets: whether a decoder that begins in the middle would miss some."""

from __future__ import annotations

from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from curation.nal_units import NAL_CODECS, header_units, is_slice, leading_sets, length_size
from curation.set_numbers import has_form, set_key
from curation.tally import Tally


class KnownSets:
    """The parameter sets that a container's header holds, against those that its packets bring."""

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        self._codec = codec
        self._size = length_size(codec, extradata)
        self._known = frozenset(header_units(codec, extradata))
        self._keys = frozenset(set_key(codec, unit) for unit in self._known)

    @staticmethod
    def of(context: VideoCodecContext) -> KnownSets | None:
        """None for codecs without such sets."""
        codec = context.codec.canonical_name
        return KnownSets(codec, context.extradata) if codec in NAL_CODECS else None

    def look(self, packet: Packet[VideoStream], tally: Tally) -> None:
        """Note in the tally what a packet brings, and what a keyframe lacks."""
        data, size = bytes(packet), self._size
        if size is not None and len(data) > size and not packet.is_keyframe and is_slice(self._codec, data[size]):
            return  # nearly all packets
        brought = set()
        for unit in leading_sets(self._codec, data, size):
            key = set_key(self._codec, unit)
            brought.add(key)
            if unit not in self._known:
                tally.foreign_sets = True
                if self._keys and key not in self._keys:
                    tally.bare_keyframes = True  # whether keyframes repeat it is not known where their segment is read
        if packet.is_keyframe and not (brought >= self._keys if self._keys else has_form(self._codec, brought)):
            tally.bare_keyframes = True
