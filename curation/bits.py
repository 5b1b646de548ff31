"""Reading the headers of coded pictures bit by bit."""

from __future__ import annotations


class NotUnderstood(Exception):
    """What stands in a header is not what its reader knows, or the header ends too soon: decode instead."""


class Bits:
    """The bits of ``data``, the highest of each byte first. Give it the beginning of a packet, not all of it: it is one number.

    Raises:
        NotUnderstood: more is read than there is.
    """

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """An unsigned number of ``count`` bits: u(n) of H.264 and HEVC, f(n) of VP9 and AV1."""
        if count > self._left:
            raise NotUnderstood("the header ends too soon")
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def flag(self) -> bool:
        return self.take(1) == 1

    def golomb(self) -> int:
        """An unsigned number of variable length: ue(v) of H.264 and HEVC (Rec. ITU-T H.265, 9.2), uvlc() of AV1 (4.10.3)."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > 31:
                raise NotUnderstood("a number is out of range")
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """A signed number of variable length: se(v) of H.264 and HEVC (Rec. ITU-T H.265, 9.2.2)."""
        number = self.golomb()
        return (number + 1) // 2 if number % 2 else -(number // 2)
