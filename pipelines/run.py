"""One run: which variants are read and written, which parts are missing, the stages over them, and the record of it all."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from curation import joined, variants
from curation.corpus import MEASURED_TABLES, VARIANT_TABLES, Corpus
from curation.percentiles import Wanted, measure_percentiles
from curation.shard_plan import extend_shard_plan
from curation.variants import Variant, name_flag
from pipelines import scan_child
from pipelines.apps.words import plural
from pipelines.chain import DEDUP, EXPORT, MEASURING, PART_STAGES, SCAN, Stage
from pipelines.context import Context
from pipelines.dedup_run import find_duplicates
from pipelines.inline_run import run_inline
from pipelines.intent import intent
from pipelines.model_notes import model_notes
from pipelines.prepare import Options, part_stages, prepare_variants
from pipelines.progress import Counts, Progress
from pipelines.ray_run import ray_session, run_ray
from pipelines.record import book_left, make_record, say_killed
from pipelines.stages import export
from pipelines.stages.choose import percentile_key, percentiles_of
from pipelines.variant_settings import TURN_OFF, reads, stored_recipe
from schemas.errors import StorageError, UnansweredError, UsageError
from schemas.recipe import CurateRecipe, Rule

__all__ = ["Options", "Outcome", "missing_parts", "part_stages", "prepare_variants", "run", "stored_recipe"]


@dataclass
class Outcome:
    """What a run did and what there is now."""

    worked: bool
    """False: everything was there already."""
    seconds: float
    variants: dict[str, Variant]
    record: str | None


def run(
    corpus: Corpus, recipe: CurateRecipe, wanted: Sequence[str], options: Options, progress: Progress, command: str
) -> Outcome:
    """Bring a corpus up to date for the wanted stages (`scan`, `features`, `select`, `caption`, `judge`, `export`); do only what is missing.

    Raises:
        VariantError: a variant of that name was made with other settings, or a needed one is missing.
        UsageError: a needed stage has not been run.
        TooManyErrorsError: over the recipe's limit.
        UnansweredError: chat models left questions open; parts without any are done, and nothing beyond that stage is begun.
        KeyboardInterrupt: what is finished is kept.
    """
    began = time.monotonic()
    stages = part_stages(recipe, wanted)
    if wanted and not stages and "export" not in wanted:
        _nothing_wanted(wanted)
    if stages and stages[0] is not SCAN:
        _need(corpus, SCAN.command, "default", corpus.scanned(), corpus.parts())
    # First all that can be wrong, then the first byte.
    if SCAN in stages:
        scan_child.check(recipe.scan)
    foreseen = prepare_variants(corpus, recipe, wanted, options, dry=True)
    if stages:
        _need_inputs(corpus, recipe, stages, foreseen, missing_parts(corpus, stages, foreseen))
    elif "export" in wanted:
        _need_decisions(corpus, foreseen["decisions"])
    after_kill = say_killed(corpus.store, progress)
    if text := intent(corpus, stages, foreseen, exporting="export" in wanted):
        progress.say(text)
    for text in model_notes(recipe, [s.table for s in stages if missing_parts(corpus, [s], foreseen)]):
        progress.handle({"kind": "note", "text": text})
    made = prepare_variants(corpus, recipe, wanted, options)
    context = Context(corpus.store.uri, uuid.uuid4().hex, options.jobs, recipe, made)
    executor = _Executor(options, progress)
    worked = False
    try:
        for group in _phases(stages, made):
            made = _resolve_percentiles(corpus, group, made)
            context = replace(context, variants=made)
            if group == [DEDUP]:
                worked = find_duplicates(corpus, context, executor.run, progress) or worked
                continue
            units = missing_parts(corpus, group, made)
            if units:
                worked = True
                todo = [s for s in group if missing_parts(corpus, [s], made)]
                progress.phase(_title(todo), _totals(corpus, todo, units), last=group[-1].name)
                executor.run(context, group, units)
                _all_answered(progress.counts, len(units))
        if "export" in wanted:
            worked = _export(corpus, recipe, context, executor, progress) or worked
        for table in (*VARIANT_TABLES, "shards"):
            if table in made and made[table].replacing:
                made[table] = variants.switch(corpus, made[table])
                worked = True
    finally:
        executor.close()
        seconds = time.monotonic() - began
        record = None
        if worked or progress.begun or after_kill:  # else the killed one would be the last for ever
            # On a full disk the record fails too: that must not hide the error that is under way.
            with contextlib.suppress(StorageError) if sys.exc_info()[0] else contextlib.nullcontext():
                book_left(corpus.store, progress)
                record = corpus.write_run(make_record(command, recipe, options, progress.counts, seconds, made))
    if "export" in wanted and not progress.counts.failed_cuts:
        # The last stage is complete: nobody will need what was half done.
        corpus.store.clear_scratch(*export.scratch_names(recipe.export))
        corpus.store.clear_scratch("scan")
        corpus.store.clear_scratch("commit")
    return Outcome(worked, seconds, made, record)


def missing_parts(corpus: Corpus, stages: Sequence[Stage], made: dict[str, Variant]) -> list[int]:
    """Parts for which any of the stages has not committed."""
    parts = corpus.parts()
    done = set(parts)
    for stage in stages:
        done &= _finished(corpus, stage, made)
    return [p for p in parts if p not in done]


def _finished(corpus: Corpus, stage: Stage, made: dict[str, Variant]) -> set[int]:
    return corpus.scanned() if stage is SCAN else corpus.done(stage.table, made[stage.table].folder)


def _phases(stages: list[Stage], made: dict[str, Variant]) -> Iterator[list[Stage]]:
    """Stages that may be chained part by part. A percentile over the whole corpus is a barrier too: what it looks at must be complete."""
    group: list[Stage] = []
    for stage in stages:
        awaited = _awaited(stage, made)
        if group and (stage.barrier or group[-1].barrier or any(s in awaited for s in group)):
            yield group
            group = []
        group.append(stage)
    if group:
        yield group


def _awaited(stage: Stage, made: dict[str, Variant]) -> set[Stage]:
    """Stages that must be complete over the whole corpus before this one can begin."""
    wanted = _unresolved(stage, made)
    if not wanted:
        return set()
    known = {name.lower() for name in joined.scan_schema().names}
    if all(column.lower() in known for column, _ in wanted):
        return {SCAN}
    read = (*MEASURED_TABLES, *(("captions", "checks") if _beyond_select(wanted) else ()))
    return {s for s in PART_STAGES[: PART_STAGES.index(stage)] if s is SCAN or s.table in read}


def _beyond_select(wanted: Sequence[Wanted]) -> bool:
    """Whether percentiles are wanted of what is only known of captioned clips."""
    known = {name.lower() for name in joined.select_schema().names}
    return any(column.lower() not in known for column, _ in wanted)


def _unresolved(stage: Stage, made: dict[str, Variant]) -> list[Wanted]:
    """The percentiles that a stage's rules ask for and that have not been worked out."""
    variant = made.get(stage.table)
    if variant is None or variant.resolved or "rules" not in variant.settings:
        return []
    return percentiles_of([Rule.model_validate(r) for r in variant.settings["rules"]])


def _resolve_percentiles(corpus: Corpus, stages: Sequence[Stage], made: dict[str, Variant]) -> dict[str, Variant]:
    made = dict(made)
    for stage in stages:
        wanted = _unresolved(stage, made)
        if not wanted:
            continue
        for other in sorted(_awaited(stage, made) - set(stages), key=PART_STAGES.index):
            if other is SCAN or other.table in made:
                name = "default" if other is SCAN else made[other.table].name
                _need(corpus, other.command, name, _finished(corpus, other, made), corpus.parts())
        values = measure_percentiles(_columns(corpus, wanted, made), wanted)
        numbers = {percentile_key(w): values[w] for w in wanted}
        made[stage.table] = variants.resolve(corpus, made[stage.table], {"percentiles": numbers})
    return made


def _columns(corpus: Corpus, wanted: Sequence[Wanted], made: dict[str, Variant]) -> Iterator[pa.Table]:
    """The wanted columns of the wide rows, part by part, under the names that were asked for (SQL does not mind case)."""
    names = {n.lower(): n for n in joined.caption_schema().names}
    captioned = _beyond_select(wanted)
    folders = {table: made[table].folder for table in MEASURED_TABLES if table in made}
    for part in sorted(corpus.scanned()):
        there = {t: f for t, f in folders.items() if corpus.store.exists(corpus.path(t, part, f))}
        wide = joined.read_measured(corpus, part, there)
        if captioned:
            checks = made.get("checks")
            wide = joined.add_captions(wide, corpus.read("captions", part, made["captions"].folder))
            wide = joined.add_checks(wide, None if checks is None else corpus.read("checks", part, checks.folder))
        yield pa.table({column: wide.column(names[column.lower()]) for column, _ in wanted if column.lower() in names})


def _need_inputs(
    corpus: Corpus, recipe: CurateRecipe, stages: Sequence[Stage], made: dict[str, Variant], units: Sequence[int]
) -> None:
    """What the first of the stages reads must be there for every part."""
    for table in reads(recipe, stages[0].table) if stages[0] is not SCAN else ():
        if not any(s.table == table for s in stages):
            done = corpus.done(table, made[table].folder)
            _need(corpus, variants.COMMAND[table], made[table].name, done, units)


def _need(corpus: Corpus, command: str, name: str, done: set[int], units: Sequence[int]) -> None:
    lacking = [u for u in units if u not in done]
    if lacking:
        raise UsageError(
            f"{len(lacking)} of {len(corpus.parts())} parts have not been through `{command}` yet.",
            fix=f"Run `stiv {command} {shlex.quote(corpus.store.uri)}{name_flag(name)}` first.",
        )


def _nothing_wanted(wanted: Sequence[str]) -> None:
    """Say which setting has turned off all that a command does."""
    off = [TURN_OFF[s.table] for s in PART_STAGES if s.command in wanted and s.table in TURN_OFF]
    keys = " and ".join(setting.replace("=", " is ") for setting in off)
    raise UsageError(
        f"`stiv {' '.join(wanted)}` has nothing to do: {keys}.",
        fix=f"Run with --set {off[0].replace('false', 'true')}." if off else "",
    )


def _title(stages: Sequence[Stage]) -> str:
    if SCAN in stages:
        return "Scanning"
    if any(s in MEASURING for s in stages):
        return "Looking at stills"
    return "Captioning and deciding" if any(s.command in ("caption", "check") for s in stages) else "Deciding"


def _totals(corpus: Corpus, stages: Sequence[Stage], units: Sequence[int]) -> dict[str, float]:
    if SCAN not in stages:
        return {"parts": float(len(units))}
    sources = size = 0
    scanned = corpus.scanned()
    for part in units:
        if part not in scanned:
            rows = corpus.read("plan", part, columns=["bytes", "segment"]).to_pylist()
            first = [row["bytes"] or 0 for row in rows if row["segment"] == 0]
            sources += len(first)
            size += sum(first)
    return {"sources": float(sources), "parts": float(len(units)), "bytes": float(size)}


def _all_answered(counts: Counts, parts: int) -> None:
    if counts.unanswered:
        questions = plural(counts.unanswered.total(), "question has", "questions have")
        raise UnansweredError(
            f"{questions} no answer, for a reason that may pass (such as {counts.unanswered_why}); "
            f"unfinished because of that: {len(counts.unanswered)} of {plural(parts, 'part')}.",
            fix="Run the same command again: it asks only these again, for every answer so far is kept.",
        )


def _need_decisions(corpus: Corpus, decisions: Variant) -> None:
    lacking = set(corpus.parts()) - corpus.done("decisions", decisions.folder)
    if lacking:
        raise UsageError(
            f"{len(lacking)} of {len(corpus.parts())} parts have no decisions yet.",
            fix=f"Run `stiv judge {shlex.quote(corpus.store.uri)}{name_flag(decisions.name)}` first.",
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
