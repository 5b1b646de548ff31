"""Stage `check`: what is found out about the captions of a part, for the rules of `judge`.

Language and categories by keywords need no model. With OpenCLIP's vectors a caption is compared with its clip; chat models say whether
what it names is to be seen (DSG-Video), and may choose the categories. As in `caption` all clips are under way at once, and what was
answered is never asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from curation import joined
from curation.captioning.agreement import agreements
from curation.captioning.categories import ChatCategories, categories_by_rules, category_columns
from curation.captioning.contract import ClipFacts
from curation.captioning.dsg import NOTHING, Dsg
from curation.captioning.language import detect_language
from curation.corpus import part_name
from pipelines.context import Worker
from pipelines.stages.caption import facts_of
from pipelines.stages.chats import Asking, all_of

NAME = "check"

BATCH = 32
"""Clips that are asked about together. Those of one source stand beside each other, so that a caption they share is asked about once."""

Rows = list[dict[str, Any]]


def run(worker: Worker, part: int) -> None:
    """Check the captions of one part; does nothing when it is committed already.

    Raises:
        Unanswered: a chat model failed for a reason that may pass; nothing is committed.
    """
    corpus, variant = worker.corpus, worker.variant("checks")
    if corpus.store.exists(corpus.path("checks", part, variant.folder)):
        return
    columns = ["clip_id", "caption"]
    captioned = corpus.read("captions", part, worker.variant("captions").folder, columns).to_pylist()
    # Before the dear questions: what can fail at once should.
    rows = [{**_by_rules(row), **NOTHING} for row in captioned]
    for row, agreement in zip(rows, _agreements(worker, part, captioned), strict=True):
        row["agreement"] = agreement
    if variant.settings["dsg"]["enabled"] or variant.settings["categories"]["backend"] == "chat":
        asking = Asking(worker, part, "checks")
        for row, said in zip(rows, asyncio.run(_ask(worker, part, captioned, asking)), strict=True):
            row.update(said)
        asking.settle()
    corpus.write("checks", part, rows, variant.folder)
    examined = sum(row["dsg"] is not None for row in rows)
    worker.emit({"kind": "part", "stage": NAME, "part": part, "clips": len(rows), "examined": examined})


def _by_rules(row: dict[str, Any]) -> dict[str, Any]:
    caption = row["caption"]
    language, score = detect_language(caption)
    found = categories_by_rules(caption, language, score) if caption else None
    return {
        "clip_id": row["clip_id"],
        "caption_language": language,
        "caption_language_score": score,
        **category_columns(found, "rules"),
    }


def _agreements(worker: Worker, part: int, captioned: Rows) -> list[float | None]:
    """Cosine of picture and text, by the model that made the vectors; None for all where none did that reads texts."""
    nothing: list[float | None] = [None] * len(captioned)
    variant = worker.variant("checks")
    if not variant.settings["agreement"] or "embeddings" not in variant.inputs:
        return nothing
    vectors = worker.variant("embeddings")
    if vectors.settings["backend"] != "openclip" or not any(row["caption"] for row in captioned):
        return nothing
    from models.vision.make import make_embedder

    embedder = make_embedder(vectors.settings, worker.context.jobs)
    if embedder.fingerprint != vectors.inputs["model"]["fingerprint"]:
        text = f"{part_name(part)}: no agreement was measured, for the weights are not those of the embeddings any more"
        worker.emit({"kind": "note", "text": text})
        return nothing
    table = worker.corpus.read("embeddings", part, vectors.folder, ["clip_id", "embedding"])
    of_clip = dict(zip(table["clip_id"].to_pylist(), table["embedding"].to_pylist(), strict=True))
    return agreements([r["caption"] for r in captioned], [of_clip.get(r["clip_id"]) for r in captioned], embedder.texts)


async def _ask(worker: Worker, part: int, captioned: Rows, asking: Asking) -> Rows:
    """What chat models say of each caption: the columns of DSG, of the categories, or of both."""
    settings = worker.variant("checks").settings
    askers: list[_Examine | _Categorise] = []
    if settings["dsg"]["enabled"]:
        askers.append(_Examine(asking, settings["dsg"], _facts(worker, part, captioned)))
    if settings["categories"]["backend"] == "chat":
        askers.append(_Categorise(asking, settings["categories"]))

    places = [(start, asker) for start in range(0, len(captioned), BATCH) for asker in askers]
    questions = (asker.ask(captioned[start : start + BATCH]) for start, asker in places)
    try:
        # An error waits for the others: what is on its way is paid for, and its answer must be kept.
        done = await asyncio.gather(*questions, return_exceptions=True)
    finally:
        await asking.close()
        for text in (text for asker in askers for text in asker.warnings):
            worker.emit({"kind": "note", "text": f"{part_name(part)}: {text}"})
    rows: Rows = [{} for _ in captioned]
    for (start, _), result in zip(places, all_of(done), strict=True):
        for i, columns in enumerate(result, start):
            rows[i].update(columns)
    return rows


class _Examine:
    """DSG-Video of rows of `captions`."""

    def __init__(self, asking: Asking, settings: dict[str, Any], facts: dict[str, ClipFacts]) -> None:
        models = asking.model(settings["language"]), asking.model(settings["vision"])
        self._dsg = Dsg(*models, settings["questions_prompt"], settings["answers_prompt"], settings["stills"])
        self._facts = facts

    @property
    def warnings(self) -> Sequence[str]:
        return self._dsg.warnings

    async def ask(self, rows: Rows) -> Rows:
        return await self._dsg.examine([self._facts[row["clip_id"]] for row in rows], [row["caption"] for row in rows])


class _Categorise:
    """Categories of rows of `captions`."""

    def __init__(self, asking: Asking, settings: dict[str, Any]) -> None:
        self._categories = ChatCategories(asking.model(settings["language"]), settings["prompt"])

    @property
    def warnings(self) -> Sequence[str]:
        return self._categories.warnings

    async def ask(self, rows: Rows) -> Rows:
        return await self._categories.categorise([row["clip_id"] for row in rows], [row["caption"] for row in rows])


def _facts(worker: Worker, part: int, captioned: Rows) -> dict[str, ClipFacts]:
    wanted = {row["clip_id"] for row in captioned}
    scanned = joined.read_scanned(worker.corpus, part).to_pylist()
    found = facts_of(worker.corpus, part, [row for row in scanned if row["clip_id"] in wanted])
    return {clip.clip_id: clip for clip in found}
