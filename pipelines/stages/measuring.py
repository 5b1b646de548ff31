"""What every dear measurement shares: which clips it looks at, what other names have measured already, and work in children."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any

from curation import joined, variants
from curation.corpus import Corpus, part_name
from curation.rules import apply_rules
from curation.variants import Variant
from pipelines.children import DEATHS
from pipelines.context import Worker
from pipelines.stages.choose import rules_of
from pipelines.stages.still_reading import Found, Look

Row = dict[str, Any]

_CHOICE = frozenset({"rules", "score_all"})
"""Settings that decide which clips are looked at, not what is seen."""


@dataclass(frozen=True)
class Remake:
    """How a row follows from one that another variant measured in part in the same way."""

    apart: frozenset[str]
    """Settings and inputs in which that one may differ."""
    row: Callable[[Row], Row]


def measure_part(
    worker: Worker,
    part: int,
    stage: str,
    table: str,
    usable: Callable[[Row], bool],
    look: Callable[[list[Row]], Iterable[Row]],
    remake: Remake | None = None,
) -> None:
    """Measure the clips of one part and commit them; does nothing when it is committed already.

    Args:
        usable: whether a row that another variant measured in the same way may be taken over.
        look: measures clips, given as wide rows; a row of ``table`` for each, in any order.
        remake: for clips of which another variant knows what is dear to measure.
    """
    corpus, variant = worker.corpus, worker.variant(table)
    if corpus.store.exists(corpus.path(table, part, variant.folder)):
        return
    clips, total = clips_to_measure(worker, part, table)
    rows = measured_before(corpus, variant, part, usable)
    if remake is not None:
        near = measured_before(corpus, variant, part, usable, remake.apart)
        ids = {clip["clip_id"] for clip in clips}
        rows |= {clip_id: remake.row(near[clip_id]) for clip_id in near.keys() & ids - rows.keys()}
    wanted = [clip for clip in clips if clip["clip_id"] not in rows]
    if wanted:
        rows.update((row["clip_id"], row) for row in look(wanted))
    corpus.write(table, part, [rows[clip["clip_id"]] for clip in clips], variant.folder)
    counts = {"clips": len(clips), "reused": len(clips) - len(wanted), "skipped": total - len(clips)}
    worker.emit({"kind": "part", "stage": stage, "part": part, **counts})


def report(worker: Worker, part: int, feature: str, found: Found) -> None:
    """Tell of clips that were measured."""
    event = {"kind": "feature", "feature": feature, "part": part, "clips": len(found.rows), "stills": found.stills}
    worker.emit({**event, "cpu_s": found.cpu_s})


def in_children(
    worker: Worker,
    part: int,
    looks: Sequence[Look],
    batch: int,
    function: Callable[..., Found],
    arguments: Sequence[Any],
    *,
    feature: str,
    doing: str,
    nothing: Callable[[Look], Row],
    still_limit_s: float,
) -> Iterator[Row]:
    """Rows of clips, measured in children, some clips at a time. A clip over which a child dies or hangs twice costs that clip alone.

    Args:
        function: what a child does: corpus, stills tar, clips and ``arguments`` → what was found.
        doing: what is done with a clip, in words, for the note.
        nothing: the row of a clip that could not be measured.
        still_limit_s: a child may take so long for a still.
    """
    tar = worker.corpus.path("stills", part)
    failed: list[Look] = []

    def start(clips: tuple[Look, ...], alone: bool) -> Any:
        limit_s = still_limit_s * (1 + sum(len(clip.stills) for clip in clips))
        return worker.children.submit(function, worker.context.uri, tar, clips, *arguments, limit_s=limit_s)

    def rows(found: Found) -> list[Row]:
        report(worker, part, feature, found)
        return found.rows

    batches = [tuple(looks[i : i + batch]) for i in range(0, len(looks), batch)]
    for clips, future in worker.children.settle(batches, start, hopeless=lambda clips: True):
        try:
            yield from rows(future.result())
        except (FutureTimeout, *DEATHS):
            failed += clips
    # Mostly one clip is to blame: each goes once more, by itself, so that the others keep what was measured.
    for (clip,), future in worker.children.settle((), start, suspects=[(clip,) for clip in failed]):
        try:
            yield from rows(future.result())
        except (FutureTimeout, *DEATHS):
            # Not worth the run: this clip says that nothing was looked at.
            text = f"{part_name(part)}: {doing} clip {clip.clip_id} failed: the process died or hung, twice"
            worker.emit({"kind": "note", "text": text})
            yield nothing(clip)


def clips_to_measure(worker: Worker, part: int, table: str) -> tuple[list[dict[str, Any]], int]:
    """The clips of a part that the variant's rules leave, as wide rows of what the scan knows; and how many clips there are in all."""
    wide = joined.read_scanned(worker.corpus, part)
    dropped = apply_rules(wide, rules_of(worker.variant(table))).dropped
    return [clip for clip, out in zip(wide.to_pylist(), dropped, strict=True) if not out], wide.num_rows


def measured_before(
    corpus: Corpus, variant: Variant, part: int, usable: Callable[[Row], bool], apart: frozenset[str] = frozenset()
) -> dict[str, Row]:
    """Clip → its row in another variant of the same table that was measured in the same way, where it is usable.

    Args:
        apart: settings and inputs that may differ.
    """
    rows: dict[str, Row] = {}
    wanted = _measure(variant, apart)
    for name in corpus.variants(variant.table):
        other = variants.load(corpus, variant.table, name)
        if other is None or other.folder == variant.folder or _measure(other, apart) != wanted:
            continue
        if variants.is_current(other) and corpus.store.exists(corpus.path(variant.table, part, other.folder)):
            found = corpus.read(variant.table, part, other.folder).to_pylist()
            rows.update((row["clip_id"], row) for row in found if usable(row))
    return rows


def _measure(variant: Variant, apart: frozenset[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What a row depends on beside its clip: how it was measured, and with which models."""
    left_out = _CHOICE | apart
    settings = {k: v for k, v in variants.essential(variant.table, variant.settings).items() if k not in left_out}
    return settings, {k: v["fingerprint"] for k, v in variant.inputs.items() if k not in left_out}
