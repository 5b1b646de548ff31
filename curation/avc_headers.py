"""The headers of H.264 that tell how pictures look and what they refer to. Numbers of clauses are of Rec. ITU-T H.264."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from curation.bits import Bits, NotUnderstood
from curation.nal_units import kind_of, raw
from curation.picture_form import Form, full_range

SLICE, IDR = 1, 5  # nal_unit_type: table 7-1
_SPS, _PPS, _PARTITIONS = 7, 8, (2, 3, 4)
_P, _B, _I = 0, 1, 2  # slice_type modulo 5: table 7-6
_HIGH = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
"""Values of profile_idc whose sets tell the format of chroma (7.3.2.1.1)."""
_HEAD = 240
"""Bytes of a slice that are read for its header."""
_SET = 4096
"""Bytes of a parameter set that are read."""


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """A sequence parameter set."""

    form: Form
    number_bits: int
    """Bits of frame_num."""
    order_bits: int
    """Bits of pic_order_cnt_lsb; 0 where it is not coded."""
    references: int
    """Frames that are kept for reference at most."""
    gaps: bool
    """Whether numbers of frames may be left out."""


@dataclass(frozen=True, slots=True)
class PictureSet:
    """A picture parameter set."""

    sequence: int
    two_orders: bool
    """Whether a slice tells the order of its second field as well."""
    active: tuple[int, int]
    """How many references each list has where a slice does not say."""
    weighted: bool
    """Whether slices of P pictures hold weights."""
    weighted_both: bool
    """Whether slices of B pictures do."""
    redundant: bool


class Slice(NamedTuple):
    """The header of a slice of a frame (7.3.3)."""

    kind: str
    """`P`, `B` or `I`."""
    reference: bool
    """Whether later pictures may refer to the picture."""
    number: int
    """frame_num."""
    order: int
    """pic_order_cnt_lsb; 0 where it is not coded."""
    second_order: int
    """The difference of the second field's."""
    active: tuple[int, ...]
    """How many references each of its lists has."""
    named: tuple[tuple[int, ...], ...]
    """For each list, the references that are moved to its front: differences of frame numbers, each to the one before."""
    dropped: tuple[int, ...] | None
    """References that are given up after this picture, as differences of frame numbers; None: the oldest is, where there are too many."""
    sequence: SequenceSet


class Sets:
    """Parameter sets by number; of two with one number the later counts.

    Raises:
        NotUnderstood: here and in all that reads a slice.
    """

    def __init__(self, found: Sequence[bytes]) -> None:
        heads = [(kind_of("h264", unit[0]), Bits(raw(unit[:_SET])[1:])) for unit in found]
        self.sequences = dict(_sequence_set(bits) for kind, bits in heads if kind == _SPS)
        self._pictures = dict(_picture_set(bits) for kind, bits in heads if kind == _PPS)

    def slices(self, found: Sequence[bytes]) -> list[Slice]:
        """The headers of the slices among the units of a packet, which hold one frame that is not an IDR picture."""
        kinds = [kind_of("h264", unit[0]) for unit in found]
        if IDR in kinds or any(kind in _PARTITIONS for kind in kinds):
            raise NotUnderstood("an IDR picture, or data in partitions")
        read = [self._slice(unit) for unit, kind in zip(found, kinds, strict=True) if kind == SLICE]
        if not read or len({(s.reference, s.number, s.order, s.dropped) for s in read}) > 1:
            raise NotUnderstood("not one picture")
        return read

    def _slice(self, unit: bytes) -> Slice:
        bits = Bits(raw(unit[:_HEAD])[1:])
        reference = bool(unit[0] >> 5 & 3)
        bits.golomb()  # first_mb_in_slice
        kind = bits.golomb() % 5
        if kind > _I:
            raise NotUnderstood("a switching picture")
        try:
            picture = self._pictures[bits.golomb()]
            sequence = self.sequences[picture.sequence]
        except KeyError:
            raise NotUnderstood("parameter sets are missing") from None
        if not sequence.form.plain:
            raise NotUnderstood("fields, or other formats than 8-bit 4:2:0")
        number = bits.take(sequence.number_bits)
        order = bits.take(sequence.order_bits)
        second_order = bits.signed() if sequence.order_bits and picture.two_orders else 0
        if picture.redundant and bits.golomb():
            raise NotUnderstood("a redundant picture")
        if kind == _B:
            bits.take(1)  # direct_spatial_mv_pred_flag
        lists = {_P: 1, _B: 2, _I: 0}[kind]
        active = picture.active[:lists]
        if lists and bits.flag():
            active = tuple(bits.golomb() + 1 for _ in range(lists))
        if any(count > 32 for count in active):
            raise NotUnderstood("out of range")
        named = tuple(_named(bits) for _ in range(lists))
        if (picture.weighted and kind == _P) or (picture.weighted_both and kind == _B):
            _skip_weights(bits, active)
        dropped = _dropped(bits) if reference else ()
        return Slice("PBI"[kind], reference, number, order, second_order, active, named, dropped, sequence)


def _sequence_set(bits: Bits) -> tuple[int, SequenceSet]:
    """7.3.2.1.1."""
    profile = bits.take(8)
    bits.take(16)
    number = bits.golomb()
    chroma, depths = 1, [0, 0]
    if profile in _HIGH:
        chroma = bits.golomb()
        if chroma == 3:
            raise NotUnderstood("4:4:4 may have separate planes")
        depths = [bits.golomb(), bits.golomb()]
        bits.take(1)
        if bits.flag():
            for n in range(8):
                if bits.flag():
                    _skip_scaling_list(bits, 16 if n < 6 else 64)
    number_bits = bits.golomb() + 4
    order_type = bits.golomb()
    if order_type not in (0, 2):
        raise NotUnderstood("the order of showing is told in a way that is not read")
    order_bits = 0 if order_type else bits.golomb() + 4
    references = bits.golomb()
    if max(number_bits, order_bits, references) > 16:
        raise NotUnderstood("out of range")
    gaps = bits.flag()
    columns, rows = bits.golomb() + 1, bits.golomb() + 1
    frames = bits.flag()
    if not frames:
        bits.take(1)
    bits.take(1)
    left, right, top, bottom = [bits.golomb() for _ in range(4)] if bits.flag() else [0, 0, 0, 0]
    full, reorder = _usability(bits) if bits.flag() else (False, None)
    # Cropping counts samples of chroma, and in fields pairs of rows (7.4.2.1.1).
    width, height = 16 * columns - 2 * (left + right), 16 * rows - 2 * (top + bottom)
    plain = chroma == 1 and depths == [0, 0] and frames and not full and not left
    form = Form(width, height, plain, 0 if order_type == 2 else reorder)
    return number, SequenceSet(form, number_bits, order_bits, max(1, references), gaps)


def _skip_scaling_list(bits: Bits, size: int) -> None:
    """7.3.2.1.1.1."""
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _usability(bits: Bits) -> tuple[bool, int | None]:
    """(full range, max_num_reorder_frames) of E.1.1."""
    full = full_range(bits)
    if bits.flag():
        bits.take(65)  # clock
    models = 0
    for _ in range(2):
        if bits.flag():
            _skip_buffer_model(bits)
            models += 1
    if models:
        bits.take(1)
    bits.take(1)  # pic_struct_present_flag
    if not bits.flag():
        return full, None
    bits.take(1)
    for _ in range(4):
        bits.golomb()
    return full, bits.golomb()


def _skip_buffer_model(bits: Bits) -> None:
    """E.1.2."""
    count = bits.golomb() + 1
    if count > 32:
        raise NotUnderstood("out of range")
    bits.take(8)
    for _ in range(count):
        bits.golomb(), bits.golomb(), bits.take(1)
    bits.take(20)


def _picture_set(bits: Bits) -> tuple[int, PictureSet]:
    """7.3.2.2, its beginning."""
    number, sequence = bits.golomb(), bits.golomb()
    bits.take(1)
    two_orders = bits.flag()
    if bits.golomb():
        raise NotUnderstood("slice groups")
    active = bits.golomb() + 1, bits.golomb() + 1
    weighted, weighted_both = bits.flag(), bits.take(2) == 1
    bits.signed(), bits.signed(), bits.signed(), bits.take(2)
    return number, PictureSet(sequence, two_orders, active, weighted, weighted_both, bits.flag())


def _named(bits: Bits) -> tuple[int, ...]:
    """7.3.3.1, of one list."""
    if not bits.flag():
        return ()
    found: list[int] = []
    while (how := bits.golomb()) != 3:
        if how > 1 or len(found) > 32:
            raise NotUnderstood("long-term references are not read")
        step = bits.golomb() + 1
        found.append(step if how else -step)
    return tuple(found)


def _skip_weights(bits: Bits, active: Sequence[int]) -> None:
    """7.3.3.2."""
    bits.golomb(), bits.golomb()
    for _ in range(sum(active)):
        for values in (2, 4):
            if bits.flag():
                for _ in range(values):
                    bits.signed()


def _dropped(bits: Bits) -> tuple[int, ...] | None:
    """7.3.3.3, of a picture that is not an IDR picture."""
    if not bits.flag():
        return None
    found: list[int] = []
    while how := bits.golomb():
        if how != 1 or len(found) > 32:
            raise NotUnderstood("long-term references are not read")
        found.append(-(bits.golomb() + 1))
    return tuple(found)
