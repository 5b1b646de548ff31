"""Named variants: what one stage wrote under one name, and from what.

``variant.json`` is written first and holds settings, resolved inputs and a fingerprint over both and over the algorithm's version. The
same name with another fingerprint is an error, or with ``replace`` a new build beside the old one that takes its place at the end.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from curation.corpus import Corpus, table_folder
from curation.variant_conflict import conflict
from schemas.errors import UsageError, VariantError
from schemas.ids import fingerprint
from schemas.recipe_learned import CHAT_LIMITS

ALGORITHM = {
    "text": 1,
    "embeddings": 2,
    "scores": 1,
    "duplicates": 3,
    "selections": 1,
    "captions": 4,
    "checks": 2,
    "decisions": 1,
    "shards": 1,
}
"""Version of what each stage does; raise one when the same settings would give other rows."""

LIMITS: dict[str, frozenset[str]] = {
    "embeddings": frozenset({"batch", "device", "model", "weights", "weights_file", "aesthetic_head"}),
}
"""Table → settings that may change under a variant's name: they decide how it is made, or say where a model lies whose content is an input."""

COMMAND = {
    "text": "features",
    "embeddings": "features",
    "scores": "features",
    "duplicates": "dedup",
    "selections": "select",
    "captions": "caption",
    "checks": "check",
    "decisions": "judge",
    "shards": "export",
}
"""Which command writes a table."""


@dataclass(frozen=True)
class Variant:
    """One name of one table. ``folder`` is its directory's name: the name, or a hidden one while it replaces another."""

    table: str
    name: str
    settings: dict[str, Any]
    inputs: dict[str, dict[str, str]]
    """Table (or `corpus`, or `model`) → name and fingerprint of what is read."""
    fingerprint: str
    folder: str
    resolved: dict[str, Any]
    """Numbers worked out once from the corpus, such as percentiles."""

    @property
    def path(self) -> str:
        return _path(self.table, self.folder)

    @property
    def replacing(self) -> bool:
        return self.folder != self.name

    def as_input(self) -> dict[str, str]:
        return {"name": self.name, "fingerprint": self.fingerprint}


def name_flag(name: str) -> str:
    """What a command needs to go on under a name."""
    return "" if name == "default" else f" --name {name}"


def identity(table: str, settings: dict[str, Any], inputs: dict[str, dict[str, str]]) -> str:
    """Fingerprint of a variant. Names of inputs do not count, their content does; nor do settings that are limits."""
    return fingerprint(
        {
            "settings": essential(table, settings),
            "inputs": {k: v["fingerprint"] for k, v in inputs.items()},
            "version": ALGORITHM[table],
        }
    )


def essential(table: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings on which a table's rows depend."""
    kept = {k: v for k, v in settings.items() if k not in LIMITS.get(table, ())}
    if "chats" in kept:
        kept["chats"] = {
            name: {k: v for k, v in chat.items() if k not in CHAT_LIMITS} for name, chat in kept["chats"].items()
        }
    return kept


def is_current(variant: Variant) -> bool:
    """Whether it was made by the algorithm as it is now."""
    return identity(variant.table, variant.settings, variant.inputs) == variant.fingerprint


def load(corpus: Corpus, table: str, name: str) -> Variant | None:
    """The variant as stored, or None. Changes nothing: a reader may come while a writer switches."""
    found = _read(corpus, table, name, name)
    if found is None and corpus.store.exists(f"{_path(table, _new(name))}/complete.json"):
        found = _read(corpus, table, name, _new(name))  # a switch is under way, or was cut short
    return found


def need(corpus: Corpus, table: str, name: str) -> Variant:
    """The variant as stored.

    Raises:
        VariantError: there is none of that name.
    """
    found = load(corpus, table, name)
    if found is None:
        others = corpus.variants(table)
        raise VariantError(
            f"There is no `{table}` variant named `{name}` in `{corpus.store.uri}`"
            + (f" (there are: {', '.join(others)})." if others else "."),
            fix=f"Make it with `stiv {COMMAND[table]} {corpus.store.uri}{name_flag(name)}`, or name another.",
        )
    return found


def prepare(
    corpus: Corpus,
    table: str,
    name: str,
    settings: dict[str, Any],
    inputs: dict[str, dict[str, str]],
    *,
    replace: bool = False,
    dry: bool = False,
) -> Variant:
    """Find or begin the variant that has these settings and inputs.

    Args:
        replace: an existing variant with another fingerprint is rebuilt beside itself; else it is an error.
        dry: change nothing.

    Raises:
        VariantError: the name is taken by a variant with other settings or inputs.
    """
    wanted = identity(table, settings, inputs)
    if not dry:
        _finish_switch(corpus, table, name)
    current = load(corpus, table, name)
    if current is not None and current.fingerprint == wanted:
        if not dry:
            corpus.store.remove(_path(table, _new(name)))  # a replacement that was begun and is not wanted any more
        if current.settings != settings:
            current = dataclasses.replace(current, settings=settings)  # other limits
            if not dry:
                _write(corpus, current)
        return current
    if current is not None and not replace and _is_bare(corpus, current):
        # Nothing was made under these settings, as when the first run was refused: there is nothing to protect.
        made = Variant(table, name, settings, inputs, wanted, name, {})
        if not dry:
            _write(corpus, made)
        return made
    if current is not None and not replace:
        raise VariantError(
            conflict(corpus.store.uri, current, essential(table, current.settings), essential(table, settings), inputs),
            fix=f"Choose a new --name for the new one, or run with --replace to put it in the place of `{name}`.",
        )
    folder = name if current is None else _new(name)
    if current is not None:
        begun = _read(corpus, table, name, folder)
        if begun is not None and begun.fingerprint == wanted:
            return begun
        if not dry:
            corpus.store.remove(_path(table, folder))
    made = Variant(table, name, settings, inputs, wanted, folder, {})
    if not dry:
        _write(corpus, made)
    return made


def resolve(corpus: Corpus, variant: Variant, resolved: dict[str, Any]) -> Variant:
    """Keep numbers worked out for the variant."""
    done = dataclasses.replace(variant, resolved=resolved)
    _write(corpus, done)
    return done


def switch(corpus: Corpus, variant: Variant) -> Variant:
    """Put a finished replacement in the place of the old variant."""
    if not variant.replacing:
        return variant
    store, table, name = corpus.store, variant.table, variant.name
    # Renames in this order: whatever is killed, either the old one stands under its name or the new one is found by the next load.
    store.commit_bytes(f"{variant.path}/complete.json", b"{}\n")
    store.remove(_path(table, _old(name)))
    store.move(_path(table, name), _path(table, _old(name)))
    _finish_switch(corpus, table, name)
    return dataclasses.replace(variant, folder=name)


def stale_reasons(corpus: Corpus, variant: Variant) -> list[str]:
    """Why a variant no longer follows from what is there; empty when it does."""
    reasons = []
    if not is_current(variant):
        reasons.append("made by another version of the engine")
    for table, given in sorted(variant.inputs.items()):
        if table not in ALGORITHM:
            continue
        current = load(corpus, table, given["name"])
        if current is None:
            reasons.append(f"its {table} `{given['name']}` {'is' if table == 'text' else 'are'} gone")
        elif current.fingerprint != given["fingerprint"]:
            reasons.append(f"its {table} `{given['name']}` {'has' if table == 'text' else 'have'} changed since")
        elif stale_reasons(corpus, current):
            reasons.append(
                f"its {table} `{given['name']}` {'is stale itself' if table == 'text' else 'are stale themselves'}"
            )
    return reasons


def _is_bare(corpus: Corpus, variant: Variant) -> bool:
    return set(corpus.store.names(variant.path)) <= {"variant.json"}


def _finish_switch(corpus: Corpus, table: str, name: str) -> None:
    store = corpus.store
    old, new = _path(table, name), _path(table, _new(name))
    if not store.exists(f"{old}/variant.json") and store.exists(f"{new}/complete.json"):
        store.move(new, old)
    if store.exists(f"{old}/variant.json"):
        store.remove(f"{old}/complete.json")
        store.remove(_path(table, _old(name)))


def _path(table: str, folder: str) -> str:
    return f"{table_folder(table)}/{folder}"


def _new(name: str) -> str:
    return f".new-{name}"


def _old(name: str) -> str:
    return f".old-{name}"


def _read(corpus: Corpus, table: str, name: str, folder: str) -> Variant | None:
    path = f"{_path(table, folder)}/variant.json"
    if not corpus.store.exists(path):
        return None
    try:
        data = json.loads(corpus.store.read_bytes(path))
        return Variant(table, name, data["settings"], data["inputs"], data["fingerprint"], folder, data["resolved"])
    except (ValueError, KeyError) as error:
        raise UsageError(
            f"`{corpus.store.uri}/{path}` is damaged ({error}).",
            fix=f"Delete the folder `{_path(table, folder)}` and run the command again.",
        ) from None


def _write(corpus: Corpus, variant: Variant) -> None:
    data = {
        "settings": variant.settings,
        "inputs": variant.inputs,
        "fingerprint": variant.fingerprint,
        "resolved": variant.resolved,
        "algorithm": ALGORITHM[variant.table],
    }
    corpus.store.commit_bytes(
        f"{variant.path}/variant.json", (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    )
