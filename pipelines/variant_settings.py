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
from schemas.recipe import CurateRecipe, Rule
from schemas.recipe_learned import ChatName
from schemas.tables import CHECKS

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


def idle_rules(rules: Iterable[Rule], checks: Variant | None) -> set[str]:
    """Names of default rules of `judge` over what these checks do not measure: nobody asked for it, so that NULL is no news.

    A rule of the user's own is none of them: who writes one wants to hear that it had nothing to look at.
    """
    left_out = set(CHECKS.names) - {"clip_id"}
    if checks is not None:
        measured = {"dsg": checks.settings["dsg"]["enabled"], "agreement": "embeddings" in checks.inputs}
        left_out = {column for column in CHECKS.names if not measured.get(column.partition("_")[0], True)}
    known = {*joined.caption_schema().names} - left_out
    default = CurateRecipe().judge.rules
    return {rule.name for rule in rules if rule in default and looks_beyond(rule, known)}


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
        from models.vision.make import model_inputs

        return model_inputs(recipe.features.embeddings)
    if table == "scores":
        from curation.plugins import scorer_inputs

        return scorer_inputs(recipe.features.scores.scorers)
    found: dict[str, dict[str, str]] = {}
    if table in ("captions", "checks"):
        for name in chats_of(recipe, table):
            from models.chat.make import make_chat

            chat = make_chat(getattr(recipe.chat, name), name)
            found[f"chat {name}"] = {"name": chat.name, "fingerprint": chat.fingerprint}
    if table == "captions":
        from curation.plugins import captioner_inputs

        found |= captioner_inputs(recipe.captions.captioners, settings_of(recipe, table))
    return found


def check_complete(recipe: CurateRecipe) -> None:
    """Find what the recipe itself lacks for its captions, checks and scores. Weights are not looked for: `stiv models` lists them.

    Raises:
        RecipeError: a prompt or plug-in is not there, or a chat model that is asked has no name or address.
    """
    from curation.plugins import captioner_inputs, scorer_inputs
    from models.chat.make import make_chat

    scorer_inputs(recipe.features.scores.scorers)
    captioner_inputs(recipe.captions.captioners, settings_of(recipe, "captions"))
    for table in (table for table in ("captions", "checks") if enabled(recipe, table)):
        settings_of(recipe, table)
        for name in chats_of(recipe, table):
            chat = getattr(recipe.chat, name)
            if chat.backend == "openai" or not chat.model:
                make_chat(chat, name)


def stored_recipe(corpus: Corpus, name: str) -> dict[str, Any]:
    """The settings under which a corpus and its variants of this name were made, as a recipe; what was not made is left out.

    What a name has not decided yet begins as `default` is.
    """
    found = {table: variants.load(corpus, table, name) for table in SECTION}
    _follow(corpus, found, set())
    left_out = _left_out(found)
    for table in SECTION:
        if found[table] is None and table not in left_out:
            found[table] = variants.load(corpus, table, "default")
    _follow(corpus, found, left_out)
    return recipe_of(corpus, found)


def _left_out(found: dict[str, Variant | None]) -> set[str]:
    """Tables that some variants were made without: they are not there, but what reads them is, or what the same command makes beside them."""
    there = {table for table, variant in found.items() if variant is not None}
    wanted = {
        **{table: {*FEATURE_TABLES, "duplicates", "selections"} for table in FEATURE_TABLES},
        "duplicates": {"selections"},
        "checks": {"decisions"},
    }
    return {table for table, later in wanted.items() if table not in there and there & later}


def _follow(corpus: Corpus, found: dict[str, Variant | None], left_out: set[str]) -> None:
    """What a variant was made from belongs to it, under whatever name; but for what was left out."""
    for table in ("shards", "decisions", "checks", "captions", "selections", "duplicates"):
        variant = found[table]
        for other, given in variant.inputs.items() if variant is not None else ():
            if other in found and found[other] is None and other not in left_out:
                found[other] = variants.load(corpus, other, given["name"])


def recipe_of(corpus: Corpus, found: dict[str, Variant | None]) -> dict[str, Any]:
    """The recipe behind some variants, one for each table of ``SECTION``; None for a table that was not made."""
    base: dict[str, Any] = corpus.recipe.model_dump(mode="json", include={"plan", "scan"})
    for table, variant in found.items():
        if variant is not None:
            _put(base, table, variant)
    for table in _left_out(found):
        _put_value(base, *TURN_OFF[table].split("="))
    if found["selections"] is None:
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
