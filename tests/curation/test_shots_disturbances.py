"""Flashes, strobes, broken frames and passers-by are no cuts; true cuts between similar or returning shots stay."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from curation.frames import Frame, Transition, frame_of
from curation.golden import draw, scenes, set_shots
from curation.golden.timeline import Cut, Flash, Shot, Timeline
from curation.golden.video import GoldenVideo
from curation.shots import ShotFinder
from schemas.recipe import Shots

SIZE = set_shots.SIZE
VIDEOS = {video.name: video for video in set_shots.videos(2)}


def frames_of(video: GoldenVideo | Timeline, fps: float = 25.0) -> list[Frame]:
    """The drawn pictures at the size of the pass; no file is made."""
    small = (cv2.resize(p, (256, 144), interpolation=cv2.INTER_AREA)[..., ::-1] for p in video.frames())
    return [frame_of(np.ascontiguousarray(p), k, k / fps) for k, p in enumerate(small)]


@cache
def golden(name: str) -> list[Frame]:
    return frames_of(VIDEOS[name])


def found_in(frames: list[Frame], *, stitch: bool = True) -> list[Transition]:
    finder = ShotFinder(Shots(stitch=stitch))
    return [t for frame in frames for t in finder.push(frame)] + finder.flush()


def starts(found: list[Transition]) -> list[int]:
    assert all(t.kind == "cut" for t in found), found
    return [t.start_frame for t in found]


def true_cuts(name: str) -> list[int]:
    return [cut["start_frame"] for cut in VIDEOS[name].truth["cuts"]]


@pytest.mark.parametrize(
    "name",
    ["bursts", "explosions", "strobes", "lightning", "overexposed", "glitches", "returns", "similar", "fast_flashes"],
)
def test_only_true_cuts_are_found(name: str) -> None:
    assert starts(found_in(golden(f"shots_{name}"))) == true_cuts(f"shots_{name}")


@pytest.mark.parametrize("name", ["bursts", "explosions", "strobes", "lightning", "fast_flashes"])
def test_flashes_need_no_stitching(name: str) -> None:
    assert starts(found_in(golden(f"shots_{name}"), stitch=False)) == true_cuts(f"shots_{name}")


@pytest.mark.parametrize(
    "shot",
    [scenes.pan(SIZE, 30, 150, 15.0), scenes.turn(SIZE, 6001, 150, 2.0), scenes.zoom(SIZE, 6003, 150, 0.015)],
    ids=["pan", "roll", "zoom"],
)
def test_ten_flashes_in_a_row_are_no_cuts_though_the_shot_moves_on(shot: Shot) -> None:
    row = tuple(Flash(20 + 11 * k, 1 + k % 3, (0.85, 0.6, 0.97)[k % 3]) for k in range(10))
    assert found_in(frames_of(Timeline((shot,), flashes=row))) == []


@pytest.mark.parametrize("first", [57, 61])
def test_a_cut_beside_a_flash_between_fast_shots_is_seen(first: int) -> None:
    """The pictures around the flash are of two shots, and less alike than those of either."""
    shots = (scenes.turn(SIZE, 33, 60, 2.0), scenes.pan(SIZE, 34, 60, 18.0))
    assert starts(found_in(frames_of(Timeline(shots, (Cut(),), flashes=(Flash(first, 2, 0.85),))))) == [60]


def test_without_stitching_glitches_and_long_flashes_cut() -> None:
    """Else the setting would do nothing."""
    assert found_in(golden("shots_glitches"), stitch=False)
    assert found_in(golden("shots_overexposed"), stitch=False)


@pytest.mark.parametrize("name", ["returns", "similar"])
def test_true_cuts_do_not_depend_on_stitching(name: str) -> None:
    assert starts(found_in(golden(f"shots_{name}"), stitch=False)) == true_cuts(f"shots_{name}")


def between(length: int, speed: float = 1.0) -> Timeline:
    """One shot that never stops, with ``length`` frames of another in its middle."""

    def moving(picture: np.ndarray, index: int) -> np.ndarray:
        return other[index - 50] if 50 <= index < 50 + length else picture

    view = scenes.pan(SIZE, 9, length, 0.5).make(length)
    other = [view(k) for k in range(length)]
    return Timeline((scenes.pan(SIZE, 8, 100 + length, speed).through(moving),))


@pytest.mark.parametrize("length", [2, 8, 16, 20])
def test_an_interruption_is_stitched_over(length: int) -> None:
    assert found_in(frames_of(between(length))) == []


@pytest.mark.parametrize("length", [26, 40])
def test_a_shot_between_two_halves_of_another_stays_from_a_second_on(length: int) -> None:
    assert starts(found_in(frames_of(between(length)))) == [50, 50 + length]


def test_an_interruption_is_a_shot_of_its_own_where_nothing_is_stitched() -> None:
    assert starts(found_in(frames_of(between(16)), stitch=False)) == [50, 66]


@pytest.mark.parametrize("fps", [12.0, 50.0])
def test_strobes_at_other_rates(fps: float) -> None:
    """On and off for about 0.1 s each over two seconds."""
    each = max(1, round(0.1 * fps))
    flashes = tuple(Flash(start, each, 0.9) for start in range(int(fps), int(3 * fps), 2 * each))
    shot = scenes.pan(SIZE, 11, int(4 * fps), 1.0)
    assert found_in(frames_of(Timeline((shot,), flashes=flashes), fps), stitch=False) == []


@pytest.mark.parametrize("weight", [0.6, 0.8])
def test_a_cut_in_the_middle_of_a_flash_is_seen(weight: float) -> None:
    shots = (scenes.pan(SIZE, 12, 60, 1.0), scenes.pan(SIZE, 13, 60, -1.0))
    (t,) = found_in(frames_of(Timeline(shots, (Cut(),), flashes=(Flash(58, 4, weight),))))
    assert (t.start_frame, t.end_frame, t.kind) == (60, 60, "cut")


def test_a_fade_to_white_into_another_shot_is_no_explosion() -> None:
    weights = [1.0, *(0.9 ** np.arange(20))]

    def bloom(picture: np.ndarray, index: int) -> np.ndarray:
        return draw.mix(picture, draw.WHITE, float(weights[index])) if index < len(weights) else picture

    shots: tuple[Shot, ...] = (scenes.pan(SIZE, 14, 50, 1.0), scenes.pan(SIZE, 15, 70, 1.0).through(bloom))
    found = found_in(frames_of(Timeline(shots, (Cut(),))))
    assert len(found) == 1, found
    assert abs(found[0].start_frame - 50) <= 1


def test_change_is_that_from_the_frame_before() -> None:
    finder, seen = ShotFinder(Shots()), []
    shots = (scenes.still(SIZE, 16, 10), scenes.still(SIZE, 17, 10))
    for frame in frames_of(Timeline(shots, (Cut(),))):
        finder.push(frame)
        seen.append(finder.change)
    assert seen[0] == 0.0
    assert seen[10] > 20
    assert max(seen[1:10] + seen[11:]) == 0.0
