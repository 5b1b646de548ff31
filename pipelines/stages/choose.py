"""Stages `select` and `judge`: ordered, named rules over the joined columns of a part."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from curation import joined
from curation.corpus import MEASURED_TABLES
from curation.percentiles import Wanted, find_percentiles, resolve_percentiles
from curation.rules import Verdicts, apply_rules
from curation.variants import Variant
from pipelines.context import Worker
from pipelines.variant_settings import idle_rules, needs_features
from schemas.recipe import Rule


def rules_of(variant: Variant) -> list[Rule]:
    """A variant's rules with percentiles replaced by the numbers that were worked out for it."""
    values = percentile_values(variant)
    rules = [Rule.model_validate(r) for r in variant.settings["rules"]]
    return [Rule(name=r.name, drop=resolve_percentiles(r.drop, values, where=f"rule `{r.name}`")) for r in rules]


def percentiles_of(rules: Sequence[Rule]) -> list[Wanted]:
    """The percentiles that rules ask for, each once."""
    found: dict[Wanted, None] = {}
    for rule in rules:
        found.update(dict.fromkeys(find_percentiles(rule.drop, where=f"rule `{rule.name}`")))
    return list(found)


def percentile_values(variant: Variant) -> dict[Wanted, float | None]:
    """(column, q) → number, as kept in ``variant.json`` under ``column@q``."""
    kept = variant.resolved.get("percentiles", {})
    return {(key.rpartition("@")[0], float(key.rpartition("@")[2])): value for key, value in kept.items()}


def percentile_key(wanted: Wanted) -> str:
    return f"{wanted[0]}@{wanted[1]!r}"


def measured(worker: Worker, part: int) -> pa.Table:
    """The clips of a part with all that is measured of them, features from the variants in use."""
    variants = worker.context.variants
    folders = {table: variants[table].folder for table in MEASURED_TABLES if table in variants}
    return joined.read_measured(worker.corpus, part, folders)


def run_select(worker: Worker, part: int) -> None:
    """Decide, before captions, which clips of a part are out already."""
    corpus, variant = worker.corpus, worker.variant("selections")
    if corpus.store.exists(corpus.path("selections", part, variant.folder)):
        return
    wide, rules = measured(worker, part), rules_of(variant)
    verdicts = apply_rules(wide, rules)
    rows = [
        {"clip_id": clip, "selected": not dropped, "reason": first, "reasons": reasons}
        for clip, dropped, first, reasons in _rows(wide, verdicts)
    ]
    corpus.write("selections", part, rows, variant.folder)
    unknown = _unknown(wide, rules, verdicts)
    _tell(worker, "select", part, unknown, len(rows), len(rows) - sum(verdicts.dropped))


def run_judge(worker: Worker, part: int) -> None:
    """Give every clip of a part its final word: the selection's reasons, then those of the caption rules."""
    corpus, variant = worker.corpus, worker.variant("decisions")
    if corpus.store.exists(corpus.path("decisions", part, variant.folder)):
        return
    selections = corpus.read("selections", part, worker.variant("selections").folder).to_pylist()
    captions = corpus.read("captions", part, worker.variant("captions").folder)
    wide = joined.add_captions(measured(worker, part), captions)
    checks = worker.context.variants.get("checks")
    wide = joined.add_checks(wide, None if checks is None else corpus.read("checks", part, checks.folder))
    rules = rules_of(variant)
    verdicts = apply_rules(wide, rules)
    judged = {clip: (first, reasons) for clip, _, first, reasons in _rows(wide, verdicts)}
    rows = []
    for row in selections:
        first, reasons = judged.get(row["clip_id"], (None, []))
        both = [*row["reasons"], *reasons]
        rows.append({"clip_id": row["clip_id"], "kept": not both, "reason": row["reason"] or first, "reasons": both})
    corpus.write("decisions", part, rows, variant.folder)
    idle = idle_rules(rules, checks)
    unknown = {name: count for name, count in verdicts.unknown.items() if name not in idle}
    _tell(worker, "judge", part, unknown, len(rows), sum(bool(r["kept"]) for r in rows))


def _rows(wide: pa.Table, verdicts: Verdicts) -> list[tuple[str, bool, str | None, list[str]]]:
    return list(zip(wide.column("clip_id").to_pylist(), verdicts.dropped, verdicts.first, verdicts.all, strict=True))


def _unknown(wide: pa.Table, rules: Sequence[Rule], verdicts: Verdicts) -> dict[str, int]:
    """Rule → clips for which it came out NULL. Rules over features count only clips that the cheap rules leave: others were not looked at."""
    cheap = {rule.name for rule in rules if not needs_features(rule)}
    if len(cheap) == len(rules):
        return verdicts.unknown
    left = pa.array([not cheap.intersection(reasons) for reasons in verdicts.all], pa.bool_())
    dear = apply_rules(wide.filter(left), [rule for rule in rules if rule.name not in cheap])
    return {**verdicts.unknown, **dear.unknown}


def _tell(worker: Worker, stage: str, part: int, unknown: dict[str, int], clips: int, kept: int) -> None:
    unknown = {name: count for name, count in unknown.items() if count}
    worker.emit({"kind": "part", "stage": stage, "part": part, "clips": clips, "kept": kept, "unknown": unknown})
