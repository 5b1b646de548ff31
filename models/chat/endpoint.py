"""HTTP with an endpoint: one request, and what its failure means for the next. Room: models.

In: a body as JSON. Out: the body of the answer; or an exception that says whether another try may help, or that the run must stop.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx2

from models.chat.pace import retry_after_s
from models.chat.replies import Failure, read_failure, redact
from schemas.errors import BudgetError, RecipeError, UsageError
from schemas.recipe_learned import Chat

PASSING = frozenset({408, 409, 425, 429})
"""HTTP codes below 500 after which another try may help; from 500 on it always may."""

MOST_BYTES = 16 << 20
"""A longer answer is none."""


CONNECT_S = 10.0
"""A connection that is not made by then is not made: the request was not sent."""


class NotNow(Exception):
    """Another try may succeed."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class Lost(NotNow):
    """The request was sent and no whole answer came: it may have been billed."""


class TurnedDown(Exception):
    """The endpoint will not answer this question, however often it is asked."""

    def __init__(self, status: int, failure: Failure) -> None:
        self.kind = f"HTTP {status}"
        super().__init__(f"{self.kind} ({failure.words})")
        self.status, self.failure, self.policy = status, failure, failure.policy


class Endpoint:
    """Connections to one address. As a text: that address, in which nothing is secret."""

    def __init__(self, settings: Chat, where: str) -> None:
        """
        Raises:
            RecipeError: there is no address, or it is none.
        """
        self._settings, self._where = settings, where
        self._url = _url(settings.base_url, where)
        self._client: httpx2.AsyncClient | None = None
        self.secret = ""
        """The key that is sent: no text of the endpoint may show it."""
        self.reached = False
        """Whether there was ever a connection."""

    def __str__(self) -> str:
        return str(self._url)

    async def post(self, body: bytes) -> bytes:
        """
        Raises:
            NotNow: another try may succeed.
            TurnedDown: none will.
            UsageError: the key, the model or the address is wrong.
            BudgetError: the account has no money left.
        """
        data = bytearray()
        client = self._open()
        try:
            # Over all: a limit on each read alone would never end with a server that sends a byte now and then.
            async with (
                asyncio.timeout(self._settings.timeout_s),
                client.stream("POST", self._url, content=body) as response,
            ):
                async for piece in response.aiter_bytes():
                    data += piece
                    if len(data) > MOST_BYTES:
                        raise Lost(f"an answer of more than {MOST_BYTES >> 20} MiB")
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise NotNow(f"no connection ({self._name(error)})") from error
        except TimeoutError as error:
            self.reached = True
            raise Lost(f"no answer within {self._settings.timeout_s:g} s") from error
        except httpx2.RequestError as error:
            self.reached = True
            raise Lost(f"the connection was lost ({self._name(error)})") from error
        self.reached = True
        if response.status_code != 200:
            self._fail(response.status_code, response.headers, bytes(data))
        return bytes(data)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _fail(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        failure, kind = read_failure(data, self.secret), f"HTTP {status}"
        said = f"{kind}: {failure.words}"
        if status == 402 or (status == 429 and failure.no_money):
            raise BudgetError(
                f"The account at {self} has no money left ({said}).",
                fix="Fill it up, then run the same command again; every answer so far is kept.",
            )
        if status in PASSING or status >= 500:
            raise NotNow(said, retry_after_s(headers))
        if status in (401, 403):
            variable = self._settings.api_key_env
            state = "holds" if self._key() else "is not set; it should hold"
            raise UsageError(
                f"{self} does not accept the key ({said}).",
                fix=f"The environment variable {variable} {state} the key; name another with --set {self._where}.api_key_env=NAME.",
            )
        if status == 404:
            raise UsageError(
                f"{self} has no model `{self._settings.model}`, or is no such endpoint ({said}).",
                fix=f"Check {self._where}.model, and {self._where}.base_url, which mostly ends with /v1.",
            )
        if status < 400:
            raise UsageError(
                f"{self} does not answer but sends elsewhere ({kind}), where nothing is sent: the key is for one host.",
                fix=f"Set {self._where}.base_url to the endpoint itself.",
            )
        raise TurnedDown(status, failure)

    def _open(self) -> httpx2.AsyncClient:
        if self._client is None:
            key = self.secret = self._key()
            # trust_env: no proxy or password file of the surroundings is used unasked. Time and number are limited elsewhere.
            self._client = httpx2.AsyncClient(
                headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})},
                timeout=httpx2.Timeout(None, connect=min(CONNECT_S, self._settings.timeout_s)),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=self._settings.concurrency),
                follow_redirects=False,
                verify=_certificates(),
                trust_env=False,
            )
        return self._client

    def _name(self, error: Exception) -> str:
        """Of a failure of HTTP, which may hold what the endpoint sent."""
        text = " ".join(redact(str(error), self.secret).split())
        return f"{type(error).__name__}: {text}" if text else type(error).__name__

    def _key(self) -> str:
        variable = self._settings.api_key_env
        key = os.environ.get(variable, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise UsageError(
                f"The environment variable {variable} holds no key: there are characters in it that no header can have.",
                fix="Set it again; a key is one line of letters, digits and signs.",
            )
        return key


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Read once: a tenth of a second, which every part would pay."""
    return httpx2.create_ssl_context(trust_env=False)


def _url(base: str | None, where: str) -> httpx2.URL:
    example = f"--set {where}.base_url=http://localhost:8000/v1"
    if not base:
        raise RecipeError(f"{where} has no base_url.", fix=f"Say where the endpoint is: {example}")
    try:
        parts = urlsplit(base.strip())
        url = httpx2.URL(base.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (httpx2.InvalidURL, ValueError):
        usable = False
    if not usable:
        raise RecipeError(
            f"{where}.base_url is `{base}`, which is no address.",
            fix=f"It begins with http:// or https://, such as {example}",
        )
    return url.copy_with(path=url.path.rstrip("/") + "/chat/completions", fragment=None)
