"""What AV1 packets tell without being decoded: whether all their pictures have one form.

A frame has the sequence header's size unless its own header overrides that, in one bit close to its beginning. Numbers of clauses
are of the AV1 Bitstream & Decoding Process Specification, version 1.0.0 with errata 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from curation.bits import Bits, NotUnderstood
from curation.picture_form import Form

_SEQUENCE, _FRAME_HEADER, _FRAME, _OTHERS = 1, 3, 6, (2, 4, 5, 7, 15)
"""obu_type (6.2.2). The others: delimiters, tiles, metadata, repeated headers, padding."""
_KEY, _SWITCH = 0, 3
"""frame_type (6.8.2)."""
_CHOSEN_BY_FRAME = 2
_SRGB = (1, 13, 0)
"""Primaries, transfer and matrix with which a picture is 4:4:4 in full range."""
_HEAD = 24
"""Bytes of a frame that are read: the fields below take at most 18."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What a frame header's beginning depends on."""

    size: tuple[int, int]
    time_bits: int
    """Bits of a shown frame's presentation time; 0 where none has one."""
    id_bits: int
    """Bits of a frame's id; 0 where none has one."""
    screen_tools: int
    integer_motion: int


def one_form(packets: Iterable[bytes]) -> Form | None:
    """That of all pictures, where packets in decoding order begin with a keyframe and its sequence header, each shows one picture,
    and all are 8-bit 4:2:0 in limited range and of one size, hidden ones included; None where they do not, or the headers are not
    understood."""
    header: bytes | None = None
    sequence: _Sequence | None = None
    keyed = False
    try:
        for packet in packets:
            count = 0
            for kind, data in _units(packet):
                if kind == _SEQUENCE:
                    if header not in (None, data):
                        return None
                    header, sequence = data, sequence or _sequence(Bits(data))
                elif kind in (_FRAME, _FRAME_HEADER):
                    if sequence is None:
                        return None
                    key, shown = _frame(Bits(data[:_HEAD]), sequence)
                    keyed = keyed or (key and shown)
                    if not keyed:
                        return None
                    count += shown
            if count != 1:
                return None
    except NotUnderstood:
        return None
    return Form(*sequence.size, plain=True, reorder=0) if keyed and sequence is not None else None


def _units(packet: bytes) -> Iterator[tuple[int, bytes]]:
    """(obu_type, payload) of the open bitstream units of a packet (5.3)."""
    at = 0
    while at < len(packet):
        head, at = packet[at], at + 1
        kind = head >> 3 & 15
        if head & 0x84 or kind not in (_SEQUENCE, _FRAME_HEADER, _FRAME, *_OTHERS):
            raise NotUnderstood("layers, or a unit of another kind")
        size = len(packet) - at
        if head & 2:
            size, at = _leb128(packet, at)
        if at + size > len(packet):
            raise NotUnderstood("a unit ends too soon")
        yield kind, packet[at : at + size]
        at += size


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """A number in bytes of seven bits, the lowest first, and the position after it (4.10.5)."""
    number = 0
    for n in range(8):
        if at + n >= len(data):
            break
        number |= (data[at + n] & 0x7F) << 7 * n
        if not data[at + n] & 0x80:
            return number, at + n + 1
    raise NotUnderstood("a size does not end")


def _sequence(bits: Bits) -> _Sequence:
    """5.5, up to the colours."""
    if bits.take(3) or bits.take(2):
        raise NotUnderstood("another profile, or a still picture")
    clock = bits.flag()
    steady = decoder_model = False
    delay_bits = time_bits = 0
    if clock:
        bits.take(64)
        steady = bits.flag()
        if steady:
            bits.golomb()
        decoder_model = bits.flag()
        if decoder_model:
            delay_bits = bits.take(5) + 1
            bits.take(37)
            time_bits = bits.take(5) + 1
    initial_delay = bits.flag()
    for _ in range(bits.take(5) + 1):
        if bits.take(12):
            raise NotUnderstood("layers")
        if bits.take(5) > 7:
            bits.take(1)  # seq_tier
        if decoder_model and bits.flag():
            bits.take(2 * delay_bits + 1)
        if initial_delay and bits.flag():
            bits.take(4)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    size = bits.take(width_bits) + 1, bits.take(height_bits) + 1
    id_bits = 0
    if bits.flag():
        id_bits = bits.take(4) + 2
        id_bits += bits.take(3) + 1
    bits.take(3)
    bits.take(4)  # interintra_compound, masked_compound, warped_motion, dual_filter
    ordered = bits.flag()
    if ordered:
        bits.take(2)
    screen_tools = _CHOSEN_BY_FRAME if bits.flag() else bits.take(1)
    integer_motion = _CHOSEN_BY_FRAME
    if screen_tools and not bits.flag():
        integer_motion = bits.take(1)
    if ordered:
        bits.take(3)
    bits.take(3)
    _colours(bits)
    return _Sequence(size, 0 if steady else time_bits, id_bits, screen_tools, integer_motion)


def _colours(bits: Bits) -> None:
    """5.5.2, of the main profile."""
    if bits.take(2):
        raise NotUnderstood("more than 8 bits, or grey")
    colours = (bits.take(8), bits.take(8), bits.take(8)) if bits.flag() else None
    if colours == _SRGB or bits.flag():
        raise NotUnderstood("full range")


def _frame(bits: Bits, sequence: _Sequence) -> tuple[bool, bool]:
    """(a keyframe?, shown?) of a frame header (5.9.2) that does not override the size."""
    if bits.flag():  # show_existing_frame
        return False, True
    kind, shown = bits.take(2), bits.flag()
    if shown:
        bits.take(sequence.time_bits)
    else:
        bits.take(1)  # showable_frame
    if kind == _SWITCH:
        raise NotUnderstood("a switch frame overrides the size")
    if not (kind == _KEY and shown):
        bits.take(1)  # error_resilient_mode
    bits.take(1)  # disable_cdf_update
    screen_tools = bits.take(1) if sequence.screen_tools == _CHOSEN_BY_FRAME else sequence.screen_tools
    if screen_tools and sequence.integer_motion == _CHOSEN_BY_FRAME:
        bits.take(1)
    bits.take(sequence.id_bits)
    if bits.flag():
        raise NotUnderstood("the frame overrides the size")
    return kind == _KEY, shown
