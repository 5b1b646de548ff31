"""What HEVC headers tell of the frames that a picture needs: the proof that frames after a keyframe of an open group leave behind
all that came before it.

Each picture lists every picture that stays in the decoder for it and for later ones (Rec. ITU-T H.265, 8.3.2). So where the first
picture after a keyframe and its leading pictures lists that keyframe alone, no later one can refer to anything older. Numbers of
clauses are of Rec. ITU-T H.265.
"""

from __future__ import annotations

from collections.abc import Sequence

from curation.bits import NotUnderstood
from curation.hevc_headers import parameters, read_slice
from curation.nal_units import PARAMETER_SETS, header_units, kind_of, length_size, units

_CRA, _RESETS, _LEADING, _TRAILING = 21, (16, 17, 18, 19, 20), (6, 7, 8, 9), (0, 1, 2, 3, 4, 5)
_PICTURES = range(32)


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
        sequences, slices = parameters(
            [*header_units("hevc", extradata), *units(keyframe, size), *units(following, size)]
        )
        _, key_order, _ = read_slice(slice_of_first, first, sequences, slices)
        sequence, order, kept = read_slice(slice_of_second, second, sequences, slices)
        # Only the lowest bits are coded; the picture is less than half their range from the keyframe (8.3.1).
        distance = (order - key_order) % (1 << sequence.order_bits)
        return 2 * distance < 1 << sequence.order_bits and all(-step == distance for step in kept)
    except NotUnderstood:
        return False


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
