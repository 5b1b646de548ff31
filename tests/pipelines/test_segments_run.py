"""Long files as many pieces of work: the same rows from any executor, only missing pieces after a kill, one piece where they do not fit."""

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curation import assemble, child
from curation.corpus import Corpus
from curation.golden import scenes
from curation.golden.encode import encode
from curation.golden.timeline import Cut, Timeline
from curation.segments import WHOLE, divide
from curation.source_rows import failed_source
from pipelines.dividing import Divider
from pipelines.stages import scan
from schemas.errors import ErrorCode
from schemas.recipe import Plan

FPS = 12
SIZE = (320, 240)
SCAN = ("scan",)
SETTINGS = ("plan.segment_mb=0", "plan.segment_minutes=0.05")  # 3 s


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of four segments, and one that is too short to be divided."""
    folder = tmp_path_factory.mktemp("long")
    line = Timeline((scenes.pan(SIZE, 1, 80, 2.0), scenes.pan(SIZE, 2, 64, 1.0)), (Cut(),))
    encode(line.frames(), folder / "long.mp4", FPS, gop=FPS)
    encode(Timeline((scenes.pan(SIZE, 3, 30, 2.5),)).frames(), folder / "short.mp4", FPS)
    return folder


@pytest.fixture(scope="module")
def straight(videos: Path, tmp_path_factory: pytest.TempPathFactory, run: Any) -> Path:
    out = tmp_path_factory.mktemp("straight") / "c"
    run(out, videos, settings=SETTINGS, stages=SCAN)
    return out


def test_plan_and_rows(straight: Path) -> None:
    plan = pd.read_parquet(straight / "plan/part-000000.parquet")
    rows = plan[plan["rel_path"] == "long.mp4"]
    assert list(rows["segment"]) == [0, 1, 2, 3]
    assert set(rows["segments"]) == {4}
    assert list(rows["from_s"].iloc[1:]) == [3.0, 6.0, 9.0] == list(rows["to_s"].iloc[:-1])
    assert rows["from_s"].isna().iloc[0]
    assert rows["to_s"].isna().iloc[-1]
    assert rows["segment_id"].is_unique
    assert rows.index[-1] - rows.index[0] == 3  # next to each other, in one part

    sources = pd.read_parquet(straight / "sources/part-000000.parquet").set_index("rel_path")
    assert len(sources) == 2
    long = sources.loc["long.mp4"]
    assert (long["status"], long["num_frames"], long["frames_decoded"], long["segments"]) == ("ok", 144, 144, 4)
    assert long["duration_s"] == 12.0
    assert long["frames_run_up"] > 0
    assert sources.loc["short.mp4", "frames_run_up"] == 0
    assert sources["sha256"].notna().all()
    clips = pd.read_parquet(straight / "clips/part-000000.parquet")
    mine = clips[clips["source_id"] == long["source_id"]]
    assert mine["clip_id"].is_unique
    assert not mine.duplicated(["shot", "piece"]).any()
    assert all(
        low <= frame < high
        for frames, low, high in zip(mine["stills_frame"], mine["start_frame"], mine["end_frame"], strict=True)
        for frame in frames
    )
    (record,) = [json.loads(p.read_text()) for p in straight.glob("runs/*.json")]
    assert record["decode"]["rescanned_frames"] == 0
    assert record["counts"]["sources"] == 2


@pytest.mark.parametrize("jobs", [1, 4])
def test_number_of_processes_does_not_show(
    straight: Path, videos: Path, tmp_path: Path, run: Any, tree: Any, jobs: int
) -> None:
    run(tmp_path / "c", videos, settings=SETTINGS, stages=SCAN, jobs=jobs)
    assert tree(tmp_path / "c") == tree(straight)


@pytest.mark.ray
def test_ray_makes_the_same_bytes(straight: Path, videos: Path, tmp_path: Path, run: Any, tree: Any) -> None:
    run(tmp_path / "c", videos, settings=SETTINGS, stages=SCAN, executor="ray")
    assert tree(tmp_path / "c") == tree(straight)


def test_only_missing_segments_are_scanned_after_a_kill(
    straight: Path, videos: Path, tmp_path: Path, run: Any, tree: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run dies when two tasks have answered; the next one begins only the others."""
    begun: list[str] = []
    real, reached = scan._submit, 3

    def noted(worker: Any, task: Any, threads: int, *more: Any) -> Any:
        begun.append(task.folder.name)
        # However late the run dies on a busy machine: the last two segments are not reached before.
        return real(worker, task, threads, *more) if len(begun) <= reached else Future()

    class Death(BaseException):
        pass

    finish = scan._finish
    calls: list[str] = []

    def dies(worker: Any, part: int, source: Any, task: Any) -> None:
        calls.append(task.folder.name)
        if len(calls) == 2:
            raise Death
        finish(worker, part, source, task)

    monkeypatch.setattr(scan, "_submit", noted)
    monkeypatch.setattr(scan, "_finish", dies)
    with pytest.raises(Death):
        run(tmp_path / "c", videos, settings=SETTINGS, stages=SCAN, jobs=1)
    monkeypatch.setattr(scan, "_finish", finish)
    base = scan.scratch(Corpus.open(tmp_path / "c"), 0)
    answered = {folder.parent.name for folder in base.glob(f"*/{child.RESULT_FILE}")}
    assert set(calls) <= answered
    assert len(begun) == 5
    assert 2 <= len(answered) <= reached
    begun.clear()
    reached = 5
    run(tmp_path / "c", videos, settings=SETTINGS, stages=SCAN)
    assert len(begun) == len(set(begun)) == 5 - len(answered)
    assert not answered & set(begun)
    assert tree(tmp_path / "c") == tree(straight)


def test_segments_that_do_not_fit_are_scanned_in_one_piece(
    videos: Path, tmp_path: Path, run: Any, tree: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    shutil.copy(videos / "long.mp4", folder)
    whole = tmp_path / "whole"
    run(whole, folder, stages=SCAN)
    monkeypatch.setattr(assemble, "misfit", lambda answers: "the test says so")
    outcome, counts = run(tmp_path / "c", folder, settings=SETTINGS, stages=SCAN)
    assert outcome.worked
    assert counts.notes == [f"{folder / 'long.mp4'}: scanned again in one piece, because the test says so"]
    assert counts.rescanned_frames > 144
    assert counts.source_frames == 144  # each counted once for what is kept
    for table in ("sources", "transitions", "clips", "stills"):
        assert tree(whole)[_file(table)] == tree(tmp_path / "c")[_file(table)]
    assert counts.sources == 1


def _file(table: str) -> str:
    return Corpus.path(table, 0)


def test_missing_file_of_several_segments_is_one_row(videos: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    shutil.copy(videos / "long.mp4", folder)
    run(tmp_path / "c", folder, settings=SETTINGS, stages=())
    (folder / "long.mp4").unlink()
    run(tmp_path / "c", settings=SETTINGS, stages=SCAN)
    (row,) = Corpus.open(tmp_path / "c").read("sources", 0).to_pylist()
    assert (row["status"], row["error_code"]) == ("error", "not_found")


def test_segment_that_kills_its_worker_is_the_end_of_the_source(videos: Path, tmp_path: Path, run: Any) -> None:
    """In one piece it would kill again: one row, no clips, no further scan."""
    folder = tmp_path / "v"
    folder.mkdir()
    shutil.copy(videos / "long.mp4", folder)
    run(tmp_path / "c", folder, settings=SETTINGS, stages=())
    corpus = Corpus.open(tmp_path / "c")
    second = corpus.read("plan", 0).to_pylist()[1]["segment_id"]
    answer = {**failed_source(ErrorCode.CRASHED, "the decoder process died twice"), "source_id": "s", "sha256": None}
    child.write_result(scan.scratch(corpus, 0) / second, {**answer, "bytes": None}, [], [], None)
    run(tmp_path / "c", settings=SETTINGS, stages=SCAN)
    (row,) = corpus.read("sources", 0).to_pylist()
    assert (row["status"], row["error_code"]) == ("error", "crashed")
    assert row["bytes"] == (folder / "long.mp4").stat().st_size
    assert row["sha256"] is not None
    assert corpus.read("clips", 0).num_rows == corpus.read("transitions", 0).num_rows == 0


def test_file_that_hangs_the_demuxer_is_planned_as_one_piece(videos: Path, tmp_path: Path, hanging: Any) -> None:
    hanging(tmp_path / "hangs.mp4")
    settings = Plan(segment_mb=0, segment_minutes=0.05)
    path = videos / "long.mp4"
    with Divider(limit_s=10.0) as divider:
        assert divider(path, path.stat().st_size, settings) == divide(path, path.stat().st_size, settings)
        assert divider(tmp_path / "hangs.mp4", None, settings) == [WHOLE]
    with Divider(limit_s=0.5) as divider:
        assert divider(tmp_path / "hangs.mp4", 1000, settings) == [WHOLE]
    os.mkfifo(tmp_path / "pipe.mp4")
    with Divider(limit_s=600.0) as divider:
        assert divider(tmp_path / "pipe.mp4", 1000, settings) == [WHOLE]
