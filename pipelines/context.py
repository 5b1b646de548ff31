"""What a worker needs to know to run a stage on a part, small enough to send to any machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from curation.corpus import Corpus
from curation.variants import Variant
from pipelines.children import Children
from schemas.recipe import CurateRecipe

Event = dict[str, Any]
"""Something that happened, for the progress display and the run's record. ``kind`` is `source`, `part`, `clip` or `note`."""

Emit = Callable[[Event], None]


@dataclass(frozen=True)
class Context:
    """One run: which corpus, which settings, which variants are read and written. Can be sent to another process."""

    uri: str
    run_id: str
    jobs: int
    recipe: CurateRecipe
    variants: dict[str, Variant] = field(default_factory=dict)
    """Table → the variant in use."""


class Worker:
    """A context at work: the opened corpus, the pool of children, and where events go."""

    def __init__(self, context: Context, emit: Emit) -> None:
        self.context = context
        self.emit = emit
        self.children = Children(context.jobs)

    @cached_property
    def corpus(self) -> Corpus:
        return Corpus.open(self.context.uri)

    def variant(self, table: str) -> Variant:
        return self.context.variants[table]

    def close(self) -> None:
        self.children.stop()
