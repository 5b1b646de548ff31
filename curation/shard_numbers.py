"""Numbers of shards: each is given once in the life of a variant, so a tar never has other bytes under its old name. Room: curation.

A training run reads byte ranges of tars by name; where a forgotten shard was, it must find nothing.
"""

from __future__ import annotations

import pyarrow as pa

KEY = b"stiv_next_shard"
"""In the metadata of a shard plan whose last shards were forgotten: the next number to give."""


def next_number(plan: pa.Table) -> int:
    """The first number that no shard of a plan ever had."""
    noted = int((plan.schema.metadata or {}).get(KEY, b"0"))
    return max(noted, _above(plan))


def note_number(plan: pa.Table, following: int) -> pa.Table:
    """The plan, with a note of the next number where its rows alone would tell a smaller one."""
    facts = {k: v for k, v in (plan.schema.metadata or {}).items() if k != KEY}
    if following > _above(plan):
        facts[KEY] = str(following).encode()
    return plan.replace_schema_metadata(facts)


def _above(plan: pa.Table) -> int:
    return max((int(shard) for shard in plan["shard"].to_pylist()), default=-1) + 1
