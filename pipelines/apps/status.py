"""`stiv status`: what a corpus holds, what is missing or stale, and what to run next, for a person."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from curation.run_records import FAILED, INTERRUPTED, KILLED
from pipelines.apps.status_facts import ShardsStatus, Status, VariantStatus, corpus_status
from pipelines.apps.words import brief, hours, plural, size

__all__ = ["Status", "corpus_status", "print_status"]


def print_status(status: Status, console: Console) -> None:
    """Print it. Text from outside is never taken for markup."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("Corpus", Text(f"{status.corpus}  (recipe {status.fingerprint}, engine {status.engine})"))
    grid.add_row(
        "Planned",
        Text(
            f"{plural(status.planned_sources, 'source')} in {plural(status.planned_parts, 'part')}, {size(status.planned_bytes)}"
        ),
    )
    grid.add_row("Scanned", _scanned(status))
    for error in status.errors:
        style = "yellow" if error.status == "partial" else "red"
        again = "; trying again may help" if error.retry else ""
        grid.add_row("", Text(f"{error.sources:,} {error.status}: {error.code} ({error.meaning}{again})", style=style))
    if status.scanned_parts:
        kinds = ", ".join(plural(n, kind) for kind, n in status.transitions.items())
        grid.add_row(
            "Clips",
            Text(f"{status.clips:,}, {hours(status.clip_seconds)}" + (f"; transitions: {kinds}" if kinds else "")),
        )
        for item in status.variants:
            grid.add_row(item.table.capitalize(), _variant(item))
        for shards in status.shards:
            grid.add_row("Shards", _shards(shards))
    if status.writer is not None and status.writer.at_work:
        grid.add_row("At work", Text(f"being written by {status.writer.text}", style="cyan"))
    if last := _last_run(status):
        grid.add_row("Last run", Text(last))
    for change in status.environment:
        grid.add_row("Machine", Text(f"differs from the one that began the corpus: {change}", style="yellow"))
    console.print(grid, soft_wrap=False)
    if status.writer is not None and status.writer.at_work:
        return
    if not status.next:
        console.print(Text("\nEverything is there. Next: look at the report.", style="green"))
        return
    console.print(Text("\nNext:", style="bold"))
    for step in status.next:
        console.print(Text.assemble("  ", (step.command, "cyan"), (f"   # {step.why}", "dim")))


def _scanned(status: Status) -> Text:
    text = Text(f"{status.scanned_parts:,} of {plural(status.planned_parts, 'part')}")
    if status.scanned_parts:
        counts = ", ".join(f"{n:,} {name}" for name, n in status.sources.items())
        text.append(
            f": {plural(sum(status.sources.values()), 'source')} ({counts or 'none'}), {hours(status.source_seconds)} of video"
        )
    return text


def _variant(item: VariantStatus) -> Text:
    text = Text(f"`{item.name}`: {item.passed:,} of {item.rows:,} {item.passed_name}")
    if item.parts_missing:
        text.append(f", {plural(item.parts_missing, 'part')} to do", style="yellow")
    _stale(text, item.stale)
    return text


def _shards(item: ShardsStatus) -> Text:
    text = Text(
        f"`{item.name}`: {item.finished:,} of {plural(item.planned, 'tar')}, {plural(item.samples, 'sample')} "
        f"({hours(item.seconds)}), {size(item.bytes)}"
    )
    if item.failed:
        text.append(f", {plural(item.failed, 'clip')} could not be cut", style="red")
    if item.replaced:
        text.append(f", {plural(item.replaced, 'clip')} lost with sources that were overwritten")
    if item.parts_behind:
        text.append(f", {plural(item.parts_behind, 'part')} not covered by its plan", style="yellow")
    _stale(text, item.stale)
    return text


def _stale(text: Text, reasons: list[str]) -> None:
    if reasons:
        text.append(f", stale: {'; '.join(reasons)}", style="yellow")


def _last_run(status: Status) -> str:
    if status.writer is not None and not status.writer.at_work:
        return f"{status.writer.text}: killed, left no record"
    run = status.last_run
    if run is None:
        return ""
    command, outcome = f"stiv {run.get('command', '?')}", run.get("outcome")
    if outcome == KILLED:
        return f"{command}: killed, left no record, noticed {run['ended']}"
    took = f", took {hours(run['seconds'])}" if isinstance(run.get("seconds"), int | float) else ""
    how = {INTERRUPTED: ", interrupted", FAILED: f", failed: {brief(run.get('error', ''))}"}.get(str(outcome), "")
    return f"{command}{took}, ended {run['ended']}{how}"
