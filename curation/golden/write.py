"""Golden videos to a folder, with ``golden.json`` that says what is true about each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from curation.golden.encode import encode
from curation.golden.video import GoldenVideo
from curation.golden.videos import SETS, catalogue
from schemas.errors import StorageError, UsageError

VERSION = 2
"""Raised whenever the same seed gives other files or other truth."""
TRUTH_FILE = "golden.json"


def write_golden(
    out: Path | str,
    sets: Sequence[str] = ("demo",),
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
    shapes: int = 144,
    workers: int = 2,
    on_done: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Write the videos of ``sets`` into ``out`` and return the path of ``golden.json``.

    That file holds ``version``, ``seed`` and ``videos``: for each file name its truth (see
    :meth:`curation.golden.video.GoldenVideo.describe` and :meth:`curation.golden.timeline.Timeline.truth`), size and sha256.
    The same arguments give the same bytes. A file that is complete already, made by the same version and seed, is kept; files
    of other sets in the folder stay, and stay described. Each file appears under its name only when it is complete.

    Args:
        out: folder; made if absent.
        sets: names from :data:`curation.golden.videos.SETS`.
        names: only these videos of the sets (stems or file names); None means all.
        seed: whole number from 0 on.
        shapes: number of clips in the set ``shapes``.
        workers: videos made at a time; the result does not depend on it.
        on_done: called after each file with its name, how many are done, and how many there are.

    Raises:
        UsageError: an unknown set or name, or ``out`` lies in a corpus.
        StorageError: the folder cannot be written.
    """
    out = Path(out)
    videos = _chosen(catalogue(seed, shapes=shapes), sets, names)
    _refuse_corpus(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        known = _known(out / TRUTH_FILE, seed)
        try:
            for done, (video, entry) in enumerate(_make_all(videos, out, known, workers), 1):
                known[video.file] = entry
                if on_done is not None:
                    on_done(video.file, done, len(videos))
        finally:  # also when interrupted: what is finished need not be made again
            whole = {"version": VERSION, "seed": seed, "videos": {file: known[file] for file in sorted(known)}}
            _replace(out / TRUTH_FILE, json.dumps(whole, indent=1, ensure_ascii=False).encode())
    except OSError as error:
        raise StorageError(
            f"{out} cannot be written: {error}.", fix="Choose a folder that can be written to."
        ) from error
    return out / TRUTH_FILE


def _refuse_corpus(out: Path) -> None:
    here = out.absolute()
    inside = next((folder for folder in (here, *here.parents) if (folder / "corpus.json").exists()), None)
    if inside is not None:
        raise UsageError(
            f"`{out}` is or lies in the corpus `{inside}`, which holds no videos of its own.",
            fix="Choose another folder, and name it to `stiv curate`.",
        )


def _chosen(videos: Iterable[GoldenVideo], sets: Sequence[str], names: Sequence[str] | None) -> list[GoldenVideo]:
    """The videos that are in one of ``sets`` and among ``names``."""
    unknown = [name for name in sets if name not in SETS]
    if unknown or not sets:
        raise UsageError(
            f"There is no golden set {', '.join(unknown) or 'given'}.", fix=f"Sets are: {', '.join(SETS)}."
        )
    within = [video for video in videos if set(sets) & set(video.sets)]
    if names is None:
        return within
    unknown = [name for name in names if not any(name in (video.name, video.file) for video in within)]
    if unknown:
        choices = ", ".join(video.name for video in within)
        raise UsageError(
            f"There is no golden video {', '.join(unknown)} in {', '.join(sets)}.", fix=f"Videos are: {choices}."
        )
    return [video for video in within if video.name in names or video.file in names]


def _known(path: Path, seed: int) -> dict[str, Any]:
    """The entries of an earlier run with the same version and seed; otherwise none, so that everything is made again."""
    try:
        whole = json.loads(path.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    if not isinstance(whole, dict) or (whole.get("version"), whole.get("seed")) != (VERSION, seed):
        return {}
    return dict(whole["videos"])


def _make_all(
    videos: Sequence[GoldenVideo], out: Path, known: Mapping[str, Any], workers: int
) -> Iterator[tuple[GoldenVideo, dict[str, Any]]]:
    """Make videos side by side (drawing and encoding let go of Python's lock); yields them in order with their entries."""
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        running = [pool.submit(_make, video, out, known.get(video.file)) for video in videos]
        for video, future in zip(videos, running, strict=True):
            yield video, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _make(video: GoldenVideo, out: Path, before: dict[str, Any] | None) -> dict[str, Any]:
    """Write one video and its side-car, unless they are there; returns its entry in ``golden.json``."""
    path = out / video.file
    truth = json.loads(json.dumps(video.describe()))
    if video.caption is not None:
        _replace(path.with_suffix(".txt"), (video.caption + "\n").encode())
    if before is not None and path.is_file() and before == truth | _facts(path.read_bytes()):
        return before
    if video.damage is None:
        _store(video, path)
    else:
        sound = path.with_name(f".{video.name}.sound{video.suffix}")
        try:
            _store(video, sound)
            _replace(path, video.damage(sound.read_bytes()))
        finally:
            sound.unlink(missing_ok=True)
    return truth | _facts(path.read_bytes())


def _store(video: GoldenVideo, path: Path) -> None:
    if video.store is not None:
        video.store(path)
    else:
        encode(video.frames(), path, video.fps, **video.encoding)


def _facts(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _replace(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` in one step."""
    part = path.with_name(f".{path.name}.part")
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
