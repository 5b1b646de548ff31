"""Autoencoders of diffusers, tiny and with random weights, through files as real ones would be."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from models import libraries
from models.latents.common import ChannelStatistics
from models.latents.image_vae import ImageLatents
from models.latents.make import fit_latents, load_latents
from models.latents.video_vae import Factors, VideoLatents, measure_factors
from schemas.errors import UsageError
from schemas.train_recipe import Latents as Section

torch.set_num_threads(1)


def clips(frames: int, size: int = 32, count: int = 2) -> list[torch.Tensor]:
    """Videos in -1..1 of two samples each."""
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, 3, frames, size, size, generator=generator) * 2 - 1 for _ in range(count)]


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("image")
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
    AutoencoderKL(block_out_channels=(8, 8, 8), latent_channels=4, norm_num_groups=4, **blocks).save_pretrained(
        folder / "vae"
    )
    return folder


@pytest.fixture(scope="module")
def wan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It halves time once and sides twice, whatever its configuration says in `scale_factor_…`."""
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("wan")
    sizes = {"base_dim": 4, "z_dim": 4, "dim_mult": [1, 1, 1], "num_res_blocks": 1}
    statistics = {"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}
    AutoencoderKLWan(**sizes, **statistics, temperal_downsample=[False, True]).save_pretrained(folder)
    return folder


def image_section(folder: Path) -> Section:
    return Section(kind="image_vae", path=str(folder), subfolder="vae")


def test_image_latents_are_the_mean_of_each_frame(image_folder: Path) -> None:
    from diffusers import AutoencoderKL

    data = clips(3)
    latents = fit_latents(image_section(image_folder), data)
    assert latents.latent_shape(3, 32, 32) == (4, 3, 8, 8)
    assert (latents.spatial, latents.temporal, latents.causal) == (4, 1, False)
    z = latents.encode(data[0])
    assert z.shape == (2, 4, 3, 8, 8)
    model = AutoencoderKL.from_pretrained(image_folder / "vae", low_cpu_mem_usage=False)
    with torch.no_grad():
        alone = model.encode(data[0][1, :, 1][None]).latent_dist.mean[0]
        back = model.decode(alone[None]).sample[0].clamp(-1, 1)
    mean, std = latents.mean[:, None, None], latents.std[:, None, None]
    assert torch.allclose(z[1, :, 1], (alone - mean) / std, atol=1e-5)
    assert torch.allclose(latents.decode(z)[1, :, 1], back, atol=1e-5)
    assert torch.equal(latents.encode(data[0]), z)


def test_channels_are_normalised_by_what_was_measured(image_folder: Path) -> None:
    data = clips(2)
    latents = fit_latents(image_section(image_folder), iter(data))
    z = torch.cat([latents.encode(v) for v in data]).transpose(0, 1).flatten(1)
    assert torch.allclose(z.mean(1), torch.zeros(4), atol=1e-5)
    assert torch.allclose(z.std(1, correction=0), torch.ones(4), atol=1e-4)


def test_frames_pass_in_pieces(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = clips(3)
    latents = fit_latents(image_section(image_folder), data)
    whole = latents.encode(data[0])
    sizes: list[int] = []
    assert isinstance(latents, ImageLatents)
    plain = latents.model.encode
    monkeypatch.setattr(latents.model, "encode", lambda x: (sizes.append(len(x)), plain(x))[1])
    monkeypatch.setattr("models.latents.image_vae.CHUNK_PIXELS", 4 * 32 * 32)
    assert torch.allclose(latents.encode(data[0]), whole, atol=1e-6)
    assert sizes == [4, 2]


def test_video_latents_of_wan(wan_folder: Path) -> None:
    data = clips(5, 16)
    latents = fit_latents(Section(kind="video_vae", path=str(wan_folder)), data)
    assert isinstance(latents, VideoLatents)
    assert latents.factors == Factors(channels=4, spatial=4, temporal=2, causal=True)
    assert latents.latent_shape(5, 16, 32) == (4, 3, 4, 8)
    assert latents.latent_shape(1, 16, 16) == (4, 1, 4, 4)
    z = latents.encode(data[0])
    assert z.shape == (2, 4, 3, 4, 4)
    values = torch.cat([latents.encode(v) for v in data]).transpose(0, 1).flatten(1)
    assert torch.allclose(values.mean(1), torch.zeros(4), atol=1e-5)
    assert torch.allclose(values.std(1, correction=0), torch.ones(4), atol=1e-4)
    decoded = latents.decode(z)
    assert decoded.shape == data[0].shape
    assert float(decoded.abs().max()) <= 1
    first = latents.encode(data[0][:, :, :1])
    assert torch.allclose(first[:, :, 0], z[:, :, 0], atol=1e-5)  # causal: the first latent frame knows the first alone
    assert latents.decode(first).shape[2] == 1
    with pytest.raises(ValueError, match="4 frames"):
        latents.encode(torch.zeros(1, 3, 4, 16, 16))
    with pytest.raises(ValueError, match="18 pixels"):
        latents.encode(torch.zeros(1, 3, 5, 16, 18))


def test_factors_of_an_autoencoder_that_patches(tmp_path: Path) -> None:
    from diffusers import AutoencoderKLLTXVideo

    torch.manual_seed(0)
    blocks = {"block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    layers = {"layers_per_block": (1,) * 5, "decoder_layers_per_block": (1,) * 5}
    model = AutoencoderKLLTXVideo(latent_channels=8, **blocks, **layers, timestep_conditioning=True).eval()
    assert measure_factors(model, "ltx") == Factors(channels=8, spatial=32, temporal=8, causal=True)


class NotCausal(torch.nn.Module):
    """Means of two frames and 4 × 4 pixels, and back: an autoencoder without a first frame of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.config: dict[str, int] = {}

    def encode(self, video: torch.Tensor) -> object:
        latents = torch.nn.functional.avg_pool3d(video, (2, 4, 4), ceil_mode=True)  # 5 frames too give 3
        return type("Encoded", (), {"latents": latents})()

    def decode(self, latents: torch.Tensor) -> object:
        sample = latents.repeat_interleave(2, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
        return type("Decoded", (), {"sample": sample})()


def test_an_autoencoder_that_is_not_causal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.latents.pretrained.load", lambda where: NotCausal())
    data = clips(4, 8)
    latents = fit_latents(Section(kind="video_vae", path="some/where"), data)
    assert (latents.spatial, latents.temporal, latents.causal) == (4, 2, False)
    assert latents.latent_shape(4, 8, 8) == (3, 2, 2, 2)
    image = torch.full((1, 3, 1, 8, 8), 0.5)
    assert torch.allclose(latents.decode(latents.encode(image), frames=1), image, atol=1e-6)


@pytest.mark.parametrize("kind", ["image", "wan"])
def test_saved_and_loaded_it_is_the_same(
    kind: str, image_folder: Path, wan_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = image_folder if kind == "image" else wan_folder
    monkeypatch.chdir(source.parent)  # a relative path is found again from elsewhere
    section = (
        image_section(Path(source.name)) if kind == "image" else Section(kind="video_vae", path=f"./{source.name}")
    )
    data = clips(3, 16)
    latents = fit_latents(section, data)
    latents.save(str(tmp_path / "latents"))
    monkeypatch.chdir(tmp_path)
    again = load_latents("latents")
    assert type(again) is type(latents)
    assert torch.equal(again.encode(data[0]), latents.encode(data[0]))
    z = latents.encode(data[0])
    assert torch.equal(again.decode(z), latents.decode(z))
    assert again.latent_shape(3, 16, 16) == latents.latent_shape(3, 16, 16)
    written = {file.name for file in (tmp_path / "latents").iterdir()}
    assert written == {"latents.json", "latents.safetensors"}
    assert (tmp_path / "latents" / "latents.safetensors").stat().st_size < 2000


def test_a_saved_path_that_has_gone_is_named(image_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(image_folder, tmp_path / "moved")
    fit_latents(image_section(tmp_path / "moved"), clips(1)).save(str(tmp_path / "latents"))
    shutil.rmtree(tmp_path / "moved")
    with pytest.raises(UsageError, match="moved/vae does not exist"):
        load_latents(str(tmp_path / "latents"))


def test_what_is_wrong_with_a_folder_is_said(image_folder: Path, tmp_path: Path) -> None:
    data = clips(1)
    with pytest.raises(UsageError, match=r"`latents\.subfolder` to one of vae"):
        fit_latents(Section(kind="image_vae", path=str(image_folder)), data)
    with pytest.raises(UsageError, match="no/such/folder does not exist"):
        fit_latents(Section(kind="image_vae", path="no/such/folder"), data)
    bare = tmp_path / "bare"
    shutil.copytree(image_folder / "vae", bare)
    (bare / "diffusion_pytorch_model.safetensors").rename(bare / "diffusion_pytorch_model.bin")
    with pytest.raises(UsageError, match=r"no \.safetensors weights"):
        fit_latents(Section(kind="image_vae", path=str(bare)), data)
    (bare / "diffusion_pytorch_model.safetensors").write_bytes(b"torn")
    with pytest.raises(UsageError, match="could not be loaded"):
        fit_latents(Section(kind="image_vae", path=str(bare)), data)


def test_a_class_that_is_no_autoencoder_is_refused(image_folder: Path, wan_folder: Path, tmp_path: Path) -> None:
    data = clips(1)
    for name in ("UNet2DModel", "AutoencoderOfMine", "__import__"):
        with pytest.raises(UsageError, match=f"{name} is no autoencoder"):
            fit_latents(Section(kind="video_vae", path=str(wan_folder), model_class=name), data)
    folder = tmp_path / "odd"
    shutil.copytree(wan_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(UsageError, match="StableDiffusionPipeline is no autoencoder"):
        fit_latents(Section(kind="video_vae", path=str(folder)), data)
    with pytest.raises(UsageError, match="image_vae"):
        fit_latents(Section(kind="video_vae", path=str(image_folder), subfolder="vae"), data)
    with pytest.raises(UsageError, match="video_vae"):
        fit_latents(Section(kind="image_vae", path=str(wan_folder)), data)


def test_a_hub_name_without_network_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"nobody/no-such-autoencoder .*no network"):
        fit_latents(Section(kind="image_vae", path="nobody/no-such-autoencoder"), clips(1))


def test_no_video_and_broken_weights_are_errors(image_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(UsageError, match="no video"):
        fit_latents(image_section(image_folder), [])
    folder = tmp_path / "lacking"
    shutil.copytree(image_folder, folder)
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({key: value for key, value in load_file(file).items() if key != "decoder.conv_out.bias"}, file)
    with pytest.raises(UsageError, match=r"weights lack decoder\.conv_out\.bias"):
        fit_latents(image_section(folder), clips(1))
    folder = tmp_path / "broken"
    shutil.copytree(image_folder, folder)
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({key: value * float("nan") for key, value in load_file(file).items()}, file)
    with pytest.raises(UsageError, match="not finite"):
        fit_latents(image_section(folder), clips(1))


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(libraries.importlib, "import_module", gone)
    with pytest.raises(UsageError, match=r"stiv\[models\]"):
        fit_latents(Section(kind="image_vae", path="owner/name"), [])


def test_channel_statistics_in_pieces() -> None:
    def moments(pieces: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        statistics = ChannelStatistics(3)
        for piece in pieces:
            statistics.add(piece)
        return statistics.finish("x")

    latents = 1000 + torch.randn(6, 3, 2, 4, 4) * torch.tensor([1.0, 0.01, 0.0]).view(1, 3, 1, 1, 1)
    mean, std = moments(latents.split([1, 2, 3]))
    exact = latents.double().transpose(0, 1).flatten(1)
    assert torch.allclose(mean.double(), exact.mean(1), atol=1e-4)
    assert torch.allclose(std[:2].double(), exact.std(1, correction=0)[:2], rtol=1e-5)
    assert std[2] == 1  # constant: not divided by nothing
