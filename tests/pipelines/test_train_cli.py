"""The training side of the command line: kinds of recipes, one-paragraph errors, exit codes, what is written where."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from rich.console import Console

from pipelines.cli.main import run as run_stiv
from pipelines.recipe_files import load_train_recipe, to_yaml
from pipelines.train_progress import TrainProgress
from schemas.errors import RecipeError
from schemas.train_recipe import Sampling, TrainRecipe
from stiv_train import generate, ledger, loop, run_folder
from stiv_train.events import Note, Progress, Saved, Validated

SMALL = ("--set", "data.buckets=[{frames: 4, height: 32, width: 32}]", "--set", "data.validation_share=0")


def stiv(*arguments: object) -> int:
    return run_stiv([str(a) for a in arguments])


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


# Recipes ---------------------------------------------------------------------------------------------------------------


def test_shown_recipe_is_a_recipe_of_its_kind(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert stiv("recipe", "show", "--kind", "train", "--set", "train.batch=32", *SMALL) == 0
    text = capsys.readouterr().out
    (tmp_path / "r.yaml").write_text(text)
    assert yaml.safe_load(text)["train"]["batch"] == 32
    assert "# Optimiser steps in all (STIV: 400,000)." in text
    assert stiv("recipe", "check", tmp_path / "r.yaml") == 0
    assert "training recipe" in capsys.readouterr().out
    assert stiv("recipe", "show", "--recipe", tmp_path / "r.yaml") == 0  # the file says its kind
    assert capsys.readouterr().out == text
    assert load_train_recipe(tmp_path / "r.yaml").data.buckets[0].frames == 4
    assert to_yaml(load_train_recipe(tmp_path / "r.yaml")) == text


def test_schema_of_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert stiv("recipe", "schema", "--kind", "train") == 0
    assert "validation_share" in capsys.readouterr().out
    assert stiv("recipe", "schema") == 0
    assert "Longest clip" in capsys.readouterr().out
    assert stiv("recipe", "schema", "--kind", "both") == 2


@pytest.mark.parametrize("text", ["kind: train", "model: {preset: S}\ntrain: {steps: 3}"])
def test_training_recipe_given_to_curate(
    one_paragraph: Callable[[], str], tmp_path: Path, videos: Path, text: str
) -> None:
    (tmp_path / "r.yaml").write_text(text)
    assert stiv("curate", videos, "--out", tmp_path / "c", "--recipe", tmp_path / "r.yaml") == 2
    message = one_paragraph()
    assert "is a training recipe (`kind: train`)" in message
    assert "stiv train" in message
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("text", ["kind: curate", "scan: {}\nexport: {crf: 20}"])
def test_curation_recipe_given_to_train(
    one_paragraph: Callable[[], str], tmp_path: Path, straight: Path, text: str
) -> None:
    (tmp_path / "r.yaml").write_text(text)
    for command in (("train", straight, "--out", tmp_path / "run"), ("data-plan", straight)):
        assert stiv(*command, "--recipe", tmp_path / "r.yaml") == 2
        assert "is a curation recipe (`kind: curate`)" in one_paragraph()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: trian", "'trian' is not known"),
        ("kind: [train]", "kind: train"),
        ("kind: train\nsampling: {stesp: 4}", "`sampling.stesp` (did you mean `sampling.steps`?)"),
        ("train: {}\ndata: {buckets: [{frame: 8}]}", "`data.buckets.0.frame` (did you mean `data.buckets.0.frames`?)"),
        ("kind: train\ndata: {buckets: [{height: 33}]}", "a bucket's height of 33 is no multiple of 16"),
        ("kind: train\nlatents: {kind: image_vae}", "needs `path`"),
        ("kind: train\ntrain: {batch: many}", "`train.batch`"),
    ],
)
def test_bad_training_recipes(one_paragraph: Callable[[], str], tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    assert stiv("recipe", "check", tmp_path / "r.yaml") == 2
    message = one_paragraph()
    assert says in message
    assert "--kind train" in message or "kind: train" in message
    assert "too" not in message  # one finding for one mistake


def test_settings_over_a_base_and_a_file(tmp_path: Path) -> None:
    base = TrainRecipe().model_dump(mode="json") | {"train": {"batch": 7}}
    assert load_train_recipe(None, ("optim.lr=0.5",), base).train.batch == 7
    (tmp_path / "r.yaml").write_text("kind: train\noptim: {warmup: 3}")
    recipe = load_train_recipe(tmp_path / "r.yaml", ("data.select=motion > 1",), base)
    assert (recipe.train.batch, recipe.optim.warmup, recipe.data.select) == (1024, 3, "motion > 1")
    with pytest.raises(RecipeError, match=r"train\.batch=32"):
        load_train_recipe(None, ("train.batch",))
    with pytest.raises(RecipeError, match="is a value, not a section"):
        load_train_recipe(None, ("train.batch.size=3",), base)


# Before any work -------------------------------------------------------------------------------------------------------


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert stiv("--help") == 0
    assert "Train" in capsys.readouterr().out
    for command, words in {
        "data-plan": ("--select", "--captions", "--recipe", "--set", "--json", "stiv data-plan CORPUS"),
        "train": ("--out", "--resume", "--init", "Ctrl-C", "stiv train CORPUS"),
        "generate": (
            "--prompt",
            "--prompts",
            "--image",
            "--guidance",
            "--grid",
            "--seed",
            "--count",
            "stiv generate RUN",
        ),
        "ledger": ("--step", "--source"),
    }.items():
        assert stiv(command, "--help") == 0
        text = capsys.readouterr().out
        for word in words:
            assert word in text


def test_wrong_use(one_paragraph: Callable[[], str], tmp_path: Path, straight: Path) -> None:
    (tmp_path / "p.txt").write_text("one\ntwo\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    out = ("--out", tmp_path / "x.mp4")
    for arguments, says in (
        (("train", straight, "--out", tmp_path / "r", "--resume", "--init", "x"), "--resume goes on"),
        (("train", "--out", tmp_path / "r"), "needs a corpus"),
        (("train", straight, "--out", tmp_path / "full"), "not an empty folder"),
        (("train", "--out", tmp_path / "r", "--resume"), "is not a run"),
        (("train", "--out", tmp_path / "r", "--resume", "--set", "train.steps=3"), "is not a run"),
        (("train", tmp_path, "--out", tmp_path / "r"), "not a corpus"),
        (("train", straight, "--out", tmp_path / "r", "--captions", "../x"), "cannot be a name"),
        (("train", straight, "--out", tmp_path / "r", "--set", "train.batch"), "key=value"),
        (("data-plan", tmp_path), "not a corpus"),
        (("data-plan", straight, *SMALL, "--captions", "nosuch"), "nosuch"),
        (("data-plan", straight, *SMALL, "--select", "moton > 1"), "motion"),
        (("data-plan", straight, *SMALL, "--select", "motion > 1e9"), "Nothing is left to train on"),
        (("ledger", tmp_path, "--step", 1), "is not a run"),
        (("ledger", tmp_path), "either for a step or for a source"),
        (("generate", tmp_path, "--prompt", "x", *out), "is not a run"),
        (("generate", tmp_path, *out), "no prompt"),
        (("generate", tmp_path, "--prompts", tmp_path / "p.txt", *out), "2 videos are asked for"),
        (("generate", tmp_path, "--prompt", "x", "--out", tmp_path / "x.avi"), "does not say what to write"),
        (("generate", tmp_path, "--prompt", "x", "--solver", "rk4", *out), "no solver"),
        (("generate", tmp_path, "--prompt", "x", "--device", "tpu", *out), "no device"),
        (("generate", tmp_path, "--prompt", "x", "--format", "avi", *out), "no format"),
    ):
        assert stiv(*arguments) == 2, arguments
        assert says in one_paragraph()
    assert not (tmp_path / "r").exists()
    assert not (tmp_path / "x.mp4").exists()


def test_without_torch(straight: Path, tmp_path: Path) -> None:
    def without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
        code = "import sys; sys.modules['torch'] = None; from pipelines.cli.main import main; main(sys.argv[1:])"
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
        )

    found = without_torch("train", straight, "--out", tmp_path / "r")
    assert found.returncode == 2
    assert "needs `torch`" in found.stderr
    assert "pip install 'stiv[train]'" in found.stderr
    planned = without_torch("data-plan", straight, *SMALL, "--json")  # needs no network library
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["samples"] > 0


def test_data_plan(capsys: pytest.CaptureFixture[str], straight: Path) -> None:
    assert stiv("data-plan", straight, *SMALL) == 0
    assert "Trained on" in capsys.readouterr().out
    assert stiv("data-plan", straight, *SMALL, "--select", "num_frames > 40", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["select"] == "num_frames > 40"
    assert 0 < report["train"]["clips"] < report["samples"]


# Training --------------------------------------------------------------------------------------------------------------


class Loop:
    """Stands in for the training loop: records how it was called."""

    def __init__(self, summary: loop.Summary | BaseException) -> None:
        self.summary = summary
        self.called: dict[str, object] = {}

    def __call__(self, corpus: object, recipe: object, out: object, **rest: object) -> loop.Summary:
        self.called = {"corpus": corpus, "recipe": recipe, "out": out, **rest}
        if isinstance(self.summary, BaseException):
            raise self.summary
        handle = rest["on_event"]
        assert callable(handle)
        handle(Progress(20, 40, 0.5, 12.0, 0.01, 3.0))
        return self.summary


def summary(tmp_path: Path, step: int, stopped: int = 0) -> loop.Summary:
    return loop.Summary(tmp_path / "r", step, 40, stopped, 0.5, ((0, 2.0), (40, 1.0)), 0, 3.0)


def test_train_says_what_to_run_next(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = Loop(summary(tmp_path, 40))
    monkeypatch.setattr(loop, "train", stand_in)
    train = ("train", "corpus", "--out", tmp_path / "r")
    assert stiv(*train, "--select", "motion > 1", "--captions", "fine", "--set", "train.steps=40", "--init", "old") == 0
    out = capsys.readouterr().out
    assert "step 20/40" in out
    assert "2.0000 at step 0, 1.0000 at step 40" in out
    assert f"stiv generate {tmp_path}/r --prompt" in out
    recipe = stand_in.called.pop("recipe")
    assert isinstance(recipe, TrainRecipe)
    assert (recipe.data.captions, recipe.train.steps) == ("fine", 40)
    stand_in.called.pop("on_event")
    assert stand_in.called == {
        "corpus": "corpus",
        "out": str(tmp_path / "r"),
        "select": "motion > 1",
        "resume": False,
        "init": "old",
    }
    assert stiv(*train, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["step"], found["validation"][1]["loss"]) == (40, 1.0)


def test_stopped_training_exits_with_130(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "train", Loop(summary(tmp_path, 20, stopped=15)))
    assert stiv("train", "corpus", "--out", tmp_path / "r") == 130
    out = capsys.readouterr()
    assert "SIGTERM at step 20 of 40" in out.out
    assert out.err.strip() == f"Go on with: stiv train --out {tmp_path}/r --resume"
    monkeypatch.setattr(loop, "train", Loop(KeyboardInterrupt()))
    assert stiv("train", "corpus", "--out", tmp_path / "r") == 130
    assert "nothing was kept" in capsys.readouterr().err

    def interrupted(*arguments: object, **rest: object) -> loop.Summary:
        (tmp_path / "r").mkdir()
        (tmp_path / "r" / "run.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", interrupted)
    assert stiv("train", "corpus", "--out", tmp_path / "r") == 130
    assert "--resume" in capsys.readouterr().err


def test_resume_takes_the_recipe_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        recipe = load_train_recipe(None, ("train.batch=7",))

    monkeypatch.setattr(run_folder.Run, "open", staticmethod(lambda path: Old))
    stand_in = Loop(summary(tmp_path, 40))
    monkeypatch.setattr(loop, "train", stand_in)
    assert stiv("train", "--out", tmp_path / "r", "--resume") == 0
    assert (stand_in.called["corpus"], stand_in.called["recipe"]) == (None, None)
    assert stiv("train", "--out", tmp_path / "r", "--resume", "--set", "train.steps=90") == 0
    recipe = stand_in.called["recipe"]
    assert isinstance(recipe, TrainRecipe)
    assert (recipe.train.batch, recipe.train.steps) == (7, 90)


def test_only_one_of_many_processes_speaks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "train", Loop(summary(tmp_path, 20, stopped=15)))
    monkeypatch.setenv("RANK", "1")
    assert stiv("train", "corpus", "--out", tmp_path / "r") == 130
    assert capsys.readouterr() == ("", "")


def test_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr("pipelines.train_progress.time.monotonic", lambda: next(clock))
    plain = Console(record=True, width=200)
    with TrainProgress(plain) as progress:
        for step in range(1, 7):
            progress.handle(Progress(step, 6, 1 / step, 20.0, 0.3, 60.0))
        progress.handle(Validated(6, 0.5))
        progress.handle(Saved(6, "checkpoint", "RUN/checkpoints/step-00000006"))
        progress.handle(Note("a [thing]"))
    lines = plain.export_text().splitlines()
    steps = [line.split("·")[0].strip() for line in lines if "samples/s" in line]
    assert 1 < len(steps) < 6  # every ten seconds
    assert steps[-1] == "step 6/6"
    assert lines[-3:] == [
        "step 6 · validation loss 0.5000",
        "step 6 · checkpoint saved: RUN/checkpoints/step-00000006",
        "note: a [thing]",
    ]
    seen = Console(record=True, width=200)
    seen.print(progress._render())
    text = seen.export_text()
    for word in ("100%", "6/6", "0.1667", "20.0", "30%", "1:00", "0.5000 (step 6)"):
        assert word in text


# Generating ------------------------------------------------------------------------------------------------------------


class Painter:
    """Stands in for a trained model: a video of one grey per seed."""

    step, fps = 20, 8.0
    asked: dict[str, object]

    def __init__(self, run: object, device: str, *, step: int | None, ema: bool) -> None:
        self.step = step or 20

    def sampling(self, **settings: object) -> Sampling:
        return Sampling.model_validate({key: value for key, value in settings.items() if value is not None})

    def each(self, prompts: list[str], *, seeds: list[int], **rest: object) -> Iterator[np.ndarray]:
        Painter.asked = {"prompts": prompts, "seeds": seeds, **rest}
        for seed in seeds:
            yield np.full((3, 8, 8, 3), 10 * seed, np.uint8)


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "Generator", Painter)
    monkeypatch.setattr(run_folder.Run, "open", staticmethod(lambda path: path))


@pytest.mark.usefixtures("painter")
def test_one_video(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (9, 9), (1, 2, 3)).save(tmp_path / "first.png")
    picture = ("--image", tmp_path / "first.png", "--guidance", "4", "--frames", "5")
    assert stiv("generate", "RUN", "--prompt", "x", "--seed", 7, *picture, "--out", tmp_path / "new" / "x.gif") == 0
    assert "1 video of step 20" in capsys.readouterr().out
    assert (tmp_path / "new" / "x.gif").stat().st_size > 0
    assert (Painter.asked["seeds"], Painter.asked["frames"]) == ([7], 5)
    assert Painter.asked["sampling"] == Sampling(guidance=4)
    images = Painter.asked["images"]
    assert isinstance(images, list)
    assert images[0][0, 0].tolist() == [1, 2, 3]
    assert stiv("generate", "RUN", "--prompt", "x", "--out", tmp_path / "x.png", "--step", "5", "--json") == 0
    assert json.loads(capsys.readouterr().out)["step"] == 5


@pytest.mark.usefixtures("painter")
def test_many_videos_in_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(
        "prompt,seed\nA dog, running!\nÄ,4\n".replace("A dog, running!", '"A dog, running!",')
    )
    many = ("generate", "RUN", "--prompts", tmp_path / "p.csv", "--prompt", "first", "--seed", "2", "--count", "2")
    assert stiv(*many, "--format", "webp", "--out", tmp_path / "videos") == 0
    assert "6 videos" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "videos").iterdir())
    assert names == [
        "0000-first-2.webp",
        "0001-first-3.webp",
        "0002-a-dog-running-2.webp",
        "0003-a-dog-running-3.webp",
        "0004-video-4.webp",
        "0005-video-5.webp",
        "prompts.jsonl",
    ]
    asked = Painter.asked
    again = ("generate", "RUN", "--prompts", tmp_path / "videos" / "prompts.jsonl")
    assert stiv(*again, "--out", tmp_path / "again", "--format", "webp") == 0
    assert (Painter.asked["prompts"], Painter.asked["seeds"]) == (asked["prompts"], asked["seeds"])
    assert (tmp_path / "again" / names[5]).read_bytes() == (tmp_path / "videos" / names[5]).read_bytes()


@pytest.mark.usefixtures("painter")
def test_many_in_one_picture(tmp_path: Path) -> None:
    from PIL import Image

    assert stiv("generate", "RUN", "--prompt", "x", "-n", 3, "--grid", "--out", tmp_path / "x.png") == 0
    sheet = np.asarray(Image.open(tmp_path / "x.png"))
    assert sheet.shape == (3 * 98 - 2, 3 * 98 - 2, 3)  # 8 pixels a side, enlarged to be seen
    assert [int(sheet[k, 0, 0]) for k in (0, 98, 196)] == [0, 10, 20]
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


# Ledger ----------------------------------------------------------------------------------------------------------------


def test_ledger(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = pa.table(
        {
            "clip_id": ["abc", "def"],
            "uri": ["/v/a.mp4", "/v/[b].mp4"],
            "shard": ["000000"] * 2,
            "shard_key": ["1", "2"],
            "caption": ["one", "two"],
            "validation": [False, False],
        }
    )
    monkeypatch.setattr(run_folder.Run, "open", staticmethod(lambda path: path))
    monkeypatch.setattr(ledger, "clips_of_step", lambda run, step: clips)
    asked = []

    def steps(run: str, source: str) -> ledger.Seen:
        asked.append(source)
        return ledger.Seen(clips[:1], np.arange(1, 51))

    monkeypatch.setattr(ledger, "steps_of_source", steps)
    assert stiv("ledger", "RUN", "--step", 3) == 0
    out = capsys.readouterr().out
    assert "Step 3 saw 2 clips" in out
    assert "/v/[b].mp4" in out
    assert stiv("ledger", "RUN", "--step", 3, "--json") == 0
    assert [clip["clip_id"] for clip in json.loads(capsys.readouterr().out)["clips"]] == ["abc", "def"]
    assert stiv("ledger", "RUN", "--source", "abc") == 0
    assert "Seen 50 times, in steps 1, 2, 3" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").write_text("")
    assert stiv("ledger", "RUN", "--source", "a.mp4", "--json") == 0
    assert json.loads(capsys.readouterr().out)["steps"] == list(range(1, 51))
    assert asked == ["abc", str(tmp_path / "a.mp4")]
