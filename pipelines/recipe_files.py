"""Reading recipes of both kinds: a YAML or JSON file, ``--set key=value`` on top, and errors that name the key and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from curation import joined
from curation.corpus import FEATURE_TABLES
from curation.rules import check_expression, check_number
from pipelines.recipe_errors import explain_validation
from schemas.errors import RecipeError
from schemas.recipe import CurateRecipe
from schemas.train_recipe import TrainRecipe

KINDS: dict[str, type[CurateRecipe] | type[TrainRecipe]] = {"curate": CurateRecipe, "train": TrainRecipe}
_WORDS = {
    "curate": ("curation recipe", "It is for `stiv curate` and its stages"),
    "train": ("training recipe", "It is for `stiv train` and `stiv data-plan`"),
}
_Recipe = TypeVar("_Recipe", CurateRecipe, TrainRecipe)


def load_recipe(path: Path | None, settings: Iterable[str] = (), base: Mapping[str, Any] | None = None) -> CurateRecipe:
    """The effective curation recipe: defaults, then ``base`` or the file, then ``--set`` values.

    ``base`` is what a corpus was made with. A file stands in its place, but for `plan` and `scan` where it has no such section.

    Raises:
        RecipeError: the file is not there, is no YAML mapping or of the other kind, or a key or value is wrong.
    """
    recipe = _load(CurateRecipe, path, settings, base or {}, belongs=("plan", "scan"))
    check_rules(recipe)
    return recipe


def load_train_recipe(
    path: Path | None, settings: Iterable[str] = (), base: Mapping[str, Any] | None = None
) -> TrainRecipe:
    """The effective training recipe: defaults, then ``base`` (what a run was made with) or the file, then ``--set`` values.

    `data.select` and `data.weight` are checked where the data plan is made: their columns depend on the corpus.

    Raises:
        RecipeError: as :func:`load_recipe`.
    """
    return _load(TrainRecipe, path, settings, base or {}, belongs=())


def recipe_kind(path: Path, wanted: str = "curate") -> str:
    """``curate`` or ``train``: what the file says; where it says nothing, the kind that knows most of its sections.

    ``wanted`` is the answer where both know as many, as of an empty file.

    Raises:
        RecipeError: the file cannot be read, or names a kind that there is not.
    """
    data = read_recipe_file(path)
    if "kind" not in data:
        return max(sorted(KINDS, key=wanted.__ne__), key=lambda name: _known_sections(name, data))
    for kind in KINDS:
        if data["kind"] == kind:
            return kind
    raise RecipeError(
        f"Recipe `{path}`: for `kind`, {data['kind']!r} is not known.", fix="Write `kind: curate` or `kind: train`."
    )


def _known_sections(kind: str, data: Mapping[str, Any]) -> int:
    return len(data.keys() & KINDS[kind].model_fields.keys())


def _load(
    model: type[_Recipe], path: Path | None, settings: Iterable[str], base: Mapping[str, Any], belongs: tuple[str, ...]
) -> _Recipe:
    data: dict[str, Any] = _copy(base)
    if path is not None:
        _check_kind(path, str(model.model_fields["kind"].default))
        data = {**{key: data[key] for key in belongs if key in data}, **read_recipe_file(path)}
    for text in settings:
        _apply(data, text, model)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        where = f"Recipe `{path}`" if path is not None else "The recipe"
        flag = "" if model is CurateRecipe else " --kind train"
        raise RecipeError(
            f"{where}: {explain_validation(error, model)}",
            fix=f"`stiv recipe schema{flag}` lists every key with its meaning and limits.",
        ) from None


def _check_kind(path: Path, wanted: str) -> None:
    found = recipe_kind(path, wanted)
    if found != wanted:
        what, use = _WORDS[found]
        flag = " --kind train" if wanted == "train" else ""
        raise RecipeError(
            f"Recipe `{path}` is a {what} (`kind: {found}`), and a {_WORDS[wanted][0]} is needed here.",
            fix=f"{use}. `stiv recipe show{flag}` prints one to start from.",
        )


def read_recipe_file(path: Path) -> dict[str, Any]:
    """The mapping in a recipe file.

    Raises:
        RecipeError: it cannot be read or is not a mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = difflib.get_close_matches(
            path.name, [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else [], n=1
        )
        raise RecipeError(
            f"The recipe `{path}` is not there.",
            fix=f"Did you mean `{path.parent / near[0]}`?" if near else "`stiv recipe show` prints one to start from.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"The recipe `{path}` cannot be read: {error}.", fix="It must be a UTF-8 text file with YAML or JSON."
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise RecipeError(
            f"The recipe `{path}`{place} is not valid YAML: {problem}.", fix="Check indentation and quotes there."
        ) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise RecipeError(
            f"The recipe `{path}` holds a {type(data).__name__}, not a mapping of keys to values.",
            fix="`stiv recipe show` prints one to start from.",
        )
    return data


def _apply(data: dict[str, Any], text: str, model: type[BaseModel]) -> None:
    curating = model is CurateRecipe
    flag = "" if curating else " --kind train"
    key, sign, value = text.partition("=")
    path = key.strip().split(".")
    if not sign or not all(path):
        example = "scan.shots.max_s=10" if curating else "train.batch=32"
        raise RecipeError(f"`--set {text}` is not of the form key=value.", fix=f"For example: --set {example}")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        parsed = value
    here = data
    for name in path[:-1]:
        inner = here.setdefault(name, {})
        if not isinstance(inner, dict):
            raise RecipeError(
                f"`--set {text}`: `{name}` is a value, not a section.",
                fix=f"`stiv recipe schema{flag}` lists every key.",
            )
        here = inner
    if curating and path[0] in ("select", "judge") and path[-1] not in ("rules",) and len(path) == 2:
        _set_rule(here, path[-1], parsed, text)
        return
    here[path[-1]] = parsed


def _set_rule(section: dict[str, Any], name: str, drop: Any, text: str) -> None:
    """``--set select.still="motion < 0.5"`` changes or adds one rule; ``--set select.still=off`` removes it."""
    defaults = [r.model_dump() for r in getattr(CurateRecipe(), text.partition(".")[0]).rules]
    section.setdefault("rules", defaults)
    rules = [dict(r) for r in section["rules"]]
    if drop is None or drop is False:
        kept = [r for r in rules if r["name"] != name]
        # A rule that was removed before is no mistake: the same command must work twice.
        if len(kept) == len(rules) and name not in {r["name"] for r in defaults}:
            raise RecipeError(
                f"`--set {text}`: there is no rule `{name}` to remove.",
                fix=f"Rules are: {', '.join(r['name'] for r in rules)}.",
            )
        section["rules"] = kept
        return
    if not isinstance(drop, str):
        raise RecipeError(
            f"`--set {text}`: a rule is an SQL expression.",
            fix=f'For example: --set select.{name}="motion < 0.5", or ={"off"} to remove it.',
        )
    for rule in rules:
        if rule["name"] == name:
            rule["drop"] = drop
            break
    else:
        rules.append({"name": name, "drop": drop})
    section["rules"] = rules


def check_rules(recipe: CurateRecipe) -> None:
    """Check every rule's SQL against the columns that it may use.

    Raises:
        RecipeError: names the rule, the cause and the fix.
    """
    for section, rules, schema in (
        ("select", recipe.select.rules, joined.select_schema()),
        ("judge", recipe.judge.rules, joined.caption_schema()),
    ):
        for rule in rules:
            where = f"{section} rule `{rule.name}`"
            check_expression(rule.drop, schema, where=where)
    if recipe.dedup.enabled:
        check_number(recipe.dedup.keep, joined.measured_schema(FEATURE_TABLES), where="dedup.keep")
        if recipe.dedup.semantic.enabled and not recipe.features.embeddings.enabled:
            raise RecipeError(
                "Semantic duplicates are sought by vectors, but features.embeddings.enabled is false.",
                fix="Turn it on, or run with --set dedup.semantic.enabled=false.",
            )


def to_yaml(recipe: CurateRecipe | TrainRecipe) -> str:
    """The recipe, of either kind, as YAML, every key with its description as a comment above."""
    return "\n".join(_yaml_lines(recipe, 0)) + "\n"


def _yaml_lines(model: BaseModel, depth: int) -> list[str]:
    pad = "  " * depth
    lines: list[str] = []
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            doc = (type(value).__doc__ or "").strip().splitlines()[0]
            lines += ["", f"{pad}# {doc}", f"{pad}{name}:", *_yaml_lines(value, depth + 1)]
            continue
        if info.description:
            lines.append(f"{pad}# {info.description}")
        plain = model.model_dump(mode="json")[name]
        text = yaml.safe_dump(
            {name: plain},
            sort_keys=False,
            allow_unicode=True,
            width=1000,
            default_flow_style=False,
        )
        lines += [pad + line for line in text.rstrip().splitlines()]
    return lines


def _copy(value: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in value.items()}
