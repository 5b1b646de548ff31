"""What is said when something goes wrong that nobody foresaw: one paragraph for the person, the rest into a file."""

from __future__ import annotations

import os
import tempfile
import traceback

from schemas.errors import StivError


def internal_error(error: BaseException) -> StivError:
    """An error for a person, made of one that is a fault of ours; the stack goes into a temporary file that it names."""
    text = "".join(traceback.format_exception(error))
    handle, path = tempfile.mkstemp(prefix="stiv-error-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)
    first = str(error).strip().splitlines()
    return StivError(
        f"Internal error: {type(error).__name__}: {first[0] if first else 'no message'}",
        fix=f"This is a fault of stiv; what is finished is kept. The details are in {path}.",
    )
