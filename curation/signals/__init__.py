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
from curation.signals.light import LightMeter
from curation.signals.motion import Motion
from curation.signals.phash import Phash
from curation.signals.sharpness import Sharpness
from curation.signals.still import Still
from schemas.tables import SIGNAL_COLUMNS

__all__ = ["Signal", "SignalSet"]


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
        self._bars = Bars()
        self._phash = Phash()
        self._signals: dict[str, Signal] = {
            "motion": self._motion,
            "sharpness": self._sharpness,
            "light": self._light,
            "still": self._still,
            "bars": self._bars,
            "phash": self._phash,
        }
        self.timings: dict[str, float] = dict.fromkeys(self._signals, 0.0)
        """CPU seconds of this thread spent in each signal so far, estimated from every ``TIMED``-th frame."""

    def push(self, frame: Frame) -> None:
        """Every decoded frame, in order."""
        if frame.index % TIMED:
            for signal in self._signals.values():
                signal.push(frame)
            return
        before = time.thread_time()
        for name, signal in self._signals.items():
            signal.push(frame)
            after = time.thread_time()
            self.timings[name] += TIMED * (after - before)
            before = after

    def close(self, span: Span) -> dict[str, float | int | None]:
        """The columns of ``SIGNAL_COLUMNS`` for ``span``, in their order; None where not measured, never NaN or
        infinite.

        Raises FloatingPointError where a signal comes out as NaN or infinite: that is a defect, not a measurement.
        """
        bars = self._bars.close(span)
        bar_share = float(bars["bar_share"] or 0.0)
        sharp = self._sharpness.close(span)
        light = self._light.measure(span, bar_share)
        score = None if light is None else aesthetic_photo(light, sharp["sharpness"])
        values = {
            **self._motion.close(span),
            **sharp,
            **self._light.close(span, bar_share),
            **self._still.close(span),
            **bars,
            **self._phash.close(span),
            "aesthetic_photo": score,
        }
        for name, value in values.items():
            if value is not None and not math.isfinite(value):
                raise FloatingPointError(
                    f"signal `{name}` is {value} for frames {span.start_frame} to {span.end_frame}"
                )
        return {column.name: values[column.name] for column in SIGNAL_COLUMNS}

    def forget(self, before_frame: int) -> None:
        """Samples before this frame will not be asked for again."""
        for signal in self._signals.values():
            signal.forget(before_frame)
