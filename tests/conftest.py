"""A server on this machine that speaks OpenAI's chat protocol, and misbehaves when it is told to."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


@dataclass(frozen=True)
class Reply:
    """One answer of the server. Without arguments it is a good one."""

    text: str | None = "an answer"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    usage: Any = field(default_factory=lambda: dict(USAGE))
    """None: the answer says nothing of what it used."""
    finish: str = "stop"
    refusal: str | None = None
    error: Mapping[str, Any] | None = None
    """What the body of a failure says: message, code, param."""
    body: bytes | None = None
    """Sent in place of JSON."""
    truncate: int | None = None
    """Only so many bytes of the body, which is announced as that long: JSON that ends too soon."""
    drop: bool = False
    """The connection ends in the middle of the body."""
    hold: bool = False
    """No answer until the server closes."""
    after: threading.Event | None = None
    """The answer waits for this event."""


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        """Text of the last message."""
        return "".join(part["text"] for part in self._parts() if part["type"] == "text")

    @property
    def stills(self) -> list[bytes]:
        urls = [part["image_url"]["url"] for part in self._parts() if part["type"] == "image_url"]
        return [base64.b64decode(url.removeprefix("data:image/jpeg;base64,"), validate=True) for url in urls]

    def _parts(self) -> list[dict[str, Any]]:
        content = self.body["messages"][-1]["content"]
        return [{"type": "text", "text": content}] if isinstance(content, str) else content


Said = str | Reply


class OpenAIServer:
    """Answers as ``script`` says; remembers every request."""

    reply = Reply

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self.most_at_once = 0
        """Most requests that were under way together."""
        self.closing = threading.Event()
        self._script: Callable[[Seen], Said] = lambda seen: "an answer"
        self._lock = threading.Lock()
        self._under_way = 0
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"owner": self}))
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The base address of the endpoint."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def script(self, what: Sequence[Said] | Callable[[Seen], Said]) -> None:
        """A function from a request to what is said (a text or a reply), or a list of them, in the order in which requests come.

        After the end of a list, requests get the text `an answer`.
        """
        if callable(what):
            self._script = what
            return
        rest = list(what)
        self._script = lambda seen: rest.pop(0) if rest else "an answer"

    def prompts(self) -> list[str]:
        """Of the requests so far."""
        return [seen.prompt for seen in self.requests]

    def close(self) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @contextlib.contextmanager
    def taking(self, seen: Seen) -> Iterator[Reply]:
        """The reply to a request, which is under way until the block ends."""
        with self._lock:
            self.requests.append(seen)
            said = self._script(seen)
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            yield Reply(said) if isinstance(said, str) else said
        finally:
            with self._lock:
                self._under_way -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait
    owner: OpenAIServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.owner.taking(Seen(self.path, headers, body)) as reply:
            if reply.after is not None:
                while not (reply.after.wait(0.01) or self.owner.closing.is_set()):
                    pass
            if reply.hold:
                self.owner.closing.wait()
        with contextlib.suppress(OSError):  # who asked is gone
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        data = reply.body if reply.body is not None else json.dumps(_content(reply)).encode()
        data = data[: reply.truncate]
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if reply.drop:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what came is in ``requests``."""


def _content(reply: Reply) -> dict[str, Any]:
    if reply.status != 200:
        return {"error": {"message": f"status {reply.status}", **(reply.error or {})}}
    message = {"role": "assistant", "content": reply.text}
    if reply.refusal is not None:
        message = {"role": "assistant", "content": None, "refusal": reply.refusal}
    answer: dict[str, Any] = {
        "id": "chat-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish}],
    }
    return answer if reply.usage is None else {**answer, "usage": reply.usage}


@pytest.fixture
def openai_server() -> Iterator[OpenAIServer]:
    """An endpoint: give its ``url`` to a chat model, its ``script`` what it says; ``requests`` are those it got.

    ``openai_server.reply(...)`` makes an answer that is not just a text: a status, headers, a refusal, a torn body, a lost connection.
    """
    server = OpenAIServer()
    yield server
    server.close()
