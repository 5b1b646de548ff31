"""Files that are whole or not there at all, on a local disk or an object store.

A file's existence is its commit: content is written aside, made durable, then renamed (local) or sent as one upload (object store).
No stream is ever left open on the final name, so an exception cannot close a half file into a valid object.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from schemas.errors import StorageError, UsageError

_HINTS = {
    errno.ENOSPC: "The disk is full: free some space, then run the same command again; everything finished is kept.",
    errno.EDQUOT: "The disk quota is used up: free some space, then run the same command again; everything finished is kept.",
    errno.EACCES: "This user may not write there: choose another folder or change its permissions, then run the same command again.",
    errno.EPERM: "This user may not write there: choose another folder or change its permissions, then run the same command again.",
    errno.EROFS: "The file system is read-only: choose another folder, then run the same command again.",
    errno.ENOTDIR: "A part of the path is a file, not a folder: choose another path.",
    errno.ENAMETOOLONG: "The path is too long for this file system: choose a shorter one.",
}


@contextlib.contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn an ``OSError`` into a :class:`StorageError` that names the thing, the cause and the fix."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).rstrip(".")
        fix = _HINTS.get(
            error.errno or 0,
            "Check the path and the storage, then run the same command again; everything finished is kept.",
        )
        raise StorageError(f"{what} failed: {reason}.", fix=fix) from error


def is_uri(text: str) -> bool:
    """Whether the text names an object store or another remote file system."""
    return "://" in text and not text.startswith("file://")


class Store:
    """A folder on a file system. Paths are relative, with forward slashes.

    ``local`` is the folder's real path on a local disk, else None.
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self.uri = os.fspath(uri)
        if is_uri(self.uri):
            try:
                base, self._root = pafs.FileSystem.from_uri(self.uri)
            except (pa.ArrowInvalid, OSError) as error:
                raise UsageError(
                    f"`{self.uri}` is not a storage address that can be used: {error}.",
                    fix="Give a folder, or an address such as s3://bucket/folder.",
                ) from None
            self.local: Path | None = None
            self.fs: pafs.FileSystem = base
        else:
            self.local = Path(self.uri.removeprefix("file://")).absolute()
            self.uri = str(self.local)
            self.fs, self._root = pafs.LocalFileSystem(), str(self.local)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Store, (self.uri,))

    def full(self, path: str) -> str:
        """The path as the underlying file system knows it."""
        return f"{self._root}/{path}" if path else self._root

    def exists(self, path: str) -> bool:
        with storage_errors(f"Looking for `{self.uri}/{path}`"):
            return bool(self.fs.get_file_info(self.full(path)).type != pafs.FileType.NotFound)

    def size(self, path: str) -> int:
        with storage_errors(f"Looking for `{self.uri}/{path}`"):
            return int(self.fs.get_file_info(self.full(path)).size or 0)

    def names(self, folder: str) -> list[str]:
        """Sorted names directly below a folder; empty when the folder is not there."""
        selector = pafs.FileSelector(self.full(folder), allow_not_found=True)
        with storage_errors(f"Listing `{self.uri}/{folder}`"):
            return sorted(info.base_name for info in self.fs.get_file_info(selector))

    def read_bytes(self, path: str) -> bytes:
        with storage_errors(f"Reading `{self.uri}/{path}`"), self.fs.open_input_file(self.full(path)) as handle:
            return bytes(handle.read())

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        with storage_errors(f"Reading `{self.uri}/{path}`"), self.fs.open_input_file(self.full(path)) as handle:
            return bytes(handle.read_at(size, offset))

    def commit_bytes(self, path: str, data: bytes) -> None:
        """Create or replace a file in one step."""
        with storage_errors(f"Writing `{self.uri}/{path}`"):
            if self.local is None:
                self._upload(path, data)
                return
            target = self.local / path
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch = self._aside()
            try:
                with scratch.open("wb") as handle:
                    handle.write(data)
                    handle.flush()
                    os.fsync(handle.fileno())
                scratch.replace(target)
            finally:
                scratch.unlink(missing_ok=True)
            sync_folder(target.parent)

    def commit_file(self, path: str, source: Path) -> None:
        """Move a finished local file to its place in one step (``source`` is gone afterwards)."""
        with storage_errors(f"Writing `{self.uri}/{path}`"):
            if self.local is None:
                # A stream that breaks half-way may still be closed into an object: only a whole one gets the final name.
                aside_path = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
                with self.fs.open_output_stream(self.full(aside_path)) as out, source.open("rb") as handle:
                    shutil.copyfileobj(handle, out, 1 << 20)
                if self.size(aside_path) != source.stat().st_size:
                    raise OSError(errno.EIO, "the upload is shorter than the file")
                self.fs.move(self.full(aside_path), self.full(path))
                source.unlink()
                return
            target = self.local / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as handle:
                os.fsync(handle.fileno())
            try:
                source.replace(target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                aside = self._aside()
                shutil.copyfile(source, aside)
                with aside.open("rb") as handle:
                    os.fsync(handle.fileno())
                aside.replace(target)
                source.unlink()
            sync_folder(target.parent)

    def _aside(self) -> Path:
        """A name for a file that is being written, out of the way of readers: a killed run may leave it behind."""
        return self.scratch("commit") / f"{uuid.uuid4().hex}.tmp"

    def clear_scratch(self, *names: str) -> None:
        """Delete unfinished work below these names. Only for the writer of the corpus, when nothing is left to finish there."""
        shutil.rmtree(self.scratch(*names), ignore_errors=True)
        if self.local is not None:
            with contextlib.suppress(OSError):  # other work waits there
                (self.local / ".scratch").rmdir()

    def _upload(self, path: str, data: bytes) -> None:
        # Object stores publish an object when its upload is closed; all bytes are at hand here, so nothing can fail between.
        with self.fs.open_output_stream(self.full(path)) as out:
            out.write(data)

    def commit_table(self, path: str, table: pa.Table) -> None:
        """Write a parquet file in one step. The same rows give the same bytes."""
        sink = pa.BufferOutputStream()
        # Row groups of fixed length, so that the bytes do not depend on how the table was put together.
        pq.write_table(table.combine_chunks(), sink, compression="zstd", row_group_size=65536, store_schema=True)
        self.commit_bytes(path, sink.getvalue().to_pybytes())

    def read_table(
        self, path: str, columns: list[str] | None = None, filters: list[tuple[str, str, Any]] | None = None
    ) -> pa.Table:
        """A parquet file's rows; with ``filters`` only those that fit, read without the rest.

        Raises:
            StorageError: the file cannot be read, or is damaged.
            KeyError: it has no such column.
        """
        with storage_errors(f"Reading `{self.uri}/{path}`"):
            try:
                lacking = set(columns or ()) - set(pq.read_schema(self.full(path), filesystem=self.fs).names)
                if not lacking:
                    return pq.read_table(
                        self.full(path), filesystem=self.fs, columns=columns, partitioning=None, filters=filters
                    )
            except pa.ArrowInvalid as error:
                raise StorageError(
                    f"`{self.uri}/{path}` is not a readable parquet file ({str(error).splitlines()[0]}).",
                    fix="It was changed or damaged after it was written: delete it and run the same command again to make it anew.",
                ) from None
        raise KeyError(f"{path} has no column {', '.join(sorted(lacking))}")

    def remove(self, path: str) -> None:
        """Delete a file or folder; no error when it is not there."""
        with storage_errors(f"Deleting `{self.uri}/{path}`"):
            info = self.fs.get_file_info(self.full(path))
            if info.type == pafs.FileType.Directory:
                self.fs.delete_dir(self.full(path))
            elif info.type == pafs.FileType.File:
                self.fs.delete_file(self.full(path))

    def move(self, old: str, new: str) -> None:
        """Rename a file or folder. Atomic on a local disk; on an object store a copy and a delete per object."""
        with storage_errors(f"Renaming `{self.uri}/{old}`"):
            if self.local is not None:
                (self.local / old).rename(self.local / new)
                sync_folder((self.local / new).parent)
            else:
                self.fs.move(self.full(old), self.full(new))

    def scratch(self, *names: str) -> Path:
        """A local folder for unfinished work, the same for the same names, so that a later run finds what an earlier one left."""
        if self.local is not None:
            base = self.local / ".scratch"
        else:
            base = (
                Path(os.environ.get("STIV_SCRATCH", tempfile.gettempdir()))
                / "stiv"
                / uuid.uuid5(uuid.NAMESPACE_URL, self.uri).hex
            )
        folder = base.joinpath(*names)
        with storage_errors(f"Creating `{folder}`"):
            folder.mkdir(parents=True, exist_ok=True)
        return folder


def sync_folder(folder: Path) -> None:
    """Make a rename durable: the directory entry is data of the folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
