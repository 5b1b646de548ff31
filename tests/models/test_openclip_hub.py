"""`hf-hub:owner/name`: a repository with a model's configuration and weights, in the hub's cache or fetched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

from models.openclip_files import HUB_CONFIGURATION, HUB_WEIGHTS
from models.text.openclip import OpenClipText
from models.vision.make import make_embedder
from models.vision.spec import find
from schemas.errors import UsageError
from schemas.recipe_learned import Embeddings

open_clip = pytest.importorskip("open_clip")

REPO = "someone/tiny-clip"
NAME = f"hf-hub:{REPO}"
CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


class Hub:
    """A cache of the hub's client, and a far repository from which files come into it."""

    def __init__(self, folder: Path) -> None:
        self.far, self.cache, self.asked = folder / "far", folder / "cache", list[str]()
        self.far.mkdir()
        self.online = True

    def download(self, repo: str, file: str) -> str:
        """As ``hf_hub_download`` does, and fails."""
        self.asked.append(file)
        assert repo == REPO
        if not self.online:
            raise LocalEntryNotFoundError("no network")
        if not (self.far / file).exists():
            response = type("Response", (), {"headers": {}, "request": None})()
            raise RemoteEntryNotFoundError(f"no {file}", response=response)  # type: ignore[arg-type]
        folder = self.cache / f"models--{repo.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text("a1b2")
        place = folder / "snapshots" / "a1b2" / file
        place.parent.mkdir(parents=True, exist_ok=True)
        return str(shutil.copy(self.far / file, place))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    for variable in ("STIV_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    made = Hub(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(made.cache))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", made.download)
    return made


def publish(folder: Path, file: str = HUB_WEIGHTS[0], **preparation: Any) -> Any:
    """A small model as open_clip saves one to the hub: safetensors, or the pickled state of older repositories."""
    from safetensors.torch import save_file

    torch.manual_seed(3)
    model = open_clip.model.CLIP(**CONFIG).eval()
    (folder / HUB_CONFIGURATION).write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": preparation}))
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / file) if file.endswith(".safetensors") else torch.save(state, folder / file)
    return model


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)


@pytest.mark.parametrize("file", HUB_WEIGHTS)
def test_a_repository_gives_what_open_clip_gives(hub: Hub, file: str) -> None:
    publish(hub.far, file, mean=[0.5] * 3, std=[0.25] * 3)
    made = make_embedder({"backend": "openclip", "model": NAME, "device": "cpu"})
    ours = made._towers.pictures(made._towers.fit(picture())[None].copy())
    theirs = _by_open_clip(hub, file)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert made.texts(["a cat"]).shape == (1, 24)
    assert find(NAME, None).name == NAME


def _by_open_clip(hub: Hub, file: str) -> np.ndarray:
    """open_clip's own way from a local folder of the same files."""
    from PIL import Image

    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{hub.far}")
    with torch.inference_mode():
        vectors = model.eval().encode_image(prepare(Image.fromarray(picture()))[None], normalize=True)
    return vectors.numpy()


def test_what_was_fetched_once_is_not_asked_for_again(hub: Hub) -> None:
    publish(hub.far)
    first = find(NAME, None)
    assert hub.asked == [HUB_CONFIGURATION, HUB_WEIGHTS[0]]
    hub.online = False
    assert find(NAME, None).fingerprint == first.fingerprint
    assert len(hub.asked) == 2


def test_offline_nothing_is_asked_and_the_command_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(hub.far)
    monkeypatch.setenv("STIV_OFFLINE", "1")
    with pytest.raises(UsageError) as error:
        find(NAME, None)
    assert f"hf download {REPO}" in error.value.fix
    assert hub.asked == []


def test_no_network_and_no_such_file_say_so(hub: Hub) -> None:
    with pytest.raises(UsageError, match=r"open_clip_config.json of someone/tiny-clip could not be fetched"):
        find(NAME, None)
    publish(hub.far)
    (hub.far / HUB_WEIGHTS[0]).unlink()
    with pytest.raises(UsageError, match=r"open_clip_model.safetensors of someone/tiny-clip could not be fetched"):
        find(NAME, None)
    assert hub.asked[-2:] == list(HUB_WEIGHTS)
    hub.online = False
    with pytest.raises(UsageError, match="no network"):
        find(NAME, None)
    assert hub.asked[-1] == HUB_WEIGHTS[0]  # no use to ask for the other


@pytest.mark.parametrize("name", ["hf-hub:", "hf-hub:name", "hf-hub:../../etc/passwd", "hf-hub:a/b/c", "hf-hub:-a/b"])
def test_names_that_no_repository_has(hub: Hub, name: str) -> None:
    with pytest.raises(UsageError, match="Write hf-hub:owner/name"):
        find(name, None)
    assert hub.asked == []


def test_local_weights_may_take_the_place_of_the_repositorys(hub: Hub, tmp_path: Path) -> None:
    publish(hub.far)
    (hub.far / HUB_WEIGHTS[0]).rename(tmp_path / "tuned.safetensors")
    assert find(NAME, str(tmp_path / "tuned.safetensors")).name == f"{NAME}/tuned"


def test_recipes_need_no_weights_beside_a_repository(hub: Hub) -> None:
    assert Embeddings(backend="openclip", model=NAME).weights is None
    with pytest.raises(ValueError, match="hf-hub:owner/name"):
        Embeddings(backend="openclip", model="ViT-B-32")


def test_the_trainer_reads_the_text_tower_of_a_repository(hub: Hub) -> None:
    model = publish(hub.far)
    tower = OpenClipText(NAME, None, max_tokens=16)
    ids = tower.tokenize(["a red boat"])
    with torch.inference_mode():
        pooled = tower.encode(ids).pooled @ model.text_projection
        expected = model.encode_text(open_clip.tokenize(["a red boat"]))
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=1e-5)
