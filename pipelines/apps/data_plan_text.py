"""`stiv data-plan`: what would be trained on and what is left out, for a person. Its JSON form is the report as it is."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.apps.words import brief, hours, number, plural, share


def print_data_plan(report: dict[str, Any], console: Console) -> None:
    """Print a report of :func:`stiv_train.data.plan_report.plan_report`. Text from outside is never taken for markup."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("Corpus", Text(report["corpus"]))
    grid.add_row("Shards", Text(_shards(report)))
    if report["captions"] is not None:
        grid.add_row("Captions", Text(f"`{report['captions']['name']}`, in place of the exported ones"))
    if report["select"] is not None:
        grid.add_row("Selected", Text(brief(report["select"])))
    if report["weight"] is not None:
        grid.add_row("Weight", Text(brief(report["weight"])))
    for wanted, value in report["percentiles"].items():
        column, _, q = wanted.rpartition("@")
        grid.add_row("", Text(f"percentile({column}, {float(q):g}) is {number(value)}", style="dim"))
    grid.add_row("Trained on", Text(_amount(report["train"])))
    grid.add_row("Held out", _held_out(report))
    for item in report["left_out"]:
        what = f"{plural(item['clips'], 'clip')} ({share(item['clips'], report['samples'])}), {item['reason']}: {item['meaning']}"
        grid.add_row("Left out", Text(what))
    grid.add_row("Epoch", Text(_epoch(report)))
    grid.add_row("Plan", Text(report["hash"]))
    console.print(grid, soft_wrap=False)
    console.print()
    console.print(_buckets(report["buckets"]))
    for warning in report["warnings"]:
        console.print(Text(f"\nNote: {warning}", style="yellow"))


def _shards(report: dict[str, Any]) -> str:
    text = f"`{report['shards']['name']}`: {plural(report['samples'], 'sample')}"
    if report["not_exported"]:
        text += f"; {report['not_exported']:,} planned but not exported yet"
    if report["failed"]:
        text += f"; {report['failed']:,} could not be cut"
    return text


def _amount(counts: dict[str, Any]) -> str:
    return f"{plural(counts['clips'], 'clip')}, {hours(counts['seconds'])}, of {plural(counts['sources'], 'source')}"


def _held_out(report: dict[str, Any]) -> Text:
    counts = report["validation"]
    if not counts["clips"]:
        return Text("nothing")
    measured = min(counts["clips"], report["validation_clips"])
    return Text(f"{_amount(counts)}, for validation; loss is measured on {measured:,} of them")


def _epoch(report: dict[str, Any]) -> str:
    visits = number(report["train"]["visits"])
    return (
        f"{visits} visits in {number(report['steps_per_epoch'])} steps; {report['steps']:,} steps are about "
        f"{number(report['epochs'], 3)} epochs"
    )


def _buckets(rows: list[dict[str, Any]]) -> Table:
    table = Table(header_style="bold", show_edge=False, pad_edge=False)
    table.add_column("frames × height × width")
    for name in ("clips", "video", "visits per epoch", "batch", "steps per epoch", "tokens per sample", "held out"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            f"{row['frames']} × {row['height']} × {row['width']}",
            f"{row['clips']:,}",
            hours(row["seconds"]),
            number(row["visits"]),
            f"{row['batch']:,}",
            number(row["steps"]),
            "not known yet" if row["tokens"] is None else f"{row['tokens']:,}",
            f"{row['validation_clips']:,}",
        )
    return table
