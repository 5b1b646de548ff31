"""From pairs to clusters: which clips are dropped, and for which.

A cluster is a star: every dropped clip has itself been matched with the clip that is kept in its place, so that a chain of weak likenesses
can never swallow a corpus. Clips are gone through from the best down. One that matches a kept clip is dropped for it; else it is kept, even
where it matches a clip that was dropped. Exact copies are one clip: a copy goes where the best of its kind goes, and for the same reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KINDS = ("exact", "near", "semantic")
"""Kinds of evidence, strongest first; their places here are their codes."""
EXACT, NEAR, SEMANTIC = range(3)


@dataclass(frozen=True)
class Evidence:
    """Pairs of clips by number, each with its code of :data:`KINDS` and likeness (0..1). ``worse`` gives way to ``better`` where one must."""

    worse: np.ndarray
    better: np.ndarray
    kind: np.ndarray
    similarity: np.ndarray

    def __len__(self) -> int:
        return len(self.worse)


@dataclass(frozen=True)
class Fate:
    """What becomes of a clip that has a duplicate."""

    kept: int
    """Number of the clip that is kept: itself, or another."""
    kind: str
    similarity: float


def decide(evidence: Evidence, order: np.ndarray) -> dict[int, Fate]:
    """Fates of all clips that have a duplicate.

    Args:
        evidence: pairs found; a pair may come several times.
        order: (m,) every clip of the evidence, best first (:meth:`curation.duplicates.looks.Looks.best_first`).
    """
    place = {clip: i for i, clip in enumerate(order.tolist())}
    partners: dict[int, list[tuple[int, float, int]]] = {}
    for worse, better, kind, similarity in zip(
        evidence.worse.tolist(),
        evidence.better.tolist(),
        evidence.kind.tolist(),
        evidence.similarity.tolist(),
        strict=True,
    ):
        partners.setdefault(worse, []).append((kind, -similarity, better))
    fates: dict[int, Fate] = {}
    nearest: dict[int, tuple[int, float]] = {}
    for clip in order.tolist():
        # Strongest evidence first, then the likest, then the best clip.
        options = sorted(partners.get(clip, ()), key=lambda p: (p[0], p[1], place[p[2]]))
        for kind, unlike, better in options:
            gone = fates.get(better)
            if gone is not None and kind != EXACT:
                continue
            # An exact copy is to the clip that is kept what its equal is to it.
            fates[clip] = Fate(better, KINDS[kind], -unlike) if gone is None else gone
            kept, kind, unlike = fates[clip].kept, KINDS.index(fates[clip].kind), -fates[clip].similarity
            nearest[kept] = min(nearest.get(kept, (kind, unlike)), (kind, unlike))
            break
    for kept, (kind, unlike) in nearest.items():
        fates[kept] = Fate(kept, KINDS[kind], -unlike)
    return fates
