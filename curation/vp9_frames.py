"""What VP9 packets tell without being decoded: whether all their pictures have one form.

Any frame may have another size than those it refers to, so that a decoder must scale them; but each says so in the first bytes of its
header, which are not compressed. Numbers of clauses are of the VP9 Bitstream & Decoding Process Specification, version 0.7.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from curation.bits import Bits, NotUnderstood
from curation.picture_form import Form

_HEAD = 24
"""Bytes of a frame that are read: the fields below take at most 17."""
_SYNC = 0x498342
_RGB = 7


class _Frame(NamedTuple):
    key: bool
    shown: bool
    size: tuple[int, int] | None
    """None: that of a frame before."""


def one_form(packets: Iterable[bytes]) -> Form | None:
    """That of all pictures, where packets in decoding order begin with a keyframe, each shows one picture, and all are 8-bit 4:2:0 in
    limited range and of one size, hidden ones included; None where they do not, or the headers are not understood."""
    size: tuple[int, int] | None = None
    try:
        for packet in packets:
            frames = [_frame(part) for part in _parts(packet)]
            if sum(frame.shown for frame in frames) != 1 or (size is None and not (frames[0].key and frames[0].shown)):
                return None
            # A keyframe replaces all frames that others may refer to, so from there on "that of a frame before" is known.
            size = size or frames[0].size
            if any(frame.size not in (None, size) for frame in frames):
                return None
    except NotUnderstood:
        return None
    return None if size is None else Form(*size, plain=True, reorder=0)


def _parts(packet: bytes) -> list[bytes]:
    """The frames of a packet; several where it ends with an index (annex B)."""
    marker = packet[-1] if packet else 0
    count, width = (marker & 7) + 1, (marker >> 3 & 3) + 1
    index = packet[-(2 + count * width) :]
    if marker & 0xE0 != 0xC0 or index[0] != marker:
        return [packet]
    parts, at = [], 0
    for n in range(count):
        size = int.from_bytes(index[1 + n * width : 1 + (n + 1) * width], "little")
        parts.append(packet[at : at + size])
        at += size
    if at != len(packet) - len(index) or not all(parts):
        raise NotUnderstood("the index does not fit the packet")
    return parts


def _frame(data: bytes) -> _Frame:
    """The beginning of the uncompressed header (6.2)."""
    bits = Bits(data[:_HEAD])
    if bits.take(2) != 2 or bits.take(2):
        raise NotUnderstood("no frame, or a profile with other formats")
    if bits.flag():  # show_existing_frame
        return _Frame(False, True, None)
    inter, shown, resilient = bits.flag(), bits.flag(), bits.flag()
    if not inter:
        _synchronise(bits)
        if bits.take(3) == _RGB or bits.flag():
            raise NotUnderstood("RGB or full range")
        return _Frame(True, shown, _size(bits))
    intra_only = not shown and bits.flag()
    if not resilient:
        bits.take(2)  # reset_frame_context
    if intra_only:
        _synchronise(bits)
    bits.take(8)  # refresh_frame_flags
    if intra_only:
        return _Frame(False, shown, _size(bits))
    bits.take(12)  # three references
    found = bits.flag() or bits.flag() or bits.flag()
    return _Frame(False, shown, None if found else _size(bits))


def _synchronise(bits: Bits) -> None:
    if bits.take(24) != _SYNC:
        raise NotUnderstood("the sync code is missing")


def _size(bits: Bits) -> tuple[int, int]:
    width = bits.take(16) + 1
    return width, bits.take(16) + 1
