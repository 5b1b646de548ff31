"""The chat models that the stages of a part ask, with what they have answered before; and what it came to, told after each part."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

from curation.answers import KeepingChat, KeptAnswers
from pipelines.context import Worker
from schemas.chat import ChatModel, Unanswered, Usage
from schemas.errors import UsageError

Result = TypeVar("Result")

COUNTED = ("asked", "reused", "failed", "retries", "prompt_tokens", "completion_tokens", "usd")
"""Fields of a Usage that add up."""

_made: dict[tuple[str, str], ChatModel] = {}
"""(run, name in the recipe) → model. A network is loaded once, and a budget holds for a run, not for a part."""


class Asking:
    """The chat models of one part, by their names in the recipe. What they answer is kept at once."""

    def __init__(self, worker: Worker, part: int, table: str) -> None:
        """``table``: that is made with them."""
        self._worker = worker
        self._part = part
        self._inputs = worker.variant(table).inputs
        self._kept: dict[str, KeptAnswers] = {}
        self._used: dict[str, tuple[ChatModel, Usage]] = {}

    def model(self, name: str) -> ChatModel:
        """The chat model of this name, of which nothing is asked twice.

        Raises:
            UsageError: on this machine it is another than the one that the run began with.
        """
        if name not in self._used:
            chat = _model(self._worker, name)
            given = self._inputs.get(f"chat {name}")
            if given is not None and given["fingerprint"] != chat.fingerprint:
                raise UsageError(
                    f"The chat model `{name}` ({chat.name}) has other weights on this machine than where the run was started.",
                    fix=f"Put the same ones on every node; of a model on the hub, name a revision: chat.{name}.model=owner/name@REVISION.",
                )
            before = dataclasses.replace(chat.usage, warnings=list(chat.usage.warnings))
            self._used[name] = KeepingChat(chat, self.keep(chat.fingerprint)), before
        return self._used[name][0]

    def keep(self, fingerprint: str) -> KeptAnswers:
        """Where the answers of a model, or of whatever else is dear, are kept for this part. One place for one fingerprint."""
        if fingerprint not in self._kept:
            self._kept[fingerprint] = KeptAnswers(self._worker.corpus.store, fingerprint, self._part)
        return self._kept[fingerprint]

    async def close(self) -> None:
        """End connections, close the journals, tell what was asked. Every event loop that asked must come here before it ends."""
        for model, _ in self._used.values():
            await model.close()
        for kept in self._kept.values():
            kept.close()
        for model, before in self._used.values():
            counts = {name: getattr(model.usage, name) - getattr(before, name) for name in COUNTED}
            self._worker.emit({"kind": "asked", "who": model.name, **counts})
            for text in model.usage.warnings[len(before.warnings) :]:
                self._worker.emit({"kind": "note", "text": f"{model.name}: {text}"})

    def settle(self) -> None:
        """Put the answers of a part in order, just before it is committed."""
        for kept in self._kept.values():
            kept.settle()


def all_of(done: Sequence[Result | BaseException]) -> list[Result]:
    """What batches gave that were under way together, in order.

    Raises:
        what one of them raised: Unanswered only where nothing else was, and then over the questions of all.
    """
    lacking = [result for result in done if isinstance(result, Unanswered)]
    for result in done:
        if isinstance(result, BaseException) and not isinstance(result, Unanswered):
            raise result
    if lacking:
        raise Unanswered.together(lacking)
    return [result for result in done if not isinstance(result, BaseException)]


def _model(worker: Worker, name: str) -> ChatModel:
    run = worker.context.run_id
    for key in [key for key in _made if key[0] != run]:
        del _made[key]  # of a run that is over
    if (run, name) not in _made:
        from models.chat.make import make_chat

        _made[run, name] = make_chat(getattr(worker.context.recipe.chat, name), name)
    return _made[run, name]
