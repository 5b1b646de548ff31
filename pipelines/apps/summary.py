"""What `stiv curate` says at the end: what was found, what became of it, where it lies, what to do next."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from curation.corpus import Corpus
from curation.planning import Planned
from pipelines.apps.views import connect
from pipelines.progress import Counts
from pipelines.run import Outcome


def summarise(corpus: Corpus, planned: Planned, outcome: Outcome, counts: Counts, name: str) -> dict[str, Any]:
    """Totals of the corpus after a run, as JSON-like values."""
    use = dict.fromkeys(("selections", "captions", "decisions", "shards"), name)
    with connect(corpus, use) as db:

        def rows(sql: str) -> list[tuple[Any, ...]]:
            return db.execute(sql).fetchall()

        (sources, hours), (clips, clip_hours) = (
            rows("SELECT count(*), coalesce(sum(duration_s), 0) / 3600 FROM sources")[0],
            rows("SELECT count(*), coalesce(sum(duration_s), 0) / 3600 FROM clips")[0],
        )
        kept, kept_hours = rows("SELECT count(*), coalesce(sum(duration_s), 0) / 3600 FROM clips_all WHERE kept")[0]
        exported = rows(
            "SELECT count(*), count(DISTINCT shard), coalesce(sum(num_frames), 0), coalesce(sum(byte_size), 0), count(*) FILTER (how = 'copy') FROM shards"
        )[0]
        return {
            "corpus": corpus.store.uri,
            "name": name,
            "worked": outcome.worked,
            "seconds": round(outcome.seconds, 2),
            "planned": asdict(planned),
            "sources": sources,
            "source_hours": hours,
            "by_status": dict(rows("SELECT status, count(*) FROM sources GROUP BY 1 ORDER BY 1")),
            "errors": {
                code: {"status": status, "sources": n}
                for code, status, n in rows(
                    "SELECT error_code, min(status), count(*) FROM sources WHERE error_code IS NOT NULL GROUP BY 1 ORDER BY 3 DESC, 1"
                )
            },
            "clips": clips,
            "clip_hours": clip_hours,
            "kept": kept,
            "kept_hours": kept_hours,
            "dropped_by_reason": dict(
                rows("SELECT reason, count(*) FROM decisions WHERE NOT kept GROUP BY 1 ORDER BY 2 DESC, 1")
            ),
            "rules_unknown": dict(counts.unknown),
            "shards": {
                "samples": exported[0],
                "tars": exported[1],
                "frames": int(exported[2]),
                "mp4_bytes": int(exported[3]),
                "copied": exported[4],
            },
            "shards_folder": corpus.store.full(f"shards/{name}"),
            "failed_cuts": counts.failed_cuts,
            "record": outcome.record,
        }


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """The summary for a person."""
    if not summary["worked"]:
        console.print("[bold green]Nothing to do:[/] everything is there already.")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    shards = summary["shards"]
    status = summary["by_status"]
    grid.add_row(
        "Sources",
        f"{summary['sources']:,} ({_hours(summary['source_hours'])}): {status.get('ok', 0):,} ok, {status.get('partial', 0):,} partial, {status.get('error', 0):,} unreadable",
    )
    for code, entry in summary["errors"].items():
        grid.add_row("", f"  {code}: {entry['sources']:,}")
    share = summary["kept"] / summary["clips"] if summary["clips"] else 0.0
    grid.add_row(
        "Clips",
        f"{summary['clips']:,} ({_hours(summary['clip_hours'])}), kept {summary['kept']:,} ({share:.0%}, {_hours(summary['kept_hours'])})",
    )
    for reason, count in summary["dropped_by_reason"].items():
        grid.add_row("", f"  dropped by {reason}: {count:,}")
    for rule, count in summary["rules_unknown"].items():
        grid.add_row("", f"  [yellow]rule {rule} unknown for {count:,} (a value was not measured)[/]")
    copied = f", {shards['copied']:,} copied without re-encoding" if shards["copied"] else ""
    grid.add_row(
        "Shards",
        f"{shards['samples']:,} samples in {shards['tars']:,} tars, {shards['mp4_bytes'] / 1e6:,.1f} MB of video{copied}",
    )
    if summary["failed_cuts"]:
        grid.add_row(
            "[red]Not cut[/]",
            f"{len(summary['failed_cuts']):,} kept clips, the first: {escape(summary['failed_cuts'][0])}",
        )
    grid.add_row("Where", escape(summary["shards_folder"]))
    if "report" in summary:
        grid.add_row("Report", escape(summary["report"]))
    grid.add_row("Time", f"{summary['seconds']:,.1f} s")
    console.print(grid)
    corpus = escape(summary["corpus"])
    console.print(
        f'\nNext: open the report; [bold]stiv query {corpus} "SELECT reason, count(*) FROM decisions GROUP BY reason"[/]; [bold]stiv explain {corpus} CLIP_ID[/]'
    )


def print_plan(report: dict[str, Any], console: Console) -> None:
    """What a dry run found."""
    console.print(
        f"Would plan {report['new']:,} new sources ({report['bytes'] / 1e9:,.2f} GB) in {report['parts']:,} parts; {report['known']:,} are known already."
    )
    for stage, parts in report["missing"].items():
        console.print(f"  {stage}: {parts:,} parts to do")
    console.print("Nothing was written.")


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{hours * 60:.1f} min" if hours * 60 >= 1 else f"{hours * 3600:.0f} s"
