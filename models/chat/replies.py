"""Reading what an OpenAI-compatible endpoint sends back, which may be anything. Room: models.

In: bytes. Out: text and tokens, or in words what is wrong.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

ERROR_CHARS = 200

MOST_TOKENS = 10_000_000
"""No answer takes more: a larger number is no count of tokens."""

_NOT_SUPPORTED = re.compile(
    r"not\s+(be\s+)?support|unsupported|unrecogni[sz]ed|unknown\s+(param|arg|field|name)|extra\s+inputs|not\s+permitted"
    r"|must\s+be\s+'(json_schema|text)'",
    re.IGNORECASE,
)
"""How endpoints say that they do not take a setting at all, whatever its value."""

_POLICY = frozenset({"content_filter", "content_policy_violation"})
_NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "insufficient_balance"})
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s)|[。！？]")


@dataclass(frozen=True, slots=True)
class Reply:
    """One completion."""

    text: str
    """Stripped; empty where there is none."""
    refused: str | None
    """Why the model would not answer."""
    cut: bool
    """It ends because it was too long."""
    prompt_tokens: int
    completion_tokens: int
    counted: bool
    """Whether the endpoint told the tokens."""


def read_reply(data: bytes, secret: str = "") -> Reply:
    """``secret`` is left out of what is told to people.

    Raises:
        ValueError: it is no completion: cut off on the way, say.
    """
    try:
        body = json.loads(data)
        choice = body["choices"][0]
        message = choice["message"]
        text = message.get("content")
        refused, reason, usage = message.get("refusal"), choice.get("finish_reason"), body.get("usage")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("the answer is no whole JSON of a completion") from error
    if isinstance(text, list):  # some endpoints answer in pieces
        text = "".join(str(piece.get("text", "")) for piece in text if isinstance(piece, dict))
    if reason == "content_filter" and not refused:
        refused = "a content filter stopped the answer"
    usage = usage if isinstance(usage, dict) else {}
    sent, received = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    return Reply(
        text=_encodable(text).strip() if isinstance(text, str) else "",
        refused=_short(str(refused), secret) if refused else None,
        cut=reason == "length",
        prompt_tokens=sent or 0,
        completion_tokens=received or 0,
        counted=sent is not None and received is not None,
    )


def _count(value: Any) -> int | None:
    """A number of tokens; None for what can be none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS else None


def _encodable(text: str) -> str:
    """JSON may hold halves of characters, which no file can."""
    return text.encode("utf-8", "replace").decode()


@dataclass(frozen=True, slots=True)
class Failure:
    """What the body of an HTTP error says."""

    words: str
    """Short, printable, for people."""
    code: str
    param: str

    @property
    def policy(self) -> bool:
        """The question was turned down for what it is about."""
        return self.code in _POLICY

    @property
    def no_money(self) -> bool:
        """The account has none left: waiting does not help."""
        return self.code in _NO_MONEY

    def unsupported(self, params: list[str]) -> str | None:
        """Which of these settings the endpoint does not take at all."""
        if not (self.code == "unsupported_parameter" or _NOT_SUPPORTED.search(self.words)):
            return None
        named = [name for name in params if re.search(rf"\b{name}\b", self.words)]
        return self.param if self.param in params else next(iter(named), None)


def read_failure(data: bytes, secret: str = "") -> Failure:
    """Any body will do. ``secret`` is left out of its words: some endpoints repeat the key that they were given."""
    inner: Any
    try:
        body = json.loads(data)
        inner = body.get("error", body) if isinstance(body, dict) else body
    except (ValueError, RecursionError):
        inner = data.decode("utf-8", "replace")
    facts = inner if isinstance(inner, dict) else {}
    text = facts.get("message") or facts.get("detail") or inner
    words = _short(text if isinstance(text, str) else json.dumps(text), secret)
    return Failure(
        words or "it says nothing", str(facts.get("code") or facts.get("type") or ""), str(facts.get("param"))
    )


def redact(text: str, secret: str) -> str:
    """Without a key, as it is or as JSON writes it."""
    for form in (secret, json.dumps(secret)[1:-1]):
        text = text.replace(form, "***") if form else text
    return text


def _short(text: str, secret: str) -> str:
    # Before it is cut: half a key is no longer found.
    printable = "".join(char if char.isprintable() else " " for char in _encodable(redact(text, secret)))
    return " ".join(printable.split())[:ERROR_CHARS]


def to_sentence(text: str) -> str:
    """What was cut off, up to the end of its last whole sentence; all of it where it has none."""
    ends = [found.end() for found in _SENTENCE_END.finditer(text + " ")]
    return text[: ends[-1]] if ends else text
