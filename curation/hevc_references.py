"""What HEVC headers tell of the frames that a picture needs: the proof that frames after a keyframe of an open group leave behind
all that came before it.

Each picture lists every picture that stays in the decoder for it and for later ones (Rec. ITU-T H.265, 8.3.2). So where the first
picture after a keyframe and its leading pictures lists that keyframe alone, no later one can refer to anything older. Numbers of
clauses are of Rec. ITU-T H.265.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from curation.bits import Bits, NotUnderstood
from curation.nal_units import PARAMETER_SETS, header_units, kind_of, length_size, raw, units

_SPS, _PPS = 33, 34  # nal_unit_type: table 7-1
_CRA, _RESETS, _LEADING, _TRAILING = 21, (16, 17, 18, 19, 20), (6, 7, 8, 9), (0, 1, 2, 3, 4, 5)
_PICTURES = range(32)
_HEAD = 160
"""Bytes of a slice that are read for its header."""
_SET = 4096
"""Bytes of a parameter set that are read."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    order_bits: int
    """Bits of slice_pic_order_cnt_lsb."""
    reorder: int
    """Most pictures that are decoded before one and shown after it."""
    lists: tuple[tuple[int, ...], ...]
    """Candidates for a picture's list, as differences of picture order count."""
    long_term: int | None
    """How many long-term references a picture may choose from; None where no picture has any."""


@dataclass(frozen=True, slots=True)
class _Slices:
    sequence: int
    output_flag: bool
    extra_bits: int


def leaves_all_behind(
    extradata: bytes | None, keyframe: bytes, left_out: Sequence[bytes], following: bytes | None
) -> bool:
    """True where no picture after a keyframe and its leading pictures can refer to those or to anything older.

    Args:
        left_out: the packets of its leading pictures.
        following: the packet after those, the first to be kept beside the keyframe.
    """
    size = length_size("hevc", extradata)
    try:
        first, slice_of_first = _picture(keyframe, size)
        # A leading picture by its time must be one by its kind too: then nothing that follows may refer to it, and no number of a
        # picture is counted from it.
        if any(_picture(packet, size)[0] not in _LEADING or _sets(packet, size) for packet in left_out):
            return False
        if first in _RESETS or (first == _CRA and following is None):
            return True
        if first != _CRA or following is None:
            return False
        second, slice_of_second = _picture(following, size)
        if second not in _TRAILING:
            return second in _RESETS
        sequences, slices = _parameters(
            [*header_units("hevc", extradata), *units(keyframe, size), *units(following, size)]
        )
        _, key_order, _ = _slice(slice_of_first, first, sequences, slices)
        sequence, order, kept = _slice(slice_of_second, second, sequences, slices)
        # Only the lowest bits are coded; the picture is less than half their range from the keyframe (8.3.1).
        distance = (order - key_order) % (1 << sequence.order_bits)
        return 2 * distance < 1 << sequence.order_bits and all(-step == distance for step in kept)
    except NotUnderstood:
        return False


def reordering(extradata: bytes | None, keyframe: bytes) -> int | None:
    """Most pictures that are decoded before one and shown after it, as the stream says; None where it is not to be understood."""
    try:
        found = [*header_units("hevc", extradata), *units(keyframe, length_size("hevc", extradata))]
        sequences, _ = _parameters(found)
    except NotUnderstood:
        return None
    return min((sequence.reorder for sequence in sequences.values()), default=None)


def _kind(unit: bytes) -> int:
    return kind_of("hevc", unit[0])


def _sets(packet: bytes, size: int | None) -> bool:
    return any(_kind(unit) in PARAMETER_SETS["hevc"] for unit in units(packet, size))


def _picture(packet: bytes, size: int | None) -> tuple[int, bytes]:
    """(nal_unit_type, first slice) of the one picture in a packet."""
    found = [unit for unit in units(packet, size) if _kind(unit) in _PICTURES]
    # nuh_layer_id: pictures of other layers refer to each other in ways that are not read here.
    if not found or len({_kind(unit) for unit in found}) > 1 or any(len(u) < 3 or u[0] & 1 or u[1] >> 3 for u in found):
        raise NotUnderstood("not one picture of the base layer")
    return _kind(found[0]), found[0]


def _parameters(found: Sequence[bytes]) -> tuple[dict[int, _Sequence], dict[int, _Slices]]:
    """Parameter sets of the base layer by number; of two with one number the later counts."""
    base = [unit for unit in found if len(unit) > 2 and not unit[0] & 1 and not unit[1] >> 3]
    sequences = dict(_sequence_set(Bits(raw(unit[:_SET])[2:])) for unit in base if _kind(unit) == _SPS)
    slices = dict(_slice_set(Bits(raw(unit[:_SET])[2:])) for unit in base if _kind(unit) == _PPS)
    return sequences, slices


def _sequence_set(bits: Bits) -> tuple[int, _Sequence]:
    """7.3.2.2, up to the lists of references."""
    bits.take(4)
    sublayers = bits.take(3)
    bits.take(1)
    _skip_profile(bits, sublayers)
    number = bits.golomb()
    if bits.golomb() == 3:
        raise NotUnderstood("4:4:4 may have separate planes")
    bits.golomb(), bits.golomb()  # size
    if bits.flag():
        for _ in range(4):
            bits.golomb()  # cropping
    bits.golomb(), bits.golomb()  # depth
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
    return number, _Sequence(order_bits, reorder, tuple(lists), long_term)


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


def _slice(
    unit: bytes, kind: int, sequences: dict[int, _Sequence], slices: dict[int, _Slices]
) -> tuple[_Sequence, int, tuple[int, ...]]:
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
