"""What a scan's child process runs: the curation half, with the shot network where the recipe asks for one. Room: pipelines.

Importable by name, so that a spawned process finds it. The network's libraries are loaded only there and only when needed; it is
built once and serves every source that the process scans.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from curation import child
from curation.shots.backends import needs_network
from schemas.recipe import Scan

if TYPE_CHECKING:
    from models.shots.transnet import TransNet


def check(settings: Scan) -> None:
    """Before a run begins: can its child processes do what the recipe asks for?

    Raises:
        UsageError: the shot backend needs a library that is not installed.
    """
    if needs_network(settings.shots):
        from models import shots

        shots.check()


def run(job: child.Job) -> dict[str, Any]:
    """Scan one segment; see :func:`curation.child.run`. The network's CPU seconds are listed apart."""
    if not needs_network(Scan.model_validate(job.settings).shots):
        return child.run(job)
    network = _network()
    spent = network.seconds
    outcome = child.run(job, network=network)
    outcome["cpu_s"]["shots.network"] = network.seconds - spent
    return outcome


@cache
def _network() -> TransNet:
    from models.shots.transnet import TransNet

    # One thread, whatever the job has: the answers must not depend on how many there are, and other children use the rest.
    return TransNet(threads=1)
