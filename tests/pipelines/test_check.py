"""The stage `check`: every caption gets its row, models are asked once, and nothing paid for is lost."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.captioning.dsg import NOTHING
from curation.captioning.prompts import load_prompt
from curation.corpus import Corpus
from curation.variants import Variant
from models.vision import make
from pipelines.context import Context, Event, Worker
from pipelines.stages import chats, check
from pipelines.variant_settings import idle_rules
from schemas.chat import Answer, Ask, Usage
from schemas.errors import BudgetError
from schemas.recipe import CurateRecipe
from schemas.recipe_learned import Check

CAPTION = "A red circle moves to the right across a plain black background. A dog is in front of it."
LISTED = json.dumps({"objects": [{"object": "red circle", "sentence": 1}, {"object": "dog", "sentence": 2}]})


class Toy:
    """A chat model that answers by what it is asked, and counts."""

    name = "toy"
    fingerprint = "toy-1"

    def __init__(self, budget: int | None = None, categories: str = '{"categories": ["animals"]}') -> None:
        self.usage = Usage()
        self.asked: list[Ask] = []
        self.closed = 0
        self.budget = budget
        self.categories = categories

    async def ask(self, asks: Sequence[Ask], on_answer: Callable[[int, Answer], None]) -> list[Answer]:
        answers = []
        for ask in asks:
            if self.budget is not None and len(self.asked) >= self.budget:
                raise BudgetError("The budget is spent.")
            self.asked.append(ask)
            answers.append(Answer(self._answer(ask), prompt_tokens=5))
            on_answer(len(answers) - 1, answers[-1])
            self.usage.asked += 1
        return answers

    def _answer(self, ask: Ask) -> str:
        if ask.stills:
            assert all(read().startswith(b"\xff\xd8") for read in ask.stills)
            return json.dumps({str(n): "no" if "dog" in line else "yes" for n, line in enumerate(questions(ask), 1)})
        return LISTED if "objects" in ask.prompt else self.categories

    async def close(self) -> None:
        self.closed += 1


def questions(ask: Ask) -> list[str]:
    return [line for line in ask.prompt.splitlines() if line[:1].isdigit()]


@pytest.fixture
def corpus(straight: Path, tmp_path: Path) -> Path:
    """With captions `default`: one shared by all clips but the last, which has none."""
    out = Path(shutil.copytree(straight, tmp_path / "corpus"))
    shutil.rmtree(out / "checks", ignore_errors=True)
    opened = Corpus.open(out)
    rows = opened.read("captions", 0, "default").to_pylist()
    for row in rows:
        row["caption"] = CAPTION
    rows[-1]["caption"] = None
    (out / opened.path("captions", 0, "default")).unlink()
    opened.write("captions", 0, rows, "default")
    return out


def make_worker(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, model: Toy | None = None, openclip: str | None = None, **section: Any
) -> Worker:
    settings = Check(**section).model_dump(mode="json")
    for where in (settings["dsg"], settings["categories"]):
        where.update({k: load_prompt(v) for k, v in where.items() if k.endswith("prompt")})
    inputs = {"captions": {"name": "default", "fingerprint": "f"}}
    variants = {"captions": Variant("captions", "default", {}, {}, "f", "default", {})}
    if openclip:
        vectors = {"backend": "openclip"}
        made = {"model": {"name": "tiny", "fingerprint": openclip}}
        variants["embeddings"] = Variant("embeddings", "clip", vectors, made, "g", "clip", {})
        inputs["embeddings"] = {"name": "clip", "fingerprint": "g"}
    variants["checks"] = Variant("checks", "new", settings, inputs, "f", "new", {})
    monkeypatch.setattr(chats, "_model", lambda worker, name: model)
    events: list[Event] = []
    worker = Worker(Context(str(corpus), "run", 1, CurateRecipe(), variants), events.append)
    worker.events = events  # type: ignore[attr-defined]
    return worker


def told(worker: Worker, kind: str) -> list[Event]:
    return [event for event in worker.events if event["kind"] == kind]  # type: ignore[attr-defined]


def rows(corpus: Path) -> list[dict[str, Any]]:
    return Corpus.open(corpus).read("checks", 0, "new").to_pylist()


DSG = {"dsg": {"enabled": True, "stills": 2}}
CHAT = {"categories": {"backend": "chat"}}


def test_without_models_it_tells_language_and_category_and_needs_no_torch(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "open_clip", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    worker = make_worker(corpus, monkeypatch)
    check.run(worker, 0)
    captioned = Corpus.open(corpus).read("captions", 0, "default")["clip_id"].to_pylist()
    *found, last = rows(corpus)
    assert [row["clip_id"] for row in (*found, last)] == captioned
    for row in found:
        assert row["caption_language"] == "en"
        assert row["caption_language_score"] > 0.9
        assert (row["category"], row["categories"], row["category_source"]) == (
            "shapes",
            ["shapes", "animals"],
            "rules",
        )
        assert row["agreement"] is None
        assert {name: row[name] for name in NOTHING} == NOTHING
    assert {value for name, value in last.items() if name != "clip_id"} == {None}
    assert told(worker, "part") == [{"kind": "part", "stage": "check", "part": 0, "clips": 4, "examined": 0}]
    assert told(worker, "asked") == []


def test_keywords_are_looked_for_in_english_captions_only() -> None:
    german = "Eine junge Frau im roten Rock geht mit ihrer Mutter durch die alte Straße und lacht dabei sehr laut."
    row = check._by_rules({"clip_id": "a", "caption": german})
    assert (row["caption_language"], row["category"], row["categories"]) == ("de", None, [])
    row = check._by_rules({"clip_id": "a", "caption": "A rock."})
    assert (row["caption_language"], row["category"]) == (None, "nature")


def test_a_part_that_is_there_is_left_alone(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check.run(make_worker(corpus, monkeypatch), 0)
    path = corpus / "checks" / "new" / "part-000000.parquet"
    before = path.read_bytes()
    again = make_worker(corpus, monkeypatch)
    check.run(again, 0)
    assert path.read_bytes() == before
    assert again.events == []  # type: ignore[attr-defined]


def test_dsg_and_categories_by_models(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Toy()
    worker = make_worker(corpus, monkeypatch, model, **DSG, **CHAT)
    check.run(worker, 0)
    *found, last = rows(corpus)
    for row in found:
        assert (row["dsg_i"], row["dsg_s"], row["dsg_objects"], row["dsg_hallucinated"]) == (0.5, 0.5, 2, ["dog"])
        assert json.loads(row["dsg"])["objects"][1]["answers"] == ["no", "no"]
        assert (row["category"], row["category_source"]) == ("animals", "toy")
    assert {value for name, value in last.items() if name != "clip_id"} == {None}
    # The caption that three clips share: one list of questions, one choice of categories; then two stills of each clip.
    assert [len(ask.stills) for ask in model.asked].count(0) == 2
    assert [len(questions(ask)) for ask in model.asked if ask.stills] == [2, 2, 2, 1, 1, 1]
    assert all(ask.key.partition(":")[0] in {row["clip_id"] for row in found} for ask in model.asked)
    assert told(worker, "part")[0]["examined"] == 3
    assert {event["who"] for event in told(worker, "asked")} == {"toy"}
    assert model.closed == 2  # once for each name in the recipe


def test_what_was_answered_is_never_asked_again(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Toy()
    check.run(make_worker(corpus, monkeypatch, model, **DSG, **CHAT), 0)
    whole = rows(corpus)
    asked = len(model.asked)
    shutil.rmtree(corpus / "checks")
    check.run(make_worker(corpus, monkeypatch, model, **DSG, **CHAT), 0)
    assert len(model.asked) == asked
    assert rows(corpus) == whole


@pytest.mark.parametrize("budget", range(8))
def test_a_spent_budget_commits_nothing_and_loses_nothing(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    model = Toy(budget)
    with pytest.raises(BudgetError):
        check.run(make_worker(corpus, monkeypatch, model, **DSG, **CHAT), 0)
    assert not (corpus / "checks" / "new").exists()
    assert len(model.asked) == budget
    model.budget = None
    check.run(make_worker(corpus, monkeypatch, model, **DSG, **CHAT), 0)
    assert len(model.asked) == 8  # no more than an undisturbed run asks
    assert [row["dsg_i"] for row in rows(corpus)] == [0.5, 0.5, 0.5, None]


def test_what_went_wrong_is_told_once_with_its_part(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = make_worker(corpus, monkeypatch, Toy(categories='{"categories": ["pets"]}'), **CHAT)
    check.run(worker, 0)
    assert {row["category_source"] for row in rows(corpus)} == {"rules", None}
    texts = [event["text"] for event in told(worker, "note")]
    assert len(texts) == 2
    assert all(text.startswith("part-000000: categories: ") for text in texts)


# Agreement --------------------------------------------------------------------------------------------------------------


class Reader:
    """Texts as vectors: all point east."""

    fingerprint = "weights-1"

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.tile(np.float32([1, 0]), (len(texts), 1))


def with_vectors(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Corpus.open(corpus)
    clips = opened.read("captions", 0, "default")["clip_id"].to_pylist()
    measured = ("still_vectors", "openclip_consistency", "aesthetic_laion", "content_tags", "content_tag_scores")
    nothing = dict.fromkeys(measured)
    vectors = ([1.0, 0.0], [0.0, 1.0], None, [1.0, 0.0])
    made = [
        {"clip_id": clip, "embedding": vector, "embedding_model": "tiny", "embedding_stills": 1, **nothing}
        for clip, vector in zip(clips, vectors, strict=True)
    ]
    opened.write("embeddings", 0, made, "clip")
    monkeypatch.setattr(make, "make_embedder", lambda settings, threads=None: Reader())


def test_agreement_is_the_cosine_with_the_stored_vector(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_vectors(corpus, monkeypatch)
    check.run(make_worker(corpus, monkeypatch, openclip="weights-1"), 0)
    assert [row["agreement"] for row in rows(corpus)] == [1.0, 0.0, None, None]


def test_other_weights_than_those_of_the_vectors_give_no_agreement(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_vectors(corpus, monkeypatch)
    worker = make_worker(corpus, monkeypatch, openclip="weights-0")
    check.run(worker, 0)
    assert {row["agreement"] for row in rows(corpus)} == {None}
    assert [event["text"] for event in told(worker, "note")] == [
        "part-000000: no agreement was measured, for the weights are not those of the embeddings any more"
    ]


def test_agreement_that_is_turned_off_reads_no_vectors(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check.run(make_worker(corpus, monkeypatch, openclip="weights-1", agreement=False), 0)
    assert {row["agreement"] for row in rows(corpus)} == {None}


# In a run ---------------------------------------------------------------------------------------------------------------


def test_captions_of_describe_pass_the_rule_on_language(straight: Path) -> None:
    opened = Corpus.open(straight)
    described = [r for r in opened.read("captions", 0, "default").to_pylist() if r["captioner"] == "describe"]
    checked = {row["clip_id"]: row for row in opened.read("checks", 0, "default").to_pylist()}
    assert described
    assert {checked[row["clip_id"]]["caption_language"] for row in described} == {"en"}
    decisions = opened.read("decisions", 0, "default").to_pylist()
    assert not any("caption_language" in row["reasons"] for row in decisions)


def test_checks_that_nobody_asked_for_leave_the_default_rules_idle(corpus: Path, run: Any) -> None:
    """A rule of one's own is told of, for it has nothing to look at."""
    own = ("judge.mine=dsg_i > 0.5", "judge.mismatch=agreement < 0.1")
    _, counts = run(corpus, settings=own, stages=("check", "judge"), name="idle")
    assert {name for name, count in counts.unknown.items() if count == 4} == {"mine", "mismatch"}
    assert "hallucinated" not in counts.unknown
    decisions = Corpus.open(corpus).read("decisions", 0, "idle").to_pylist()
    assert not {"mine", "mismatch", "hallucinated"} & {name for row in decisions for name in row["reasons"]}


@pytest.mark.parametrize(
    ("dsg", "vectors", "idle"),
    [
        (False, False, {"hallucinated", "mismatch"}),
        (True, False, {"mismatch"}),
        (False, True, {"hallucinated"}),
        (True, True, set()),
        (None, False, {"caption_language", "hallucinated", "mismatch"}),
    ],
)
def test_which_default_rules_are_idle(dsg: bool | None, vectors: bool, idle: set[str]) -> None:
    settings = Check(dsg={"enabled": bool(dsg)}).model_dump(mode="json")
    inputs = {"embeddings": {"name": "clip", "fingerprint": "g"}} if vectors else {}
    checks = None if dsg is None else Variant("checks", "new", settings, inputs, "f", "new", {})
    assert idle_rules(CurateRecipe().judge.rules, checks) == idle


CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}


@pytest.mark.slow
def test_a_run_with_a_small_openclip_measures_what_open_clip_says(
    corpus: Path, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = CLIP(**json.loads(json.dumps(CONFIG))).eval()
    (tmp_path / "tiny.json").write_text(json.dumps(CONFIG))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "tiny.safetensors")
    section = {"backend": "openclip", "model": tmp_path / "tiny.json", "weights": tmp_path / "tiny.safetensors"}
    settings = (
        *(f"features.embeddings.{key}={value}" for key, value in (section | {"device": "cpu"}).items()),
        "features.text.enabled=false",
        "dedup.enabled=false",
    )
    run(corpus, settings=settings, stages=("features", "dedup", "select", "caption", "check"), name="clip")
    opened = Corpus.open(corpus)
    captions = opened.read("captions", 0, "clip").to_pylist()
    vectors = {row["clip_id"]: row["embedding"] for row in opened.read("embeddings", 0, "clip").to_pylist()}
    found = {row["clip_id"]: row["agreement"] for row in opened.read("checks", 0, "clip").to_pylist()}
    assert captions
    for row in captions:
        with torch.no_grad():
            said = model.encode_text(open_clip.get_tokenizer("ViT-B-32")([row["caption"]]), normalize=True)[0].numpy()
        assert found[row["clip_id"]] == pytest.approx(float(said @ np.asarray(vectors[row["clip_id"]])), abs=2e-5)
