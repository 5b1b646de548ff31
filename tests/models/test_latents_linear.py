"""The linear codec: what it loses is what it drops, and nothing with all components."""

from pathlib import Path

import pytest
import torch

from models.latents.linear import LinearLatents, fit_linear, from_blocks, to_blocks
from models.latents.make import fit_latents, load_latents
from schemas.errors import UsageError
from schemas.train_recipe import Latents as Section

torch.set_num_threads(1)


def videos(count: int = 3, frames: int = 4, size: int = 16, seed: int = 0) -> list[torch.Tensor]:
    """Videos with correlated pixels, within -0.9..0.9, so that decoding never clamps much."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        coarse = torch.randn(2, 3, frames // 2, size // 4, size // 4, generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, (frames, size, size), mode="trilinear")
        found.append((0.3 * smooth + 0.05 * torch.randn(smooth.shape, generator=generator) + 0.1).clamp(-0.9, 0.9))
    return found


def fit(block: tuple[int, int, int], channels: int, data: list[torch.Tensor]) -> LinearLatents:
    return fit_linear(block, channels, iter(data))


def test_blocks_are_disjoint_pieces_of_the_video() -> None:
    video = torch.arange(2 * 3 * 4 * 8 * 8).float().view(2, 3, 4, 8, 8)
    blocks = to_blocks(video, (2, 4, 4))
    assert blocks.shape == (2, 2, 2, 2, 96)
    assert torch.equal(blocks[1, 0, 1, 0].view(3, 2, 4, 4), video[1, :, 0:2, 4:8, 0:4])
    assert torch.equal(from_blocks(blocks, (2, 4, 4)), video)


@pytest.mark.parametrize("block", [(1, 4, 4), (2, 4, 4)])
@pytest.mark.parametrize("channels", [1, 7, 24])
def test_error_on_the_fitted_data_is_the_discarded_variance(block: tuple[int, int, int], channels: int) -> None:
    data = videos()
    latents = fit(block, channels, data)
    values = 3 * block[0] * block[1] * block[2]
    error = torch.stack([(latents.project(latents.encode(v)) - v).double().square().mean() for v in data]).mean()
    discarded = latents.variances[channels:].sum() / values
    assert float(error) == pytest.approx(float(discarded), rel=1e-5)
    assert discarded > 0
    total = sum(to_blocks(v, block).flatten(0, 3).double().var(0, correction=0).sum() for v in [torch.cat(data)])
    assert latents.explained == pytest.approx(1 - float(discarded) * values / float(total), rel=1e-9)


def test_nothing_is_lost_with_all_components() -> None:
    data = videos()
    latents = fit((2, 4, 4), 96, data)
    seen, unseen = data[0], torch.rand(1, 3, 2, 8, 8) * 2 - 1
    for video in (seen, unseen):
        assert float((latents.decode(latents.encode(video)) - video).abs().max()) < 5e-6
    assert latents.explained == pytest.approx(1.0, abs=1e-12)


def test_latents_survive_decoding_and_encoding() -> None:
    latents = fit((1, 4, 4), 8, videos())
    z = torch.randn(2, 8, 3, 2, 5)
    assert latents.project(z).shape == (2, 3, 3, 8, 20)
    assert torch.allclose(latents.encode(latents.project(z)), z, atol=1e-4)


def test_basis_is_orthonormal_ordered_and_signed() -> None:
    latents = fit((2, 4, 4), 96, videos())
    assert torch.allclose(latents.basis.double() @ latents.basis.double().T, torch.eye(96).double(), atol=1e-6)
    assert (latents.variances.diff() <= 0).all()
    largest = latents.basis.gather(1, latents.basis.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


def test_channels_have_mean_zero_and_variance_one() -> None:
    data = videos()
    latents = fit((1, 4, 4), 6, data)
    z = latents.encode(torch.cat(data)).transpose(0, 1).flatten(1)
    assert torch.allclose(z.mean(1), torch.zeros(6), atol=1e-4)
    assert torch.allclose(z.std(1, correction=0), torch.ones(6), atol=1e-4)
    assert torch.allclose(torch.cov(z, correction=0), torch.eye(6), atol=1e-3)


def test_the_fit_does_not_depend_on_how_videos_come() -> None:
    data = videos()
    together, apart = fit((1, 4, 4), 4, [torch.cat(data)]), fit((1, 4, 4), 4, [v[None] for d in data for v in d])
    assert torch.allclose(together.variances, apart.variances, atol=1e-12)
    assert torch.allclose(together.basis, apart.basis, atol=1e-5)
    again = fit((1, 4, 4), 4, data)
    assert torch.equal(fit((1, 4, 4), 4, data).basis, again.basis)


@pytest.mark.parametrize("colour", [0.0, 0.3, -1.0, 1.0])
def test_a_constant_video_does_not_blow_up(colour: float) -> None:
    video = torch.full((2, 3, 2, 8, 8), colour)
    latents = fit((1, 4, 4), 48, [video])
    z = latents.encode(video)
    assert float(z.abs().max()) < 1e-4
    assert torch.allclose(latents.decode(z), video, atol=1e-6)
    assert latents.explained == 1.0
    assert (latents.std == 1).all()


def test_fewer_blocks_than_values() -> None:
    video = videos(count=1, frames=4, size=8)[0][:1]  # 2 · 2 · 2 blocks of 96 values
    latents = fit((2, 4, 4), 96, [video])
    assert torch.allclose(latents.decode(latents.encode(video)), video, atol=1e-5)
    assert int((latents.std != 1).sum()) == 7  # a mean takes one degree of freedom
    z = latents.encode(video)
    assert float(z.square().mean((0, 2, 3, 4))[:7].mean()) == pytest.approx(1, abs=1e-3)
    assert float(z[:, 7:].abs().max()) < 1e-3


def test_an_image_with_blocks_of_several_frames() -> None:
    data = videos()
    latents = fit((2, 4, 4), 96, data)
    image = data[0][:, :, :1]
    z = latents.encode(image)
    assert z.shape[2] == latents.latent_shape(1, 16, 16)[1] == 1
    assert torch.equal(z, latents.encode(image.expand(-1, -1, 2, -1, -1)))
    assert torch.allclose(latents.decode(z, frames=1), image, atol=1e-5)
    assert latents.decode(z).shape[2] == 2


@pytest.mark.parametrize(("frames", "height", "width"), [(3, 8, 8), (2, 7, 8), (2, 8, 9)])
def test_a_video_that_does_not_fit_is_refused(frames: int, height: int, width: int) -> None:
    latents = fit((2, 4, 4), 4, videos())
    size = {3: "3 frames", 7: "7 pixels", 9: "9 pixels"}[next(n for n in (frames, height, width) if n in (3, 7, 9))]
    with pytest.raises(ValueError, match=size):
        latents.latent_shape(frames, height, width)
    with pytest.raises(ValueError, match=size):
        latents.encode(torch.zeros(1, 3, frames, height, width))
    with pytest.raises(ValueError, match=size):
        fit((2, 4, 4), 4, [torch.zeros(1, 3, frames, height, width)])


def test_decoded_pixels_stay_in_range() -> None:
    latents = fit((1, 4, 4), 4, videos())
    z = 50 * torch.randn(1, 4, 1, 2, 2)
    assert float(latents.project(z).abs().max()) > 1
    assert float(latents.decode(z).abs().max()) == 1


def test_bad_requests_say_what_to_do() -> None:
    with pytest.raises(UsageError, match="not square"):
        fit((1, 4, 8), 4, videos())
    with pytest.raises(UsageError, match="more than 2048"):
        fit((4, 16, 16), 4, videos())
    with pytest.raises(UsageError, match="only 48 values"):
        fit((1, 4, 4), 49, videos())
    with pytest.raises(UsageError, match="no video"):
        fit((1, 4, 4), 4, [])
    with pytest.raises(UsageError, match="not finite"):
        fit((1, 4, 4), 4, [torch.full((1, 3, 1, 4, 4), float("nan"))])
    with pytest.raises(ValueError, match="uint8"):
        fit((1, 4, 4), 4, [torch.zeros(1, 3, 1, 4, 4, dtype=torch.uint8)])


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    data = videos()
    latents = fit_latents(Section(block=(2, 4, 4), channels=5), data)
    latents.save(str(tmp_path / "latents"))
    again = load_latents(str(tmp_path / "latents"))
    assert isinstance(again, LinearLatents)
    assert torch.equal(again.encode(data[0]), latents.encode(data[0]))
    z = torch.randn(1, 5, 2, 2, 2)
    assert torch.equal(again.decode(z), latents.decode(z))
    assert again.latent_shape(4, 16, 8) == (5, 2, 4, 2)
    assert torch.equal(again.variances, again.variances.sort(descending=True).values)
    assert isinstance(latents, LinearLatents)
    assert again.explained == latents.explained


def test_a_folder_without_latents_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no latents"):
        load_latents(str(tmp_path))
    fit((1, 4, 4), 4, videos()).save(str(tmp_path))
    (tmp_path / "latents.safetensors").write_bytes(b"torn")
    with pytest.raises(UsageError, match="cannot be read"):
        load_latents(str(tmp_path))
    fit((1, 4, 4), 4, videos()).save(str(tmp_path))
    facts = (tmp_path / "latents.json").read_text()
    (tmp_path / "latents.json").write_text(facts.replace("linear", "cubic"))
    with pytest.raises(UsageError, match="cubic"):
        load_latents(str(tmp_path))


def test_autocast_around_it_changes_nothing() -> None:
    data = videos()
    latents = fit((1, 4, 4), 8, data)
    plain = latents.encode(data[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(latents.encode(data[0]), plain)
        assert latents.decode(plain).dtype == torch.float32


def test_defaults_of_the_recipe_fit() -> None:
    section = Section()
    latents = fit_latents(section, videos(frames=2, size=32))
    assert latents.latent_shape(20, 256, 256) == (16, 20, 32, 32)
    assert (latents.spatial, latents.temporal, latents.causal, latents.channels) == (8, 1, False, 16)
