"""Shards: plain tars that any WebDataset reader reads, the same bytes each time, and byte ranges that hold the clips."""

from __future__ import annotations

import hashlib
import json
import random
import tarfile
from pathlib import Path

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.shards import Member, PlannedClip, Sample, estimate_bytes, plan_shards, verify_tar, write_tar
from schemas.errors import StorageError
from schemas.recipe import Export


def samples_in(folder: Path) -> list[Sample]:
    """Three samples: ordinary, without text, and with non-ASCII text and an empty clip."""
    folder.mkdir(exist_ok=True)
    contents = {"aa": random.Random(1).randbytes(70_000), "bb": b"x" * 512, "cc": b""}
    for key, data in contents.items():
        (folder / f"{key}.bin").write_bytes(data)
    return [
        Sample("aa", "clip-aa", folder / "aa.bin", "a cat\n", {"fps": 25.0, "clip_id": "clip-aa", "a": [1, None]}),
        Sample("bb", "clip-bb", folder / "bb.bin", None, {}),
        Sample("cc", "clip-cc", folder / "cc.bin", "une forêt 森", {"tags": {"b": 1, "a": "é"}}),
    ]


def test_webdataset_reads_what_was_written(tmp_path: Path) -> None:
    samples = samples_in(tmp_path / "clips")
    write_tar(samples, tmp_path / "000000.tar")
    read = list(webdataset.WebDataset(str(tmp_path / "000000.tar"), shardshuffle=False, empty_check=False))
    assert [sample["__key__"] for sample in read] == ["aa", "bb", "cc"]
    for sample, got in zip(samples, read, strict=True):
        assert got["mp4"] == sample.mp4.read_bytes()
        assert json.loads(got["json"]) == sample.meta
        assert got.get("txt", b"").decode() == (sample.text or "")
        assert ("txt" in got) == (sample.text is not None)


def test_ranges_of_the_tar_hold_the_clips(tmp_path: Path) -> None:
    samples = samples_in(tmp_path / "clips")
    members = write_tar(samples, tmp_path / "t.tar")
    data = (tmp_path / "t.tar").read_bytes()
    for sample, member in zip(samples, members, strict=True):
        content = sample.mp4.read_bytes()
        assert (member.key, member.clip_id, member.byte_size) == (sample.key, sample.clip_id, len(content))
        assert data[member.byte_offset : member.byte_offset + member.byte_size] == content
        assert member.sha256 == hashlib.sha256(content).hexdigest()
    verify_tar(tmp_path / "t.tar", members)


def test_nothing_in_a_tar_tells_when_where_or_by_whom_it_was_written(tmp_path: Path) -> None:
    for name in ("one", "two"):
        samples = samples_in(tmp_path / name)
        shuffled = [Sample(s.key, s.clip_id, s.mp4, s.text, dict(reversed(s.meta.items()))) for s in samples]
        write_tar(samples if name == "one" else shuffled, tmp_path / f"{name}.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as tar:
        infos = tar.getmembers()
    assert [info.name for info in infos] == [
        "aa.mp4",
        "aa.txt",
        "aa.json",
        "bb.mp4",
        "bb.json",
        "cc.mp4",
        "cc.txt",
        "cc.json",
    ]
    assert {(i.mtime, i.uid, i.gid, i.uname, i.gname, i.mode, i.type) for i in infos} == {
        (0, 0, 0, "", "", 0o644, b"0")
    }
    assert not any(info.pax_headers for info in infos)


@pytest.mark.parametrize("change", ["flip", "short"])
def test_a_damaged_tar_is_named_with_its_sample(change: str, tmp_path: Path) -> None:
    tar = tmp_path / "000007.tar"
    members = write_tar(samples_in(tmp_path / "clips"), tar)
    data = bytearray(tar.read_bytes())
    data[members[1].byte_offset + 100] ^= 1
    tar.write_bytes(data if change == "flip" else data[: members[1].byte_offset + 100])
    with pytest.raises(StorageError, match=r"000007\.tar.*`bb`"):
        verify_tar(tar, members)


@pytest.mark.parametrize("key", ["", "a.b", "a/b", "ü", "x" * 91])
def test_keys_that_webdataset_would_misread_are_refused(key: str, tmp_path: Path) -> None:
    sample = samples_in(tmp_path / "clips")[0]
    with pytest.raises(ValueError, match="cannot be the key"):
        write_tar([Sample(key, "c", sample.mp4, None, {})], tmp_path / "t.tar")
    assert not (tmp_path / "t.tar").exists()


def test_a_failure_leaves_no_tar(tmp_path: Path) -> None:
    samples = samples_in(tmp_path / "clips")
    out = tmp_path / "t.tar"
    with pytest.raises(StorageError, match="No such file"):
        write_tar([samples[0], Sample("dd", "d", tmp_path / "gone", None, {})], out)
    with pytest.raises(ValueError, match="Out of range float"):
        write_tar([Sample("dd", "d", samples[0].mp4, None, {"x": float("nan")})], out)
    with pytest.raises(ValueError, match="cannot be the key"):
        write_tar([samples[0], samples[0]], out)
    with pytest.raises(StorageError, match="No such file"):
        write_tar(samples, tmp_path / "nowhere" / "t.tar")
    assert not out.exists()


def test_a_missing_tar_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone\.tar"):
        verify_tar(tmp_path / "gone.tar", [Member("a", "a", 0, 1, "")])


CLIPS = st.lists(
    st.builds(PlannedClip, st.uuids().map(lambda u: u.hex), st.integers(0, 5), st.integers(0, 3_000_000)),
    max_size=60, unique_by=lambda clip: clip.clip_id,
)  # fmt: skip


@given(CLIPS, st.sampled_from([0.5, 2.0, 7.25]), st.integers(1, 40), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_a_plan_holds_every_clip_once_within_the_limits(
    clips: list[PlannedClip], shard_mb: float, shard_samples: int, order: random.Random
) -> None:
    plan = plan_shards(clips, shard_mb=shard_mb, shard_samples=shard_samples, first_shard=3)
    assert [name for name, _ in plan] == [f"{n:06d}" for n in range(3, 3 + len(plan))]
    assert sorted(clip_id for _, ids in plan for clip_id in ids) == sorted(clip.clip_id for clip in clips)
    by_id = {clip.clip_id: clip for clip in clips}
    before = -1
    for _, ids in plan:
        assert ids == sorted(ids)
        assert 1 <= len(ids) <= shard_samples
        sizes = [by_id[clip_id].est_bytes for clip_id in ids]
        assert sum(sizes) <= shard_mb * 1e6 + max(sizes)
        parts = [by_id[clip_id].part for clip_id in ids]
        assert min(parts) >= before
        before = max(parts)
    shuffled = list(clips)
    order.shuffle(shuffled)
    assert plan_shards(shuffled, shard_mb=shard_mb, shard_samples=shard_samples, first_shard=3) == plan


def test_shards_are_full_and_about_equal() -> None:
    rng = random.Random(5)
    clips = [
        PlannedClip(f"{rng.getrandbits(128):032x}", part, rng.randrange(2 * 10**6))
        for part in range(40)
        for _ in range(rng.randrange(30))
    ]
    total = sum(clip.est_bytes for clip in clips)
    plan = plan_shards(clips, shard_mb=50.0, shard_samples=10_000)
    size = {clip.clip_id: clip.est_bytes for clip in clips}
    sizes = [sum(size[clip_id] for clip_id in ids) for _, ids in plan]
    assert len(plan) == -(-total // 50_000_000)
    assert max(sizes) - min(sizes) < 0.1 * total / len(plan)
    by_count = plan_shards(clips, shard_mb=1e6, shard_samples=100)
    counts = [len(ids) for _, ids in by_count]
    assert len(counts) == -(-len(clips) // 100)
    assert max(counts) - min(counts) <= 1


def test_a_plan_of_nothing_is_empty() -> None:
    assert plan_shards([], shard_mb=1.0, shard_samples=1) == []


def test_size_estimates_follow_the_settings() -> None:
    base = estimate_bytes(1280, 720, 25, 10, Export())
    assert 1_500_000 < base < 3_000_000  # 0.07 bits per pixel
    assert estimate_bytes(3840, 2160, 25, 10, Export()) == base  # exported at 720p
    assert estimate_bytes(1280, 720, 25, 20, Export()) == pytest.approx(2 * base, rel=0.01)
    assert estimate_bytes(1280, 720, 25, 10, Export(crf=26)) == pytest.approx(base / 2, rel=0.01)
    assert estimate_bytes(640, 360, 25, 10, Export()) < base / 2
    assert estimate_bytes(1280, 720, 25, 10, Export(audio="keep")) == base + 160_000
