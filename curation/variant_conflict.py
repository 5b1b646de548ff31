"""Why a name cannot be used again: what differs between what was made under it and what is wanted now, in a person's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from curation.corpus import VARIANT_TABLES, differences
from curation.input_changes import Inputs, input_changes

if TYPE_CHECKING:
    from curation.variants import Variant

CHANGES_TOLD = 3
"""Most differences that a message lists."""


def conflict(uri: str, current: Variant, old: dict[str, Any], new: dict[str, Any], inputs: Inputs) -> str:
    """The message of the error.

    Args:
        old: the settings that ``current`` was made with, limits left out; ``new``: those that are wanted.
        inputs: what would be read now.
    """
    rules: list[str] = []
    if old.get("score_all") == new.get("score_all"):  # else the rules only come and go with that
        rules = _rules(
            "judge" if current.table == "decisions" else "select", old.get("rules", ()), new.get("rules", ())
        )
    old, new = ({k: v for k, v in settings.items() if k != "rules"} for settings in (old, new))
    settings, given = differences(old, new), input_changes(current.inputs, inputs, (*VARIANT_TABLES, "shards"))
    made = f"The {current.table} named `{current.name}` in `{uri}` {'was' if current.table == 'text' else 'were'} made"
    if rules and not settings and not given:
        return f"{_listed(rules)}. {made} with the rules as they were."
    # What is read comes first where a table is turned on or off: rules only follow from that.
    changes = [*given, *rules, *settings] if any("turned" in c for c in given) else [*rules, *settings, *given]
    return f"{made} otherwise: {_listed(changes) if changes else 'the algorithm is of another version'}."


def _rules(section: str, old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[str]:
    """How rules differ, under the names by which a person sets them."""
    before, now = ({rule["name"]: rule["drop"] for rule in rules} for rules in (old, new))
    changes = []
    for name in [*before, *(n for n in now if n not in before)]:
        if name not in now:
            changes.append(f"`{section}.{name}` is gone")
        elif name not in before:
            changes.append(f"`{section}.{name}` is new")
        elif before[name] != now[name]:
            changes.append(f"`{section}.{name}` differs: `{before[name]}` → `{now[name]}`")
    return changes or ([f"the rules of `{section}` have another order"] if list(before) != list(now) else [])


def _listed(changes: list[str]) -> str:
    more = [f"and {len(changes) - CHANGES_TOLD} more"] if len(changes) > CHANGES_TOLD else []
    return "; ".join([*changes[:CHANGES_TOLD], *more])
