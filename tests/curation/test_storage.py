"""Files are whole or not there: commits, failures half-way, error texts."""

import errno
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from curation.storage import Store, storage_errors
from schemas.errors import StorageError, UsageError


def test_commit_replaces_in_one_step_and_leaves_no_scratch(tmp_path: Path) -> None:
    store = Store(tmp_path / "c")
    store.commit_bytes("a/b.bin", b"one")
    store.commit_bytes("a/b.bin", b"two")
    assert store.read_bytes("a/b.bin") == b"two"
    assert store.names("a") == ["b.bin"]


def test_failed_write_keeps_the_old_file_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.commit_bytes("x", b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("curation.storage.os.fsync", full)
    with pytest.raises(StorageError) as caught:
        store.commit_bytes("x", b"new")
    assert "No space left" in caught.value.message
    assert "free some space" in caught.value.fix
    assert caught.value.exit_code == 2
    assert store.read_bytes("x") == b"old"
    assert store.names("") == [".scratch", "x"]
    assert not list((tmp_path / ".scratch").rglob("*.tmp"))


def test_commit_file_moves_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "c")
    made = tmp_path / "made"
    made.write_bytes(b"tar")
    store.commit_file("shards/1.tar", made)
    assert store.read_bytes("shards/1.tar") == b"tar"
    assert not made.exists()


def test_same_rows_same_bytes_however_the_table_was_put_together(tmp_path: Path) -> None:
    store = Store(tmp_path)
    whole = pa.table({"a": [1, 2, 3, 4]})
    store.commit_table("one.parquet", whole)
    store.commit_table("two.parquet", pa.concat_tables([whole.slice(0, 1), whole.slice(1)]))
    assert store.read_bytes("one.parquet") == store.read_bytes("two.parquet")
    assert store.read_table("one.parquet").equals(whole)


def test_damaged_parquet_is_an_error_that_names_file_and_fix(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.commit_bytes("t.parquet", b"PAR1 nonsense PAR1")
    with pytest.raises(StorageError, match=r"t\.parquet"):
        store.read_table("t.parquet")


def test_remote_store_publishes_only_whole_objects(tmp_path: Path) -> None:
    """The path for object stores, over a local file system that stands for one."""
    store = Store(tmp_path / "c")
    store.local = None
    store.fs = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    store._root = "bucket"
    (tmp_path / "bucket").mkdir()
    made = tmp_path / "made"
    made.write_bytes(b"x" * 3_000_000)
    store.commit_file("big.tar", made)
    assert store.size("big.tar") == 3_000_000
    assert store.names("") == ["big.tar"]
    assert not made.exists()


def test_unknown_scheme_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="nosuch://"):
        Store("nosuch://bucket/x")


def test_storage_errors_name_thing_cause_and_fix() -> None:
    with pytest.raises(StorageError) as caught, storage_errors("Writing `x`"):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert str(caught.value).startswith("Writing `x` failed: Permission denied.")
    assert "choose another folder" in caught.value.fix
