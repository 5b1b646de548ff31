"""What packets of H.264 and HEVC tell without being decoded: whether a keyframe resets all references, and which forms pictures have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_START_CODE = b"\x00\x00\x01"
_AVC_IDR = (5,)  # nal_unit_type: Rec. ITU-T H.264, table 7-1
_HEVC_IDR_OR_BLA = (16, 17, 18, 19, 20)  # nal_unit_type: Rec. ITU-T H.265, table 7-1


def starts_afresh(codec: str, extradata: bytes | None, packet: bytes) -> bool:
    """True where decoding can start at this keyframe packet and every trailing frame is sure to be right.

    VP9 and AV1 keyframes reset all references. In H.264 and HEVC only some do (IDR, BLA); a recovery point or an open group of
    pictures is a keyframe for containers as well.
    """
    if codec == "h264":
        return any(unit[0] & 0x1F in _AVC_IDR for unit in _units(packet, _length_size(extradata, 4)))
    if codec == "hevc":
        return any(unit[0] >> 1 & 0x3F in _HEVC_IDR_OR_BLA for unit in _units(packet, _length_size(extradata, 21)))
    return True


def sequence_sets(codec: str, extradata: bytes | None, packets: Iterable[bytes]) -> set[bytes]:
    """The different sequence parameter sets that a stream's header and packets hold; they give size and format of the pictures.

    Where there is one only, all pictures have one form.
    """
    kind, at = (33, 21) if codec == "hevc" else (7, 4)
    size = _length_size(extradata, at)
    found = set(_header_units(codec, extradata)) if size is not None else set(_units(extradata or b"", None))
    for packet in packets:
        found.update(_units(packet, size))
    number = (lambda unit: unit[0] >> 1 & 0x3F) if codec == "hevc" else (lambda unit: unit[0] & 0x1F)
    return {unit.rstrip(b"\x00") for unit in found if number(unit) == kind}


def _header_units(codec: str, extradata: bytes | None) -> Iterator[bytes]:
    """The parameter sets in avcC or hvcC, as far as they are whole."""
    data = extradata or b""
    if codec == "hevc":
        arrays, at = (data[22] if len(data) > 22 else 0), 23
        for _ in range(arrays):
            count, at = int.from_bytes(data[at + 1 : at + 3], "big"), at + 3
            for _ in range(count):
                size = int.from_bytes(data[at : at + 2], "big")
                if unit := data[at + 2 : at + 2 + size]:
                    yield unit
                at += 2 + size
        return
    at = 6
    for _ in range(data[5] & 0x1F if len(data) > 5 else 0):
        size = int.from_bytes(data[at : at + 2], "big")
        if unit := data[at + 2 : at + 2 + size]:
            yield unit
        at += 2 + size


def _length_size(extradata: bytes | None, at: int) -> int | None:
    """Bytes of a unit's length prefix as avcC or hvcC gives it (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1); None where units are
    separated by start codes."""
    if extradata is None or len(extradata) <= at or extradata[0] != 1:
        return None
    return (extradata[at] & 3) + 1


def _units(packet: bytes, length_size: int | None) -> Iterator[bytes]:
    """The NAL units of a packet, none empty."""
    if length_size is None:
        yield from (unit for unit in packet.split(_START_CODE)[1:] if unit)
        return
    at = 0
    while at + length_size < len(packet):
        size = int.from_bytes(packet[at : at + length_size], "big")
        at += length_size
        if size:
            yield packet[at : at + size]
        at += size
