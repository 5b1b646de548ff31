"""Only regular files are read: a pipe would be waited for, a device may have no end."""

from __future__ import annotations

import stat
from pathlib import Path

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegularError(OSError):
    """What has the name of a file is a pipe, a socket or a device."""


def check_regular(path: Path) -> None:
    """Look at what a path (or the link there) is, before it is opened. Folders pass: to open one is an error of its own.

    Raises:
        NotRegularError: it is neither a file nor a folder.
        OSError: it is not there, or may not be looked at.
    """
    kind = _KINDS.get(stat.S_IFMT(path.stat().st_mode))
    if kind is not None:
        raise NotRegularError(f"this is {kind}, not a file")
