"""The set of signals as the pass uses it: spans, memory, sampling instants, frozen and black shares, hashes, whole
files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from curation.frames import Frame, Span
from curation.frames import frame_of as small_frame
from curation.golden.draw import bars, level, texture, window
from curation.golden.encode import encode
from curation.signals import SignalSet, still
from curation.signals.crop import NO_BARS, Crop
from curation.signals.phash import phash, without_bars
from curation.signals.samples import Clock, Samples
from schemas.tables import SIGNAL_COLUMNS

W, H = 256, 144
FPS = 25.0


def frame_of(rgb: np.ndarray, index: int, time: float, luma: np.ndarray | None = None) -> Frame:
    """A frame as the pass makes it; the picture is at most 256 px wide."""
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    return small_frame(bgr, index, time, luma=luma, display_size=(rgb.shape[1], rgb.shape[0]), full_range=True)


def push(signals: SignalSet, pictures: Sequence[np.ndarray], fps: float = FPS, first: int = 0) -> None:
    clock = Clock(signals.luma_rate)
    for index, rgb in enumerate(pictures, first):
        frame = frame_of(rgb, index, index / fps)
        if clock.due(frame.time):
            frame.luma = frame.gray
        signals.push(frame)


def span(start: int, end: int, fps: float = FPS) -> Span:
    return Span(start, end, start, end, start / fps, end / fps)


def close(pictures: Sequence[np.ndarray], fps: float = FPS) -> dict[str, Any]:
    signals = SignalSet()
    push(signals, pictures, fps)
    return signals.close(span(0, len(pictures), fps))


def noisy(rgb: np.ndarray, count: int, strength: float) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [np.clip(np.rint(rgb + rng.normal(0, strength, rgb.shape)), 0, 255).astype(np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    return texture(900, 300, 9)


# Sampling and rings


def test_clock_takes_the_first_frame_of_each_period() -> None:
    for fps in (10.0, 24.0, 25.0, 29.97, 60.0):
        clock = Clock(5.0)
        due = [i for i in range(int(fps * 10)) if clock.due(i / fps)]
        assert due == [math.ceil(k * fps / 5 - 1e-6) for k in range(len(due))]
        assert 49 <= len(due) <= 50
    with pytest.raises(ValueError, match="above 0"):
        Clock(0.0)


def test_samples_belong_to_a_span_only_with_all_their_frames() -> None:
    samples: Samples[str] = Samples()
    samples.add("a", 4, 2)
    samples.add("b", 5)
    samples.add("c", 8, 6)
    assert samples.within(span(2, 6)) == ["a", "b"]
    assert samples.within(span(3, 8)) == ["b"]
    samples.forget(5)
    assert len(samples) == 2
    samples.forget(9)
    assert len(samples) == 0


def test_keys_are_the_columns_of_the_table_and_values_are_finite(source: np.ndarray) -> None:
    moving = [window(source, 10 + 4 * i, 10, W, H) for i in range(50)]
    for pictures in (moving, [np.zeros((H, W, 3), np.uint8)] * 8, moving[:1], [np.full((3, 5, 3), 9, np.uint8)] * 9):
        values = close(pictures)
        assert list(values) == [c.name for c in SIGNAL_COLUMNS]
        assert all(v is None or isinstance(v, str) or math.isfinite(v) for v in values.values())
    elsewhere = {"has_sound", "loudness"}  # the pass adds them
    assert [name for name, v in close(moving).items() if v is None and name not in elsewhere] == []


def test_a_span_without_samples_is_all_none(source: np.ndarray) -> None:
    signals = SignalSet()
    push(signals, [window(source, 10, 10, W, H)] * 6)
    assert set(signals.close(span(1, 2)).values()) == {None}


def test_a_span_reads_the_same_whatever_surrounds_it(source: np.ndarray) -> None:
    shot = [window(source, 10 + 3 * i, 10, W, H) for i in range(50)]
    others = [np.full((H, W, 3), 250, np.uint8)] * 50
    alone, among = SignalSet(), SignalSet()
    push(alone, shot, first=50)
    push(among, [*others, *shot, *others])
    assert among.close(span(50, 100)) == alone.close(span(50, 100))


def test_a_late_close_and_an_earlier_forget_change_nothing(source: np.ndarray) -> None:
    pictures = [window(source, 10 + i, 10, W, H) for i in range(100)]
    signals = SignalSet()
    push(signals, pictures)
    late = signals.close(span(50, 75))
    signals.forget(50)
    assert signals.close(span(50, 75)) == late
    signals.forget(75)
    assert set(signals.close(span(50, 75)).values()) == {None}


def test_threads_change_nothing(source: np.ndarray) -> None:
    found = []
    threads = cv2.getNumThreads()
    try:
        for count in (1, 4):
            cv2.setNumThreads(count)
            found.append(close([window(source, 10 + 3 * i, 10, W, H) for i in range(50)]))
    finally:
        cv2.setNumThreads(threads)
    assert found[0] == found[1]


def test_memory_does_not_grow_with_length(source: np.ndarray) -> None:
    signals = SignalSet()
    picture = window(source, 10, 10, W, H)
    sizes = []
    for start in range(0, 500, 100):
        push(signals, [picture] * 100, first=start)
        signals.forget(start + 50)
        rings = [r for s in signals.frame_signals.values() for r in vars(s).values() if isinstance(r, Samples)]
        assert len(rings) >= len(signals.frame_signals)
        sizes.append(sum(len(ring) for ring in rings))
    assert max(sizes) == sizes[0] or max(sizes) <= sizes[1] + 2


def test_timings_name_every_signal(source: np.ndarray) -> None:
    signals = SignalSet()
    push(signals, [window(source, 10 + i, 10, W, H) for i in range(20)])
    assert set(signals.timings) >= {"motion", "sharpness", "light", "still", "bars", "phash", "repeats", "combs"}
    assert all(t >= 0 for t in signals.timings.values())


# Black and frozen


def test_black_share_is_the_share_of_black_samples(source: np.ndarray) -> None:
    lit, black = window(source, 10, 10, W, H), np.zeros((H, W, 3), np.uint8)
    assert close([lit] * 100)["black_share"] == 0.0
    assert close([black] * 100)["black_share"] == 1.0
    assert close(noisy(level(black, 1, 12), 25, 3.0))["black_share"] == 1.0
    assert close([black] * 25 + [lit] * 75)["black_share"] == pytest.approx(0.25, abs=0.06)
    titled = black.copy()
    titled[60:80, 60:200] = 220
    assert close([titled] * 25)["black_share"] == 0.0


def test_frozen_pictures_are_static_and_noise_or_a_small_mover_is_not(source: np.ndarray) -> None:
    picture = window(source, 10, 10, W, H)
    assert close([picture] * 50)["static_share"] == 1.0
    assert close(noisy(picture, 50, 1.0))["static_share"] == 0.0
    movers = []
    for i in range(50):
        moved = picture.copy()
        moved[70:78, 20 + 2 * i : 28 + 2 * i] = 255
        movers.append(moved)
    assert close(movers)["static_share"] == 0.0
    moving = [window(source, 10 + 4 * i, 10, W, H) for i in range(50)]
    assert close(moving + [moving[-1]] * 50)["static_share"] == pytest.approx(0.5, abs=0.07)


def test_a_small_mover_would_be_missed_by_the_mean_alone(source: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(still, "STATIC_BLOCK", 255.0)
    monkeypatch.setattr(still, "STATIC_MEAN", 1.0)
    with pytest.raises(AssertionError):
        test_frozen_pictures_are_static_and_noise_or_a_small_mover_is_not(source)


# Hashes


def hamming(a: int | None, b: int | None) -> int:
    assert a is not None
    assert b is not None
    return (a ^ b).bit_count()


def test_hash_survives_resizing_blur_light_and_jpeg() -> None:
    for seed in range(6):
        rgb = texture(640, 360, 40 + seed)
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        coded = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, 25])[1]
        jpeg = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))
        changed = [
            cv2.resize(gray, (256, 144), interpolation=cv2.INTER_AREA),
            cv2.resize(gray, (200, 150), interpolation=cv2.INTER_AREA),
            cv2.GaussianBlur(gray, (0, 0), 2.0),
            level(gray, 0.8, 20),
            jpeg,
        ]
        assert max(hamming(phash(gray), phash(c)) for c in changed) <= 6


def test_hashes_of_different_pictures_are_far_apart() -> None:
    hashes = [phash(cv2.cvtColor(texture(256, 144, 60 + s), cv2.COLOR_RGB2GRAY)) for s in range(16)]
    distances = [hamming(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(distances) >= 14
    assert np.mean(distances) == pytest.approx(32, abs=2)


def test_hash_does_not_see_bars() -> None:
    rgb = texture(1280, 720, 3)
    plain = rgb[100:620]
    small = [
        cv2.cvtColor(
            cv2.resize(p, (256, round(256 * p.shape[0] / 1280)), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
        )
        for p in (plain, bars(rgb, top=100, bottom=100))
    ]
    crop = Crop(top=100 / 720, bottom=100 / 720)
    assert hamming(phash(without_bars(small[0], NO_BARS)), phash(without_bars(small[1], crop))) <= 6
    assert hamming(phash(small[0]), phash(small[1])) > 10


def test_hashes_of_a_span_do_not_see_bars() -> None:
    plain = texture(256, 104, 14)
    values = [close([p] * 20) for p in (plain, np.pad(plain, ((20, 20), (0, 0), (0, 0))))]
    for name in ("phash_a", "phash_b", "phash_c"):
        first, second = (v[name] for v in values)
        assert isinstance(first, int)
        assert isinstance(second, int)
        assert hamming(first, second) <= 6


def test_flat_pictures_have_no_hash() -> None:
    flat = np.full((H, W, 3), 90, np.uint8)
    values = close(noisy(flat, 50, 2.0))
    assert [values[f"phash_{c}"] for c in "abc"] == [None] * 3


def test_hashes_are_taken_at_fixed_places_of_the_span(source: np.ndarray) -> None:
    thirds = [texture(W, H, 80 + i) for i in range(3)]
    pictures = [thirds[i // 40] for i in range(120)]
    values = close(pictures)
    expected = [phash(cv2.cvtColor(t, cv2.COLOR_RGB2GRAY)) for t in thirds]
    found = [values[f"phash_{c}"] for c in "abc"]
    for hash_, same in zip(found, expected, strict=True):
        assert isinstance(hash_, int)
        assert 0 <= hash_ < 2**64
        assert hamming(hash_, same) <= 4


# Whole files


def decode(path: Path) -> tuple[SignalSet, int, float]:
    """Push a file as the pass would; (signals, frames, duration in s)."""
    signals, clock = SignalSet(), Clock(SignalSet.luma_rate)
    end, index = 0.0, -1
    with av.open(str(path)) as container:
        for index, picture in enumerate(container.decode(video=0)):
            scale = min(1.0, 256 / max(picture.width, picture.height))
            size = (round(picture.width * scale), round(picture.height * scale))
            rgb = cv2.resize(picture.to_ndarray(format="rgb24"), size, interpolation=cv2.INTER_AREA)
            assert picture.time is not None
            frame = frame_of(rgb, index, picture.time)
            frame.display_size, frame.full_range = (picture.width, picture.height), False
            if clock.due(frame.time):
                frame.luma = picture.to_ndarray()[: picture.height]
            signals.push(frame)
            end = picture.time
    return signals, index + 1, end


def measure(path: Path) -> dict[str, Any]:
    signals, count, end = decode(path)
    return signals.close(Span(0, count, 0, 0, 0.0, end))


def test_half_the_frame_rate_and_half_the_size_read_alike_after_encoding(tmp_path: Path) -> None:
    big = texture(1100, 420, 31)
    full = [window(big, 10 + 6 * i, 20, 640, 360) for i in range(60)]
    half = [cv2.resize(p, (320, 180), interpolation=cv2.INTER_AREA) for p in full]
    encode(full, tmp_path / "full.mp4", 30, crf=20)
    encode(full[::2], tmp_path / "slow.mp4", 15, crf=20)
    encode(half, tmp_path / "half.mp4", 30, crf=20)
    one, slow, small = (measure(tmp_path / f"{n}.mp4") for n in ("full", "slow", "half"))
    assert one["motion"] == pytest.approx(100 * 6 * 30 / np.hypot(640, 360), rel=0.1)
    for name, tolerance in {"motion": 0.15, "sharpness": 0.2, "brightness": 0.05, "contrast": 0.1}.items():
        assert slow[name] == pytest.approx(one[name], rel=tolerance), name
        assert small[name] == pytest.approx(one[name], rel=tolerance), name
    for name in ("phash_a", "phash_b", "phash_c"):
        assert hamming(int(one[name] or 0), int(small[name] or 0)) <= 6


def test_an_encoded_still_is_frozen(tmp_path: Path) -> None:
    encode([texture(640, 360, 32)] * 75, tmp_path / "still.mp4", 25, crf=28)
    values = measure(tmp_path / "still.mp4")
    assert values["static_share"] is not None
    assert values["static_share"] > 0.9
    assert values["motion"] == pytest.approx(0.0, abs=0.1)


def test_real_videos_read_as_what_they_show() -> None:
    folder = Path(__file__).parents[3] / "shared/videos"
    if not folder.exists():
        pytest.skip("the development videos are not here")
    light = measure(folder / "brightness_change_xvid.avi")
    assert light["motion"] == pytest.approx(0.0, abs=0.15)
    assert light["static_share"] == 0.0
    phone = measure(folder / "flipping_a_pancake.mkv")
    assert 1.0 < (phone["motion"] or 0) < 30.0
