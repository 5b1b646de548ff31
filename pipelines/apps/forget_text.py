"""What `stiv forget` would do or has done, in words and as JSON. Room: pipelines."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from curation.forgetting import Extent, Forgetting
from curation.forgotten import Tombstone
from pipelines.apps.forget_runs import RunSaw
from pipelines.apps.words import hours, plural, size

MOST = 20
"""Sources and steps written out on a terminal; JSON has them all."""


@dataclass(frozen=True)
class Told:
    """All that there is to say."""

    corpus: str
    forgetting: Forgetting | None
    """None: all of it was forgotten before."""
    extent: Extent | None
    same_content: Sequence[str]
    already: Sequence[Tombstone]
    runs: Sequence[RunSaw] | None
    """None: no folder of runs was named."""

    def as_json(self, *, done: bool) -> dict[str, Any]:
        doomed, extent = self.forgetting, self.extent
        rewritten = {f: n for f, n in doomed.shards.items() if n} if doomed else {}
        return {
            "corpus": self.corpus,
            "done": done,
            "sources": [
                {"uri": i.uri, "rel_path": i.rel_path, "source_id": i.source_id, "part": i.part}
                for i in (doomed.items if doomed else ())
            ],
            "same_content": list(self.same_content),
            "already_forgotten": [asdict(stone) for stone in self.already],
            **({k: v for k, v in asdict(extent).items() if k != "sources"} if extent else {}),
            "shards": rewritten,
            "freed_clips": list(doomed.freed) if doomed else [],
            "made_again": list(doomed.again) if doomed else [],
            "runs": None if self.runs is None else [asdict(run) for run in self.runs],
        }


def print_extent(told: Told, console: Console, *, done: bool) -> None:
    """What goes, or what is gone."""

    def say(text: str) -> None:
        console.print(text, markup=False)

    for stone in told.already:
        say(f"{stone.source_id or 'A source that was never read'} was forgotten on {stone.when}.")
    doomed, extent = told.forgetting, told.extent
    if doomed is None:
        _print_runs(told, console)
        return
    names = list(dict.fromkeys(item.rel_path for item in doomed.items))
    say(f"{'Forgotten' if done else 'To forget'}: {plural(len(names), 'source')}.")
    for name in names[:MOST]:
        say(f"  {name}{' (the same content under another name)' if name in told.same_content else ''}")
    if len(names) > MOST:
        say(f"  … and {len(names) - MOST:,} more (--json lists all)")
    if extent is not None:
        say(f"  clips   {extent.clips:,}, {hours(extent.seconds)}")
        say(f"  stills  {extent.stills:,}, {size(extent.still_bytes)}")
        say(f"  rows    {', '.join(f'{table} {count:,}' for table, count in extent.rows.items()) or 'none'}")
        for name, count in extent.samples.items():
            say(f"  shards  `{name}`: {plural(count, 'sample')} in {plural(len(doomed.shards[name]), 'tar')}")
    if any(new not in (None, old) for numbers in doomed.shards.values() for old, new in numbers.items()):
        what = "stand in tars with new numbers" if done else "go into tars with new numbers, byte for byte"
        say(f"The other samples of those tars {what}; training runs that read the old ones cannot go on, new ones can.")
    if doomed.freed:
        say(
            f"{plural(len(doomed.freed), 'clip')} that had been dropped as duplicates of what goes {'comes' if len(doomed.freed) == 1 else 'come'} back: "
            f"the next `stiv curate`, or dedup to export, takes {plural(len(doomed.again), 'file')} of the stages after `dedup` up again."
        )
    _print_runs(told, console)


def _print_runs(told: Told, console: Console) -> None:
    def say(text: str) -> None:
        console.print(text, markup=False)

    if told.runs is None:
        say("Training runs were not looked at: --runs FOLDER lists those that saw it.")
        return
    if not told.runs:
        say("No training run there has it in its data plan.")
        return
    for run in told.runs:
        if run.error is not None:
            say(f"Training run {run.run}: it cannot be told. {run.error}")
            continue
        held = f" ({run.held_out:,} held out)" if run.held_out else ""
        say(f"Training run {run.run}: {plural(run.clips, 'clip')}{held} in its data plan {run.plan[:12]}")
        if run.visits:
            shown = ", ".join(f"{step:,}" for step in run.steps[:MOST])
            more = f" … and {len(run.steps) - MOST:,} more" if len(run.steps) > MOST else ""
            saved = (
                f"; checkpoints after that: {', '.join(f'{s:,}' for s in run.checkpoints)}" if run.checkpoints else ""
            )
            say(f"  seen {plural(run.visits, 'time')}, in steps {shown}{more}{saved}")
        else:
            say("  no step in its ledger saw it")
    say("Runs are left as they are: their weights, data plans and ledgers are for you to keep or to delete.")


def print_next(told: Told, console: Console) -> None:
    """What to do after it."""
    corpus, doomed = shlex.quote(told.corpus), told.forgetting
    if doomed is not None and doomed.again:
        console.print(
            f"Next: stiv status {corpus} says which stages to run for the clips that come back.", markup=False
        )
    console.print(f"Reports are removed; stiv report {corpus} writes a new one.", markup=False)
    console.print(
        "Not touched: the videos themselves, copies of tars elsewhere, folders of `stiv embed-text` (what an encoder said of captions), "
        "and scratch folders of other machines.",
        markup=False,
    )
