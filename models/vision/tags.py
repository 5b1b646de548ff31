"""Zero-shot tags: labels that compete within groups, each described by prompts (CLIP, Radford et al. 2021, section 3.1). Room: models.

In: unit vectors of stills. Out: each label's share of the softmax within its group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Groups = Mapping[str, Mapping[str, Sequence[str]]]
"""Group → label → prompts."""


@dataclass(frozen=True)
class Tags:
    """Labels as vectors. A label's is the mean of its prompts' unit vectors, brought to length 1."""

    groups: tuple[tuple[str, ...], ...]
    """Labels of each group."""
    vectors: np.ndarray
    """(L, D) float32: all labels, group by group."""
    scale: float
    """Of the model: what cosines are multiplied by."""

    @property
    def labels(self) -> list[str]:
        return [label for group in self.groups for label in group]

    def shares(self, vectors: np.ndarray) -> np.ndarray:
        """(n, D) unit vectors of stills → (n, L), 0..1; each group sums to 1."""
        cosines = vectors.astype(np.float32) @ self.vectors.T
        parts, start = [np.zeros((len(vectors), 0), np.float32)], 0
        for group in self.groups:
            logits = self.scale * cosines[:, start : start + len(group)]
            powers = np.exp(logits - logits.max(1, keepdims=True))
            parts.append(powers / powers.sum(1, keepdims=True))
            start += len(group)
        return np.concatenate(parts, 1)

    def best(self, shares: np.ndarray) -> list[str]:
        """(L,) → the likeliest label of each group; the first of equals."""
        found, start = [], 0
        for group in self.groups:
            found.append(group[int(shares[start : start + len(group)].argmax())])
            start += len(group)
        return found


def make_tags(groups: Groups, texts: Callable[[Sequence[str]], np.ndarray], scale: float) -> Tags:
    """Turn prompts into vectors. Groups and labels come in alphabetical order: a recipe's file, and what is kept of it, have no other.

    Args:
        texts: texts → (n, D) unit vectors, of the model that looks at the stills.
    """
    ordered = [sorted(groups[name].items()) for name in sorted(groups) if groups[name]]
    labels = [(label, tuple(prompts)) for group in ordered for label, prompts in group]
    every = [prompt for _, prompts in labels for prompt in prompts]
    vectors = texts(every)
    made, start = [], 0
    for _, prompts in labels:
        mean = vectors[start : start + len(prompts)].mean(0)
        made.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
        start += len(prompts)
    matrix = np.stack(made) if made else np.zeros((0, vectors.shape[1]), np.float32)
    return Tags(tuple(tuple(label for label, _ in group) for group in ordered), matrix.astype(np.float32), scale)
