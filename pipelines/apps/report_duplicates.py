"""Duplicates for the report: how many clips gave way on which evidence, and which clusters are worth a look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

CLUSTERS = 6
"""Clusters that are shown."""

MEMBERS = 5
"""Most clips of a cluster that are shown beside the kept one."""

EVIDENCE = {
    "exact": "equal content, equal span",
    "near": "perceptual hashes, proven on stills; likeness is the share of equal bits",
    "semantic": "vectors of what is seen; likeness is their cosine",
}
"""Kind → what it stands on."""


@dataclass(frozen=True)
class KindRow:
    """Clips that gave way on one kind of evidence."""

    kind: str
    clips: int
    seconds: float
    least: float
    """The least likeness among them."""


@dataclass(frozen=True)
class Member:
    """A clip that gave way."""

    clip_id: str
    kind: str
    similarity: float


@dataclass(frozen=True)
class Cluster:
    """A kept clip and those that gave way for it."""

    kept: str
    clips: int
    """How many gave way; more than are in ``members`` where there are many."""
    members: list[Member]
    """The least alike first."""


@dataclass(frozen=True)
class Duplicates:
    """What the search for duplicates came to."""

    looked_at: int
    gave_way: int
    seconds: float
    clusters: int
    largest: int
    """Clips of the largest cluster, the kept one included."""
    kinds: list[KindRow]
    shown: list[Cluster]


COLUMNS = ("duplicate_of", "duplicate_kind", "duplicate_similarity")
"""What is needed of the table `told`."""

_GONE = """
WITH gone AS (
    SELECT clip_id, duplicate_of AS kept, duplicate_kind AS kind, duplicate_similarity AS likeness, duration_s
    FROM told WHERE duplicate_of IS NOT NULL)
"""

# The kinds' names happen to be in the order of their strength, the strongest first.
_CLUSTERS = f"""
{_GONE}, clusters AS (SELECT kept, count(*) AS clips, max(kind) AS kind, min(likeness) AS likeness FROM gone GROUP BY kept),
ranked AS (SELECT *, row_number() OVER (PARTITION BY kind ORDER BY likeness, kept) AS place FROM clusters)
SELECT kept, clips FROM ranked ORDER BY place, kind DESC, kept LIMIT {CLUSTERS}
"""

_MEMBERS = f"""
{_GONE} SELECT kept, clip_id, kind, likeness FROM gone WHERE kept IN (SELECT unnest(?))
QUALIFY row_number() OVER (PARTITION BY kept ORDER BY kind DESC, likeness, clip_id) <= {MEMBERS}
ORDER BY kept, kind DESC, likeness, clip_id
"""


def duplicates(db: duckdb.DuckDBPyConnection) -> Duplicates | None:
    """Count them, and choose clusters to show: of each kind in turn the one with the least likeness, where a mistake would be.

    None: none were sought, or among no clip. ``db`` has the table `told`.
    """

    def rows(sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return db.execute(sql, list(values)).fetchall()

    looked_at = rows("SELECT count(*) FROM duplicates")[0][0]
    if not looked_at:
        return None
    clusters, largest = rows(
        f"{_GONE} SELECT count(*), coalesce(max(n), 0) FROM (SELECT count(*) + 1 AS n FROM gone GROUP BY kept)"
    )[0]
    kinds = [
        KindRow(kind, n, float(seconds), float(least))
        for kind, n, seconds, least in rows(
            f"{_GONE} SELECT kind, count(*), sum(duration_s), min(likeness) FROM gone GROUP BY kind ORDER BY kind"
        )
    ]
    members: dict[str, list[Member]] = {}
    sizes = dict(rows(_CLUSTERS))
    for kept, clip, kind, likeness in rows(_MEMBERS, list(sizes)):
        members.setdefault(kept, []).append(Member(clip, kind, float(likeness)))
    return Duplicates(
        looked_at, sum(k.clips for k in kinds), sum(k.seconds for k in kinds), clusters, largest, kinds,
        [Cluster(kept, n, members[kept]) for kept, n in sizes.items()],
    )  # fmt: skip
