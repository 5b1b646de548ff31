"""Text conditions computed once: what is read back is what the encoder says, nothing is computed twice, nothing is lost."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curation.corpus import Corpus
from curation.storage import Store
from models.latents.make import fit_latents
from models.stiv.config import config_from_recipe
from models.stiv.network import STIV
from models.text.cached import CachedText
from models.text.make import make_text
from schemas.errors import StivError, StorageError, UsageError
from schemas.train_recipe import Text, TrainRecipe
from stiv_train import embed_text as job
from stiv_train import memory, starting, text_index
from stiv_train.data.loader import load_rows
from stiv_train.data.plan import build_plan
from stiv_train.embed_text import Embedded, batches, embed_text, lengths
from stiv_train.generate import Generator
from stiv_train.loop import train
from stiv_train.objective import Objective, pixels
from stiv_train.precomputed import plan_captions
from stiv_train.run_folder import Run
from stiv_train.text_index import Index, add_to_index, open_index
from stiv_train.text_store import TextStore
from stiv_train.trained import VideoModel

Recipes = Callable[..., TrainRecipe]
HALF, BRAIN = 2**-11, 2**-8
"""Relative rounding of float16 and bfloat16."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def save_clip(folder: Path, seed: int) -> dict[str, Any]:
    """A tiny OpenCLIP with random weights; the recipe's text section for it."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    from safetensors.torch import save_file

    vision = {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
    torch.manual_seed(seed)
    model = CLIP(24, CLIPVisionCfg(**vision), CLIPTextCfg(**text))
    folder.mkdir(parents=True)
    (folder / "tiny.json").write_text(json.dumps({"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}))
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "tiny.safetensors")
    files = {"name": str(folder / "tiny.json"), "weights": str(folder / "tiny.safetensors")}
    return {"kind": "openclip", "max_tokens": 16, **files}


def save_t5(folder: Path) -> dict[str, Any]:
    """A tiny T5 that knows some letters; the recipe's text section for it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    words = {
        word: n for n, word in enumerate(["<pad>", "</s>", "<unk>", *"A . red blue circle square moves to the".split()])
    }
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = T5Config(vocab_size=16, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    T5EncoderModel(config).save_pretrained(folder)
    return {"kind": "t5", "max_tokens": 12, "name": str(folder)}


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("towers")
    return {"clip": save_clip(folder / "clip", 0), "t5": save_t5(folder / "t5")}


@pytest.fixture
def recipe(towers: dict[str, dict[str, Any]], tiny_recipe: Recipes) -> Callable[..., TrainRecipe]:
    """Makes a tiny recipe with a frozen encoder: ``recipe("clip", {"train.steps": 3}, precomputed=…)``."""

    def make(tower: str = "clip", settings: Mapping[str, object] | None = None, **text: object) -> TrainRecipe:
        return tiny_recipe({"text": {**towers[tower], **text}, **(settings or {})})

    return make


@pytest.fixture(scope="module")
def stored(
    shapes_corpus: Corpus, towers: dict[str, dict[str, Any]], tiny_recipe: Recipes, tmp_path_factory: Any
) -> Path:
    """All captions by the tiny OpenCLIP. Do not write to it."""
    folder: Path = tmp_path_factory.mktemp("stored") / "clip"
    embed_text(shapes_corpus, tiny_recipe({"text": towers["clip"]}), str(folder))
    return folder


@pytest.fixture
def no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading an encoder fails."""

    def refuse(text: Text) -> None:
        raise AssertionError("an encoder was loaded")

    monkeypatch.setattr(starting, "make_text", refuse)
    monkeypatch.setattr(job, "make_text", refuse)


def all_captions(corpus: Corpus, recipe: TrainRecipe) -> list[str]:
    return sorted({"", *(caption for some in plan_captions(build_plan(corpus, recipe)) for caption in some)})


# What is stored ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tower", "dtype", "off"), [("clip", "float16", HALF), ("t5", "float16", HALF), ("clip", "bfloat16", BRAIN)]
)
def test_conditions_are_what_the_encoder_says(
    shapes_corpus: Corpus, recipe: Callable[..., TrainRecipe], tmp_path: Path, tower: str, dtype: str, off: float
) -> None:
    wanted = recipe(tower)
    summary = embed_text(shapes_corpus, wanted, str(tmp_path / "text"), dtype=dtype)
    captions = all_captions(shapes_corpus, wanted)
    assert (summary.encoded, summary.captions, summary.stopped) == (len(captions), len(captions), False)
    cached = CachedText(TextStore.open(str(tmp_path / "text")))
    encoder = make_text(wanted.text)
    assert (cached.width, cached.max_tokens) == (encoder.width, encoder.max_tokens)
    said, read = encoder.encode(encoder.tokenize(captions)), cached.encode(cached.tokenize(captions))  # type: ignore[operator]
    assert torch.equal(said.mask, read.mask)
    assert torch.allclose(said.tokens * said.mask[..., None], read.tokens, rtol=1.01 * off, atol=1e-6)
    assert torch.allclose(said.pooled, read.pooled, rtol=1.01 * off, atol=1e-6)
    assert not torch.equal(said.pooled, read.pooled)  # they were rounded
    # No padding is stored.
    size = sum(path.stat().st_size for path in (tmp_path / "text" / "chunks").iterdir())
    assert size == summary.bytes
    assert (
        len({(tmp_path / "text" / name).stat().st_mode for name in ("encoder.json", "chunks/000000.safetensors")}) == 1
    )
    values = int(said.mask.sum() + len(captions)) * cached.width
    assert 2 * values + 24 * len(captions) < size < 2 * values + 24 * len(captions) + 1024


def test_the_same_bytes_every_time(
    shapes_corpus: Corpus, recipe: Callable[..., TrainRecipe], stored: Path, tmp_path: Path
) -> None:
    embed_text(shapes_corpus, recipe(), str(tmp_path / "again"))
    for path in (p for p in stored.rglob("*") if p.is_file() and p.name != ".lock"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(stored)).read_bytes(), path


def test_values_that_do_not_fit_are_an_error(
    shapes_corpus: Corpus, recipe: Callable[..., TrainRecipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = job._Tower.conditions
    monkeypatch.setattr(
        job._Tower, "conditions", lambda self, ids, dtype: ((1e6 * t, p) for t, p in conditions(self, ids, dtype))
    )
    with pytest.raises(StivError, match=r"do not fit into float16.*bfloat16"):
        embed_text(shapes_corpus, recipe(), str(tmp_path / "text"))


# Only what is missing ---------------------------------------------------------------------------------------------------


def test_a_grown_selection_adds_what_is_missing(
    shapes_corpus: Corpus, recipe: Callable[..., TrainRecipe], tmp_path: Path
) -> None:
    folder = str(tmp_path / "text")
    some = "caption LIKE '%circle%'"
    few = embed_text(shapes_corpus, recipe(), folder, select=some)
    captions = all_captions(shapes_corpus, recipe())
    assert few.encoded == sum("circle" in caption or not caption for caption in captions) < len(captions)
    before = (tmp_path / "text/chunks/000000.safetensors").stat()
    with pytest.raises(UsageError, match=r"The caption “A .*others\).*stiv embed-text .*shapes.*--out") as error:
        train(shapes_corpus.store.uri, recipe(precomputed=folder), tmp_path / "run")
    assert "circle" not in error.value.message
    assert not (tmp_path / "run").exists()
    rest = embed_text(shapes_corpus, recipe(), folder)
    assert (rest.encoded, rest.captions) == (len(captions) - few.encoded, len(captions))
    after = (tmp_path / "text/chunks/000000.safetensors").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert [path.name for path in (tmp_path / "text").glob("index-*")] == ["index-000002.npy"]
    assert not (TextStore.open(folder).find(captions) < 0).any()


@pytest.mark.usefixtures("no_encoder")
def test_nothing_missing_loads_nothing(shapes_corpus: Corpus, recipe: Callable[..., TrainRecipe], stored: Path) -> None:
    again = embed_text(shapes_corpus, recipe(), str(stored))
    assert (again.encoded, again.bytes) == (0, 0)


@pytest.mark.usefixtures("no_encoder")
def test_chunks_of_a_killed_run_are_found_again(
    shapes_corpus: Corpus, recipe: Callable[..., TrainRecipe], stored: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(stored, tmp_path / "text"))
    (index,) = folder.glob("index-*.npy")
    index.unlink()
    assert embed_text(shapes_corpus, recipe(), str(folder)).encoded == 0
    assert index.read_bytes() == (stored / index.name).read_bytes()


def test_a_stop_keeps_what_was_encoded(
    shapes_corpus: Corpus, recipe: Callable[..., TrainRecipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(job._TOKENS_AT_ONCE, "cpu", 32)  # two captions at once
    monkeypatch.setattr(job, "_CHUNK_CAPTIONS", 4)
    told: list[Embedded] = []

    def stop(event: Embedded) -> None:
        told.append(event)
        if event.encoded == 6:  # in the middle of the second chunk
            os.kill(os.getpid(), signal.SIGINT)

    folder = str(tmp_path / "text")
    first = embed_text(shapes_corpus, recipe(), folder, on_progress=stop)
    captions = all_captions(shapes_corpus, recipe())
    assert first.stopped
    assert 6 <= first.encoded == first.captions < len(captions)
    assert (TextStore.open(folder).find(captions) >= 0).sum() == first.encoded
    told.clear()
    second = embed_text(shapes_corpus, recipe(), folder, on_progress=told.append)
    assert first.encoded + second.encoded == second.captions == len(captions)
    assert (told[0].done, told[-1].done) == (0, told[-1].total)
    assert all(a.done <= b.done and a.encoded <= b.encoded for a, b in itertools.pairwise(told))


def test_copies_are_encoded_once(
    shapes_corpus: Corpus, recipe: Callable[..., TrainRecipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = all_captions(shapes_corpus, recipe())[1:]
    monkeypatch.setattr(job, "plan_captions", lambda plan: iter([captions * 2, captions[::-1]]))
    monkeypatch.setattr(job, "_CHUNK_CAPTIONS", 4)
    told: list[Embedded] = []
    summary = embed_text(shapes_corpus, recipe(), str(tmp_path / "text"), on_progress=told.append)
    assert summary.encoded == summary.captions == len(captions) + 1
    assert (told[-1].done, told[-1].total) == (3 * len(captions) + 1, 3 * len(captions) + 1)


# Another encoder --------------------------------------------------------------------------------------------------------


def test_another_encoder_is_an_error_that_says_what_differs(
    shapes_corpus: Corpus, recipe: Callable[..., TrainRecipe], stored: Path, tmp_path: Path
) -> None:
    corpus, folder = shapes_corpus.store.uri, str(stored)
    other = save_clip(tmp_path / "other", 1)
    for wanted, says in (
        (recipe(max_tokens=12), "max_tokens: 16 → 12"),
        (recipe(**other), "content: "),
        (recipe(weights=other["weights"]), "weights: .*tiny.safetensors"),
        (recipe("t5", max_tokens=16), 'kind: "openclip" → "t5"'),
    ):
        with pytest.raises(UsageError, match=f"made otherwise: .*{says}"):
            embed_text(shapes_corpus, wanted, folder)
        text = wanted.text.model_copy(update={"precomputed": folder})
        with pytest.raises(UsageError, match=f"not of this recipe's encoder: .*{says}"):
            train(corpus, wanted.model_copy(update={"text": text}), tmp_path / "run")
    bf16 = recipe(settings={"train.precision": "bf16"})
    with pytest.raises(UsageError, match='precision: "fp32" → "bf16"'):
        embed_text(shapes_corpus, bf16, folder)
    with pytest.raises(UsageError, match='dtype: "float16" → "bfloat16"'):
        embed_text(shapes_corpus, recipe(), folder, dtype="bfloat16")
    embed_text(shapes_corpus, bf16, str(tmp_path / "bf16"))
    with pytest.raises(UsageError, match='precision: "bf16" → "fp32"'):
        train(corpus, recipe(precomputed=str(tmp_path / "bf16")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_encoder")
def test_equal_files_elsewhere_are_the_same_encoder(
    shapes_corpus: Corpus, recipe: Callable[..., TrainRecipe], stored: Path, tmp_path: Path
) -> None:
    assert embed_text(shapes_corpus, recipe(**save_clip(tmp_path / "copy", 0)), str(stored)).encoded == 0


def test_encoders_of_the_hub_are_told_by_what_was_fetched_and_then_by_name(
    shapes_corpus: Corpus,
    recipe: Callable[..., TrainRecipe],
    stored: Path,
    towers: dict[str, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import open_clip
    from safetensors.torch import load_file, save_file

    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: {"quick_gelu": False})
    monkeypatch.setattr(open_clip, "download_pretrained", lambda found: towers["clip"]["weights"])
    assert embed_text(shapes_corpus, recipe(weights="a_tag"), str(stored)).encoded == 0  # the same files
    folder = str(tmp_path / "clip")
    embed_text(shapes_corpus, recipe(weights="a_tag"), folder)
    one = {"train.steps": 1}
    uri = shapes_corpus.store.uri
    assert train(uri, recipe(settings=one, weights="a_tag", precomputed=folder), tmp_path / "run").step == 1
    with pytest.raises(UsageError, match='weights: "a_tag" → "another"'):
        train(uri, recipe(weights="another", precomputed=folder), tmp_path / "other")
    monkeypatch.setattr("models.text.content.is_path", lambda name: False)
    folder = str(tmp_path / "t5")
    assert embed_text(shapes_corpus, recipe("t5"), folder).encoded > 0
    assert embed_text(shapes_corpus, recipe("t5"), folder).encoded == 0
    copy = Path(shutil.copytree(towers["t5"]["name"], tmp_path / "copy"))
    assert embed_text(shapes_corpus, recipe("t5", name=str(copy)), folder).encoded == 0
    weights = load_file(copy / "model.safetensors")
    save_file({key: 2 * value for key, value in weights.items()}, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match="made otherwise: content"):
        embed_text(shapes_corpus, recipe("t5", name=str(copy)), folder)


def test_folders_that_hold_something_else(
    shapes_corpus: Corpus, recipe: Callable[..., TrainRecipe], tiny_recipe: Recipes, stored: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="`small` is trained along"):
        embed_text(shapes_corpus, tiny_recipe(), str(tmp_path / "text"))
    with pytest.raises(ValueError, match="`small` is trained along"):
        tiny_recipe({"text.precomputed": "x"})
    with pytest.raises(UsageError, match=r"not empty.*holds no text conditions"):
        embed_text(shapes_corpus, recipe(), shapes_corpus.store.uri)
    with pytest.raises(UsageError, match="local or mounted disk"):
        embed_text(shapes_corpus, recipe(), "s3://bucket/text")
    with pytest.raises(UsageError, match=r"no encoder\.json.*stiv embed-text"):
        train(shapes_corpus.store.uri, recipe(precomputed=str(tmp_path / "none")), tmp_path / "run")
    for text, says in (("[]", "is damaged"), ('{"format": 1}', "is damaged"), ('{"format": 9}', "another version")):
        folder = Path(shutil.copytree(stored, tmp_path / "damaged", dirs_exist_ok=True))
        (folder / "encoder.json").write_text(text)
        with pytest.raises(UsageError, match=says):
            TextStore.open(str(folder))


def test_damaged_files_are_named(stored: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(stored, tmp_path / "text"))
    chunk = folder / "chunks" / "000000.safetensors"
    chunk.write_bytes(chunk.read_bytes()[:100])
    store = TextStore.open(str(folder))
    with pytest.raises(StorageError, match=r"000000\.safetensors` cannot be read.*stiv embed-text"):
        store.read(int(store.places([""])[0]))
    (index,) = folder.glob("index-*.npy")
    index.write_bytes(b"torn")
    with pytest.raises(StorageError, match=f"{index.name}` is damaged"):
        TextStore.open(str(folder))


# Training ---------------------------------------------------------------------------------------------------------------


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines for name in ("loss", "validation_loss") if line.get(name) is not None]


@pytest.mark.parametrize("tower", ["clip", "t5"])
def test_training_on_them_is_training_with_the_encoder(
    shapes_corpus: Corpus,
    recipe: Callable[..., TrainRecipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tower: str,
) -> None:
    corpus, folder = shapes_corpus.store.uri, str(tmp_path / "text")
    settings = {"train.steps": 3, "train.sample_every": 3, "train.save_every": 2, "conditioning.text_drop": 0.5}
    live = recipe(tower, settings)
    train(corpus, live, tmp_path / "live")
    embed_text(shapes_corpus, live, folder)
    foreseen: list[int] = []
    foresee = memory.foresee
    monkeypatch.setattr(
        memory, "foresee", lambda *args, **rest: foreseen.append(rest["frozen"]) or foresee(*args, **rest)
    )
    with monkeypatch.context() as without:
        without.setattr(starting, "make_text", None)
        train(corpus, recipe(tower, settings, precomputed=folder), tmp_path / "cached")
    assert foreseen == [0]
    expected, found = losses(tmp_path / "live"), losses(tmp_path / "cached")
    assert len(found) == len(expected) >= 4
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    # Prompts are new: generating loads the encoder.
    video = Generator(Run.open(tmp_path / "cached"), "cpu").generate(["A prompt of its own"], seeds=[1])
    assert video.shape == (1, 4, 32, 32, 3)
    # A run goes on either way.
    more = {**settings, "train.steps": 4}
    assert train(corpus, recipe(tower, more), tmp_path / "cached", resume=True).step == 4
    assert foreseen[-1] > 0
    assert train(corpus, recipe(tower, more, precomputed=folder), tmp_path / "live", resume=True).step == 4
    assert foreseen[-1] == 0


def test_losses_are_those_of_the_encoder_and_depend_on_it(
    shapes_corpus: Corpus, recipe: Callable[..., TrainRecipe], stored: Path
) -> None:
    wanted = recipe()
    plan = build_plan(shapes_corpus, wanted)
    batch = load_rows(plan, shapes_corpus, wanted, np.arange(4))
    latents = fit_latents(wanted.latents, [pixels(batch.pixels, torch.device("cpu"))])
    config = config_from_recipe(wanted.model, latents.channels, 64, latents.latent_shape(4, 32, 32))
    torch.manual_seed(0)
    network = STIV(config)
    for parameter in network.parameters():  # a new network does not heed its text yet
        torch.nn.init.normal_(parameter, std=0.2)

    @torch.no_grad()
    def measured(text: torch.nn.Module, captions: list[str]) -> torch.Tensor:
        model = VideoModel(network, text)
        objective = Objective(wanted, config, latents, model.encoder, torch.device("cpu"))
        return objective.losses(model, objective.inputs(replace(batch, captions=captions)))

    cached = CachedText(TextStore.open(str(stored)))
    live = measured(make_text(wanted.text), batch.captions)
    off = (measured(cached, batch.captions) / live - 1).abs()
    turned = (measured(cached, batch.captions[1:] + batch.captions[:1]) / live - 1).abs()
    assert 0 < off.max() < 1e-3 < turned.max()
    assert off.max() < turned.max() / 20


def test_training_where_the_encoder_is_not(
    shapes_corpus: Corpus,
    tiny_recipe: Recipes,
    stored: Path,
    towers: dict[str, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = save_clip(Path("clip"), 0)  # a short path, for messages cut long ones
    embed_text(shapes_corpus, tiny_recipe({"text": text}), str(tmp_path / "text"))
    shutil.rmtree(tmp_path / "clip")
    recipe = tiny_recipe({"text": {**text, "precomputed": str(tmp_path / "text")}, "train.steps": 1})
    assert train(shapes_corpus.store.uri, recipe, tmp_path / "run").step == 1
    other = tiny_recipe({"text": {**text, "name": "elsewhere.json", "precomputed": str(tmp_path / "text")}})
    with pytest.raises(UsageError, match=r"name: .*tiny\.json.* → .*elsewhere"):
        train(shapes_corpus.store.uri, other, tmp_path / "other")
    with pytest.raises(UsageError, match=r"tiny\.json cannot be read"):
        Generator(Run.open(tmp_path / "run"), "cpu")


# The index, and batches -------------------------------------------------------------------------------------------------


def test_index_finds_what_was_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_index, "_BLOCK", 7)
    store = Store(tmp_path)
    chance = np.random.default_rng(0)
    known: dict[bytes, int] = {}
    index = open_index(store)
    for chunks in range(1, 5):
        # Few first halves, so that many keys share theirs.
        keys = np.stack((chance.integers(0, 40, 100), chance.integers(0, 2**63, 100)), 1).astype(np.uint64)
        added = {key.tobytes(): chunks << 32 | row for row, key in enumerate(keys)}
        index = add_to_index(store, index, added, chunks)
        known |= added
        assert (len(index), index.chunks) == (len(known), chunks)
        assert (np.diff(index.first.astype(np.int64)) >= 0).all()
    wanted = np.frombuffer(b"".join(known), np.uint64).reshape(-1, 2)
    for found in (index, open_index(store)):
        assert found.find(wanted).tolist() == list(known.values())
        assert (found.find(wanted ^ np.array([0, 1], np.uint64)) == -1).all()
        assert (found.find(np.array([[2**63, 1], [41, 0]], np.uint64)) == -1).all()
    assert [path.name for path in tmp_path.glob("index*")] == ["index-000004.npy"]
    assert (tmp_path / "index-000004.npy").stat().st_size == 24 * len(known) + 128
    assert Index(np.empty((3, 0), np.uint64), 0).find(wanted[:2]).tolist() == [-1, -1]


def test_batches_are_of_equal_lengths_and_bounded() -> None:
    ids = torch.tensor([[9, 5, 8, 0, 0], [9, 8, 0, 0, 0], [9, 1, 2, 3, 8], [9, 5, 5, 5, 8], [0, 0, 0, 0, 0]])
    assert lengths(ids).tolist() == [4, 3, 5, 5, 1]
    found = [some.tolist() for some in batches(lengths(ids), 9)]
    assert found == [[2], [3], [0, 1], [4]]
    assert [some.tolist() for some in batches(np.array([50, 60]), 9)] == [[1], [0]]
