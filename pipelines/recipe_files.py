"""Reading recipes: a YAML or JSON file, ``--set key=value`` on top, and errors that name the key and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from curation import joined
from curation.rules import check_expression
from schemas.errors import RecipeError
from schemas.recipe import CurateRecipe


def load_recipe(path: Path | None, settings: Iterable[str] = (), base: Mapping[str, Any] | None = None) -> CurateRecipe:
    """The effective recipe: defaults, then ``base`` or the file, then ``--set`` values.

    ``base`` is what a corpus was made with. A file stands in its place, but for `plan` and `scan` where it has no such section.

    Raises:
        RecipeError: the file is not there, is no YAML mapping, or a key or value is wrong.
    """
    data: dict[str, Any] = _copy(base or {})
    if path is not None:
        belongs: dict[str, Any] = {key: data[key] for key in ("plan", "scan") if key in data}
        data = {**belongs, **read_recipe_file(path)}
    for text in settings:
        _apply(data, text)
    try:
        recipe = CurateRecipe.model_validate(data)
    except ValidationError as error:
        where = f"Recipe `{path}`" if path is not None else "The recipe"
        raise RecipeError(
            f"{where}: {explain_validation(error)}",
            fix="`stiv recipe schema` lists every key with its meaning and limits.",
        ) from None
    check_rules(recipe)
    return recipe


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


def _apply(data: dict[str, Any], text: str) -> None:
    key, sign, value = text.partition("=")
    path = key.strip().split(".")
    if not sign or not all(path):
        raise RecipeError(f"`--set {text}` is not of the form key=value.", fix="For example: --set scan.shots.max_s=10")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        parsed = value
    here = data
    for name in path[:-1]:
        inner = here.setdefault(name, {})
        if not isinstance(inner, dict):
            raise RecipeError(
                f"`--set {text}`: `{name}` is a value, not a section.", fix="`stiv recipe schema` lists every key."
            )
        here = inner
    if path[0] in ("select", "judge") and path[-1] not in ("rules",) and len(path) == 2:
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
        ("select", recipe.select.rules, joined.scan_schema()),
        ("judge", recipe.judge.rules, joined.caption_schema()),
    ):
        for rule in rules:
            where = f"{section} rule `{rule.name}`"
            check_expression(rule.drop, schema, where=where)


def explain_validation(error: ValidationError) -> str:
    """Pydantic's findings in one paragraph: which key, what is wrong, what was meant."""
    parts = []
    for item in error.errors():
        key = ".".join(str(p) for p in item["loc"]) or "(top)"
        if item["type"] == "extra_forbidden":
            known = _keys_at(item["loc"][:-1])
            near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.5)
            parts.append(
                f"unknown key `{key}`"
                + (f" (did you mean `{near[0]}`?)" if near else f" (known there: {', '.join(known)})")
            )
        else:
            message = item["msg"].removeprefix("Value error, ")
            parts.append(
                f"`{key}`: {message[:1].lower()}{message[1:]}"
                + (f", not {item['input']!r}" if item["loc"] and not isinstance(item["input"], dict) else "")
            )
    return "; ".join(parts) + "."


def _keys_at(path: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = CurateRecipe
    for name in path:
        if isinstance(name, int):
            return ["name", "drop"]
        info = model.model_fields.get(name)
        inner = info.annotation if info is not None else None
        if not isinstance(inner, type) or not issubclass(inner, BaseModel):
            return ["name", "drop"] if name == "rules" else []
        model = inner
    return sorted(model.model_fields)


def to_yaml(recipe: CurateRecipe) -> str:
    """The recipe as YAML, every key with its description as a comment above."""
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
