"""The golden videos are what they say: their truth is checked on pixels, both as drawn and after decoding."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from curation.golden import damage, draw, scenes
from curation.golden.encode import encode, encode_tone
from curation.golden.shapes import COLOURS, DIRECTIONS, MovingShape, combination, coverage
from curation.golden.timeline import Cut, Dissolve, Fade, Flash, Timeline
from curation.golden.videos import SETS, GoldenVideo, catalogue
from curation.golden.write import TRUTH_FILE, write_golden
from schemas.errors import ERROR_CODES, StorageError, UsageError

SMALL = (160, 90)
WRITTEN = ("odd", "corrupt", "signal_bars_uneven", "signal_pan_5", "shots_dissolves_0")
RECORDS = {video.name: video for video in catalogue()}


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sets `odd` and `corrupt`, and a few files of others."""
    out = tmp_path_factory.mktemp("golden")
    names = [v.name for v in RECORDS.values() if v.name in WRITTEN or set(v.sets) & set(WRITTEN)]
    write_golden(out, ["odd", "corrupt", "signals", "shots"], names=names)
    return out


def truth_of(golden: Path, name: str) -> dict:
    return json.loads((golden / TRUTH_FILE).read_text())["videos"][RECORDS[name].file]


def decode(path: Path, form: str = "rgb24") -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format=form) for frame in container.decode(video=0)]


def grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)


def shift(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """By how many pixels the picture moved (right, down).

    Whole pixels by phase correlation; the rest by Lucas and Kanade's least squares on smoothed pictures, with the mean of
    both gradients (second-order accurate).
    """
    moved, _ = cv2.phaseCorrelate(grey(first), grey(second), cv2.createHanningWindow(first.shape[1::-1], cv2.CV_32F))
    dx, dy = round(moved[0]), round(moved[1])
    height, width = first.shape[:2]
    a = grey(first)[max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)]
    b = grey(second)[max(dy, 0) : height - max(-dy, 0), max(dx, 0) : width - max(-dx, 0)]
    a, b = (cv2.GaussianBlur(picture, (0, 0), 2.5) for picture in (a, b))
    b = (b - b.mean()) * (a.std() / b.std()) + a.mean()  # a fade changes the light, not the place
    inner = (slice(12, -12), slice(12, -12))
    slope = np.stack([np.gradient((a + b) / 2, axis=axis)[inner].ravel() for axis in (1, 0)], axis=1)
    rest = np.linalg.lstsq(slope, (a - b)[inner].ravel(), rcond=None)[0]
    return dx + float(rest[0]), dy + float(rest[1])


def weight_of(second: np.ndarray, first: np.ndarray, blended: np.ndarray) -> float:
    """Least squares: the w for which blended = (1 - w) first + w second."""
    a, b, c = (x.astype(np.float64).ravel() for x in (first, second, blended))
    return float((c - a) @ (b - a) / ((b - a) @ (b - a)))


# Drawing


def test_texture_is_rich_sharp_and_repeatable() -> None:
    picture = draw.texture(640, 360, 3)
    assert np.array_equal(picture, draw.texture(640, 360, 3))
    assert not np.array_equal(picture, draw.texture(640, 360, 4))
    luma = picture @ np.array(draw.LUMA)
    assert luma.mean() == pytest.approx(118, abs=3)
    assert luma.std() == pytest.approx(44, abs=6)
    assert 4 <= picture.min() <= picture.max() <= 251
    finest = [
        cv2.Laplacian(grey(p), cv2.CV_32F).var() for p in (picture, draw.blur(picture, 1.0), draw.upscale(picture, 2))
    ]
    assert finest[0] > 5 * finest[1]
    assert finest[0] > 2 * finest[2]
    # Every 32 px block has structure, so optical flow has something to hold on to everywhere.
    blocks = grey(picture)[:352].reshape(11, 32, 20, 32).std(axis=(1, 3))
    assert blocks.min() > 4


def test_window_moves_by_fractions_without_softening() -> None:
    source = draw.texture(300, 200, 1)
    whole = draw.window(source, 20, 10, 200, 150)
    assert np.array_equal(whole, source[10:160, 20:220])
    for dx, dy in ((0.5, 0.0), (0.25, 0.75), (3.1, -2.4)):
        moved = draw.window(source, 20 - dx, 10 - dy, 200, 150)
        assert shift(whole, moved) == pytest.approx((dx, dy), abs=0.03)
        assert grey(moved).std() > 0.9 * grey(whole).std()
    with pytest.raises(ValueError, match="leaves"):
        draw.window(source, 100.5, 10, 200, 150)


def test_camera_zooms_and_turns_about_the_centre() -> None:
    source = draw.texture(400, 400, 2)
    seen = draw.camera(source, (199.5, 199.5), 200, 200)
    assert np.abs(seen.astype(int) - source[100:300, 100:300]).mean() < 0.5
    turned = draw.camera(source, (199.5, 199.5), 200, 200, degrees=90)
    assert np.abs(turned.astype(int) - np.rot90(seen, -1)).mean() < 0.5
    zoomed = draw.camera(source, (199.5, 199.5), 200, 200, zoom=2)
    small = cv2.resize(zoomed, (100, 100), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(grey(small).ravel(), grey(seen[50:150, 50:150]).ravel())[0, 1] > 0.95


def test_shapes_cover_their_area_and_differ() -> None:
    areas = [coverage(shape, (60.3, 61.8), 25, 128, 128).sum() for shape in ("circle", "square", "triangle")]
    assert areas == pytest.approx([np.pi * 625] * 3, rel=0.03)
    circle = coverage("circle", (60.3, 61.8), 25, 128, 128)
    assert (np.arange(128) @ circle.sum(axis=0)) / circle.sum() == pytest.approx(60.3, abs=0.02)
    assert np.abs(circle - coverage("square", (60.3, 61.8), 25, 128, 128)).sum() > 100


def test_text_box_fills_its_area_and_has_letters() -> None:
    plain = np.full((180, 320, 3), 128, np.uint8)
    box = (20, 100, 280, 40)
    drawn = draw.text_box(plain, box, "READ ME")
    assert (drawn != plain).any(axis=2).mean() == pytest.approx(draw.area_share([box], 320, 180), abs=0.004)
    assert (drawn == 255).all(axis=2).sum() > 300
    assert draw.area_share([box, box, (0, 0, 20, 180)], 320, 180) == pytest.approx((280 * 40 + 20 * 180) / (320 * 180))
    x, y, width, height = draw.letters(box, "READ ME")
    inside = drawn[y : y + height, x : x + width].max(axis=2) > 60
    assert inside[0].any()
    assert inside[:, -1].any()
    assert (drawn[100:140, 20:300].max(axis=2) > 60).sum() == inside.sum()


# Timelines


def test_timeline_spans_and_weights_are_those_of_the_pixels() -> None:
    shots = tuple(scenes.still(SMALL, seed, 6) for seed in range(4))
    line = Timeline(shots, (Dissolve(9), Fade(5, 3, 4), Cut()), opens=3, closes=2, flashes=(Flash(4, 2, 0.5),))
    frames, truth = list(line.frames()), line.truth(25, *SMALL)
    assert len(frames) == truth["frames"] == 3 + 24 + 9 + 12 + 2
    assert [(c["start_frame"], c["end_frame"], c["kind"]) for c in truth["cuts"]] == [
        (9, 18, "dissolve"),
        (24, 36, "fade"),
        (42, 42, "cut"),
    ]
    dissolve, fade, cut = truth["cuts"]
    measured = [weight_of(frames[18], frames[8], frames[k]) for k in range(9, 18)]
    assert measured == pytest.approx(dissolve["weights"], abs=0.01)
    black = np.zeros_like(frames[0])
    out = [weight_of(frames[23], black, frames[k]) for k in range(24, 29)]
    into = [weight_of(frames[36], black, frames[k]) for k in range(32, 36)]
    assert [*out, 0, 0, 0, *into] == pytest.approx(fade["weights"], abs=0.01)
    assert not any(frames[k].any() for k in range(29, 32))
    assert all(0 < w < 1 for w in dissolve["weights"])
    for shot, spoken in zip(shots, truth["shots"], strict=True):
        picture = shot.make(1)(0)
        same = [k for k, frame in enumerate(frames) if np.array_equal(frame, picture)]
        # The flash in the first shot hides two of its frames.
        expected = set(range(spoken["start_frame"], spoken["end_frame"])) - {4, 5}
        assert set(same) == expected
    assert weight_of(np.full_like(black, 255), frames[3], frames[4]) == pytest.approx(0.5, abs=0.01)
    assert truth["edges"] == [
        {"start_frame": 0, "end_frame": 3, "kind": "fade"},
        {"start_frame": 48, "end_frame": 50, "kind": "fade"},
    ]
    assert cut["start_frame"] == truth["shots"][3]["start_frame"]
    with pytest.raises(ValueError, match="joins"):
        Timeline(shots, (Cut(),))


def test_shots_go_on_moving_through_transitions() -> None:
    line = Timeline((scenes.pan(SMALL, 1, 10, 2.0), scenes.pan(SMALL, 2, 10, 0.0, 3.0)), (Fade(4, 2, 4),))
    frames = list(line.frames())
    assert shift(frames[9], frames[11]) == pytest.approx((4, 0), abs=0.05)
    assert shift(frames[18], frames[20]) == pytest.approx((0, 6), abs=0.05)
    assert shift(frames[20], frames[21]) == pytest.approx((0, 3), abs=0.05)


@pytest.mark.parametrize("name", ["signal_pan_1", "signal_pan_20", "signal_pan_5_720p50", "signal_pan_diagonal"])
def test_pans_have_the_declared_speed(name: str) -> None:
    video = RECORDS[name]
    stream = video.frames()
    first, second = next(stream), next(stream)
    dx, dy = video.truth["shots"][0]["pan_px"]
    assert shift(first, second) == pytest.approx((dx, dy), abs=0.03)
    percent = 100 * np.hypot(dx, dy) / np.hypot(*video.size) * video.fps
    assert percent == pytest.approx(video.truth["motion"], rel=1e-3)
    assert video.truth["shots"][0]["motion"] == pytest.approx(video.truth["motion"], rel=1e-3)


def test_zoom_and_turn_state_their_mean_displacement() -> None:
    for shot in (scenes.zoom((200, 200), 1, 2, 0.02), scenes.turn((200, 200), 1, 2, 2.0)):
        view = shot.make(2)
        flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(
            grey(view(0)).astype(np.uint8), grey(view(1)).astype(np.uint8), None
        )
        assert np.hypot(flow[..., 0], flow[..., 1]).mean() == pytest.approx(shot.motion_px, rel=0.06)


def test_comb_takes_odd_lines_from_the_next_picture() -> None:
    plain = scenes.pan(SMALL, 1, 3, 4.0)
    combed, view = scenes.comb(plain).make(3), plain.make(4)
    assert np.array_equal(combed(1)[::2], view(1)[::2])
    assert np.array_equal(combed(1)[1::2], view(2)[1::2])


# The catalogue


def test_catalogue_names_are_unique_and_sets_known() -> None:
    videos = catalogue()
    assert len({v.name for v in videos}) == len({v.file for v in videos}) == len(videos)
    assert {s for v in videos for s in v.sets} == set(SETS)
    for video in videos:
        spoken = video.describe()
        assert {"fps", "frames", "width", "height", "cuts"} <= spoken.keys(), video.name
        for cut in spoken["cuts"]:
            assert len(cut.get("weights", [])) == cut["end_frame"] - cut["start_frame"]
        for code in spoken["outcome"]["codes"] if "corrupt" in video.sets else []:
            assert code in set(ERROR_CODES)


def test_shots_hold_enough_of_every_kind() -> None:
    cuts = [cut for v in catalogue() if "shots" in v.sets for cut in v.truth["cuts"]]
    kinds = [cut["kind"] for cut in cuts]
    assert kinds.count("cut") >= 40
    assert kinds.count("fade") >= 12
    assert kinds.count("dissolve") >= 12
    lengths = {c["end_frame"] - c["start_frame"] for c in cuts if c["kind"] == "dissolve"}
    assert min(lengths) == 8
    assert max(lengths) == 100


def test_a_cut_is_where_the_picture_changes_most() -> None:
    video = RECORDS["shots_cuts_0"]
    small = [cv2.resize(f, (60, 34), interpolation=cv2.INTER_AREA).astype(int) for f in video.frames()]
    assert len(small) == video.truth["frames"]
    change = np.array([np.abs(b - a).mean() for a, b in pairwise(small)])
    cuts = [cut["start_frame"] for cut in video.truth["cuts"]]
    assert set(np.argsort(change)[-len(cuts) :] + 1) == set(cuts)


def test_another_seed_gives_other_pictures() -> None:
    other = {video.name: video for video in catalogue(seed=1)}
    first, second = (next(source["travel"].frames()) for source in (RECORDS, other))
    assert np.abs(first.astype(int) - second).mean() > 10
    assert other["shots_cuts_0"].truth["cuts"] != RECORDS["shots_cuts_0"].truth["cuts"]


def test_demo_shows_every_kind_of_outcome() -> None:
    demo = [v for v in RECORDS.values() if "demo" in v.sets]
    assert 12 <= len(demo) <= 24
    outcomes = [v.truth["outcome"] for v in demo if isinstance(v.truth.get("outcome"), str)]
    assert {"kept", "duplicate", "blurred", "frozen", "black", "bars", "caption_refusal"} <= set(outcomes)
    assert sum("corrupt" in v.sets for v in demo) >= 2
    assert sum(v.caption is not None for v in demo) >= 5
    kinds = {cut["kind"] for v in demo for cut in v.truth["cuts"]}
    assert kinds == {"cut", "fade", "dissolve"}
    large, copy = (next(RECORDS[name].frames()) for name in ("travel", "travel_copy"))
    assert copy.shape == (270, 480, 3)
    assert np.abs(cv2.resize(large, (480, 270), interpolation=cv2.INTER_AREA).astype(int) - copy).max() == 0


def test_seventy_two_shape_clips_hold_each_combination_once() -> None:
    clips = [v for v in catalogue(shapes=72) if "shapes" in v.sets]
    assert len(clips) == len({combination(k) for k in range(72)}) == 72
    assert all(
        tuple(v.truth[k] for k in ("shape", "colour", "direction")) == combination(n) for n, v in enumerate(clips)
    )


@pytest.mark.parametrize("index", range(0, 144, 11))
def test_shape_clips_show_what_their_caption_says(index: int) -> None:
    video = [v for v in RECORDS.values() if "shapes" in v.sets][index]
    assert video.caption is not None
    shape, colour, direction = combination(index)
    assert f"{colour} {shape} moves" in video.caption
    assert direction in video.caption
    assert sum(word in video.caption.split() or f"{word}wards" in video.caption.split() for word in DIRECTIONS) == 1
    centres = []
    for picture in video.frames():
        mask = np.abs(picture.astype(int) - COLOURS[colour]).max(axis=2) < 8
        ys, xs = np.nonzero(mask)
        assert xs.min() > 0
        assert xs.max() < 127
        assert ys.min() > 0
        assert ys.max() < 127
        centres.append((xs.mean(), ys.mean()))
    steps = np.diff(np.array(centres), axis=0)
    assert steps.mean(axis=0) == pytest.approx(np.array(DIRECTIONS[direction]) * video.truth["speed_px"], abs=0.05)
    assert (steps @ np.array(DIRECTIONS[direction]) > 0).all()
    assert video.truth["speed_px"] > 1


# Encoding


def moving_frames(count: int, size: tuple[int, int] = SMALL) -> list[np.ndarray]:
    return list(Timeline((scenes.pan(size, 7, count, 1.5),)).frames())


@pytest.mark.parametrize(
    ("suffix", "codec", "audio"),
    [(".mp4", "libx264", True), (".mkv", "libx265", False), (".webm", "libvpx-vp9", True), (".avi", "mpeg4", True)],
)
def test_encode_gives_the_same_bytes_and_the_same_pictures(
    tmp_path: Path, suffix: str, codec: str, audio: bool
) -> None:
    frames = moving_frames(12, (320, 180))  # large enough that x264 would use several threads if it might
    files = [tmp_path / folder / f"video{suffix}" for folder in "ab"]
    assert [encode(frames, file, 25, codec=codec, audio=audio) for file in files] == [12, 12]
    assert files[0].read_bytes() == files[1].read_bytes()
    if codec == "libx264":  # its own note of its settings: with more threads, bytes depend on the machine
        assert b" threads=1 " in files[0].read_bytes()
    decoded = decode(files[0])
    assert len(decoded) == 12
    assert max(np.abs(grey(a) - grey(b)).mean() for a, b in zip(decoded, frames, strict=True)) < 4
    # Nothing but the file is left.
    assert [p.name for p in (tmp_path / "a").iterdir()] == [files[0].name]


def test_encode_failures_leave_nothing_behind(tmp_path: Path) -> None:
    frames = moving_frames(3, (161, 91))
    with pytest.raises(av.error.FFmpegError):
        encode(frames, tmp_path / "odd.mp4", 25)
    with pytest.raises(ValueError, match="0 frames"):
        encode([], tmp_path / "none.mp4", 25)
    with pytest.raises(ValueError, match="time stamps"):
        encode(moving_frames(3), tmp_path / "pts.mp4", 25, pts=[0, 40])
    with pytest.raises(ValueError, match="3 frames, but 4"):
        encode(moving_frames(3), tmp_path / "pts.mp4", 25, pts=[0, 40, 80, 120])
    with pytest.raises(ValueError, match="not understood"):
        encode([np.zeros((90, 160, 3))], tmp_path / "float.mp4", 25)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        encode(moving_frames(1), tmp_path / "file" / "video.mp4", 25)


def test_encode_sets_codec_keyframes(tmp_path: Path) -> None:
    encode(moving_frames(20), tmp_path / "v.mp4", 25, gop=5)
    with av.open(str(tmp_path / "v.mp4")) as container:
        keys = [k for k, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    assert keys == [0, 5, 10, 15]


def test_sixteen_bit_frames_keep_their_precision(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 320).astype(np.uint16)
    frame = np.repeat(np.broadcast_to(ramp, (64, 320))[..., None], 3, axis=2)
    encode([frame], tmp_path / "v.mkv", 25, codec="ffv1", pix_fmt="yuv420p10le")
    luma = decode(tmp_path / "v.mkv", "gray16le")[0]
    assert len(np.unique(luma)) > 256


def test_a_tone_is_a_tone(tmp_path: Path) -> None:
    encode_tone(tmp_path / "t.mp4", 1.0)
    with av.open(str(tmp_path / "t.mp4")) as container:
        assert not container.streams.video
        sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    spectrum = np.abs(np.fft.rfft(sound[:48000]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=2)


# Files, as a decoder sees them


@pytest.mark.parametrize("name", [v.name for v in RECORDS.values() if "odd" in v.sets])
def test_odd_files_decode_to_what_is_declared(golden: Path, name: str) -> None:
    truth, video = truth_of(golden, name), RECORDS[name]
    with av.open(str(golden / video.file)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        sound = len(container.streams.audio) > 0
        sar = stream.sample_aspect_ratio or Fraction(1)
        rate = float(stream.average_rate or 0)
    assert len(frames) == truth["frames"]
    rotation = -frames[0].rotation % 360
    width, height = round(frames[0].width * sar), frames[0].height
    assert ((height, width) if rotation % 180 else (width, height)) == (truth["width"], truth["height"])
    assert rotation == truth.get("rotation", 0)
    assert sound == truth.get("has_audio", False)
    times = [float(f.pts * f.time_base) for f in frames]
    if "pts_ms" in truth:
        assert np.array(times) * 1000 == pytest.approx(truth["pts_ms"], abs=1.01)
        assert times[truth["cuts"][0]["start_frame"]] == pytest.approx(3.2, abs=0.001)
    elif len(times) > 1:
        assert rate == pytest.approx(truth["fps"], rel=0.001)
        assert np.diff(times) == pytest.approx(1 / truth["fps"], abs=0.00101)
    if "start_s" in truth:
        assert times[0] == pytest.approx(truth["start_s"], abs=0.001)
    if truth.get("alpha"):
        alpha = frames[0].to_ndarray(format="rgba")[..., 3]
        assert alpha[:, 0].max() < 8
        assert alpha[:, -1].min() > 247
    if "bits" in truth:
        assert frames[0].format.components[0].bits == truth["bits"]
    if "color_range" in truth:
        assert int(frames[0].color_range) == 2
    drawn = grey(next(video.frames())[..., :3]) if name != "odd_grey" else next(video.frames()).astype(np.float32)
    assert np.abs(grey(frames[0].to_ndarray(format="rgb24")) - drawn).mean() < 6


def test_rotation_turns_the_stored_picture_clockwise(golden: Path) -> None:
    """`stored_top` names where the stored top row comes to lie; np.rot90 with -1 turns clockwise."""
    stored = next(RECORDS["odd_rotated_90"].frames())
    upright = {angle: np.rot90(stored, -angle // 90) for angle in (90, 180, 270)}
    edges = {"right": lambda p: p[:, -1], "bottom": lambda p: p[-1, ::-1], "left": lambda p: p[::-1, 0]}
    for angle, picture in upright.items():
        side = truth_of(golden, f"odd_rotated_{angle}")["stored_top"]
        assert np.array_equal(edges[side](picture), stored[0])


def test_bars_lie_where_declared(golden: Path) -> None:
    top, bottom, left, right = truth_of(golden, "signal_bars_uneven")["bars"]
    luma = np.stack([grey(p) for p in decode(golden / "signal_bars_uneven.mp4")[::10]]).mean(axis=0)
    rows = np.flatnonzero(luma.mean(axis=1) > 12)
    assert (rows[0], 359 - rows[-1]) == (top, bottom) == (40, 62)
    assert (left, right) == (0, 0)


def test_truth_survives_encoding(golden: Path) -> None:
    frames = decode(golden / "signal_pan_5.mp4")
    assert shift(frames[10], frames[14])[0] == pytest.approx(4 * 0.05 * np.hypot(640, 360) / 25, abs=0.1)
    dissolves = decode(golden / "shots_dissolves_0.mp4")
    drawn = RECORDS["shots_dissolves_0"]
    assert len(dissolves) == drawn.truth["frames"]
    for index, picture in enumerate(drawn.frames()):
        if index % 50 == 0:
            assert np.abs(grey(dissolves[index]) - grey(picture)).mean() < 4


def test_corrupt_files_are_corrupt_in_the_declared_way(golden: Path) -> None:
    for video in (v for v in RECORDS.values() if "corrupt" in v.sets):
        truth, path = truth_of(golden, video.name), golden / video.file
        codes = truth["outcome"]["codes"]
        if "empty_file" in codes:
            assert path.stat().st_size == 0
        elif "unreadable" in codes:
            with pytest.raises(av.error.FFmpegError):
                av.open(str(path))
        elif "no_video_stream" in codes:
            with av.open(str(path)) as container:
                assert not container.streams.video
                assert container.streams.audio
        elif "truncated" in codes:
            assert 20 < count_frames(path) < truth["frames"]
        else:
            assert codes == ["damaged"]
            sound, spoilt = list(video.frames()), decode(path)
            wrong = [np.abs(grey(a) - grey(b)).mean() > 8 for a, b in zip(sound, spoilt, strict=False)]
            assert not any(wrong[:60])
            assert not any(wrong[-40:])
            assert sum(wrong) > 5


def count_frames(path: Path) -> int:
    count = 0
    with av.open(str(path)) as container:
        try:
            for _ in container.decode(video=0):
                count += 1
        except av.error.FFmpegError:
            assert count
    return count


def test_damage_is_repeatable_and_local() -> None:
    data = bytes(range(256)) * 400
    flipped = damage.flip_bits(data)
    assert flipped == damage.flip_bits(data) != data
    places = [k for k, (a, b) in enumerate(zip(data, flipped, strict=True)) if a != b]
    assert len(data) * 0.45 <= places[0] < places[-1] < len(data) * 0.55
    assert len(places) == pytest.approx(len(data) * 0.1 / 700, rel=0.6)
    assert damage.cut_off(data, keep=0.25) == data[: len(data) // 4]
    assert damage.lose_header(data)[4096:] == data[4096:]


# Writing


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != TRUTH_FILE}


def test_write_keeps_what_is_complete_and_mends_the_rest(tmp_path: Path) -> None:
    names = ["odd_tiny", "odd_one_frame", "shape_0003_circle_green_left", "corrupt_text"]
    calls: list[tuple[str, int, int]] = []

    def write(out: Path = tmp_path / "a", **more: object) -> dict:
        path = write_golden(
            out, ["odd", "shapes", "corrupt"], names=names, on_done=lambda *args: calls.append(args), **more
        )
        return json.loads(path.read_text())

    first = write()
    assert [(done, total) for _, done, total in calls] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert sorted(name for name, _, _ in calls) == list(first["videos"])
    assert first["seed"] == 0
    caption = tmp_path / "a" / "shape_0003_circle_green_left.txt"
    assert caption.read_text().startswith("A green circle moves to the left")
    before = stamps(tmp_path / "a")
    assert not any(name.startswith(".") for name in before)
    (tmp_path / "a" / "odd_tiny.mp4").write_bytes(b"half a file")
    (tmp_path / "a" / "odd_one_frame.mp4").unlink()
    assert write() == first
    after = stamps(tmp_path / "a")
    changed = {name for name in before if before[name] != after[name]} - {caption.name}
    assert changed == {"odd_tiny.mp4", "odd_one_frame.mp4"}
    for name, entry in first["videos"].items():
        content = (tmp_path / "a" / name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (entry["sha256"], entry["bytes"])
    # Elsewhere, and with another number of workers, the same bytes.
    assert write(tmp_path / "b", workers=1) == first
    assert (
        write(tmp_path / "b", seed=1)["videos"]["odd_tiny.mp4"]["sha256"] != first["videos"]["odd_tiny.mp4"]["sha256"]
    )


def test_write_adds_to_what_another_call_wrote(tmp_path: Path) -> None:
    write_golden(tmp_path, ["odd"], names=["odd_tiny.mp4"])
    path = write_golden(tmp_path, ["corrupt"], names=["corrupt_empty"])
    assert list(json.loads(path.read_text())["videos"]) == ["corrupt_empty.mp4", "odd_tiny.mp4"]


def test_an_interrupted_write_remembers_what_it_finished(tmp_path: Path) -> None:
    def stop(name: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_golden(tmp_path, ["shapes"], shapes=12, workers=1, on_done=stop)
    assert len(json.loads((tmp_path / TRUTH_FILE).read_text())["videos"]) == 2


def test_wrong_arguments_name_the_choices(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=", ".join(SETS)):
        write_golden(tmp_path, ["nonsense"])
    with pytest.raises(UsageError, match="Sets are"):
        write_golden(tmp_path, [])
    with pytest.raises(UsageError, match="odd_rotated_90"):
        write_golden(tmp_path, ["odd"], names=["nonsense"])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        write_golden(tmp_path / "file" / "out", ["odd"], names=["odd_tiny"])


def test_frames_can_be_drawn_twice() -> None:
    video: GoldenVideo = RECORDS["film"]
    first, second = next(video.frames()), next(video.frames())
    assert np.array_equal(first, second)


def test_moving_shape_is_where_it_says() -> None:
    shape = MovingShape("circle", "red", "up", 12.0, 1.25, (40.0, 60.0))
    assert shape.centre(8) == (40.0, 50.0)
    assert shape.caption("snow") == "A red circle moves upwards across snow."


def test_the_same_frames_give_the_same_bytes_however_dirty_the_memory_is(tmp_path: Path) -> None:
    """x264's macroblock tree with AVX-512: one or two encodes in a hundred came out different."""
    tiny = next(video for video in catalogue(0, shapes=1) if video.name == "odd_tiny")
    frames = list(tiny.frames())
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(250):
        encode(frames, tmp_path / "tiny.mp4", tiny.fps)
        seen.add(hashlib.sha256((tmp_path / "tiny.mp4").read_bytes()).hexdigest())
        dirt = [np.full(int(rng.integers(10, 5000)), int(rng.integers(0, 255)), np.uint8) for _ in range(300)]
        del dirt
    assert len(seen) == 1


def test_a_corpus_is_no_place_for_videos(tmp_path: Path) -> None:
    (tmp_path / "corpus.json").write_text("{}")
    for out in (tmp_path, tmp_path / "deep" / "videos"):
        with pytest.raises(UsageError, match="corpus"):
            write_golden(out, ("demo",))
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.json"]
