"""The set ``corrupt``: what storage, networks and people do to files. The truth names the codes that fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from curation.golden import damage, scenes
from curation.golden.encode import encode_tone
from curation.golden.timeline import Cut, Timeline
from curation.golden.video import GoldenVideo, played
from schemas.errors import ErrorCode

SIZE = (640, 360)
_BOTH = ("corrupt", "demo")
_ONLY = ("corrupt",)
_FASTSTART = {"container_options": {"movflags": "faststart"}}


def videos(seed: int) -> list[GoldenVideo]:
    """All videos of the set."""
    base = 1_000_000 * seed + 500_000
    spoil = partial(_spoilt, base)
    return [
        spoil("corrupt_bit_flips", _BOTH, damage.flip_bits, "partial", ErrorCode.DAMAGED, encoding={"gop": 25}),
        spoil(
            "corrupt_truncated",
            _BOTH,
            partial(damage.cut_off, keep=0.6),
            "partial",
            ErrorCode.TRUNCATED,
            encoding={"gop": 25, **_FASTSTART},
        ),
        spoil(
            "corrupt_truncated_mkv",
            _ONLY,
            partial(damage.cut_off, keep=0.6),
            "partial",
            ErrorCode.TRUNCATED,
            suffix=".mkv",
        ),
        # An mp4 without `faststart` keeps its index at the end: cut off, nothing of it can be read.
        spoil("corrupt_index_lost", _ONLY, partial(damage.cut_off, keep=0.9), "error", ErrorCode.UNREADABLE),
        spoil("corrupt_header_lost", _ONLY, damage.lose_header, "error", ErrorCode.UNREADABLE, encoding=_FASTSTART),
        spoil("corrupt_empty", _ONLY, damage.lose_everything, "error", ErrorCode.EMPTY_FILE),
        spoil("corrupt_text", _BOTH, damage.become_text, "error", ErrorCode.UNREADABLE),
        GoldenVideo(
            "corrupt_audio_only",
            _ONLY,
            25.0,
            SIZE,
            _nothing,
            {"frames": 0, "cuts": [], "outcome": {"status": "error", "codes": [ErrorCode.NO_VIDEO_STREAM.value]}},
            store=partial(encode_tone, seconds=4.0),
        ),
    ]


def _nothing() -> Iterator[np.ndarray]:
    return iter(())


def _spoilt(
    base: int,
    name: str,
    sets: tuple[str, ...],
    spoil: Callable[[bytes], bytes],
    status: str,
    *codes: ErrorCode,
    **options: Any,
) -> GoldenVideo:
    """A pan, a cut and another pan (8 s in all), spoilt by ``spoil``; ``frames`` and ``cuts`` tell of the sound file."""
    shots = (scenes.pan(SIZE, base, 100, 2.0), scenes.pan(SIZE, base + 1, 100, -3.0, 1.0))
    outcome = {"status": status, "codes": [code.value for code in codes]}
    return played(name, sets, Timeline(shots, (Cut(),)), size=SIZE, damage=spoil, outcome=outcome, **options)
