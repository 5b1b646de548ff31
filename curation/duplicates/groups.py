"""Which parts are searched together, what is written meanwhile, and where.

Below the variant's folder: ``groups.json``; ``looks/``, one file for each part, kept because parts planned later are compared with them;
``cells/``, the centres of cells, named by the group for which they were found; and ``work/``, what is found, until the rows are written.

A *group* is the parts that are searched in one go. It is written down before the search begins, so that a run that takes up a killed one
searches the same parts, and ends with the same bytes, even if more parts have been planned since.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from curation.corpus import Corpus, part_name
from curation.duplicates import near
from curation.duplicates.near import Bucket
from curation.variants import Variant
from schemas.recipe_learned import Dedup

ROWS = 2_000_000
"""Clips that one task compares at most, about: 300 MB."""
VECTOR_BYTES = 256_000_000
"""Vectors that one task compares at most, about."""


@dataclass(frozen=True)
class Group:
    """Parts ``first`` .. ``upto`` − 1 are searched; those before ``first`` were searched earlier."""

    number: int
    first: int
    upto: int

    @property
    def parts(self) -> range:
        return range(self.first, self.upto)


@dataclass(frozen=True)
class Plan:
    """Into how many tasks each search of a group is cut; 0 where it is not wanted, or there is nothing to compare."""

    exact: int
    near: int
    cells: int

    def tasks(self) -> list[tuple[str, int | Bucket]]:
        """All tasks: the kind of search, and which share of it. A task's number is its place here."""
        return [
            *(("exact", i) for i in range(self.exact)),
            *(("near", bucket) for bucket in (near.buckets(self.near) if self.near else ())),
            *(("semantic", i) for i in range(self.cells)),
        ]


def next_group(corpus: Corpus, variant: Variant) -> Group | None:
    """The first group whose rows are not complete; begins a new one when parts have been planned since the last. None: all is done."""
    groups = written(corpus, variant)
    done = corpus.done("duplicates", variant.folder)
    for group in groups:
        if not done.issuperset(group.parts):
            return group
    first, planned = groups[-1].upto if groups else 0, len(corpus.parts())
    if first >= planned:
        return None
    uptos = [*(g.upto for g in groups), planned]
    corpus.store.commit_bytes(_groups_path(variant), (json.dumps({"groups": uptos}) + "\n").encode())
    return Group(len(groups), first, planned)


def written(corpus: Corpus, variant: Variant) -> list[Group]:
    """The groups that were begun, in order."""
    if not corpus.store.exists(_groups_path(variant)):
        return []
    uptos = json.loads(corpus.store.read_bytes(_groups_path(variant)))["groups"]
    return [Group(i, first, upto) for i, (first, upto) in enumerate(zip([0, *uptos], uptos, strict=False))]


def make_plan(settings: Dedup, clips: int, vectors: int, width: int) -> Plan:
    """A search over so many clips, and so many vectors of ``width`` numbers. Where there are none, there is no task."""
    slices = -(-clips // ROWS)
    return Plan(
        exact=slices if settings.exact else 0,
        near=slices if settings.near.enabled else 0,
        cells=-(-vectors * width * 4 // VECTOR_BYTES) if settings.semantic.enabled else 0,
    )


def write_plan(corpus: Corpus, variant: Variant, group: Group, plan: Plan) -> None:
    corpus.store.commit_bytes(_plan_path(variant, group), (json.dumps(asdict(plan)) + "\n").encode())


def read_plan(corpus: Corpus, variant: Variant, group: Group) -> Plan | None:
    """The plan that was written, or None."""
    path = _plan_path(variant, group)
    return Plan(**json.loads(corpus.store.read_bytes(path))) if corpus.store.exists(path) else None


def looks_path(variant: Variant, part: int) -> str:
    return f"{variant.path}/looks/{part_name(part)}.parquet"


def vectors_path(variant: Variant, part: int) -> str:
    """Vectors of a part's clips as float16, one after the other, in the order of their cells."""
    return f"{variant.path}/looks/{part_name(part)}.f16"


def cells_path(variant: Variant, group: Group) -> str:
    """Centres of cells that were found for a group; later ones use them too."""
    return f"{variant.path}/cells/{group.number:04d}.npy"


def fitted(corpus: Corpus, variant: Variant) -> Group | None:
    """The latest group for which cells were found, or None."""
    there = set(corpus.store.names(f"{variant.path}/cells"))
    return next((g for g in reversed(written(corpus, variant)) if f"{g.number:04d}.npy" in there), None)


def clear_older_cells(corpus: Corpus, variant: Variant, last: Group) -> None:
    """Delete the centres that were used before those of group ``last``."""
    kept = cells_path(variant, last)
    for name in corpus.store.names(f"{variant.path}/cells"):
        if (path := f"{variant.path}/cells/{name}") != kept:
            corpus.store.remove(path)


def clear_work(corpus: Corpus, variant: Variant) -> None:
    """Delete what was found, when the rows are written."""
    corpus.store.remove(f"{variant.path}/work")


def work_path(variant: Variant, group: Group) -> str:
    return f"{variant.path}/work/{group.number:04d}"


def pairs_path(variant: Variant, group: Group, task: int) -> str:
    return f"{work_path(variant, group)}/{task:06d}.parquet"


def _plan_path(variant: Variant, group: Group) -> str:
    return f"{work_path(variant, group)}/plan.json"


def _groups_path(variant: Variant) -> str:
    return f"{variant.path}/groups.json"
