"""Golden videos, curated, trained on, generated from: the whole way, measured by a program that looks at the result. Long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curation.golden.write import write_golden
from pipelines.cli.main import run as stiv
from pipelines.recipe_files import load_train_recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    write_golden(folder / "videos", ["shapes"], shapes=288)
    recipe = ROOT / "configs" / "curate" / "shapes.yaml"
    command = ["curate", str(folder / "videos"), "--out", str(folder / "corpus"), "--recipe", str(recipe)]
    assert stiv([*command, "--executor", "inline"]) == 0
    return folder / "corpus"


@pytest.mark.slow
def test_colour_and_direction_follow_the_prompt(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from stiv_train.evaluation.shapes import main as evaluate
    from stiv_train.loop import train

    recipe = ROOT / "configs" / "train" / "shapes_demo.yaml"
    train(str(corpus), load_train_recipe(recipe, ["train.steps=1", "optim.lr=1e-9"]), tmp_path / "untrained")
    required = ["--require-colour", "0.95", "--require-direction", "0.45"]
    assert evaluate([str(tmp_path / "untrained"), "--prompts", "96", *required]) == 1
    told = capsys.readouterr().err
    assert "Colour is right in" in told
    assert "bound of direction" in told

    summary = train(str(corpus), load_train_recipe(recipe), tmp_path / "run")
    losses = [loss for _, loss in summary.validation]
    assert losses[-1] < 0.5 * losses[0]
    assert evaluate([str(tmp_path / "run"), "--prompts", "400", "--json", *required]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["direction"]["share"] >= 0.8
    print({word: found[word]["share"] for word in ("colour", "direction", "shape")}, losses)
