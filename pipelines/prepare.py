"""Before a run: which variants it writes and which it reads, under which names, and whether they fit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from curation import variants
from curation.corpus import FEATURE_TABLES, VARIANT_TABLES, Corpus
from curation.variants import Variant
from pipelines.chain import FEATURES, PART_STAGES, Stage
from pipelines.stages import features
from pipelines.stages.choose import needs_features
from schemas.errors import UsageError, VariantError
from schemas.recipe import CurateRecipe

SECTION = {"selections": "select", "captions": "captions", "decisions": "judge", "shards": "export"}
"""Table → section of the recipe that makes it. Features have a section for each kind."""

TABLE_OF = {command: table for table, command in variants.COMMAND.items()}

_WITHOUT = "; or leave text out with --set features.text.enabled=false"


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
    """The wanted stages of a part, in order. Features that are off are no stage."""
    return [s for s in PART_STAGES if s.name in wanted and (s is not FEATURES or recipe.features.text.enabled)]


def reads(recipe: CurateRecipe, table: str) -> tuple[str, ...]:
    """Tables whose variants a table is made from."""
    return {
        "selections": ("text",) if recipe.features.text.enabled else (),
        "captions": ("selections",),
        "decisions": ("selections", "captions"),
        "shards": ("decisions", "captions"),
    }.get(table, ())


def stored_recipe(corpus: Corpus, name: str) -> dict[str, Any]:
    """The settings under which a corpus and its variants of this name were made, as a recipe; what was not made is left out."""
    base: dict[str, Any] = corpus.recipe.model_dump(mode="json", include={"plan", "scan"})
    for table, section in SECTION.items():
        found = variants.load(corpus, table, name)
        if found is not None:
            base[section] = found.settings
    selections = variants.load(corpus, "selections", name)
    given = selections.inputs.get("text") if selections is not None else None
    text = variants.load(corpus, "text", name) or (variants.load(corpus, "text", given["name"]) if given else None)
    if text is not None:
        base["features"] = {"text": features.text_section(text.settings)}
        if selections is None and text.settings["rules"]:
            # The clips were chosen by these rules; the dear ones are not known yet.
            dear = [r.model_dump(mode="json") for r in CurateRecipe().select.rules if needs_features(r)]
            base["select"] = {"rules": [*text.settings["rules"], *dear]}
    elif selections is not None:
        base["features"] = {"text": {"enabled": False}}
    return base


def prepare_variants(
    corpus: Corpus, recipe: CurateRecipe, wanted: Sequence[str], options: Options, *, dry: bool = False
) -> dict[str, Variant]:
    """Find or begin the variants that a run writes, and find those that it only reads.

    Raises:
        VariantError: a variant of that name was made with other settings, or a needed one is missing.
        UsageError: two inputs do not belong together, or a network is not installed.
    """
    made: dict[str, Variant] = {}
    settings = recipe.model_dump(mode="json")
    scan = {"corpus": {"name": "scan", "fingerprint": corpus.facts["fingerprint"]}}
    skipped = {t for t in FEATURE_TABLES if not recipe.features.text.enabled}
    for table in (*VARIANT_TABLES, "shards"):
        if table in skipped or table not in {TABLE_OF[s] for s in wanted if s in TABLE_OF}:
            continue
        for other in reads(recipe, table):
            if other not in made:
                made[other] = _needed(corpus, other, options)
        if table == "text":
            made[table] = _prepare_text(corpus, recipe, options, scan, dry=dry)
            continue
        inputs = {other: made[other].as_input() for other in reads(recipe, table)} or scan
        made[table] = variants.prepare(
            corpus, table, options.name, settings[SECTION[table]], inputs, replace=options.replace, dry=dry
        )
        if table == "decisions":
            _check_same(made, "captions", "selections", "caption")
        if table == "shards":
            _check_same(made, "decisions", "captions", "judge")
    given = made["selections"].inputs.get("text") if "selections" in made else None
    if given is not None and "text" not in made:
        made["text"] = variants.need(corpus, "text", given["name"])
        _check_same(made, "selections", "text", "select")
    return made


def _needed(corpus: Corpus, table: str, options: Options) -> Variant:
    """The variant to read: the one that was asked for, else that of the same name, else `default`."""
    name = options.use.get(table) or (options.name if variants.load(corpus, table, options.name) else "default")
    try:
        return variants.need(corpus, table, name)
    except VariantError as error:
        if table not in FEATURE_TABLES:
            raise
        raise VariantError(error.message, fix=error.fix.removesuffix(".") + _WITHOUT + ".") from None


def _prepare_text(
    corpus: Corpus, recipe: CurateRecipe, options: Options, scan: dict[str, dict[str, str]], *, dry: bool
) -> Variant:
    settings = features.text_settings(recipe)
    inputs = {**scan, "model": features.text_model()}
    selections = variants.load(corpus, "selections", options.name)
    if selections is not None and variants.load(corpus, "text", options.name) is None:
        # `stiv select --name NEW` read what another name has: go on with that, where this one would have the very same clips. Else it
        # gets its own, for which nothing is measured twice, and a selection that read the other one has to be made again.
        given = selections.inputs.get("text")
        other = variants.load(corpus, "text", given["name"]) if given is not None else None
        if other is not None and other.fingerprint == variants.identity("text", settings, inputs):
            return other
    return variants.prepare(corpus, "text", options.name, settings, inputs, replace=options.replace, dry=dry)


def _check_same(made: dict[str, Variant], made_from: str, table: str, command: str) -> None:
    """Two inputs of a stage must belong together: one was made from the other as it is now."""
    source = made[made_from].inputs[table]
    if source["fingerprint"] != made[table].fingerprint:
        raise UsageError(
            f"The {made_from} `{made[made_from].name}` were made from the {table} `{source['name']}` of another time "
            f"or name, not from `{made[table].name}` as it is now.",
            fix=f"Run `stiv {command}` first (with --replace or a new --name), or name matching ones with --use.",
        )
