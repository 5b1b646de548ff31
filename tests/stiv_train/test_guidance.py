"""Guidance formulas, the passes they need and the norm they end with."""

import pytest
import torch

from stiv_train.guidance import guide, joint, passes, renormalise, separate

SHAPE = (3, 2, 4, 3, 3)


@pytest.fixture
def parts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """null, image_only, both."""
    null, image_only, both = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0)).unbind()
    return null, image_only, both


def norms(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([sample.flatten().norm() for sample in x])


def test_joint_moves_away_from_null(parts: tuple[torch.Tensor, ...]) -> None:
    null, _, both = parts
    torch.testing.assert_close(joint(both, null, 7.5), 7.5 * both - 6.5 * null)
    torch.testing.assert_close(joint(both, null, 0.0), null)


def test_scale_one_is_the_conditional_bit_for_bit(parts: tuple[torch.Tensor, ...]) -> None:
    null, image_only, both = parts
    assert torch.equal(joint(both, null, 1.0), both)
    assert torch.equal(separate(null, image_only, both, 1.0, 1.0), both)


def test_separate_weighs_image_and_text(parts: tuple[torch.Tensor, ...]) -> None:
    null, image_only, both = parts
    found = separate(null, image_only, both, 1.5, 7.5)
    torch.testing.assert_close(found, -0.5 * null + (1.5 - 7.5) * image_only + 7.5 * both)


def test_equal_scales_are_joint_and_image_scale_one_drops_null(parts: tuple[torch.Tensor, ...]) -> None:
    null, image_only, both = parts
    far = torch.full_like(null, float("nan"))
    assert torch.equal(separate(null, far, both, 4.0, 4.0), joint(both, null, 4.0))
    assert torch.equal(separate(far, image_only, both, 1.0, 4.0), joint(both, image_only, 4.0))
    # The shortcuts say what the formula says.
    torch.testing.assert_close(separate(null, image_only, both, 4.0, 4.0), null + 4 * (both - null))
    torch.testing.assert_close(separate(null, image_only, both, 1.0, 4.0), image_only + 4 * (both - image_only))


def test_the_renormalised_norm_is_the_conditionals_per_sample(parts: tuple[torch.Tensor, ...]) -> None:
    null, _, both = parts
    both = both * torch.tensor([1.0, 5.0, 0.1])[:, None, None, None, None]
    guided = joint(both, null, 7.5)
    found = renormalise(guided, both)
    torch.testing.assert_close(norms(found), norms(both))
    torch.testing.assert_close(
        found / norms(found)[:, None, None, None, None], guided / norms(guided)[:, None, None, None, None]
    )
    assert torch.equal(renormalise(both, both), both)


def test_zeros_and_half_precision_renormalise(parts: tuple[torch.Tensor, ...]) -> None:
    _, _, both = parts
    zeros = torch.zeros_like(both)
    assert torch.equal(renormalise(zeros, both), zeros)
    assert torch.equal(renormalise(both, zeros), zeros)
    half = renormalise((both * 200).half(), both.half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(norms(half.float()), norms(both), rtol=2e-3, atol=0)


@pytest.mark.parametrize(
    ("guidance", "image_guidance", "image_given", "wanted"),
    [
        (1.0, None, True, ("both",)),
        (7.5, None, True, ("both", "null")),
        (7.5, None, False, ("both", "null")),
        (7.5, 1.5, True, ("both", "image_only", "null")),
        (7.5, 1.5, False, ("both", "null")),
        (7.5, 1.0, True, ("both", "image_only")),
        (7.5, 7.5, True, ("both", "null")),
        (1.0, 1.0, True, ("both",)),
        (1.0, 1.5, True, ("both", "image_only", "null")),
        (1.0, 1.5, False, ("both",)),
    ],
)
def test_only_passes_with_a_weight_run(
    guidance: float, image_guidance: float | None, image_given: bool, wanted: tuple[str, ...]
) -> None:
    assert passes(guidance, image_guidance, image_given) == wanted


@pytest.mark.parametrize("s_txt", [0.0, 1.0, 3.0, 7.5])
@pytest.mark.parametrize("s_img", [0.0, 1.0, 1.5, 7.5])
def test_the_passes_suffice_for_the_formula(parts: tuple[torch.Tensor, ...], s_txt: float, s_img: float) -> None:
    null, image_only, both = parts
    every = {"both": both, "image_only": image_only, "null": null}
    guided = guide({name: every[name] for name in passes(s_txt, s_img, True)}, s_txt, s_img, renorm=False)
    torch.testing.assert_close(
        guided, null + s_img * (image_only - null) + s_txt * (both - image_only), atol=1e-4, rtol=1e-4
    )
    renormed = guide({name: every[name] for name in passes(s_txt, s_img, True)}, s_txt, s_img, renorm=True)
    torch.testing.assert_close(norms(renormed), norms(both))
