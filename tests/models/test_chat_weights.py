"""Which weights a local chat model has, without a network: a folder, the commit of a snapshot in the hub's cache, or nothing that is here."""

import asyncio
import shutil
import socket
from pathlib import Path

import pytest
import torch
import transformers as tf
from tokenizers import Tokenizer, models, pre_tokenizers

from models.chat.make import identity, make_chat
from models.chat.weights import locate
from schemas.chat import Ask
from schemas.errors import UsageError
from schemas.recipe_learned import LocalChat

REPO = "someone/tiny"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and a network that must not be tried."""
    import huggingface_hub.constants

    for name in ("STIV_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was tried"))
    return tmp_path / "hub"


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two small language models that differ in their weights alone."""
    words = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate("<unk> <end> yes no what ?".split())}, "<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = tf.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="<end>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}"
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    folders = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp("network")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = tf.LlamaForCausalLM(tf.LlamaConfig(**sizes, vocab_size=6, eos_token_id=1))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        folders.append(folder)
    return folders[0], folders[1]


def put(cache: Path, commit: str, source: Path | None, *refs: str) -> None:
    """A snapshot as the hub's client keeps it, and the names that point to it; without ``source`` only a configuration."""
    folder = cache / f"models--{REPO.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    place = folder / "snapshots" / commit
    if source is not None:
        shutil.copytree(source, place)
    elif not place.exists():
        place.mkdir(parents=True)
        (place / "config.json").write_text("{}")
    for ref in refs:
        (folder / "refs" / ref).write_text(commit)


def mark(name: str) -> dict[str, object]:
    return identity(LocalChat(model=name), "vlm")


A, B = "a" * 40, "b" * 40


def test_a_model_of_the_hub_is_the_commit_that_is_here(cache: Path) -> None:
    put(cache, A, None, "main", "v1")
    first = mark(REPO)
    assert (first["model"], first["weights"]) == (REPO, A)
    assert mark(f"{REPO}@v1") == mark(f"{REPO}@{A}") == first
    put(cache, B, None, "main")  # fetched anew: the branch has moved on
    assert mark(REPO) == {**first, "weights": B}
    assert mark(f"{REPO}@v1") == first


def test_what_is_not_here_is_fetched_as_far_as_its_configuration(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fetch(repo: str, file: str, revision: str | None) -> str:
        asked.append((repo, file, revision))
        put(cache, B, None, revision or "main")
        return str(cache / "models--someone--tiny/snapshots" / B / file)

    asked: list[tuple[str, str, str | None]] = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    assert (mark(REPO)["weights"], mark(f"{REPO}@v2")["weights"]) == (B, B)
    assert asked == [(REPO, "config.json", None), (REPO, "config.json", "v2")]

    def fail(*_: object, **__: object) -> str:
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(UsageError, match=r"someone/other of chat\.vlm could not be fetched: no route to host\."):
        mark("someone/other")


@pytest.mark.parametrize("there", ["nothing", "configuration"])
def test_offline_no_connection_is_tried_and_it_is_said_how_to_get_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    if there == "configuration":
        put(cache, A, None, "main")
    monkeypatch.setenv("STIV_OFFLINE", "1")
    with pytest.raises(UsageError, match=r"someone/tiny of chat\.vlm is not on this machine") as missing:
        make_chat(LocalChat(model=REPO), "vlm")
    assert f"hf download {REPO}. Or" in missing.value.fix
    with pytest.raises(UsageError) as missing:
        make_chat(LocalChat(model=f"{REPO}@v1"), "vlm")
    assert f"hf download {REPO} --revision v1. Or" in missing.value.fix


def test_offline_what_was_fetched_before_answers_with_the_weights_of_its_revision(
    cache: Path, networks: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cache, A, networks[0], "v1")
    put(cache, B, networks[1], "main")
    monkeypatch.setenv("STIV_OFFLINE", "1")
    for name, folder in ((REPO, networks[1]), (f"{REPO}@v1", networks[0])):
        made = make_chat(LocalChat(model=name, max_tokens=3, device="cpu"), "vlm")
        answer = asyncio.run(made.ask([Ask("what ?", "")]))[0]
        assert answer.prompt_tokens == 2
        wanted = tf.LlamaForCausalLM.from_pretrained(folder).state_dict()
        assert all(torch.equal(value, wanted[key]) for key, value in made._network._model.state_dict().items())


@pytest.mark.parametrize(("make", "why"), [(False, "does not exist"), (True, r"has no config\.json")])
def test_a_folder_that_holds_no_model_is_named(tmp_path: Path, make: bool, why: str) -> None:
    if make:
        (tmp_path / "model").mkdir()
    with pytest.raises(UsageError, match=rf"The folder .*/model of chat\.llm\.model {why}"):
        locate(f"{tmp_path}/model", "chat.llm")


def test_a_library_that_is_not_installed_is_found_before_it_is_needed(
    networks: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else found(name))
    with pytest.raises(UsageError, match="transformers is not installed") as missing:
        make_chat(LocalChat(model=str(networks[0])), "vlm")
    assert "stiv[models]" in missing.value.fix
