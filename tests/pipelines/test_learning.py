"""Golden videos, curated, trained on, generated from: the whole way, measured by a program that looks at the result. Long."""

from __future__ import annotations

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
def test_colour_and_direction_follow_the_prompt(corpus: Path, tmp_path: Path) -> None:
    from stiv_train.evaluation.shapes import evaluate
    from stiv_train.loop import train

    recipe = ROOT / "configs" / "train" / "shapes_demo.yaml"
    untrained = load_train_recipe(recipe, ["train.steps=1", "optim.lr=1e-9"])
    train(str(corpus), untrained, tmp_path / "untrained")
    before = evaluate(tmp_path / "untrained", 96)
    assert before.shares["colour"].share < 0.95
    assert before.shares["direction"].bounds[0] < 0.45

    summary = train(str(corpus), load_train_recipe(recipe), tmp_path / "run")
    losses = [loss for _, loss in summary.validation]
    assert losses[-1] < 0.5 * losses[0]
    found = evaluate(tmp_path / "run", 400)
    print(found.text())
    assert found.shares["colour"].share >= 0.95
    assert found.shares["direction"].share >= 0.8
