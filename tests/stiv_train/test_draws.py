"""A sample's random numbers depend on seed, step, position and purpose, and on nothing else."""

import numpy as np
import pytest
import torch

from schemas.train_recipe import Conditioning, Flow
from stiv_train.draws import Draws, draw, draw_noise, stream

SHAPE = (4, 6, 2, 3)
TI2V = Conditioning(task="ti2v", text_drop=0.3, image_drop=0.4, token_drop=0.5)


def some(positions: list[int], seed: int = 1, step: int = 7, **changes: object) -> Draws:
    return draw(seed, step, positions, SHAPE, 12, Flow(), TI2V, **changes)  # type: ignore[arg-type]


def same(a: Draws, b: Draws) -> bool:
    assert a.keep is not None
    assert b.keep is not None
    pairs = (
        (a.noise, b.noise),
        (a.time, b.time),
        (a.text_dropped, b.text_dropped),
        (a.given, b.given),
        (a.keep, b.keep),
    )
    return all(torch.equal(left, right) for left, right in pairs)


def test_shapes_and_kinds() -> None:
    drawn = some([0, 1, 2])
    assert drawn.noise.shape == (3, *SHAPE)
    assert drawn.noise.dtype == drawn.time.dtype == torch.float32
    assert drawn.time.shape == drawn.text_dropped.shape == (3,)
    assert drawn.given.shape == (3, 6)
    assert drawn.keep is not None
    assert drawn.keep.shape == (3, 6)
    assert same(drawn, drawn.to("cpu"))


def test_two_halves_are_the_whole_in_any_order() -> None:
    whole = some(list(range(8)))
    for part in ([0, 1, 2, 3], [4, 5, 6, 7], [6, 0, 3]):
        half = some(part)
        assert torch.equal(half.noise, whole.noise[part])
        assert torch.equal(half.time, whole.time[part])
        assert torch.equal(half.text_dropped, whole.text_dropped[part])
        assert torch.equal(half.given, whole.given[part])
        assert half.keep is not None
        assert whole.keep is not None
        assert torch.equal(half.keep, whole.keep[part])
    assert same(some([3, 4]), some(np.array([3, 4])))  # type: ignore[arg-type]


def test_no_samples_draw_nothing() -> None:
    drawn = some([])
    assert drawn.noise.shape == (0, *SHAPE)
    assert drawn.given.shape == (0, 6)


def test_neighbours_and_far_ones_differ() -> None:
    # 2³² apart is what PyTorch's CPU generator would take for the same seed.
    places = [(s, t, p) for s in (0, 1, 2**32) for t in (0, 1, 2**32) for p in (0, 1, 2**32)]
    first = {
        (*place, purpose): stream(*place, purpose).integers(2**63)  # type: ignore[arg-type]
        for place in places
        for purpose in ("train", "validation", "sample")
    }
    assert len(set(first.values())) == len(first)


def test_streams_do_not_run_into_each_other() -> None:
    a, b = (stream(0, 0, position).standard_normal(200_000) for position in (0, 1))
    assert np.intersect1d(a, b).size == 0
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.01


def test_changing_one_share_leaves_the_rest() -> None:
    base = some(list(range(64)))
    other = draw(
        1, 7, range(64), SHAPE, 12, Flow(), Conditioning(task="ti2v", text_drop=0.9, image_drop=0.4, token_drop=0.0)
    )
    assert torch.equal(base.noise, other.noise)
    assert torch.equal(base.time, other.time)
    assert torch.equal(base.given, other.given)
    assert other.keep is None
    assert not torch.equal(base.text_dropped, other.text_dropped)


@pytest.fixture(scope="module")
def many() -> Draws:
    parts = [draw(3, step, range(500), (1, 2, 1, 1), 4, Flow(), TI2V) for step in range(40)]
    return Draws(
        *(torch.cat([getattr(p, name) for p in parts]) for name in ("noise", "time", "text_dropped", "given", "keep"))
    )


def test_shares_of_dropout_are_the_recipes_and_independent(many: Draws) -> None:
    text, image = many.text_dropped, ~many.given[:, 0]
    # 20,000 samples: standard deviations below 0.0035.
    assert text.float().mean().item() == pytest.approx(0.3, abs=0.014)
    assert image.float().mean().item() == pytest.approx(0.4, abs=0.014)
    assert (text & image).float().mean().item() == pytest.approx(0.12, abs=0.01)
    assert not many.given[:, 1].any()


def test_times_are_uniform_and_noise_is_normal(many: Draws) -> None:
    quantiles = torch.quantile(many.time, torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(quantiles, torch.tensor([0.1, 0.5, 0.9]), atol=0.015, rtol=0)
    assert many.noise.mean().item() == pytest.approx(0, abs=0.025)
    assert many.noise.std().item() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(many.time.numpy(), many.text_dropped.numpy())[0, 1]) < 0.03


def test_shares_of_nothing_and_everything() -> None:
    never = draw(
        0, 0, range(200), SHAPE, 12, Flow(), Conditioning(task="ti2v", text_drop=0, image_drop=0, token_drop=0)
    )
    assert not never.text_dropped.any()
    assert bool(never.given[:, 0].all())
    always = draw(0, 0, range(200), SHAPE, 12, Flow(), Conditioning(task="ti2v", text_drop=1, image_drop=1))
    assert bool(always.text_dropped.all())
    assert not always.given.any()
    assert not draw(0, 0, range(9), SHAPE, 12, Flow(), Conditioning(task="t2v", image_drop=0)).given.any()


def test_the_flows_settings_reach_the_times() -> None:
    plain = draw(0, 0, range(50), SHAPE, 12, Flow(), TI2V).time
    shifted = draw(0, 0, range(50), SHAPE, 12, Flow(shift="resolution", shift_tokens=36), TI2V, tokens=144).time
    torch.testing.assert_close((1 - shifted) / shifted, 2 * (1 - plain) / plain, rtol=1e-4, atol=1e-6)


def test_noise_alone_is_reproducible_by_position() -> None:
    both = draw_noise(5, 0, [0, 1], SHAPE)
    assert torch.equal(draw_noise(5, 0, [1], SHAPE)[0], both[1])
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(draw_noise(6, 0, [0], SHAPE)[0], both[0])
