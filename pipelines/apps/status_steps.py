"""What to run next with a corpus: from what `stiv status` found to commands."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curation.corpus import FEATURE_TABLES, MEASURED_TABLES, VARIANT_TABLES
from curation.run_records import FAILED, INTERRUPTED, KILLED, command_of
from curation.variants import COMMAND, name_flag
from pipelines.apps.words import plural

if TYPE_CHECKING:
    from pipelines.apps.status_facts import ShardsStatus, Status


@dataclass(frozen=True)
class Step:
    """A command to run next, and why."""

    command: str
    why: str


def _none_yet(table: str) -> str:
    return {
        "text": "no clip was searched for text yet",
        "embeddings": "no clip has a vector yet",
        "scores": "your own scorers have not looked yet",
        "duplicates": "no duplicates were sought yet",
        "checks": "no caption was checked yet",
    }.get(table, f"there are no {table} yet")


OPTIONAL = (*MEASURED_TABLES, "checks")
"""Tables that a recipe may leave out."""


def _made_without(table: str, status: Status) -> bool:
    """Whether what comes after was made already, or what the same command makes beside it: then the table is not wanted."""
    after = VARIANT_TABLES[VARIANT_TABLES.index(table) + 1 :]
    beside = FEATURE_TABLES if table in FEATURE_TABLES else ()
    there = {v.table for v in status.variants}
    return not there.isdisjoint(beside) or not there.isdisjoint(after)


def next_steps(status: Status) -> list[Step]:
    """What to run next, most pressing first: a pure function of what was found. Nothing while somebody else writes the corpus."""
    if status.writer is not None and status.writer.at_work:
        return []
    steps = _missing(status)
    broken = _broken_curate(status)
    if broken is not None and steps:
        steps = [broken]
    if status.retryable and status.scanned_parts == status.planned_parts:
        why = f"{plural(status.retryable, 'source')} failed for a reason that may have passed"
        steps.append(Step(f"stiv retry {shlex.quote(status.corpus)}", why))
    reasons: dict[str, list[str]] = {}
    for step in steps:
        reasons.setdefault(step.command, []).append(step.why)
    return [Step(command, "; ".join(why)) for command, why in reasons.items()]


def _broken_curate(status: Status) -> Step | None:
    """The command that does all that is missing, where the last run was that one and did not come to its end."""
    last: dict[str, Any] = status.last_run or {}
    if status.writer is not None:
        last = {"command": command_of(status.writer.text), "outcome": KILLED}
    how = {INTERRUPTED: "was interrupted", FAILED: "failed", KILLED: "was killed"}.get(last.get("outcome", ""))
    if last.get("command") != "curate" or how is None:
        return None
    own = last.get("options", {}).get("name")
    name = _own_name(status) if own is None else name_flag(own)
    again = f"stiv curate VIDEOS --out {shlex.quote(status.corpus)}{name}"
    return Step(again, f"the last one {how}: the same command as before goes on")


def _missing(status: Status) -> list[Step]:
    """One step for each thing that is missing or stale."""
    where = shlex.quote(status.corpus)
    steps: list[Step] = []
    if not status.planned_parts:
        return [Step(f"stiv plan VIDEOS --out {where}", "no video is planned yet")]
    if not status.scanned_parts:
        if status.variants:
            return [
                Step(f"stiv curate VIDEOS --out {where}", "nothing is scanned yet: the same command as before goes on")
            ]
        return [Step(f"stiv scan {where}", "nothing is scanned yet")]
    missing = status.planned_parts - status.scanned_parts
    if missing:
        why = f"{missing:,} of {plural(status.planned_parts, 'part')} {_is(missing)} not scanned"
        steps.append(Step(f"stiv scan {where}", why))
    own = _own_name(status)
    chain = {table: [v for v in status.variants if v.table == table] for table in VARIANT_TABLES}
    for table, there in chain.items():
        if not there and table in OPTIONAL and _made_without(table, status):
            continue
        if not there:
            steps.append(Step(f"stiv {COMMAND[table]} {where}{own}", _none_yet(table)))
            return steps
        for item in there:
            name = name_flag(item.name)
            if item.stale:
                steps.append(
                    Step(
                        f"stiv {COMMAND[table]} {where}{name} --replace",
                        f"{table} `{item.name}` {'is' if table == 'text' else 'are'} stale: {'; '.join(item.stale)}",
                    )
                )
            elif item.parts_missing:
                steps.append(
                    Step(
                        f"stiv {COMMAND[table]} {where}{name}",
                        f"{table} `{item.name}` {'lacks' if table == 'text' else 'lack'} {plural(item.parts_missing, 'part')}",
                    )
                )
    steps += _measured_only(status)
    if not status.shards:
        steps.append(Step(f"stiv export {where}{own}", "nothing is exported yet"))
    for shards in status.shards:
        name = name_flag(shards.name)
        if shards.stale:
            steps.append(
                Step(
                    f"stiv export {where}{name} --replace",
                    f"shards `{shards.name}` are stale: {'; '.join(shards.stale)}; finished clips are copied, not cut again",
                )
            )
        elif shards.parts_behind:
            steps.append(
                Step(
                    f"stiv export {where}{name}",
                    f"the plan of shards `{shards.name}` does not cover {plural(shards.parts_behind, 'part')}",
                )
            )
        elif shards.finished < shards.planned:
            steps.append(
                Step(
                    f"stiv export {where}{name}",
                    f"{shards.planned - shards.finished:,} of {plural(shards.planned, 'tar')} of `{shards.name}` "
                    f"{_is(shards.planned - shards.finished)} not finished",
                )
            )
        elif shards.failed:
            steps.append(_not_cut(shards, where, name))
    return steps


def _own_name(status: Status) -> str:
    """The ``--name`` that goes on with what there is, where nothing is named `default`."""
    names = sorted({v.name for v in status.variants})
    return name_flag(names[0]) if names and "default" not in names else ""


def _measured_only(status: Status) -> list[Step]:
    """Names under which clips were only measured: nothing was selected with that, under this name or another."""
    used = {name for v in status.variants if v.table == "selections" for name in (v.name, *v.made_from.values())}
    there = {(v.table, v.name) for v in status.variants}
    tables = {table for table, _ in there}
    steps = []
    for name in sorted({name for table, name in there if table in MEASURED_TABLES} - used):
        own = [v for v in status.variants if v.name == name and v.table in MEASURED_TABLES]
        if any(v.stale or v.parts_missing for v in own):
            continue
        flag = name_flag(name)
        to_do = ["select", "caption", *(["check"] if "checks" in tables else []), "judge", "export"]
        if "duplicates" in tables and ("duplicates", name) not in there:
            to_do.insert(0, "dedup")
        then = f"{', '.join(to_do[1:-1])} and {to_do[-1]}" + (f", each with{flag}" if flag else "")
        command = f"stiv {to_do[0]} {shlex.quote(status.corpus)}{flag}"
        steps.append(Step(command, f"`{name}` is only measured so far; then {then}"))
    return steps


def _not_cut(shards: ShardsStatus, where: str, name: str) -> Step:
    """What to do about kept clips that could not be cut."""
    if shards.failed_retry:
        what = f"{plural(shards.failed_retry, 'kept clip')} of shards `{shards.name}` could not be cut; another try may help"
        return Step(f"stiv export {where}{name}", what)
    what = f"{plural(shards.failed, 'kept clip')} of shards `{shards.name}` could not be "
    if shards.cut == "copy":
        return Step(
            f"stiv export {where}{name} --replace --set export.cut=auto", f"{what}copied; `auto` encodes such clips"
        )
    use = f" --use shards={shards.name}" if name else ""
    return Step(
        f'stiv query {where} "SELECT error, count(*) FROM shard_failures GROUP BY error"{use}', f"{what}cut: see why"
    )


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
