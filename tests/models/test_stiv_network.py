"""The network: parameters against the paper's arithmetic, and what must not change what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from models.stiv import layers
from models.stiv.config import PRESETS, STIVConfig, config_from_recipe
from models.stiv.counting import count_parameters
from models.stiv.flops import forward_flops, train_flops
from models.stiv.network import STIV, linear_guess
from models.stiv.rope import pair_shares, positions, rotate, turns
from models.text.contract import TextCondition
from schemas.errors import UsageError
from schemas.train_recipe import Model

SMALL = STIVConfig(width=128, depth=2, channels=4, text_width=32, mask_blocks=2)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # these sizes are quicker so
    yield
    torch.set_num_threads(threads)


def lively(config: STIVConfig) -> STIV:
    """A network whose zero-initialised layers have been given weights, so that everything in it has a say."""
    network = STIV(config)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.2)
    return network.eval()


def inputs(batch: int, frames: int = 4, rows: int = 8, columns: int = 8, config: STIVConfig = SMALL) -> dict:
    mask = torch.ones(batch, 5, dtype=torch.bool)
    mask[:, 4:] = False
    width = config.text_width
    return {
        "latents": torch.randn(batch, config.channels, frames, rows, columns),
        "time": torch.rand(batch),
        "text": TextCondition(torch.randn(batch, 5, width), torch.randn(batch, width), mask),
        "micro": torch.tensor([[256.0, 320.0, 0.0, 32.0, 3.0, 4.0]]).repeat(batch, 1),
    }


# Parameters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("temporal", [False, True])
def test_a_block_has_the_parameters_of_the_arithmetic(preset: str, temporal: bool) -> None:
    """stiv.md 2.1: 4d² spatial, 4d² temporal, 4d² cross, 8d² feed-forward; keys and values of the text come from its own width."""
    width, depth = PRESETS[preset]
    config = STIVConfig(width, depth, 4, text_width=width, temporal=temporal, mask_blocks=2)
    found = count_parameters(config)
    arithmetic = depth * width * width * (20 if temporal else 16)
    # Biases, norms and a block's offsets are what is over: they matter in a narrow network only.
    assert arithmetic < found["blocks"] < arithmetic * (1 + 12 / width)
    assert found["tail"] * depth == found["blocks"] * 2
    if preset == "T":
        assert found["total"] == sum(p.numel() for p in STIV(config).parameters())


@pytest.mark.parametrize(("preset", "millions"), [("XL", 594), ("XXL", 1430)])
def test_named_sizes_are_those_of_the_paper_as_image_models(preset: str, millions: float) -> None:
    width, depth = PRESETS[preset]
    found = count_parameters(STIVConfig(width, depth, 4, text_width=width, temporal=False, mask_blocks=0))
    assert found["blocks"] / 1e6 == pytest.approx(millions, rel=0.015)


def test_m_is_the_size_of_the_paper_as_a_video_model() -> None:
    width, depth = PRESETS["M"]
    assert count_parameters(STIVConfig(width, depth, 4, width, mask_blocks=0))["blocks"] / 1e9 == pytest.approx(
        8.68, rel=0.01
    )


def test_tiny_is_about_a_million() -> None:
    width, depth = PRESETS["T"]
    assert 1.0e6 < count_parameters(STIVConfig(width, depth, 8, 128, mask_blocks=0))["total"] < 2.2e6


# What must not change what -------------------------------------------------------------------------------------------


def test_shapes_for_videos_images_and_odd_lengths() -> None:
    network = lively(SMALL)
    for frames in (1, 2, 3, 7):
        given = inputs(2, frames)
        assert network(**given).shape == given["latents"].shape


def test_at_first_the_prediction_is_zero_and_has_a_gradient() -> None:
    network = STIV(SMALL)
    found = network(**inputs(2))
    assert not found.any()
    (found - 1).square().mean().backward()
    assert network.last.weight.grad is not None
    assert network.last.weight.grad.abs().sum() > 0


def test_keeping_all_tokens_equals_no_masking() -> None:
    network, given = lively(SMALL), inputs(3)
    keep = torch.arange(16).expand(3, -1)
    torch.testing.assert_close(network(**given, keep=keep), network(**given), rtol=1e-5, atol=1e-5)


def test_keeping_all_tokens_equals_no_masking_in_bfloat16_too() -> None:
    network, given = lively(SMALL), inputs(2)
    keep = torch.arange(16).expand(2, -1)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(network(**given, keep=keep), network(**given), rtol=0, atol=0)


def test_more_sequences_than_a_kernel_takes_are_taken_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    network, given = lively(SMALL), inputs(3)
    whole = network(**given)
    monkeypatch.setattr(layers, "_MOST_ROWS", 5)
    torch.testing.assert_close(network(**given), whole)


def test_dropped_tokens_are_not_seen_by_the_main_blocks() -> None:
    network, given = lively(replace(SMALL, mask_blocks=0)), inputs(2)
    keep = torch.arange(0, 16, 2).expand(2, -1)
    before = network(**given, keep=keep)
    changed = given["latents"].clone()
    changed[..., 0, 2] += 1  # spatial token 1 (rows 0 and 1, columns 2 and 3) is dropped
    after = network(**{**given, "latents": changed}, keep=keep)
    tokens = (after - before).unfold(3, 2, 2).unfold(4, 2, 2).abs().amax((0, 1, 2, 5, 6)).flatten()
    assert tokens[1] > 0
    assert tokens[[t for t in range(16) if t != 1]].max() == 0


def test_each_sample_may_drop_other_tokens() -> None:
    network, given = lively(SMALL), inputs(2)
    keep = torch.stack((torch.arange(0, 16, 2), torch.arange(1, 16, 2)))
    both = network(**given, keep=keep)
    for k in range(2):
        text = TextCondition(*(part[k : k + 1] for part in vars(given["text"]).values()))
        one = {name: value[k : k + 1] for name, value in given.items() if name != "text"}
        torch.testing.assert_close(
            network(**one, text=text, keep=keep[k : k + 1]), both[k : k + 1], rtol=1e-3, atol=1e-4
        )


def test_new_temporal_attention_changes_nothing() -> None:
    """STIV grows a video model from an image model: with new temporal layers a video is its frames, one by one."""
    config = replace(SMALL, patch=(1, 2, 2))
    image = lively(replace(config, temporal=False))
    video = STIV(config).eval()
    video.forget_time()
    missing, unexpected = video.load_state_dict(image.state_dict(), strict=False)
    assert missing
    assert all("temporal" in name for name in missing)
    assert not unexpected
    given = inputs(2, 3, config=config)
    whole = video(**given)
    torch.testing.assert_close(whole, image(**given))
    for k in range(3):
        frame = image(**{**given, "latents": given["latents"][:, :, k : k + 1]})
        torch.testing.assert_close(whole[:, :, k : k + 1], frame, rtol=1e-4, atol=1e-5)
    moved = lively(config)
    moved.load_state_dict(image.state_dict(), strict=False)
    assert (moved(**given) - whole).abs().max() > 1e-3


def test_full_attention_sees_other_places_in_other_frames() -> None:
    for attention, reach in (("full", True), ("factorized", False)):
        network = lively(
            STIVConfig(128, 1, 4, 32, patch=(1, 2, 2), attention=attention, temporal=attention == "full", mask_blocks=0)
        )
        given = inputs(1, 2)
        changed = given["latents"].clone()
        changed[:, :, 1] += 1
        moved = (network(**{**given, "latents": changed}) - network(**given))[:, :, 0].abs().max() > 1e-4
        assert bool(moved) is reach


def test_padding_of_the_text_is_not_seen() -> None:
    network, given = lively(SMALL), inputs(2)
    tokens = given["text"].tokens.clone()
    tokens[:, 4] = 100.0
    torch.testing.assert_close(network(**{**given, "text": replace(given["text"], tokens=tokens)}), network(**given))


@pytest.mark.parametrize("what", ["time", "pooled", "tokens", *range(6)])
def test_every_condition_has_a_say(what: str | int) -> None:
    network, given = lively(SMALL), inputs(1)
    before = network(**given)
    if what == "time":
        given["time"] = given["time"] * 0.5 + 0.01
    elif isinstance(what, int):
        given["micro"] = given["micro"].clone()
        given["micro"][:, what] += 7
    else:
        given["text"] = replace(given["text"], **{what: torch.randn_like(getattr(given["text"], what))})
    assert (network(**given) - before).abs().max() > 1e-4


def test_samples_do_not_see_each_other() -> None:
    network, given = lively(SMALL), inputs(2)
    before = network(**given)[0]
    given["latents"][1] += 1
    torch.testing.assert_close(network(**given)[0], before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [2, 3, 4])
def test_the_network_knows_where_a_token_is(axis: int) -> None:
    """Equal content everywhere: rotary positions alone would give equal answers everywhere but for the borders' neighbours."""
    network, given = lively(replace(SMALL, depth=0, mask_blocks=0)), inputs(1, 8)
    found = network(**{**given, "latents": torch.ones_like(given["latents"])})
    assert (found.narrow(axis, 0, 2) - found.narrow(axis, 4, 2)).abs().max() > 1e-3


def test_the_linear_guess_is_the_best_one_and_leaves_unit_variance() -> None:
    x1, noise = torch.randn(2, 4096, 1, 1, 1, 4)
    for t in (0.0, 0.2, 0.5, 0.9, 1.0):
        time = torch.full((4096,), t)
        x = t * x1 + (1 - t) * noise
        guess = linear_guess(torch.zeros_like(x), x, time)
        left = (x1 - noise) - guess
        assert (left * x).mean().abs() < 0.05, "what is left still follows x, so another factor guesses better"
        scale = linear_guess(torch.ones_like(x), torch.zeros_like(x), time)
        assert (left / scale).var().item() == pytest.approx(1, rel=0.05)


def test_a_network_with_a_skip_adds_its_prediction_to_the_guess() -> None:
    config, given = replace(SMALL, skip=True), inputs(2)
    expected = linear_guess(torch.zeros_like(given["latents"]), given["latents"], given["time"])
    torch.testing.assert_close(STIV(config)(**given), expected)
    plain, skipping = lively(SMALL), STIV(config)
    skipping.load_state_dict(plain.state_dict())
    torch.testing.assert_close(skipping(**given), linear_guess(plain(**given), given["latents"], given["time"]))


# Positions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(9,), (9, 9), (5, 9, 9)], ids=["time", "space", "full"])
def test_rotation_depends_on_distance_alone(size: tuple[int, ...]) -> None:
    turn = turns(positions(size, None, torch.device("cpu")), 64)
    tokens = turn[0].shape[0]
    q, k = (rotate(torch.randn(64).expand(tokens, 64), turn).reshape(*size, 64) for _ in range(2))

    def score(a: int, b: int) -> torch.Tensor:
        """Of the query at place (a, a, …) and the key at (b, b, …)."""
        return q[(a,) * len(size)] @ k[(b,) * len(size)]

    torch.testing.assert_close(score(1, 3), score(2, 4), rtol=1e-4, atol=1e-4)
    assert (score(1, 2) - score(1, 3)).abs() > 1e-3
    assert sum(pair_shares(32, len(size))) == 32


def test_longer_axes_are_squeezed_into_the_reference() -> None:
    found = positions((8,), (4,), torch.device("cpu")).flatten().tolist()
    assert found == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]
    assert positions((3,), (4,), torch.device("cpu")).flatten().tolist() == [0, 1, 2]
    small = config_from_recipe(Model(preset="T"), 4, 32, (4, 8, 16, 16))
    assert small.rope_reference == (4, 8, 8)
    assert config_from_recipe(Model(preset="T", rope_interpolate=False), 4, 32, (4, 8, 16, 16)).rope_reference is None


# Cost and shape ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "kept", "teraflop"), [(32, None, 10.7), (32, 128, 6.1), (64, None, 45.7)], ids=["256", "256 masked", "512"]
)
def test_flops_are_those_of_the_arithmetic(rows: int, kept: int | None, teraflop: float) -> None:
    """stiv.md 3.3, XL with 20 frames and 120 text tokens of width 1280. Unmasked rows there count no blocks of the tail."""
    config = STIVConfig(1152, 28, 4, 1280, mask_blocks=2 if kept else 0)
    assert train_flops(config, (20, rows, rows), 120, kept) / 1e12 == pytest.approx(teraflop, rel=0.015)


def test_flops_agree_with_what_torch_counts() -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    for attention in ("factorized", "full"):
        config = replace(SMALL, attention=attention, depth=4, width=256)
        network, given = STIV(config), inputs(2, 8, 16, 16)
        # The counter knows the plain form of attention on every device.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            network(**given)
        assert forward_flops(config, (8, 16, 16), 5) * 2 == pytest.approx(counter.get_total_flops(), rel=0.03)


def test_a_configuration_survives_json() -> None:
    config = config_from_recipe(Model(preset="B", depth=3), 16, 77, (16, 20, 32, 32))
    assert (config.width, config.depth, config.heads) == (768, 3, 12)
    assert STIVConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="heads are 64 wide"):
        STIVConfig(100, 2, 4, 32)
    with pytest.raises(UsageError, match="no attention"):
        replace(SMALL, attention="windowed")
    with pytest.raises(ValueError, match="7 × 8 do not divide"):
        STIV(SMALL)(**inputs(1, rows=7))
