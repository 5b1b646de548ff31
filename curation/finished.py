"""Finding clips that another shards variant has cut already with the same settings, so that they are copied, not cut again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from curation.corpus import Corpus
from curation.variants import Variant
from schemas.ids import fingerprint
from schemas.recipe import Export

CUT_VERSION = 1
"""Raised when the same settings would cut other bytes."""


def cut_settings(settings: Export) -> dict[str, Any]:
    """The settings on which a clip's bytes depend (not how clips are packed)."""
    return {**settings.model_dump(mode="json", exclude={"shard_mb", "shard_samples"}), "version": CUT_VERSION}


def find_finished(corpus: Corpus, variant: Variant, wanted: set[str], cut_fingerprint: str, folder: Path) -> int:
    """Lay finished .mp4 files of wanted clips into ``folder``, with their facts, and say how many were found.

    Byte ranges come from the other variant's index and are checked against its sha256; what does not fit is cut anew.
    """
    missing = {c for c in wanted if not (folder / f"{c}.json").exists()}
    found = 0
    for name in [n for n in corpus.store.names("shards") if n != variant.folder and not n.startswith(".old-")]:
        if not missing:
            break
        path = f"shards/{name}"
        if not corpus.store.exists(f"{path}/variant.json"):
            continue
        other = json.loads(corpus.store.read_bytes(f"{path}/variant.json"))
        if fingerprint(cut_settings(Export.model_validate(other["settings"]))) != cut_fingerprint:
            continue
        for row in _index_rows(corpus, path, missing):
            tar = f"{path}/{row['shard']}.tar"
            data = corpus.store.read_range(tar, row["byte_offset"], row["byte_size"])
            if hashlib.sha256(data).hexdigest() != row["sha256"]:
                continue
            (folder / f"{row['clip_id']}.mp4").write_bytes(data)
            facts = {k: row[k] for k in ("how", "start_frame", "end_frame", "num_frames", "width", "height", "fps")}
            (folder / f"{row['clip_id']}.json").write_text(json.dumps({**facts, "frames_decoded": 0}), encoding="utf-8")
            missing.discard(row["clip_id"])
            found += 1
    return found


def _index_rows(corpus: Corpus, path: str, wanted: set[str]) -> list[dict[str, Any]]:
    """Rows of a variant's finished shards that hold wanted clips. The plan tells which shards to open."""
    if not corpus.store.exists(f"{path}/plan.parquet"):
        return []
    plan = corpus.store.read_table(f"{path}/plan.parquet", columns=["shard", "clip_id"])
    shards = {s for s, c in zip(plan["shard"].to_pylist(), plan["clip_id"].to_pylist(), strict=True) if c in wanted}
    rows: list[dict[str, Any]] = []
    for shard in sorted(shards):
        if corpus.store.exists(f"{path}/{shard}.parquet"):
            rows += [
                r for r in corpus.store.read_table(f"{path}/{shard}.parquet").to_pylist() if r["clip_id"] in wanted
            ]
    return rows
