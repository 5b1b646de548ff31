"""Captioners, scorers and taggers from outside: found by the entry points of installed packages. Room: curation.

In: names in a recipe. Out: what the packages make. A package is trusted code, like the engine itself; it is imported only when a
recipe names it, and what it makes is made once in a process.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from schemas.errors import RecipeError
from schemas.ids import canonical

BUILT_IN_CAPTIONERS = ("sidecar", "describe", "vlm", "openai", "frames+llm")
"""Names that need no plug-in; a plug-in of the same name is never looked at."""

CAPTIONERS = "stiv.captioners"
SCORERS = "stiv.scorers"
TAGGERS = "stiv.taggers"

_METHODS = {CAPTIONERS: ("caption",), SCORERS: ("score", "score_batch"), TAGGERS: ("tag", "tag_batch")}
"""Group of entry points → methods of which a plug-in must have one."""

CAPTIONER_SETTINGS = ("prompt", "styles", "max_chars")
"""Settings of the recipe's section `captions` that a captioner from outside is made with, as keywords."""


@dataclass(frozen=True)
class Plugin:
    """What a package made."""

    name: str
    """Of the entry point: what the recipe says."""
    group: str
    package: str
    """Name and version."""
    fingerprint: str
    """Of its algorithm or model, as the plug-in gives it."""
    made: Any
    settings: str = "{}"
    """What it was made with, as canonical JSON."""


def captioner(name: str, settings: Mapping[str, Any]) -> Plugin:
    """A captioner from outside, made with the settings of the section `captions`.

    Raises:
        RecipeError: there is none of that name, or it cannot be used.
    """
    given = {key: settings[key] for key in CAPTIONER_SETTINGS if key in settings}
    plugin = _make((CAPTIONERS,), name, canonical(given))
    if not inspect.iscoroutinefunction(plugin.made.caption):
        raise RecipeError(f"The captioner `{name}` of {plugin.package} has a `caption` that is not `async`.", fix=_HELP)
    return plugin


def scorer(name: str) -> Plugin:
    """A scorer or tagger from outside.

    Raises:
        RecipeError: there is none of that name, or it cannot be used.
    """
    return _make((SCORERS, TAGGERS), name, "{}")


def captioner_inputs(names: Iterable[str], settings: Mapping[str, Any] | None = None) -> dict[str, dict[str, str]]:
    """The plug-ins among a recipe's captioners, as inputs of the variant. Raises RecipeError as :func:`captioner` does."""
    return _inputs("captioner", [captioner(name, settings or {}) for name in names if name not in BUILT_IN_CAPTIONERS])


def scorer_inputs(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """A recipe's scorers and taggers, as inputs of the variant. Raises RecipeError as :func:`scorer` does."""
    return _inputs("scorer", [scorer(name) for name in names])


def _inputs(kind: str, plugins: Iterable[Plugin]) -> dict[str, dict[str, str]]:
    return {f"{kind} {p.name}": {"name": p.package, "fingerprint": p.fingerprint} for p in plugins}


_HELP = "CONTRIBUTING.md shows what a plug-in must have."


@functools.cache
def _make(groups: tuple[str, ...], name: str, settings: str) -> Plugin:
    """Made once in a process: it may hold a network."""
    group, point = _find(groups, name)
    what = f"The plug-in `{name}` of {_package(point)}"
    try:
        made = point.load()(**json.loads(settings))
    except Exception as error:  # whatever somebody else's code may raise
        raise RecipeError(
            f"{what} cannot be used ({type(error).__name__}: {error}).",
            fix="Mend or reinstall that package, or leave its name out of the recipe.",
        ) from error
    if not any(callable(getattr(made, method, None)) for method in _METHODS[group]):
        raise RecipeError(f"{what} has no `{'` or `'.join(_METHODS[group])}`.", fix=_HELP)
    mark = getattr(made, "fingerprint", None)
    if not isinstance(mark, str) or not mark:
        raise RecipeError(f"{what} has no `fingerprint`, a text that changes when its answers would.", fix=_HELP)
    return Plugin(name, group, _package(point), mark, made, settings)


def _find(groups: tuple[str, ...], name: str) -> tuple[str, metadata.EntryPoint]:
    found = [(group, point) for group in groups for point in metadata.entry_points(group=group, name=name)]
    # One package may be seen twice on a path.
    once = {(group, point.value, _package(point)): (group, point) for group, point in found}
    what = "captioner" if groups == (CAPTIONERS,) else "scorer or tagger"
    if not once:
        raise RecipeError(f"There is no {what} `{name}`.", fix=_what_there_is(groups))
    if len(once) > 1:
        offers = "; ".join(sorted(f"{group} {value} of {package}" for group, value, package in once))
        raise RecipeError(f"There is more than one {what} `{name}`: {offers}.", fix="Uninstall or rename all but one.")
    return next(iter(once.values()))


def _what_there_is(groups: tuple[str, ...]) -> str:
    names = sorted({point.name for group in groups for point in metadata.entry_points(group=group)})
    if groups == (CAPTIONERS,):
        names = [*BUILT_IN_CAPTIONERS, *names]
    packages = f"packages with entry points in {' or '.join(f'`{group}`' for group in groups)}"
    return f"There are: {', '.join(names)}; {packages} add more." if names else f"Install it: {packages} have them."


def _package(point: metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown package"
