"""Stage `features`: what is measured from stills after the scan, dearer than the scan's signals. So far: text.

By default it looks only at clips that the cheap rules leave: those of `select` whose columns are all known after the scan. The other
clips get no row, and their columns are NULL. What another variant measured in the same way is taken over, never measured again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from pebble import ProcessFuture

from curation import joined, variants
from curation.corpus import Corpus, part_name
from curation.rules import apply_rules
from curation.variants import Variant
from models.text_detector import detector
from pipelines.children import DEATHS
from pipelines.context import Worker
from pipelines.stages.choose import needs_features, rules_of
from pipelines.stages.text_area import Found, Look, look, text_row, to_look
from schemas.recipe import CurateRecipe, Rule

NAME = "features"

BATCH = 8
"""Clips that a child looks at in one task: some seconds of work."""

STILL_LIMIT_S = 60.0
"""A child may take so long for a still, loading the network included."""


def text_settings(recipe: CurateRecipe) -> dict[str, Any]:
    """The settings of a variant of `text`: those of the search, and the rules that decide which clips are looked at."""
    section = recipe.features.text.model_dump(mode="json", exclude={"enabled"})
    rules = [] if recipe.features.text.score_all else cheap_rules(recipe.select.rules)
    return {**section, "rules": [rule.model_dump(mode="json") for rule in rules]}


def text_section(settings: dict[str, Any]) -> dict[str, Any]:
    """The recipe's section `features.text` from the settings of a variant."""
    return {"enabled": True, **{key: value for key, value in settings.items() if key != "rules"}}


def text_model() -> dict[str, str]:
    """The network, as an input of a variant.

    Raises:
        UsageError: it is not installed.
    """
    return {"name": detector.NAME, "fingerprint": detector.fingerprint()}


def cheap_rules(rules: Iterable[Rule]) -> list[Rule]:
    """The rules whose columns are all known after the scan."""
    return [rule for rule in rules if not needs_features(rule)]


def run(worker: Worker, part: int) -> None:
    """Look for text in the clips of one part; does nothing when it is committed already."""
    corpus, variant = worker.corpus, worker.variant("text")
    if corpus.store.exists(corpus.path("text", part, variant.folder)):
        return
    wide = joined.read_scanned(corpus, part)
    dropped = apply_rules(wide, rules_of(variant)).dropped
    clips = [clip for clip, out in zip(wide.to_pylist(), dropped, strict=True) if not out]
    rows = _measured_before(corpus, variant, part)
    wanted = [clip for clip in clips if clip["clip_id"] not in rows]
    for row in _look_at(worker, part, wanted):
        rows[row["clip_id"]] = row
    corpus.write("text", part, [rows[clip["clip_id"]] for clip in clips], variant.folder)
    worker.emit(
        {
            "kind": "part",
            "stage": NAME,
            "part": part,
            "clips": len(clips),
            "reused": len(clips) - len(wanted),
            "skipped": wide.num_rows - len(clips),
        }
    )


def _look_at(worker: Worker, part: int, clips: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    settings = worker.variant("text").settings
    tar = worker.corpus.path("stills", part)
    looks = [to_look(clip, settings["stills"]) for clip in clips]
    failed: list[Look] = []
    batches = [tuple(looks[start : start + BATCH]) for start in range(0, len(looks), BATCH)]

    def start(batch: tuple[Look, ...], alone: bool) -> ProcessFuture:
        limit_s = STILL_LIMIT_S * (1 + sum(len(clip.stills) for clip in batch))
        arguments = (worker.context.uri, tar, batch, settings["long_side"], settings["min_score"])
        return worker.children.submit(look, *arguments, limit_s=limit_s)

    def rows(found: Found, clips: int) -> list[dict[str, Any]]:
        event = {"kind": "feature", "feature": "text", "part": part, "clips": clips, "stills": found.stills}
        worker.emit({**event, "cpu_s": found.cpu_s})
        return found.rows

    for batch, future in worker.children.settle(batches, start, hopeless=lambda batch: True):
        try:
            yield from rows(future.result(), len(batch))
        except (FutureTimeout, *DEATHS):
            failed += batch
    # Mostly one clip is to blame: each goes once more, by itself, so that the others keep their text.
    for (clip,), future in worker.children.settle((), start, suspects=[(clip,) for clip in failed]):
        try:
            yield from rows(future.result(), 1)
        except (FutureTimeout, *DEATHS):
            # Not worth the run: this clip says that nothing was looked at.
            text = f"{part_name(part)}: looking for text in clip {clip.clip_id} failed: the process died or hung, twice"
            worker.emit({"kind": "note", "text": text})
            yield text_row(clip.clip_id, [])


def _measured_before(corpus: Corpus, variant: Variant, part: int) -> dict[str, dict[str, Any]]:
    """Clip → its row in another variant of this corpus that was measured in the same way."""
    rows: dict[str, dict[str, Any]] = {}
    wanted = measure(variant.settings, variant.inputs)
    for name in corpus.variants("text"):
        other = variants.load(corpus, "text", name)
        if other is None or other.folder == variant.folder or measure(other.settings, other.inputs) != wanted:
            continue
        if variants.is_current(other) and corpus.store.exists(corpus.path("text", part, other.folder)):
            found = corpus.read("text", part, other.folder).to_pylist()
            rows.update((row["clip_id"], row) for row in found if row["text_stills"])
    return rows


def measure(settings: dict[str, Any], inputs: dict[str, dict[str, str]]) -> tuple[dict[str, Any], str]:
    """What a row of `text` depends on beside its clip: how it was searched, and by which network."""
    return {k: v for k, v in settings.items() if k not in ("rules", "score_all")}, inputs["model"]["fingerprint"]
