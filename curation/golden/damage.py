"""Ways to spoil a finished file: functions from its bytes to other bytes, the same each time."""

from __future__ import annotations

import random


def flip_bits(data: bytes, *, first: float = 0.45, last: float = 0.55, every: int = 700, seed: int = 0) -> bytes:
    """One bit flipped in about every ``every`` bytes of the middle part, from share ``first`` to ``last`` of the file."""
    rng = random.Random(seed)
    out = bytearray(data)
    at = int(first * len(out)) + rng.randrange(every)
    while at < int(last * len(out)):
        out[at] ^= 1 << rng.randrange(8)
        at += 1 + rng.randrange(2 * every - 1)
    return bytes(out)


def cut_off(data: bytes, *, keep: float) -> bytes:
    """The first ``keep`` (0..1) of the file."""
    return data[: int(keep * len(data))]


def lose_header(data: bytes, *, size: int = 4096) -> bytes:
    """Noise instead of the first ``size`` bytes."""
    return random.Random(1).randbytes(min(size, len(data))) + data[size:]


def lose_everything(_: bytes) -> bytes:
    """No byte is left."""
    return b""


def become_text(_: bytes) -> bytes:
    """A text file under the name of a video."""
    return b"This is not a video. Somebody renamed a text file.\n" * 40
