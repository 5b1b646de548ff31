"""One run: which variants are read and written, which parts are missing, the stages over them, and the record of it all."""

from __future__ import annotations

import contextlib
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from curation import joined, variants
from curation.corpus import Corpus
from curation.environment import engine_version, environment
from curation.percentiles import Wanted, measure_percentiles
from curation.shard_plan import extend_shard_plan
from curation.variants import Variant
from pipelines.chain import EXPORT, PART_STAGES, SCAN, Stage
from pipelines.context import Context
from pipelines.inline_run import run_inline
from pipelines.progress import Progress
from pipelines.ray_run import ray_session, run_ray
from pipelines.stages import export
from pipelines.stages.choose import percentile_key, percentiles_of
from schemas.errors import StorageError, UsageError
from schemas.recipe import CurateRecipe, Rule

SECTION = {"selections": "select", "captions": "captions", "decisions": "judge", "shards": "export"}
"""Table → section of the recipe that makes it."""

READS = {
    "selections": (),
    "captions": ("selections",),
    "decisions": ("selections", "captions"),
    "shards": ("decisions", "captions"),
}
"""Table → tables whose variants it is made from."""

TABLE_OF = {command: table for table, command in variants.COMMAND.items()}


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what to make."""

    executor: str = "ray"
    jobs: int = 1
    ray_address: str | None = None
    name: str = "default"
    use: dict[str, str] = field(default_factory=dict)
    """Table → variant to read, where it is not the one this run writes."""
    replace: bool = False


@dataclass
class Outcome:
    """What a run did and what there is now."""

    worked: bool
    """False: everything was there already."""
    seconds: float
    variants: dict[str, Variant]
    record: str | None


def stored_recipe(corpus: Corpus, name: str) -> dict[str, Any]:
    """The settings under which a corpus and its variants of this name were made, as a recipe; what was not made is left out."""
    base: dict[str, Any] = corpus.recipe.model_dump(mode="json", include={"plan", "scan"})
    for table, section in SECTION.items():
        found = variants.load(corpus, table, name)
        if found is not None:
            base[section] = found.settings
    return base


def run(
    corpus: Corpus, recipe: CurateRecipe, wanted: Sequence[str], options: Options, progress: Progress, command: str
) -> Outcome:
    """Bring a corpus up to date for the wanted stages (`scan`, `select`, `caption`, `judge`, `export`); do only what is missing.

    Raises:
        VariantError: a variant of that name was made with other settings, or a needed one is missing.
        UsageError: a needed stage has not been run.
        TooManyErrorsError: over the recipe's limit.
        KeyboardInterrupt: what is finished is kept.
    """
    began = time.monotonic()
    stages = [s for s in PART_STAGES if s.name in wanted]
    # First all that can be wrong, then the first byte.
    foreseen = prepare_variants(corpus, recipe, wanted, options, dry=True)
    if stages:
        _need_inputs(corpus, stages, foreseen, missing_parts(corpus, stages, foreseen))
    elif "export" in wanted:
        _need_decisions(corpus, foreseen["decisions"])
    made = prepare_variants(corpus, recipe, wanted, options)
    context = Context(corpus.store.uri, uuid.uuid4().hex, options.jobs, recipe, made)
    executor = _Executor(options, progress)
    worked = False
    try:
        for group in _phases(stages, made):
            if group[0] is not SCAN and group[0].name in ("select", "judge"):
                made = _resolve_percentiles(corpus, made)
                context = replace(context, variants=made)
            units = missing_parts(corpus, group, made)
            if units:
                worked = True
                progress.phase("Scanning" if SCAN in group else "Deciding", _totals(corpus, group, units))
                executor.run(context, group, units)
        if "export" in wanted:
            worked = _export(corpus, recipe, context, executor, progress) or worked
        for table in ("selections", "captions", "decisions", "shards"):
            if table in made and made[table].replacing:
                made[table] = variants.switch(corpus, made[table])
                worked = True
    finally:
        executor.close()
        seconds = time.monotonic() - began
        record = None
        if worked or progress.counts.sources or progress.counts.cut:
            # On a full disk the record fails too: that must not hide the error that is under way.
            with contextlib.suppress(StorageError) if sys.exc_info()[0] else contextlib.nullcontext():
                record = corpus.write_run(_record(command, recipe, options, progress, seconds, made))
    if "export" in wanted and not progress.counts.failed_cuts:
        # The last stage is complete: nobody will need what was half done.
        corpus.store.clear_scratch(*export.scratch_names(recipe.export))
        corpus.store.clear_scratch("scan")
        corpus.store.clear_scratch("commit")
    return Outcome(worked, seconds, made, record)


def prepare_variants(
    corpus: Corpus, recipe: CurateRecipe, wanted: Sequence[str], options: Options, *, dry: bool = False
) -> dict[str, Variant]:
    """Find or begin the variants that a run writes, and find those that it only reads."""
    made: dict[str, Variant] = {}
    written = [TABLE_OF[s] for s in wanted if s in TABLE_OF]
    settings = recipe.model_dump(mode="json")
    for table, reads in READS.items():
        if table not in written:
            continue
        for other in reads:
            if other not in made:
                name = options.use.get(other) or (
                    options.name if variants.load(corpus, other, options.name) else "default"
                )
                made[other] = variants.need(corpus, other, name)
        inputs = {other: made[other].as_input() for other in reads} or {
            "corpus": {"name": "scan", "fingerprint": corpus.facts["fingerprint"]}
        }
        made[table] = variants.prepare(
            corpus, table, options.name, settings[SECTION[table]], inputs, replace=options.replace, dry=dry
        )
        if table == "decisions":
            _check_same(made, "captions", "selections", "caption")
        if table == "shards":
            _check_same(made, "decisions", "captions", "judge")
    return made


def _check_same(made: dict[str, Variant], made_from: str, table: str, command: str) -> None:
    """Two inputs of a stage must belong together: one was made from the other as it is now."""
    source = made[made_from].inputs[table]
    if source["fingerprint"] != made[table].fingerprint:
        raise UsageError(
            f"The {made_from} `{made[made_from].name}` were made from the {table} `{source['name']}` of another time "
            f"or name, not from `{made[table].name}` as it is now.",
            fix=f"Run `stiv {command}` first (with --replace or a new --name), or name matching ones with --use.",
        )


def missing_parts(corpus: Corpus, stages: Sequence[Stage], made: dict[str, Variant]) -> list[int]:
    """Parts for which any of the stages has not committed."""
    parts = corpus.parts()
    done = set(parts)
    for stage in stages:
        done &= corpus.scanned() if stage is SCAN else corpus.done(stage.table, made[stage.table].folder)
    return [p for p in parts if p not in done]


def _phases(stages: list[Stage], made: dict[str, Variant]) -> Iterator[list[Stage]]:
    """Stages that may be chained part by part. A percentile over the whole corpus is a barrier: everything must be scanned before."""
    group: list[Stage] = []
    for stage in stages:
        barrier = (
            stage.name in ("select", "judge")
            and percentiles_of(_rules(made[stage.table]))
            and not made[stage.table].resolved
        )
        if group and barrier:
            yield group
            group = []
        group.append(stage)
    if group:
        yield group


def _rules(variant: Variant) -> list[Rule]:
    return [Rule.model_validate(r) for r in variant.settings["rules"]]


def _resolve_percentiles(corpus: Corpus, made: dict[str, Variant]) -> dict[str, Variant]:
    made = dict(made)
    for table in ("selections", "decisions"):
        variant = made.get(table)
        if variant is None or variant.resolved:
            continue
        wanted = percentiles_of(_rules(variant))
        if wanted:
            lacking = len(corpus.parts()) - len(corpus.scanned())
            if lacking:
                raise UsageError(
                    f"A percentile is asked for, and {lacking} of {len(corpus.parts())} parts are not scanned yet.",
                    fix=f"Run `stiv scan {corpus.store.uri}` first.",
                )
            values = measure_percentiles(_columns(corpus, wanted), wanted)
            numbers = {percentile_key(w): values[w] for w in wanted}
            made[table] = variants.resolve(corpus, variant, {"percentiles": numbers})
    return made


def _columns(corpus: Corpus, wanted: Sequence[Wanted]) -> Iterator[pa.Table]:
    """The wanted columns of the wide rows, part by part, under the names that were asked for (SQL does not mind case)."""
    names = {n.lower(): n for n in joined.scan_schema().names}
    for part in sorted(corpus.scanned()):
        wide = joined.read_scanned(corpus, part)
        yield pa.table({column: wide.column(names[column.lower()]) for column, _ in wanted})


def _need_inputs(corpus: Corpus, stages: Sequence[Stage], made: dict[str, Variant], units: Sequence[int]) -> None:
    """What the first of the stages reads must be there for every part."""
    first = stages[0]
    if first is SCAN:
        return
    needs = [("scan", corpus.scanned())]
    needs += [
        (variants.COMMAND[t], corpus.done(t, made[t].folder))
        for t in READS[first.table]
        if not any(s.table == t for s in stages)
    ]
    for command, done in needs:
        lacking = [u for u in units if u not in done]
        if lacking:
            raise UsageError(
                f"{len(lacking)} of {len(corpus.parts())} parts have not been through `{command}` yet.",
                fix=f"Run `stiv {command} {corpus.store.uri}` first.",
            )


def _totals(corpus: Corpus, stages: Sequence[Stage], units: Sequence[int]) -> dict[str, float]:
    if SCAN not in stages:
        return {"parts": float(len(units))}
    sources = size = 0
    scanned = corpus.scanned()
    for part in units:
        if part not in scanned:
            column = corpus.read("plan", part, columns=["bytes"]).column("bytes").to_pylist()
            sources += len(column)
            size += sum(b or 0 for b in column)
    return {"sources": float(sources), "parts": float(len(units)), "bytes": float(size)}


def _need_decisions(corpus: Corpus, decisions: Variant) -> None:
    lacking = set(corpus.parts()) - corpus.done("decisions", decisions.folder)
    if lacking:
        raise UsageError(
            f"{len(lacking)} of {len(corpus.parts())} parts have no decisions yet.",
            fix=f"Run `stiv judge {corpus.store.uri}` first.",
        )


def _export(corpus: Corpus, recipe: CurateRecipe, context: Context, executor: _Executor, progress: Progress) -> bool:
    made = context.variants
    _need_decisions(corpus, made["decisions"])
    plan = extend_shard_plan(corpus, made["shards"], made["decisions"], recipe.export)
    units = export.pending(corpus, made["shards"])
    if not units:
        return False
    progress.phase(
        "Exporting", {"clips": float(sum(len(plan[f"{u:06d}"]) for u in units)), "shards": float(len(units))}
    )
    executor.run(context, [EXPORT], units)
    return True


class _Executor:
    """Runs stages on units, inline or on Ray; Ray is started at the first need and kept for the run."""

    def __init__(self, options: Options, progress: Progress) -> None:
        self._options = options
        self._progress = progress
        self._stack = contextlib.ExitStack()
        self._ray: Any = None

    def run(self, context: Context, stages: Sequence[Stage], units: Sequence[int]) -> None:
        if self._options.executor == "inline":
            run_inline(context, stages, units, self._progress.handle)
            return
        if self._ray is None:
            self._ray = self._stack.enter_context(ray_session(self._options.ray_address, self._options.jobs))
        run_ray(context, stages, units, self._progress.handle, self._ray)

    def close(self) -> None:
        self._stack.close()


def _record(
    command: str, recipe: CurateRecipe, options: Options, progress: Progress, seconds: float, made: dict[str, Variant]
) -> dict[str, Any]:
    # Not asdict: it would count a Counter's pairs again.
    counts = {f.name: getattr(progress.counts, f.name) for f in fields(progress.counts)}
    return {
        "command": command,
        "started": (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds"),
        "engine": engine_version(),
        "environment": environment(),
        "recipe": recipe.model_dump(mode="json"),
        "options": asdict(options),
        "variants": {table: {"name": v.name, "fingerprint": v.fingerprint} for table, v in made.items()},
        "seconds": round(seconds, 3),
        "decode": {
            "source_frames": counts["source_frames"],
            "scan_frames": counts["source_frames"],
            "rescanned_frames": counts["rescanned_frames"],
            "export_frames": counts["export_frames"],
        },
        "cpu_s": {k: round(v, 3) for k, v in sorted(counts.pop("cpu_s").items())},
        "counts": {k: dict(v) if isinstance(v, Counter) else v for k, v in counts.items()},
    }
