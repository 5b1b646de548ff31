"""What all pictures of a sequence have in common, as headers tell it."""

from __future__ import annotations

from dataclasses import dataclass

from curation.bits import Bits

_OWN_ASPECT = 255


@dataclass(frozen=True, slots=True)
class Form:
    """What headers tell of every picture of a sequence."""

    width: int
    height: int
    plain: bool
    """8-bit 4:2:0 in limited range, whole frames, and nothing to be cut off at the left, of which FFmpeg cuts less where that would
    spoil the alignment of rows."""
    reorder: int | None
    """Most pictures that are decoded before one and shown after it; None where the stream does not say."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.width, self.height


def full_range(bits: Bits) -> bool:
    """E.1.1 (H.265: E.2.1) up to the place of chroma samples: whether the pictures use all 256 levels."""
    if bits.flag() and bits.take(8) == _OWN_ASPECT:
        bits.take(32)
    if bits.flag():
        bits.take(1)  # overscan_appropriate_flag
    full = False
    if bits.flag():
        bits.take(3)
        full = bits.flag()
        if bits.flag():
            bits.take(24)
    if bits.flag():
        bits.golomb(), bits.golomb()
    return full
