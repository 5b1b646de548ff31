"""The NAL units of H.264 and HEVC, as packets and container headers hold them."""

from __future__ import annotations

from collections.abc import Iterator

_START_CODE = b"\x00\x00\x01"
_LENGTH_AT = {"h264": 4, "hevc": 21}
NAL_CODECS = tuple(_LENGTH_AT)


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
                if unit := data[at + 2 : at + 2 + size]:
                    yield unit
                at += 2 + size
        return
    at = 5
    for kept in (0x1F, 0xFF):  # sequence and picture parameter sets
        count, at = (data[at] & kept if len(data) > at else 0), at + 1
        for _ in range(count):
            size = int.from_bytes(data[at : at + 2], "big")
            if unit := data[at + 2 : at + 2 + size]:
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


def raw(unit: bytes) -> bytes:
    """A unit without the bytes that keep start codes out of it (Rec. ITU-T H.265, 7.4.2)."""
    return unit.replace(b"\x00\x00\x03", b"\x00\x00")
