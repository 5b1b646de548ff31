"""Sampling with networks whose answer is known: passes, what each one sees, given frames, guidance, solvers."""

from dataclasses import dataclass, field

import pytest
import torch

from models.text.contract import TextCondition
from schemas.train_recipe import Flow, Sampling
from stiv_train.conditioning import ends, first, none
from stiv_train.flow import path
from stiv_train.guidance import joint, renormalise
from stiv_train.sampling import sample

B, C, T, H, W = 3, 2, 4, 2, 2
MICRO = torch.arange(B * 6, dtype=torch.float32).reshape(B, 6)


def condition(value: float, tokens: int, batch: int = B) -> TextCondition:
    """A text whose vectors all have one value, by which a network here tells texts apart."""
    rows = torch.arange(batch, dtype=torch.float32)[:, None, None] * 0.1
    return TextCondition(
        tokens=(value + rows).expand(batch, tokens, 5),
        pooled=(value + rows[:, 0]).expand(batch, 5),
        mask=torch.ones(batch, tokens, dtype=torch.bool),
    )


TEXT, NULL = condition(1.0, 6), condition(-1.0, 2, batch=1)


@dataclass
class Network:
    """Predicts a nonlinear function of the sample, its time and its text, and remembers what it was asked."""

    spoil: torch.Tensor | None = None
    """(B, t) bool: frames for which it predicts nonsense."""
    calls: list[tuple[torch.Tensor, torch.Tensor, TextCondition, torch.Tensor]] = field(default_factory=list)

    def __call__(
        self, latents: torch.Tensor, time: torch.Tensor, text: TextCondition, micro: torch.Tensor
    ) -> torch.Tensor:
        self.calls.append((latents.clone(), time.clone(), text, micro))
        words = (text.tokens.mean(-1) * text.mask).sum(1) / text.mask.sum(1)
        wide = (slice(None), None, None, None, None)
        out = torch.tanh(latents.mean(dim=2, keepdim=True) + latents) + words[wide] * latents.cos() + time[wide]
        if self.spoil is not None:
            spoil = self.spoil.repeat(len(latents) // B, 1)[:, None, :, None, None]
            out = out.masked_fill(spoil, float("nan"))
        return out


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.randn(B, C, T, H, W, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def clean() -> torch.Tensor:
    return torch.randn(B, C, T, H, W, generator=torch.Generator().manual_seed(1))


def masks(mask: torch.Tensor) -> torch.Tensor:
    return mask.expand(B, -1)


def single(latents: torch.Tensor, t: float, text: TextCondition) -> torch.Tensor:
    wide = TextCondition(text.tokens.expand(B, -1, -1), text.pooled.expand(B, -1), text.mask.expand(B, -1))
    return Network()(latents, torch.full((B,), t), wide, MICRO)


def test_scale_one_is_one_pass_of_the_conditional(noise: torch.Tensor) -> None:
    network = Network()
    learned = noise.clone().requires_grad_()
    out = sample(network, learned, TEXT, NULL, MICRO, flow=Flow(), sampling=Sampling(steps=5, guidance=1.0))
    assert not out.requires_grad, "no graph is kept"
    wanted = noise
    for step in range(5):
        wanted = wanted + 0.2 * single(wanted, step / 5, TEXT)
    torch.testing.assert_close(out, wanted)
    assert [len(latents) for latents, *_ in network.calls] == [B] * 5


@pytest.mark.parametrize("renorm", [True, False])
def test_joint_guidance_is_the_formula_at_every_step(noise: torch.Tensor, renorm: bool) -> None:
    network = Network()
    settings = Sampling(steps=4, guidance=3.0, renormalise=renorm)
    out = sample(network, noise, TEXT, NULL, MICRO, flow=Flow(), sampling=settings)
    wanted = noise
    for step in range(4):
        both, null = single(wanted, step / 4, TEXT), single(wanted, step / 4, NULL)
        guided = joint(both, null, 3.0)
        wanted = wanted + 0.25 * (renormalise(guided, both) if renorm else guided)
    torch.testing.assert_close(out, wanted)
    assert len(network.calls) == 4, "both passes go in one call"


def test_texts_of_different_length_are_padded_and_masked(noise: torch.Tensor) -> None:
    network = Network()
    sample(network, noise, TEXT, NULL, MICRO, flow=Flow(), sampling=Sampling(steps=1, guidance=3.0))
    ((latents, time, text, micro),) = network.calls
    assert latents.shape[0] == time.shape[0] == 2 * B
    assert text.tokens.shape == (2 * B, 6, 5)
    assert text.pooled.shape == (2 * B, 5)
    assert text.mask.sum(1).tolist() == [6] * B + [2] * B
    assert bool((text.tokens[B:, 2:] == 0).all())
    assert torch.equal(text.tokens[:B], TEXT.tokens)
    assert torch.equal(micro, torch.cat([MICRO, MICRO]))


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("target", ["velocity", "clean"])
@pytest.mark.parametrize(("guidance", "image_guidance"), [(1.0, None), (7.5, None), (7.5, 1.5), (7.5, 1.0)])
def test_given_frames_come_back_bit_for_bit(
    noise: torch.Tensor, clean: torch.Tensor, solver: str, target: str, guidance: float, image_guidance: float | None
) -> None:
    settings = Sampling.model_validate(
        {"solver": solver, "steps": 3, "guidance": guidance, "image_guidance": image_guidance}
    )
    mask = torch.stack([first(T), ends(T), none(T)])
    flow = Flow.model_validate({"target": target})
    out = sample(Network(), noise, TEXT, NULL, MICRO, given=clean, mask=mask, flow=flow, sampling=settings)
    for row in range(B):
        assert torch.equal(out[row, :, mask[row]], clean[row, :, mask[row]])
        assert not torch.isclose(out[row, :, ~mask[row]], clean[row, :, ~mask[row]]).all()
    assert bool(out.isfinite().all())


def test_passes_without_the_image_see_its_noised_state(noise: torch.Tensor, clean: torch.Tensor) -> None:
    network = Network()
    settings = Sampling(steps=4, guidance=7.5, image_guidance=1.5)
    mask = masks(first(T))
    sample(network, noise, TEXT, NULL, MICRO, given=clean, mask=mask, flow=Flow(), sampling=settings)
    assert len(network.calls) == 4
    for step, (latents, time, text, _) in enumerate(network.calls):
        both, image_only, null = latents.chunk(3)
        assert bool((time == step / 4).all())
        assert torch.equal(both[:, :, 0], clean[:, :, 0])
        assert torch.equal(image_only, both)
        assert torch.equal(null[:, :, 0], path(clean, noise, time[:B])[:, :, 0])
        assert torch.equal(null[:, :, 1:], both[:, :, 1:])
        assert text.mask.sum(1).tolist() == [6] * B + [2] * 2 * B


def test_what_is_predicted_for_given_frames_counts_nowhere(noise: torch.Tensor, clean: torch.Tensor) -> None:
    mask = masks(ends(T))
    settings = Sampling(solver="heun", steps=3, guidance=5.0, image_guidance=1.5)

    def run(network: Network) -> torch.Tensor:
        return sample(network, noise, TEXT, NULL, MICRO, given=clean, mask=mask, flow=Flow(), sampling=settings)

    assert torch.equal(run(Network()), run(Network(spoil=mask)))


def test_an_empty_mask_is_text_to_video(noise: torch.Tensor, clean: torch.Tensor) -> None:
    network = Network()
    settings = Sampling(steps=2, guidance=5.0, image_guidance=1.5)
    plain = sample(Network(), noise, TEXT, NULL, MICRO, flow=Flow(), sampling=settings)
    empty = sample(network, noise, TEXT, NULL, MICRO, given=clean, mask=masks(none(T)), flow=Flow(), sampling=settings)
    assert torch.equal(plain, empty)
    assert len(network.calls[0][0]) == 2 * B, "no pass for an image that is not there"


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_a_clean_prediction_is_where_sampling_ends(noise: torch.Tensor, clean: torch.Tensor, solver: str) -> None:
    settings = Sampling.model_validate({"solver": solver, "steps": 7, "guidance": 1.0})
    out = sample(
        lambda latents, time, text, micro: clean,
        noise,
        TEXT,
        NULL,
        MICRO,
        flow=Flow(target="clean"),
        sampling=settings,
    )
    torch.testing.assert_close(out, clean, rtol=1e-5, atol=1e-5)


def test_a_samples_video_does_not_depend_on_its_neighbours(noise: torch.Tensor, clean: torch.Tensor) -> None:
    settings = Sampling(steps=3, guidance=6.0)
    mask = masks(first(T))
    out = sample(Network(), noise, TEXT, NULL, MICRO, given=clean, mask=mask, flow=Flow(), sampling=settings)
    alone = TextCondition(TEXT.tokens[1:2], TEXT.pooled[1:2], TEXT.mask[1:2])
    row = sample(
        Network(),
        noise[1:2],
        alone,
        NULL,
        MICRO[1:2],
        given=clean[1:2],
        mask=mask[1:2],
        flow=Flow(),
        sampling=settings,
    )
    torch.testing.assert_close(out[1:2], row)


def test_an_exact_gaussian_field_turns_noise_into_the_data(noise: torch.Tensor) -> None:
    def network(latents: torch.Tensor, time: torch.Tensor, text: TextCondition, micro: torch.Tensor) -> torch.Tensor:
        t = time[:, None, None, None, None]
        return 2.0 + (t * 0.25 - (1 - t)) / (t * t * 0.25 + (1 - t) ** 2) * (latents - t * 2.0)

    settings = Sampling(solver="heun", steps=100, guidance=4.0)
    out = sample(network, noise, TEXT, NULL, MICRO, flow=Flow(), sampling=settings)
    torch.testing.assert_close(out, 2.0 + 0.5 * noise, rtol=0, atol=2e-3)


def test_progress_and_shifted_times(noise: torch.Tensor) -> None:
    network = Network()
    seen: list[tuple[int, int]] = []
    sample(
        network,
        noise,
        TEXT,
        NULL,
        MICRO,
        flow=Flow(shift="resolution", shift_tokens=4),
        sampling=Sampling(steps=2, guidance=1.0),
        tokens=16,
        on_step=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 2), (2, 2)]
    assert [call[1][0].item() for call in network.calls] == pytest.approx([0.0, 1 / 3])


def test_given_frames_and_their_mask_belong_together(noise: torch.Tensor, clean: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="belong together"):
        sample(Network(), noise, TEXT, NULL, MICRO, given=clean, flow=Flow(), sampling=Sampling(steps=1))
