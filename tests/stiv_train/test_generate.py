"""Videos from a run: noise by seed, given pictures, sizes that fit, and files of prompts."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from curation.golden.draw import texture
from models.latents.make import fit_latents
from models.stiv.config import config_from_recipe
from models.stiv.network import STIV
from models.text.make import make_text
from schemas.errors import UsageError
from schemas.train_recipe import TrainRecipe
from stiv_train import checkpoint
from stiv_train.data.plan import DataPlan
from stiv_train.data.plan_file import SCHEMA, hash_table
from stiv_train.ema import Ema
from stiv_train.generate import Generator
from stiv_train.objective import pixels
from stiv_train.pictures import cover, read_picture
from stiv_train.prompt_files import PromptLine, read_prompts
from stiv_train.run_folder import Run
from stiv_train.sample_grid import to_uint8
from stiv_train.trained import VideoModel

RECIPE = TrainRecipe.model_validate(
    {
        "data": {"buckets": [{"frames": 4, "height": 32, "width": 32}], "stride": 3},
        "model": {"width": 64, "depth": 1, "patch": [2, 2, 2], "mask_blocks": 0},
        "latents": {"block": [1, 8, 8], "channels": 24},
        "text": {"width": 64, "depth": 1, "max_tokens": 16},
        "conditioning": {"task": "ti2v", "token_drop": 0},
        "sampling": {"steps": 3, "guidance": 3},
    }
)
PROMPTS = ["a red circle", "a much longer sentence about a blue square that moves", "green"]


def make_run(folder: Path, recipe: TrainRecipe) -> Run:
    """A run with random weights: two checkpoints, the second with an average that differs from the weights."""
    torch.manual_seed(0)
    pictures = np.stack([np.stack([texture(32, 32, 10 * k + t) for t in range(4)]) for k in range(16)])
    latents = fit_latents(recipe.latents, [pixels(pictures, torch.device("cpu"))])
    model = VideoModel(
        STIV(config_from_recipe(recipe.model, latents.channels, recipe.text.width, latents.latent_shape(4, 32, 32))),
        make_text(recipe.text),
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    values = dict.fromkeys(SCHEMA.names, 0) | {"fps": 24.0, "height": 128, "width": 192, "validation": False}
    texts = {field.name: "x" for field in SCHEMA if pa.types.is_string(field.type)}
    order = {"stride": 3, "buckets": [recipe.data.buckets[0].model_dump()]}
    table = pa.Table.from_pylist([{**values, **texts}], schema=SCHEMA)
    plan = DataPlan(table, {"format": 1, "hash": hash_table(table, order), "order": order})
    run = Run.create(folder, {"network": model.network.config.to_json(), "init": None}, recipe, plan, latents)
    for step in (10, 20):
        with torch.no_grad():
            model.network.last.bias.fill_(step / 100)
        ema = Ema(model, 0.9)
        if step == 20:
            with torch.no_grad():
                model.network.last.bias.fill_(0.5)
        optimiser = torch.optim.AdamW(model.parameters())
        checkpoint.save(run.checkpoints, step, checkpoint.Trained(model, ema, optimiser), {"step": step}, write=True)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Do not write to it."""
    return make_run(tmp_path_factory.mktemp("generate") / "run", RECIPE)


@pytest.fixture(scope="module")
def generator(run: Run) -> Generator:
    return Generator(run, "cpu")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2))))


def test_a_video_depends_on_its_prompt_and_seed_alone(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    together = generator.generate(PROMPTS, seeds=[1, 2, 3])
    assert together.shape == (3, 4, 32, 32, 3)
    assert together.dtype == np.uint8
    alone = generator.generate(PROMPTS[1:2], seeds=[2])
    # Other samples in the batch change the order of sums: rounding may move a pixel by one step.
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 1
    monkeypatch.setattr("stiv_train.generate._AT_ONCE", 2)
    ticks: list[tuple[int, int]] = []
    in_pieces = generator.generate(PROMPTS, seeds=[1, 2, 3], on_step=lambda done, total: ticks.append((done, total)))
    assert np.abs(together.astype(int) - in_pieces).max() <= 1
    assert ticks == [(done, 6) for done in range(1, 7)]
    for other in (generator.generate(PROMPTS[1:2], seeds=[3]), generator.generate(PROMPTS[:1], seeds=[2])):
        assert np.abs(together[1].astype(int) - other[0]).max() > 3


def test_checkpoints_and_average(run: Run, generator: Generator) -> None:
    newest = generator.generate(PROMPTS[:1], seeds=[1])
    assert (generator.step, Generator(run, "cpu", step=10).step) == (20, 10)
    for other in (Generator(run, "cpu", step=10), Generator(run, "cpu", ema=False)):
        assert (other.generate(PROMPTS[:1], seeds=[1]) != newest).any()
    with pytest.raises(UsageError, match="There are those of 10, 20"):
        Generator(run, "cpu", step=15)


def test_first_frame_is_the_given_picture_through_the_codec(generator: Generator) -> None:
    given = texture(100, 60, 7)  # neither of the video's size nor of its proportions
    wanted = cover(given, 32, 32)
    codec = to_uint8(generator.latents.decode(generator.latents.encode(pixels(wanted[None, None], generator.device))))
    through = psnr(codec[0, 0], wanted)
    assert 15 < through < 60  # the codec keeps much, not all: else the test shows nothing
    made = generator.generate(PROMPTS[:2], seeds=[1, 2], images=[given, None])
    assert psnr(made[0, 0], wanted) >= through - 1e-6
    np.testing.assert_array_equal(made[0, 0], codec[0, 0])
    assert psnr(made[0, 1], wanted) < through
    assert psnr(made[1, 0], wanted) < through
    guided = generator.generate(PROMPTS[:1], seeds=[1], images=[given], sampling=generator.sampling(image_guidance=1.5))
    np.testing.assert_array_equal(guided[0, 0], codec[0, 0])
    assert (guided[0, 1] != made[0, 1]).any()


def test_a_model_that_knows_no_pictures_or_nothing_else(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = texture(32, 32, 1)

    def set_conditioning(**changed: object) -> None:
        monkeypatch.setattr(
            generator,
            "recipe",
            RECIPE.model_copy(update={"conditioning": RECIPE.conditioning.model_copy(update=changed)}),
        )

    set_conditioning(task="t2v")
    with pytest.raises(UsageError, match="not trained to be given a picture"):
        generator.generate(PROMPTS[:1], seeds=[1], images=[picture])
    set_conditioning(image_drop=0.0)
    with pytest.raises(UsageError, match="never trained without"):
        generator.generate(PROMPTS[:2], seeds=[1, 2], images=[picture, None])
    assert generator.generate(PROMPTS[:1], seeds=[1], frames=1).shape[1] == 1, "stills are trained without a picture"
    with pytest.raises(UsageError, match="A still has one frame"):
        generator.generate(PROMPTS[:1], seeds=[1], frames=1, images=[picture])


def test_other_sizes_where_they_fit(generator: Generator) -> None:
    made = generator.generate(PROMPTS[:1], seeds=[1], frames=7, height=16, width=48)
    assert made.shape == (1, 7, 16, 48, 3)
    assert generator.generate(PROMPTS[:1], seeds=[1], frames=1).shape == (1, 1, 32, 32, 3)
    with pytest.raises(UsageError, match="multiple of 16, such as 32 or 48"):
        generator.size(height=40)
    with pytest.raises(UsageError, match="such as 16 or 32"):
        generator.size(width=4)


@pytest.mark.parametrize(
    ("causal", "frames", "fix"),
    [(True, 8, "Give 5 or 9: 1, 5, 9 … fit"), (False, 10, "Give 8 or 12: 4, 8, 12 … fit"), (False, 3, "Give 4 or 8")],
)
def test_frames_that_do_not_fit(
    generator: Generator, monkeypatch: pytest.MonkeyPatch, causal: bool, frames: int, fix: str
) -> None:
    monkeypatch.setattr(generator.latents, "temporal", 4)
    monkeypatch.setattr(type(generator.latents), "causal", causal, raising=False)
    with pytest.raises(UsageError) as error:
        generator.size(frames=frames)
    assert fix in str(error.value)


def test_facts_of_the_training_clips(generator: Generator) -> None:
    assert generator.fps == 8.0
    # 128 × 192 clips cropped to squares: their centre begins 32 pixels from the left.
    assert generator._micro((4, 32, 32)) == [128, 192, 0, 32, 3, 4]


def test_sampling_settings(generator: Generator) -> None:
    assert generator.sampling(steps=9, guidance=None).steps == 9
    assert generator.sampling(guidance=None) == RECIPE.sampling
    with pytest.raises(UsageError, match="--image-guidance"):
        generator.sampling(image_guidance=-1)


def test_pictures(tmp_path: Path) -> None:
    picture = texture(40, 20, 3)
    Image.fromarray(picture).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), picture)
    turned = Image.fromarray(picture)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be shown turned clockwise
    turned.save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").shape == (40, 20, 3)
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(grey).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "deep.png")[..., 1], grey >> 8)
    (tmp_path / "b.png").write_bytes(b"no picture")
    for name in ("b.png", "nosuch.png"):
        with pytest.raises(UsageError, match=name):
            read_picture(tmp_path / name)
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200
    assert (cover(wide, 10, 10) == 200).mean() > 0.9
    assert cover(wide, 64, 32).shape == (64, 32, 3)


def test_files_of_prompts(tmp_path: Path) -> None:
    def write(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    assert read_prompts(write("a.txt", "one\n\n two  \n")) == [PromptLine("one"), PromptLine("two")]
    found = read_prompts(write("a.csv", 'prompt,seed,other,image\n"a, b",3,x,p.png\nc,,,\n'))
    assert found == [PromptLine("a, b", 3, tmp_path / "p.png"), PromptLine("c")]
    found = read_prompts(write("a.jsonl", '{"prompt": "a", "seed": 4}\n\n{"prompt": "b", "image": null}\n'))
    assert found == [PromptLine("a", 4), PromptLine("b")]
    for name, text, says in (
        ("a.doc", "x", "no file of prompts"),
        ("b.txt", "\n", "holds no prompt"),
        ("b.csv", "text\nx\n", "no column `prompt` (its columns: text)"),
        ("c.csv", "prompt,seed\nx,-2\n", "line 2"),
        ("b.jsonl", '{"prompt": "x"}\n{"prompt": 3}\n', "line 2"),
        ("c.jsonl", '{"prompt": "x"\n', "line 1: no JSON"),
        ("d.jsonl", '["x"]\n', "line 1"),
    ):
        with pytest.raises(UsageError) as error:
            read_prompts(write(name, text))
        assert says in str(error.value)
    with pytest.raises(UsageError, match="not there"):
        read_prompts(tmp_path / "nosuch.txt")
