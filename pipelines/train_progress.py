"""How training stands: on a live display where there is a terminal, as plain lines where there is none."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipelines.apps.words import elapsed
from stiv_train.events import Event, Note, Progress, Saved, Validated

LINE_EVERY_S = 10.0
WAITS_TOO_MUCH = 0.2
"""Share of waiting for data above which the number is red."""


class TrainProgress:
    """Takes events of the loop and shows them."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._live: Live | None = None
        self._now: Progress | None = None
        self._validated: Validated | None = None
        self._began = time.monotonic()
        self._last_line = float("-inf")

    def __enter__(self) -> TrainProgress:
        if not self._quiet and self._console.is_terminal:
            self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def handle(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, Progress):
            self._now = event
            due = time.monotonic() - self._last_line >= LINE_EVERY_S or event.step == event.steps
            if self._live is None and due:
                self._last_line = time.monotonic()
                self._say(event.line())
        elif isinstance(event, Validated):
            better = self._validated is None or event.loss < self._validated.loss
            self._validated = event
            self._say(f"step {event.step:,} · validation loss {event.loss:.4f}{'' if better else ' (rose)'}")
        elif isinstance(event, Saved):
            self._say(f"step {event.step:,} · {event.what} saved: {event.path}")
        elif isinstance(event, Note):
            self._say(f"note: {event.text}", style="yellow")

    def _say(self, text: str, style: str | None = None) -> None:
        if not self._quiet:
            self._console.print(text, style=style, markup=False, highlight=False)

    def facts(self) -> list[tuple[str, str]]:
        """What the display says, label by label."""
        facts = [("elapsed", elapsed(time.monotonic() - self._began))]
        if self._now is not None:
            facts += [
                ("step", f"{self._now.step:,}/{self._now.steps:,}"),
                ("loss", f"{self._now.loss:.4f}"),
                ("samples/s", f"{self._now.samples_per_s:,.1f}"),
                ("waiting for data", f"{self._now.wait_share:.0%}"),
                ("ETA", elapsed(self._now.eta_s)),
            ]
        if self._validated is not None:
            facts.append(("validation", f"{self._validated.loss:.4f} (step {self._validated.step:,})"))
        return facts

    def _render(self) -> Any:
        labels, values = zip(*self.facts(), strict=True)
        grid = Table.grid(padding=(0, 2))
        grid.add_row(*[Text(label, style="dim") for label in labels])
        waits = self._now is not None and self._now.wait_share > WAITS_TOO_MUCH
        styles = ["bold red" if waits and label == "waiting for data" else "bold" for label in labels]
        grid.add_row(*[Text(value, style=style) for value, style in zip(values, styles, strict=True)])
        share = self._now.step / self._now.steps if self._now is not None else 0.0
        bar = Table.grid(padding=(0, 1))
        title = "Training" if self._now is not None else "Preparing"
        bar.add_row(
            Text(title, style="bold cyan"), ProgressBar(total=1.0, completed=share, width=40), Text(f"{share:.0%}")
        )
        return Group(bar, grid)
