"""The catalogue of all golden videos, by sets."""

from __future__ import annotations

from curation.golden import set_corrupt, set_demo, set_odd, set_picture, set_shapes, set_shots, set_signals
from curation.golden.video import GoldenVideo

__all__ = ["SETS", "GoldenVideo", "catalogue"]

SETS: dict[str, str] = {
    "demo": "what a first user curates: every kind of outcome in a few seconds each",
    "shots": "cuts, fades, dissolves and what tempts a detector to see them, for accuracy tables",
    "signals": "one property each, with its true value",
    "picture": "repeated frames, combs, coding blocks, overlays and orientation, with their true values",
    "odd": "valid files with rotation, variable rate, odd sizes, rare formats and containers",
    "corrupt": "damaged files, and files that are no video",
    "shapes": "small clips of one moving shape with a caption, to train on",
}
"""Name of each set and what it is for."""


def catalogue(seed: int = 0, *, shapes: int = 144) -> list[GoldenVideo]:
    """Every golden video, in the order of :data:`SETS`; nothing is drawn yet.

    Args:
        seed: another seed gives other pictures and, where chance is involved, other truth.
        shapes: how many clips the set ``shapes`` has; a multiple of 72 holds every combination equally often.
    """
    return [
        *set_demo.videos(seed),
        *set_shots.videos(seed),
        *set_signals.videos(seed),
        *set_picture.videos(seed),
        *set_odd.videos(seed),
        *set_corrupt.videos(seed),
        *set_shapes.videos(seed, shapes),
    ]
