"""The rules that decided, as they stand in the variants looked at, and the outcome of a clip as SQL over `clips_all`."""

from __future__ import annotations

from dataclasses import dataclass

from curation import variants
from curation.corpus import Corpus
from curation.percentiles import find_percentiles, resolve_percentiles
from curation.rules import columns_used, literal_thresholds
from curation.views import Chosen
from pipelines.stages.choose import percentile_values
from pipelines.variant_settings import idle_rules
from schemas.recipe import Rule

DECIDED_BY = {"select": "selections", "judge": "decisions"}
"""Stage with rules → the table whose variant holds them."""

OUTCOME = "CASE WHEN kept THEN 'kept' WHEN kept IS NOT NULL OR NOT selection_selected THEN 'dropped' ELSE 'open' END"
"""SQL: `kept`, `dropped` or `open` (not decided yet). The decision is the last word; before it, only the selection can drop."""

REASON = "CASE WHEN kept IS NULL THEN selection_reason ELSE reason END"
"""SQL: the first rule that drops the clip, or NULL."""

REASONS = "CASE WHEN kept IS NULL THEN selection_reasons ELSE reasons END"
"""SQL: all rules that drop it, in order, or NULL."""


@dataclass(frozen=True)
class RuleInForce:
    """One rule as a variant applied it."""

    stage: str
    """`select` or `judge`."""
    name: str
    drop: str
    """As written in the recipe."""
    sql: str
    """The same with percentiles as numbers; one that was not worked out yet is NULL."""
    percentiles: dict[str, float | None]
    """`percentile(column, q)` → the number that it stands for."""
    columns: tuple[str, ...]
    """Columns of `clips_all` that it looks at, in lower case."""
    thresholds: tuple[tuple[str, str, float], ...]
    """Its comparisons of one column with one number: (column in lower case, operator, number)."""
    idle: bool = False
    """A default rule over checks that were not asked for: that it is NULL says nothing."""


def rules_in_force(corpus: Corpus, chosen: Chosen) -> list[RuleInForce]:
    """The rules of the chosen selection, then those of the chosen decisions, in the order in which they ran."""
    found: list[RuleInForce] = []
    checked = chosen["checks"]
    checks = variants.need(corpus, "checks", checked) if checked is not None else None
    for stage, table in DECIDED_BY.items():
        name = chosen[table]
        if name is None:
            continue
        variant = variants.need(corpus, table, name)
        known = percentile_values(variant)
        rules = [Rule.model_validate(data) for data in variant.settings["rules"]]
        idle = idle_rules(rules, checks) if stage == "judge" else ()
        for rule in rules:
            where = f"rule `{rule.name}`"
            numbers = {w: known.get(w) for w in find_percentiles(rule.drop, where=where)}
            sql = resolve_percentiles(rule.drop, numbers, where=where)
            found.append(
                RuleInForce(
                    stage,
                    rule.name,
                    rule.drop,
                    sql,
                    {f"percentile({column}, {q:g})": value for (column, q), value in numbers.items()},
                    tuple(sorted(c.lower() for c in columns_used(sql, where=where))),
                    tuple((c.lower(), op, number) for c, op, number in literal_thresholds(sql, where=where)),
                    rule.name in idle,
                )
            )
    return found
