"""An endpoint that speaks OpenAI's chat protocol (vLLM, SGLang, a provider), asked many things at once. Room: models.

In: questions with JPEGs. Out: answers. What may pass is tried again with growing pauses; what it costs is counted, and held under a
budget; a wrong key or model, or an endpoint that fails again and again, stops the run.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from models.chat.budget import STILL_TOKENS, Budget
from models.chat.endpoint import Endpoint, Lost, NotNow, TurnedDown
from models.chat.messages import messages_of
from models.chat.pace import Pace, pause_s
from models.chat.replies import Reply, read_reply, to_sentence
from schemas.chat import Answer, Ask, Usage
from schemas.errors import RecipeError, TooManyErrorsError
from schemas.recipe_learned import Chat

Sleep = Callable[[float], Awaitable[None]]

GIVE_UP_AFTER = 8
"""Questions in a row that the endpoint failed for good: it is down or takes no such questions, and the run stops."""

ITS_OWN_FAULT = frozenset({400, 413, 422})
"""HTTP codes that, from an endpoint that has answered others, say something of the question alone."""

LONGEST_WAIT_S = 600.0
"""An endpoint that asks for more is not waited for: the run stops, and can be gone on with."""

MOST_EMPTY = 2
"""Times that a question may be answered with nothing before that is its answer."""


class _Stopped(Exception):
    """Another question has stopped the run: this one is not asked any more."""


class _Loop:
    """What belongs to one event loop: how many questions are under way, and what has stopped them."""

    def __init__(self, concurrency: int) -> None:
        self.places = asyncio.Semaphore(concurrency)
        self.stopped = asyncio.Event()
        self.error: Exception | None = None

    def stop(self, error: Exception) -> None:
        self.error = self.error or error
        self.stopped.set()

    def check(self) -> None:
        if self.stopped.is_set():
            raise _Stopped


class OpenAIChat:
    """See :class:`schemas.chat.ChatModel`."""

    def __init__(
        self,
        settings: Chat,
        fingerprint: str,
        where: str,
        *,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            where: key of the recipe, such as ``chat.openai``, for errors.
            sleep: waits so many seconds.
            clock: seconds that only grow.

        Raises:
            RecipeError: settings are missing or do not fit together.
        """
        self.name = settings.model or ""
        self.fingerprint = fingerprint
        self.usage = Usage()
        self._settings, self._where, self._sleep = settings, where, sleep
        self._endpoint = Endpoint(settings, where)
        self._pace = Pace(settings.requests_per_minute, clock)
        self._budget = Budget(settings, where)
        self._chance = random.Random(settings.seed)
        self._left_out: set[str] = set()
        self._in_a_row = 0
        self._answered = False
        self._warned: set[str] = set()
        self._loop: _Loop | None = None
        if settings.budget_usd is not None and not settings.usd_per_million_input + settings.usd_per_million_output:
            raise RecipeError(
                f"{where}.budget_usd is set, but no price.",
                fix=f"Set {where}.usd_per_million_input and {where}.usd_per_million_output: the endpoint tells tokens, not dollars.",
            )

    async def ask(self, asks: Sequence[Ask], on_answer: Callable[[int, Answer], None] | None = None) -> list[Answer]:
        loop = self._loop = self._loop or _Loop(self._settings.concurrency)
        found: dict[int, Answer] = {}

        async def one(number: int, ask: Ask) -> None:
            async with loop.places:
                try:
                    loop.check()
                    found[number] = await self._answer(ask, loop)
                    if on_answer is not None:
                        on_answer(number, found[number])
                except _Stopped:
                    pass
                except Exception as error:  # raised below, when what is on its way has come and was handed on
                    loop.stop(error)

        await asyncio.gather(*(one(number, ask) for number, ask in enumerate(asks)))
        if loop.error is not None:
            raise loop.error
        return [found[number] for number in range(len(asks))]

    async def close(self) -> None:
        self._loop = None
        await self._endpoint.close()

    # One question ----------------------------------------------------------------------------------------------------

    async def _answer(self, ask: Ask, loop: _Loop) -> Answer:
        try:
            messages = await asyncio.to_thread(messages_of, ask)
        except OSError as error:
            return self._fail("still", f"a still could not be read ({error.strerror or error})")
        sent = received = empty = 0
        failed: NotNow | None = None
        for turn in range(self._settings.retries + 1):
            loop.check()
            self.usage.retries += bool(turn)
            try:
                reply = await self._send(ask, messages, loop)
            except NotNow as error:
                failed = error
                if turn < self._settings.retries:
                    await self._wait(turn, error, loop)
                continue
            except TurnedDown as error:
                if error.policy:
                    return self._fail("refused", f"refused: {error}", refused=True, sent=sent, received=received)
                if not (self._answered and error.status in ITS_OWN_FAULT):
                    self._count_failure(str(error))
                return self._fail(error.kind, str(error), sent=sent, received=received)
            self._in_a_row, self._answered, failed = 0, True, None
            sent, received = sent + reply.prompt_tokens, received + reply.completion_tokens
            if not (reply.refused or reply.text or reply.cut) and (empty := empty + 1) < MOST_EMPTY:
                continue
            return self._read(reply, ask, sent, received)
        if failed is None:
            return self._fail("empty", "an empty answer", sent=sent, received=received)
        self._count_failure(str(failed), nobody=not self._endpoint.reached)
        return self._fail("lost", str(failed), may_pass=True, sent=sent, received=received)

    def _read(self, reply: Reply, ask: Ask, sent: int, received: int) -> Answer:
        """The answer in a reply; tokens are those of all tries."""
        limit = f"at {self._tokens(ask)} tokens ({self._where}.max_tokens)"
        if reply.refused:
            return self._fail("refused", f"refused: {reply.refused}", refused=True, sent=sent, received=received)
        if reply.cut and (ask.want_json or not reply.text):
            # Asked again it would be as long again.
            return self._fail("cut", f"the answer was cut off {limit}", refused=True, sent=sent, received=received)
        if not reply.text:
            return self._fail("empty", "an empty answer", sent=sent, received=received)
        if reply.cut:
            self._warn("kept", f"an answer was cut off {limit}, and is kept up to its last whole sentence")
        self.usage.asked += 1
        return Answer(to_sentence(reply.text) if reply.cut else reply.text, None, sent, received)

    async def _send(self, ask: Ask, messages: list[dict[str, Any]], loop: _Loop) -> Reply:
        """One try. Raises NotNow where another may succeed, TurnedDown where none will."""
        texts = len(ask.prompt.encode("utf-8", "replace")) + len((ask.system or "").encode("utf-8", "replace"))
        held = await self._budget.hold(texts, len(ask.stills), self._tokens(ask))
        usd: float | None = 0.0
        per_still = None
        try:
            await self._place(loop)
            reply = self._reply(await self._post(ask, messages))
            usd = self._count(reply)
            if ask.stills:
                per_still = reply.prompt_tokens / len(ask.stills) if reply.counted else STILL_TOKENS
            return reply
        except Lost:
            usd = None  # it may have been answered, and billed
            self._warn(
                "billed",
                "an answer was lost, and may have been billed: its tokens and cost count as 0, but for budget_usd as the most they may be",
            )
            raise
        finally:
            self._budget.settle(held, usd, per_still)

    def _reply(self, data: bytes) -> Reply:
        try:
            return read_reply(data, self._endpoint.secret)
        except ValueError as error:
            raise Lost(str(error)) from error

    async def _post(self, ask: Ask, messages: list[dict[str, Any]]) -> bytes:
        while True:
            body = self._body(ask, messages)
            try:
                return await self._endpoint.post(json.dumps(body).encode())
            except TurnedDown as error:
                settings = [name for name in body if name not in ("model", "messages")]
                unknown = error.failure.unsupported(settings) if error.failure is not None else None
                if unknown is None:
                    raise
                self._left_out.add(unknown)
                self._warn(unknown, f"the endpoint does not take `{unknown}`, so it is not sent ({error})")

    def _body(self, ask: Ask, messages: list[dict[str, Any]]) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "max_tokens": self._tokens(ask),
            "temperature": self._settings.temperature,
            "seed": self._settings.seed,
        }
        if "max_tokens" in self._left_out:  # its newer name
            settings["max_completion_tokens"] = settings["max_tokens"]
        if ask.want_json:
            settings["response_format"] = {"type": "json_object"}
        kept = {name: value for name, value in settings.items() if name not in self._left_out}
        return {"model": self.name, "messages": messages, **kept}

    def _tokens(self, ask: Ask) -> int:
        return min(self._settings.max_tokens, ask.max_tokens or self._settings.max_tokens)

    # Pauses, counts --------------------------------------------------------------------------------------------------

    async def _wait(self, turn: int, error: NotNow, loop: _Loop) -> None:
        """After a failure that may pass: as long as the endpoint asks, and then nobody asks it; else longer each time."""
        asked = error.retry_after_s
        if asked is None:
            await self._nap(pause_s(turn, self._chance), loop)
        elif asked <= LONGEST_WAIT_S:
            self._pace.hold(asked)
        else:
            raise TooManyErrorsError(
                f"The endpoint {self._endpoint} of {self._where} asks to be left alone for {asked:.0f} seconds ({error}).",
                fix="Run the same command again then; every answer so far is kept.",
            )

    async def _place(self, loop: _Loop) -> None:
        """Wait until a request may go; the endpoint may have asked for a rest meanwhile."""
        while True:
            at = self._pace.claim()
            await self._nap(self._pace.wait_s(at), loop)
            loop.check()
            if self._pace.stands(at):
                return

    async def _nap(self, seconds: float, loop: _Loop) -> None:
        """Sleep, but not beyond the end of the run."""
        if seconds <= 0:
            return
        sleeping = asyncio.ensure_future(self._sleep(seconds))
        stopping = asyncio.ensure_future(loop.stopped.wait())
        try:
            await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            stopping.cancel()

    def _count(self, reply: Reply) -> float | None:
        """Dollars that a reply cost; None where it does not say."""
        usd = self._budget.price(reply.prompt_tokens, reply.completion_tokens)
        self.usage.prompt_tokens += reply.prompt_tokens
        self.usage.completion_tokens += reply.completion_tokens
        self.usage.usd += usd
        if reply.counted:
            return usd
        self._warn("tokens", "an answer did not tell its tokens, or impossible ones: they and their cost count as 0")
        return None

    def _count_failure(self, why: str, *, nobody: bool = False) -> None:
        """Stop the run where the endpoint fails whatever it is asked, or where nobody is there."""
        self._in_a_row += 1
        if nobody or self._in_a_row >= GIVE_UP_AFTER:
            failed = "nobody answers" if nobody else f"{self._in_a_row} questions in a row failed"
            raise TooManyErrorsError(
                f"The endpoint {self._endpoint} of {self._where} does not work: {failed}; the last: {why}.",
                fix=f"See that it is up, and {self._where}.base_url right; then run the same command again. Every answer so far is kept.",
            )

    def _fail(
        self, kind: str, why: str, *, refused: bool = False, may_pass: bool = False, sent: int = 0, received: int = 0
    ) -> Answer:
        """A question without an answer. With sampling, even one that was refused may be answered another time."""
        self.usage.failed += 1
        self._warn(kind, f"a question has no answer: {why}")
        final = refused and self._settings.temperature == 0
        return Answer(None, why, sent, received, refused=final, may_pass=may_pass)

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self.usage.warnings.append(text)
