"""Being a loader's worker process: how it is started, which signals it heeds, when it ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator

import torch

from curation.opening import quiet_decoder
from curation.storage import Store

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def start_method(store: Store) -> str:
    """`fork` where it is safe, else `spawn`.

    A forked child inherits locks that threads of its parent may hold: those of CUDA, of Ray and of clients of object storage never
    come free again. Spawned workers import torch first, which takes seconds.
    """
    ray = sys.modules.get("ray")
    unsafe = torch.cuda.is_initialized() or (ray is not None and ray.is_initialized()) or store.local is None
    return "spawn" if unsafe or not sys.platform.startswith("linux") else "fork"


@contextlib.contextmanager
def starting_workers() -> Iterator[None]:
    """While workers start: hold back SIGINT and SIGTERM, and keep the handler of SIGCHLD.

    A child takes over the mask and lifts it once it ignores both. Torch's own handler of SIGCHLD would raise the death of a worker
    wherever the main thread happens to be, in the midst of a checkpoint too; without it the next batch raises it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    mask, heir = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS), signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        if heir is not None:  # one that Python did not set cannot be put back
            signal.signal(signal.SIGCHLD, heir)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class Begin:
    """What a worker does first. Picklable."""

    def __init__(self) -> None:
        self._parent = os.getpid()
        # The kernel watches the thread that started the child. One that is not the main thread may end long before the process.
        self._watched = threading.current_thread() is threading.main_thread()

    def __call__(self, worker: int) -> None:
        # Ctrl-C and `kill` of a process group reach workers too; when to end is for the parent to say, which may have to save first.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        if self._watched and sys.platform.startswith("linux"):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != self._parent:
                os._exit(1)
        quiet_decoder()
