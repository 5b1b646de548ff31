"""`export.cut` and `export.crop_bars` through the main job: what is exported, what is listed as not cut, what the index says."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curation.golden.draw import texture, window
from curation.golden.encode import encode


def table(out: Path, pattern: str) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in sorted(out.glob(pattern))])


def test_copy_mode_leaves_out_what_cannot_be_copied(videos: Path, tmp_path: Path, run: Any, tree: Any) -> None:
    out = tmp_path / "corpus"
    _, counts = run(out, videos, settings=("export.cut=copy",))
    index, failed = table(out, "shards/default/00000?.parquet"), table(out, "shards/default/*.failed.parquet")
    clips = table(out, "clips/*.parquet")
    assert set(index["how"]) == {"copy"}
    assert set(failed["error_code"]) == {"cut_failed"}
    assert all("cannot be copied" in text for text in failed["error"])
    assert len(index) >= 1
    assert len(failed) >= 1
    assert sorted([*index["clip_id"], *failed["clip_id"]]) == sorted(clips["clip_id"])
    assert len(counts.failed_cuts) == len(failed)
    assert (counts.cut["copy"], counts.cut["failed"]) == (len(index), len(failed))
    before = tree(out)
    _, counts = run(out, settings=("export.cut=copy",), stages=("export",))
    assert not counts.cut, "what cannot be copied today cannot be copied tomorrow"
    assert tree(out) == before


def test_the_index_says_what_a_cut_decoded_also_of_clips_taken_over(
    videos: Path, tmp_path: Path, run: Any, tree: Any
) -> None:
    out = tmp_path / "corpus"
    run(out, videos)
    first = table(out, "shards/default/0*.parquet").set_index("clip_id")
    assert set(first["how"]) == {"copy", "encode"}
    encoded, copied = (first[first["how"] == how] for how in ("encode", "copy"))
    assert (encoded["frames_decoded"] >= encoded["num_frames"]).all()
    assert (copied["frames_decoded"] == 0).all(), "headers prove them"
    _, counts = run(out, settings=("export.shard_samples=2",), name="small", stages=("export",))
    again = table(out, "shards/small/0*.parquet").set_index("clip_id")
    assert counts.export_frames == 0, "nothing was cut again"
    assert again["frames_decoded"].to_dict() == first["frames_decoded"].to_dict()


def letterbox(bar: int, seed: int) -> Iterator[np.ndarray]:
    big = texture(320 + 100, 240 + 16, seed)
    for n in range(36):
        picture = window(big, 8 + 2 * n, 8, 320, 240).copy()
        picture[:bar] = picture[240 - bar :] = 0
        yield picture


def test_clips_without_bars_are_not_cut_again_for_crop_bars(tmp_path: Path, run: Any) -> None:
    (tmp_path / "in").mkdir()
    encode(letterbox(36, 9), tmp_path / "in" / "wide.mp4", 12, gop=12)
    encode(letterbox(0, 10), tmp_path / "in" / "plain.mp4", 12, gop=12)
    out, loose = tmp_path / "corpus", "select.too_small=off"
    run(out, tmp_path / "in", settings=(loose, "export.cut=encode"))
    _, counts = run(
        out,
        settings=(loose, "export.cut=encode", "export.crop_bars=true"),
        name="cropped",
        stages=("export",),
    )
    assert counts.export_frames == 36, "the clip with bars, and no other"
    first, cropped = (table(out, f"shards/{name}/0*.parquet").set_index("clip_id") for name in ("default", "cropped"))
    changed = first["sha256"] != cropped["sha256"]
    assert sorted(cropped["height"]) == [168, 240]
    assert (cropped["height"] == 168).to_dict() == changed.to_dict()


@pytest.mark.parametrize("crop", [True, False])
def test_bars_are_cut_off_where_the_recipe_says_so(crop: bool, tmp_path: Path, run: Any) -> None:
    (tmp_path / "in").mkdir()
    encode(letterbox(36, 9), tmp_path / "in" / "wide.mp4", 12, gop=12)
    out = tmp_path / "corpus"
    run(out, tmp_path / "in", settings=(f"export.crop_bars={str(crop).lower()}", "select.too_small=off"))
    clip = table(out, "clips/*.parquet").iloc[0]
    assert (clip["bar_top"], clip["bar_bottom"]) == (36, 36)
    row = table(out, "shards/default/0*.parquet").iloc[0]
    expected = ("encode", 320, 168) if crop else ("copy", 320, 240)
    assert (row["how"], row["width"], row["height"]) == expected
    with tarfile.open(next((out / "shards/default").glob("*.tar"))) as tar:
        member = tar.extractfile(f"{row['shard_key']}.json")
        assert member is not None
        facts = json.load(member)
    assert (facts["how"], facts["width"], facts["height"]) == expected


def test_a_fault_of_ours_in_one_clip_costs_that_clip_alone(
    tmp_path: Path, videos: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.stages import export

    real, failed = export._submit, []

    def submit(worker: Any, row: dict[str, Any], *more: Any) -> Any:
        if failed:
            return real(worker, row, *more)
        failed.append(row["clip_id"])
        future: Future[Any] = Future()
        future.set_exception(ValueError("a surprise"))
        return future

    monkeypatch.setattr(export, "_submit", submit)
    out = tmp_path / "c"
    _, counts = run(out, videos)
    lost = table(out, "shards/default/*.failed.parquet")
    assert list(lost["clip_id"]) == failed
    assert lost["error"][0] == "internal error: ValueError: a surprise"
    assert any("internal error" in note for note in counts.notes)
    _, counts = run(out, videos)
    assert not counts.failed_cuts
    assert set(failed) < set(table(out, "shards/default/00000?.parquet")["clip_id"])
