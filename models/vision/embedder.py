"""The embedder: what OpenCLIP says of stills, of clips and of texts. Room: models.

In: stills and texts. Out: unit vectors; per clip its mean vector, consistency, aesthetic score and tags.

Legend: n stills or texts, D width of the vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.vision.aesthetic import AestheticHead
from models.vision.feeding import Load, batches
from models.vision.tags import Groups, Tags, make_tags
from models.vision.towers import Towers

LEAST_LENGTH = 1e-6
"""A mean of unit vectors that is shorter than this points nowhere."""


@dataclass(frozen=True)
class ClipView:
    """What the stills of one clip give; see the table `embeddings` of `schemas.tables`."""

    embedding: np.ndarray | None
    """(D,) float32 of length 1; None without stills."""
    consistency: float | None
    """-1..1: least cosine of neighbours; None with fewer than two stills."""
    aesthetic: float | None
    """About 1..10; None without a head or without stills."""
    tags: list[str] | None
    """The likeliest label of each group."""
    tag_scores: dict[str, float] | None
    """Label → share within its group, mean over the stills."""


class Embedder:
    """Towers, head and tags of one set of settings; made by :func:`models.vision.make.make_embedder`."""

    def __init__(
        self,
        towers: Towers,
        name: str,
        fingerprint: str,
        *,
        head: AestheticHead | None,
        groups: Groups,
        batch: int,
        threads: int,
    ) -> None:
        """
        Args:
            fingerprint: of all that vectors depend on beside pictures and texts.
            groups: of tags; their prompts are only read when the first clip is looked at.
            batch: stills or texts in a call of the network.
            threads: that make stills ready.
        """
        self.name, self.fingerprint, self.width = name, fingerprint, towers.width
        self._towers, self._head, self._groups = towers, head, groups
        self._batch, self._threads = batch, threads
        self._tags: Tags | None = None

    def stills(self, loads: Iterable[Load]) -> Iterator[np.ndarray | None]:
        """A unit vector, (D,) float32, for each still in order; None for one that could not be decoded.

        Stills are loaded in threads, ahead of the network.
        """
        for there, fitted in batches(loads, self._towers.fit, self._batch, self._threads):
            vectors = iter(self._towers.pictures(fitted) if len(fitted) else ())
            yield from (next(vectors) if ok else None for ok in there)

    def images(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Decoded pictures, each (h, w, 3) uint8 BGR, → (n, D) float32 unit vectors."""
        found = [vector for vector in self.stills(partial(_given, p) for p in pictures) if vector is not None]
        return np.stack(found) if found else np.zeros((0, self.width), np.float32)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts → (n, D) float32 unit vectors; a text longer than the tower reads is cut."""
        parts = [self._towers.texts(texts[i : i + self._batch]) for i in range(0, len(texts), self._batch)]
        return np.concatenate(parts) if parts else np.zeros((0, self.width), np.float32)

    def view(self, vectors: Sequence[np.ndarray]) -> ClipView:
        """What the vectors of a clip's stills, in order of time, say together."""
        if not len(vectors):
            return ClipView(None, None, None, None, None)
        if self._tags is None:
            self._tags = make_tags(self._groups, self.texts, self._towers.scale)
        return view_of(np.stack(vectors), self._head, self._tags)


def _given(picture: np.ndarray) -> np.ndarray:
    return picture


def view_of(vectors: np.ndarray, head: AestheticHead | None, tags: Tags) -> ClipView:
    """(n, D) unit vectors of a clip's stills, n ≥ 1, in order of time, → what they say together."""
    neighbours = (vectors[1:] * vectors[:-1]).sum(1)
    shares = tags.shares(vectors).mean(0)
    return ClipView(
        embedding=mean_vector(vectors),
        consistency=float(np.clip(neighbours.min(), -1, 1)) if len(neighbours) else None,
        aesthetic=float(head.scores(vectors).mean()) if head is not None else None,
        tags=tags.best(shares),
        tag_scores={label: float(share) for label, share in zip(tags.labels, shares, strict=True)},
    )


def mean_vector(vectors: np.ndarray) -> np.ndarray | None:
    """(n, D) unit vectors → (D,) float32, the direction of their mean; None where they cancel out."""
    mean = vectors.astype(np.float64).mean(0)
    length = float(np.linalg.norm(mean))
    return (mean / length).astype(np.float32) if length > LEAST_LENGTH else None
