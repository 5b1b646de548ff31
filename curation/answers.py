"""What chat models and dear captioners answered, kept in the corpus for good: nothing is paid for twice. Room: curation.

Answers lie in ``answers/<fingerprint>/``, one set for each part: while the part is at work as a journal, to which each answer is
added at once, and as one sorted file when it has settled. A journal is a folder of files, one for each writer that was ever at work,
for nothing is ever written behind a line that a kill may have torn. On object storage, where nothing can be added to a file, a writer
leaves a row of small ones.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from curation.corpus import part_name
from curation.storage import Store, storage_errors
from schemas.chat import Answer, Ask, ChatModel, Unanswered, Usage
from schemas.ids import canonical, digest

FOLDER = "answers"

REMOTE_EVERY, REMOTE_SECONDS = 16, 30.0
"""On object storage the journal gets a file after so many answers, or with the first answer after so long: a kill loses the rest."""


class KeptAnswers:
    """The answers of one model about the clips of one part. One writer at a time, as everywhere in a corpus."""

    def __init__(self, store: Store, model: str, part: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``model``: fingerprint of what answers. ``clock``: seconds that only grow."""
        self._store, self._clock = store, clock
        base = f"{FOLDER}/{digest('answers', model)[:16]}/{part_name(part)}"
        self._settled, self._journal = f"{base}.jsonl", f"{base}.journal"
        self._writer = os.urandom(4).hex()
        self._rows: dict[str, dict[str, Any]] = {}
        self._file: BinaryIO | None = None
        self._pending: list[bytes] = []
        self._sent = 0
        self._pending_since = 0.0
        self.damaged = 0
        """Lines that could not be read: those answers are asked for again. A line torn at the end of a journal is none of them."""
        self._fresh = self._load()

    def get(self, key: str) -> dict[str, Any] | None:
        """What was answered, or None."""
        row = self._rows.get(hashed(key))
        return row["answer"] if row is not None else None

    def put(self, key: str, answer: dict[str, Any], of: str) -> None:
        """Keep an answer at once. The first one stays: a key is never answered twice.

        Args:
            answer: a JSON object.
            of: what it is about; begins with the clip's id where it is about a clip, so that it can be forgotten with it.
        """
        name = hashed(key)
        if name in self._rows:
            return
        row = {"key": name, "of": of, "answer": answer}
        line = _line(row)
        if self._store.local is None:
            self._add_remote(line)
        else:
            self._add_local(line)
        self._rows[name] = row
        self._fresh = True

    def close(self) -> None:
        """End what is open. What was put is kept."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._pending:
            self._send()

    def settle(self) -> None:
        """At the end of a part: one file, sorted, in the place of the journal. The bytes do not depend on who answered first."""
        self.close()
        if not self._fresh:
            return
        self._load()  # others may have kept answers of this model meanwhile
        self._store.commit_bytes(self._settled, b"".join(_line(self._rows[name]) for name in sorted(self._rows)))
        self._store.remove(self._journal)
        self._fresh = False

    def _load(self) -> bool:
        """Take in what is there. Whether there is anything that is not settled, or was damaged."""
        self.damaged = 0
        if self._store.exists(self._settled):
            self._read(self._store.read_bytes(self._settled), torn=False)
        names = self._store.names(self._journal)
        for name in names:
            self._read(self._store.read_bytes(f"{self._journal}/{name}"), torn=True)
        return bool(names) or self.damaged > 0

    def _add_local(self, line: bytes) -> None:
        assert self._store.local is not None
        with storage_errors(f"Writing `{self._store.full(self._journal)}`"):
            if self._file is None:
                path = self._store.local / self._journal / f"{self._writer}.jsonl"
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.open("ab", buffering=0)
            # One write of the system, without a buffer: what it took survives the end of this process.
            if self._file.write(line) != len(line):
                self._file.close()  # nothing is written behind half a line
                self._file, self._writer = None, os.urandom(4).hex()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _add_remote(self, line: bytes) -> None:
        if not self._pending:
            self._pending_since = self._clock()
        self._pending.append(line)
        if len(self._pending) >= REMOTE_EVERY or self._clock() - self._pending_since >= REMOTE_SECONDS:
            self._send()

    def _send(self) -> None:
        self._store.commit_bytes(f"{self._journal}/{self._writer}-{self._sent:06d}.jsonl", b"".join(self._pending))
        self._pending.clear()
        self._sent += 1

    def _read(self, data: bytes, *, torn: bool) -> None:
        """``torn``: whether the last line may lack its end."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            row = _row(line)
            if row is not None:
                self._rows.setdefault(row["key"], row)
            else:
                self.damaged += 1
        self.damaged += bool(rest) and not torn


def hashed(key: str) -> str:
    """A key as it is kept: short, and of one length."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(row, dict) and isinstance(row.get("key"), str) and isinstance(row.get("answer"), dict)
    return row if whole and isinstance(row.get("of"), str) else None


class KeepingChat:
    """A chat model of which nothing is asked twice: see :class:`schemas.chat.ChatModel`.

    Kept are answers and refusals, not failures: whatever asks the same next asks the model again. Where a failure may pass, nobody is to
    go on without the answer, for what were made then would stay: :meth:`ask` raises, after the other answers have come and are kept.
    A question that is under way is not asked again either: who asks it too gets the same answer.
    """

    def __init__(self, chat: ChatModel, kept: KeptAnswers) -> None:
        self._chat, self._kept = chat, kept
        self._under_way: dict[str, asyncio.Future[Answer]] = {}
        if kept.damaged:
            self.usage.warnings.append(
                f"{kept.damaged} kept answers could not be read (the file was changed or damaged); they are asked for again"
            )

    @property
    def name(self) -> str:
        return self._chat.name

    @property
    def fingerprint(self) -> str:
        return self._chat.fingerprint

    @property
    def usage(self) -> Usage:
        return self._chat.usage

    async def ask(self, asks: Sequence[Ask], on_answer: Callable[[int, Answer], None] | None = None) -> list[Answer]:
        """As the model; but raises Unanswered where an answer failed for a reason that may pass."""
        found: dict[int, Answer] = {}

        def take(place: int, answer: Answer) -> None:
            found[place] = answer
            if on_answer is not None:
                on_answer(place, answer)

        fresh: dict[str, int] = {}
        again: dict[int, asyncio.Future[Answer]] = {}
        for place, ask in enumerate(asks):
            key = question_key(ask)
            kept = self._kept.get(key)
            if kept is not None:
                self.usage.reused += 1
                take(place, _answer(kept))
            elif key in self._under_way:
                again[place] = self._under_way[key]
            else:
                self._under_way[key] = asyncio.get_running_loop().create_future()
                fresh[key] = place
        if fresh:
            await self._ask_fresh(asks, fresh, take)
        for place, future in again.items():
            take(place, self._same(await asyncio.shield(future)))
        lacking = next((answer for answer in found.values() if answer.may_pass), None)
        if lacking is not None:
            # An equal question of somebody else is counted there.
            raise Unanswered(sum(found[place].may_pass for place in fresh.values()), f"{self.name}: {lacking.error}")
        return [found[place] for place in range(len(asks))]

    async def close(self) -> None:
        await self._chat.close()

    async def _ask_fresh(self, asks: Sequence[Ask], fresh: dict[str, int], take: Callable[[int, Answer], None]) -> None:
        """Ask what nobody has asked. ``fresh``: key → place of the question."""
        keys = list(fresh)

        def arrived(number: int, answer: Answer) -> None:
            key = keys[number]
            if answer.text is not None or answer.refused:
                self._kept.put(key, _kept_form(answer), asks[fresh[key]].key)
            self._under_way.pop(key).set_result(answer)
            take(fresh[key], answer)

        try:
            await self._chat.ask([asks[fresh[key]] for key in keys], arrived)
            untold = sum(key in self._under_way for key in keys)
            if untold:
                raise ValueError(f"the chat model `{self.name}` did not tell of {untold} of {len(keys)} answers")
        except BaseException as error:
            for future in [self._under_way.pop(key) for key in keys if key in self._under_way]:
                if isinstance(error, Exception):
                    future.set_exception(error)
                    future.exception()  # raised here, and where somebody waits for it; that nobody does is no mistake
                else:
                    future.cancel()
            raise

    def _same(self, answer: Answer) -> Answer:
        """The answer to an equal question, which cost nothing more."""
        if answer.text is None and not answer.refused:
            self.usage.failed += 1
            return dataclasses.replace(answer, prompt_tokens=0, completion_tokens=0)
        self.usage.reused += 1
        return dataclasses.replace(answer, prompt_tokens=0, completion_tokens=0, reused=True)


def question_key(ask: Ask) -> str:
    """All that an answer depends on beside the model."""
    return canonical([ask.system, ask.prompt, ask.key, len(ask.stills), ask.want_json, ask.max_tokens])


def _answer(kept: dict[str, Any]) -> Answer:
    return Answer(kept.get("text"), kept.get("error"), refused=bool(kept.get("refused")), reused=True)


def _kept_form(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "error": answer.error,
        "refused": answer.refused,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
    }
