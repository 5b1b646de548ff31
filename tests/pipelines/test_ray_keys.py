"""The key of an endpoint on Ray: workers whose machine does not know it have it, and no file of Ray's holds it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation.corpus import Corpus
from pipelines.chain import CAPTION, CHECK, JUDGE
from pipelines.context import Context
from pipelines.prepare import Options, prepare_variants
from pipelines.ray_run import key_variables, ray_session, run_ray
from pipelines.recipe_files import load_recipe
from schemas.recipe import CurateRecipe

KEY = "hush-6f1c0d5e-not-to-be-found"


def recipe(*settings: str) -> CurateRecipe:
    return load_recipe(None, ("select.unaesthetic=off", "select.blurred=off", *settings))


def test_keys_are_those_of_the_endpoints_that_a_stage_asks() -> None:
    both = recipe(
        "captions.captioners=[openai,vlm]",
        "chat.openai.api_key_env=MINE",
        "chat.vlm.api_key_env=NONE",
        "check.categories.backend=chat",
    )
    assert key_variables(both, CAPTION) == {"MINE"}
    assert key_variables(both, CHECK) == {"OPENAI_API_KEY"}
    assert key_variables(both, JUDGE) == set()


@pytest.mark.ray
@pytest.mark.slow
def test_a_worker_has_the_key_and_no_file_of_rays_does(
    straight: Path, tmp_path: Path, run: Callable[..., Any], openai_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = Corpus.open(shutil.copytree(straight, tmp_path / "corpus"))
    settings = ("model=toy", f"base_url={openai_server.url}", "api_key_env=STIV_TEST_KEY", "stills=1")
    asking = recipe("captions.captioners=[openai]", *(f"chat.openai.{setting}" for setting in settings))
    made = prepare_variants(corpus, asking, ("caption",), Options(name="keyed"))
    context = Context(corpus.store.uri, "run", 1, asking, made)
    with ray_session(None, 1) as ray:
        monkeypatch.setenv(
            "STIV_TEST_KEY", KEY
        )  # only now: what Ray has started does not know it, as on another machine
        run_ray(context, [CAPTION], [0], lambda event: None, ray)
        session = Path(ray._private.worker._global_node.get_session_dir_path())
        holding = [path for path in session.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert {seen.headers["authorization"] for seen in openai_server.requests} == {f"Bearer {KEY}"}
    assert len(openai_server.requests) == 4
    assert holding == []
