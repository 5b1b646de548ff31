"""Errors that say what, why and what to do, and the codes by which a failed source is recorded."""

from __future__ import annotations

from enum import StrEnum


class StivError(Exception):
    """Base of every error meant for a person. ``fix`` says what to do about it."""

    exit_code = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message} {self.fix}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.fix))


def _rebuild(kind: type[StivError], message: str, fix: str) -> StivError:
    return kind(message, fix=fix)


class UsageError(StivError):
    """The command, recipe or input as given cannot work: nothing was done. Exit code 2."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe file or ``--set`` value is wrong."""


class VariantError(UsageError):
    """A named variant exists under another recipe, or a needed one does not exist."""


class StorageError(StivError):
    """Writing or reading the corpus failed: full disk, no permission, vanished folder. Exit code 2: mend it, run again."""

    exit_code = 2


class CorpusBusyError(UsageError):
    """Another process is writing this corpus."""


class TooManyErrorsError(StivError):
    """More sources failed than the recipe allows. Exit code 3."""

    exit_code = 3


class BudgetError(StivError):
    """What the recipe allows a model to cost is spent; answers paid for are kept. Exit code 3."""

    exit_code = 3


class UnansweredError(StivError):
    """Chat models left questions without an answer, for a reason that may pass; the others are kept. Exit code 3."""

    exit_code = 3


class ErrorCode(StrEnum):
    """Why a source is ``error`` or ``partial``."""

    NOT_FOUND = "not_found"
    NO_PERMISSION = "no_permission"
    READ_FAILED = "read_failed"
    EMPTY_FILE = "empty_file"
    UNREADABLE = "unreadable"
    UNSUPPORTED = "unsupported"
    NO_VIDEO_STREAM = "no_video_stream"
    NO_FRAMES = "no_frames"
    STILL_IMAGE = "still_image"
    BAD_TIMESTAMPS = "bad_timestamps"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    POISON = "poison"
    CHANGED = "changed"
    REPLACED = "replaced"
    CUT_FAILED = "cut_failed"
    FORGOTTEN = "forgotten"


ERROR_CODES: dict[ErrorCode, tuple[bool, str]] = {
    ErrorCode.NOT_FOUND: (True, "the file is not there: it was moved or deleted, or the manifest names it wrongly"),
    ErrorCode.NO_PERMISSION: (True, "the file may not be read by this user"),
    ErrorCode.READ_FAILED: (True, "reading the file failed part-way (storage or network)"),
    ErrorCode.EMPTY_FILE: (False, "the file has no bytes"),
    ErrorCode.UNREADABLE: (False, "no known container: not a media file, or its header is lost"),
    ErrorCode.UNSUPPORTED: (False, "the container or codec has no decoder here, or is not allowed"),
    ErrorCode.NO_VIDEO_STREAM: (False, "the file has no video stream"),
    ErrorCode.NO_FRAMES: (False, "a video stream is announced, but not one frame decodes"),
    ErrorCode.STILL_IMAGE: (False, "the file is a still picture"),
    ErrorCode.BAD_TIMESTAMPS: (
        False,
        "time stamps are missing, run backwards or give an impossible rate over most of the file",
    ),
    ErrorCode.TRUNCATED: (False, "the file ends well before the length its header announces; what decodes was used"),
    ErrorCode.DAMAGED: (False, "some frames decode with errors; what decodes was used"),
    ErrorCode.TIMEOUT: (True, "no frame within the time limit, or the whole source took too long"),
    ErrorCode.CRASHED: (True, "the decoder process died"),
    ErrorCode.CHANGED: (True, "the file is not the one that was scanned (only of clips, at export)"),
    ErrorCode.REPLACED: (
        False,
        "the file was overwritten after it was scanned, and the corpus has its new content too (only of clips, at export)",
    ),
    ErrorCode.CUT_FAILED: (False, "the clip could not be cut from its source (only of clips, at export)"),
    ErrorCode.FORGOTTEN: (False, "its content was taken out of this corpus with `stiv forget`"),
    ErrorCode.POISON: (True, "the part with this source killed its worker again and again"),
}
"""Code → (worth retrying, meaning)."""
