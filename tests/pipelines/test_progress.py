"""What the display says: shares by bytes, rates, plain lines without a terminal."""

import io
from itertools import count

import pytest
from rich.console import Console

from curation.frame_note import Frames
from pipelines.progress import Progress
from schemas.errors import TooManyErrorsError
from schemas.recipe import Scan

NUMBERS = count()


def source(status: str = "ok", size: int = 100, **more: object) -> dict[str, object]:
    more = {"uri": f"{next(NUMBERS)}.mp4", **more}
    code = None if status == "ok" else "unreadable"
    return {
        "kind": "source",
        "status": status,
        "error_code": code,
        "clips": 2,
        "video_s": 60.0,
        "source_frames": 10,
        "frames": Frames(used=10),
        "cpu_s": {},
        "bytes": size,
        **more,
    }


def test_share_goes_by_bytes_and_counts_add_up() -> None:
    out = io.StringIO()
    with Progress(Console(file=out), limit=Scan()) as progress:
        progress.phase("Scanning", {"sources": 2, "bytes": 1000})
        progress.handle(source(size=900))
        assert progress.share() == pytest.approx(0.9)
        progress.handle(source("error", size=100))
    assert progress.counts.clips == 4
    assert progress.counts.errors == {"unreadable": 1}
    assert "Scanning: 2 sources" in out.getvalue()


def test_lines_without_a_terminal_carry_rate_and_eta(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("pipelines.progress.time.monotonic", lambda: now[0])
    out = io.StringIO()
    with Progress(Console(file=out, width=200), limit=Scan()) as progress:
        progress.phase("Scanning", {"sources": 4, "bytes": 400})
        now[0] = 160.0
        progress.handle(source())
    assert "25%" in out.getvalue()
    assert "1.0 source h/h" in out.getvalue()  # a minute of video in a minute
    assert "ETA 3:00" in out.getvalue()


def test_there_is_no_progress_before_there_is_something_to_do() -> None:
    out = io.StringIO()
    with Progress(Console(file=out), limit=Scan()) as progress:
        assert not progress.begun
        progress.handle({"kind": "note", "text": "the last run was killed"})
        assert out.getvalue() == "note: the last run was killed\n"
        progress.phase("Scanning", {"sources": 1})
        assert progress.begun


def test_frames_are_booked_of_a_source_that_was_told_twice_too() -> None:
    """Its worker died after it had told: what the next one had to decode again was decoded all the same."""
    with Progress(Console(file=io.StringIO()), limit=Scan(), quiet=True) as progress:
        progress.handle(source(uri="a", frames=Frames(used=10, run_up=1, again=2, lost=3)))
        progress.handle(source(uri="a", frames=Frames(lost=4)))
    c = progress.counts
    assert (c.sources, c.source_frames, c.analysis_frames) == (1, 10, 10)
    assert (c.run_up_frames, c.rescanned_frames, c.abandoned_frames) == (1, 2, 7)


def test_what_was_resumed_does_not_count_as_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    with Progress(Console(file=io.StringIO()), limit=Scan()) as progress:
        progress.phase("Scanning", {"sources": 4, "bytes": 400})
        progress.handle(source(resumed=True))
        assert "speed" not in dict(progress.facts())
    assert progress.counts.resumed_sources == 1


def test_error_limit_counts_from_some_sources_on() -> None:
    limit = Scan(error_rate_limit=0.5, error_rate_after=4)
    with Progress(Console(file=io.StringIO()), limit=limit, quiet=True) as progress:
        progress.phase("Scanning", {"sources": 10})
        for _ in range(3):
            progress.handle(source("error"))
        with pytest.raises(TooManyErrorsError, match="4 of 4"):
            progress.handle(source("error"))


def test_a_source_told_twice_counts_once() -> None:
    with Progress(Console(file=io.StringIO()), limit=Scan(), quiet=True) as progress:
        progress.phase("Scanning", {"sources": 10})
        progress.handle(source("error", uri="a"))
        progress.handle(source("error", uri="a", resumed=True))
    assert progress.counts.errors == {"unreadable": 1}


def test_a_small_sum_that_was_spent_is_not_nothing() -> None:
    with Progress(Console(file=io.StringIO()), limit=Scan(), quiet=True) as progress:
        progress.phase("Captioning", {"parts": 1})
        assert "spent" not in dict(progress.facts())
        progress.handle({"kind": "asked", "who": "a", "asked": 1, "usd": 0.0002})
        assert dict(progress.facts())["spent"] == "under $0.01"
        progress.handle({"kind": "asked", "who": "b", "asked": 1, "usd": 1.5})
        assert dict(progress.facts())["spent"] == "$1.50"


def test_a_part_whose_next_worker_had_its_answers_is_not_left_open() -> None:
    with Progress(Console(file=io.StringIO()), limit=Scan()) as progress:
        for part in (3, 4):
            progress.handle(
                {"kind": "unanswered", "stage": "check", "part": part, "questions": 2, "why": "it was down"}
            )
        progress.handle({"kind": "part", "stage": "caption", "part": 4, "clips": 1, "captioners": {}})
        progress.handle({"kind": "part", "stage": "check", "part": 3, "clips": 1})
        assert progress.counts.unanswered == {4: 2}
