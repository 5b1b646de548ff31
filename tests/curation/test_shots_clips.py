"""Trimming and splitting: pure rules, so every number here is exact."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from curation.frames import Transition
from curation.shots import ClipMaker, ClipSpan
from curation.shots.backends import clip_settings
from curation.shots.splits import split_points
from schemas.recipe import Shots

FPS = 10
SETTINGS = Shots(trim_frames=2, min_s=2.0, max_s=5.0)


def cut(frame: int) -> Transition:
    return Transition(frame, frame, "cut", 1.0, "test")


def fade(start: int, end: int) -> Transition:
    return Transition(start, end, "fade", 1.0, "test")


def clips_of(length: int, transitions: list[Transition], settings: Shots = SETTINGS) -> list[ClipSpan]:
    """All at once: every frame, every transition, the end. Time stamps are 100 a frame and begin at 7."""
    maker = ClipMaker(settings)
    for index in range(length):
        maker.push_time(index, 7 + 100 * index, index / FPS)
    return maker.advance(transitions, length) + maker.finish(7 + 100 * length, length / FPS)


def frames(clips: list[ClipSpan]) -> list[tuple[int, int]]:
    return [(clip.span.start_frame, clip.span.end_frame) for clip in clips]


def test_one_short_shot_is_one_untrimmed_clip() -> None:
    (clip,) = clips_of(40, [])
    assert frames([clip]) == [(0, 40)]
    assert (clip.shot, clip.piece) == (0, 0)
    assert (clip.span.start_pts, clip.span.end_pts) == (7, 4007)
    assert (clip.span.start_s, clip.span.end_s) == (0.0, 4.0)


def test_cut_is_trimmed_on_both_sides_but_not_the_ends_of_the_source() -> None:
    clips = clips_of(80, [cut(40)])
    assert frames(clips) == [(0, 38), (42, 80)]
    assert [clip.shot for clip in clips] == [0, 1]
    assert clips[0].span.end_pts == 7 + 3800
    assert clips[0].span.end_s == pytest.approx(3.8)


def test_fade_is_left_out_whole_and_trimmed_besides() -> None:
    assert frames(clips_of(100, [fade(40, 55)])) == [(0, 38), (57, 100)]


def test_fades_at_both_ends_of_the_source() -> None:
    clips = clips_of(60, [fade(0, 10), fade(50, 60)])
    assert frames(clips) == [(12, 48)]
    assert clips[0].shot == 0


def test_no_trim_setting_keeps_every_frame() -> None:
    settings = Shots(trim_frames=0, min_s=2.0, max_s=5.0)
    assert frames(clips_of(80, [cut(40)], settings)) == [(0, 40), (40, 80)]


def test_short_pieces_give_no_clip_but_count_as_shots() -> None:
    clips = clips_of(100, [cut(40), cut(60)])  # the middle shot has 16 frames left
    assert frames(clips) == [(0, 38), (62, 100)]
    assert [clip.shot for clip in clips] == [0, 2]


def test_pieces_are_counted_anew_in_each_shot() -> None:
    clips = clips_of(160, [cut(80)])
    assert [(clip.shot, clip.piece) for clip in clips] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_exactly_the_shortest_length_is_kept() -> None:
    assert frames(clips_of(22, [cut(22)])) == [(0, 20)]
    assert frames(clips_of(21, [cut(21)])) == []


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (50, [(0, 50)]),
        (52, [(0, 26), (26, 52)]),
        (99, [(0, 49), (49, 99)]),
        (100, [(0, 50), (50, 100)]),
        (149, [(0, 50), (50, 99), (99, 149)]),
        (160, [(0, 50), (50, 100), (100, 130), (130, 160)]),
    ],
)
def test_long_shots_are_split(length: int, expected: list[tuple[int, int]]) -> None:
    clips = clips_of(length, [])
    found = frames(clips)
    assert [b - a for a, b in found] == pytest.approx([b - a for a, b in expected], abs=1)
    assert found[0][0] == 0
    assert found[-1][1] == length
    assert all(a[1] == b[0] for a, b in pairwise(found))
    assert [clip.piece for clip in clips] == list(range(len(expected)))


@pytest.mark.parametrize("seed", range(20))
def test_streaming_equals_batch_and_limits_hold(seed: int) -> None:
    rng = random.Random(seed)
    times, now = [], 0.0
    for _ in range(rng.randint(50, 600)):
        times.append(now)
        now += rng.choice([0.04, 0.1, 0.1, 0.3])  # variable rate
    length, transitions, at = len(times), [], 0
    while (at := at + rng.randint(1, 150)) < length:
        end = min(length, at + rng.choice([0, 0, rng.randint(1, 30)]))
        transitions.append(Transition(at, end, "cut" if at == end else "dissolve", 1.0, "test"))
        at = end

    changes = [rng.expovariate(1.0) for _ in times]
    whole = ClipMaker(SETTINGS)
    for index, time in enumerate(times):
        whole.push_time(index, round(time * 1000), time, changes[index])
    batch = whole.advance(transitions, length) + whole.finish(round(now * 1000), now)

    stream, streamed, given = ClipMaker(SETTINGS), [], 0
    for index, time in enumerate(times):
        stream.push_time(index, round(time * 1000), time, changes[index])
        settled = max(0, index - rng.randint(0, 40))
        ready = []
        while given < len(transitions) and transitions[given].end_frame < settled:
            ready.append(transitions[given])
            given += 1
        if given < len(transitions):
            settled = min(settled, transitions[given].start_frame)
        needed = stream.needed_from
        new = stream.advance(ready, settled)
        assert all(clip.span.start_frame >= needed for clip in new)
        streamed += new
    streamed += stream.advance(transitions[given:], length) + stream.finish(round(now * 1000), now)

    assert streamed == batch
    for clip in batch:
        assert SETTINGS.min_s - 1e-6 <= clip.span.end_s - clip.span.start_s <= SETTINGS.max_s + 1e-6
        for t in transitions:
            assert clip.span.end_frame <= t.start_frame - 2 or clip.span.start_frame >= t.end_frame + 2


def test_memory_is_bounded_in_an_endless_shot() -> None:
    maker, clips = ClipMaker(SETTINGS), []
    for index in range(5000):
        maker.push_time(index, index, index / FPS)
        clips += maker.advance([], max(0, index - 30))
        assert index - maker.needed_from <= 2 * SETTINGS.max_s * FPS + 30 + SETTINGS.trim_frames + 1
        assert len(maker._times) <= index - maker.needed_from + 1
    assert len(clips) > 90


def test_split_points_are_equal_and_under_the_limit() -> None:
    times = [k / 30 for k in range(300)]
    assert split_points(times, 10.0, 10.0) == []
    assert split_points(times, 10.0, 9.0) == [150]
    assert split_points(times, 10.0, 4.0) == [100, 200]


def test_a_single_long_frame_cannot_be_split() -> None:
    assert split_points([0.0], 30.0, 5.0) == []
    assert split_points([0.0, 30.0], 31.0, 5.0) == [1]


def test_a_missing_frame_is_an_error() -> None:
    maker = ClipMaker(SETTINGS)
    maker.push_time(0, 0, 0.0)
    with pytest.raises(ValueError, match="frame 2"):
        maker.push_time(2, 2, 0.2)


def test_nothing_pushed_gives_nothing() -> None:
    maker = ClipMaker(SETTINGS)
    assert maker.advance([], 0) == []
    assert maker.finish(0, 0.0) == []


def changes_of(length: int, calm: dict[int, float], usual: float = 10.0) -> list[float]:
    """``usual`` everywhere, but for half a second around each of the frames in ``calm``."""
    changes = [usual] * length
    for at, value in calm.items():
        changes[at - 2 : at + 3] = [value] * 5
    return changes


def moving_clips(changes: list[float], transitions: list[Transition], settings: Shots = SETTINGS) -> list[ClipSpan]:
    maker = ClipMaker(settings)
    for index, change in enumerate(changes):
        maker.push_time(index, 100 * index, index / FPS, change)
    length = len(changes)
    return maker.advance(transitions, length) + maker.finish(100 * length, length / FPS)


def test_a_shot_with_two_calm_moments_is_split_there() -> None:
    """Of 12 s with 5 s at most: one piece is given off as soon as 10 s are certain, and the rest is halved."""
    assert frames(moving_clips(changes_of(120, {42: 1.0, 86: 1.0}), [])) == [(0, 42), (42, 86), (86, 120)]


def test_calm_moments_in_a_closed_shot_move_each_division() -> None:
    times = [k / 25 for k in range(700)]
    changes = [8.0] * 700
    changes[238:250] = changes[470:482] = [0.5] * 12
    first, second = split_points(times, 28.0, 10.0, 2.0, changes)
    assert (first, second) == (pytest.approx(244, abs=3), pytest.approx(476, abs=3))


def test_equal_change_and_small_differences_leave_equal_parts() -> None:
    rng = random.Random(0)
    for changes in ([0.0] * 300, [3.0] * 300, [rng.uniform(2.9, 3.1) for _ in range(300)]):
        points = split_points([k / 30 for k in range(300)], 10.0, 4.0, 2.0, changes)
        assert points == pytest.approx([100, 200], abs=3)
    assert frames(moving_clips([5.0] * 90, [])) == [(0, 45), (45, 90)]


def test_a_calm_moment_too_far_away_or_beyond_a_limit_is_left_alone() -> None:
    assert frames(moving_clips(changes_of(80, {20: 0.0}), [])) == [
        (0, 40),
        (40, 80),
    ]  # more than a fifth of a piece away
    assert frames(moving_clips(changes_of(98, {40: 0.0}), [])) == [(0, 49), (49, 98)]  # 58 frames: too long


@pytest.mark.parametrize("seed", range(10))
def test_limits_hold_at_variable_rate_with_any_change(seed: int) -> None:
    rng = random.Random(100 + seed)
    times, now = [], 0.0
    for _ in range(600):
        times.append(now)
        now += rng.choice([0.01, 0.04, 0.1, 0.4])
    changes = [rng.expovariate(0.2) for _ in times]
    points = split_points(times, now, 5.0, 2.0, changes)
    moments = [times[p] for p in (0, *points)] + [now]
    assert points == sorted(set(points))
    assert all(2.0 - 1e-6 <= b - a <= 5.0 + 1e-6 for a, b in pairwise(moments))


SEAM_SETTINGS = Shots(trim_frames=2, min_s=1.0, max_s=5.0)


def owned(
    length: int, transitions: list[Transition], start: int, stop: int, owned_from: int | None, owned_to: int | None
) -> tuple[ClipMaker, list[ClipSpan]]:
    """Frames from ``start`` to before ``stop``, pushed one by one and settled eight frames later; pts are frame numbers."""
    maker, clips, given = ClipMaker(SEAM_SETTINGS, owned_from, owned_to), [], 0
    seen = [t for t in transitions if start < t.start_frame < stop]
    for index in range(start, min(stop, length)):
        maker.push_time(index, index, index / FPS, float(index % 7))
        settled = index - 8
        ready = [t for t in seen[given:] if t.end_frame < settled]
        given += len(ready)
        if given < len(seen):
            settled = min(settled, seen[given].start_frame)
        needed = maker.needed_from
        new = maker.advance(ready, max(start, settled))
        assert all(clip.span.start_frame >= needed for clip in new)
        clips += new
    end = min(stop, length)
    return maker, clips + maker.advance(seen[given:], end) + maker.finish(end, end / FPS)


def test_a_seam_divides_a_shot_and_trims_nothing() -> None:
    _, first = owned(60, [], 0, 45, None, 30)
    _, second = owned(60, [], 15, 60, 30, None)
    assert frames(first + second) == [(0, 30), (30, 60)]
    assert (first[0].span.end_pts, second[0].span.start_pts) == (30, 30)


def test_a_seam_between_frames_belongs_to_the_frame_after_it_on_both_sides() -> None:
    makers = [ClipMaker(SEAM_SETTINGS, None, 2950), ClipMaker(SEAM_SETTINGS, 2950, None)]
    found = []
    for maker in makers:
        for index in range(60):
            maker.push_time(index, 100 * index, index / FPS)
        found.append(frames(maker.finish(6000, 6.0)))
    assert found == [[(0, 30)], [(30, 60)]]


def test_only_own_transitions_count_but_all_trim() -> None:
    """A cut two frames before the seam, a fade across the next one, and a cut one frame after the last."""
    transitions = [cut(28), fade(55, 63), cut(91)]
    first, clips_1 = owned(120, transitions, 0, 45, None, 30)
    second, clips_2 = owned(120, transitions, 15, 75, 30, 60)
    third, clips_3 = owned(120, transitions, 45, 105, 60, 90)
    fourth, clips_4 = owned(120, transitions, 75, 120, 90, None)
    assert [frames(c) for c in (clips_1, clips_2, clips_3, clips_4)] == [[(0, 26)], [(30, 53)], [(65, 89)], [(93, 120)]]
    assert [m.shots for m in (first, second, third, fourth)] == [1, 1, 0, 1]
    assert [clip.shot for clips in (clips_1, clips_2, clips_3, clips_4) for clip in clips] == [0, 0, 0, 1]
    assert [second.owns(frame) for frame in (29, 30, 59, 60)] == [False, True, True, False]


def test_nothing_is_made_of_a_segment_that_owns_no_frame() -> None:
    maker, clips = owned(60, [cut(20)], 0, 60, 1000, None)
    assert clips == []
    assert maker.shots == 0
    assert maker.needed_from >= 60
    assert owned(60, [], 30, 60, 10, 25)[1] == []


@pytest.mark.parametrize("seed", range(12))
def test_segments_together_make_the_clips_of_the_whole(seed: int) -> None:
    """Away from seams the clips are the same, numbers go on, and each own frame is in the same shot."""
    rng = random.Random(500 + seed)
    length, transitions, at = 600, [], 0
    while (at := at + rng.randint(25, 48)) < length - 10:
        end = at + rng.choice([0, 0, rng.randint(3, 12)])
        transitions.append(Transition(at, end, "cut" if at == end else "dissolve", 1.0, "test"))
        at = end
    _, whole = owned(length, transitions, 0, length, None, None)
    seams = [None, *sorted(rng.sample(range(100, 500), 3)), None]
    parts, shots, own = [], 0, 0
    for low, high in pairwise(seams):
        start, stop = max(0, (low or 0) - 40), min(length, (high or length) + 40)
        maker, clips = owned(length, transitions, start, stop, low, high)
        parts += [(clip.span.start_frame, clip.span.end_frame, clip.shot + shots) for clip in clips]
        shots += maker.shots
        own += sum(maker.owns(t.start_frame) for t in transitions if start < t.start_frame < stop)
    assert own == len(transitions)
    assert shots == len(transitions)
    inner = [seam for seam in seams if seam is not None]
    expected = {
        (c.span.start_frame, c.span.end_frame, c.shot)
        for c in whole
        if not any(c.span.start_frame < seam < c.span.end_frame for seam in inner)
    }
    assert expected <= set(parts)
    of_frame = {f: shot for a, b, shot in parts for f in range(a, b)}
    assert all(of_frame.get(f, c.shot) == c.shot for c in whole for f in range(c.span.start_frame, c.span.end_frame))


def test_pieces_go_on_after_a_seam() -> None:
    maker, clips = owned(300, [cut(100)], 0, 250, None, 200)
    assert [(c.shot, c.piece) for c in clips if c.shot] == [(1, 0), (1, 1)]
    assert maker.pieces == 2


@pytest.mark.parametrize(
    ("left", "motion", "start"),
    [
        ([], 0.0, 50),
        ([], 3.0, 50),
        ([], 20.0, 52),
        ([0.12], 0.0, 52),
        ([0.12], 3.0, 52),
        ([0.14, 0.07], 0.0, 52),
        ([0.14, 0.14], 0.0, 52),
        ([0.10, 0.08, 0.06], 0.0, 52),
        ([0.14 - 0.01 * k for k in range(9)], 0.0, 52),
    ],
)
def test_nothing_is_trimmed_after_a_cut_whose_first_frame_is_whole(
    left: list[float], motion: float, start: int
) -> None:
    """``left`` is what the first frames still show of the old shot, in shares; the shots are 40 apart."""
    weights = [1.0, *left, 0.0]
    gone = [40 * (a - b) for a, b in pairwise(weights)]
    maker = ClipMaker(Shots(min_s=0.5, max_s=60, trim_frames=2))
    for index in range(150):
        own = 1.0 if index < 50 else motion
        maker.push_time(index, index, index / 25, own + (gone[index - 50] if 0 <= index - 50 < len(gone) else 0.0))
    clips = maker.advance([Transition(50, 50, "cut", 1.0, "test")], 60) + maker.finish(150, 6.0)
    assert [(c.span.start_frame, c.span.end_frame) for c in clips] == [(0, 48), (start, 150)]


def test_fixed_pieces_end_at_multiples() -> None:
    maker = ClipMaker(clip_settings(Shots(backend="fixed", fixed_s=1.0, min_s=0.2)))
    clips = []
    for index in range(7, 90):  # from 0.28 s on
        maker.push_time(index, index, index / 25, 1.0)
        clips += maker.advance([], index + 1)
    clips += maker.finish(90, 3.6)
    assert [(c.span.start_frame, c.span.end_frame) for c in clips] == [(7, 25), (25, 50), (50, 75), (75, 90)]
