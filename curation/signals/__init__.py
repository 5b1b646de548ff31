"""Signals: numbers measured in the one forward pass, kept as small values per sample and read when a span is final.

Each signal is a file of its own with ``push(frame)``, ``close(span)`` and ``forget(before_frame)``; none does I/O.
When a span is closed, the frames after it have been pushed already, so nothing is summed up on the way: a ring holds
one small value per sample, and ``close`` takes those whose frames all lie in the span. Work is done at sampled
instants only, which follow from time stamps alone.
"""

from __future__ import annotations

import math
import time
from typing import Protocol

from curation.frames import TIMED, Frame, Span
from curation.signals.aesthetic import aesthetic_photo
from curation.signals.bars import Bars
from curation.signals.blocks import Blocks
from curation.signals.combs import Combs
from curation.signals.consistency import Consistency
from curation.signals.light import LightMeter, columns_of
from curation.signals.motion import Motion
from curation.signals.overlay import Overlay
from curation.signals.phash import Phash
from curation.signals.repeats import Repeats
from curation.signals.sharpness import Sharpness
from curation.signals.still import Still
from schemas.tables import SIGNAL_COLUMNS

__all__ = ["Signal", "SignalSet"]


Value = float | int | str | None
"""A signal of a span: a number, a flag, a word, or None where it was not or cannot be measured."""


class Signal(Protocol):
    """What every signal can do besides ``close``, whose arguments differ: some need what others found."""

    def push(self, frame: Frame) -> None:
        """Look at the next decoded frame, or only at its time stamp."""

    def forget(self, before_frame: int) -> None:
        """Drop the samples before this frame."""


class SignalSet:
    """All signals of the scan. Push every decoded frame in order; close spans when they are final; forget what is
    past."""

    luma_rate: float = 2.0
    """Instants per second at which the pass should hand over ``Frame.luma``."""

    def __init__(self) -> None:
        self._motion = Motion()
        self._sharpness = Sharpness()
        self._light = LightMeter()
        self._still = Still()
        self._repeats = Repeats()
        self._combs = Combs()
        self._blocks = Blocks()
        self._bars = Bars()
        self._overlay = Overlay()
        self._consistency = Consistency()
        self._phash = Phash()
        self.frame_signals: dict[str, Signal] = {
            "motion": self._motion,
            "sharpness": self._sharpness,
            "light": self._light,
            "still": self._still,
            "repeats": self._repeats,
            "combs": self._combs,
            "blocks": self._blocks,
            "bars": self._bars,
            "overlay": self._overlay,
            "consistency": self._consistency,
            "phash": self._phash,
        }
        """By name, in the order in which frames are pushed; none needs another until a span is closed."""
        self.timings: dict[str, float] = dict.fromkeys(self.frame_signals, 0.0)
        """CPU seconds of this thread spent in each signal so far, estimated from every ``TIMED``-th frame."""

    def push(self, frame: Frame) -> None:
        """Every decoded frame, in order."""
        # Not the first frame: what libraries set up at their first call would count 17 times.
        if frame.index % TIMED != TIMED - 1:
            for signal in self.frame_signals.values():
                signal.push(frame)
            return
        before = time.thread_time()
        for name, signal in self.frame_signals.items():
            signal.push(frame)
            after = time.thread_time()
            self.timings[name] += TIMED * (after - before)
            before = after

    def close(self, span: Span) -> dict[str, Value]:
        """The columns of ``SIGNAL_COLUMNS`` for ``span``, in their order; None where not measured, never NaN or
        infinite.

        Raises FloatingPointError where a signal comes out as NaN or infinite: that is a defect, not a measurement.
        """
        # Every score is of the picture without its bars. Those of native planes look for bars themselves, as planes are not kept.
        crop = self._bars.crop(span)
        sharp = self._sharpness.close(span)
        light = self._light.measure(span, crop)
        score = None if light is None else aesthetic_photo(light, sharp["sharpness"])
        values: dict[str, Value] = {
            **self._motion.close(span, crop),
            **sharp,
            **columns_of(light),
            **self._still.close(span, crop),
            **self._repeats.close(span, crop),
            **self._combs.close(span),
            **self._blocks.close(span),
            **self._bars.close(span),
            **self._overlay.close(span, crop),
            **self._consistency.close(span, crop),
            **self._phash.close(span, crop),
            "aesthetic_photo": score,
        }
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise FloatingPointError(
                    f"signal `{name}` is {value} for frames {span.start_frame} to {span.end_frame}"
                )
        return {column.name: values.get(column.name) for column in SIGNAL_COLUMNS}

    def forget(self, before_frame: int) -> None:
        """Samples before this frame will not be asked for again."""
        for signal in self.frame_signals.values():
            signal.forget(before_frame)
