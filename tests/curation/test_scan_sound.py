"""Sound in the pass: measured beside the pictures, and honest where it cannot be heard."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from curation import scan
from curation.golden import scenes
from curation.golden.encode import encode
from curation.golden.timeline import Cut, Timeline
from curation.hearing import Hearing
from curation.scan import scan_source
from schemas.recipe import Scan, Shots

SETTINGS = Scan(shots=Shots(min_s=1.0))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "film.mp4"
    line = Timeline((scenes.pan((160, 90), 1, 200, 1.0), scenes.pan((160, 90), 2, 200, -1.0)), (Cut(),))
    encode(line.frames(), path, 25, audio=True)
    return path


def clips_of(path: Path, threads: int = 1) -> list[dict[str, Any]]:
    return scan_source(path, "s", SETTINGS, BytesIO(), threads=threads).clips


def test_every_clip_gets_its_loudness_whatever_the_number_of_threads(film: Path) -> None:
    clips = clips_of(film)
    assert len(clips) == 2
    # A sine of 440 Hz with an amplitude of 8000 of 32768 in one channel; K-weighting takes 0.3 to 0.7 dB off it.
    assert [clip["loudness"] for clip in clips] == pytest.approx([-15.9, -15.9], abs=0.3)
    assert all(clip["has_sound"] is True for clip in clips)
    assert [c["loudness"] for c in clips_of(film, threads=4)] == [c["loudness"] for c in clips]


@pytest.mark.parametrize("burst", [1, 7, 10**6])
def test_how_many_packets_are_heard_in_a_row_changes_nothing(
    film: Path, monkeypatch: pytest.MonkeyPatch, burst: int
) -> None:
    clips = clips_of(film)
    monkeypatch.setattr(scan, "SOUND_BURST", burst)
    assert clips_of(film) == clips


def test_sound_that_does_not_decode_is_not_called_silence(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hearing, "packet", lambda self, packet: None)
    assert [(clip["has_sound"], clip["loudness"]) for clip in clips_of(film)] == [(None, None)] * 2


def test_a_file_without_sound_has_none(tmp_path: Path) -> None:
    path = tmp_path / "mute.mp4"
    encode(Timeline((scenes.pan((160, 90), 1, 60, 1.0),)).frames(), path, 25)
    assert [(clip["has_sound"], clip["loudness"]) for clip in clips_of(path)] == [(False, None)]
