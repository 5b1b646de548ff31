"""Weights of OpenCLIP by tag, by path, and by both: what they are built and fed with. Aesthetic heads over weights that they do not fit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from models.text.content import content
from models.text.make import make_text
from models.text.openclip import find_weights
from models.vision.aesthetic import doubt
from models.vision.make import make_embedder, model_inputs
from models.vision.spec import find
from schemas.errors import UsageError
from schemas.recipe_learned import Embeddings
from schemas.train_recipe import Text

CONFIG: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
FACTS = {"hf_hub": "someone/tiny/", "quick_gelu": True, "resize_mode": "squash", "mean": (0.5,) * 3, "std": (0.25,) * 3}


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small architecture of open_clip's with a tag that prepares pictures in its own way; its weights lie in a folder of the user's."""
    import huggingface_hub.constants
    import open_clip
    import open_clip.factory
    import open_clip.pretrained
    from open_clip.model import CLIP

    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny", CONFIG)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny", {"toy": FACTS})
    monkeypatch.setattr(open_clip, "download_pretrained", lambda *_: pytest.fail("the network was tried"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIP(**json.loads(json.dumps(CONFIG)))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


def embeddings(**settings: Any) -> Embeddings:
    return Embeddings.model_validate({"backend": "openclip", "model": "Tiny", "device": "cpu", **settings})


def in_cache(file: Path) -> None:
    """As the hub's client keeps what was fetched for the tag."""
    folder = file.parent / "hub/models--someone--tiny"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text("a1b2")
    (folder / "snapshots/a1b2").mkdir(parents=True)
    (folder / "snapshots/a1b2/open_clip_model.safetensors").write_bytes(file.read_bytes())


def test_a_file_beside_its_tag_is_what_the_tag_would_be_and_alone_it_is_another_network(known: Path) -> None:
    with_tag = find("Tiny", "toy", str(known))
    alone = find("Tiny", str(known))
    in_cache(known)
    fetched = find("Tiny", "toy")
    assert with_tag.file != fetched.file
    assert (with_tag.config, with_tag.preparation) == (fetched.config, fetched.preparation)
    assert (with_tag.name, with_tag.fingerprint) == (fetched.name, fetched.fingerprint)
    assert (with_tag.config["quick_gelu"], with_tag.preparation["resize_mode"]) == (True, "squash")
    assert alone.fingerprint != fetched.fingerprint
    assert model_inputs(embeddings(weights="toy", weights_file=str(known))) == model_inputs(embeddings(weights="toy"))


def test_its_vectors_are_those_of_open_clip_with_the_tags_settings(known: Path) -> None:
    from open_clip.factory import load_checkpoint
    from open_clip.model import CLIP
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    model = CLIP(**json.loads(json.dumps(CONFIG)), quick_gelu=True).eval()
    load_checkpoint(model, str(known), strict=True)
    ready = image_transform_v2(
        PreprocessCfg(size=32, resize_mode="squash", mean=FACTS["mean"], std=FACTS["std"]), is_train=False
    )
    with torch.no_grad():
        wanted = model.encode_image(ready(Image.fromarray(picture[..., ::-1].copy()))[None], normalize=True)[0].numpy()
    found = make_embedder(embeddings(weights="toy", weights_file=str(known))).images([picture])[0]
    assert np.abs(found - wanted).max() < 1e-5
    alone = make_embedder(embeddings(weights=str(known))).images([picture])[0]
    assert np.abs(alone - wanted).max() > 1e-3


def test_the_text_tower_takes_its_activation_from_the_tag_as_well(known: Path) -> None:
    assert find_weights("Tiny", "toy", str(known)) == (str(known), True)
    assert find_weights("Tiny", str(known), None) == (str(known), None)
    both, alone = (
        Text(kind="openclip", name="Tiny", **given)  # type: ignore[arg-type]
        for given in ({"weights": "toy", "weights_file": str(known)}, {"weights": str(known)})
    )
    assert content(both) not in (None, content(alone))
    encoder = make_text(both)
    assert content(both) == content(both, encoder)
    ids = encoder.tokenize(["a cat on a mat"])
    assert not torch.allclose(encoder.encode(ids).pooled, make_text(alone).encode(ids).pooled, atol=1e-4)


def test_what_is_not_here_says_which_file_to_put_where(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STIV_OFFLINE", "1")
    with pytest.raises(UsageError) as missing:
        find("Tiny", "toy")
    assert "hf download someone/tiny open_clip_model.safetensors" in missing.value.fix
    assert (
        "set `features.embeddings.weights_file` to it; leave `features.embeddings.weights` at toy" in missing.value.fix
    )
    with pytest.raises(UsageError, match="do not exist") as none:
        find("Tiny", "toy", str(known.parent / "none.safetensors"))
    assert "`features.embeddings.weights_file`" in none.value.fix
    with pytest.raises(UsageError, match="has no weights joy"):
        find("Tiny", "joy", str(known))
    known.rename(known.with_suffix(".pt"))
    with pytest.raises(UsageError, match=r"no \.safetensors file"):
        find("Tiny", "toy", str(known.with_suffix(".pt")))


@pytest.mark.parametrize("weights", [None, "other.safetensors"])
def test_a_file_needs_the_tag_whose_weights_it_holds(weights: str | None) -> None:
    for make in (embeddings, lambda **given: Text(kind="openclip", name="Tiny", **given)):
        with pytest.raises(ValidationError, match=r"name the tag in `weights`|needs `weights`"):
            make(weights=weights, weights_file="mine.safetensors")


def test_tags_are_shares_of_cosines_times_the_models_own_scale(known: Path) -> None:
    """Not of bare cosines: those hardly differ, and every label would have about the same share."""
    groups = {"side": {"left": ("on the left",), "right": ("a red boat at night",)}}
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    embedder = make_embedder(embeddings(weights="toy", weights_file=str(known), tags=groups))
    vector, texts = embedder.images([picture])[0], embedder.texts(["on the left", "a red boat at night"])
    scale = 1 / 0.07  # with which a CLIP begins, and this one was never trained
    logits = scale * (texts @ vector)
    wanted = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    found = embedder.view([vector]).tag_scores
    assert found is not None
    assert [found["left"], found["right"]] == pytest.approx(wanted.tolist(), abs=1e-4)
    bare = np.exp(texts @ vector) / np.exp(texts @ vector).sum()
    assert abs(wanted - bare).max() > 0.01


@pytest.mark.parametrize(
    ("head", "weights", "wanted"),
    [
        ("head.pth", "datacomp_xl_s13b_b90k", True),
        ("head.pth", "openai", False),
        ("head.pth", "mine.safetensors", False),
        ("head.pth", None, False),
        (None, "datacomp_xl_s13b_b90k", False),
    ],
)
def test_a_head_over_weights_that_it_was_not_fitted_to_is_doubted(
    head: str | None, weights: str | None, wanted: bool
) -> None:
    said = doubt(head, weights)
    assert (said is not None) is wanted
    if said is not None:
        assert "OpenAI's weights, and `datacomp_xl_s13b_b90k` are others" in said


def test_a_head_without_openclip_is_an_error_and_not_left_aside() -> None:
    with pytest.raises(ValidationError, match="`aesthetic_head` scores vectors of OpenCLIP"):
        Embeddings(aesthetic_head="head.pth")
    assert Embeddings(aesthetic_head="head.pth", enabled=False).aesthetic_head == "head.pth"
