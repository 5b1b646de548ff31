"""Before a run: which variants it writes and which it reads, under which names, and whether they fit together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

from curation import variants
from curation.corpus import MEASURED_TABLES, VARIANT_TABLES, Corpus
from curation.variants import Variant
from pipelines import scan_child
from pipelines.chain import PART_STAGES, SCAN, Stage
from pipelines.variant_settings import TURN_OFF, enabled, models_of, reads, settings_of
from schemas.errors import UsageError, VariantError
from schemas.recipe import CurateRecipe


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what to make."""

    executor: str = "ray"
    jobs: int = 1
    ray_address: str | None = None
    name: str = "default"
    use: dict[str, str] = field(default_factory=dict)
    """Table → variant to read, where it is not the one this run writes."""
    replace: bool = False


def part_stages(recipe: CurateRecipe, wanted: Sequence[str]) -> list[Stage]:
    """The stages of a part that these commands run, in order. What is turned off is no stage."""
    return [s for s in PART_STAGES if s.command in wanted and (s is SCAN or enabled(recipe, s.table))]


def check_settings(recipe: CurateRecipe, wanted: Sequence[str]) -> None:
    """Find what is wrong with the settings and models of these commands, before there is a corpus. Weights with a tag are fetched.

    Raises:
        RecipeError: a prompt, a plug-in or a chat model's setting is missing, or they do not fit together.
        UsageError: weights or a library are missing.
    """
    if SCAN.command in wanted:
        scan_child.check(recipe.scan)
    for table in (*VARIANT_TABLES, "shards"):
        if variants.COMMAND[table] in wanted and enabled(recipe, table):
            settings_of(recipe, table)
            models_of(recipe, table)


def prepare_variants(
    corpus: Corpus, recipe: CurateRecipe, wanted: Sequence[str], options: Options, *, dry: bool = False
) -> dict[str, Variant]:
    """Find or begin the variants that a run writes, and find those that it only reads.

    What would come out the same under this name as it already is under another is not made again: the run goes on with that one.

    Raises:
        VariantError: a variant of that name was made with other settings, or a needed one is missing.
        UsageError: two inputs do not belong together, or a model is not there.
    """
    made: dict[str, Variant] = {}
    scan = {"corpus": {"name": "scan", "fingerprint": corpus.facts["fingerprint"]}}
    for table in (*VARIANT_TABLES, "shards"):
        if variants.COMMAND[table] not in wanted or not enabled(recipe, table):
            continue
        for other in reads(recipe, table):
            if other not in made:
                made[other] = _needed(corpus, recipe, other, options)
        settings = settings_of(recipe, table)
        inputs = {other: made[other].as_input() for other in reads(recipe, table)} or scan
        if table in MEASURED_TABLES:
            inputs = {**scan, **inputs}
        inputs = {**inputs, **models_of(recipe, table)}
        alone = set(wanted) == {variants.COMMAND[table]}  # who asks for this stage by name wants it under the name
        made[table] = (
            (None if alone else _equal(corpus, table, options.name, settings, inputs))
            or _chosen_with(corpus, table, options.name, settings, inputs)
            or variants.prepare(corpus, table, options.name, settings, inputs, replace=options.replace, dry=dry)
        )
        for made_from, other, command in _PAIRS.get(table, ()):
            if made_from in made and other in made[made_from].inputs:
                _check_same(made, made_from, other, command)
    if "selections" in made:
        # The same measurements for `judge` as for `select`.
        for table, given in made["selections"].inputs.items():
            if table in MEASURED_TABLES and table not in made:
                made[table] = variants.need(corpus, table, given["name"])
            if table in MEASURED_TABLES:
                _check_same(made, "selections", table, "select")
    return made


_PAIRS = {
    "decisions": (("captions", "selections", "caption"), ("checks", "captions", "check")),
    "shards": (("decisions", "captions", "judge"),),
}
"""Table → (made from, table, command): inputs of it of which one was made from the other, and what makes them fit."""


def _equal(corpus: Corpus, table: str, name: str, settings: dict, inputs: dict) -> Variant | None:
    """A variant of another name with the very same rows, where this name has none: measurements and selections only.

    Captions and what follows are what a name is mostly given for, and are always written under it.
    """
    if table not in (*MEASURED_TABLES, "selections") or variants.load(corpus, table, name) is not None:
        return None
    wanted = variants.identity(table, settings, inputs)
    for other in sorted(corpus.variants(table), key=lambda n: (n != "default", n)):
        found = variants.load(corpus, table, other)
        if found is not None and found.fingerprint == wanted:
            return dataclasses.replace(found, settings=settings)  # where models lie, and limits, are this run's
    return None


def _chosen_with(corpus: Corpus, table: str, name: str, settings: dict, inputs: dict) -> Variant | None:
    """The duplicates that a selection of this name was made with, where it has none of its own.

    `stiv select --name NEW` with other rules reads what another name has; to go on with `stiv curate --name NEW` must not ask for a
    search of its own, which would differ by those rules alone.
    """
    if table != "duplicates" or variants.load(corpus, table, name) is not None:
        return None
    selections = variants.load(corpus, "selections", name)
    given = selections.inputs.get(table) if selections is not None else None
    other = variants.load(corpus, table, given["name"]) if given is not None else None
    if other is None or not variants.is_current(other):
        return None

    def but_rules(values: dict) -> dict:
        return {k: v for k, v in values.items() if k != "rules"}

    same_inputs = {k: v["fingerprint"] for k, v in other.inputs.items()} == {
        k: v["fingerprint"] for k, v in inputs.items()
    }
    return other if same_inputs and but_rules(other.settings) == but_rules(settings) else None


def _needed(corpus: Corpus, recipe: CurateRecipe, table: str, options: Options) -> Variant:
    """The variant to read: the one that was asked for, else that of the same name, else `default`."""
    name = options.use.get(table) or (options.name if variants.load(corpus, table, options.name) else "default")
    try:
        found = variants.need(corpus, table, name)
        own = recipe.features.embeddings.model_dump(mode="json") if table == "embeddings" else {}
        moved = {k: own[k] for k in variants.LIMITS.get(table, ()) if k in own}
        return dataclasses.replace(found, settings={**found.settings, **moved})
    except VariantError as error:
        if table not in TURN_OFF:
            raise
        fix = f"{error.fix.removesuffix('.')}; or leave it out with --set {TURN_OFF[table]}."
        raise VariantError(error.message, fix=fix) from None


def _check_same(made: dict[str, Variant], made_from: str, table: str, command: str) -> None:
    """Two inputs of a stage must belong together: one was made from the other as it is now."""
    source = made[made_from].inputs[table]
    if source["fingerprint"] != made[table].fingerprint:
        raise UsageError(
            f"The {made_from} `{made[made_from].name}` were made from the {table} `{source['name']}` of another time "
            f"or name, not from `{made[table].name}` as it is now.",
            fix=f"Run `stiv {command}{variants.name_flag(made[made_from].name)}` first (with --replace, or a new --name), or name matching ones with --use.",
        )
