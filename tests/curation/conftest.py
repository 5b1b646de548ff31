"""A chat model whose answers are written down beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from schemas.chat import Answer, Ask, Usage


class ScriptedChat:
    """Answers with what ``script`` says of each question: a text, an Answer, or None for a refusal. Remembers the questions."""

    name = "scripted"

    def __init__(self, script: Callable[[Ask], str | Answer | None], fingerprint: str = "scripted-1") -> None:
        self.fingerprint = fingerprint
        self.usage = Usage()
        self.asked: list[Ask] = []
        self.closed = 0
        self._script = script

    async def ask(self, asks: Sequence[Ask], on_answer: Callable[[int, Answer], None] | None = None) -> list[Answer]:
        self.asked += asks
        answers = []
        for ask in asks:
            for read in ask.stills:
                assert isinstance(read(), bytes)
            said = self._script(ask)
            refused = Answer(None, "it refused", refused=True)
            answers.append(said if isinstance(said, Answer) else refused if said is None else Answer(said))
            if on_answer is not None:
                on_answer(len(answers) - 1, answers[-1])
        self.usage.asked += len(asks)
        return answers

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def scripted_chat() -> type[ScriptedChat]:
    """The class: make one with a function from a question to its answer."""
    return ScriptedChat
