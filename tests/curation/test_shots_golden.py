"""The promise about clips, on the golden set: none contains a frame of a transition, or a cut."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from curation.decode import open_source
from curation.frames import Frame, frame_of
from curation.golden import scenes, set_shots, set_shots_ramps
from curation.golden.timeline import Dissolve, Fade, Join, Timeline
from curation.golden.video import GoldenVideo, played
from curation.golden.write import write_golden
from curation.shots import ClipMaker, ShotFinder
from schemas.recipe import Shots

SETTINGS = Shots(min_s=0.2)
"""Clips so short that no piece of a shot escapes the test."""
GRADUAL = (
    "shots_fades_0",
    "shots_fades_1",
    "shots_dissolves_0",
    "shots_dissolves_1",
    "shots_mixed",
    "shots_one_sided",
    "shots_slow",
)


def small(video: GoldenVideo | Timeline) -> Iterator[Frame]:
    """The drawn pictures at the size of the pass; no file is made."""
    fps = video.fps if isinstance(video, GoldenVideo) else 25.0
    for index, picture in enumerate(video.frames()):
        bgr = cv2.resize(picture, (256, 144), interpolation=cv2.INTER_AREA)[..., ::-1]
        yield frame_of(np.ascontiguousarray(bgr), index, index / fps)


def clips_of(frames: Iterable[Frame]) -> list[tuple[int, int]]:
    finder, maker, clips, last, end_s = ShotFinder(SETTINGS), ClipMaker(SETTINGS), [], 0, 0.0
    for frame in frames:
        found = finder.push(frame)
        maker.push_time(frame.index, frame.index, frame.time, finder.change)
        clips += maker.advance(found, finder.settled)
        last, end_s = frame.index + 1, frame.time + 0.01
    clips += maker.advance(finder.flush(), last) + maker.finish(last, end_s)
    return [(clip.span.start_frame, clip.span.end_frame) for clip in clips]


def forbidden(truth: dict[str, Any]) -> Iterator[int]:
    """Frames that are mixed so that either picture has a weight between 0.05 and 0.95."""
    for cut in truth["cuts"]:
        for offset, weight in enumerate(cut.get("weights", [])):
            if 0.05 < weight < 0.95:
                yield cut["start_frame"] + offset
    for edge in truth["edges"]:
        length = edge["end_frame"] - edge["start_frame"]
        yield from (edge["start_frame"] + k for k in range(length) if 0.05 < (k + 1) / (length + 1) < 0.95)


def check(truth: dict[str, Any], clips: list[tuple[int, int]]) -> None:
    held = {frame for start, end in clips for frame in range(start, end)}
    assert not held & set(forbidden(truth))
    cuts = [cut["start_frame"] for cut in truth["cuts"] if cut["kind"] == "cut"]
    assert not [(cut, clip) for cut in cuts for clip in clips if clip[0] < cut < clip[1]]
    shown = sum(shot["end_frame"] - shot["start_frame"] for shot in truth["shots"])
    assert len(held) >= 0.8 * (shown - 8 * len(truth["cuts"]))  # and yet most of what could be kept is


@pytest.mark.parametrize("name", GRADUAL)
def test_no_clip_holds_a_frame_of_a_transition(name: str) -> None:
    (video,) = (video for video in set_shots.videos(4) if video.name == name)
    check(video.truth, clips_of(small(video)))


@pytest.mark.parametrize("pull_up", set_shots_ramps.PULL_UPS)
def test_no_clip_of_pulled_up_video_holds_a_frame_of_a_transition(pull_up: str) -> None:
    """A picture that is shown two or three times is not the end of a ramp."""
    video = set_shots_ramps.pulled_up(4, pull_up)
    check(video.truth, clips_of(small(video)))


@pytest.mark.parametrize("joins", [(Fade(60, 10, 60), Dissolve(60)), (Fade(120, 20, 120),)])
def test_ramps_at_a_high_rate_are_followed_to_their_ends(joins: tuple[Join, ...]) -> None:
    """A second is 120 frames, so a frame of a ramp hardly differs from the next."""
    shots = tuple(scenes.pan(set_shots.SIZE, 80 + k, 200, 0.4) for k in range(len(joins) + 1))
    video = played("fast_rate", ("shots",), Timeline(shots, joins), fps=120.0, size=set_shots.SIZE)
    check(video.truth, clips_of(small(video)))


@pytest.mark.parametrize(("seed", "speed"), [(71, 5.0), (72, -7.0), (73, 9.0)])
def test_slow_dissolve_between_fast_pans_is_seen_by_its_edges(seed: int, speed: float) -> None:
    """So fast that no frame is a mixture of one before and one after: what they show has long left its place."""
    shots = (scenes.pan(set_shots.SIZE, seed, 60, speed), scenes.pan(set_shots.SIZE, seed + 40, 60, speed))
    finder = ShotFinder(SETTINGS)
    found = [t for frame in small(Timeline(shots, (Dissolve(40),))) for t in finder.push(frame)] + finder.flush()
    assert [(t.kind, t.detector) for t in found] == [("dissolve", "edge_valley")]
    assert 50 <= found[0].start_frame <= 61  # what comes into view changes the edges too, so ends are not exact
    assert 99 <= found[0].end_frame <= 116


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 7, 11])
def test_no_clip_of_the_encoded_set_holds_a_frame_of_a_transition(seed: int, tmp_path: Path) -> None:
    videos = json.loads(write_golden(tmp_path, sets=("shots",), seed=seed).read_text(encoding="utf-8"))["videos"]
    for file, truth in videos.items():
        if "shots" in truth["sets"]:
            with open_source(tmp_path / file) as source:
                check(truth, clips_of(source.frames()))
