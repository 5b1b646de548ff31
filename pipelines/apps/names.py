"""Names of variants on the command line: which tables have one, and the ``--use`` that shows what is shown."""

from __future__ import annotations

from collections.abc import Mapping

from curation.corpus import Corpus
from curation.views import NAMED, Chosen, choose
from schemas.errors import VariantError


def of_name(corpus: Corpus, name: str) -> dict[str, str]:
    """The tables that have a variant of this name, as ``--use`` takes them."""
    return {table: name for table in NAMED if name in corpus.variants(table)}


def use_flag(corpus: Corpus, chosen: Chosen) -> str:
    """What a command needs to look at the same variants: nothing, `` --use NAME`` where that says it, else table by table."""
    if _chosen(corpus, {}) == chosen:
        return ""
    for name in dict.fromkeys(n for n in reversed(chosen.names.values()) if n is not None):
        if _chosen(corpus, of_name(corpus, name)) == chosen:
            return f" --use {name}"
    return " --use " + ",".join(f"{table}={name}" for table, name in chosen.names.items() if name is not None)


def _chosen(corpus: Corpus, use: Mapping[str, str]) -> Chosen | None:
    try:
        return choose(corpus, use)
    except VariantError:
        return None
