"""The part of the set ``shots`` that tries ramps and flashes to the limit: one-sided, slow, pulled up, in fast shots.

As in :mod:`curation.golden.set_shots`: 480 × 270, and lengths, places and movements come from the seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from curation.golden import draw, scenes
from curation.golden.timeline import Cut, Dissolve, Fade, Flash, Join, Shot, Timeline
from curation.golden.video import GoldenVideo, played

SIZE = (480, 270)
PULL_UPS = {"24in60": ((3, 2), 60.0), "25in60": ((2, 2, 3, 2, 3), 60.0), "25in50": ((2,), 50.0), "12in25": ((2,), 25.0)}
"""How often pictures are shown, by turns, where video was converted to a higher rate, and that rate in frames a second."""


def videos(seed: int) -> list[GoldenVideo]:
    """All videos of this part; each seed has one pull-up."""
    pull_up = list(PULL_UPS)[seed % len(PULL_UPS)]
    return [one_sided(seed), slow(seed), pulled_up(seed, pull_up), fast_flashes(seed)]


def _pans(seed: int, tag: int, count: int, shortest: int, longest: int) -> tuple[Shot, ...]:
    """Pans at walking pace. Tags are those of ``set_shots``, which ends below 200."""
    rng = np.random.default_rng([seed, 5, tag])
    base = 1_000_000 * seed + 1000 * tag
    return tuple(
        scenes.pan(
            SIZE, base + k, int(rng.integers(shortest, longest + 1)), float(rng.uniform(-2.5, 2.5)), 0.3,
            mean=float(rng.uniform(75, 150)),
        )
        for k in range(count)
    )  # fmt: skip


def one_sided(seed: int) -> GoldenVideo:
    """Fades with a cut on one side, with and without a flat frame between, black and white."""
    joins = (
        Fade(12, 0, 0), Fade(0, 0, 15), Fade(20, 2, 0), Fade(0, 3, 15), Fade(0, 0, 25), Fade(30, 0, 0),
        Fade(20, 0, 0, draw.WHITE), Fade(0, 3, 15, draw.WHITE), Fade(0, 1, 8),
    )  # fmt: skip
    shots = _pans(seed, 200, len(joins) + 1, 35, 50)
    return played("shots_one_sided", ("shots",), Timeline(shots, joins), size=SIZE)


def slow(seed: int) -> GoldenVideo:
    """Fades and dissolves of two to four seconds."""
    joins: tuple[Join, ...] = (Fade(50, 0, 50), Dissolve(75), Fade(75, 10, 75), Dissolve(100))
    return played("shots_slow", ("shots",), Timeline(_pans(seed, 201, 5, 45, 60), joins), size=SIZE)


def pulled_up(seed: int, pull_up: str) -> GoldenVideo:
    """All kinds of transitions in video whose pictures are shown two or three times each."""
    joins: tuple[Join, ...] = (Fade(12, 0, 12), Dissolve(12), Cut(), Fade(0, 2, 12), Fade(6, 2, 6), Fade(20, 0, 0))
    timeline = Timeline(_pans(seed, 202, len(joins) + 1, 24, 30), joins)
    pattern, fps = PULL_UPS[pull_up]
    truth = timeline.truth(fps, *SIZE)
    shown = [pattern[k % len(pattern)] for k in range(truth["frames"])]

    def frames() -> Iterator[np.ndarray]:
        for picture, times in zip(timeline.frames(), shown, strict=True):
            yield from itertools.repeat(picture, times)

    return GoldenVideo(f"shots_{pull_up}", ("shots",), fps, SIZE, frames, _as_shown(truth, shown))


def _as_shown(truth: dict[str, Any], shown: Sequence[int]) -> dict[str, Any]:
    """The truth about a timeline whose pictures are shown so often each; a shot's motion is that of its pictures."""
    first = [0, *itertools.accumulate(shown)]

    def moved(entry: dict[str, Any]) -> dict[str, Any]:
        start, end = entry["start_frame"], entry["end_frame"]
        mapped = entry | {"start_frame": first[start], "end_frame": first[end]}
        if "weights" in entry:
            times = shown[start:end]
            mapped["weights"] = [w for w, n in zip(entry["weights"], times, strict=True) for _ in range(n)]
        return mapped

    lists = {key: [moved(entry) for entry in truth[key]] for key in ("shots", "cuts", "edges", "flashes")}
    return truth | lists | {"frames": first[-1]}


def fast_flashes(seed: int) -> GoldenVideo:
    """Flashes in shots that have moved on when they are over (a pan, a roll, a zoom, a tilt), some right beside the cuts."""
    rng, base = np.random.default_rng([seed, 5, 203]), 1_000_000 * seed + 1000 * 203
    shots = (
        scenes.pan(SIZE, base, 70, float(rng.uniform(14, 22))),
        scenes.turn(SIZE, base + 1, 70, float(rng.uniform(1.2, 2.2))),
        scenes.zoom(SIZE, base + 2, 70, float(rng.uniform(0.008, 0.015))),
        scenes.pan(SIZE, base + 3, 70, -3.0, float(rng.uniform(7, 10))),
    )
    weights = (0.85, 0.6, 0.97)
    row = [Flash(70 * s + 12 + 11 * k, 1 + k % 3, weights[(k + s) % 3]) for s in range(4) for k in range(5)]
    beside = [Flash(70 - 3, 2, 0.85), Flash(140 + 1, 1, 0.9), Flash(210 - 5, 2, 0.8)]
    timeline = Timeline(shots, (Cut(),) * 3, flashes=tuple(sorted(row + beside, key=lambda f: f.start)))
    return played("shots_fast_flashes", ("shots",), timeline, size=SIZE)
