"""Decoded frames are noted beside the work until somebody books them: once each, whoever is killed."""

from pathlib import Path

from curation.frame_note import FrameNote, Frames, take, take_below


def test_what_a_pass_decoded_is_lost_until_it_gives_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.frames"
    with FrameNote(path) as note:
        note.count(5)
        note.count()
        note.save()
        assert take(path) == Frames(lost=6)
    assert take(path) == Frames()  # given once
    with FrameNote(path) as note:
        note.count(7)
        note.settle(Frames(used=4, run_up=2, again=1))
    assert take(path) == Frames(used=4, run_up=2, again=1)


def test_the_file_follows_while_frames_come(tmp_path: Path) -> None:
    with FrameNote(tmp_path / "a.frames") as note:
        note.count()  # the first is written at once, others a quarter of a second later
        assert take(tmp_path / "a.frames") == Frames(lost=1)


def test_passes_that_died_add_up(tmp_path: Path) -> None:
    path = tmp_path / "a.frames"
    for _ in range(2):
        with FrameNote(path) as note:
            note.count(10)
            note.save()
    with FrameNote(path) as note:
        note.settle(Frames(used=30))
    assert take(path) == Frames(used=30, lost=20)
    assert Frames(used=30, lost=20).total == 50


def test_who_writes_on_after_it_was_booked_is_not_counted_again(tmp_path: Path) -> None:
    path = tmp_path / "a.frames"
    with FrameNote(path) as note:
        note.count(10)
        note.save()
        assert take(path).lost == 10
        note.count(5)
        note.save()
    assert take(path) == Frames()


def test_notes_below_a_folder_and_torn_ones(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two/deep"), 1):
        (tmp_path / name).mkdir(parents=True)
        with FrameNote(tmp_path / name / "scan.frames") as note:
            note.settle(Frames(used=number))
    (tmp_path / "torn.frames").write_text("12 0")
    (tmp_path / "odd.frames").write_text("x")
    (tmp_path / "other.txt").write_text("1 1 1 1")
    assert take_below(tmp_path) == Frames(used=3 + 12)
    assert [p.name for p in tmp_path.rglob("*.*")] == ["other.txt"]
    assert take_below(tmp_path / "nosuch") == Frames()
