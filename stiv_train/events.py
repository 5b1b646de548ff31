"""What training tells whoever watches it. Room: stiv_train. In: numbers of the loop. Out: small values; printing is the caller's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """Something worth saying once."""

    text: str


@dataclass(frozen=True)
class Progress:
    """Where training stands, every `train.log_every` steps."""

    step: int
    """Steps done."""
    steps: int
    """Steps in all."""
    loss: float
    """Mean over the samples since the last one."""
    samples_per_s: float
    """Over all processes."""
    wait_share: float
    """Share of the time in which the main process waited for data, 0..1."""
    eta_s: float
    """Seconds to the last step at this pace."""

    def line(self) -> str:
        """In one line of text."""
        return (
            f"step {self.step:,}/{self.steps:,} · loss {self.loss:.4f} · {self.samples_per_s:.1f} samples/s · "
            f"{100 * self.wait_share:.0f} % waiting for data · {_duration(self.eta_s)} left"
        )


@dataclass(frozen=True)
class Validated:
    """Validation loss was measured."""

    step: int
    loss: float
    """Mean over held-out clips and fixed timesteps, with the averaged weights."""


@dataclass(frozen=True)
class Saved:
    """A file or folder of the run was committed."""

    step: int
    what: str
    """`checkpoint` or `samples`."""
    path: str


Event = Note | Progress | Validated | Saved
OnEvent = Callable[[Event], None]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
