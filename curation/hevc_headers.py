"""The headers of HEVC that tell how pictures look and what they refer to. Numbers of clauses are of Rec. ITU-T H.265."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from curation.bits import Bits, NotUnderstood
from curation.nal_units import kind_of, raw
from curation.picture_form import Form, full_range

_SPS, _PPS = 33, 34  # nal_unit_type: table 7-1
_HEAD = 160
"""Bytes of a slice that are read for its header."""
_SET = 4096
"""Bytes of a parameter set that are read."""


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """A sequence parameter set."""

    form: Form
    order_bits: int
    """Bits of slice_pic_order_cnt_lsb."""
    lists: tuple[tuple[int, ...], ...]
    """Candidates for a picture's list, as differences of picture order count."""
    long_term: int | None
    """How many long-term references a picture may choose from; None where no picture has any."""


@dataclass(frozen=True, slots=True)
class _Slices:
    sequence: int
    output_flag: bool
    extra_bits: int


def parameters(found: Sequence[bytes]) -> tuple[dict[int, SequenceSet], dict[int, _Slices]]:
    """Parameter sets of the base layer by number; of two with one number the later counts."""
    base = [unit for unit in found if len(unit) > 2 and not unit[0] & 1 and not unit[1] >> 3]
    sequences = dict(_sequence_set(Bits(raw(unit[:_SET])[2:])) for unit in base if kind_of("hevc", unit[0]) == _SPS)
    slices = dict(_slice_set(Bits(raw(unit[:_SET])[2:])) for unit in base if kind_of("hevc", unit[0]) == _PPS)
    return sequences, slices


def _sequence_set(bits: Bits) -> tuple[int, SequenceSet]:
    """7.3.2.2."""
    bits.take(4)
    sublayers = bits.take(3)
    bits.take(1)
    _skip_profile(bits, sublayers)
    number = bits.golomb()
    chroma = bits.golomb()
    if chroma == 3:
        raise NotUnderstood("4:4:4 may have separate planes")
    width, height = bits.golomb(), bits.golomb()
    left, right, top, bottom = [bits.golomb() for _ in range(4)] if bits.flag() else [0, 0, 0, 0]
    depths = bits.golomb(), bits.golomb()
    order_bits = bits.golomb() + 4
    reorder = 0
    for _ in range(sublayers + 1 if bits.flag() else 1):
        bits.golomb()
        reorder = bits.golomb()
        bits.golomb()
    for _ in range(6):
        bits.golomb()  # sizes of blocks
    if bits.flag() and bits.flag():
        raise NotUnderstood("scaling lists are not read")
    bits.take(2)
    if bits.flag():  # pcm
        bits.take(8)
        bits.golomb(), bits.golomb(), bits.take(1)
    count = bits.golomb()
    if count > 64 or order_bits > 16:
        raise NotUnderstood("out of range")
    lists: list[tuple[int, ...]] = []
    for n in range(count):
        lists.append(_reference_list(bits, n, count, lists))
    long_term = bits.golomb() if bits.flag() else None
    for _ in range(long_term or 0):
        bits.take(order_bits + 1)
    bits.take(2)
    full = bits.flag() and full_range(bits)
    plain = chroma == 1 and depths == (0, 0) and not full and not left
    # Cropping counts samples of chroma (7.4.3.2.1).
    form = Form(width - 2 * (left + right), height - 2 * (top + bottom), plain, reorder)
    return number, SequenceSet(form, order_bits, tuple(lists), long_term)


def _skip_profile(bits: Bits, sublayers: int) -> None:
    """7.3.3."""
    bits.take(96)
    present = [(bits.flag(), bits.flag()) for _ in range(sublayers)]
    if sublayers:
        bits.take(2 * (8 - sublayers))
    for profile, level in present:
        bits.take(88 * profile + 8 * level)


def _slice_set(bits: Bits) -> tuple[int, _Slices]:
    """7.3.2.3.1, its beginning."""
    number, sequence = bits.golomb(), bits.golomb()
    bits.take(1)
    output_flag = bits.flag()
    return number, _Slices(sequence, output_flag, bits.take(3))


def _reference_list(bits: Bits, number: int, count: int, lists: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """st_ref_pic_set (7.3.7, 7.4.8): differences of picture order count, the earlier ones backwards, then the later ones forwards."""
    if number and bits.flag():
        back = bits.golomb() + 1 if number == count else 1
        if back > number:
            raise NotUnderstood("out of range")
        sign = -1 if bits.flag() else 1
        shift = sign * (bits.golomb() + 1)
        kept = [step + shift for step in (*lists[number - back], 0) if bits.flag() or bits.flag()]
        kept = [step for step in kept if step]
    else:
        earlier, later = bits.golomb(), bits.golomb()
        if earlier + later > 16:
            raise NotUnderstood("out of range")
        kept = [*_steps(bits, earlier, -1), *_steps(bits, later, 1)]
    return (*sorted((step for step in kept if step < 0), reverse=True), *sorted(step for step in kept if step > 0))


def _steps(bits: Bits, count: int, sign: int) -> Iterator[int]:
    at = 0
    for _ in range(count):
        at += sign * (bits.golomb() + 1)
        bits.take(1)  # whether the picture itself uses it
        yield at


def read_slice(
    unit: bytes, kind: int, sequences: dict[int, SequenceSet], slices: dict[int, _Slices]
) -> tuple[SequenceSet, int, tuple[int, ...]]:
    """(its sequence's parameters, bits of its picture order count, its list of references) from 7.3.6.1; not of an IDR picture."""
    bits = Bits(raw(unit[:_HEAD])[2:])
    if not bits.flag():
        raise NotUnderstood("the picture's first slice is missing")
    if 16 <= kind <= 23:
        bits.take(1)
    try:
        parameters = slices[bits.golomb()]
        sequence = sequences[parameters.sequence]
    except KeyError:
        raise NotUnderstood("parameter sets are missing") from None
    bits.take(parameters.extra_bits)
    bits.golomb()  # slice_type
    if parameters.output_flag:
        bits.take(1)
    order = bits.take(sequence.order_bits)
    count = len(sequence.lists)
    if bits.flag():
        listed = bits.take((count - 1).bit_length())
        if listed >= count:
            raise NotUnderstood("out of range")
        kept = sequence.lists[listed]
    else:
        kept = _reference_list(bits, count, count, sequence.lists)
    if sequence.long_term is not None and ((sequence.long_term and bits.golomb()) or bits.golomb()):
        raise NotUnderstood("long-term references are not read")
    return sequence, order, kept
