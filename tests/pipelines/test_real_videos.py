"""The main job on the real videos and the broken ones, when they are beside this checkout."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import av
import pandas as pd
import pytest
import webdataset

VIDEOS = Path(__file__).parents[3] / "shared" / "videos"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VIDEOS.is_dir(), reason="the real videos are not beside this checkout"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, run: Any) -> Path:
    out = tmp_path_factory.mktemp("real") / "c"
    run(out, VIDEOS)
    return out


def test_every_file_is_one_row_and_good_ones_are_ok(corpus: Path) -> None:
    sources = pd.read_parquet(corpus / "sources" / "part-000000.parquet").set_index("rel_path")
    good = {v["file"] for v in json.loads((VIDEOS / "manifest.json").read_text())["videos"]}
    assert (sources.loc[sorted(good), "status"] == "ok").all()
    broken = sources[sources.index.str.startswith("bad/")]
    listed = [p for p in (VIDEOS / "bad").rglob("*") if p.is_file() and p.suffix not in (".json", ".txt")]
    assert len(broken) == len(listed)
    odd = broken[broken["status"] != "ok"]
    assert odd["error_code"].notna().all()
    assert odd["error"].str.len().gt(10).all()


def test_every_sample_decodes_to_what_the_index_says(corpus: Path) -> None:
    samples = 0
    for tar in sorted(corpus.glob("shards/default/*.tar")):
        index = pd.read_parquet(tar.with_suffix(".parquet")).set_index("shard_key")
        data = tar.read_bytes()
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False):
            row = index.loc[sample["__key__"]]
            assert data[row.byte_offset : row.byte_offset + row.byte_size] == sample["mp4"]
            assert hashlib.sha256(sample["mp4"]).hexdigest() == row.sha256
            with av.open(io.BytesIO(sample["mp4"])) as container:
                assert sum(1 for _ in container.decode(video=0)) == row.num_frames
            samples += 1
    assert samples == len(pd.concat([pd.read_parquet(p) for p in corpus.glob("shards/default/0*0.parquet")])) > 20


@pytest.mark.ray
def test_ray_makes_the_same_bytes_of_real_videos(corpus: Path, tmp_path: Path, run: Any, tree: Any) -> None:
    run(tmp_path / "c", VIDEOS, executor="ray")
    assert tree(tmp_path / "c") == tree(corpus)
