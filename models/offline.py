"""Whether the network may be tried for weights. Room: models.

``stiv --offline`` sets it; so does either environment variable, whose value children and local Ray workers inherit.
"""

from __future__ import annotations

import os
import sys

_OURS = "STIV_OFFLINE"
_VARIABLES = (_OURS, "HF_HUB_OFFLINE")
_FALSE = frozenset({"", "0", "false", "no", "off"})


def set_offline() -> None:
    """From now on nothing is fetched, here and in processes that are started from here."""
    for variable in _VARIABLES:
        os.environ[variable] = "1"
    _tell_hub()


def is_offline() -> bool:
    """Whether only what is on this machine may be used."""
    return any(os.environ.get(variable, "").strip().lower() not in _FALSE for variable in _VARIABLES)


def heed() -> None:
    """Call before a library that may fetch by itself: the hub's client must know what we know."""
    if is_offline():
        os.environ["HF_HUB_OFFLINE"] = "1"
        _tell_hub()


def _tell_hub() -> None:
    # The hub's client reads the variable when it is imported, and never again.
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:
        constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
