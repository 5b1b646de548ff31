"""A story as text on the terminal: numbered chapters, in the order in which things happened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.apps import explain_learned_text as learned
from pipelines.apps.explain_clip import ClipStory, Origin, Ruling
from pipelines.apps.explain_source import SOURCE_FACTS, Reading, Row, SourceStory
from pipelines.apps.query_text import cell
from pipelines.apps.words import brief, clock, hours, number, plural, size

_COLOUR = {
    "kept": "bold green", "dropped": "bold red", "open": "bold yellow", "drop": "red", "pass": "green", "unknown": "yellow",
    "skipped": "dim", "ok": "green", "partial": "yellow", "error": "red",
}  # fmt: skip


def print_explanation(story: ClipStory | SourceStory, console: Console) -> None:
    """Print a story. Text from outside is never taken for markup."""
    printer = _Printer(console)
    if isinstance(story, ClipStory):
        printer.clip(story)
    else:
        printer.source(story)


class _Printer:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._chapter = 0

    # The two stories -----------------------------------------------------------------------------------------------------

    def clip(self, story: ClipStory) -> None:
        verdict = Text.assemble(
            ("Clip ", "bold"), (story.clip_id, "bold"), "  ", (story.outcome, _COLOUR[story.outcome])
        )
        if story.reason:
            verdict.append(f" by {', '.join(story.reasons)}")
        self._say(verdict)
        self._reading(story.reading)
        self._span(story)
        self._head("Measured")
        self._signals(story)
        self._lines(learned.seen(story.looked_at))
        self._head("Stills")
        if story.stills:
            frames = ", ".join(f"{s['frame']:,}" for s in story.stills)
            self._say(f"{plural(len(story.stills), 'JPEG')} in {story.stills_file}, of frames {frames}")
        else:
            self._say("none")
        self._head("Duplicates")
        self._lines(learned.family(story.kinship, sought=story.use["duplicates"] is not None))
        self._head("Rules")
        self._rules(story.rules)
        self._head("Caption")
        self._lines(learned.caption(story.caption))
        if story.caption is not None and story.caption["caption"] is not None:
            self._lines(learned.check(story.check))
        self._head("Decision")
        words = {"kept": "kept", "dropped": f"dropped by {', '.join(story.reasons)}", "open": "not decided yet"}[
            story.outcome
        ]
        self._say(Text(words, style=_COLOUR[story.outcome]))
        self._head("Shard")
        self._shard(story)

    def source(self, story: SourceStory) -> None:
        facts = story.reading.facts
        status = facts["status"] if facts else "not scanned yet"
        self._say(
            Text.assemble(
                ("Source ", "bold"),
                (str(cell(story.reading.listed["rel_path"])), "bold"),
                "  ",
                (status, _COLOUR.get(status, "bold yellow")),
            )
        )
        self._reading(story.reading)
        if facts is None or facts["status"] == "error":
            return
        self._head("Clips and the rest, in order")
        grid = _grid("from", "to", "seconds", "what", "outcome")
        lines: list[tuple[int, list[str | Text]]] = []
        for c in story.clips:
            mark = Text(c["outcome"], style=_COLOUR[c["outcome"]])
            mark.append(
                f" by {c['reason']}" if c["reason"] else f", shard {c['shard']}" if c["shard"] else "", style="default"
            )
            times: list[str | Text] = [clock(c["start_s"]), clock(c["end_s"]), f"{c['duration_s']:.2f}"]
            lines.append((c["start_frame"], [*times, c["clip_id"], mark]))
        for s in story.stretches:
            times = [clock(s.start_s), clock(s.end_s), f"{s.end_s - s.start_s:.2f}"]
            lines.append((s.start_frame, [*times, Text("no clip", style="dim"), Text(s.why, style="dim")]))
        for _, line in sorted(lines, key=lambda x: x[0]):
            grid.add_row(*line)
        self._console.print(grid, soft_wrap=False)
        total = sum(c["duration_s"] for c in story.clips)
        kept = sum(c["outcome"] == "kept" for c in story.clips)
        self._say(
            f"{plural(len(story.clips), 'clip')} ({hours(total)} of {hours(facts['duration_s'])}), {kept:,} kept; {plural(len(story.transitions), 'transition')}"
        )

    # Chapters ------------------------------------------------------------------------------------------------------------

    def _reading(self, reading: Reading) -> None:
        listed, facts = reading.listed, reading.facts
        self._head("Listed")
        grid = _pairs()
        grid.add_row("where", cell(listed["uri"]))
        grid.add_row("relative path", cell(listed["rel_path"]))
        grid.add_row("part", Text(f"{listed['part']:,}"))
        if listed["segments"] > 1:
            grid.add_row("segments", Text(f"{listed['segments']:,}"))
        for name in ("caption", "license", "tags", "extra"):
            if listed[name]:
                grid.add_row(name, cell(listed[name]))
        self._console.print(grid, soft_wrap=False)
        self._head("Read")
        if facts is None:
            self._say(Text("not scanned yet", style="yellow"))
            return
        grid = _pairs()
        grid.add_row("source id", cell(facts["source_id"]))
        status = Text(facts["status"], style=_COLOUR.get(facts["status"], ""))
        if facts["error_code"]:
            status.append(f"  {facts['error_code']}: {reading.error}", style="default")
        grid.add_row("status", status)
        if facts["error"]:
            grid.add_row("in detail", cell(facts["error"]))
        for column in SOURCE_FACTS:
            if facts[column.name] is not None:
                grid.add_row(column.name, _with_unit(facts[column.name], column.unit))
        for line in reading.earlier:
            grid.add_row("earlier", Text(line))
        self._console.print(grid, soft_wrap=False)

    def _span(self, story: ClipStory) -> None:
        span, origin = story.span, story.origin
        self._head("Cut out")
        grid = _pairs()
        grid.add_row(
            "span",
            Text(
                f"{clock(span['start_s'])} to {clock(span['end_s'])} ({span['duration_s']:.2f} s), frames {span['start_frame']:,} to {span['end_frame']:,}, pts {span['start_pts']:,} to {span['end_pts']:,} × {span['time_base']} s"
            ),
        )
        grid.add_row(
            "picture",
            Text(
                f"{span['width']} × {span['height']} px, {span['fps']:.4g} frames/s, {plural(span['num_frames'], 'frame')}, {span['damaged_frames']:,} damaged"
            ),
        )
        grid.add_row("shot", Text(_shot_words(span, origin)))
        grid.add_row("begins", Text(_edge_words(origin.before, origin.trimmed_before, "start", span["piece"] > 0)))
        grid.add_row(
            "ends", Text(_edge_words(origin.after, origin.trimmed_after, "end", span["piece"] < origin.pieces - 1))
        )
        self._console.print(grid, soft_wrap=False)

    def _signals(self, story: ClipStory) -> None:
        grid = _grid("signal", "value", "unit", "percentile", "meaning", right=(1, 3))
        for s in story.signals:
            value = f"{s.value:016x}" if s.name.startswith("phash") and s.value is not None else cell(s.value)
            grid.add_row(
                s.name,
                value,
                Text(s.unit),
                "" if s.percentile is None else f"{s.percentile:.0f}",
                Text(s.meaning, style="dim"),
            )
        self._console.print(grid, soft_wrap=False)
        self._say(Text("percentile: share of the corpus's clips below it, and half of those equal to it", style="dim"))

    def _rules(self, rules: list[Ruling]) -> None:
        if not rules:
            self._say("none have been applied")
            return
        grid = _grid("stage", "rule", "outcome", "drops where", "this clip")
        for rule in rules:
            values = ", ".join(f"{k} = {'NULL' if v is None else cell(v)}" for k, v in rule.values.items())
            sql = Text(brief(rule.drop))
            for call, value in rule.percentiles.items():
                sql.append(f"\n{call} is {number(value)}", style="dim")
            grid.add_row(
                rule.stage, Text(rule.name), Text(rule.outcome, style=_COLOUR[rule.outcome]), sql, Text(values)
            )
        self._console.print(grid, soft_wrap=False)

    def _shard(self, story: ClipStory) -> None:
        shard = story.shard
        if shard is None:
            self._say(f"in none: {story.why_no_shard}")
            return
        how = {"copy": "packets copied from the source", "encode": "encoded anew"}.get(
            shard["shard_how"], shard["shard_how"]
        )
        end = shard["shard_byte_offset"] + shard["shard_byte_size"]
        self._say(
            f"shards/{story.use['shards']}/{shard['shard']}.tar, sample {shard['shard_key']}, bytes {shard['shard_byte_offset']:,} to {end:,} ({size(shard['shard_byte_size'])})"
        )
        self._say(
            f"source frames {shard['shard_start_frame']:,} to {shard['shard_end_frame']:,}, {plural(shard['shard_num_frames'], 'frame')} of {shard['shard_width']} × {shard['shard_height']} px "
            f"at {number(shard['shard_fps'])} frames/s, {how}"
        )

    # Layout --------------------------------------------------------------------------------------------------------------

    def _head(self, text: str) -> None:
        self._chapter += 1
        self._console.print(Text(f"\n{self._chapter}. {text}", style="bold cyan"))

    def _lines(self, lines: Iterable[Text]) -> None:
        for line in lines:
            self._say(line)

    def _say(self, text: str | Text) -> None:
        self._console.print(Text(text) if isinstance(text, str) else text)


def _grid(*columns: str, right: tuple[int, ...] = ()) -> Table:
    grid = Table(show_edge=False, pad_edge=False, header_style="dim", box=None)
    for i, name in enumerate(columns):
        grid.add_column(name, justify="right" if i in right else "left", overflow="fold")
    return grid


def _pairs() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _with_unit(value: Any, unit: str) -> Text:
    text = cell(value)
    return text.append(f" {unit}") if unit else text


def _shot_words(span: Row, origin: Origin) -> str:
    frames = "" if origin.shot_frames is None else f" of {plural(origin.shot_frames, 'frame')}"
    split = f", split into {origin.pieces}; this is piece {span['piece']}" if origin.pieces > 1 else ""
    return f"number {span['shot']}{frames}{split}"


def _edge_words(change: Row | None, trimmed: int, side: str, at_piece: bool) -> str:
    cut_off = f", {plural(trimmed, 'frame')} trimmed" if trimmed else ""
    if at_piece:
        return f"where its shot was split{cut_off}"
    if change is None:
        return f"at the {side} of the source{cut_off}"
    where = (
        clock(change["start_s"])
        if change["start_frame"] == change["end_frame"]
        else f"{clock(change['start_s'])} to {clock(change['end_s'])}"
    )
    return f"at the {change['kind']} at {where} (score {number(change['score'])}, {change['detector']}){cut_off}"
