"""The shot backends, with networks whose answers are made up: what is done with them is tested, not a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from curation.frames import Frame, Transition, frame_of
from curation.shots import ClipMaker, ShotFinder
from curation.shots import ensemble as ensemble_module
from curation.shots import finder as finder_module
from curation.shots.backends import Finder, clip_settings, make_finder, needs_network
from curation.shots.network import HEIGHT, MARGIN, STEP, WIDTH, WINDOW, Windower, thumbnail
from schemas.recipe import Shots

FPS = 25.0
Picture = np.ndarray
NETWORK, ENSEMBLE = Shots(backend="transnetv2"), Shots(backend="ensemble")


class Around:
    """Answers with the mean level over the 20 frames on each side, so that a window with the wrong frames shows."""

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch

    def probabilities(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert frames.shape[1:] == (WINDOW, HEIGHT, WIDTH, 3)
        assert frames.dtype == np.uint8
        level = frames.mean(axis=(2, 3, 4)) / 255
        answers = np.stack([np.convolve(row, np.ones(41) / 41, "same") for row in level]).astype(np.float32)
        return answers, answers / 2


class Known:
    """Answers by frame, which it recognises; 0 for a frame that has no answer."""

    batch = 1

    def __init__(self, frames: Sequence[Frame], centre: dict[int, float], part: dict[int, float]) -> None:
        self.asked: list[list[int]] = []
        self._numbers = {thumbnail(frame).tobytes(): frame.index for frame in frames}
        self._centre, self._part = centre, part

    def probabilities(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        windows = [[self._numbers[picture.tobytes()] for picture in window] for window in frames]
        self.asked += windows
        centre, part = (
            np.array([[answers.get(n, 0.0) for n in window] for window in windows], np.float32)
            for answers in (self._centre, self._part)
        )
        return centre, part


def texture(seed: int) -> Picture:
    """(144, 256, 3) float32 picture with coarse and fine structure."""
    rng = np.random.default_rng(seed)
    total = np.zeros((144, 256, 3), np.float32)
    for cells, weight in ((6, 1.0), (24, 0.5), (96, 0.3)):
        grid = rng.standard_normal((cells * 144 // 256 + 2, cells + 2, 3)).astype(np.float32)
        total += weight * cv2.resize(grid, (256, 144), interpolation=cv2.INTER_CUBIC)
    return np.clip(rng.uniform(80, 150, 3).astype(np.float32) + 40 * total, 0, 255)


def still(seed: int, length: int) -> list[Picture]:
    return [texture(seed)] * length


def dissolve(a: int, b: int, length: int) -> list[Picture]:
    before, after = texture(a), texture(b)
    return [before + (after - before) * (k + 1) / (length + 1) for k in range(length)]


def frames_of(pictures: Sequence[Picture], first: int = 0) -> list[Frame]:
    """Frames with a little noise, so that no two are equal."""
    rng = np.random.default_rng(7)
    noisy = [np.clip(p + rng.normal(0, 2, p.shape), 0, 255).astype(np.uint8) for p in pictures]
    return [frame_of(p, first + k, (first + k) / FPS) for k, p in enumerate(noisy)]


def push_all(finder: Finder, frames: Sequence[Frame]) -> list[Transition]:
    """Push every frame, holding the finder to what it says about ``settled``."""
    found: list[Transition] = []
    settled = frames[0].index
    for frame in frames:
        new = finder.push(frame)
        assert all(t.start_frame >= settled for t in new)
        assert settled <= finder.settled <= frame.index + 1
        settled, found = finder.settled, found + new
    new = finder.flush()
    assert all(t.start_frame >= settled for t in new)
    assert found + new == sorted(found + new, key=lambda t: t.start_frame)
    return found + new


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("count", [1, 49, 50, 51, 75, 100, 137, 330])
def test_windows_give_what_the_whole_sequence_would(count: int, batch: int) -> None:
    pictures = np.random.default_rng(count).integers(0, 256, (count, 1, 1, 3)).astype(np.uint8)
    pictures = np.broadcast_to(pictures, (count, HEIGHT, WIDTH, 3))
    windower = Windower(Around(batch))
    answers = []
    for picture in pictures:
        answers.append(windower.push(picture))
        assert windower.held <= WINDOW + STEP * (batch - 1)
    answers.append(windower.flush())
    told = [a for a in answers if a is not None]
    assert [a.first for a in told] == np.cumsum([0, *(len(a.centre) for a in told)])[:-1].tolist()
    padded = np.pad(pictures.mean(axis=(1, 2, 3)) / 255, MARGIN, mode="edge")
    expected = np.convolve(padded, np.ones(41) / 41, "same")[MARGIN:-MARGIN]
    np.testing.assert_allclose(np.concatenate([a.centre for a in told]), expected, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([a.part for a in told]), expected / 2, atol=1e-6)


def test_a_stream_without_frames_is_no_question() -> None:
    assert Windower(Around()).flush() is None
    assert make_finder(NETWORK, Around()).flush() == []
    assert make_finder(ENSEMBLE, Around()).flush() == []


@pytest.mark.parametrize("bt709", [False, True])
def test_thumbnails_show_the_colours(bt709: bool) -> None:
    picture = np.full((144, 256, 3), (40, 90, 200), np.uint8)
    picture[:, 128:] = (200, 160, 30)
    frame = frame_of(picture)
    frame.bt709 = bt709
    small = thumbnail(frame)
    assert small.shape == (HEIGHT, WIDTH, 3)
    expected = frame.bgr()[..., ::-1]
    np.testing.assert_allclose(small[5, 5], expected[20, 20], atol=2)
    np.testing.assert_allclose(small[20, 40], expected[100, 200], atol=2)


@pytest.mark.parametrize("first", [0, 1000])
def test_network_answers_are_read_as_spans(first: int) -> None:
    pictures = [*still(1, 60), *still(2, 40), *dissolve(2, 3, 20), *still(3, 30)]
    pictures += [p * w for p, w in zip(still(3, 10), np.linspace(0.9, 0, 10), strict=True)]
    pictures += [0 * p for p in still(3, 8)]
    pictures += [p * w for p, w in zip(still(4, 10), np.linspace(0, 0.9, 10), strict=True)]
    frames = frames_of([*pictures, *still(4, 60)], first)
    centre = {first + 59: 0.97, first + 110: 0.8, first + 154: 0.7, first + 174: 0.6}
    part = dict.fromkeys([first + 59, *range(first + 102, first + 119)], 0.9)
    part.update(dict.fromkeys([first + 100, first + 101, first + 119, first + 120], 0.2))
    part.update(dict.fromkeys([*range(first + 150, first + 159), *range(first + 169, first + 178)], 0.9))
    cut, mixed, fade = push_all(make_finder(NETWORK, Known(frames, centre, part)), frames)
    assert (cut.start_frame, cut.end_frame, cut.kind) == (first + 60, first + 60, "cut")
    assert cut.score == pytest.approx(0.97)
    assert mixed.kind == "dissolve"
    assert first + 98 <= mixed.start_frame <= first + 100
    assert first + 120 <= mixed.end_frame <= first + 122
    assert fade.kind == "fade"  # both ramps and the black between them
    assert first + 148 <= fade.start_frame <= first + 150
    assert first + 178 <= fade.end_frame <= first + 180
    assert {t.detector for t in (cut, mixed, fade)} == {"transnetv2"}


def test_a_likely_frame_or_two_without_a_centre_are_nothing() -> None:
    frames = frames_of(still(1, 120))
    assert push_all(make_finder(NETWORK, Known(frames, {40: 0.3}, {39: 0.9, 40: 0.9})), frames) == []
    assert push_all(make_finder(NETWORK, Known(frames, {40: 0.6}, {39: 0.9, 40: 0.9})), frames) != []


def test_a_flash_that_the_network_takes_for_a_cut_is_none() -> None:
    flash = [np.clip(p + 90, 0, 255) for p in still(1, 2)]
    frames = frames_of([*still(1, 60), *flash, *still(1, 60), *flash, *still(2, 60)])
    centre = {59: 0.9, 61: 0.9, 121: 0.9, 123: 0.9}  # two flashes, the second one at a cut
    found = push_all(make_finder(NETWORK, Known(frames, centre, {})), frames)
    assert {t.start_frame for t in found} <= {122, 124}
    assert found


def test_the_threshold_counts() -> None:
    frames = frames_of([*still(1, 60), *still(2, 60)])
    network = Known(frames, {59: 0.4}, {59: 0.2})
    assert push_all(make_finder(NETWORK, network), frames) == []
    lower = NETWORK.model_copy(update={"network_threshold": 0.3})
    assert [t.start_frame for t in push_all(make_finder(lower, network), frames)] == [60]


def test_finders_tell_change() -> None:
    for settings in (NETWORK, ENSEMBLE):
        finder = make_finder(settings, Around())
        changes = []
        for frame in frames_of([*still(1, 3), *still(2, 3)]):
            finder.push(frame)
            changes.append(finder.change)
        assert changes[0] == 0.0
        assert np.argmax(changes) == 3
        assert changes[3] > 10 * max(changes[1], changes[5])


def test_the_network_is_not_asked_where_nothing_is_doubtful() -> None:
    frames = frames_of([*still(1, 80), *still(2, 80), *dissolve(2, 3, 20), *still(3, 150)])
    network = Known(frames, {}, {})
    found = push_all(make_finder(ENSEMBLE, network), frames)
    assert network.asked == []
    assert found == push_all(ShotFinder(Shots()), frames)
    assert [t.kind for t in found] == ["cut", "dissolve"]


def blind(*_: Any) -> None:
    """Finds no blend."""


@pytest.mark.parametrize("first", [0, 500])
def test_the_network_adds_a_dissolve_that_fits_no_ramp(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    monkeypatch.setattr(finder_module, "find_mixture", blind)
    frames = frames_of([*still(1, 300), *dissolve(1, 2, 20), *still(2, 300)], first)
    seen = Known(frames, {first + 310: 0.8}, dict.fromkeys(range(first + 301, first + 320), 0.9))
    (found,) = push_all(make_finder(ENSEMBLE, seen), frames)
    assert (found.kind, found.detector) == ("dissolve", "transnetv2")
    assert first + 298 <= found.start_frame <= first + 301
    assert first + 319 <= found.end_frame <= first + 322
    assert len(seen.asked) <= 3
    unseen = Known(frames, {}, {})
    assert push_all(make_finder(ENSEMBLE, unseen), frames) == []
    assert unseen.asked


@pytest.mark.parametrize("where", [8, 60, 141, 290])
def test_the_network_takes_a_doubtful_cut_away_or_leaves_it(monkeypatch: pytest.MonkeyPatch, where: int) -> None:
    monkeypatch.setattr(ensemble_module, "DOUBT_SCORE", 2.0)
    frames = frames_of([*still(1, where), *still(2, 300 - where)])
    denying, confirming = Known(frames, {}, {}), Known(frames, {where - 1: 0.9}, {})
    assert push_all(make_finder(ENSEMBLE, denying), frames) == []
    assert [t.start_frame for t in push_all(make_finder(ENSEMBLE, confirming), frames)] == [where]
    assert denying.asked[0][MARGIN - 1 : MARGIN + STEP] == [
        min(max(where // STEP * STEP + k, 0), 299) for k in range(-1, STEP)
    ]


@pytest.mark.parametrize("score", [0.1, 0.9])
def test_a_cut_that_fails_narrowly_is_put_to_the_network(monkeypatch: pytest.MonkeyPatch, score: float) -> None:
    def none_found(*_: Any, **__: Any) -> None:
        pass

    monkeypatch.setattr(finder_module, "cut_score", none_found)
    frames = frames_of([*still(1, 160), *still(2, 140)])
    network = Known(frames, {159: score}, {})
    found = push_all(make_finder(ENSEMBLE, network), frames)
    assert len(network.asked) == 1
    assert [t.start_frame for t in found] == ([160] if score > 0.5 else [])


@pytest.mark.parametrize("settings", [NETWORK, ENSEMBLE])
def test_what_is_kept_does_not_grow_with_length(settings: Shots) -> None:
    frames = frames_of(still(1, 40))

    def held(finder: Any) -> int:
        kept = [v for v in vars(finder).values() if isinstance(v, (dict, list, set)) or hasattr(v, "maxlen")]
        return sum(len(v) for v in kept) + (finder._windower.held if hasattr(finder, "_windower") else 0)

    finder = make_finder(settings, Around())
    sizes = []
    for k in range(1600):
        frame = frames[k % 40]
        frame.index, frame.time = k, k / FPS
        finder.push(frame)
        sizes.append(held(finder))
    assert max(sizes) < 900  # the longest stretch that is read at once is 600 frames


@pytest.mark.parametrize("make", [lambda s: make_finder(s, None), make_finder])
def test_a_backend_with_a_network_wants_one(make: Callable[[Shots], Finder]) -> None:
    for settings in (NETWORK, ENSEMBLE):
        assert needs_network(settings)
        with pytest.raises(ValueError, match="needs a network"):
            make(settings)
    for backend in ("adaptive+histogram", "fixed"):
        settings = Shots(backend=backend)
        assert not needs_network(settings)
        assert make(settings).flush() == []


def test_fixed_finds_nothing_and_divides_evenly() -> None:
    settings = Shots(backend="fixed", fixed_s=1.5)
    frames = frames_of([*still(1, 60), *still(2, 100)])
    finder, maker = make_finder(settings), ClipMaker(clip_settings(settings))
    clips = []
    for frame in frames:
        maker.push_time(frame.index, frame.pts, frame.time, finder.change)
        clips += maker.advance(finder.push(frame), finder.settled)
    assert finder.flush() == []
    clips += maker.finish(160, 160 / FPS)
    starts = [c.span.start_frame for c in clips]
    assert starts[:3] == [0, 38, 75] or starts[:3] == [0, 37, 74]  # 1.5 s is 37.5 frames
    assert all(1.4 <= c.span.end_s - c.span.start_s <= 1.55 for c in clips[:3])
    assert clip_settings(Shots()) == Shots()
