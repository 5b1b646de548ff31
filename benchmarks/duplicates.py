"""The search for duplicates: what it finds, what it merges by mistake, and what a million clips cost.

    python benchmarks/duplicates.py [--golden 30] [--videos FOLDER]
    python benchmarks/duplicates.py --clips 100000 300000 1000000 [--semantic 64]

The first makes copies of golden clips (and of clips of real videos) of seven kinds, scans originals and copies as `stiv scan` does, and prints
how many copies of each kind are found. Then it counts agreements by mistake among distinct clips, golden and real, with dark, flat and
title pictures among them, and works out what they mean for 90 million clips.

The second writes tables of random clips with planted copies, without video, and prints time, peak memory and growth. There are no stills, so
every pair that hashes and facts propose counts as proven: false merges are those before the proof. `--semantic` adds vectors.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from math import exp, lgamma, log
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
from rich.console import Console

from curation import variants
from curation.corpus import Corpus, hold
from curation.duplicates import groups, looks, near, stills
from curation.golden import draw, scenes
from curation.golden.encode import encode
from curation.golden.set_copies import COPIES
from curation.golden.set_shots import any_shot
from curation.golden.timeline import Timeline
from curation.golden.write import write_golden
from curation.opening import quiet_decoder
from curation.scan import scan_source
from curation.storage import Store
from pipelines import curate
from pipelines.context import Context, Worker
from pipelines.progress import Progress
from pipelines.recipe_files import load_recipe
from pipelines.run import Options
from pipelines.stages import dedup
from pipelines.stages.dedup_proof import Proof
from schemas.recipe import Scan
from schemas.tables import CLIPS, EMBEDDINGS, SOURCES

CORPUS_OF_INTEREST = 90_000_000
FPS = 25.0
LONGEST = 80
"""Frames of a real clip that are copied."""

# Copies ---------------------------------------------------------------------------------------------------------------


def make_copies(folder: Path, golden: int, videos: Path | None) -> None:
    """`<name>.mp4` and `<name>.<kind>.mp4` for every original; `g…` golden, `r…` real. Files that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, fps, frames in [*_golden(golden), *_real(videos)]:
        base = folder / f"{name}.mp4"
        if not base.exists():
            encode(frames(), base, fps, crf=18)
        with av.open(str(base)) as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        for kind, copy in COPIES.items():
            path = folder / f"{name}.{kind}.mp4"
            if not path.exists():
                encode(copy.make(pictures, fps), path, fps, **copy.encoding)


def _golden(count: int) -> Iterator[tuple[str, float, Any]]:
    for i in range(count):
        rng = np.random.default_rng([5, i])
        shot = any_shot(9_000_000 + i, int(rng.integers(65, 100)), rng)
        yield f"g{i:02d}", FPS, Timeline((shot,)).frames


def _real(videos: Path | None) -> Iterator[tuple[str, float, Any]]:
    """Up to four clips of each video, as the scan cuts them."""
    for path in sorted(videos.iterdir()) if videos else []:
        if path.suffix not in (".webm", ".mp4", ".avi", ".mkv", ".flv"):
            continue
        with tempfile.TemporaryFile() as pictures:
            clips = [c for c in scan_source(path, "s" * 32, Scan(), pictures).clips if c["num_frames"] >= 60]
        for number in sorted({round(k) for k in np.linspace(0, len(clips) - 1, min(4, len(clips)))}):
            clip = clips[number]
            yield f"r_{path.stem}_{number}", min(clip["fps"], 60.0), lambda path=path, clip=clip: _frames(path, clip)


def _frames(path: Path, clip: dict[str, Any]) -> Iterator[np.ndarray]:
    with av.open(str(path)) as container:
        for count, frame in enumerate(container.decode(video=0)):
            if count >= min(clip["end_frame"], clip["start_frame"] + LONGEST):
                return
            if count >= clip["start_frame"]:
                picture = frame.to_ndarray(format="rgb24")
                scale = min(1.0, 640 / max(picture.shape))
                size = [max(2, round(side * scale / 2) * 2) for side in picture.shape[1::-1]]
                yield cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def scanned(folder: Path, out: Path) -> tuple[Corpus, dict[str, variants.Variant]]:
    """A corpus of the folder, scanned and searched for duplicates among all its clips."""
    recipe = load_recipe(None, ("select.rules=[]", "features.text.enabled=false", "features.embeddings.enabled=false"))
    options = Options(executor="inline", jobs=2)
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        Progress(Console(file=nowhere), limit=recipe.scan, quiet=True) as progress,
        hold(Store(out), "benchmark"),
    ):
        corpus, _ = curate.plan(curate.list_and_check([str(folder)], str(out)), str(out), recipe, None)
        made = curate.run(corpus, recipe, ("scan", "features", "dedup"), options, progress, "benchmark").variants
    return corpus, made


def all_looks(corpus: Corpus, variant: variants.Variant) -> tuple[looks.Looks, list[str]]:
    """Looks of all clips, and the name of the file that each is from, without its ending."""
    pieces, names = [], []
    for part in corpus.parts():
        table = corpus.store.read_table(groups.looks_path(variant, part))
        files = {r["source_id"]: r["rel_path"].rpartition(".")[0] for r in corpus.read("sources", part).to_pylist()}
        owner = {r["clip_id"]: files[r["source_id"]] for r in corpus.read("clips", part).to_pylist()}
        pieces.append(looks.load([(part, table, None)]))
        names += [owner[clip] for clip in table.column("clip_id").to_pylist()]
    return looks.concatenate(pieces), names


def pairs_found(corpus: Corpus, variant: variants.Variant, some: looks.Looks) -> list[tuple[int, int, bool]]:
    """(clip, clip, proven) of all near pairs among some clips."""
    settings, found = dedup.settings_of(variant).near, []
    both = near.with_mirrored(some)
    for bucket in near.buckets(1):
        mine = both.take(near.members(both, bucket))
        pairs = near.candidates(mine, bucket, settings.max_distance, settings.hashes)
        worse, better = mine.index[pairs.worse], mine.index[pairs.better]
        proven = Proof(corpus, variant).same(worse, better, pairs.mirrored)
        found += list(zip(worse.tolist(), better.tolist(), proven.tolist(), strict=True))
    return found


def recall(corpus: Corpus, variant: variants.Variant) -> None:
    """Print, for each kind, how many copies meet their original, each kind searched by itself."""
    all_, names = all_looks(corpus, variant)
    place = dict(zip(all_.index.tolist(), names, strict=True))
    print(f"{'kind':14} {'golden':>12} {'real':>12} {'without proof':>14}")
    for kind in COPIES:
        mine = np.array([name.count(".") == 0 or name.endswith("." + kind) for name in names])
        found = pairs_found(corpus, variant, all_.take(mine))
        hits = {(min(place[a], place[b], key=len), proven) for a, b, proven in found if _same(place[a], place[b])}
        line, loose = [], 0
        for family in "gr":
            copied = {n.partition(".")[0] for n in names if n.endswith("." + kind)} & {n for n in names if "." not in n}
            copied = {n for n in copied if n.startswith(family)}
            good = sum((n, True) in hits for n in copied)
            loose += sum((n, True) in hits or (n, False) in hits for n in copied)
            line.append(f"{good}/{len(copied)} {good / len(copied):.3f}" if copied else "-")
        print(f"{kind:14} {line[0]:>12} {line[1]:>12} {loose:>14}")


def make_distinct(folder: Path, each: int) -> None:
    """Clips that resemble each other without being copies: dark, nearly flat, and cards with a line of text; and as many others."""
    size, length = (320, 180), 60
    for i in range(each):
        rng = np.random.default_rng([6, i])
        shift = float(rng.uniform(0.3, 1.5))
        words = " ".join(WORDS[k % len(WORDS)] for k in (i, i + 1 + i // len(WORDS), i + 7))
        ground = (40, 50, 90)  # not black, or all but the line would be taken for bars
        card = draw.text_box(np.full((180, 320, 3), ground, np.uint8), (20, 60, 280, 60), words, ground=ground)
        kinds = {
            "dark": scenes.pan(size, 8_000_000 + i, length, shift, mean=14, std=6),
            "flat": scenes.pan(size, 8_100_000 + i, length, shift, mean=130, std=7),
            "plain": any_shot(8_200_000 + i, length, rng),
        }
        shown = {kind: Timeline((shot,)).frames() for kind, shot in kinds.items()}
        for kind, frames in {**shown, "title": [card] * length}.items():
            path = folder / f"{kind}_{i:02d}.mp4"
            if not path.exists():
                encode(frames, path, FPS, crf=18)


WORDS = "THE LAST FIRST DAY NIGHT OF SEA STONE CHAPTER ONE TWO SEVEN RIVER BLUE SONG ROAD HOUSE WINTER".split()


def _same(a: str, b: str) -> bool:
    return a.partition(".")[0] == b.partition(".")[0] and a != b


# Mistakes -------------------------------------------------------------------------------------------------------------


def mistakes(corpus: Corpus, variant: variants.Variant) -> None:
    """Count what distinct clips have in common by accident, and print what that means for a large corpus."""
    some, names = all_looks(corpus, variant)
    family = [_origin(name) for name in names]
    rows = np.array([(a, b) for a, b in combinations(range(len(names)), 2) if family[a] != family[b]]).reshape(-1, 2)
    distance = np.sort(near.distances(some.phash, rows[:, 0], rows[:, 1]), axis=1)[:, 0]
    known = distance < 64
    agree = near.facts_agree(some, rows[:, 0], rows[:, 1])
    real = np.array([name.startswith("real_") for name in names])
    # Drawn pictures are more independent than real ones: where there are real ones, they alone say how much a hash is worth.
    said = rows[real[rows].all(axis=1)] if real.sum() >= 20 else rows
    middle = near.distances(some.phash, said[:, 0], said[:, 1])[:, 1]
    spread = middle[middle < 64] / 63
    freedom = spread.mean() * (1 - spread.mean()) / spread.var()
    print(f"{len(names):,} clips of {len(set(family)):,} origins, {len(rows):,} pairs of different origin")
    close = known & (distance <= 8)
    print(
        f"hashes: closest of three within 8 bits in {close.sum()} pairs; mean {63 * spread.mean():.1f} bits of 63,",
        end=" ",
    )
    print(f"as of {freedom:.0f} independent bits")
    print(f"facts agree in {agree.mean():.2%} of the pairs; hashes and facts in {(close & agree).sum()}")
    proof = Proof(corpus, variant)
    drawn = rows[np.random.default_rng(0).permutation(len(rows))[:4000]]
    best = np.array([proof.likeness(int(some.index[a]), int(some.index[b])) for a, b in drawn.tolist()])
    best = best[best > -1]
    slope = (np.quantile(best, 0.999) - np.quantile(best, 0.9)) / log(100)
    beyond = exp(-(stills.SAME - np.quantile(best, 0.999)) / slope) / 1000
    print(
        f"stills: likeness of {len(best):,} pairs {np.median(best):.2f} (median), {np.quantile(best, 0.999):.2f} (99.9 %), {best.max():.2f} (largest)"
    )
    one = _at_most(8 / 63 * freedom, freedom)
    rate = min(1.0, 3 * one) * float(agree.mean()) * beyond
    pairs = CORPUS_OF_INTEREST**2 / 2
    print(
        f"per pair, extrapolated: hash {one:.1e} (three places: {3 * one:.1e}), facts {agree.mean():.1e}, stills {beyond:.1e}: {rate:.1e}"
    )
    print(
        f"{CORPUS_OF_INTEREST:,} clips: {pairs * 3 * one * agree.mean():.1e} pairs to prove, {pairs * rate:.1e} merged by mistake,"
    )
    print(f"    one clip in {CORPUS_OF_INTEREST / max(pairs * rate, 1e-9):.0e}")
    merged(corpus, variant, names, family, some)


def merged(corpus: Corpus, variant: variants.Variant, names: list[str], family: list[str], some: looks.Looks) -> None:
    """Print which clips of different origin the search has put together, and the largest cluster of them."""
    owner: dict[str, str] = {}
    clusters: dict[str, list[str]] = {}
    for part in corpus.parts():
        ids = corpus.store.read_table(groups.looks_path(variant, part), ["clip_id"]).column("clip_id").to_pylist()
        start = int(np.searchsorted(some.index, part << 32))
        owner |= {clip: family[start + i] for i, clip in enumerate(ids)}
        for row in corpus.read("duplicates", part, variant.folder).to_pylist():
            if row["duplicate_cluster"]:
                clusters.setdefault(row["duplicate_cluster"], []).append(row["clip_id"])
    wrong = [sorted(owner[c] for c in cluster) for cluster in clusters.values() if len({owner[c] for c in cluster}) > 1]
    clips = sum(len(cluster) for cluster in wrong)
    print(
        f"merged: {len(clusters)} clusters, {len(wrong)} of several origins ({clips} of {len(names)} clips)", wrong[:8]
    )
    print(f"largest cluster: {max((len(c) for c in clusters.values()), default=1)} clips")


def _origin(name: str) -> str:
    """What clips must share for a merge to be right: the drawing, or the film (Big Buck Bunny comes in three files)."""
    stem = Path(name.partition(".")[0]).name
    if stem.startswith("corrupt"):
        return "corrupt"  # one drawing, damaged in several ways
    return "bbb" if "bbb" in stem else stem.removesuffix("_copy")


def _at_most(count: float, of: float) -> float:
    """P(X <= count) for X binomial with ``of`` tosses of a fair coin; neither need be whole."""
    terms = [
        lgamma(of + 1) - lgamma(k + 1) - lgamma(of - k + 1) - of * log(2) for k in np.arange(count % 1, count + 1e-9)
    ]
    return sum(exp(t) for t in terms)


# Scale ----------------------------------------------------------------------------------------------------------------

PART = 10_000
COPIED, EXACT, FAMOUS, STATIC = 0.10, 0.02, 0.002, 0.5
"""Shares: of near copies, of exact copies, of copies of one and the same clip, and of clips whose three hashes are about the same."""
LATENT = 60
"""Independent numbers behind a hash; its bits are as dependent as those of real pictures (44 to 60 independent bits)."""


def random_corpus(out: Path, clips: int, width: int) -> np.ndarray:
    """Make a corpus of tables alone; gives for each clip, in the order of parts, the row of the clip that it is a copy of, or its own."""
    corpus = Corpus.open_or_create(out, load_recipe(None, ()))
    rng = np.random.default_rng(clips)
    truth = np.arange(clips)
    copied = rng.random(clips) < COPIED + EXACT
    originals = np.flatnonzero(~copied)
    truth[copied] = rng.choice(originals, int(copied.sum()))
    truth[copied & (rng.random(clips) < FAMOUS / (COPIED + EXACT))] = originals[0]
    exact = copied & (rng.random(clips) < EXACT / (COPIED + EXACT))
    base = _facts_of(rng, clips)
    hashes = base.pop("phash")[truth]
    # How far copies are off, in bits: as measured on golden copies.
    flips = np.where(exact | (truth == np.arange(clips)), 0, rng.choice([0, 2, 4, 6], clips, p=[0.5, 0.3, 0.15, 0.05]))
    for turn in range(6):
        bit = np.uint64(1) << rng.integers(0, 63, (clips, 3)).astype(np.uint64)
        hashes = np.where((flips > turn)[:, None], hashes ^ bit, hashes)
    vectors = rng.standard_normal((clips, width)).astype(np.float32) if width else None
    for part, start in enumerate(range(0, clips, PART)):
        rows = np.arange(start, min(start + PART, clips))
        _write_part(corpus, part, rows, truth, exact, hashes, base, vectors, rng)
    corpus.store.commit_bytes("plan/parts.json", json.dumps({"parts": -(-clips // PART)}).encode())
    return truth


def _facts_of(rng: np.random.Generator, clips: int) -> dict[str, np.ndarray]:
    mixing = np.random.default_rng(1).standard_normal((LATENT, 63))
    a, b, c = (np.zeros(clips, np.uint64) for _ in range(3))
    for start in range(0, clips, 50_000):
        stop = min(start + 50_000, clips)
        pictures = rng.standard_normal((3, stop - start, LATENT))
        same = rng.random(stop - start) < STATIC
        for out, picture in zip((a, b, c), pictures, strict=True):
            picture[same] = pictures[0][same]
            bits = picture @ mixing > 0
            out[start:stop] = (bits * (np.uint64(1) << np.arange(63, dtype=np.uint64))).sum(axis=1, dtype=np.uint64)
    return {
        "phash": np.stack([a, b, c], axis=1),
        "duration_s": np.round(np.clip(rng.lognormal(1.6, 0.6, clips), 2, 20), 2),
        "brightness": rng.normal(0.45, 0.15, clips).astype(np.float32),
        "colourfulness": rng.gamma(3, 12, clips).astype(np.float32),
        "width": rng.choice([1920, 1280, 640], clips).astype(np.int32),
    }


def _write_part(
    corpus: Corpus,
    part: int,
    rows: np.ndarray,
    truth: np.ndarray,
    exact: np.ndarray,
    hashes: np.ndarray,
    base: dict[str, np.ndarray],
    vectors: np.ndarray | None,
    rng: np.random.Generator,
) -> None:
    origin = truth[rows]
    clip = [f"c{row * 2_654_435_761 % 2**64:016x}{row:015x}" for row in rows.tolist()]
    source = [f"s{row:031x}" for row in rows.tolist()]
    content = np.where(exact[rows], origin, rows)
    width = base["width"][rows]
    duration = base["duration_s"][origin]
    known: dict[str, Any] = {
        "clip_id": clip,
        "source_id": source,
        "duration_s": duration,
        "brightness": base["brightness"][origin] + rng.normal(0, 0.005, len(rows)),
        "colourfulness": base["colourfulness"][origin] * rng.normal(1, 0.02, len(rows)),
        "width": width,
        "height": width * 9 // 16,
        "start_frame": np.zeros(len(rows), np.int64),
        "end_frame": np.round(duration * 25).astype(np.int64),
        "sharpness": rng.random(len(rows)),
        **{name: hashes[rows, i] for i, name in enumerate(looks.HASHES)},
    }
    corpus.store.commit_table(corpus.path("clips", part), _filled(CLIPS.arrow, known, len(rows)))
    known = {"source_id": source, "sha256": [f"{c:064x}" for c in content.tolist()]}
    corpus.store.commit_table(corpus.path("sources", part), _filled(SOURCES.arrow, known, len(rows)))
    if vectors is not None:
        mine = vectors[origin] + 0.15 * rng.standard_normal((len(rows), vectors.shape[1])).astype(np.float32)
        mine /= np.linalg.norm(mine, axis=1, keepdims=True)
        ends = np.arange(0, mine.size + 1, mine.shape[1], dtype=np.int32)
        column = pa.ListArray.from_arrays(pa.array(ends), pa.array(mine.ravel()))
        known = {"clip_id": clip, "embedding": column}
        table = _filled(EMBEDDINGS.arrow, known, len(rows))
        corpus.store.commit_table(corpus.path("embeddings", part, "default"), table)


def _filled(schema: pa.Schema, known: dict[str, Any], rows: int) -> pa.Table:
    """The known columns, and nothing in the others."""

    def column(field: pa.Field) -> pa.Array:
        if field.name in known:
            given = known[field.name]
            return given.cast(field.type) if isinstance(given, pa.Array) else pa.array(given, field.type)
        if field.nullable:
            return pa.nulls(rows, field.type)
        return pa.array(
            [
                0
                if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
                else []
                if pa.types.is_list(field.type)
                else ""
            ]
            * rows,
            field.type,
        )

    return pa.table([column(field) for field in schema], schema=schema)


class _NoStills(Proof):
    def same(self, worse: np.ndarray, better: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        return np.ones(len(worse), bool)


def _task(context: Context, step: str, unit: int) -> int:
    """One unit of one step in a child; its peak memory in bytes."""
    dedup.Proof = _NoStills  # type: ignore[misc]
    (dedup.look if step == "look" else dedup.search)(Worker(context, lambda event: None), unit)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def scale(clips: int, width: int) -> dict[str, float]:
    """Search a random corpus of that size with two processes; what it cost and found."""
    with tempfile.TemporaryDirectory() as folder:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:  # so that its memory is not counted
            truth = pool.submit(random_corpus, Path(folder) / "corpus", clips, width).result()
        corpus = Corpus.open(Path(folder) / "corpus")
        off = [] if width else ["features.embeddings.enabled=false"]
        more = ["dedup.semantic.enabled=true", "dedup.near.enabled=false"] if width else []
        recipe = load_recipe(None, ("select.rules=[]", "features.text.enabled=false", *off, *more))
        settings = recipe.dedup.model_dump(mode="json", exclude={"enabled"}) | {"rules": []}
        made = {"duplicates": variants.prepare(corpus, "duplicates", "default", settings, {})}
        if width:
            made["embeddings"] = variants.prepare(corpus, "embeddings", "default", {}, {})
        context = Context(corpus.store.uri, "benchmark", 2, recipe, made)
        began, peak = time.monotonic(), 0
        notes: list[dict[str, Any]] = []
        steps: dict[str, float] = {}
        with ProcessPoolExecutor(2, mp_context=spawn) as pool:
            group = dedup.prepare(corpus, made)
            assert group is not None
            steps["cells"] = time.monotonic() - began
            for step, missing in (("look", dedup.looks_missing), ("search", dedup.tasks_missing)):
                at = time.monotonic()
                units = missing(corpus, made["duplicates"], group)
                peak = max([peak, *pool.map(_task, *zip(*((context, step, u) for u in units), strict=True))])
                steps[step] = time.monotonic() - at
            at = time.monotonic()
            dedup.finish(corpus, made["duplicates"], group, notes.append)
            steps["finish"] = time.monotonic() - at
        seconds = time.monotonic() - began
        print(notes[-1]["text"], {k: round(v, 1) for k, v in steps.items()}, flush=True)
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {
            "clips": clips,
            "seconds": seconds,
            "child_mb": peak / 1e6,
            "driver_mb": own / 1e6,
            **_judge(corpus, truth),
        }


def _judge(corpus: Corpus, truth: np.ndarray) -> dict[str, float]:
    """Of the planted copies, how many share a cluster with their original; and how many clips are with strangers."""
    cluster: list[str | None] = []
    for part in corpus.parts():
        cluster += (
            corpus.read("duplicates", part, "default", ["duplicate_cluster"]).column("duplicate_cluster").to_pylist()
        )
    of = {c: i for i, c in enumerate(f"c{row * 2_654_435_761 % 2**64:016x}{row:015x}" for row in range(len(truth)))}
    head = np.array([of[c] if c else i for i, c in enumerate(cluster)])
    copies = np.flatnonzero(truth != np.arange(len(truth)))
    wrong = int((truth[head] != truth).sum())
    return {
        "planted": len(copies),
        "recall": float((head[copies] == head[truth[copies]]).mean()),
        "wrong": wrong,
        "largest": max(Counter(c for c in cluster if c).values(), default=1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", type=int, default=30, help="golden originals to copy")
    parser.add_argument("--videos", type=Path, help="folder of real videos")
    parser.add_argument("--folder", type=Path, help="keep the copies here")
    parser.add_argument("--clips", type=int, nargs="+", help="sizes of random corpora to search")
    parser.add_argument("--semantic", type=int, default=0, metavar="WIDTH", help="with vectors of that many numbers")
    args = parser.parse_args()
    quiet_decoder()
    if args.clips:
        found = [scale(clips, args.semantic) for clips in args.clips]
        for row in found:
            print({k: round(v, 4) for k, v in row.items()})
        if len(found) > 1:
            growth = log(found[-1]["seconds"] / found[0]["seconds"]) / log(found[-1]["clips"] / found[0]["clips"])
            print(f"time grows as clips to the power of {growth:.2f}")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch) / "copies"
        make_copies(folder, args.golden, args.videos)
        recall(*_duplicates(*scanned(folder, Path(scratch) / "corpus")))
        distinct = args.folder.with_name("distinct") if args.folder else Path(scratch) / "distinct"
        write_golden(distinct, ("demo", "shots"))
        make_distinct(distinct, args.golden)
        for path in sorted(args.videos.iterdir()) if args.videos else []:
            link = distinct / f"real_{path.name}"
            if path.is_file() and path.suffix not in (".json", ".md") and not link.exists():
                link.symlink_to(path.resolve())
        mistakes(*_duplicates(*scanned(distinct, Path(scratch) / "corpus_distinct")))


def _duplicates(corpus: Corpus, made: dict[str, variants.Variant]) -> tuple[Corpus, variants.Variant]:
    return corpus, made["duplicates"]


if __name__ == "__main__":
    main()
