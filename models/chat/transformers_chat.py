"""A vision-language or language model of transformers, in this process. Room: models.

In: questions with JPEGs. Out: answers. A question gets the same answer alone or in a batch, to the rounding of the weights' precision.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Sequence
from typing import Any

from models.chat.network import Network, Question, Said, Unfit, load_network
from models.chat.replies import to_sentence
from models.libraries import library
from schemas.chat import Answer, Ask, Usage
from schemas.recipe_learned import Chat


class TransformersChat:
    """See :class:`schemas.chat.ChatModel`. The network is loaded by the first question."""

    def __init__(self, settings: Chat, fingerprint: str, where: str) -> None:
        """``where``: key of the recipe, such as ``chat.vlm``, for errors."""
        self.name = settings.model or ""
        self.fingerprint = fingerprint
        self.usage = Usage()
        self._settings, self._where = settings, where
        self._network: Network | None = None
        self._turn: asyncio.Lock | None = None
        self._warned: set[str] = set()

    async def ask(self, asks: Sequence[Ask], on_answer: Callable[[int, Answer], None] | None = None) -> list[Answer]:
        turn = self._turn = self._turn or asyncio.Lock()
        # Sampling draws one number after the other, so a neighbour would change what a question draws.
        size = self._settings.batch if self._settings.temperature == 0 else 1
        # Questions of like length side by side: less padding.
        order = sorted(range(len(asks)), key=lambda i: (len(asks[i].stills), len(asks[i].prompt), i))
        answers: dict[int, Answer] = {}
        for start in range(0, len(order), size):
            places = order[start : start + size]
            # One batch at a time goes through the network, in a thread, so that the loop lives on.
            async with turn:
                batch = await asyncio.to_thread(self._batch, [asks[place] for place in places])
            for place, answer in zip(places, batch, strict=True):
                answers[place] = answer
                if on_answer is not None:
                    on_answer(place, answer)
        return [answers[place] for place in range(len(asks))]

    async def close(self) -> None:
        self._turn = None

    def _batch(self, asks: Sequence[Ask]) -> list[Answer]:
        network = self._network = self._network or load_network(self._settings, self._where)
        questions: dict[int, Question] = {}
        answers: dict[int, Answer] = {}
        for i, ask in enumerate(asks):
            try:
                pictures = [_picture(read()) for read in ask.stills]
            except (OSError, SyntaxError, ValueError) as error:  # PIL raises all of these for a damaged picture
                answers[i] = self._fail("still", f"a still could not be read ({error})")
                continue
            tokens = min(self._settings.max_tokens, ask.max_tokens or self._settings.max_tokens)
            questions[i] = Question(ask.prompt, ask.system, pictures, tokens)
        said = network.answer(list(questions.values()), self._settings, self._where)
        for i, reply in zip(questions, said, strict=True):
            if isinstance(reply, Unfit):
                answers[i] = self._fail("unfit", f"the model cannot be asked this ({reply.why})")
            else:
                answers[i] = self._read(asks[i], questions[i].tokens, reply)
        return [answers[i] for i in range(len(asks))]

    def _read(self, ask: Ask, tokens: int, said: Said) -> Answer:
        self.usage.prompt_tokens += said.prompt_tokens
        self.usage.completion_tokens += said.completion_tokens
        limit = f"at {tokens} tokens ({self._where}.max_tokens)"
        if said.cut and (ask.want_json or not said.text):
            return self._fail("cut", f"the answer was cut off {limit}", said)
        if not said.text:
            return self._fail("empty", "an empty answer", said)
        if said.cut:
            self._warn("kept", f"an answer was cut off {limit}, and is kept up to its last whole sentence")
        self.usage.asked += 1
        text = to_sentence(said.text) if said.cut else said.text
        return Answer(text, None, said.prompt_tokens, said.completion_tokens)

    def _fail(self, kind: str, why: str, said: Said | None = None) -> Answer:
        """A question without an answer. What the network said without sampling, it would say again."""
        self.usage.failed += 1
        self._warn(kind, f"a question has no answer: {why}")
        if said is None:
            return Answer(None, why)
        again = self._settings.temperature == 0
        return Answer(None, why, said.prompt_tokens, said.completion_tokens, refused=again)

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self.usage.warnings.append(text)


def _picture(jpeg: bytes) -> Any:
    image = library("PIL.Image")
    with image.open(io.BytesIO(jpeg), formats=("JPEG",)) as opened:
        return opened.convert("RGB")
