"""What the bytes of a corpus depend on besides plan and recipe: wheels, encoder build, kind of processor."""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

# Of what the scan, the text detector and the tables are made with.
_WHEELS = (
    "av",
    "opencv-python-headless",
    "numpy",
    "scenedetect-headless",
    "pyarrow",
    "duckdb",
    "onnxruntime",
    "rapidocr",
    "py3langid",
)


def engine_version() -> str:
    """Version of this package; `unknown` when it runs from a folder without being installed."""
    try:
        return version("stiv")
    except PackageNotFoundError:
        return "unknown"


@lru_cache(maxsize=1)
def environment() -> dict[str, Any]:
    """Facts on which equal bytes depend. Two machines with equal facts make equal corpora."""
    from curation.encoder import ffmpeg_binary, ffmpeg_version

    wheels: dict[str, str] = {}
    for name in _WHEELS:
        try:
            wheels[name] = version(name)
        except PackageNotFoundError:
            wheels[name] = "absent"
    return {
        "wheels": wheels,
        "encoder": ffmpeg_version(ffmpeg_binary()),
        "machine": platform.machine(),
        "processor": _processor_kind(),
    }


def _processor_kind() -> str:
    """The widest vector set in use: floating-point kernels of the wheels are chosen by it."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as handle:
            flags = next((line for line in handle if line.startswith(("flags", "Features"))), "")
    except OSError:
        return platform.processor() or "unknown"
    words = set(flags.split())
    for flag in ("avx512f", "avx2", "avx", "sve", "asimd", "sse4_2"):
        if flag in words:
            return flag
    return "baseline"
