"""What is going on: counts, rates and ETA, on a live display where there is a terminal, as plain lines where there is none."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from curation.frame_note import Frames
from pipelines.apps.words import dollars, elapsed, plural
from pipelines.context import Event
from schemas.errors import TooManyErrorsError
from schemas.recipe import Scan

LINE_EVERY_S = 10.0

_TABLE = {"text": "text", "embed": "embeddings", "score": "scores"}
"""Stages that measure stills → table."""


@dataclass
class Counts:
    """What a run has done so far. Goes into the run's record as it is."""

    sources: int = 0
    resumed_sources: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    clips: int = 0
    video_s: float = 0.0
    parts: Counter[str] = field(default_factory=Counter)
    selected: int = 0
    judged: int = 0
    kept: int = 0
    cut: Counter[str] = field(default_factory=Counter)
    cut_s: float = 0.0
    resumed_cuts: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    captioners: Counter[str] = field(default_factory=Counter)
    looked_clips: Counter[str] = field(default_factory=Counter)
    """Table of features → clips measured; the others likewise."""
    looked_stills: Counter[str] = field(default_factory=Counter)
    looked_reused: Counter[str] = field(default_factory=Counter)
    looked_skipped: Counter[str] = field(default_factory=Counter)
    asked: dict[str, Counter[str]] = field(default_factory=dict)
    """Chat model → questions asked, reused, failed, retries, tokens, and cost in US dollars."""
    unanswered: Counter[int] = field(default_factory=Counter)
    """Part that was left unfinished → questions without an answer, for a reason that may pass."""
    unanswered_why: str = ""
    """Of one of them."""
    source_frames: int = 0
    """Of the sources and segments that this run analysed; what an earlier run had finished is not among them."""
    analysis_frames: int = 0
    """Decoded by this run, as all of the following."""
    run_up_frames: int = 0
    rescanned_frames: int = 0
    abandoned_frames: int = 0
    """Of scans that gave no answer: interrupted, crashed, over their time. As far as they are known: to a quarter of a second."""
    export_frames: int = 0
    cpu_s: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    """What a stage found out, in words, as opposed to ``notes``: what people should look at."""
    notes: list[str] = field(default_factory=list)
    failed_cuts: list[str] = field(default_factory=list)


class Progress:
    """Takes events of a run, shows them, and stops the run when too many sources fail."""

    def __init__(self, console: Console, *, limit: Scan, quiet: bool = False) -> None:
        self.counts = Counts()
        self._console = console
        self._limit = limit
        self._quiet = quiet
        self._live: Live | None = None
        self._phase = ""
        self._total: dict[str, float] = {}
        self._done: dict[str, float] = {}
        self._began = time.monotonic()
        self._phase_began = self._began
        self._fresh = 0.0
        self._last_line = 0.0
        self._last: str | None = None
        self._seen: dict[int, set[str | None]] = {}
        self._stuck: dict[int, str] = {}

    # Phases ----------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Progress:
        if not self._quiet and self._console.is_terminal:
            self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def phase(self, name: str, totals: dict[str, float], last: str | None = None) -> None:
        """Begin a phase. ``totals``: how much there is of what (sources, bytes, clips, parts); ``last``: stage that ends a part."""
        self._phase, self._total, self._done, self._last = name, totals, {}, last
        self._phase_began, self._fresh = time.monotonic(), 0.0
        if self._live is None and not self._quiet:
            what = ", ".join(plural(int(n), key.removesuffix("s")) for key, n in totals.items() if key != "bytes")
            self._console.print(f"{name}: {what}", highlight=False)
            self._last_line = time.monotonic()

    @property
    def begun(self) -> bool:
        """Whether there was anything to do."""
        return bool(self._phase)

    def say(self, text: str) -> None:
        """A line for people, above the display."""
        if not self._quiet:
            self._console.print(text, highlight=False, markup=False)

    def handle(self, event: Event) -> None:
        """Take one event.

        Raises:
            TooManyErrorsError: the share of failed sources is over the recipe's limit.
        """
        self._takers[event["kind"]](self, event)
        if self._live is None and not self._quiet and self.begun and time.monotonic() - self._last_line > LINE_EVERY_S:
            self._last_line = time.monotonic()
            self._console.print(self._line(), highlight=False)

    def book(self, frames: Frames) -> None:
        """Enter what was decoded for analysis into the ledger."""
        c = self.counts
        c.analysis_frames += frames.used
        c.run_up_frames += frames.run_up
        c.rescanned_frames += frames.again
        c.abandoned_frames += frames.lost

    # Events ----------------------------------------------------------------------------------------------------------

    def _source(self, event: Event) -> None:
        c = self.counts
        self.book(event["frames"])
        seen = self._seen.setdefault(event.get("part", 0), set())
        if event.get("uri") in seen:
            return  # told once before its worker died
        seen.add(event.get("uri"))
        c.sources += 1
        c.statuses[event["status"]] += 1
        if event["error_code"]:
            c.errors[event["error_code"]] += 1
        c.clips += event["clips"]
        c.video_s += event["video_s"]
        c.source_frames += event["source_frames"]
        size = float(event.get("bytes") or 0)
        self._done["sources"] = self._done.get("sources", 0) + 1
        self._done["bytes"] = self._done.get("bytes", 0) + size
        if event.get("resumed"):
            c.resumed_sources += 1
        else:
            self._fresh += event["video_s"]
            c.cpu_s.update(event["cpu_s"])
        failed = c.statuses["error"]
        if c.sources >= self._limit.error_rate_after and failed > self._limit.error_rate_limit * c.sources:
            common = ", ".join(f"{code} × {n}" for code, n in c.errors.most_common(3))
            raise TooManyErrorsError(
                f"{failed} of {c.sources} sources could not be read ({common}), which is over scan.error_rate_limit = {self._limit.error_rate_limit:g}.",
                fix="Look at the input; to go on all the same, raise the limit with --set scan.error_rate_limit=1. What was scanned is kept.",
            )

    def _part(self, event: Event) -> None:
        c = self.counts
        c.parts[event["stage"]] += 1
        if self._stuck.get(event["part"]) == event["stage"]:  # its worker died, and the next one had its answers
            del c.unanswered[event["part"]]
        if event["stage"] == self._last:
            for unit in ("parts", "tasks"):
                self._done[unit] = self._done.get(unit, 0) + 1
        if event["stage"] == "scan":
            self._seen.pop(event["part"], None)
        if event["stage"] in _TABLE:
            c.looked_reused[_TABLE[event["stage"]]] += event.get("reused", 0)
            c.looked_skipped[_TABLE[event["stage"]]] += event.get("skipped", 0)
        elif event["stage"] == "select":
            c.selected += event["kept"]
        elif event["stage"] == "judge":
            c.judged += event["clips"]
            c.kept += event["kept"]
        elif event["stage"] == "caption":
            c.captioners.update(event["captioners"])
        c.unknown.update(event.get("unknown", {}))

    def _feature(self, event: Event) -> None:
        c = self.counts
        c.looked_clips[event["feature"]] += event["clips"]
        c.looked_stills[event["feature"]] += event["stills"]
        c.cpu_s[event["feature"]] += event["cpu_s"]

    def _captioned(self, event: Event) -> None:
        self._done["captioned"] = self._done.get("captioned", 0) + event["clips"]

    def _asked(self, event: Event) -> None:
        told = self.counts.asked.setdefault(event["who"], Counter())
        told.update({key: value for key, value in event.items() if key not in ("kind", "who")})

    def _unanswered(self, event: Event) -> None:
        self.counts.unanswered[event["part"]] = event["questions"]  # told again where its worker died
        self._stuck[event["part"]] = event["stage"]
        self.counts.unanswered_why = event["why"]

    def _clip(self, event: Event) -> None:
        c = self.counts
        c.cut[event["how"]] += 1
        c.cut_s += event["clip_s"]
        c.export_frames += event["frames"]
        self._done["clips"] = self._done.get("clips", 0) + 1
        if event.get("resumed"):
            c.resumed_cuts += 1
        else:
            self._fresh += event["clip_s"]
        if event["how"] == "failed":
            c.failed_cuts.append(f"{event['uri']}: {event['error']}")

    def _note(self, event: Event) -> None:
        self.counts.notes.append(event["text"])
        if not self._quiet:
            self._console.print(f"note: {event['text']}", style="yellow", highlight=False, markup=False)

    def _found(self, event: Event) -> None:
        self.counts.found.append(event["text"])
        self.say(event["text"])

    _takers: ClassVar[dict[str, Callable[[Progress, Event], None]]] = {
        "source": _source,
        "part": _part,
        "feature": _feature,
        "captioned": _captioned,
        "asked": _asked,
        "unanswered": _unanswered,
        "clip": _clip,
        "note": _note,
        "found": _found,
    }

    # Display ---------------------------------------------------------------------------------------------------------

    def share(self) -> float:
        """How much of the phase is done, 0..1: by bytes where they are known, else by count."""
        for key in ("bytes", "sources", "clips", "parts", "tasks"):
            total = self._total.get(key, 0)
            if total > 0:
                return min(1.0, self._done.get(key, 0) / total)
        return 0.0

    def eta_s(self) -> float | None:
        """Seconds left in this phase at the rate so far, or None while it cannot be told."""
        share, spent = self.share(), time.monotonic() - self._phase_began
        return spent * (1 - share) / share if share > 0.02 else None

    def facts(self) -> list[tuple[str, str]]:
        """What the display says, label by label."""
        c, spent = self.counts, max(1e-9, time.monotonic() - self._phase_began)
        unit = next((u for u in ("clips", "sources", "tasks") if u in self._total), "parts")
        facts = [(unit, f"{self._done.get(unit, 0):,.0f}/{self._total.get(unit, 0):,.0f}")]
        if unit == "sources":
            facts.append(("clips", f"{c.clips:,}"))
        if self._fresh > 0:
            facts.append(("speed", f"{self._fresh / spent:,.1f} source h/h"))
        if c.looked_clips:
            facts.append(("looked at", f"{max(c.looked_clips.values()):,}"))
        if self._done.get("captioned"):
            facts.append(("captioned", f"{self._done['captioned']:,.0f}"))
        usd = sum(float(told["usd"]) for told in c.asked.values())
        if usd:
            facts.append(("spent", dollars(usd)))
        if c.judged:
            facts.append(("kept", f"{c.kept / c.judged:.0%}"))
        failed = c.statuses["error"] + c.cut["failed"]
        facts.append(("errors", f"{failed:,}"))
        eta = self.eta_s()
        facts.append(("ETA", elapsed(eta) if eta is not None else "–"))
        return facts

    def _line(self) -> str:
        return f"{self._phase}: {self.share():.0%}, " + ", ".join(f"{label} {value}" for label, value in self.facts())

    def _render(self) -> Any:
        grid = Table.grid(padding=(0, 2))
        labels, values = zip(*[("elapsed", elapsed(time.monotonic() - self._began)), *self.facts()], strict=True)
        grid.add_row(*[Text(label, style="dim") for label in labels])
        grid.add_row(
            *[
                Text(value, style="red" if label == "errors" and value != "0" else "bold")
                for label, value in zip(labels, values, strict=True)
            ]
        )
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            Text(self._phase, style="bold cyan"),
            ProgressBar(total=1.0, completed=self.share(), width=40),
            Text(f"{self.share():.0%}"),
        )
        return Group(bar, grid)
