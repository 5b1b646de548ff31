"""Which parameter set of H.264 and HEVC replaces which."""

from __future__ import annotations

from curation.bits import Bits, NotUnderstood
from curation.nal_units import kind_of, raw

_HEAD = 64
_NUMBER_AT = {("h264", 7): 4, ("h264", 8): 1, ("hevc", 34): 2}
"""Byte at which the number of a set begins, by nal_unit_type (Rec. ITU-T H.264, 7.3.2.1 and 7.3.2.2; H.265, 7.3.2.3)."""

_NEEDED = {"h264": {7, 8}, "hevc": {33, 34}}


def set_key(codec: str, unit: bytes) -> tuple[int, int]:
    """(kind, number) of a parameter set: of two with one key the later is in force. Sets whose number is not read count as one."""
    kind = kind_of(codec, unit[0])
    at = _NUMBER_AT.get((codec, kind))
    if at is None:
        return kind, 0
    try:
        return kind, Bits(raw(unit[:_HEAD])[at:]).golomb()
    except NotUnderstood:
        return kind, 0


def has_form(codec: str, keys: set[tuple[int, int]]) -> bool:
    """Whether a set of sequence and one of picture parameters is among them."""
    return {kind for kind, _ in keys} >= _NEEDED[codec]
