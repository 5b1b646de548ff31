"""What keeps x264's bytes the same from run to run."""

from __future__ import annotations

import functools
from pathlib import Path


@functools.cache
def steady_params() -> tuple[str, ...]:
    """``x264-params`` without which equal frames do not always give equal bytes on this processor.

    x264's macroblock tree has an AVX-512 routine that reads memory nobody wrote: one or two encodes in a hundred of a small
    picture then come out different. With instructions up to AVX2 they do not. The name is given only where AVX-512 was found:
    x264 takes it as a promise, not as a limit.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return ()
    return ("asm=AVX2",) if " avx512f" in flags and " avx2" in flags else ()
