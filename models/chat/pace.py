"""When the next request to an endpoint may go: a rate, pauses that grow, and what the endpoint asks for. Room: models.

In: times in seconds of a monotonic clock. Out: places in time, and how long to wait.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Pauses double from the first to the longest, each up to half as long again by chance, so that many do not come back at once."""


class Pace:
    """Requests of one endpoint, evenly spaced: a bucket of one token, so that no limit over a shorter time is broken either."""

    def __init__(self, per_minute: float | None, clock: Callable[[], float]) -> None:
        self._spacing = 60.0 / per_minute if per_minute is not None else 0.0
        self._clock = clock
        self._next_at = float("-inf")
        self._held_until = float("-inf")

    def claim(self) -> float:
        """Take the next free place; the time at which it comes."""
        at = max(self._clock(), self._next_at, self._held_until)
        self._next_at = at + self._spacing
        return at

    def wait_s(self, at: float) -> float:
        """How long it is until a place comes."""
        return max(0.0, at - self._clock())

    def stands(self, at: float) -> bool:
        """Whether a place may be used: not where the endpoint has asked, since it was claimed, for a rest that is longer."""
        return at >= self._held_until

    def hold(self, seconds: float) -> None:
        """No request of anybody for so long: the endpoint asked for it."""
        self._held_until = max(self._held_until, self._clock() + seconds)


def pause_s(turn: int, chance: random.Random) -> float:
    """How long to wait after the failure of a try, counted from 0."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**turn) * (1.0 + 0.5 * chance.random())


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """What the header `Retry-After` asks for (RFC 9110, 10.2.3): seconds, or a date. None where it says nothing that can be read.

    A date is held against the endpoint's own clock where it tells it.
    """
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.replace(".", "", 1).isdigit():
        return float(said)
    until, now = _date(said), _date(headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds()) if until is not None else None


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
