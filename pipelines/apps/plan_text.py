"""What was listed and planned, or would be, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from curation.planning import Planned
from pipelines.apps.words import plural, size

ENDINGS_TOLD = 3
"""Most endings that are named of files that were left out; JSON has all."""


def print_planned(planned: Planned, left_out: Mapping[str, int], console: Console) -> None:
    """What planning did.

    Args:
        left_out: ending → files of the folders that are no sources because of it.
    """
    found = planned.new + planned.known + planned.changed
    known = f", {planned.known:,} known already" if planned.known else ""
    changed = f", {planned.changed:,} with new content" if planned.changed else ""
    parts = f", in {plural(len(planned.parts), 'new part')}" if planned.parts else ""
    forgotten = f" Forgotten (`stiv forget`) and left out: {planned.forgotten:,}." if planned.forgotten else ""
    console.print(f"Found {plural(found, 'source')}: {planned.new:,} new{changed}{known}{parts}.{forgotten}")
    _print_left_out(left_out, console)


def _print_left_out(left_out: Mapping[str, int], console: Console) -> None:
    if left_out:
        console.print(f"Left out: {others(left_out)}; name such a file by itself to have it looked into.", markup=False)


def others(left_out: Mapping[str, int]) -> str:
    """``31 files with other endings (20 .jpg, 9 .webp, 1 .png, …)``."""
    common = Counter(left_out).most_common()
    named = [f"{count:,} {ending or 'without an ending'}" for ending, count in common[:ENDINGS_TOLD]]
    more = ["…"] if len(common) > ENDINGS_TOLD else []
    return f"{plural(sum(left_out.values()), 'file')} with other endings ({', '.join([*named, *more])})"


def print_plan(report: dict[str, Any], console: Console) -> None:
    """What a dry run found."""
    console.print(
        f"Would plan {plural(report['new'], 'new source')} ({size(report['bytes'])}) in {plural(report['parts'], 'part')}; "
        f"{report['known']:,} are known already."
    )
    _print_left_out(report["left_out"], console)
    if report["makes"] is not None:
        console.print(report["makes"], markup=False)
    for stage, parts in report["missing"].items():
        console.print(f"  {stage}: {plural(parts, 'part')} to do")
    if report["missing"]:
        console.print("  export: what will be kept and is not in a shard yet")
    console.print("Nothing was written.")
