"""Small generated videos, and ways to run the engine on them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from curation.corpus import Corpus
from curation.golden.draw import texture, window
from curation.golden.encode import encode
from curation.lock import hold
from curation.storage import Store
from pipelines import curate
from pipelines.progress import Counts, Progress
from pipelines.recipe_files import load_recipe
from pipelines.run import Options, Outcome

WIDTH, HEIGHT, FPS = 320, 240, 12


def pan(seed: int, count: int, speed: float) -> Iterator[np.ndarray]:
    """A textured picture that moves ``speed`` pixels per frame to the right."""
    big = texture(WIDTH + 16 + int(count * abs(speed)), HEIGHT + 16, seed)
    for i in range(count):
        yield window(big, 8 + i * abs(speed), 8, WIDTH, HEIGHT)


@pytest.fixture
def hanging() -> Iterator[Callable[[Path], Path]]:
    """Makes a file that gives no byte: the kernel lets others wait who open a file on which somebody has a lease, for 45 s as a rule."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    held: list[int] = []

    def make(path: Path) -> Path:
        path.write_bytes(b"never read")
        held.append(os.open(path, os.O_RDWR))
        try:
            fcntl.fcntl(held[-1], fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            pytest.skip("the file system has no leases")
        return path

    yield make
    for lease in held:
        os.close(lease)
    signal.signal(signal.SIGIO, before)


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three good videos (one of two shots, one with a side-car caption, one with copyable codec keyframes) and a broken one."""
    folder = tmp_path_factory.mktemp("videos")
    encode([*pan(1, 36, 2.0), *pan(2, 36, 1.0)], folder / "two_shots.mp4", FPS)
    encode(pan(3, 36, 2.5), folder / "captioned.mp4", FPS, gop=12)
    (folder / "captioned.txt").write_text("A patchwork of colours slides slowly past the camera.")
    (folder / "sub").mkdir()
    encode(pan(4, 48, 1.5), folder / "sub" / "third one.mkv", FPS, gop=12)
    (folder / "sub" / "empty.mp4").write_bytes(b"")
    return folder


def _run(
    out: Path,
    inputs: Path | None = None,
    settings: tuple[str, ...] = (),
    stages: tuple[str, ...] = curate.ALL_STAGES,
    **options: object,
) -> tuple[Outcome, Counts]:
    recipe = load_recipe(None, ("select.unaesthetic=off", "select.blurred=off", *settings))
    choices = Options(**{"executor": "inline", "jobs": 2, **options})  # type: ignore[arg-type]
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        Progress(Console(file=nowhere), limit=recipe.scan, quiet=True) as progress,
        hold(Store(out), "test"),
    ):
        if inputs is not None:
            corpus, _ = curate.plan(curate.list_and_check([str(inputs)], str(out)), str(out), recipe, None)
        else:
            corpus = Corpus.open(out)
        outcome = curate.run(corpus, recipe, stages, choices, progress, "test")
    return outcome, progress.counts


@pytest.fixture(scope="session")
def run() -> Callable[..., tuple[Outcome, Counts]]:
    """Run stages inline on a corpus, as the command would; gives the outcome and the counts."""
    return _run


def _tree(corpus: Path) -> dict[str, str]:
    """Every file that must be the same in every run, with its checksum."""
    found = {}
    for path in sorted(corpus.rglob("*")):
        rel = path.relative_to(corpus)
        if path.is_file() and rel.parts[0] not in ("runs", ".scratch", ".lock", "report.html"):
            found[rel.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="session")
def tree() -> Callable[[Path], dict[str, str]]:
    """Checksums of all files of a corpus that must be the same in every run."""
    return _tree


@pytest.fixture(scope="session")
def straight(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus made without any disturbance, for comparison. Do not write to it."""
    out = tmp_path_factory.mktemp("straight") / "corpus"
    _run(out, videos)
    return out
