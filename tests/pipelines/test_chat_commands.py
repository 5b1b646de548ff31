"""Commands that ask chat models: what cannot work is said before anything is done, and what was asked is told with its cost."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.main import run as stiv_run


def stiv(*arguments: object) -> int:
    return stiv_run([str(a) for a in arguments])


@pytest.fixture
def offline_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache of the hub and a network that must not be tried; what --offline sets is taken back."""
    import huggingface_hub.constants

    for name in ("STIV_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was tried"))


ENDPOINT = ("chat.openai.base_url=http://localhost:1/v1", "chat.openai.model=toy")
CLIP = ("features.embeddings.backend=openclip", "features.embeddings.weights=laion2b_s34b_b79k")


@pytest.mark.parametrize("more", [["--dry-run"], []], ids=["dry", "real"])
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("captions.captioners=[vlm]", "chat.vlm.model=/nope"), "folder /nope of chat.vlm.model does not exist"),
        (("captions.captioners=[vlm]", "chat.vlm.model=org/tiny"), "org/tiny of chat.vlm is not on this machine"),
        (("captions.captioners=[openai]", "chat.openai.model=toy"), "chat.openai has no base_url"),
        (("captions.captioners=[openai]", *ENDPOINT, "chat.openai.budget_usd=1"), "budget_usd is set, but no price"),
        (("check.categories.backend=chat", "chat.llm.model=toy"), "chat.llm has no base_url"),
        (("check.dsg.enabled=true", "chat.llm.model=toy"), "chat.llm has no base_url"),
        (CLIP, "laion2b_s34b_b79k of ViT-B-32 (open_clip_model.safetensors) are not on this machine"),
        (("captions.captioners=[openai]", *ENDPOINT, "captions.prompt=none.md"), "none.md"),
    ],
)
@pytest.mark.usefixtures("offline_hub")
def test_what_cannot_work_is_said_before_there_is_a_corpus(
    videos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    settings: tuple[str, ...],
    says: str,
    more: list[str],
) -> None:
    sets = (part for setting in settings for part in ("--set", setting))
    command = ("curate", videos, "--out", tmp_path / "c", "--executor", "inline", "--offline", *sets, *more)
    assert stiv(*command) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert "Scanning" not in said.out + said.err
    assert not (tmp_path / "c").exists()


@pytest.mark.usefixtures("offline_hub")
def test_the_list_of_models_knows_offline_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert stiv("models", "--offline", "--json") == 0
    assert json.loads(capsys.readouterr().out)


@pytest.fixture
def corpus(straight: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(straight, tmp_path / "corpus"))


def asking(corpus: Path, server: Any, stage: str, *more: str) -> tuple[object, ...]:
    sets = (
        f"chat.{name}.{key}"
        for name in ("openai", "llm")
        for key in ("model=toy", f"base_url={server.url}", "retries=0")
    )
    money = ("chat.openai.usd_per_million_input=1000", "captions.captioners=[openai]", "check.categories.backend=chat")
    given = (part for setting in (*sets, *money) for part in ("--set", setting))
    return (stage, corpus, "--executor", "inline", "--name", "asked", *given, *more)


def test_one_stage_tells_what_it_asked_and_what_that_cost(
    corpus: Path, openai_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    openai_server.script(lambda seen: '{"caption": "A patch.", "short": "A patch.", "categories": ["art"]}')
    assert stiv(*asking(corpus, openai_server, "caption")) == 0
    assert "Asked    toy: 4 questions, 400 tokens sent, 40 answered, $0.40" in capsys.readouterr().out
    assert stiv(*asking(corpus, openai_server, "check", "--json")) == 0
    (told,) = json.loads(capsys.readouterr().out)["asked"].values()
    assert (told["asked"], told["prompt_tokens"]) == (1, 100)  # four clips of one caption
    assert stiv("caption", corpus, "--executor", "inline", "--json") == 0
    assert json.loads(capsys.readouterr().out)["asked"] == {}


def test_a_run_that_ends_with_an_error_tells_it_as_well(
    corpus: Path, openai_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    openai_server.script(['{"caption": "A patch.", "short": "A patch."}', openai_server.reply(status=500)])
    assert stiv(*asking(corpus, openai_server, "caption")) == 3
    said = capsys.readouterr()
    assert "toy: 3 questions, 1 without an answer, 300 tokens sent" in said.out
    assert "Error: 1 question has no answer" in said.err
