"""Clips that are cut already: those of an unfinished shard, and those in shards of other variants made with the same settings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from curation.corpus import Corpus
from curation.cutting import CutResult
from curation.storage import storage_errors
from schemas.ids import fingerprint
from schemas.recipe import Export

CUT_VERSION = 3
"""Raised when the same settings would cut other bytes."""
CUT_COLUMNS = tuple(field.name for field in fields(CutResult))
"""Columns of a shard's index that hold what came of a cut. A clip that is taken over keeps what its cut cost: the bytes of an index
do not depend on what was there before."""


def cut_settings(settings: Export) -> dict[str, Any]:
    """The settings on which a clip's bytes depend (not how clips are packed)."""
    return {**settings.model_dump(mode="json", exclude={"shard_mb", "shard_samples"}), "version": CUT_VERSION}


def mp4_path(folder: Path, clip_id: str) -> Path:
    return folder / f"{clip_id}.mp4"


def note_finished(folder: Path, clip_id: str, result: CutResult) -> None:
    """Say that a clip's .mp4 is whole, with its size and checksum. This note appears last and in one step."""
    data = mp4_path(folder, clip_id).read_bytes()
    facts = {"result": asdict(result), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    note = folder / f"{clip_id}.json"
    scratch = note.with_suffix(".json.tmp")
    scratch.write_text(json.dumps(facts), encoding="utf-8")
    scratch.replace(note)


def read_finished(folder: Path, clip_id: str) -> tuple[CutResult, str] | None:
    """What is in a finished clip and its sha256, or None when it is not there whole (a power failure may cut files short)."""
    try:
        facts = json.loads((folder / f"{clip_id}.json").read_text(encoding="utf-8"))
        size = mp4_path(folder, clip_id).stat().st_size
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return (CutResult(**facts["result"]), facts["sha256"]) if facts["bytes"] == size else None


def forget_finished(folder: Path, clip_id: str) -> None:
    """Delete a clip's .mp4 and note, when it is in a shard."""
    (folder / f"{clip_id}.json").unlink(missing_ok=True)
    mp4_path(folder, clip_id).unlink(missing_ok=True)


def find_finished(corpus: Corpus, wanted: set[str], settings: Export, folder: Path, barless: set[str]) -> int:
    """Lay finished .mp4 files of wanted clips into ``folder``, with their notes, and say how many were found.

    Any shards variant with the same settings for cutting may have them; for the ``barless`` clips, in which nothing is to be
    cut off, ``crop_bars`` makes no difference. Byte ranges come from the variant's index and are checked against its sha256; what
    does not fit is cut anew.
    """
    missing = {c for c in wanted if read_finished(folder, c) is None}
    mine, swapped = (
        fingerprint(cut_settings(settings.model_copy(update={"crop_bars": crop})))
        for crop in (settings.crop_bars, not settings.crop_bars)
    )
    found = 0
    for name in corpus.store.names("shards"):
        path = f"shards/{name}"
        if not missing or name.startswith(".old-") or not corpus.store.exists(f"{path}/variant.json"):
            continue
        other = json.loads(corpus.store.read_bytes(f"{path}/variant.json"))
        alike = fingerprint(cut_settings(Export.model_validate(other["settings"])))
        takable = missing if alike == mine else missing & barless if alike == swapped else set()
        for row in _index_rows(corpus, path, takable):
            data = corpus.store.read_range(f"{path}/{row['shard']}.tar", row["byte_offset"], row["byte_size"])
            if hashlib.sha256(data).hexdigest() != row["sha256"]:
                continue
            with storage_errors(f"Writing to `{folder}`"):
                mp4_path(folder, row["clip_id"]).write_bytes(data)
                note_finished(folder, row["clip_id"], CutResult(**{k: row[k] for k in CUT_COLUMNS}))
            missing.discard(row["clip_id"])
            found += 1
    return found


def _index_rows(corpus: Corpus, path: str, wanted: set[str]) -> list[dict[str, Any]]:
    """Rows of a variant's finished shards that hold wanted clips. The plan tells which shards to open."""
    if not wanted or not corpus.store.exists(f"{path}/plan.parquet"):
        return []
    some = ("clip_id", "in", wanted)
    plan = corpus.store.read_table(f"{path}/plan.parquet", columns=["shard"], filters=[some])
    shards = set(plan["shard"].to_pylist())
    rows: list[dict[str, Any]] = []
    for shard in sorted(shards):
        if corpus.store.exists(f"{path}/{shard}.parquet"):
            rows += [
                r for r in corpus.store.read_table(f"{path}/{shard}.parquet").to_pylist() if r["clip_id"] in wanted
            ]
    return rows
