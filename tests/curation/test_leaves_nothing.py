"""Whoever reads a video gives back its frames at once. Rings of references keep them until Python looks for such rings, which is once
in some hundred scans, as these make few objects that it counts: a worker then grows by some 50 MB with every file."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import GeneratorType

import pytest
from av.container import Container
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from curation.cutting import cut_clip
from curation.decode import open_source
from curation.golden.draw import texture, window
from curation.golden.encode import encode
from curation.golden.spans import Timed, timed
from curation.opening import SourceFailure
from curation.scan import scan_source
from curation.segments import WHOLE, Piece
from schemas.recipe import Export, Scan, Shots

FPS, COUNT = 25, 100
DEFAULT = Scan()


@contextmanager
def nothing_left() -> Iterator[None]:
    """Fails where the work within leaves rings that hold what weighs."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        left = [f"{type(o).__module__}.{type(o).__qualname__}" for o in gc.garbage if weighs(o)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []


def weighs(thing: object) -> bool:
    """Whether it is a frame of a video, or one of the things that may hold some. (A tiny copy that was asked for its side data may stay:
    PyAV lets no other way to read them.)"""
    if isinstance(thing, VideoFrame):
        return thing.width > 16
    return isinstance(thing, Container | Stream | GeneratorType | Packet) or type(thing).__module__.startswith(
        "curation."
    )


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Timed:
    path = tmp_path_factory.mktemp("left") / "a.mp4"
    big = texture(320 + 2 * COUNT + 16, 196, 5)
    pictures = (window(big, 8 + 2 * n, 8, 320, 180) for n in range(COUNT))
    encode(pictures, path, FPS, gop=FPS, bframes=2, audio=True)
    return timed(path)


def scan(path: Path, out: Path, settings: Scan = DEFAULT, threads: int = 1, piece: Piece = WHOLE) -> None:
    with out.open("w+b") as stills:
        scan_source(path, "s" * 32, settings, stills, threads=threads, piece=piece)


def stop_early(path: Path, _: Path) -> None:
    with open_source(path) as reader:
        for _, index, _ in reader.decoded():
            if index == 30:
                break


def fail_at_once(path: Path, _: Path) -> None:
    with pytest.raises(SourceFailure):
        open_source(path, max_pixels=100)


READERS: dict[str, Callable[[Path, Path], None]] = {
    "scan": scan,
    "scan_with_two_threads": lambda path, out: scan(path, out, threads=2),
    "scan_of_a_piece": lambda path, out: scan(path, out, piece=Piece(1.0, 2.0)),
    "scan_without_shots": lambda path, out: scan(path, out, Scan(shots=Shots(backend="fixed"))),
    "reading_that_stops_early": stop_early,
    "a_file_that_is_refused": fail_at_once,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_leaves_nothing(reader: str, video: Timed, tmp_path: Path) -> None:
    READERS[reader](video.path, tmp_path / "stills")
    with nothing_left():
        READERS[reader](video.path, tmp_path / "stills")


@pytest.mark.parametrize("cut", ["copy", "encode"])
def test_a_cut_leaves_nothing(cut: str, video: Timed, tmp_path: Path) -> None:
    settings = Export.model_validate({"cut": cut})
    clip = video.clip(25, 75)
    cut_clip(clip, settings, tmp_path / "0.mp4")
    with nothing_left():
        cut_clip(clip, settings, tmp_path / "1.mp4")


def test_a_reader_that_stops_early_goes_at_once(video: Timed) -> None:
    """Generators in the middle of their work do not count as garbage before they are looked for: rings through them are not seen above."""
    gc.disable()
    try:
        with open_source(video.path) as reader:
            next(reader.decoded())
        seen = weakref.ref(reader)
        del reader
        assert seen() is None
    finally:
        gc.enable()


def test_what_would_be_left_is_seen(video: Timed) -> None:
    def ring() -> None:
        with open_source(video.path) as reader:
            frames = [frame for frame, _, _ in reader.decoded()]
            frames.append(frames)  # type: ignore[arg-type]

    with pytest.raises(AssertionError, match="VideoFrame"), nothing_left():
        ring()
