"""Conditions read back in place of an encoder, and the hash by which encoders are told apart."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from models.text.cached import CachedText
from models.text.content import content
from schemas.errors import UsageError
from schemas.train_recipe import Text

CONDITIONS = {
    "a b": (torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).half(), torch.tensor([7.0, 8.0]).half()),
    "": (torch.tensor([[9.0, 10.0]]).half(), torch.tensor([11.0, 12.0]).half()),
}


class Shelf:
    """A :class:`models.text.cached.Stored` in memory."""

    width, max_tokens = 2, 5

    def places(self, captions: Sequence[str]) -> np.ndarray:
        return np.array([list(CONDITIONS).index(caption) for caption in captions], np.int64)

    def read(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        return list(CONDITIONS.values())[place]


def test_ragged_conditions_come_back_padded_and_masked() -> None:
    encoder = CachedText(Shelf())
    assert (encoder.width, encoder.max_tokens, encoder.trained) == (2, 5, False)
    found = encoder.encode(encoder.tokenize(["", "a b"]))
    assert found.tokens.dtype == found.pooled.dtype == torch.float32
    assert found.tokens.tolist() == [[[9, 10], [0, 0], [0, 0]], [[1, 2], [3, 4], [5, 6]]]
    assert found.pooled.tolist() == [[11, 12], [7, 8]]
    assert found.mask.tolist() == [[True, False, False], [True, True, True]]
    assert encoder.encode(encoder.tokenize([""])).tokens.shape == (1, 1, 2)
    assert encoder.encode(encoder.tokenize([])).tokens.shape == (0, 1, 2)


def test_nothing_is_held_that_could_train() -> None:
    encoder = CachedText(Shelf())
    assert not list(encoder.parameters())
    assert not encoder.state_dict()
    assert not encoder.train().training


# What an encoder is made of ---------------------------------------------------------------------------------------------


def openclip(folder: Path) -> Text:
    folder.mkdir(exist_ok=True)
    (folder / "tower.json").write_text(json.dumps({"embed_dim": 4, "text_cfg": {"width": 64}}))
    (folder / "tower.safetensors").write_bytes(b"weights")
    return Text(kind="openclip", name=str(folder / "tower.json"), weights=str(folder / "tower.safetensors"))


def t5(folder: Path) -> Text:
    for part in ("text_encoder", "tokenizer"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "text_encoder" / "config.json").write_text("{}")
    for shard in ("a", "b"):
        (folder / "text_encoder" / f"{shard}.safetensors").write_bytes(shard.encode())
    (folder / "text_encoder" / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"x": "b.safetensors", "y": "a.safetensors"}})
    )
    (folder / "tokenizer" / "tokenizer.json").write_text("words")
    return Text(kind="t5", name=str(folder))


def test_content_is_of_the_files_not_of_their_place(tmp_path: Path) -> None:
    for make in (openclip, t5):
        here, there = (content(make(tmp_path / f"{make.__name__}-{n}")) for n in (1, 2))
        assert here == there
        assert here is not None
        assert len(here) == 64


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("openclip/tower.safetensors", "other weights"),
        ("openclip/tower.json", '{"embed_dim": 4, "text_cfg": {"width": 64}, "quick_gelu": true}'),
        ("t5/text_encoder/b.safetensors", "other"),
        ("t5/text_encoder/config.json", '{"a": 1}'),
        ("t5/tokenizer/tokenizer.json", "other words"),
        ("t5/tokenizer/added_tokens.json", "{}"),
    ],
)
def test_content_changes_with_every_file_that_counts(tmp_path: Path, file: str, text: str) -> None:
    recipe = (openclip if file.startswith("openclip") else t5)(tmp_path / file.split("/")[0])
    before = content(recipe)
    (tmp_path / file).write_text(text)
    assert content(recipe) != before


def test_what_is_not_here_has_no_content(tmp_path: Path) -> None:
    recipe = openclip(tmp_path)
    for names in ({"name": "ViT-B-32", "weights": "openai"}, {"weights": str(tmp_path / "none.safetensors")}):
        assert content(recipe.model_copy(update=names)) is None
    with pytest.raises(UsageError, match="do not exist"):
        content(recipe.model_copy(update={"weights": str(tmp_path / "none.safetensors")}), torch.nn.Identity())
    assert content(Text(kind="t5", name="owner/name")) is None
    t5_recipe = t5(tmp_path / "t5")
    (tmp_path / "t5" / "text_encoder" / "b.safetensors").unlink()
    assert content(t5_recipe) is None
