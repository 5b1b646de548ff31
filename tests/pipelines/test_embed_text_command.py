"""`stiv embed-text` on the command line, then training and generating with what it made."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from pipelines.cli import common, embed_text_command
from pipelines.cli.embed_text_command import line
from pipelines.cli.main import run as run_stiv
from stiv_train import embed_text
from stiv_train.embed_text import Embedded, EmbedSummary

SMALL = (
    *("--set", "data.buckets=[{frames: 4, height: 32, width: 32}]", "--set", "data.validation_share=0"),
    *("--set", "data.workers=0", "--set", "train.device=cpu", "--set", "train.precision=fp32"),
)


def stiv(*arguments: object) -> int:
    return run_stiv([str(a) for a in arguments])


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A tiny OpenCLIP with random weights, as settings."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("tower")
    vision = {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
    torch.manual_seed(0)
    model = CLIP(24, CLIPVisionCfg(**vision), CLIPTextCfg(**text))
    (folder / "tiny.json").write_text(json.dumps({"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}))
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "tiny.safetensors")
    settings = {
        "kind": "openclip",
        "max_tokens": 16,
        "name": folder / "tiny.json",
        "weights": folder / "tiny.safetensors",
    }
    return tuple(part for key, value in settings.items() for part in ("--set", f"text.{key}={value}"))


@pytest.fixture
def one_paragraph(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    def read() -> str:
        out = capsys.readouterr()
        text = out.err.strip()
        assert "Traceback" not in text + out.out
        assert text.startswith("Error: ")
        assert "\n" not in text
        return text

    return read


def test_embed_train_generate(
    capsys: pytest.CaptureFixture[str], straight: Path, tower: tuple[str, ...], tmp_path: Path
) -> None:
    folder, run = tmp_path / "text conditions", tmp_path / "run"
    assert stiv("embed-text", straight, *SMALL, *tower, "--out", folder) == 0
    out = capsys.readouterr().out
    assert "Encoded " in out
    assert f"--set text.precomputed='{folder}'" in out
    model = (
        "model.width=64",
        "model.depth=1",
        "latents.channels=8",
        "train.steps=1",
        "train.batch=2",
        "sampling.steps=1",
    )
    settings = [part for setting in model for part in ("--set", setting)]
    read = ("--set", f"text.precomputed={folder}")
    assert stiv("train", straight, *SMALL, *tower, *settings, *read, "--out", run) == 0
    assert stiv("generate", run, "--prompt", "Something new", "--device", "cpu", "--out", tmp_path / "x.png") == 0
    assert (tmp_path / "x.png").is_file()
    capsys.readouterr()
    # The recipe says where: nothing is missing there now.
    assert stiv("embed-text", straight, *SMALL, *tower, *read, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["encoded"], found["folder"], found["stopped"]) == (0, str(folder), False)
    assert found["captions"] >= 2
    # `--image-guidance` without a picture would be without effect.
    assert stiv("generate", run, "--prompt", "x", "--image-guidance", 2, "--out", tmp_path / "y.png") == 2
    assert "none is given" in capsys.readouterr().err


def test_what_is_wrong_is_said(
    one_paragraph: Callable[[], str], straight: Path, tower: tuple[str, ...], tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "text")
    for arguments, says in (
        ((*SMALL, *out), "`small` is trained along"),
        ((*SMALL, *tower), "Give --out FOLDER"),
        ((*SMALL, *tower, *out, "--dtype", "int8"), "no type `int8`"),
        ((*SMALL, *tower, "--out", straight), "is not empty"),
        ((*SMALL, *tower, *out, "--select", "moton > 1"), "motion"),
        ((*SMALL, *tower, *out, "--set", "text.weights=none.safetensors"), "do not exist"),
    ):
        assert stiv("embed-text", straight, *arguments) == 2, arguments
        assert says in one_paragraph()
    assert not (tmp_path / "text").exists()
    train = ("train", straight, *SMALL, "--out", tmp_path / "run")
    assert stiv(*train, *tower, "--set", f"text.precomputed={tmp_path / 'text'}") == 2
    assert "stiv embed-text" in one_paragraph()
    assert stiv(*train, "--set", "text.precomputed=x") == 2
    assert "`small` is trained along" in one_paragraph()


def test_a_stop_exits_with_130(
    capsys: pytest.CaptureFixture[str], straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = EmbedSummary(str(tmp_path), 3, 5, 600, 1.0, stopped=True)
    monkeypatch.setattr(embed_text, "embed_text", lambda *arguments, **rest: summary)
    assert stiv("embed-text", straight, "--out", tmp_path) == 130
    out = capsys.readouterr()
    assert "Encoded 3 captions" in out.out
    assert "Next:" not in out.out
    assert "Run the same command again" in out.err


def test_progress_says_pace_and_time_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert line(Embedded(50, 200, 40, 20.0)) == "50/200 captions · 2.0 a second · 1:00 left"
    assert line(Embedded(0, 200, 0, 0.0)) == "0/200 captions · 0.0 a second"
    monkeypatch.setattr(embed_text_command, "LINE_EVERY_S", 0.0)
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr(common, "out_console", Console(file=log, width=140))
        with embed_text_command._progress(quiet=False) as show:
            show(Embedded(50, 200, 40, 20.0))
        with embed_text_command._progress(quiet=True) as show:
            show(Embedded(100, 200, 40, 20.0))
    assert (tmp_path / "log").read_text().splitlines() == ["50/200 captions · 2.0 a second · 1:00 left"]


@pytest.mark.parametrize("text", ["[]", "3", '{"format": 1}', '{"format": 1, "network": 3, "init": null}'])
def test_a_run_of_the_wrong_shape_is_damaged(one_paragraph: Callable[[], str], tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    assert stiv("generate", tmp_path, "--prompt", "x", "--out", tmp_path / "x.png") == 2
    assert f"{tmp_path}/run.json` is damaged" in one_paragraph()


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert stiv("embed-text", "--help") == 0
    text = capsys.readouterr().out
    for word in ("--recipe", "--out", "--select", "--captions", "--set", "--dtype", "--json", "stiv embed-text CORPUS"):
        assert word in text
