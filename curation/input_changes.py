"""How the inputs of a variant differ from those that it was made with, in words. Room: curation."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Inputs = Mapping[str, Mapping[str, str]]
"""Table, `corpus`, `model`, or kind and name of a model such as `chat openai` → name and fingerprint."""


def input_changes(old: Inputs, new: Inputs, tables: Collection[str]) -> list[str]:
    """One text for each input that is another, gone or new.

    Args:
        tables: names among the inputs that are tables of the corpus; the others but `corpus` are models.
    """
    changes = []
    for key in sorted(old.keys() | new.keys()):
        before, now = old.get(key), new.get(key)
        if before is None or now is None:
            if key != "corpus":
                changes.append(_turned(key, before, now, key in tables))
        elif before["fingerprint"] == now["fingerprint"]:
            continue
        elif key not in tables and key != "corpus":
            renamed = f", from `{before['name']}` to `{now['name']}`" if before["name"] != now["name"] else ""
            changes.append(f"{_model(key)} has changed{renamed}")
        elif before["name"] == now["name"]:
            changes.append(f"its input `{key}` has changed")
        else:
            changes.append(f"it reads `{key}` from `{now['name']}` instead of `{before['name']}`")
    return changes


def _turned(key: str, before: Mapping[str, str] | None, now: Mapping[str, str] | None, table: bool) -> str:
    if table:
        return f"it was made {'with' if now is None else 'without'} {key}, now turned {'off' if now is None else 'on'}"
    name = (before or now or {})["name"]
    return f"{_model(key)} (`{name}`) {'had a part in it, and has none now' if now is None else 'had no part in it so far'}"


def _model(key: str) -> str:
    kind, _, name = key.partition(" ")
    return {"chat": f"the chat model `{name}`", "model": "the model", "head": "the aesthetic head"}.get(
        kind, f"the {kind} `{name}`"
    )
