"""A recipe's embedder. Room: models. Without weights there is none: `perceptual` vectors are made by `curation.perceptual`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.hub import file_fingerprint
from models.vision.spec import Spec, find
from schemas.errors import UsageError
from schemas.ids import canonical
from schemas.recipe_learned import Embeddings

if TYPE_CHECKING:
    from models.vision.embedder import Embedder

DECODERS = 2
"""Threads that make stills ready where nothing else is said: enough to keep two processors' network fed."""


def make_embedder(settings: Mapping[str, Any] | Embeddings, threads: int | None = None) -> Embedder:
    """The embedder of some settings; the last one made is kept in the process.

    Args:
        settings: as in the recipe's section `features.embeddings`; other keys do not matter, missing ones have their defaults.
        threads: processor threads that it may use; by default those of torch.

    Raises:
        UsageError: the settings name no OpenCLIP model; or a file is not there, cannot be fetched, or does not fit.
    """
    section = _section(settings)
    spec = find(section.model, section.weights, section.weights_file)
    head = _head_fingerprint(section.aesthetic_head) if section.aesthetic_head else None
    how = section.model_dump(mode="json", include={"tags", "batch", "device", "precision"})
    key = (spec.name, spec.fingerprint, head, threads, canonical(how))
    if key not in _kept:
        _kept.clear()
        _kept[key] = _build(spec, section, threads)
    return _kept[key]


def embed_texts(settings: Mapping[str, Any] | Embeddings, captions: Sequence[str]) -> np.ndarray:
    """Captions → (n, D) float32 unit vectors in the space of the pictures' vectors."""
    return make_embedder(settings).texts(captions)


def model_inputs(settings: Mapping[str, Any] | Embeddings) -> dict[str, dict[str, str]]:
    """The models as inputs of a variant, each with its name and a fingerprint: `model` (architecture, weights and preparation of
    pictures) and, where there is one, `head` (the aesthetic head), which scores what the model has made.

    Weights with a tag are fetched if need be: what they are is only known when they are here.

    Raises:
        UsageError: as :func:`make_embedder`.
    """
    section = _section(settings)
    spec = find(section.model, section.weights, section.weights_file)
    found = {"model": {"name": spec.name, "fingerprint": spec.fingerprint}}
    if section.aesthetic_head:
        head = section.aesthetic_head
        found["head"] = {"name": Path(head).name, "fingerprint": _head_fingerprint(head)}
    return found


def _section(settings: Mapping[str, Any] | Embeddings) -> Embeddings:
    if isinstance(settings, Embeddings):
        section = settings
    else:
        known = {key: value for key, value in settings.items() if key in Embeddings.model_fields}
        section = Embeddings.model_validate(known)
    if section.backend != "openclip":
        raise UsageError(
            f"`features.embeddings.backend` is {section.backend}, which has no network.",
            fix="Set it to openclip, and `features.embeddings.weights` to a pretrained tag or a local .safetensors file.",
        )
    return section


def _head_fingerprint(head: str) -> str:
    try:
        return file_fingerprint(Path(head).expanduser())
    except OSError as error:
        raise UsageError(
            f"The aesthetic head {head} cannot be read: {error.strerror}.",
            fix="Set `features.embeddings.aesthetic_head` to a file that can.",
        ) from error


def _build(spec: Spec, section: Embeddings, threads: int | None) -> Embedder:
    from models.vision.aesthetic import read_head
    from models.vision.embedder import Embedder
    from models.vision.towers import Towers

    towers = Towers(spec, section.device, section.precision, threads)
    head = read_head(section.aesthetic_head, towers.width, spec.name) if section.aesthetic_head else None
    return Embedder(
        towers,
        spec.name,
        spec.fingerprint,
        head=head,
        groups=section.tags,
        batch=section.batch,
        threads=threads or DECODERS,
    )


_kept: dict[tuple[Any, ...], Embedder] = {}
"""The last one made, by all that it depends on: two would seldom fit beside each other."""
