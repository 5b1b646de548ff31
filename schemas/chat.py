"""The contract of models that are asked in words: one question with or without pictures in, one answer out. Room: schemas.

Captioners and checks speak to this protocol; `models.chat` implements it, and `pipelines` puts the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Ask:
    """One question. Equal `key` and equal texts mean an equal question: its answer is kept and never asked for twice."""

    prompt: str
    key: str
    """What the pictures are of: the clip and the frames of its stills, such as ``<clip_id>:12,44``; without pictures any text, or empty."""
    stills: tuple[Callable[[], bytes], ...] = ()
    """Each gives a JPEG when it is called, or raises OSError."""
    system: str | None = None
    want_json: bool = False
    """The answer should be one JSON object; where the model can be told so, it is."""
    max_tokens: int | None = None
    """Fewer than the model's setting, where the answer is short."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``text`` is None where the model refused or failed for good; ``error`` then says why, in words."""

    text: str | None
    error: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    refused: bool = False
    """The model would not answer, and would not when asked again."""
    reused: bool = False
    """Taken from the answers kept, not asked for now: it costs nothing."""
    may_pass: bool = False
    """It failed for a reason that may pass, such as an endpoint that was down: nothing may be concluded from it."""


class Unanswered(Exception):
    """Questions have no answer for a reason that may pass, so what hangs on them cannot be finished in this run."""

    def __init__(self, questions: int, why: str) -> None:
        """``why``: of one of them, in words."""
        super().__init__(why)
        self.questions, self.why = questions, why

    @staticmethod
    def together(errors: Sequence[Unanswered]) -> Unanswered:
        """One over the questions of all (one or more), with the reason of the first."""
        return Unanswered(sum(error.questions for error in errors), errors[0].why)


@dataclass(slots=True)
class Usage:
    """What a chat model was asked so far, in this process."""

    asked: int = 0
    """Questions answered by the model."""
    reused: int = 0
    """Questions whose answer was kept from before."""
    failed: int = 0
    """Questions without an answer, refusals among them."""
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    warnings: list[str] = field(default_factory=list)
    """Each kind of failure once, with an example."""


class ChatModel(Protocol):
    """Anything that answers questions."""

    @property
    def name(self) -> str:
        """For people: the model's name."""

    @property
    def fingerprint(self) -> str:
        """Of the model and of every setting its answers depend on. Equal fingerprints and equal questions mean equal answers."""

    @property
    def usage(self) -> Usage:
        """Counted up by :meth:`ask`."""

    async def ask(self, asks: Sequence[Ask], on_answer: Callable[[int, Answer], None] | None = None) -> list[Answer]:
        """One answer per question, in order. A question that fails is an answer with an error.

        Args:
            on_answer: told of each answer as soon as it is there: the question's place among ``asks``, and the answer.

        Raises only what should stop the run: no such model, a wrong key, the budget is spent. Questions under way by then still end,
        and ``on_answer`` hears of them.
        """
        ...

    async def close(self) -> None:
        """End connections. Every event loop that asked must close before it ends."""
        ...
