"""What each variant is made with: its settings and models, from the recipe; and the recipe again, from what was made.

A variant's settings are its section of the recipe, prompts as texts, with the rules that decide which clips are looked at, and with
the chat models that are asked. Heavy rooms are imported only where a recipe needs them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from curation import joined, perceptual, variants
from curation.corpus import FEATURE_TABLES, MEASURED_TABLES, Corpus
from curation.rules import columns_used
from curation.variants import Variant
from schemas.ids import fingerprint
from schemas.recipe import CurateRecipe, Rule
from schemas.recipe_learned import ChatName

SECTION = {
    "text": "features.text",
    "embeddings": "features.embeddings",
    "scores": "features.scores",
    "duplicates": "dedup",
    "selections": "select",
    "captions": "captions",
    "checks": "check",
    "decisions": "judge",
    "shards": "export",
}
"""Table → section of the recipe that makes it."""

TURN_OFF = {
    "text": "features.text.enabled=false",
    "embeddings": "features.embeddings.enabled=false",
    "scores": "features.scores.scorers=[]",
    "duplicates": "dedup.enabled=false",
    "checks": "check.enabled=false",
}
"""Table → the setting that leaves it out."""


def enabled(recipe: CurateRecipe, table: str) -> bool:
    """Whether a recipe makes a table at all."""
    return {
        "text": recipe.features.text.enabled,
        "embeddings": recipe.features.embeddings.enabled,
        "scores": bool(recipe.features.scores.scorers),
        "duplicates": recipe.dedup.enabled,
        "checks": recipe.check.enabled,
    }.get(table, True)


def reads(recipe: CurateRecipe, table: str) -> tuple[str, ...]:
    """Tables whose variants a table is made from."""
    if table in ("duplicates", "selections"):
        before = FEATURE_TABLES if table == "duplicates" else MEASURED_TABLES
        return tuple(t for t in before if enabled(recipe, t))
    if table == "checks":
        return ("captions", "embeddings") if checks_agreement(recipe) else ("captions",)
    if table == "decisions":
        return ("selections", "captions", "checks") if recipe.check.enabled else ("selections", "captions")
    return {"captions": ("selections",), "shards": ("decisions", "captions")}.get(table, ())


def checks_agreement(recipe: CurateRecipe) -> bool:
    """Whether captions are compared with pictures: only OpenCLIP's vectors can be."""
    vectors = recipe.features.embeddings
    return recipe.check.agreement and vectors.enabled and vectors.backend == "openclip"


def needs_features(rule: Rule) -> bool:
    """Whether a rule of `select` looks at more than what is known after the scan."""
    return looks_beyond(rule, joined.scan_schema().names)


def looks_beyond(rule: Rule, known: Iterable[str]) -> bool:
    """Whether a rule uses a column that is not among the known ones (SQL does not mind case)."""
    names = {name.lower() for name in known}
    return any(column.lower() not in names for column in columns_used(rule.drop, where=f"rule `{rule.name}`"))


def settings_of(recipe: CurateRecipe, table: str) -> dict[str, Any]:
    """The settings of a variant of this table under this recipe."""
    settings = recipe.model_dump(mode="json")
    for key in SECTION[table].split("."):
        settings = settings[key]
    settings.pop("enabled", None)
    if table in FEATURE_TABLES:
        known = None if settings["score_all"] else joined.scan_schema().names
        settings["rules"] = _rules_over(recipe, known)
    elif table == "duplicates":
        tables = [t for t in FEATURE_TABLES if enabled(recipe, t)]
        settings["rules"] = _rules_over(recipe, joined.measured_schema(tables).names)
    elif table in ("captions", "checks"):
        _load_prompts(settings, SECTION[table])
        settings["chats"] = {n: getattr(recipe.chat, n).model_dump(mode="json") for n in chats_of(recipe, table)}
    return settings


def _rules_over(recipe: CurateRecipe, known: Iterable[str] | None) -> list[dict[str, Any]]:
    """The rules of `select` whose columns are all known; none where nothing is to be left out."""
    if known is None:
        return []
    names = list(known)
    return [rule.model_dump(mode="json") for rule in recipe.select.rules if not looks_beyond(rule, names)]


def _load_prompts(settings: dict[str, Any], where: str) -> None:
    """Put the text in the place of every prompt's name or path, so that the variant says it all."""
    from curation.captioning.prompts import load_prompt

    for key, value in settings.items():
        if isinstance(value, dict):
            _load_prompts(value, f"{where}.{key}")
        elif key == "prompt" or key.endswith("_prompt"):
            settings[key] = load_prompt(value, f"{where}.{key}")


def chats_of(recipe: CurateRecipe, table: str) -> list[ChatName]:
    """Names of the chat models that a table's stage asks, in a fixed order."""
    found: set[ChatName] = set()
    if table == "captions":
        section = recipe.captions
        own: dict[str, set[ChatName]] = {
            "vlm": {"vlm"},
            "openai": {"openai"},
            "frames+llm": {section.vision, section.language},
        }
        for name in section.captioners:
            found |= own.get(name, set())
        found |= {section.rewrite.language} if section.rewrite.enabled else set()
    elif table == "checks":
        dsg, categories = recipe.check.dsg, recipe.check.categories
        found |= {dsg.language, dsg.vision} if dsg.enabled else set()
        found |= {categories.language} if categories.backend == "chat" else set()
    return sorted(found)


def models_of(recipe: CurateRecipe, table: str) -> dict[str, dict[str, str]]:
    """The models that a table is made with, as inputs of its variant.

    Raises:
        UsageError: one is not installed, not there or not fully named.
    """
    if table == "text":
        from models.text_detector import detector

        return {"model": {"name": detector.NAME, "fingerprint": detector.fingerprint()}}
    if table == "embeddings":
        if recipe.features.embeddings.backend == "perceptual":
            return {"model": {"name": perceptual.NAME, "fingerprint": str(perceptual.VERSION)}}
        from models.vision.make import model_input

        return {"model": model_input(recipe.features.embeddings)}
    if table == "scores":
        from curation.plugins import scorer_inputs

        return scorer_inputs(recipe.features.scores.scorers)
    found: dict[str, dict[str, str]] = {}
    if table in ("captions", "checks"):
        for name in chats_of(recipe, table):
            from models.chat.make import identity

            chat = getattr(recipe.chat, name)
            found[f"chat {name}"] = {"name": chat.model or "", "fingerprint": fingerprint(identity(chat, name))}
    if table == "captions":
        from curation.plugins import captioner_inputs

        found |= captioner_inputs(recipe.captions.captioners, settings_of(recipe, table))
    return found


def stored_recipe(corpus: Corpus, name: str) -> dict[str, Any]:
    """The settings under which a corpus and its variants of this name were made, as a recipe; what was not made is left out.

    What a name has not decided yet begins as `default` is.
    """
    found = {table: variants.load(corpus, table, name) for table in SECTION}
    _follow(corpus, found)
    left_out = {t for t in MEASURED_TABLES if found["selections"] is not None}
    left_out |= {"checks"} if found["decisions"] is not None else set()
    for table in SECTION:
        if found[table] is None and table not in left_out:
            found[table] = variants.load(corpus, table, "default")
    _follow(corpus, found)
    return recipe_of(corpus, found)


def _follow(corpus: Corpus, found: dict[str, Variant | None]) -> None:
    """What a variant was made from belongs to it, under whatever name."""
    for table in ("shards", "decisions", "checks", "captions", "selections", "duplicates"):
        variant = found[table]
        for other, given in variant.inputs.items() if variant is not None else ():
            if other in found and found[other] is None:
                found[other] = variants.load(corpus, other, given["name"])


def recipe_of(corpus: Corpus, found: dict[str, Variant | None]) -> dict[str, Any]:
    """The recipe behind some variants, one for each table of ``SECTION``; None for a table that was not made."""
    base: dict[str, Any] = corpus.recipe.model_dump(mode="json", include={"plan", "scan"})
    for table, variant in found.items():
        if variant is not None:
            _put(base, table, variant)
    selections, decisions = found["selections"], found["decisions"]
    for table, off in TURN_OFF.items():
        later = decisions if table == "checks" else selections
        if found[table] is None and later is not None:
            _put_value(base, *off.split("="))
    if selections is None:
        _guess_rules(base, found)
    return base


def _guess_rules(base: dict[str, Any], found: dict[str, Variant | None]) -> None:
    """Before there is a selection: clips were chosen by the cheap rules; the dear ones are not known yet."""
    widest = next(
        (v for t in ("duplicates", *FEATURE_TABLES) if (v := found[t]) and not v.settings.get("score_all")), None
    )
    if widest is not None:
        given = {rule["name"] for rule in widest.settings["rules"]}
        known = (
            joined.scan_schema().names
            if widest.table in FEATURE_TABLES
            else joined.measured_schema(FEATURE_TABLES).names
        )
        later = [r.model_dump(mode="json") for r in CurateRecipe().select.rules if looks_beyond(r, known)]
        base["select"] = {"rules": [*widest.settings["rules"], *(r for r in later if r["name"] not in given)]}


def _put(base: dict[str, Any], table: str, variant: Variant) -> None:
    settings = dict(variant.settings)
    if table in (*FEATURE_TABLES, "duplicates"):
        settings.pop("rules")
    for name, chat in settings.pop("chats", {}).items():
        base.setdefault("chat", {}).setdefault(name, chat)
    here = base
    *path, last = SECTION[table].split(".")
    for key in path:
        here = here.setdefault(key, {})
    here[last] = settings


def _put_value(base: dict[str, Any], path: str, value: str) -> None:
    *keys, last = path.split(".")
    for key in keys:
        base = base.setdefault(key, {})
    base[last] = [] if value == "[]" else False
