"""Sizes of weights that are not here: reckoned, near what the files have, and without a network."""

import socket
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from models.sizes import named_mb, openclip_mb
from models.vision.towers import shell

VISION = {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
TIMM = {"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "linear", "image_size": 160}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was tried"))


@pytest.mark.parametrize(
    "config",
    [
        {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT},
        {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT, "custom_text": True},
        {"embed_dim": 32, "vision_cfg": {**TIMM, "timm_model_pretrained": True}, "text_cfg": TEXT, "custom_text": True},
    ],
)
def test_a_clip_is_as_large_as_its_file_would_be(config: dict[str, Any], tmp_path: Path) -> None:
    save_file({k: v.contiguous() for k, v in shell(config).state_dict().items()}, tmp_path / "w.safetensors")
    assert openclip_mb(config) == pytest.approx((tmp_path / "w.safetensors").stat().st_size / 1e6, rel=0.01)


@pytest.mark.parametrize(
    "change",
    [
        {"text_cfg": {**TEXT, "hf_model_name": "org/words"}},
        {"vision_cfg": {**VISION, "patch_size": None}},
        {"vision_cfg": {**TIMM, "timm_model_name": "no_such_model"}},
    ],
)
def test_what_cannot_be_built_has_no_size(change: dict[str, Any]) -> None:
    assert openclip_mb({"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT, **change}) is None


@pytest.mark.parametrize(
    ("name", "mb"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", 14_000),
        ("HuggingFaceTB/SmolVLM2-2.2B-Instruct", 4_400),
        ("HuggingFaceTB/SmolVLM2-500M-Video-Instruct", 1_000),
        ("Qwen/Qwen3-8B", 16_000),
        ("org70B/tiny", None),
        ("google/t5-v1_1-xxl", None),
        ("org/v2B3", None),
    ],
)
def test_names_tell_the_number_of_parameters(name: str, mb: float | None) -> None:
    assert named_mb(name) == mb
