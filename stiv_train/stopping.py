"""Stopping when asked: the step at hand is finished, then all is saved. Room: stiv_train."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequest:
    """What was asked so far."""

    signal: int = 0
    """Number of the signal that came, 0 while none has."""


@contextlib.contextmanager
def on_signals() -> Iterator[StopRequest]:
    """Note SIGTERM and SIGINT for as long as the block lasts. A second one acts as it would without us."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, frame: FrameType | None) -> None:
        request.signal = number
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
