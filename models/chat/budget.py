"""What questions to an endpoint may cost, held under a limit before they are asked. Room: models.

In: questions about to be sent, then the tokens they took. Out: a place within the budget, or an error. Money is in US dollars.
"""

from __future__ import annotations

import asyncio

from schemas.errors import BudgetError
from schemas.recipe_learned import Chat

STILL_TOKENS = 2000
"""Supposed of a picture until the endpoint has told: most models take 300 to 1,500 tokens for one of 512 × 910 pixels."""

STILL_MARGIN = 2.0
"""A picture may take so many times the most tokens that one took so far: they differ in size."""

FORM_TOKENS = 64
"""More than a message's roles and marks take."""


class Budget:
    """Keeps back the most that each request may cost until it is known what it did cost."""

    def __init__(self, settings: Chat, where: str) -> None:
        self._settings, self._where = settings, where
        self._spent = self._supposed = self._held = 0.0
        self._under_way = 0
        self._still_tokens: float | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def price(self, sent: float, received: float) -> float:
        """Of so many tokens."""
        return (sent * self._settings.usd_per_million_input + received * self._settings.usd_per_million_output) / 1e6

    async def hold(self, texts_bytes: int, stills: int, tokens: int) -> float:
        """Keep back what a request may cost; waits while requests under way may yet turn out cheaper.

        Where it is not known yet what this endpoint takes for a picture, the first request that has one goes alone.

        Args:
            texts_bytes: UTF-8 length of what is sent. No tokenizer in use makes more tokens than bytes.
            tokens: longest answer.

        Raises:
            BudgetError: it is more than is left.
        """
        limit = self._settings.budget_usd
        if limit is None:
            return 0.0
        while True:
            per_still = STILL_TOKENS if self._still_tokens is None else STILL_MARGIN * self._still_tokens
            most = self.price(texts_bytes + FORM_TOKENS + stills * per_still, tokens)
            alone = bool(stills) and self._still_tokens is None
            if self._spent + self._held + most <= limit and not (alone and self._under_way):
                break
            if not self._under_way:
                raise BudgetError(
                    f"The budget of {self._where} is spent: {self._told()} of ${limit:g}, and the next question may cost ${most:.4f}.",
                    fix=f"To go on, run the same command again (a budget is for one run), or with a larger {self._where}.budget_usd; every answer so far is kept.",
                )
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        self._held += most
        self._under_way += 1
        return most

    def settle(self, held: float, usd: float | None, per_still: float | None = None) -> None:
        """A request is over.

        Args:
            held: what :meth:`hold` kept back for it.
            usd: what it cost; None where nobody knows, and then it counts as all that was held.
            per_still: tokens for each of its pictures.
        """
        if self._settings.budget_usd is None:
            return
        self._held -= held
        self._under_way -= 1
        if usd is None:
            self._supposed += held
        self._spent += held if usd is None else usd
        if per_still is not None:
            self._still_tokens = max(self._still_tokens or 0.0, per_still)
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _told(self) -> str:
        rest = f" (up to ${self._supposed:.4f} of it for requests whose cost was not told)" if self._supposed else ""
        return f"${self._spent:.4f}{rest}"
