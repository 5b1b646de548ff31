"""Trimming and splitting: pure rules, so every number here is exact."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from curation.frames import Transition
from curation.shots import ClipMaker, ClipSpan
from curation.shots.clips import split_points
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

    whole = ClipMaker(SETTINGS)
    for index, time in enumerate(times):
        whole.push_time(index, round(time * 1000), time)
    batch = whole.advance(transitions, length) + whole.finish(round(now * 1000), now)

    stream, streamed, given = ClipMaker(SETTINGS), [], 0
    for index, time in enumerate(times):
        stream.push_time(index, round(time * 1000), time)
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
