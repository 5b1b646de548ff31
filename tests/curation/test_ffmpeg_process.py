"""The ffmpeg that encodes clips: what is left when it fails, is interrupted, or is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from curation import cutting, encoder
from curation.cutting import CutError, cut_clip
from curation.golden.encode import encode
from curation.golden.spans import Timed, timed
from schemas.errors import UsageError
from schemas.recipe import Export

PIPED = Export(cut="encode", short_side=48)
"""Frames that must shrink go through ffmpeg; others straight to x264."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Timed:
    path = tmp_path_factory.mktemp("source") / "a.mp4"
    encode((np.full((96, 160, 3), 4 * n, np.uint8) for n in range(60)), path, 25, gop=24, bframes=3)
    return timed(path)


def script(path: Path, text: str) -> str:
    """A stand-in for ffmpeg that passes the check and then does something else."""
    real = encoder.ffmpeg_binary()
    path.write_text(f'#!/bin/sh\ncase "$*" in *-encoders*|-version) exec {real} "$@";; esac\n{text}\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo the moon is down >&2; exit 7", "code 7.*the moon is down"),
        (
            "cat >/dev/null; i=0; while [ $i -lt 20000 ]; do echo line $i of a flood of words >&2; i=$((i+1)); done; exit 1",
            "line 19999",
        ),
        ("head -c 1000 >/dev/null; kill -9 $$", "code -9.*it said nothing"),
        ("cat >/dev/null; exit 0", "cannot be read"),
    ],
)
def test_a_failing_ffmpeg_is_reported_and_leaves_nothing(
    text: str, said: str, source: Timed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("STIV_FFMPEG", script(tmp_path / "fake", text))
    with pytest.raises(CutError, match=said):
        cut_clip(source.clip(0, 50), PIPED, tmp_path / "out" / "x.mp4")
    assert list((tmp_path / "out").iterdir()) == []
    assert psutil.Process().children() == []


@pytest.mark.parametrize(("listening", "after"), [(True, 9), (False, 2)])
def test_an_interrupt_leaves_no_file_and_no_process(
    listening: bool, after: int, source: Timed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cutting.frames_of
    alive: list[int] = []
    if not listening:
        monkeypatch.setenv("STIV_FFMPEG", script(tmp_path / "deaf", "exec tail -f /dev/null"))

    def interrupted(*arguments: Any) -> Iterator[Any]:
        for n, item in enumerate(real(*arguments)):
            if n == after:
                alive.append(len(psutil.Process().children()))
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(cutting, "frames_of", interrupted)
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        cut_clip(source.clip(0, 50), PIPED.model_copy(update={"audio": "keep"}), tmp_path / "out" / "x.mp4")
    assert alive == [1]
    assert psutil.Process().children() == []
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exit 3", "failed"),
        ("echo nothing known", "without libx264"),
        ("[ $1 = -version ] && echo ffmpeg version 4.4.2 x || echo ' libx264 '", "oldest"),
    ],
)
def test_an_unusable_ffmpeg_is_named_with_the_fix(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "ffmpeg"
    fake.write_text(f"#!/bin/sh\n{text}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("STIV_FFMPEG", str(fake))
    with pytest.raises(UsageError, match=f"{said}.*STIV_FFMPEG"):
        encoder.ffmpeg_binary()


def test_a_missing_ffmpeg_is_named_with_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STIV_FFMPEG", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"nowhere.*imageio-ffmpeg"):
        encoder.ffmpeg_binary()
