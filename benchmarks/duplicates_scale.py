"""What a search among a million clips costs, on tables of random clips with planted copies, without video. Part of `benchmarks/duplicates.py`.

There are no stills, so every pair that hashes and facts propose counts as proven: false merges are those before the proof.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curation import variants
from curation.corpus import Corpus
from curation.duplicates import looks
from pipelines.context import Context, Worker
from pipelines.recipe_files import load_recipe
from pipelines.stages import dedup
from pipelines.stages.dedup_proof import Proof
from schemas.tables import CLIPS, EMBEDDINGS, SOURCES

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


def run(sizes: list[int], width: int) -> None:
    """Search random corpora of these sizes, with vectors of ``width`` numbers unless that is 0, and print what it took."""
    found = [scale(clips, width) for clips in sizes]
    for row in found:
        print({k: round(v, 4) for k, v in row.items()})
    if len(found) > 1:
        growth = log(found[-1]["seconds"] / found[0]["seconds"]) / log(found[-1]["clips"] / found[0]["clips"])
        print(f"time grows as clips to the power of {growth:.2f}")
