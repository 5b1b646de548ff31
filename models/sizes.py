"""How large weights are that are not here, by reckoning. Room: models. Nothing is fetched.

In: a configuration of open_clip, or a name on the hub. Out: megabytes (10^6 bytes), about.
"""

from __future__ import annotations

import re
from typing import Any

_FLOAT, _HALF = 4, 2
"""Bytes of a value: OpenCLIP's weights are mostly published in 32 bits, models that answer questions in 16."""

_COUNT = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([BM])(?![A-Za-z0-9])")
"""How names tell the number of parameters: `7B`, `2.2B`, `500M`."""


def openclip_mb(config: dict[str, Any]) -> float | None:
    """Of a whole CLIP, counted in a model without memory; None where its configuration cannot be built without more files."""
    if "hf_model_name" in config["text_cfg"]:
        return None  # its shape lies on the hub
    import torch

    from models.vision.towers import FAULTS, shell

    try:
        with torch.device("meta"):
            model = shell(config)
    except FAULTS:
        return None
    return _FLOAT * sum(parameter.numel() for parameter in model.parameters()) / 1e6


def named_mb(name: str) -> float | None:
    """Of a model that answers questions, by the number of parameters that its name tells; None where it tells none."""
    found = _COUNT.search(name.rpartition("/")[2])
    if found is None:
        return None
    return _HALF * float(found[1]) * {"B": 1e9, "M": 1e6}[found[2]] / 1e6
