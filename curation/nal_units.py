"""The NAL units of H.264 and HEVC, as packets and container headers hold them."""

from __future__ import annotations

from collections.abc import Iterator

_START_CODE = b"\x00\x00\x01"
_LENGTH_AT = {"h264": 4, "hevc": 21}
NAL_CODECS = tuple(_LENGTH_AT)
# Values of nal_unit_type: Rec. ITU-T H.264, table 7-1; H.265, table 7-1.
_SLICES = {"h264": range(1, 6), "hevc": range(32)}
PARAMETER_SETS = {"h264": (7, 8, 13, 15), "hevc": (32, 33, 34)}
_SEQUENCE_SET = {"h264": 7, "hevc": 33}
_HEAD = 1 << 16
"""Bytes of a packet behind start codes in which its parameter sets are looked for."""


def header_units(codec: str, extradata: bytes | None) -> Iterator[bytes]:
    """The parameter sets in avcC, hvcC, or behind start codes, as far as they are whole."""
    data = extradata or b""
    if length_size(codec, extradata) is None:
        yield from units(data, None)
        return
    if codec == "hevc":
        arrays, at = (data[22] if len(data) > 22 else 0), 23
        for _ in range(arrays):
            count, at = int.from_bytes(data[at + 1 : at + 3], "big"), at + 3
            for _ in range(count):
                size = int.from_bytes(data[at : at + 2], "big")
                if unit := data[at + 2 : at + 2 + size].rstrip(b"\x00"):
                    yield unit
                at += 2 + size
        return
    at = 5
    for kept in (0x1F, 0xFF):  # sequence and picture parameter sets
        count, at = (data[at] & kept if len(data) > at else 0), at + 1
        for _ in range(count):
            size = int.from_bytes(data[at : at + 2], "big")
            if unit := data[at + 2 : at + 2 + size].rstrip(b"\x00"):
                yield unit
            at += 2 + size


def length_size(codec: str, extradata: bytes | None) -> int | None:
    """Bytes of a unit's length prefix as avcC or hvcC gives it (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1); None where units are
    separated by start codes."""
    at = _LENGTH_AT[codec]
    if extradata is None or len(extradata) <= at or extradata[0] != 1:
        return None
    return (extradata[at] & 3) + 1


def units(packet: bytes, size_of_length: int | None) -> Iterator[bytes]:
    """The NAL units of a packet, none empty. None of them ends with a zero byte: those belong to what separates them."""
    if size_of_length is None:
        parts = (part.rstrip(b"\x00") for part in packet.split(_START_CODE)[1:])
        yield from (part for part in parts if part)
        return
    at = 0
    while at + size_of_length < len(packet):
        size = int.from_bytes(packet[at : at + size_of_length], "big")
        at += size_of_length
        if unit := packet[at : at + size].rstrip(b"\x00"):
            yield unit
        at += size


def leading_sets(codec: str, packet: bytes, size_of_length: int | None) -> Iterator[bytes]:
    """The parameter sets of a packet that stand before its first slice, where they belong; the rest is not looked at."""
    if size_of_length is None:
        head = packet[:_HEAD]
        at = head.find(_START_CODE) + 3
        while at > 2 and at < len(head):
            if is_slice(codec, head[at]):
                return
            end = head.find(_START_CODE, at)
            if kind_of(codec, head[at]) in PARAMETER_SETS[codec]:
                yield head[at : end if end >= 0 else len(head)].rstrip(b"\x00")
            at = end + 3
        return
    at = size_of_length
    while at < len(packet):
        if is_slice(codec, packet[at]):
            return
        end = at + int.from_bytes(packet[at - size_of_length : at], "big")
        if kind_of(codec, packet[at]) in PARAMETER_SETS[codec]:
            yield packet[at:end].rstrip(b"\x00")
        at = end + size_of_length


def is_sequence_set(codec: str, unit: bytes) -> bool:
    """Whether a unit gives size and format of pictures."""
    return kind_of(codec, unit[0]) == _SEQUENCE_SET[codec]


def is_slice(codec: str, first: int) -> bool:
    """Whether a unit holds (part of) a picture, by its first byte."""
    return kind_of(codec, first) in _SLICES[codec]


def kind_of(codec: str, first: int) -> int:
    """nal_unit_type, by the first byte of a unit (Rec. ITU-T H.264, 7.3.1; H.265, 7.3.1.2)."""
    return first >> 1 & 0x3F if codec == "hevc" else first & 0x1F


def raw(unit: bytes) -> bytes:
    """A unit without the bytes that keep start codes out of it (Rec. ITU-T H.265, 7.4.2)."""
    return unit.replace(b"\x00\x00\x03", b"\x00\x00")
