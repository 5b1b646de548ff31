"""The search for duplicates as a run does it: the one step that waits for all parts, itself made of many tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from curation.corpus import Corpus
from pipelines.chain import DEDUP, DEDUP_LOOK, DEDUP_SEARCH, Stage
from pipelines.context import Context
from pipelines.progress import Progress
from pipelines.stages import dedup

Run = Callable[[Context, Sequence[Stage], Sequence[int]], None]


def find_duplicates(corpus: Corpus, context: Context, run: Run, progress: Progress) -> bool:
    """Search every group of parts that has no rows yet; whether there was one.

    Args:
        run: runs stages on units and waits for them.
    """
    worked = False
    variant = context.variants[DEDUP.table]
    while (group := dedup.prepare(corpus, context.variants)) is not None:
        worked = True
        parts = dedup.looks_missing(corpus, variant, group)
        if parts:
            progress.phase("Looking for duplicates: gathering", {"parts": float(len(parts))}, last=DEDUP_LOOK.name)
            run(context, [DEDUP_LOOK], parts)
        tasks = dedup.tasks_missing(corpus, variant, group)
        if tasks:
            progress.phase("Looking for duplicates: comparing", {"tasks": float(len(tasks))}, last=DEDUP_SEARCH.name)
            run(context, [DEDUP_SEARCH], tasks)
        dedup.finish(corpus, variant, group, progress.handle)
    return worked
