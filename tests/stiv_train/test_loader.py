"""The loader: the same batches however many processes make them; damage said; nothing left behind."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch
import webdataset

from curation.corpus import Corpus
from curation.storage import Store
from schemas.errors import StivError, StorageError
from schemas.train_recipe import Bucket, Data, Train, TrainRecipe
from stiv_train.data import loader as loader_module
from stiv_train.data import reading, worker_process
from stiv_train.data.batch import Batch
from stiv_train.data.loader import Loader, load_rows, make_loader
from stiv_train.data.plan import DataPlan, build_plan
from stiv_train.data.reading import ShardReader

BATCH = 5
Making = Callable[..., list[Batch]]

RECIPE = TrainRecipe(
    data=Data(
        buckets=(Bucket(frames=4, height=32, width=16),), stride=2, crop="random", validation_share=0.1, prefetch=2
    ),
    train=Train(batch=BATCH, seed=3),
)


@pytest.fixture(scope="module")
def plan(shapes_corpus: Corpus) -> DataPlan:
    return build_plan(shapes_corpus, RECIPE)


@pytest.fixture
def making(plan: DataPlan, shapes_corpus: Corpus) -> Iterator[Making]:
    """Make batches of some steps, closing the loader in any case."""
    opened: list[Loader] = []

    def make(start: int = 0, stop: int = 6, *, corpus: Corpus = shapes_corpus, **options: int) -> list[Batch]:
        opened.append(make_loader(plan, corpus, RECIPE, start_step=start, stop_step=stop, **{"workers": 0, **options}))
        return list(opened[-1])

    yield make
    for loader in opened:
        loader.close()


@pytest.fixture(scope="module")
def usual(plan: DataPlan, shapes_corpus: Corpus) -> list[Batch]:
    """Six steps, made in this process."""
    with make_loader(plan, shapes_corpus, RECIPE, start_step=0, stop_step=6, workers=0) as loader:
        return list(loader)


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        (x.step, x.epoch, x.bucket, x.planned, x.clip_ids, x.captions, x.broken)
        == (y.step, y.epoch, y.bucket, y.planned, y.clip_ids, y.captions, y.broken)
        and all(np.array_equal(getattr(x, n), getattr(y, n)) for n in ("positions", "rows", "pixels", "micro"))
        for x, y in zip(a, b, strict=True)
    )


def copy_of(corpus: Corpus, folder: Path) -> Corpus:
    shutil.copytree(corpus.store.uri, folder)
    return Corpus.open(folder)


def overwrite(corpus: Corpus, plan: DataPlan, row: int) -> None:
    """Put rubbish over the second half of a clip's bytes."""
    facts = plan.at(np.array([row]), ["shard", "byte_offset", "byte_size"]).to_pylist()[0]
    with open(Path(corpus.store.uri, "shards", "default", f"{facts['shard']}.tar"), "rb+") as tar:
        tar.seek(facts["byte_offset"] + facts["byte_size"] // 2)
        tar.write(np.random.default_rng(0).bytes(facts["byte_size"] // 2))


def test_batches_hold_what_the_plan_says(usual: list[Batch], plan: DataPlan) -> None:
    assert [batch.step for batch in usual] == list(range(6))
    for batch in usual:
        assert batch.pixels.shape == (BATCH, 4, 32, 16, 3)
        assert batch.pixels.dtype == np.uint8
        assert batch.positions.tolist() == list(range(BATCH))
        rows = plan.at(batch.rows, ["clip_id", "caption", "validation", "height", "width"]).to_pylist()
        assert [r["clip_id"] for r in rows] == batch.clip_ids
        assert [r["caption"] for r in rows] == batch.captions
        assert not any(r["validation"] for r in rows)
        assert batch.micro.dtype == np.float32
        assert batch.micro[:, :2].tolist() == [[r["height"], r["width"]] for r in rows]
        assert (batch.micro[:, 2] == 0).all()
        assert ((batch.micro[:, 3] >= 0) & (batch.micro[:, 3] <= 64)).all()  # 128 × 128 covers 32 × 16 at a quarter
        assert (batch.micro[:, 4:] == (2, 4)).all()
    assert len({float(m[3]) for batch in usual for m in batch.micro}) > 10  # random crops
    trained = plan.table.num_rows - sum(plan.table["validation"].to_pylist())
    rows = np.concatenate([batch.rows for batch in usual])
    assert sorted(rows[:trained].tolist()) == sorted(
        set(rows.tolist())
    )  # an epoch ends within a batch; nothing is dropped


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(workers: int, making: Making, usual: list[Batch]) -> None:
    assert same(making(workers=workers), usual)


def test_workers_are_forked_only_where_that_is_safe(shapes_corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    store = shapes_corpus.store
    monkeypatch.setattr(worker_process.sys, "platform", "linux")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    assert worker_process.start_method(store) == "fork"
    assert worker_process.start_method(SimpleNamespace(local=None)) == "spawn"  # type: ignore[arg-type]
    with monkeypatch.context() as inner:
        inner.setattr(torch.cuda, "is_initialized", lambda: True)
        assert worker_process.start_method(store) == "spawn"
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    assert worker_process.start_method(store) == "spawn"


@pytest.mark.slow
def test_spawned_workers_change_nothing(making: Making, usual: list[Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "start_method", lambda _: "spawn")
    assert same(making(workers=2), usual)


def test_processes_share_a_batch(making: Making, usual: list[Batch]) -> None:
    for world in (2, 3):
        ranks = [making(rank=rank, world=world) for rank in range(world)]
        for whole, *parts in zip(usual, *ranks, strict=True):
            for name in ("positions", "rows", "pixels", "micro"):
                assert np.array_equal(np.concatenate([getattr(p, name) for p in parts]), getattr(whole, name)), name
            assert all(part.planned == BATCH for part in parts)
    nothing = making(rank=5, world=6, workers=1)  # one of six has no share in a batch of five
    assert [len(batch.rows) for batch in nothing] == [1] * 6
    assert [len(batch.rows) for batch in making(rank=0, world=6, workers=1)] == [0] * 6


def test_resumed_is_the_same_as_straight(making: Making, usual: list[Batch]) -> None:
    assert same(making(4, 6, workers=1), usual[4:])


def test_seed_and_visit_draw_start_and_crop(making: Making, usual: list[Batch]) -> None:
    assert not same(making(seed=4), usual)
    shown: dict[int, list[bytes]] = {}
    for batch in usual:
        for row, pixels in zip(batch.rows.tolist(), batch.pixels, strict=True):
            shown.setdefault(row, []).append(pixels.tobytes())
    assert any(len(set(seen)) > 1 for seen in shown.values())


def test_random_numbers_of_the_model_are_not_touched(making: Making) -> None:
    before = torch.random.get_rng_state()
    making(workers=1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_plain_webdataset_reads_the_same_clips_and_captions(plan: DataPlan, shapes_corpus: Corpus) -> None:
    reader = ShardReader(shapes_corpus.store, loader_module.need(shapes_corpus, "shards", "default"))
    rows = {row["shard_key"]: row for row in plan.table.to_pylist()}
    tars = sorted(str(path) for path in Path(shapes_corpus.store.uri, "shards", "default").glob("*.tar"))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))
    assert {sample["__key__"] for sample in samples} == rows.keys()
    for sample in samples:
        row = rows[sample["__key__"]]
        assert sample["mp4"] == reader.read(row["shard"], row["byte_offset"], row["byte_size"])
        assert sample["txt"].decode() == row["caption"]
        assert json.loads(sample["json"])["clip_id"] == row["clip_id"]
    reader.close()


def test_tars_on_object_storage_are_read_alike_and_few_stay_open(
    plan: DataPlan, shapes_corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_OPEN", 2)
    variant = loader_module.need(shapes_corpus, "shards", "default")
    near, far = (ShardReader(Store(shapes_corpus.store.uri), variant) for _ in range(2))
    far.store.local = None  # then it goes through pyarrow.fs, as to any object store
    for row in plan.table.to_pylist()[::-1]:
        place = (row["shard"], row["byte_offset"], row["byte_size"])
        assert near.read(*place) == far.read(*place)
        assert max(len(near._open), len(far._open)) <= 2
    for reader in (near, far):
        with pytest.raises(StorageError, match=r"999999\.tar` is not there"):
            reader.read("999999", 0, 1)
        with pytest.raises(StorageError, match="cut short"):
            reader.read("000000", 1 << 40, 1)
        reader.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_sample_is_listed_and_the_others_come(
    workers: int, making: Making, usual: list[Batch], plan: DataPlan, shapes_corpus: Corpus, tmp_path: Path
) -> None:
    corpus = copy_of(shapes_corpus, tmp_path / "corpus")
    row = int(usual[1].rows[2])
    overwrite(corpus, plan, row)
    found = making(corpus=corpus, workers=workers)
    for batch, whole in zip(found, usual, strict=True):
        kept = whole.rows != row
        assert np.array_equal(batch.rows, whole.rows[kept])
        assert np.array_equal(batch.positions, whole.positions[kept])
        assert np.array_equal(batch.pixels, whole.pixels[kept])
        assert np.array_equal(batch.micro, whole.micro[kept])
        for name in ("captions", "clip_ids"):
            assert getattr(batch, name) == [v for v, keep in zip(getattr(whole, name), kept, strict=True) if keep]
        assert batch.planned == BATCH
        assert [b.row for b in batch.broken] == [row] * int((~kept).sum())
    (broken,) = found[1].broken
    facts = plan.at(np.array([row])).to_pylist()[0]
    assert (broken.clip_id, broken.shard) == (facts["clip_id"], facts["shard"])
    assert "bytes have changed on disk since the export" in broken.error


def test_bytes_as_exported_that_do_not_decode_are_told_apart(
    making: Making, usual: list[Batch], plan: DataPlan, shapes_corpus: Corpus, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    corpus = copy_of(shapes_corpus, tmp_path / "corpus")
    row = plan.at(usual[0].rows[:1]).to_pylist()[0]
    with open(tmp_path / "corpus" / "shards" / "default" / f"{row['shard']}.tar", "rb+") as tar:
        tar.seek(row["byte_offset"])
        tar.write(bytes(row["byte_size"]))
    zeros = hashlib.sha256(bytes(row["byte_size"])).hexdigest()
    monkeypatch.setattr(ShardReader, "sha256", lambda *_: zeros)
    (broken,) = making(0, 1, corpus=corpus)[0].broken
    assert broken.clip_id == row["clip_id"]
    assert "does not decode" in broken.error
    assert "changed" not in broken.error


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("harm", ["missing", "cut short"])
def test_a_missing_or_short_tar_stops_with_what_to_do(
    harm: str, workers: int, making: Making, shapes_corpus: Corpus, tmp_path: Path
) -> None:
    corpus = copy_of(shapes_corpus, tmp_path / "corpus")
    tar = tmp_path / "corpus" / "shards" / "default" / "000001.tar"
    if harm == "missing":
        tar.unlink()
    else:
        os.truncate(tar, 600)
    with pytest.raises(StorageError, match=r"shards/default/000001\.tar.*(not there|cut short)") as raised:
        making(corpus=corpus, workers=workers)
    assert "stiv export" in raised.value.fix
    assert not multiprocessing.active_children()


def test_workers_heed_only_their_parent_and_end_with_it(
    plan: DataPlan, shapes_corpus: Corpus, usual: list[Batch]
) -> None:
    with make_loader(plan, shapes_corpus, RECIPE, start_step=0, stop_step=6, workers=2) as loader:
        found = [next(loader)]
        children = multiprocessing.active_children()
        assert len(children) == 2
        for child in children:
            assert child.pid
            os.kill(child.pid, signal.SIGINT)
            os.kill(child.pid, signal.SIGTERM)
        found += list(loader)
        assert same(found, usual)
        assert loader.state() == {"step": 6, "plan": plan.hash, "seed": 3}
    assert not multiprocessing.active_children()
    loader.close()
    assert list(loader) == []


def test_closing_early_leaves_no_process(plan: DataPlan, shapes_corpus: Corpus) -> None:
    loader = make_loader(plan, shapes_corpus, RECIPE, start_step=0, stop_step=1000, workers=2)
    assert loader.state()["step"] == 0
    next(loader)
    assert loader.state()["step"] == 1
    assert loader.waited_s > 0
    loader.close()
    assert not multiprocessing.active_children()


@pytest.mark.slow  # torch looks after its workers every five seconds
def test_a_killed_worker_is_an_error_with_a_fix(plan: DataPlan, shapes_corpus: Corpus) -> None:
    with make_loader(plan, shapes_corpus, RECIPE, start_step=0, stop_step=100_000, workers=1) as loader:
        next(loader)
        (child,) = multiprocessing.active_children()
        child.kill()
        with pytest.raises(StivError, match=r"died.*data\.workers"):
            list(loader)
    assert not multiprocessing.active_children()


def test_workers_die_with_a_killed_parent(shapes_corpus: Corpus) -> None:
    script = f"""
import multiprocessing, os, signal
from curation.corpus import Corpus
from schemas.train_recipe import TrainRecipe
from stiv_train.data.loader import make_loader
from stiv_train.data.plan import build_plan
corpus = Corpus.open({str(shapes_corpus.store.uri)!r})
recipe = TrainRecipe.model_validate_json({RECIPE.model_dump_json()!r})
loader = make_loader(build_plan(corpus, recipe), corpus, recipe, start_step=0, stop_step=100000, workers=2)
next(loader)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    parent.wait()
    parent.stdout.close()
    assert len(pids) == 2
    left = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(left, timeout=20)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_chosen_rows_are_read_alike_each_time(plan: DataPlan, shapes_corpus: Corpus) -> None:
    first = load_rows(plan, shapes_corpus, RECIPE, [7, 2, 7], step=9)
    assert (first.step, first.bucket, first.planned, first.rows.tolist()) == (9, 0, 3, [7, 2, 7])
    assert first.positions.tolist() == [0, 1, 2]
    assert (first.micro[:, 2:4] == (0, 32)).all()
    assert np.array_equal(first.pixels[0], first.pixels[2])
    assert np.array_equal(first.pixels, load_rows(plan, shapes_corpus, RECIPE, np.array([7, 2, 7])).pixels)


def test_every_bucket_gives_its_own_shape(plan: DataPlan, shapes_corpus: Corpus) -> None:
    shapes = ((4, 32, 16), (1, 16, 24))
    buckets = [Bucket(frames=f, height=h, width=w, batch=n) for (f, h, w), n in zip(shapes, (2, 3), strict=True)]
    place = plan.table.schema.get_field_index("bucket")
    numbers = pa.array([n % 2 for n in range(plan.table.num_rows)], pa.int16())
    order = {**plan.facts["order"], "buckets": [bucket.model_dump() for bucket in buckets]}
    mixed = DataPlan(plan.table.set_column(place, "bucket", numbers), {**plan.facts, "order": order})
    with make_loader(mixed, shapes_corpus, RECIPE, start_step=0, stop_step=8, workers=1) as loader:
        batches = list(loader)
    assert {batch.bucket for batch in batches} == {0, 1}
    for batch in batches:
        assert batch.pixels.shape == (batch.planned, *shapes[batch.bucket], 3)
        assert batch.planned == (2, 3)[batch.bucket]
        assert (batch.rows % 2 == batch.bucket).all()
        assert (batch.micro[:, 5] == shapes[batch.bucket][0]).all()
    with pytest.raises(ValueError, match=r"rows of one bucket are needed, not of \[0, 1\]"):
        load_rows(mixed, shapes_corpus, RECIPE, [0, 1])


@pytest.mark.slow
def test_workers_do_not_grow(plan: DataPlan, shapes_corpus: Corpus) -> None:
    with make_loader(plan, shapes_corpus, RECIPE, start_step=0, stop_step=1500, workers=1) as loader:
        for step, _ in enumerate(loader):
            if step == 200:
                (child,) = multiprocessing.active_children()
                process = psutil.Process(child.pid)
                before = process.memory_full_info().uss
            if step == 1400:
                assert process.memory_full_info().uss - before < 4 << 20
                break
