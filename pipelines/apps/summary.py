"""What `stiv curate` says at the end: what was found, what became of it, where it lies, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from curation import variants
from curation.corpus import Corpus
from curation.planning import Planned
from curation.shard_plan import tar_sizes
from curation.views import choose, connect
from pipelines.apps.names import of_name, use_flag
from pipelines.apps.status_facts import meaning, retryable_sources
from pipelines.apps.words import brief, dollars, plural
from pipelines.progress import Counts
from pipelines.record import ratio
from pipelines.run import Outcome

REASONS_TOLD = 5
"""Most reasons of failed cuts that are listed; the report has all codes."""


def summarise(corpus: Corpus, planned: Planned, outcome: Outcome, counts: Counts, name: str) -> dict[str, Any]:
    """Totals of the corpus after a run, as JSON-like values."""
    chosen = choose(corpus, of_name(corpus, name))
    with connect(corpus, chosen) as db:

        def rows(sql: str) -> list[tuple[Any, ...]]:
            return db.execute(sql).fetchall()

        (sources, hours), (clips, clip_hours) = (
            rows("SELECT count(*), coalesce(sum(duration_s), 0) / 3600 FROM sources")[0],
            rows("SELECT count(*), coalesce(sum(duration_s), 0) / 3600 FROM clips")[0],
        )
        kept, kept_hours = rows("SELECT count(*), coalesce(sum(duration_s), 0) / 3600 FROM clips_all WHERE kept")[0]
        exported = rows(
            "SELECT count(*), coalesce(sum(num_frames), 0), coalesce(sum(byte_size), 0), count(*) FILTER (how = 'copy') FROM shards"
        )[0]
        # A tar may be finished without a sample: when none of its clips could be cut.
        shards = variants.load(corpus, "shards", chosen["shards"]) if chosen["shards"] is not None else None
        tars = len(tar_sizes(corpus, shards)) if shards is not None else 0
        analysed, run_ups, source_frames = rows(
            "SELECT coalesce(sum(frames_decoded), 0), coalesce(sum(frames_run_up), 0), coalesce(sum(num_frames), 0) FROM sources"
        )[0]
        decode = {
            "source_frames": int(source_frames),
            "analysis_ratio": ratio(analysed, source_frames),
            "run_up_ratio": ratio(run_ups, source_frames),
            "analysis_frames": counts.analysis_frames,
            "rescanned_frames": counts.rescanned_frames,
            "abandoned_frames": counts.abandoned_frames,
            "export_frames": counts.export_frames,
        }
        looked, with_text = rows("SELECT count(*), count(*) FILTER (text_area > 0) FROM text")[0]
        text = {
            "clips": looked,
            "with_text": with_text,
            "now": counts.looked_clips["text"],
            "stills": counts.looked_stills["text"],
        }
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
            "text": text,
            "asked": {who: dict(told) for who, told in counts.asked.items()},
            "decode": decode,
            "shards": {
                "samples": exported[0],
                "tars": tars,
                "frames": int(exported[1]),
                "mp4_bytes": int(exported[2]),
                "copied": exported[3],
            },
            "shards_folder": corpus.store.full(f"shards/{name}"),
            "a_clip": next((r[0] for r in rows("SELECT min(clip_id) FROM clips")), None),
            "use_flag": use_flag(corpus, chosen),
            "retryable": retryable_sources(db),
            "failed_cuts": [
                {"error_code": code, "error": error, "clips": n, "retry": meaning(code)[0]}
                for code, error, n in rows(
                    "SELECT error_code, error, count(*) FROM shard_failures WHERE error_code <> 'replaced' GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
                )
            ],
            "replaced_clips": rows("SELECT count(*) FROM shard_failures WHERE error_code = 'replaced'")[0][0],
            "record": outcome.record,
        }


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """The summary for a person."""
    if not summary["worked"]:
        console.print("[bold green]Nothing to do:[/] everything is there already.")
    lines: list[tuple[str, str]] = []
    shards, status = summary["shards"], summary["by_status"]
    lines.append(
        (
            "Sources",
            f"{summary['sources']:,} ({_hours(summary['source_hours'])}): {status.get('ok', 0):,} ok, "
            f"{status.get('partial', 0):,} partial, {status.get('error', 0):,} failed",
        )
    )
    lines += [("", f"  {code}: {entry['sources']:,}") for code, entry in summary["errors"].items()]
    share = summary["kept"] / summary["clips"] if summary["clips"] else 0.0
    lines.append(
        (
            "Clips",
            f"{summary['clips']:,} ({_hours(summary['clip_hours'])}), "
            f"kept {summary['kept']:,} ({share:.0%}, {_hours(summary['kept_hours'])})",
        )
    )
    left = summary["source_hours"] - summary["clip_hours"]
    if left * 3600 >= 1:
        lines.append(("", f"  in no clip: {_hours(left)} (transitions, trimming, shots under scan.shots.min_s)"))
    text = summary["text"]
    if text["clips"]:
        lines.append(("", f"  looked at for text: {text['clips']:,}, found in {text['with_text']:,}"))
    lines += [("", f"  dropped by {reason}: {count:,}") for reason, count in summary["dropped_by_reason"].items()]
    lines += [
        ("", f"  rule {rule} unknown for {plural(count, 'clip')} (a value was not measured)")
        for rule, count in summary["rules_unknown"].items()
    ]
    lines += [("Asked", asked(who, told)) for who, told in summary["asked"].items()]
    copied = f", {shards['copied']:,} copied without re-encoding" if shards["copied"] else ""
    video = f"{shards['mp4_bytes'] / 1e6:,.1f} MB of video"
    lines.append(
        ("Shards", f"{plural(shards['samples'], 'sample')} in {plural(shards['tars'], 'tar')}, {video}{copied}")
    )
    if summary["failed_cuts"]:
        lines += _not_cut(summary["failed_cuts"])
    if summary["replaced_clips"]:
        why = "their source was overwritten after its scan, and its new content is a source of its own"
        lines.append(("Left out", f"{plural(summary['replaced_clips'], 'kept clip')}: {why}"))
    lines.append(("Where", summary["shards_folder"]))
    if "report" in summary:
        lines.append(("Report", summary["report"]))
    if summary["decode"]["source_frames"]:
        lines.append(("Decoded", _decoded(summary["decode"])))
    lines.append(("Time", f"{summary['seconds']:,.1f} s"))
    for label, text in lines:
        console.print(f"[bold]{label:<8}[/] {escape(text)}")
    where, flag = shlex.quote(summary["corpus"]), summary["use_flag"]
    console.print("\nNext, for example:")
    if summary["retryable"]:
        why = f"{plural(summary['retryable'], 'source')} failed for a reason that may have passed"
        console.print(f"  stiv retry {where}  # {why}", markup=False)
    console.print(f'  stiv query {where} "SELECT reason, count(*) FROM decisions GROUP BY reason"{flag}', markup=False)
    if summary["a_clip"]:
        console.print(f"  stiv explain {where} {summary['a_clip'][:12]}{flag}", markup=False)


def asked(who: str, told: Mapping[str, float]) -> str:
    """What a chat model was asked in this run, and what that cost."""
    parts = [f"{who}: {plural(int(told.get('asked', 0)), 'question')}"]
    if told.get("reused"):
        parts.append(f"{told['reused']:,.0f} answered before")
    if told.get("failed"):
        parts.append(f"{told['failed']:,.0f} without an answer")
    parts.append(f"{told.get('prompt_tokens', 0):,.0f} tokens sent, {told.get('completion_tokens', 0):,.0f} answered")
    if told.get("usd"):
        parts.append(dollars(told["usd"]))
    return ", ".join(parts)


def _not_cut(failures: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Kept clips that could not be cut, by reason, and what to do about them."""
    again = sum(f["clips"] for f in failures if f["retry"])
    final = [f for f in failures if not f["retry"]]
    lines = [("Not cut", plural(sum(f["clips"] for f in failures), "kept clip"))]
    lines += [("", f"  {f['error_code']}: {f['clips']:,} ({brief(f['error'])})") for f in failures[:REASONS_TOLD]]
    if len(failures) > REASONS_TOLD:
        lines.append(("", f"  and {plural(len(failures) - REASONS_TOLD, 'more reason')}"))
    if again:
        lines.append(("", f"  the next run tries {plural(again, 'clip')} again"))
    if any("cannot be copied" in f["error"] for f in final):
        lines.append(
            (
                "",
                "  what cannot be copied stays out: --set export.cut=auto encodes it; larger export.copy_start_tolerance_s and "
                "export.copy_keyframe_interval_s let more be copied (with --replace, or another --name)",
            )
        )
    elif final:
        lines.append(("", f"  {plural(sum(f['clips'] for f in final), 'clip')} will not be tried again"))
    return lines


def _decoded(decode: dict[str, Any]) -> str:
    """The decode ledger in one line: what stands behind the rows of the tables, from whatever run; and what this run decoded.

    Run-ups at seams, second scans of damaged sources and scans that gave no answer are counted apart.
    """
    kept = f"{plural(decode['source_frames'], 'source frame')} {decode['analysis_ratio']:.2f}x by the scans behind the tables"
    if decode["run_up_ratio"]:
        kept += f", {decode['run_up_ratio']:.2f}x more in run-ups at seams"
    words = {
        "analysis_frames": "for analysis",
        "rescanned_frames": "in scans that were done again",
        "abandoned_frames": "in scans that were cut short",
        "export_frames": "for export",
    }
    now = [f"{decode[key]:,} {word}" for key, word in words.items() if decode[key]]
    return f"{kept}; in this run {', '.join(now)}" if now else kept


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{hours * 60:.1f} min" if hours * 60 >= 1 else f"{hours * 3600:.0f} s"
