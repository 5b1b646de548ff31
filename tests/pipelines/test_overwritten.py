"""A source that is overwritten after its scan: its clips cannot be cut, and that is the end of it as soon as the new content is in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curation.corpus import Corpus
from pipelines.apps.status import corpus_status
from pipelines.cli.main import run as stiv

BEFORE_EXPORT = ("scan", "features", "dedup", "select", "caption", "check", "judge")


@pytest.fixture
def folder(videos: Path, tmp_path: Path) -> Path:
    """Two good videos."""
    made = tmp_path / "v"
    made.mkdir()
    for name in ("two_shots.mp4", "captioned.mp4"):
        shutil.copy(videos / name, made)
    return made


def failures(corpus: Path) -> dict[str, int]:
    found = [pd.read_parquet(path) for path in sorted((corpus / "shards/default").glob("*.failed.parquet"))]
    return pd.concat(found)["error_code"].value_counts().to_dict() if found else {}


def test_it_is_final_once_the_new_content_is_scanned(
    videos: Path, folder: Path, tmp_path: Path, run: Any, tree: Any
) -> None:
    out = tmp_path / "c"
    run(out, folder, stages=BEFORE_EXPORT)
    original = (folder / "two_shots.mp4").read_bytes()
    shutil.copy(videos / "sub" / "third one.mkv", folder / "two_shots.mp4")
    _, counts = run(out, stages=("export",))
    assert failures(out) == {"changed": 2}
    assert len(counts.failed_cuts) == 2
    tar = (out / "shards/default/000000.tar").read_bytes()

    outcome, counts = run(out, folder)  # takes the new content in, and gives up on the old
    assert outcome.worked
    assert counts.failed_cuts == []
    assert failures(out) == {"replaced": 2}
    assert (out / "shards/default/000000.tar").read_bytes() == tar
    before = tree(out)
    outcome, counts = run(out, folder)
    assert not outcome.worked
    assert tree(out) == before
    (shards,) = corpus_status(Corpus.open(out)).shards
    assert (shards.failed, shards.failed_retry, shards.replaced) == (0, 0, 2)
    assert not corpus_status(Corpus.open(out)).next

    (folder / "two_shots.mp4").write_bytes(original)  # the old content again: nothing is asked for ever
    outcome, counts = run(out, folder)
    assert not outcome.worked


def test_what_is_there_now_decides_not_what_was_scanned_last(
    videos: Path, folder: Path, tmp_path: Path, run: Any
) -> None:
    """The file has its first content again when the clips of its second are to be cut: both are in the corpus."""
    out = tmp_path / "c"
    run(out, folder, stages=BEFORE_EXPORT)
    original = (folder / "two_shots.mp4").read_bytes()
    shutil.copy(videos / "sub" / "third one.mkv", folder / "two_shots.mp4")
    run(out, folder, stages=BEFORE_EXPORT)
    (folder / "two_shots.mp4").write_bytes(original)
    _, counts = run(out, stages=("export",))
    assert counts.failed_cuts == []
    assert failures(out) == {"replaced": 1}
    assert counts.cut["replaced"] == 1


def test_the_command_ends_well(
    videos: Path, folder: Path, tmp_path: Path, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c"
    run(out, folder, stages=BEFORE_EXPORT)
    shutil.copy(videos / "sub" / "third one.mkv", folder / "two_shots.mp4")
    settings = [x for s in ("select.unaesthetic=off", "select.blurred=off") for x in ("--set", s)]
    command = ["curate", str(folder), "--out", str(out), "--executor", "inline", "--no-report", *settings]
    for _ in range(2):
        assert stiv(command) == 0
        said = capsys.readouterr().out
        assert "Left out 2 kept clips: their source was overwritten after its scan" in said
        assert "tries" not in said
