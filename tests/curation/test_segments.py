"""Long sources in pieces: where they are divided, and that the pieces together say what one pass says."""

import io
import itertools
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import curation.scan
from curation import assemble
from curation.golden import scenes
from curation.golden.encode import encode
from curation.golden.timeline import Cut, Dissolve, Fade, Timeline
from curation.opening import SourceFailure
from curation.scan import scan_source
from curation.segments import RUN_UP_S, WHOLE, Piece, divide
from schemas.recipe import Plan, Scan, Shots

SIZE = (160, 90)
FPS = 25
SETTINGS = Scan(shots=Shots(max_s=8.0))
PLAN = Plan(segment_minutes=0.2, segment_mb=0)  # pieces of 12 s: seams at frames 300, 600, 900 and 1200
LINE = Timeline(
    (
        scenes.pan(SIZE, 1, 298, 1.0),
        scenes.pan(SIZE, 2, 292, -0.7, 0.3),
        scenes.pan(SIZE, 3, 390, 0.5),  # goes on across the seam at 900
        scenes.zoom(SIZE, 4, 200, 0.001),
        scenes.pan(SIZE, 5, 99, 0.8),
        scenes.pan(SIZE, 6, 171, -1.0),
    ),
    # A cut two frames before a seam, a dissolve across one, a cut exactly on one.
    (Cut(), Dissolve(20), Cut(), Cut(), Fade(12, 6, 12)),
)
KINDS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"gop": 50},
    "open_groups.mkv": {"gop": 50, "bframes": 3, "options": {"x264-params": "open-gop=1:threads=1"}},
    "hevc.mp4": {"codec": "libx265", "gop": 50},
    "vp9.webm": {"codec": "libvpx-vp9", "gop": 50},
}


def scan(path: Path, piece: Piece = WHOLE) -> dict[str, Any]:
    """What a child would keep of one scan."""
    result = scan_source(path, "s", SETTINGS, io.BytesIO(), piece=piece)
    result.source.update(source_id="s", sha256="0", bytes=1)
    answer = {
        "source": result.source,
        "transitions": result.transitions,
        "clips": result.clips,
        "segment": result.segment,
    }
    return json.loads(json.dumps(answer))


@pytest.fixture(
    scope="module",
    params=["h264.mp4", *(pytest.param(name, marks=pytest.mark.slow) for name in list(KINDS)[1:])],
)
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("segments") / request.param
    encode(LINE.frames(), path, FPS, **KINDS[request.param])
    return path


def test_pieces_together_say_what_one_pass_says(video: Path) -> None:
    whole = scan(video)
    pieces = divide(video, video.stat().st_size, PLAN)
    assert len(pieces) == 5
    answers = [scan(video, piece) for piece in pieces]
    assert assemble.misfit(answers) is None
    source, transitions, clips = assemble.assemble(answers)

    assert transitions == whole["transitions"]
    assert len(transitions) == len(LINE.joins)
    frames = sum(answer["source"]["num_frames"] for answer in answers)
    assert source["num_frames"] == frames == whole["source"]["num_frames"] == 1500
    differ = {name for name in source if source[name] != whole["source"][name]}
    assert differ == {"segments", "frames_run_up"}
    # Two run-ups at each seam, and what lies between them and the codec keyframe before.
    assert 8 * RUN_UP_S * FPS <= source["frames_run_up"] <= 8 * (RUN_UP_S + 2) * FPS

    made = [clip for own in clips for clip in own]
    ends = 0
    truth = {f for cut in LINE.truth(FPS, *SIZE)["cuts"] for f in range(cut["start_frame"], cut["end_frame"])}
    for clip in made:
        assert clip["start_frame"] >= ends  # no frame is in two clips
        ends = clip["end_frame"]
        assert not truth & set(range(clip["start_frame"], clip["end_frame"]))
        assert not any(clip["start_frame"] < c["start_frame"] < ends for c in LINE.truth(FPS, *SIZE)["cuts"])
    # A shot that goes on is divided at the seam; all other clips are the same, signals and ids included.
    seam = [clip for clip in made if clip["start_frame"] > 600 and clip["end_frame"] < 1000]
    assert 900 in [clip["start_frame"] for clip in seam]
    assert [clip["piece"] for clip in seam] == list(range(len(seam)))
    assert {clip["shot"] for clip in seam} == {2}
    # So is the shot that begins two frames before a seam: those two are too short for a clip.
    assert next(c["start_frame"] for c in whole["clips"] if 250 < c["start_frame"] < 586) in (298, 300)
    assert next(c["start_frame"] for c in made if 250 < c["start_frame"] < 586) == 300

    def whole_shots(clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [_comparable(c) for c in clips if not 250 < c["start_frame"] < 1000]

    assert whole_shots(made) == whole_shots(whole["clips"])


def _comparable(clip: dict[str, Any]) -> dict[str, Any]:
    return clip | {"stills": [(frame, size) for frame, _, size in clip["stills"]]}


def test_a_pause_in_a_segment_damages_nothing(tmp_path: Path) -> None:
    """A segment always has fewer frames than the header counts. Whether frames were lost shows in the whole, here of a variable rate."""
    path = tmp_path / "a.mp4"
    steps = [40] * 110 + [2040] + [40] * 190 + [40, 80] * 100
    view = scenes.pan(SIZE, 1, 500, 0.5).make(500)
    stamps = list(itertools.accumulate(steps))[:500]
    encode(
        (view(i) for i in range(500)), path, FPS, gop=50, pts=stamps, options={"x264-params": "scenecut=0:threads=1"}
    )
    answers = [scan(path, Piece(None, 13.0)), scan(path, Piece(13.0, None))]
    assert assemble.misfit(answers) is None
    source, _, clips = assemble.assemble(answers)
    assert (source["status"], source["damaged_frames"]) == ("ok", 0)
    assert not any(clip["damaged_frames"] for own in clips for clip in own)
    assert source["damaged_frames"] == scan(path)["source"]["damaged_frames"]


def test_seams_are_owned_once() -> None:
    for base in (Fraction(1, 90000), Fraction(1, 1000), Fraction(1001, 30000)):
        one, other = Piece(None, 12.3456789), Piece(12.3456789, None)
        assert one.bounds(base)[1] == other.bounds(base)[0]
        seam = other.bounds(base)[0]
        assert (seam - 1) * base < Fraction(12.3456789) <= seam * base


def test_only_large_files_with_an_index_are_divided(tmp_path: Path) -> None:
    view = scenes.pan(SIZE, 1, 800, 0.5).make(800)
    frames = [view(i) for i in range(800)]
    for name, gop, count in (("a.mp4", 25, 3), ("a.ts", 25, 1), ("one_keyframe.mp4", 1000, 1)):
        path = tmp_path / name
        encode(frames, path, FPS, gop=gop, options={"x264-params": "scenecut=0:threads=1"})
        size = path.stat().st_size
        assert len(divide(path, size, PLAN)) == count, name
        assert divide(path, size, Plan(segment_minutes=0.2)) == [WHOLE]
        assert divide(path, None, PLAN) == [WHOLE]
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all" * 100)
    assert divide(broken, 1500, PLAN) == [WHOLE]
    assert divide(tmp_path / "missing.mp4", 1500, PLAN) == [WHOLE]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of two segments that fit."""
    path = tmp_path_factory.mktemp("answers") / "a.mp4"
    encode(LINE.frames(), path, FPS, gop=50)
    return [scan(path, Piece(None, 12.0)), scan(path, Piece(12.0, 14.0)), scan(path, Piece(14.0, None))]


@pytest.mark.parametrize(
    ("number", "key", "value", "reason"),
    [
        (1, "pts_before", 1, "do not meet"),
        (0, "pts_after", None, "do not meet"),
        (1, "seam_before", [["before", 7]], "transitions look different"),
    ],
)
def test_neighbours_that_saw_something_else_do_not_fit(
    answers: list[dict[str, Any]], number: int, key: str, value: Any, reason: str
) -> None:
    assert assemble.misfit(answers) is None
    changed = json.loads(json.dumps(answers))
    changed[number]["segment"][key] = value
    assert reason in str(assemble.misfit(changed))


def test_segments_without_frames_with_mended_stamps_or_with_holes_do_not_fit(answers: list[dict[str, Any]]) -> None:
    for key, value, reason in (
        ("frames", 0, "no frames"),
        ("mended_stamps", 1, "run backwards"),
        ("gaps", [[512, 298], [5120, 1]], "missing"),
    ):
        changed = json.loads(json.dumps(answers))
        changed[0]["segment"]["tally"][key] = value
        assert reason in str(assemble.misfit(changed))
    lost = [*answers[:1], {**answers[1], "segment": None}, *answers[2:]]
    assert "gave no answer" in str(assemble.misfit(lost))


def test_seek_without_an_index_is_a_failure(tmp_path: Path) -> None:
    """A bare stream has no time stamps to seek by: the plan does not divide it, and a segment of it would not be made up."""
    path = tmp_path / "a.h264"
    view = scenes.pan(SIZE, 1, 300, 0.5).make(300)
    encode((view(i) for i in range(300)), path, FPS, gop=25)
    with pytest.raises(SourceFailure):
        scan(path, Piece(10.0, None))


def test_segment_beyond_the_end_has_no_frames(tmp_path: Path) -> None:
    """As when the header announces more than there is."""
    path = tmp_path / "a.mp4"
    view = scenes.pan(SIZE, 1, 50, 0.5).make(50)
    encode((view(i) for i in range(50)), path, FPS, gop=25)
    found = scan(path, Piece(500.0, None))
    assert found["source"]["num_frames"] == 0
    assert found["clips"] == found["transitions"] == []


def test_a_cut_on_the_first_seam_has_one_time_from_both_sides(tmp_path: Path) -> None:
    """The first piece has no run-up, so the first frame behind it has the number of its own frames."""
    path = tmp_path / "film.mp4"
    line = Timeline((scenes.pan(SIZE, 1, 150, 1.0), scenes.pan(SIZE, 2, 150, -1.0)), (Cut(),))
    encode(line.frames(), path, FPS, gop=25)
    answers = [scan(path, piece) for piece in (Piece(None, 6.0), Piece(6.0, None))]
    assert assemble.misfit(answers) is None
    assert assemble.assemble(answers)[1] == scan(path)["transitions"]


@pytest.mark.parametrize("fps", [1, 3, 30])
def test_a_burst_keeps_few_whole_frames(fps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a low rate nearly each frame goes along with its luma, which keeps the decoder's picture alive."""
    path, kept = tmp_path / "slow.mp4", []
    encode(Timeline((scenes.pan((160, 90), 1, 60, 1.0),)).frames(), path, fps)
    look = curation.scan._Pass._look

    def counted(self: Any, burst: list[Any]) -> None:
        kept.append((sum(frame.luma is not None for frame in burst), len(burst)))
        look(self, burst)

    monkeypatch.setattr(curation.scan._Pass, "_look", counted)
    scan(path)
    assert sum(frames for _, frames in kept) == 60
    assert max(luma for luma, _ in kept) <= curation.scan.MOST_LUMA
    assert max(frames for _, frames in kept) <= curation.scan.BURST
