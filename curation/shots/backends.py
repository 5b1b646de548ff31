"""Which finder a recipe asks for."""

from __future__ import annotations

from typing import Protocol

from curation.frames import Frame, Transition
from curation.shots.ensemble import EnsembleFinder
from curation.shots.finder import ShotFinder
from curation.shots.fixed import NoFinder
from curation.shots.network import ShotNetwork
from curation.shots.network_finder import NetworkFinder
from schemas.recipe import Shots


class Finder(Protocol):
    """Push every frame of a stream in order; transitions come back, in order, as soon as they are final."""

    settled: int
    """First frame index at which a transition may still begin that has not been returned."""

    @property
    def change(self) -> float:
        """How much the newest frame differs from the one before, 0..255."""
        ...

    def push(self, frame: Frame) -> list[Transition]:
        """Take the next frame."""
        ...

    def flush(self) -> list[Transition]:
        """The stream has ended: return what is left."""
        ...


def needs_network(settings: Shots) -> bool:
    """Whether the backend asks a shot network."""
    return settings.backend in ("transnetv2", "ensemble")


def make_finder(settings: Shots, network: ShotNetwork | None = None) -> Finder:
    """The finder of ``settings.backend``.

    Raises:
        ValueError: it needs a network and there is none.
    """
    if settings.backend == "fixed":
        return NoFinder()
    if settings.backend == "adaptive+histogram":
        return ShotFinder(settings)
    if network is None:
        raise ValueError(f"scan.shots.backend {settings.backend} needs a network")
    if settings.backend == "transnetv2":
        return NetworkFinder(settings, network)
    return EnsembleFinder(settings, network)


def clip_settings(settings: Shots) -> Shots:
    """What clips are made by: for `fixed`, pieces of ``fixed_s``, untrimmed, and the rest at the end if it is not very short."""
    if settings.backend != "fixed":
        return settings
    shortest = min(settings.min_s, settings.fixed_s / 2)
    return settings.model_copy(update={"max_s": settings.fixed_s, "min_s": shortest, "trim_frames": 0})
