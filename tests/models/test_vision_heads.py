"""Aesthetic heads, tags and what the stills of a clip say together, by numbers worked out by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.vision.aesthetic import AestheticHead, read_head
from models.vision.embedder import mean_vector, view_of
from models.vision.tags import Tags, make_tags
from schemas.errors import UsageError

MLP = (1024, 128, 64, 16, 1)
"""Widths after the input of the improved predictor; dropouts stand at 1, 3 and 5."""


def mlp(width: int) -> torch.nn.Module:
    """The published network: linear layers with dropout between, under `layers`."""
    torch.manual_seed(0)
    linear = [torch.nn.Linear(a, b) for a, b in zip((width, *MLP), MLP, strict=False)]
    drop = torch.nn.Dropout(0.2)
    whole = torch.nn.Module()
    whole.layers = torch.nn.Sequential(linear[0], drop, linear[1], drop, linear[2], drop, linear[3], linear[4])
    return whole.eval()


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_the_linear_head_by_hand(kind: str, tmp_path: Path) -> None:
    state = {"weight": torch.tensor([[1.0, -2.0, 0.5, 0.0]]), "bias": torch.tensor([5.0])}
    path = tmp_path / f"sa_0_4_tiny_linear.{kind}"
    save_file(state, path) if kind == "safetensors" else torch.save(state, path)
    head = read_head(str(path), 4, "tiny")
    vectors = np.array([[1, 0, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0]], np.float32)
    assert head.scores(vectors).tolist() == pytest.approx([6.0, 5 + 0.6 - 1.6, 5.5])


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_the_mlp_head_is_the_published_network(kind: str, tmp_path: Path) -> None:
    network = mlp(768)
    state = network.state_dict()
    assert list(state) == [f"layers.{n}.{part}" for n in (0, 2, 4, 6, 7) for part in ("weight", "bias")]
    path = tmp_path / f"sac+logos+ava1-l14-linearMSE.{kind}"
    save_file(state, path) if kind == "safetensors" else torch.save(state, path)
    head = read_head(str(path), 768, "ViT-L-14")
    vectors = torch.nn.functional.normalize(torch.randn(5, 768), dim=-1)
    with torch.no_grad():
        wanted = network.layers(vectors)[:, 0].numpy()
    assert np.abs(head.scores(vectors.numpy()) - wanted).max() < 1e-5


def test_layers_are_taken_in_order_of_their_numbers(tmp_path: Path) -> None:
    state = {"layers.2.weight": torch.tensor([[2.0]]), "layers.2.bias": torch.tensor([1.0])}
    state |= {"layers.10.weight": torch.tensor([[3.0]]), "layers.10.bias": torch.tensor([0.0])}
    save_file(state, tmp_path / "h.safetensors")
    head = read_head(str(tmp_path / "h.safetensors"), 1, "m")
    assert head.scores(np.ones((1, 1), np.float32)).tolist() == [9.0]  # (1·2 + 1)·3


def test_a_head_for_another_width_names_both(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1, 768), "bias": torch.zeros(1)}, tmp_path / "h.safetensors")
    with pytest.raises(
        UsageError, match=r"h\.safetensors takes vectors of width 768, and ViT-B-32/x makes .* width 512"
    ):
        read_head(str(tmp_path / "h.safetensors"), 512, "ViT-B-32/x")


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/nowhere/evil"),))


def test_what_is_no_head_says_so_and_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "h.pth"
    bad: list[tuple[Any, str]] = [
        ({"weight": Evil(), "bias": torch.zeros(1)}, "no aesthetic predictor"),
        ({"weight": torch.zeros(1, 4)}, "it holds weight"),
        ({"weight": torch.zeros(2, 4), "bias": torch.zeros(2)}, "4×2"),
        ({"weight": torch.zeros(1, 4), "bias": torch.zeros(2)}, r"bias of shape \(2,\)"),
        ({"layers.0.weight": torch.zeros(3, 4), "layers.0.bias": torch.zeros(3), "x": torch.zeros(1)}, "it holds"),
        (
            {f"layers.{n}.{k}": torch.zeros(*s) for n in (0, 1) for k, s in (("weight", (1, 4)), ("bias", (1,)))},
            "4×1 → 4×1",
        ),
        ([torch.zeros(1)], "no aesthetic predictor"),
    ]
    for state, message in bad:
        torch.save(state, path)
        with pytest.raises(UsageError, match=message):
            read_head(str(path), 4, "tiny")
    path.write_bytes(b"torn")
    with pytest.raises(UsageError, match="no aesthetic predictor"):
        read_head(str(path), 4, "tiny")
    with pytest.raises(UsageError, match="does not exist"):
        read_head(str(tmp_path / "none.pth"), 4, "tiny")


AXES = {"east": (1.0, 0.0), "north": (0.0, 1.0), "south": (0.0, -1.0)}


def prompts(texts: Any) -> np.ndarray:
    return np.array([AXES[t] for t in texts], np.float32)


def test_shares_are_a_softmax_within_each_group() -> None:
    groups = {"side": {"up": ("north",), "right": ("east",)}, "pole": {"n": ("north",), "s": ("south",)}}
    tags = make_tags(groups, prompts, scale=2.0)
    vectors = np.array([[0.6, 0.8]], np.float32)
    shares = tags.shares(vectors)[0]
    right = np.exp(1.2) / (np.exp(1.2) + np.exp(1.6))
    north = np.exp(1.6) / (np.exp(1.6) + np.exp(-1.6))
    assert tags.labels == ["n", "s", "right", "up"]  # alphabetical, group by group
    assert shares.tolist() == pytest.approx([north, 1 - north, right, 1 - right], abs=1e-6)
    assert tags.best(shares) == ["n", "up"]


def test_a_labels_vector_is_the_mean_of_its_prompts_made_unit() -> None:
    tags = make_tags({"g": {"both": ("east", "north"), "one": ("south",)}}, prompts, scale=1.0)
    assert tags.vectors[0].tolist() == pytest.approx([0.5**0.5, 0.5**0.5])


def test_large_scales_do_not_overflow_and_no_groups_are_no_tags() -> None:
    tags = make_tags({"g": {"a": ("east",), "b": ("south",)}}, prompts, scale=1e4)
    assert tags.shares(np.array([[1, 0]], np.float32)).tolist() == [[1.0, 0.0]]
    nothing = make_tags({}, lambda texts: np.zeros((0, 2), np.float32), scale=1.0)
    assert nothing.shares(np.ones((3, 2), np.float32)).shape == (3, 0)
    assert nothing.best(np.zeros(0)) == []


def test_stills_together() -> None:
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)  # cosines of neighbours: 0.6, 0.8; of the ends: 0
    tags = Tags((("right", "up"),), np.eye(2, dtype=np.float32), 1.0)
    head = AestheticHead(((np.array([[1.0, 3.0]], np.float32), np.array([4.0], np.float32)),))
    view = view_of(vectors, head, tags)
    assert view.consistency == pytest.approx(0.6)
    length = np.hypot(1.6, 1.8)
    assert view.embedding is not None
    assert view.embedding.tolist() == pytest.approx([1.6 / length, 1.8 / length])
    assert view.aesthetic == pytest.approx((5 + 7 + 7) / 3)
    assert view.tags == ["up"]
    assert view.tag_scores is not None
    assert sum(view.tag_scores.values()) == pytest.approx(1)
    ups = [np.exp(y) / (np.exp(x) + np.exp(y)) for x, y in vectors]
    assert view.tag_scores["up"] == pytest.approx(np.mean(ups))


def test_one_still_has_no_consistency_and_opposites_no_direction() -> None:
    tags = Tags((), np.zeros((0, 2), np.float32), 1.0)
    view = view_of(np.array([[1, 0]], np.float32), None, tags)
    assert (view.consistency, view.aesthetic, view.tags, view.tag_scores) == (None, None, [], {})
    assert mean_vector(np.array([[1, 0], [-1, 0]], np.float32)) is None


def test_a_head_with_values_that_are_no_numbers_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.full((1, 4), float("nan")), "bias": torch.zeros(1)}, tmp_path / "h.safetensors")
    with pytest.raises(UsageError, match="no finite numbers"):
        read_head(str(tmp_path / "h.safetensors"), 4, "small")
