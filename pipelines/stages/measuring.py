"""What every dear measurement shares: which clips it looks at, and what other names have measured already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from curation import joined, variants
from curation.corpus import Corpus
from curation.rules import apply_rules
from curation.variants import Variant
from pipelines.context import Worker
from pipelines.stages.choose import rules_of

_CHOICE = frozenset({"rules", "score_all"})
"""Settings that decide which clips are looked at, not what is seen."""


def clips_to_measure(worker: Worker, part: int, table: str) -> tuple[list[dict[str, Any]], int]:
    """The clips of a part that the variant's rules leave, as wide rows of what the scan knows; and how many clips there are in all."""
    wide = joined.read_scanned(worker.corpus, part)
    dropped = apply_rules(wide, rules_of(worker.variant(table))).dropped
    return [clip for clip, out in zip(wide.to_pylist(), dropped, strict=True) if not out], wide.num_rows


def measured_before(
    corpus: Corpus, variant: Variant, part: int, usable: Callable[[dict[str, Any]], bool]
) -> dict[str, dict[str, Any]]:
    """Clip → its row in another variant of the same table that was measured in the same way, where it is usable."""
    rows: dict[str, dict[str, Any]] = {}
    wanted = _measure(variant)
    for name in corpus.variants(variant.table):
        other = variants.load(corpus, variant.table, name)
        if other is None or other.folder == variant.folder or _measure(other) != wanted:
            continue
        if variants.is_current(other) and corpus.store.exists(corpus.path(variant.table, part, other.folder)):
            found = corpus.read(variant.table, part, other.folder).to_pylist()
            rows.update((row["clip_id"], row) for row in found if usable(row))
    return rows


def _measure(variant: Variant) -> tuple[dict[str, Any], dict[str, str]]:
    """What a row depends on beside its clip: how it was measured, and with which models."""
    settings = {k: v for k, v in variants.essential(variant.table, variant.settings).items() if k not in _CHOICE}
    return settings, {k: v["fingerprint"] for k, v in variant.inputs.items()}
