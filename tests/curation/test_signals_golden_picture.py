"""The golden set ``picture`` through the decoder and the whole set of signals: every truth is met."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curation.decode import open_source
from curation.frames import Span
from curation.golden.set_picture import videos
from curation.golden.video import GoldenVideo
from curation.golden.write import write_golden
from curation.signals import SignalSet

SIGNALS: dict[str, dict[str, float]] = {
    "effective_fps": {"rel": 0.03},
    "duplicate_share": {"abs": 0.025},
    "comb_share": {"abs": 0.1},  # two frames of five comb, of about ten that are looked at
    "overlay_share": {"rel": 0.4, "abs": 0.001},
}


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("picture")
    write_golden(folder, ["picture"])
    return {video.name: _measured(folder / video.file) for video in videos(0)}


def _measured(path: Path) -> dict[str, Any]:
    signals, frame = SignalSet(), None
    with open_source(path) as reader:
        for frame in reader.frames(signals.luma_rate):
            signals.push(frame)
        end = float((reader.tally.end_pts or 0) * reader.probe.time_base)
    assert frame is not None
    return signals.close(Span(0, frame.index + 1, 0, 0, 0.0, end))


@pytest.mark.slow
@pytest.mark.parametrize("video", videos(0), ids=lambda video: video.name)
def test_truth_is_met(video: GoldenVideo, values: dict[str, dict[str, Any]]) -> None:
    measured = values[video.name]
    for signal, tolerance in SIGNALS.items():
        if signal in video.truth:
            truth = video.truth[signal]
            assert measured[signal] == (truth if truth is None else pytest.approx(truth, **tolerance)), signal
    if "orientation" in video.truth:
        assert measured["orientation"] == video.truth["orientation"]
    # What is not the matter with a video is not found in it.
    if not video.truth.get("comb_share"):
        assert measured["comb_share"] == 0.0
    if "quantiser" not in video.truth and video.suffix != ".avi":
        assert measured["blockiness"] < 0.1


@pytest.mark.slow
def test_blockiness_follows_the_quantiser(values: dict[str, dict[str, Any]]) -> None:
    found = [values[v.name]["blockiness"] for v in videos(0) if v.truth.get("quantiser") is not None]
    assert found == sorted(found)
    assert found[-1] > 1.0 > found[2] > 0.3 > found[0]
    assert values["picture_blocks_none"]["blockiness"] < 0.1


def test_nothing_is_drawn_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.golden.draw.texture", None)
    assert len(videos(3)) == len({video.name for video in videos(3)}) > 20
