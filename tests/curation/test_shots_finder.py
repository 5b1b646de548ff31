"""Transitions in drawn sequences, where every frame's truth is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest

from curation.frames import Frame, Transition, frame_of
from curation.shots import ShotFinder
from curation.shots.cuts import cut_score
from curation.shots.dips import find_dip
from curation.shots.sketch import Sketch, Sketcher, coverage, distance, likeness
from schemas.recipe import Shots

W, H, FPS = 256, 144, 25.0
Picture = np.ndarray


def texture(seed: int, width: int = W, height: int = H) -> Picture:
    """A colourful picture with coarse and fine structure, float32 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((6, 1.0), (24, 0.5), (96, 0.3)):
        grid = rng.standard_normal((cells * height // width + 2, cells + 2, 3)).astype(np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(rng.uniform(80, 150, 3).astype(np.float32) + 40 * total, 0, 255)


def still(seed: int, length: int) -> list[Picture]:
    """A still picture with a little noise, as a camera gives it."""
    rng, base = np.random.default_rng([seed, 1]), texture(seed)
    return [np.clip(base + rng.normal(0, 2, base.shape), 0, 255) for _ in range(length)]


def pan(seed: int, length: int, speed: float) -> list[Picture]:
    """A camera that moves ``speed`` pixels a frame over a wide picture."""
    wide = texture(seed, W + int(np.ceil(abs(speed) * length)) + 1)
    starts = [round(speed * k) for k in range(length)]
    return [wide[:, start : start + W] for start in starts]


def mix(a: Picture, b: Picture, weight: float) -> Picture:
    return (1 - weight) * a + weight * b


def ramp(frames: int) -> list[float]:
    """Weights strictly between 0 and 1."""
    return [(k + 1) / (frames + 1) for k in range(frames)]


def dissolve(a: Sequence[Picture], b: Sequence[Picture], frames: int) -> list[Picture]:
    """The last ``frames`` of ``a`` mixed with the first of ``b``, between what is left of both."""
    mixed = [mix(x, y, w) for x, y, w in zip(a[-frames:], b[:frames], ramp(frames), strict=True)]
    return [*a[:-frames], *mixed, *b[frames:]]


def push_all(
    pictures: Sequence[Picture], fps: float = FPS, watch: Callable[[ShotFinder, list[Transition]], None] | None = None
) -> list[Transition]:
    finder, found = ShotFinder(Shots()), []
    for index, picture in enumerate(pictures):
        small = np.round(picture).astype(np.uint8)
        new = finder.push(frame(index, index / fps, small))
        found += new
        if watch is not None:
            watch(finder, new)
    rest = finder.flush()
    if watch is not None:
        watch(finder, rest)
    return found + rest


def frame(index: int, time: float, small: np.ndarray) -> Frame:
    return frame_of(small, index, time, pts=round(time * 1000))


def sketches(pictures: Sequence[Picture]) -> list[Sketch]:
    sketcher = Sketcher()
    return [sketcher.make(frame(k, k / FPS, np.round(p).astype(np.uint8)))[0] for k, p in enumerate(pictures)]


def only(found: list[Transition], kind: str) -> Transition:
    assert [t.kind for t in found] == [kind], found
    return found[0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hard_cuts_are_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pictures: list[Picture] = []
    cuts = []
    for shot in range(6):
        length, speed = int(rng.integers(20, 45)), float(rng.uniform(0, 4))
        pictures += pan(100 * seed + shot, length, speed) if shot % 2 else still(100 * seed + shot, length)
        cuts.append(len(pictures))
    found = push_all(pictures)
    assert [(t.start_frame, t.end_frame, t.kind) for t in found] == [(c, c, "cut") for c in cuts[:-1]]
    assert all(0.5 <= t.score <= 1 and t.detector == "adaptive" for t in found)


@pytest.mark.parametrize(("first", "second"), [(1, 2), (3, 4), (5, 6)])
def test_cut_within_fast_motion(first: int, second: int) -> None:
    t = only(push_all([*pan(first, 40, 22.0), *pan(second, 40, 20.0)]), "cut")
    assert (t.start_frame, t.detector) == (40, "jump")


def test_short_shots_are_all_seen() -> None:
    lengths = [30, 6, 7, 8, 30]
    pictures = [p for seed, n in enumerate(lengths) for p in still(50 + seed, n)]
    assert [t.start_frame for t in push_all(pictures)] == [30, 36, 43, 51]


@pytest.mark.parametrize("level", [0.0, 255.0])
@pytest.mark.parametrize("seed", [3, 4])
def test_fade_is_one_span_over_both_ramps_and_what_is_between(seed: int, level: float) -> None:
    a, b, flat = pan(seed, 60, 0.5), pan(seed + 50, 60, 1.0), np.full((H, W, 3), level, np.float32)
    out = [mix(p, flat, w) for p, w in zip(a[40:], ramp(20), strict=True)]
    back = [mix(flat, p, w) for p, w in zip(b[:12], ramp(12), strict=True)]
    t = only(push_all([*a[:40], *out, *[flat] * 8, *back, *b[12:]]), "fade")
    assert 35 <= t.start_frame <= 40
    assert 80 <= t.end_frame <= 85
    assert t.detector == "luma_ramp"


def test_fades_at_the_ends_of_the_source() -> None:
    shot, black = pan(5, 90, 1.0), np.zeros((H, W, 3), np.float32)
    opening = [mix(black, p, w) for p, w in zip(shot[:20], ramp(20), strict=True)]
    closing = [mix(p, black, w) for p, w in zip(shot[70:], ramp(20), strict=True)]
    first, last = push_all([black, *opening, *shot[20:70], *closing, black])
    assert (first.kind, last.kind) == ("fade", "fade")
    assert first.start_frame == 0
    assert 21 <= first.end_frame <= 26
    assert 66 <= last.start_frame <= 71
    assert last.end_frame == 92


def test_cut_to_black_then_fade_in_is_a_fade_from_the_cut_on() -> None:
    b, black = still(7, 60), np.zeros((H, W, 3), np.float32)
    back = [mix(black, p, w) for p, w in zip(b[:20], ramp(20), strict=True)]
    t = only(push_all([*still(6, 40), *[black] * 15, *back, *b[20:]]), "fade")
    assert t.start_frame == 40
    assert 75 <= t.end_frame <= 79


def test_fade_out_then_cut_from_black_is_a_fade_up_to_the_cut() -> None:
    a, black = still(6, 60), np.zeros((H, W, 3), np.float32)
    out = [mix(p, black, w) for p, w in zip(a[40:], ramp(20), strict=True)]
    t = only(push_all([*a[:40], *out, *[black] * 15, *still(7, 40)]), "fade")
    assert 36 <= t.start_frame <= 40
    assert t.end_frame == 75


def test_long_black_between_hard_cuts_stays_two_cuts() -> None:
    black = [np.zeros((H, W, 3), np.float32)] * 50
    found = push_all([*still(8, 40), *black, *still(9, 40)])
    assert [(t.start_frame, t.end_frame, t.kind) for t in found] == [(40, 40, "cut"), (90, 90, "cut")]


def test_quick_dip_to_white_is_a_fade() -> None:
    a, b, white = still(10, 40), still(11, 40), np.full((H, W, 3), 255, np.float32)
    t = only(push_all([*a, mix(a[0], white, 0.5), white, white, mix(white, b[0], 0.5), *b]), "fade")
    assert t.start_frame <= 40
    assert 44 <= t.end_frame <= 47


@pytest.mark.parametrize(
    ("seed", "speed", "frames"), [(20, 0.0, 20), (21, 0.0, 8), (22, 1.0, 20), (23, 2.0, 12), (24, 0.0, 50)]
)
def test_dissolve_is_found_as_a_span(seed: int, speed: float, frames: int) -> None:
    a, b = pan(seed, 60 + frames, speed), pan(seed + 40, 60 + frames, speed)
    t = only(push_all(dissolve(a, b, frames)), "dissolve")
    weights = ramp(frames)
    mixed = [60 + k for k, w in enumerate(weights) if 0.05 < w < 0.95]
    assert t.start_frame < mixed[0]  # with a frame to spare on both sides
    assert t.end_frame > mixed[-1] + 1
    assert t.end_frame - t.start_frame <= frames + 12
    assert t.detector == "linear_blend"


def test_two_dissolves_with_a_short_shot_between_stay_two() -> None:
    shots = dissolve(
        dissolve(pan(25, 60, 1.0), pan(26, 45, 1.0), 15), pan(27, 60, 1.0), 15
    )  # the middle one: 15 frames
    first, second = push_all(shots)
    assert (first.kind, second.kind) == ("dissolve", "dissolve")
    assert first.start_frame <= 45
    assert 60 <= first.end_frame <= 67
    assert 68 <= second.start_frame <= 75
    assert second.end_frame >= 90


@pytest.mark.parametrize("fps", [10.0, 50.0])
def test_dissolve_of_the_same_length_in_seconds_at_other_rates(fps: float) -> None:
    frames, length = int(0.8 * fps), int(2.5 * fps)
    t = only(push_all(dissolve(still(30, length), still(31, length), frames), fps), "dissolve")
    assert t.start_frame <= length - frames + frames // 20 + 1
    assert t.end_frame >= length - frames // 20 - 1


def test_ten_flashes_in_a_row_are_no_cuts() -> None:
    pictures = pan(12, 150, 1.0)
    for k in range(10):
        for at in range(20 + 11 * k, 20 + 11 * k + 1 + k % 3):
            pictures[at] = mix(pictures[at], np.full((H, W, 3), 255, np.float32), (0.6, 0.85, 0.97)[k % 3])
    assert push_all(pictures) == []


@pytest.mark.parametrize("speed", [6.0, 20.0, 35.0])
def test_fast_pan_is_no_cut(speed: float) -> None:
    wide = texture(13, W + int(60 * speed))
    starts = [0] * 25 + [int(speed * k) for k in range(60)]
    assert push_all([wide[:, s : s + W] for s in starts]) == []


def test_whip_pan_with_a_jolt_is_no_cut() -> None:
    wide = texture(14, W + 400)
    starts = [0] * 30 + [18] * 30  # the camera is knocked aside within one frame
    assert push_all([wide[:, s : s + W] for s in starts]) == []


def test_static_shot_has_no_transition() -> None:
    assert push_all(still(15, 120)) == []


def test_change_of_light_is_no_transition() -> None:
    gains = np.interp(np.arange(150), [0, 40, 42, 90, 120, 149], [0.5, 0.5, 1.0, 1.0, 0.5, 0.5])
    assert push_all([p * g for p, g in zip(pan(16, 150, 0.5), gains, strict=True)]) == []


def test_title_that_fades_in_over_a_shot_is_no_transition() -> None:
    pictures = still(17, 100)
    for index, weight in enumerate(np.clip((np.arange(100) - 40) / 20, 0, 1)):
        box = pictures[index][50:95, 50:206]
        box += weight * (255 - box)
    assert push_all(pictures) == []


def test_caption_that_pops_up_is_no_cut() -> None:
    pictures = still(19, 80)
    for picture in pictures[40:]:
        picture[95:135, 10:246] = 255
    assert push_all(pictures) == []


def test_object_crossing_close_to_the_camera_is_no_transition() -> None:
    pictures = still(18, 100)
    for index in range(30, 70):
        x = -120 + 10 * (index - 30)
        pictures[index][:, max(0, x) : max(0, x + 120)] = (200, 60, 40)
    assert push_all(pictures) == []


def test_order_finality_and_bounded_memory() -> None:
    """Nothing is returned out of order or before what ``settled`` had declared done, and old frames are forgotten."""
    pictures = [*dissolve(still(40, 150), still(41, 150), 20), *still(42, 150), *pan(43, 150, 2.0)]
    seen: list[Transition] = []
    settled = [0]
    held = []

    def watch(finder: ShotFinder, new: list[Transition]) -> None:
        assert all(t.start_frame >= settled[-1] for t in new)
        assert finder.settled >= settled[-1]
        assert all(t.start_frame < finder.settled for t in new)
        seen.extend(new)
        settled.append(finder.settled)
        held.append(len(finder._ring))

    found = push_all(pictures, watch=watch)
    assert found == seen == sorted(found, key=lambda t: t.start_frame)
    assert [t.kind for t in found] == ["dissolve", "cut", "cut"]
    assert settled[-1] == len(pictures)
    latency_s = max(index - value for index, value in enumerate(settled[1:-1])) / FPS
    assert latency_s <= 11
    assert max(held) <= 11 * FPS + 2


def test_variable_rate_counts_frames_and_not_time() -> None:
    rng = np.random.default_rng(5)
    pictures = [*still(44, 50), *still(45, 50), *still(46, 50)]
    finder, found, time = ShotFinder(Shots()), [], 0.0
    for index, picture in enumerate(pictures):
        found += finder.push(frame(index, time, np.round(picture).astype(np.uint8)))
        time += float(rng.choice([0.04, 0.04, 0.2, 1.5]))
    assert [t.start_frame for t in found + finder.flush()] == [50, 100]


def test_empty_and_tiny_streams() -> None:
    assert ShotFinder(Shots()).flush() == []
    for length in (1, 2, 5):
        assert push_all(still(47, length)) == []


def test_portrait_and_tiny_pictures() -> None:
    for shape in ((256, 144, 3), (20, 12, 3), (4, 256, 3)):
        rng = np.random.default_rng(1)
        a, b = (cv2.resize(rng.uniform(0, 255, (4, 4, 3)), shape[1::-1]) for _ in range(2))
        assert [t.start_frame for t in push_all([a] * 30 + [b] * 30)] in ([30], [])
    assert [
        t.start_frame for t in push_all([p.transpose(1, 0, 2).copy() for p in [*still(48, 30), *still(49, 30)]])
    ] == [30]


def test_sketch_measures() -> None:
    wide = texture(60, W + 40)
    a, moved, other, black = sketches([wide[:, :W], wide[:, 40 : 40 + W], texture(61), np.zeros((H, W, 3))])
    assert likeness(a, a) == pytest.approx(1.0, abs=0.02)
    assert likeness(a, moved) > 0.9
    assert likeness(a, other) < 0.7
    assert likeness(black, black) == 0.0
    assert distance(a, a) == 0.0
    assert coverage(a, other) > 0.9
    assert coverage(a, a) == 0.0
    assert black.flat
    assert not a.flat


def test_cut_score_judges_without_context() -> None:
    a, b = sketches([texture(62), texture(63)])
    assert cut_score([a], [b]) is not None
    assert cut_score([a], [a]) is None


def test_dip_needs_both_sides() -> None:
    black = np.zeros((H, W, 3), np.float32)
    a, b = texture(64), texture(65)
    assert find_dip(sketches([a, a, a / 2, black, black, b / 2, b, b]), 3, 1.5) == (2, 6)
    assert find_dip(sketches([a, a, black, b, b]), 2, 1.5) is None  # two cuts
    assert find_dip(sketches([black, black, b / 2, b]), 0, 1.5) is None
    assert find_dip(sketches([a, a / 2, black, black]), 2, 1.5) is None


def test_what_is_tested_does_not_depend_on_where_the_stream_began() -> None:
    """The ends of a dissolve depend on which of its frames was tested; failed tests before it must not decide that."""
    frames = [frame(k, k / FPS, np.round(p).astype(np.uint8)) for k, p in enumerate(dissolve(pan(70, 220, 2.0), pan(71, 120, 1.5), 20))]  # fmt: skip
    answers = set()
    for first in range(0, 60, 7):
        finder = ShotFinder(Shots())
        found = [t for f in frames[first:] for t in finder.push(f)] + finder.flush()
        answers.add(tuple((t.start_frame, t.end_frame) for t in found))
    assert len(answers) == 1
    assert len(answers.pop()) == 1


@pytest.mark.parametrize("cut_first", [True, False])
def test_a_span_swallows_a_cut_and_stays_what_it_is(cut_first: bool) -> None:
    finder = ShotFinder(Shots())
    both = [(20, 20, "cut", 1.0, "adaptive"), (10, 20, "dissolve", 0.5, "linear_blend")]
    for start, end, kind, score, detector in both if cut_first else both[::-1]:
        finder._add(start, end, kind, score, detector)  # type: ignore[arg-type]
    assert [entry[2] for entry in finder._found] == [Transition(10, 20, "dissolve", 0.5, "linear_blend")]
