"""The main job, end to end: list, plan, scan, features, dedup, select, caption, check, judge, export, report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation.corpus import Corpus, check_target
from curation.forgotten import Forgotten
from curation.listing import Entry, list_inputs
from curation.planning import Planned, extend_plan, group, is_forgotten
from curation.storage import Store, is_uri
from pipelines.apps.plan_text import others
from pipelines.dividing import Divider
from pipelines.intent import intent
from pipelines.prepare import check_settings
from pipelines.run import Options, missing_parts, part_stages, prepare_variants, run
from schemas.errors import UsageError
from schemas.recipe import CurateRecipe

ALL_STAGES = ("scan", "features", "dedup", "select", "caption", "check", "judge", "export")


def list_and_check(inputs: Sequence[str], out: str, left_out: Counter[str] | None = None) -> list[Entry]:
    """The listing of the inputs.

    Args:
        left_out: see :func:`curation.listing.list_inputs`.

    Raises:
        UsageError: an input is not there or cannot be read, there is no video in it, or the output lies inside it or is
            something else than a corpus.
    """
    check_target(Store(out))
    folder = None if is_uri(out) else Path(out.removeprefix("file://")).absolute()
    left_out = Counter() if left_out is None else left_out
    entries = list_inputs(inputs, folder, left_out)
    if not entries:
        but = f", only {others(left_out)}" if left_out else ""
        raise UsageError(
            f"There is no video in {', '.join(f'`{i}`' for i in inputs)}{but}.",
            fix="Files count by their ending (.mp4, .mkv, .webm, .mov, …); other files must be named one by one or in a manifest.",
        )
    if folder is not None:
        inner = next((e for e in entries if Path(e.uri).is_relative_to(folder)), None)
        if inner is not None:
            raise UsageError(
                f"The input `{inner.uri}` lies inside the output folder `{folder}`.",
                fix="Choose an --out folder that does not hold the input.",
            )
    return entries


def existing(out: str, recipe: CurateRecipe) -> Corpus | None:
    """The corpus that is there already, checked against the recipe; None where there is none yet."""
    return Corpus.open_or_create(out, recipe) if Store(out).exists("corpus.json") else None


def plan(entries: Sequence[Entry], out: str, recipe: CurateRecipe, limit: int | None) -> tuple[Corpus, Planned]:
    """Make or open the corpus and append parts for what is new. The caller holds the corpus for writing."""
    corpus = Corpus.open_or_create(out, recipe)
    with Divider() as divider:
        return corpus, extend_plan(corpus, entries, limit, divider)


def check_before(corpus: Corpus | None, recipe: CurateRecipe, wanted: Sequence[str], options: Options) -> None:
    """Raise what `run` would raise about names, settings and models, before anything is planned or written.

    Args:
        corpus: None where there is none yet.
    """
    if corpus is None:
        check_settings(recipe, wanted)
    else:
        prepare_variants(corpus, recipe, wanted, options, dry=True)


def dry_run(
    entries: Sequence[Entry],
    corpus: Corpus | None,
    recipe: CurateRecipe,
    options: Options,
    limit: int | None,
    wanted: Sequence[str] = ALL_STAGES,
) -> dict[str, Any]:
    """What a run of the wanted stages would do; of none, what planning would.

    Writes nothing; a changed file counts as known here, since its content is not read.
    """
    known: set[str] = set()
    forgotten = Forgotten(())
    if corpus is not None:
        forgotten = Forgotten.read(corpus.store)
        for part in corpus.parts():
            known.update(corpus.read("plan", part, columns=["uri"]).column("uri").to_pylist())
    listed = list(entries[:limit] if limit is not None else entries)
    fresh = [e for e in listed if e.uri not in known and not is_forgotten(e, forgotten)]
    parts = list(group(fresh, recipe.plan))
    missing: dict[str, int] = {}
    stages = part_stages(recipe, wanted)
    made = prepare_variants(corpus, recipe, wanted, options, dry=True) if corpus is not None and wanted else {}
    for stage in stages:
        missing[stage.name] = len(parts) + (0 if corpus is None else len(missing_parts(corpus, [stage], made)))
    return {
        "sources": len(listed),
        "new": len(fresh),
        "known": sum(e.uri in known for e in listed),
        "forgotten": sum(e.uri not in known for e in listed) - len(fresh),
        "bytes": sum(e.size or 0 for e in fresh),
        "parts": len(parts),
        "missing": missing,
        "makes": intent(corpus, stages, made, exporting="export" in wanted) if corpus is not None and wanted else None,
    }


__all__ = ["ALL_STAGES", "check_before", "dry_run", "existing", "list_and_check", "plan", "run"]
