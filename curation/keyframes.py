"""What packets of H.264 and HEVC tell without being decoded: what a keyframe promises, and which parameter sets come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from curation import avc_references, hevc_references
from curation.avc_headers import IDR
from curation.bits import Bits, NotUnderstood
from curation.nal_units import NAL_CODECS, PARAMETER_SETS, header_units, kind_of, length_size, raw, units
from curation.set_numbers import set_key

_AVC_SEI = 6  # nal_unit_type: Rec. ITU-T H.264, table 7-1
_HEVC_IDR_OR_BLA, _HEVC_CRA = (16, 17, 18, 19, 20), 21  # nal_unit_type: Rec. ITU-T H.265, table 7-1
_RECOVERY_POINT = 6  # payloadType: Rec. ITU-T H.264, D.1


def starts_afresh(codec: str, extradata: bytes | None, packet: bytes) -> bool:
    """True where decoding can start at this keyframe packet and every trailing frame is sure to be right.

    VP9 and AV1 keyframes reset all references. In H.264 and HEVC only some do (IDR, BLA); a recovery point or an open group of
    pictures is a keyframe for containers as well.
    """
    if codec == "h264":
        return any(kind_of(codec, unit[0]) == IDR for unit in units(packet, length_size(codec, extradata)))
    if codec == "hevc":
        return any(kind_of(codec, unit[0]) in _HEVC_IDR_OR_BLA for unit in units(packet, length_size(codec, extradata)))
    return True


def stands_alone(codec: str, extradata: bytes | None, chosen: Sequence[bytes], left_out: Sequence[bytes]) -> bool:
    """True where no frame of a copy can depend on what is not in it.

    Args:
        chosen: the copy's packets in decoding order; the first is a keyframe.
        left_out: packets stored among the chosen ones that are left out because they are shown before the first.
    """
    if starts_afresh(codec, extradata, chosen[0]) and not left_out:
        return True
    if codec == "h264":
        # Without the promise FFmpeg's decoder would hold back the first frames.
        return promises_all(codec, extradata, chosen[0]) and avc_references.leaves_all_behind(
            extradata, chosen, left_out
        )
    following = chosen[1] if len(chosen) > 1 else None
    return codec == "hevc" and hevc_references.leaves_all_behind(extradata, chosen[0], left_out, following)


def promises_all(codec: str, extradata: bytes | None, packet: bytes) -> bool:
    """True where the stream says that what is shown from this packet on needs nothing that is stored before it.

    That is a keyframe which starts afresh, an IRAP picture of HEVC, or a picture of H.264 with a recovery point of no frames' delay
    and exact match (Rec. ITU-T H.264, D.2.8).
    """
    found = list(units(packet, length_size(codec, extradata))) if codec in NAL_CODECS else []
    if codec == "hevc" and any(kind_of(codec, unit[0]) == _HEVC_CRA for unit in found):
        return True
    if codec == "h264" and any(kind_of(codec, unit[0]) == _AVC_SEI and _recovers_at_once(raw(unit)) for unit in found):
        return True
    return starts_afresh(codec, extradata, packet)


def _recovers_at_once(sei: bytes) -> bool:
    """Whether a supplemental enhancement information unit of H.264 (7.3.2.3) holds such a recovery point."""
    at = 1
    try:
        while at < len(sei) - 1:
            kind, at = _long_number(sei, at)
            size, at = _long_number(sei, at)
            if kind == _RECOVERY_POINT:
                bits = Bits(sei[at : at + size])
                return bits.golomb() == 0 and bits.flag() and not bits.flag()  # frame count, exact match, broken link
            at += size
    except (NotUnderstood, IndexError):
        pass
    return False


def _long_number(data: bytes, at: int) -> tuple[int, int]:
    """A number as the sum of bytes, of which all but the last are 255; and the position after it."""
    number = 0
    while data[at] == 255:
        number, at = number + 255, at + 1
    return number + data[at], at + 1


def sets_from_header(codec: str, extradata: bytes | None, packets: Iterable[bytes]) -> bool:
    """True where packets bring no parameter sets but those that the stream's header has, or the codec has none.

    Writers of mp4 may drop what stands in packets, and a decoder that begins further on never sees it. Nor may the header have two
    sets of one number: which of them is in force would depend on what came before.
    """
    if codec not in NAL_CODECS:
        return True
    known, size = set(header_units(codec, extradata)), length_size(codec, extradata)
    if len({set_key(codec, unit) for unit in known}) < len(known):
        return False
    kinds = PARAMETER_SETS[codec]
    return all(unit in known for packet in packets for unit in units(packet, size) if kind_of(codec, unit[0]) in kinds)
