"""The measuring of moving shapes: right on golden truth, lost on noise; prompts and bounds; the command's exit codes."""

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from curation.golden import set_shapes
from curation.golden.shapes import DIRECTIONS, SHAPES, combination, crossing
from models.latents.make import fit_latents
from schemas.errors import RecipeError
from schemas.train_recipe import Latents
from stiv_train.evaluation import shapes
from stiv_train.evaluation.shape_measure import UNKNOWN, measure
from stiv_train.objective import pixels
from stiv_train.sample_grid import to_uint8

SIZE, FRAMES = 32, 8


def golden(index: int, stride: int) -> np.ndarray:
    """(8, 32, 32, 3): the golden clip ``index`` as the loader samples it, one of ``stride`` frames, scaled down."""
    video = set_shapes.videos(seed=3, count=index + 1)[index]
    frames = list(video.frames())[: stride * FRAMES : stride]
    return np.stack([cv2.resize(f, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for f in frames])


def drawn(count: int, stride: int) -> tuple[np.ndarray, list[shapes.ShapePrompt]]:
    """Golden videos of every combination, and prompts that ask for just that."""
    rng = np.random.default_rng(5)
    videos, wanted = [], []
    for index in range(count):
        shape, colour, direction = combination(index)
        made = crossing(shape, colour, direction, 128, 128, 40, rng)
        ground = np.full((128, 128, 3), ((16, 16, 18), (112, 112, 114), (84, 58, 36))[index % 3], np.uint8)
        frames = [made.paint(ground, stride * k) for k in range(FRAMES)]
        videos.append(np.stack([cv2.resize(f, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for f in frames]))
        wanted.append(shapes.ShapePrompt(made.caption("x"), colour, direction, shape))
    return np.stack(videos), wanted


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("spoil", ["clean", "noise", "faded"])
def test_golden_truth_is_read_right(stride: int, spoil: str) -> None:
    videos, wanted = drawn(72, stride)
    pixels = videos.astype(np.float32)
    if spoil == "noise":
        pixels += np.random.default_rng(0).normal(0, 10, pixels.shape)
    elif spoil == "faded":
        pixels = 0.6 * pixels + 0.4 * pixels[:, :1, :1, :1]  # towards the background
    found = shapes.evaluate(np.clip(pixels, 0, 255).astype(np.uint8), wanted).shares
    assert found["colour"].share >= 0.99
    assert found["direction"].share >= 0.99
    assert found["shape"].share >= 0.95


def test_what_a_codec_leaves_of_golden_truth_is_read_right() -> None:
    torch.set_num_threads(1)
    videos, wanted = drawn(72, 3)
    batch = pixels(videos, torch.device("cpu"))
    codec = fit_latents(Latents(block=(1, 8, 8), channels=24), [batch])
    found = shapes.evaluate(to_uint8(codec.decode(codec.encode(batch))), wanted).shares
    assert found["colour"].share >= 0.99
    assert found["direction"].share >= 0.99
    assert found["shape"].share >= 0.95


def test_the_golden_set_itself_and_its_captions() -> None:
    video = set_shapes.videos(seed=3, count=6)[5]
    seen = measure(golden(5, 3))
    assert (seen.shape, seen.colour, seen.direction) == tuple(video.truth[k] for k in ("shape", "colour", "direction"))
    asked = shapes.prompts(72)
    captions = {v.caption for v in set_shapes.videos(seed=0, count=288)}
    # Same wording: nearly every prompt is the caption of some golden clip (grounds are drawn, so not quite all).
    assert sum(prompt.text in captions for prompt in asked) > 36


@pytest.mark.parametrize("kind", ["pixels", "blocks", "flat", "still"])
def test_what_shows_no_moving_shape_is_at_chance_or_unknown(kind: str) -> None:
    rng = np.random.default_rng(1)
    count = 72
    if kind == "pixels":
        videos = rng.integers(0, 256, (count, FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
    elif kind == "blocks":
        small = np.clip(rng.normal(110, 50, (count, FRAMES, 4, 4, 3)), 0, 255).astype(np.uint8)
        videos = small.repeat(8, 2).repeat(8, 3)
    elif kind == "flat":
        videos = np.full((count, FRAMES, SIZE, SIZE, 3), 90, np.uint8)
    else:
        videos = np.repeat(drawn(count, 1)[0][:, :1], FRAMES, 1)
    result = shapes.evaluate(videos, shapes.prompts(count))
    assert result.shares["direction"].bounds[0] < 0.35
    if kind in ("pixels", "blocks"):
        assert result.shares["colour"].share < 0.35
    if kind != "still":
        assert result.shares["shape"].share < 0.1
    if kind in ("flat", "still"):
        assert all(seen.direction == UNKNOWN for seen in result.seen)


def test_prompts_hold_each_combination_once_before_any_twice() -> None:
    asked = shapes.prompts(96, seed=4)
    assert asked == shapes.prompts(96, seed=4) != shapes.prompts(96, seed=5)
    assert asked[:10] == shapes.prompts(10, seed=4)
    times = Counter((p.shape, p.colour, p.direction) for p in asked)
    assert len(times) == 72
    assert max(times.values()) == 2
    for prompt in asked:
        assert f"A {prompt.colour} {prompt.shape} moves " in prompt.text
        assert prompt.direction in prompt.text
    assert shapes.prompts(0) == []
    assert {p.direction for p in asked} == set(DIRECTIONS)
    assert {p.shape for p in asked} == set(SHAPES)


def test_wilson_bounds() -> None:
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert shapes.Share(81, 263).bounds == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert shapes.Share(0, 20).bounds == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert shapes.Share(0, 0).bounds == (0.0, 1.0)


def test_required_shares() -> None:
    def result(colour: int, direction: int) -> shapes.Result:
        shares = {"colour": colour, "direction": direction, "shape": 0}
        return shapes.Result([], {k: shapes.Share(v, 96) for k, v in shares.items()})

    assert shapes.unmet(result(92, 54), 0.95, 0.45) == []  # 54 of 96: from 46.3 %
    assert "95.0%" in shapes.unmet(result(91, 54), 0.95, 0.45)[0]
    assert "lower 95 % bound" in shapes.unmet(result(92, 52), 0.95, 0.45)[0]
    assert len(shapes.unmet(result(0, 0), 0.95, 0.45)) == 2
    assert shapes.unmet(result(0, 0), None, None) == []


class Painter:
    """Stands in for a trained model: draws what the prompt says, or noise."""

    step = 7
    fails = False

    def __init__(self, run: object, device: str, *, step: int | None, ema: bool) -> None:
        if run == "nosuch":
            raise RecipeError("There is no run `nosuch`.", fix="Name a run.")

    def sampling(self, **settings: object) -> None:
        return None

    def generate(self, texts: list[str], *, sampling: object, seeds: list[int]) -> np.ndarray:
        if Painter.fails:
            return np.random.default_rng(0).integers(0, 256, (len(texts), FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
        videos, wanted = drawn(72, 3)
        where = {(w.shape, w.colour, w.direction): k for k, w in enumerate(wanted)}
        asked = shapes.prompts(len(texts), seed=seeds[0])
        assert [p.text for p in asked] == texts
        return np.stack([videos[where[p.shape, p.colour, p.direction]] for p in asked])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import stiv_train.generate
    import stiv_train.run_folder

    monkeypatch.setattr(stiv_train.generate, "Generator", Painter)
    monkeypatch.setattr(stiv_train.run_folder.Run, "open", staticmethod(lambda path: path))
    need = ["--prompts", "24", "--require-colour", "0.95", "--require-direction", "0.45"]
    assert shapes.main(["run", *need, "--out", str(tmp_path / "grid.png")]) == 0
    out = capsys.readouterr().out
    assert "run, step 7: 24 prompts" in out
    assert "24 of 24" in out
    assert (tmp_path / "grid.png").exists()
    monkeypatch.setattr(Painter, "fails", True)
    assert shapes.main(["run", *need, "--json"]) == 1
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["unmet"]) == 2
    assert "lower 95 % bound of direction" in captured.err
    assert shapes.main(["run", "--prompts", "24"]) == 0  # nothing required
    assert shapes.main(["nosuch"]) == 2
    assert shapes.main(["run", "--prompts", "0"]) == 2
    assert shapes.main(["run", "--out", str(tmp_path / "grid.avi")]) == 2
