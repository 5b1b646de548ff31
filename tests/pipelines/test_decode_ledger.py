"""Records of runs: every decoded frame in exactly one, whatever was interrupted, killed or failed; and export decodes survivors only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pandas as pd
import pytest

import curation.opening
from curation import child
from curation.corpus import Corpus
from curation.cutting import CutError
from curation.frame_note import FrameNote
from curation.lock import hold
from pipelines.children import Children
from pipelines.stages import cut_job, scan
from schemas.errors import StivError

SCAN = ("scan",)
FRAMES = 72 + 36 + 48
"""Of the good videos."""


def records(corpus: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(corpus.glob("runs/*.json"))]


def summed(corpus: Path, key: str) -> int:
    return sum(record["decode"][key] for record in records(corpus))


def scratch_of(corpus: Corpus, rel_path: str) -> Path:
    (segment,) = [r["segment_id"] for r in corpus.read("plan", 0).to_pylist() if r["rel_path"] == rel_path]
    folder = scan.scratch(corpus, 0) / segment
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("ending", [KeyboardInterrupt, StivError("The disk is full.\nMore."), ZeroDivisionError])
def test_what_an_interrupted_run_decoded_is_not_counted_again(
    videos: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch, ending: Any
) -> None:
    out = tmp_path / "c"
    told = scan._tell
    calls: list[str] = []

    def stops(worker: Any, part: int, source: Any) -> None:
        told(worker, part, source)
        calls.append(source.rows[0]["rel_path"])
        if len(calls) == 3:
            raise ending

    monkeypatch.setattr(scan, "_tell", stops)
    with pytest.raises((KeyboardInterrupt, StivError, ZeroDivisionError)):
        run(out, videos, stages=SCAN, jobs=1)
    monkeypatch.setattr(scan, "_tell", told)
    (first,) = records(out)
    _, counts = run(out, stages=SCAN, jobs=1)
    first, second = records(out)
    assert second["outcome"] == "finished"
    assert "error" not in second
    kind = {KeyboardInterrupt: ("interrupted", None), ZeroDivisionError: ("failed", "ZeroDivisionError")}
    assert (first["outcome"], first.get("error")) == kind.get(ending, ("failed", "The disk is full."))
    assert first["decode"]["analysis_frames"] > 0
    assert counts.resumed_sources >= 3
    for key in ("analysis_frames", "source_frames"):
        assert summed(out, key) == FRAMES
    assert all(r["decode"]["analysis_ratio"] in (1.0, None) for r in (first, second))
    frames = pd.read_parquet(out / "sources/part-000000.parquet")["frames_decoded"]
    assert frames.sum() == FRAMES


def test_answers_that_nobody_heard_of_are_booked_at_the_end(
    videos: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is stopped when the first task has answered: its source is not told of, but its frames were decoded."""

    def stops(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scan, "_take", stops)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "c", videos, stages=SCAN, jobs=1)
    (first,) = records(tmp_path / "c")
    assert first["counts"]["sources"] == 0
    assert first["decode"]["analysis_frames"] == first["decode"]["source_frames"] > 0
    run(tmp_path / "c", stages=SCAN)
    assert summed(tmp_path / "c", "analysis_frames") == FRAMES
    assert not list((tmp_path / "c").rglob("*.frames"))


def test_frames_of_scans_without_an_answer_are_on_record(videos: Path, tmp_path: Path, run: Any) -> None:
    """As if a decoder had died in this source after 40 frames: they are lost, and the next scan counts anew."""
    run(tmp_path / "c", videos, stages=())
    corpus = Corpus.open(tmp_path / "c")
    with FrameNote(scratch_of(corpus, "captioned.mp4") / child.FRAMES_FILE) as note:
        note.count(40)
        note.save()
    _, counts = run(tmp_path / "c", stages=SCAN)
    (record,) = records(tmp_path / "c")
    assert record["decode"]["abandoned_frames"] == counts.abandoned_frames == 40
    assert record["decode"]["analysis_frames"] == FRAMES


def test_a_child_notes_every_frame(tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the answer as lost, with the answer as used; and a pass that breaks off leaves what it had."""
    import curation.scan
    from schemas.recipe import Scan

    real = curation.scan.scan_source
    note = tmp_path / "t" / child.FRAMES_FILE
    job = child.Job(
        str(videos / "captioned.mp4"), "captioned.mp4", str(tmp_path / "t"), Scan().model_dump(mode="json"), 1, "r"
    )

    def breaks(*given: Any, alive: Callable[[], None], **more: Any) -> Any:
        count = iter(range(20))

        def counted() -> None:
            alive()
            if next(count, None) is None:
                raise MemoryError

        return real(*given, alive=counted, **more)

    monkeypatch.setattr(curation.scan, "scan_source", breaks)
    child.run(job)
    assert note.read_text().split() == ["0", "0", "0", "21"]
    monkeypatch.setattr(curation.scan, "scan_source", real)
    child.run(job)
    assert note.read_text().split() == ["36", "0", "0", "21"]


def test_a_killed_run_is_put_on_record_by_the_next_writer(videos: Path, tmp_path: Path, run: Any) -> None:
    out = tmp_path / "c"
    run(out, videos, stages=())
    corpus = Corpus.open(out)
    with FrameNote(scratch_of(corpus, "captioned.mp4") / child.FRAMES_FILE) as note:
        note.count(25)
        note.save()
    (out / ".lock").write_text("stiv curate, process 1 on here, since 2026-01-01 00:00:00 UTC")  # a lock that died
    _, counts = run(out, stages=SCAN)
    killed, record = records(out)
    assert (killed["command"], killed["outcome"]) == ("curate", "killed")
    assert "process 1 on here" in killed["error"]
    assert killed["decode"]["abandoned_frames"] == 25
    assert record["decode"]["abandoned_frames"] == 0
    assert counts.notes == ["the last `stiv curate` was killed and left no record; what it had finished is kept."]
    _, counts = run(out, stages=SCAN)
    assert not counts.notes
    (out / ".lock").write_text("stiv scan, process 1 on here, since 2026-01-01 00:00:00 UTC")
    for told in (1, 0):  # it had nothing left to do, and neither has this one: said once all the same
        _, counts = run(out, stages=SCAN)
        assert len(counts.notes) == told
    assert [record["outcome"] for record in records(out)] == ["killed", "finished"] * 2
    with hold(corpus.store, "nothing"):  # ended in good order: nothing to put on record
        pass
    assert len(records(out)) == 4


# Export --------------------------------------------------------------------------------------------------------------------


class Counted:
    """A container that says which video frames were decoded of which file."""

    frames: dict[str, list[int]] = {}  # noqa: RUF012

    def __init__(self, container: Any) -> None:
        self._container = container
        Counted.frames.setdefault(Path(container.name).name, [])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def demux(self, *streams: Any) -> Iterator[Any]:
        for packet in self._container.demux(*streams):
            yield _Packet(packet, Counted.frames[Path(self._container.name).name])


class _Packet:
    def __init__(self, packet: Any, seen: list[int]) -> None:
        self._packet, self._seen = packet, seen

    def __bytes__(self) -> bytes:
        return bytes(self._packet)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._packet, name)

    def decode(self) -> Any:
        frames = self._packet.decode()
        self._seen += [frame.pts for frame in frames if self._packet.stream.type == "video"]
        return frames


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children's work is done here, where it can be watched."""

    def submit(self: Children, function: Callable[..., Any], *args: Any, limit_s: float) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(function(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    monkeypatch.setattr(Children, "submit", submit)


BEFORE_EXPORT = ("scan", "features", "dedup", "select", "caption", "check", "judge")


def test_export_decodes_frames_of_survivors_only(
    videos: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch, in_process: None
) -> None:
    """Kept is the first of the two shots of one file; the other shot and the other files are not touched."""
    settings = ("select.others=start_frame > 0 OR num_frames <> 34", "export.cut=encode")
    run(tmp_path / "c", videos, settings, stages=BEFORE_EXPORT)
    Counted.frames = {}
    counting = SimpleNamespace(open=lambda *a, **k: Counted(av.open(*a, **k)), error=av.error, logging=av.logging)
    monkeypatch.setattr(curation.opening, "av", counting)
    _, counts = run(tmp_path / "c", None, settings, stages=("export",))
    (index,) = [pd.read_parquet(p) for p in (tmp_path / "c/shards/default").glob("0*[0-9].parquet")]
    assert index[["start_frame", "end_frame", "num_frames"]].to_numpy().tolist() == [[0, 34, 34]]
    assert list(Counted.frames) == ["two_shots.mp4"]
    clips = pd.read_parquet(tmp_path / "c/clips/part-000000.parquet").set_index("clip_id")
    end = clips.loc[index["clip_id"][0], "end_pts"]
    decoded = Counted.frames["two_shots.mp4"]
    assert len([pts for pts in decoded if pts < end]) == 34
    assert len(decoded) <= 34 + 4, "the decoder gives no frame before it has seen the ones that it is predicted from"
    assert counts.export_frames in range(34, len(decoded) + 1)


def test_frames_of_failed_cuts_are_counted(
    videos: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch, in_process: None
) -> None:
    run(tmp_path / "c", videos, stages=BEFORE_EXPORT)

    def fails(clip: Any, settings: Any, out: Any, ledger: Any) -> Any:
        ledger.frames += 5
        ledger.frames += 6
        raise CutError("ffmpeg refused it.")

    monkeypatch.setattr(cut_job, "cut_clip", fails)
    _, counts = run(tmp_path / "c", stages=("export",))
    assert len(counts.failed_cuts) == 4
    assert counts.export_frames == records(tmp_path / "c")[-1]["decode"]["export_frames"] == 4 * 11


def test_cuts_that_nobody_heard_of_are_booked_at_the_end(
    videos: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("export.cut=encode",)
    run(tmp_path / "c", videos, settings, stages=BEFORE_EXPORT)
    settle = Children.settle

    def stops(self: Children, *given: Any, **more: Any) -> Iterator[Any]:
        next(settle(self, *given, **more))
        raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patch:
        patch.setattr(Children, "settle", stops)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "c", None, settings, stages=("export",), jobs=1)
    _, counts = run(tmp_path / "c", None, settings, stages=("export",), jobs=1)
    *_, stopped, last = records(tmp_path / "c")
    assert stopped["decode"]["export_frames"] > 0
    assert counts.resumed_cuts > 0
    index = pd.read_parquet(tmp_path / "c/shards/default/000000.parquet")
    assert stopped["decode"]["export_frames"] + last["decode"]["export_frames"] >= index["frames_decoded"].sum()
