"""One clip to cut, as a job for a child process: may its source still be cut, then cut it and note what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from curation.child import sha256_of
from curation.cutting import ClipToCut, CutResult, cut_clip
from curation.finished import mp4_path, note_finished
from curation.frame_note import SUFFIX, FrameNote
from curation.listing import uri_to_path
from curation.opening import SourceFailure, quiet_decoder
from curation.spans import Ledger
from curation.storage import storage_errors
from schemas.errors import ErrorCode
from schemas.recipe import Export


@dataclass(frozen=True)
class CutJob:
    """One clip to cut. Everything in it can be sent to another process."""

    clip: ClipToCut
    settings: dict[str, Any]
    folder: str
    sha256: str | None
    mtime_ns: int | None
    """When the source was last changed, as listed."""
    size: int | None


class SourceChanged(SourceFailure):
    """The file at the source's address is not the one that was scanned."""

    def __init__(self, sha256: str) -> None:
        super().__init__(
            ErrorCode.CHANGED, "the source has changed since it was scanned: curate it again to have its new content"
        )
        self.sha256 = sha256
        """Of what is there now."""

    def __reduce__(self) -> tuple[object, ...]:
        return (SourceChanged, (self.sha256,))


def make_job(row: Mapping[str, Any], settings: Export, folder: Path) -> CutJob:
    """The job of a clip's wide row, which has ``mtime_ns`` of the listing too."""
    clip = ClipToCut(
        clip_id=row["clip_id"],
        path=uri_to_path(row["source_uri"]),
        stream_index=row["stream_index"],
        time_base=row["time_base"],
        start_pts=row["start_pts"],
        end_pts=row["end_pts"],
        start_frame=row["start_frame"],
        end_frame=row["end_frame"],
        start_s=row["start_s"],
        end_s=row["end_s"],
        rotation=row["source_rotation"],
        width=row["width"],
        height=row["height"],
        sample_aspect_ratio=row["source_sample_aspect_ratio"],
        pixel_format=row["source_pixel_format"],
        codec=row["source_codec"],
        faultless=not any(row[f"source_{n}"] for n in ("damaged_frames", "decode_errors", "timestamp_faults")),
        seekable=row["source_seekable"],
        bars=bars_of(row),
    )
    given = (row["source_sha256"], row["mtime_ns"], row["source_bytes"])
    return CutJob(clip, settings.model_dump(mode="json"), str(folder), *given)


def bars_of(row: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Black bars at the top, bottom, left and right of a clip, in pixels."""
    return (row["bar_top"] or 0, row["bar_bottom"] or 0, row["bar_left"] or 0, row["bar_right"] or 0)


def frames_path(folder: Path, clip_id: str) -> Path:
    """Where the frames that a cut decodes are noted."""
    return folder / f"{clip_id}{SUFFIX}"


def cut_one(job: CutJob) -> CutResult:
    """Cut one clip in a child process.

    Raises:
        SourceFailure: the source is gone, or is not what was scanned.
        CutError: this clip cannot be cut.
        StorageError: the disk is full.
    """
    quiet_decoder()
    _check_unchanged(job)
    folder = Path(job.folder)
    with FrameNote(frames_path(folder, job.clip.clip_id)) as note, storage_errors(f"Writing to `{folder}`"):
        try:
            out = mp4_path(folder, job.clip.clip_id)
            result = cut_clip(job.clip, Export.model_validate(job.settings), out, Ledger(note.count))
            note_finished(folder, job.clip.clip_id, result)
        finally:
            note.save()
    return result


def _check_unchanged(job: CutJob) -> None:
    path = job.clip.path
    try:
        now = path.stat()
        if (now.st_mtime_ns, now.st_size) == (job.mtime_ns, job.size):
            return
        sha256 = _content(path, now.st_mtime_ns, now.st_size)
    except OSError as error:
        why = error.strerror or str(error)
        raise SourceFailure(ErrorCode.NOT_FOUND, f"the source cannot be read any more: {why}") from None
    if sha256 != job.sha256:
        raise SourceChanged(sha256)


@lru_cache(maxsize=64)
def _content(path: Path, mtime_ns: int, size: int) -> str:
    """Checksum of a file that was touched; once per state of the file, not once per clip of it."""
    return sha256_of(path)
