"""The embedder against open_clip itself: same preparation, same vectors; files, fingerprints, and no network when there is to be none."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import hub, offline
from models.vision.make import embed_texts, make_embedder, model_inputs
from models.vision.spec import find
from models.vision.towers import Towers
from schemas.errors import UsageError

CONFIG: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
PREPARATIONS: dict[str, dict[str, Any]] = {
    "clip": {},
    "siglip": {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"},
    "padded": {"resize_mode": "longest", "fill_color": 90, "mean": [0.1, 0.2, 0.3], "std": [0.3, 0.2, 0.1]},
    "bilinear": {"interpolation": "bilinear", "mean": [0, 0, 0], "std": [1, 1, 1]},
}
TEXTS = ["a photo of a cat", "", "two red boats on a grey river, seen from above, at dusk, in the rain, far away"]


def write_clip(folder: Path, seed: int = 0, config: dict[str, Any] = CONFIG, **preparation: Any) -> Any:
    """open_clip's own model, and `tiny.json` and `tiny.safetensors` as a user would have them."""
    from open_clip.model import CLIP, CustomTextCLIP
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    inner = json.loads(json.dumps(config))
    model = (CustomTextCLIP if inner.pop("custom_text", False) else CLIP)(**inner).eval()
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"model_cfg": config, "preprocess_cfg": preparation} if preparation else config
    (folder / "tiny.json").write_text(json.dumps(whole))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "tiny.safetensors")
    return model


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("clip")
    return write_clip(folder), folder


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "backend": "openclip",
        "model": str(folder / "tiny.json"),
        "weights": str(folder / "tiny.safetensors"),
        "device": "cpu",
        **changes,
    }


def pictures() -> list[np.ndarray]:
    """Wide, tall, small and square ones, BGR."""
    sides = [(120, 201), (201, 120), (31, 50), (64, 64), (33, 333)]
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in sides]


def by_open_clip(model: Any, preparation: dict[str, Any]) -> np.ndarray:
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    transform = image_transform_v2(PreprocessCfg(size=64, **preparation), is_train=False)
    ready = torch.stack([transform(Image.fromarray(p[..., ::-1].copy())) for p in pictures()])
    with torch.no_grad():
        return torch.nn.functional.normalize(model.encode_image(ready), dim=-1).numpy()


@pytest.mark.parametrize("kind", PREPARATIONS)
def test_pictures_become_what_open_clip_makes_of_them(kind: str, tmp_path: Path) -> None:
    model = write_clip(tmp_path, **PREPARATIONS[kind])
    found = make_embedder(settings(tmp_path)).images(pictures())
    assert found.shape == (5, 32)
    assert found.dtype == np.float32
    assert np.abs(found - by_open_clip(model, PREPARATIONS[kind])).max() < 1e-5
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5


@pytest.mark.parametrize("kind", PREPARATIONS)
def test_preparation_is_open_clips_transform_to_the_last_bit(kind: str, tmp_path: Path) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    write_clip(tmp_path, **PREPARATIONS[kind])
    towers = Towers(find(str(tmp_path / "tiny.json"), str(tmp_path / "tiny.safetensors")), "cpu")
    given: list[torch.Tensor] = []
    towers._model.encode_image = lambda x, normalize: given.append(x) or torch.ones(len(x), 32)
    transform = image_transform_v2(PreprocessCfg(size=64, **PREPARATIONS[kind]), is_train=False)
    for picture in pictures():
        rgb = np.ascontiguousarray(picture[..., ::-1])
        towers.pictures(np.stack([towers.fit(rgb)]))
        assert torch.equal(given.pop()[0], transform(Image.fromarray(rgb)))


def test_texts_become_what_open_clip_makes_of_them(clip: tuple[Any, Path]) -> None:
    import open_clip

    model, folder = clip
    with torch.no_grad():
        ids = open_clip.tokenize(TEXTS, context_length=16)
        wanted = torch.nn.functional.normalize(model.encode_text(ids), dim=-1).numpy()
    assert np.abs(embed_texts(settings(folder), TEXTS) - wanted).max() < 1e-5
    assert make_embedder(settings(folder)).texts([]).shape == (0, 32)


def test_a_model_with_a_text_tower_of_its_own(tmp_path: Path) -> None:
    model = write_clip(tmp_path, config={**CONFIG, "custom_text": True})
    assert np.abs(make_embedder(settings(tmp_path)).images(pictures()) - by_open_clip(model, {})).max() < 1e-5


def test_a_tower_of_timm_and_an_architecture_that_open_clip_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip.factory

    vision = {"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "linear", "image_size": 160}
    config = {**CONFIG, "custom_text": True, "vision_cfg": {**vision, "timm_model_pretrained": True}}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny-timm", config)
    # Built without weights of its own, then saved: nothing is fetched, though the configuration asks for it.
    plain = {**config, "vision_cfg": vision}
    write_clip(tmp_path, config=plain)
    embedder = make_embedder(settings(tmp_path, model="Tiny-timm"))
    assert embedder.name == "Tiny-timm/tiny"
    assert embedder.images(pictures()).shape == (5, 32)
    assert embedder.texts(TEXTS).shape == (3, 32)


def test_how_stills_are_batched_changes_nothing(clip: tuple[Any, Path]) -> None:
    _, folder = clip
    whole = make_embedder(settings(folder, batch=64)).images(pictures())
    for batch, threads in ((1, 1), (2, 3), (3, 1)):
        found = make_embedder(settings(folder, batch=batch), threads).images(pictures())
        assert np.abs(found - whole).max() < 1e-5
    texts = make_embedder(settings(folder, batch=2)).texts(TEXTS)
    assert np.abs(texts - make_embedder(settings(folder)).texts(TEXTS)).max() < 1e-5


def test_damaged_stills_keep_their_place(clip: tuple[Any, Path]) -> None:
    _, folder = clip
    embedder = make_embedder(settings(folder, batch=2), 2)
    first, second, third = pictures()[:3]
    loads = [first, None, second, None, None, third, None]
    found = list(embedder.stills(partial(lambda p: p, p) for p in loads))
    assert [vector is None for vector in found] == [p is None for p in loads]
    seen = np.stack([vector for vector in found if vector is not None])
    assert np.abs(seen - embedder.images([first, second, third])).max() < 1e-5
    assert list(embedder.stills([])) == []


def test_an_error_while_reading_ends_the_stream(clip: tuple[Any, Path]) -> None:
    def torn() -> np.ndarray:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk is gone"):
        list(make_embedder(settings(clip[1])).stills([torn]))


def test_bfloat16_is_near_and_leaves_the_process_as_it_was(clip: tuple[Any, Path]) -> None:
    _, folder = clip
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    half = make_embedder(settings(folder, precision="bfloat16"), 3 if threads != 3 else 2).images(pictures())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    full = make_embedder(settings(folder)).images(pictures())
    assert half.dtype == np.float32
    assert (half * full).sum(1).min() > 0.99
    assert not np.array_equal(half, full)


def test_one_embedder_is_kept_and_made_again_for_other_settings(clip: tuple[Any, Path]) -> None:
    _, folder = clip
    first = make_embedder(settings(folder))
    assert make_embedder({**settings(folder), "stills": 9, "score_all": True, "rules": []}) is first
    assert make_embedder(settings(folder, batch=3)) is not first


def test_fingerprint_is_of_content_not_of_place(clip: tuple[Any, Path], tmp_path: Path) -> None:
    _, folder = clip
    given = model_inputs(settings(folder))
    assert given == {"model": {"name": "tiny/tiny", "fingerprint": make_embedder(settings(folder)).fingerprint}}
    shutil.copytree(folder, tmp_path / "copy")
    assert model_inputs(settings(tmp_path / "copy")) == given
    write_clip(tmp_path / "copy", seed=1)  # in the same place, in the same process
    assert model_inputs(settings(tmp_path / "copy"))["model"]["fingerprint"] != given["model"]["fingerprint"]
    write_clip(tmp_path / "mean", mean=[0.5] * 3)
    assert model_inputs(settings(tmp_path / "mean"))["model"]["fingerprint"] != given["model"]["fingerprint"]
    heads = []
    for content in (b"any", b"other"):
        (tmp_path / "head.pth").write_bytes(content)
        with_head = model_inputs(settings(folder, aesthetic_head=str(tmp_path / "head.pth")))
        assert with_head["model"] == given["model"]  # a head scores vectors, and changes none
        heads.append(with_head["head"]["fingerprint"])
    assert heads[0] != heads[1]


def test_what_cannot_be_used_says_why(clip: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = clip
    with pytest.raises(UsageError, match=r"backend` is perceptual.*pretrained tag"):
        make_embedder({"backend": "perceptual"})
    with pytest.raises(UsageError, match="no architecture ViT-Z-99"):
        make_embedder(settings(folder, model="ViT-Z-99"))
    with pytest.raises(UsageError, match=r"has no weights nonsense.*laion2b_s34b_b79k"):
        make_embedder(settings(folder, model="ViT-B-32", weights="nonsense"))
    with pytest.raises(UsageError, match="do not exist"):
        make_embedder(settings(folder, weights=str(tmp_path / "none.safetensors")))
    with pytest.raises(UsageError, match=r"no \.safetensors"):
        make_embedder(settings(folder, weights="clip.pt"))
    with pytest.raises(UsageError, match=r"cannot be built with the weights.*must belong together"):
        make_embedder(settings(folder, model="ViT-S-32-alt"))
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(UsageError, match="cannot be built"):
        make_embedder(settings(folder, weights=str(tmp_path / "torn.safetensors")))
    (tmp_path / "blind.json").write_text(json.dumps({k: v for k, v in CONFIG.items() if k != "vision_cfg"}))
    with pytest.raises(UsageError, match="lacks `vision_cfg`"):
        make_embedder(settings(folder, model=str(tmp_path / "blind.json")))
    write_clip(tmp_path / "odd", resize_mode="sideways")
    with pytest.raises(UsageError, match="preprocess_cfg"):
        make_embedder(settings(tmp_path / "odd"))
    with pytest.raises(UsageError, match=r"head.*cannot be read"):
        make_embedder(settings(folder, aesthetic_head=str(tmp_path / "none.pth")))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no GPU"):
        make_embedder(settings(folder, device="cuda"))


# A tag, the hub's cache, and no network -------------------------------------------------------------------------------

TAG = "laion2b_s34b_b79k"
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""What the repository of that tag has; the first is preferred."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub; whoever tries the network fails the test."""
    import huggingface_hub.constants
    import open_clip

    def network(*_: object) -> None:
        pytest.fail("the network was tried")

    monkeypatch.setattr(open_clip, "download_pretrained", network)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(cache: Path, repo: str, file: str, source: Path) -> Path:
    """A file as the hub's client keeps it."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("a1b2")
    place = folder / "snapshots" / "a1b2" / file
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, place)
    return place


@pytest.mark.parametrize("variable", ["STIV_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_never_tries_the_network_and_says_what_to_get(
    variable: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STIV_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert not offline.is_offline()
    monkeypatch.setenv(variable, "1")
    assert offline.is_offline()
    with pytest.raises(UsageError) as error:
        find("ViT-B-32", TAG)
    assert FILES[0] in error.value.message
    assert f"hf download laion/CLIP-ViT-B-32-laion2B-s34B-b79K {FILES[0]}" in error.value.fix


def test_set_offline_tells_the_hub_and_children(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    import huggingface_hub.constants

    for name in ("STIV_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    assert not offline.is_offline()
    offline.set_offline()
    assert offline.is_offline()
    assert huggingface_hub.constants.HF_HUB_OFFLINE
    assert os.environ["STIV_OFFLINE"] == os.environ["HF_HUB_OFFLINE"] == "1"


def test_what_was_fetched_before_is_used_and_nothing_is_asked(clip: tuple[Any, Path], cache: Path) -> None:
    _, folder = clip
    bin_ = put(cache, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", FILES[1], folder / "tiny.safetensors")
    assert find("ViT-B-32", TAG).file == str(bin_)
    safe = put(cache, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", FILES[0], folder / "tiny.safetensors")
    spec = find("ViT-B-32", TAG)
    assert spec.file == str(safe)
    assert spec.name == f"ViT-B-32/{TAG}"


def test_a_tag_says_which_activation_and_preparation(clip: tuple[Any, Path], cache: Path) -> None:
    _, folder = clip
    put(cache, "timm/vit_base_patch32_clip_224.openai", FILES[0], folder / "tiny.safetensors")
    put(cache, "timm/ViT-B-16-SigLIP", FILES[0], folder / "tiny.safetensors")
    openai, siglip = find("ViT-B-32", "openai"), find("ViT-B-16-SigLIP", "webli")
    assert openai.config["quick_gelu"] is True
    assert siglip.config["quick_gelu"] is False
    assert siglip.preparation["resize_mode"] == "squash"
    assert openai.preparation["resize_mode"] == "shortest"


def test_a_file_is_hashed_once(clip: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = clip
    first = hub.file_fingerprint(folder / "tiny.safetensors")
    monkeypatch.setattr(hub.hashlib, "sha256", lambda: pytest.fail("it was read again"))
    assert hub.file_fingerprint(str(folder / "tiny.safetensors")) == first


@pytest.mark.parametrize(
    ("name", "local"),
    [("owner/name", False), ("owner/name@refs/pr/3", False), ("owner/name@feature/x", False), ("a/b/c", True), ("./a", True), ("/a/b", True)],
)  # fmt: skip
def test_names_on_the_hub_are_told_from_paths(name: str, local: bool) -> None:
    assert hub.is_path(name) is local
