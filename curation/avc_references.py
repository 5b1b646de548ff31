"""What H.264 headers tell of the frames that a picture needs: the proof that frames after a keyframe of an open group leave behind
all that came before it.

A picture may refer to any frame that is still kept, but its header tells how many of them are in its lists, and in which order. So the
frames that are kept are followed from the keyframe on (Rec. ITU-T H.264, 8.2.5). Which older ones there are is not known; but where
the oldest frame must go, those go first, and in each list they stand behind the others of their kind (8.2.4). That does not hold of
long-term references, which are refused where they are seen; that there are none from before is left to the promise which the
keyframe's recovery point makes (D.2.8). Numbers of clauses are of Rec. ITU-T H.264.
"""

from __future__ import annotations

from collections.abc import Sequence

from curation.avc_headers import IDR, Sets, Slice
from curation.bits import NotUnderstood
from curation.nal_units import header_units, kind_of, length_size, units


class _Kept:
    """The frames that are kept for reference, without those before the keyframe."""

    def __init__(self) -> None:
        self.orders: dict[int, int] = {}
        """Places in the order of showing, by number of frame; neither starts again after its highest value as in the headers."""
        self._last: int | None = None

    def order(self, header: Slice, number: int) -> int:
        """A picture's place in the order of showing (8.2.1)."""
        return self._first_field(header, number) + min(0, header.second_order)

    def _first_field(self, header: Slice, number: int) -> int:
        if not header.sequence.order_bits:
            return 2 * number - (not header.reference)
        if self._last is None:
            return header.order
        half = 1 << header.sequence.order_bits - 1
        return self._last + half - (half - header.order + self._last) % (2 * half)

    def add(self, header: Slice, number: int) -> None:
        """What is kept after a picture (8.2.5)."""
        if not header.reference:
            return
        order = self.order(header, number)
        if header.dropped is None:
            self.fill(header, number)
        else:
            for step in header.dropped:
                self.orders.pop(number + step, None)
        self.orders[number] = order
        self._last = self._first_field(header, number)
        if len(self.orders) > header.sequence.references:
            raise NotUnderstood("more references than there may be")

    def fill(self, header: Slice, number: int) -> None:
        """What is kept where a decoder puts something in the place of a frame that does not come (8.2.5.2)."""
        if len(self.orders) == header.sequence.references:
            del self.orders[min(self.orders)]
        self.orders[number] = 0

    def lists(self, header: Slice, number: int) -> list[list[int]]:
        """The frames of a slice's lists (8.2.4).

        Raises:
            NotUnderstood: others may be among them.
        """
        order = self.order(header, number)
        found = []
        for later, (count, steps) in enumerate(zip(header.active, header.named, strict=True)):
            at, named = 0, []
            for step in steps:
                at = (at - step) % (1 << header.sequence.number_bits)
                named.append(number - at)
            if header.kind == "P":
                usual = sorted(self.orders, reverse=True)
            else:
                usual = [one for one, place in self.orders.items() if (place > order) == later]
                usual.sort(key=lambda one: abs(self.orders[one] - order))
            if header.kind == "B" and len(named) < count and not self._on_both_sides(order):
                raise NotUnderstood("the lists may be the same, and then one of them is turned round")
            all_in_order = [*named, *(one for one in usual if one not in named)][:count]
            if len(all_in_order) < count or not self.orders.keys() >= set(all_in_order):
                raise NotUnderstood("frames before the keyframe may be among the references")
            found.append(all_in_order)
        return found

    def _on_both_sides(self, order: int) -> bool:
        places = self.orders.values()
        return min(places, default=order) < order < max(places, default=order)


def leaves_all_behind(extradata: bytes | None, chosen: Sequence[bytes], left_out: Sequence[bytes]) -> bool:
    """True where no picture after a keyframe and its leading pictures refers to those or to anything older.

    Args:
        chosen: the packets of the keyframe and of all pictures after its leading ones, in decoding order.
        left_out: the packets of its leading pictures.
    """
    size = length_size("h264", extradata)
    try:
        sets = Sets(list(header_units("h264", extradata)))
        return _follow(sets, [list(units(packet, size)) for packet in chosen], [list(units(p, size)) for p in left_out])
    except NotUnderstood:
        return False


def _follow(sets: Sets, chosen: Sequence[list[bytes]], left_out: Sequence[list[bytes]]) -> bool:
    """Whether all lists of references hold the same frames whether or not leading and older pictures were decoded.

    Raises:
        NotUnderstood: headers do not tell.
    """
    first = sets.slices(chosen[0])
    if any(header.kind != "I" or not header.reference for header in first):
        return False
    # What the source's decoder keeps; what one keeps for which leading pictures never were; what one keeps that fills their places.
    all_kept = source, _, filled = _Kept(), _Kept(), _Kept()
    number = last = first[0].number
    for kept in all_kept:
        kept.add(first[0], number)
    key_order = source.orders[number]
    leading: set[int] = set()
    for found in left_out:
        header = sets.slices(found)[0]
        number = _next_number(header, last)
        if source.order(header, number) >= key_order:
            return False
        source.add(header, number)
        if header.reference:
            filled.fill(header, number)
            leading.add(number)
            last = number
    for found in chosen[1:]:
        if any(kind_of("h264", unit[0]) == IDR for unit in found):
            return True  # it forgets all that came before
        headers = sets.slices(found)
        number = _next_number(headers[0], last)
        orders = {kept.order(headers[0], number) for kept in all_kept}
        if len(orders) > 1 or min(orders) <= key_order:
            return False
        for header in headers:
            # What fills a place is shown at a time that none can foresee.
            by_time = header.kind == "B" and any(len(n) < c for n, c in zip(header.named, header.active, strict=True))
            if by_time and not leading.isdisjoint([*source.orders, *filled.orders]):
                return False
            # Where one for which leading pictures never were has the same lists, none of those is in them.
            lists, *others = (kept.lists(header, number) for kept in all_kept)
            if any(other != lists for other in others):
                return False
        for kept in all_kept:
            kept.add(headers[0], number)
        if headers[0].reference:
            last = number
    return True


def _next_number(header: Slice, last: int) -> int:
    """The number of a frame after one that others may refer to; it never starts again.

    Raises:
        NotUnderstood: it is another than the next (7.4.3): frames are missing.
    """
    if header.sequence.gaps or (last + 1 - header.number) % (1 << header.sequence.number_bits):
        raise NotUnderstood("numbers of frames are missing")
    return last + 1
