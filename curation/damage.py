"""Which frames of a decode are damaged, from what the decoder says and in which order it worked."""

from __future__ import annotations

from collections import deque

from av.video.frame import VideoFrame

from curation.tally import Tally

_REORDERED = 32
"""Frames that are looked back at: more than a frame can be shown before one that was decoded earlier."""


class Damage:
    """A frame is damaged when the decoder flags it, or when it was decoded between an error and the next recovery point.

    Damage spreads in decoding order, while frames come in display order: a damaged frame spoils frames that are shown before it, and
    an error may be known before older frames are out. The numbers of packets tell; frames whose packet is not known go by display
    order. A recovery point is a frame that the decoder calls a keyframe, is whole, and was decoded after the error: in an open group
    of pictures the frames shown before it still count as damaged. A stream that refreshes gradually has none after its first frame:
    there damage lasts to the end.

    What decoders do not see is not seen here either: arithmetic decoders turn flipped bits into other pictures without a word, as long
    as headers and lengths still make sense. VP8 and MJPEG hardly ever complain, HEVC, VP9 and AV1 in part.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._oldest: int | None = None  # packets at fault since the last recovery point
        self._newest = -1
        self._behind_hole = False
        self._recent: deque[tuple[int, int | None, bool]] = deque(maxlen=_REORDERED)

    def hole(self) -> None:
        """The next frame comes later than its time stamp should be: what it refers to may be lost."""
        self._behind_hole = True

    def judge(self, frame: VideoFrame, index: int, number: int | None, fault: int | None, owned: bool) -> None:
        """Look at the next frame in display order.

        Args:
            number: of the frame's packet.
            fault: number of a faulty packet since the frame before.
            owned: whether the frame counts.
        """
        corrupt = frame.is_corrupt
        if fault is not None:
            self._trouble(fault)
        if corrupt:
            self._trouble(number)
        if self._oldest is not None or self._behind_hole:
            after = fault is None if number is None else number > self._newest
            if frame.key_frame and not corrupt and after:
                self._oldest, self._newest, self._behind_hole = None, -1, False
            elif owned:
                if self._oldest is not None and (number is None or number >= self._oldest):
                    self._tally.mark(index)
                elif self._behind_hole:
                    self._tally.doubt(index)
        self._recent.append((index, number, owned))

    def _trouble(self, number: int | None) -> None:
        """A packet is at fault; None where it is not known which: then all frames from here on are in doubt."""
        first = 0 if number is None else number
        self._oldest = first if self._oldest is None else min(self._oldest, first)
        self._newest = max(self._newest, first)
        if number is not None:
            for index, packet, owned in self._recent:
                if owned and packet is not None and packet > number:
                    self._tally.mark(index)
