"""A question in the words of OpenAI's chat protocol. Room: models.

In: texts and what reads JPEGs. Out: messages, ready for JSON.
"""

from __future__ import annotations

import base64
from typing import Any

from schemas.chat import Ask


def messages_of(ask: Ask) -> list[dict[str, Any]]:
    """What is said to the endpoint. Reads the stills.

    Raises:
        OSError: one cannot be read, or is no whole JPEG.
    """
    content: Any = ask.prompt
    if ask.stills:
        urls = ["data:image/jpeg;base64," + base64.b64encode(_jpeg(read())).decode() for read in ask.stills]
        content = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        content.append({"type": "text", "text": ask.prompt})
    system = [{"role": "system", "content": ask.system}] if ask.system else []
    return [*system, {"role": "user", "content": content}]


def _jpeg(data: bytes) -> bytes:
    """The picture, if it has a beginning and an end. An endpoint turns others down, as if it did not work."""
    if data.startswith(b"\xff\xd8") and data.rstrip(b"\0").endswith(b"\xff\xd9"):
        return data
    raise OSError("it is no whole JPEG")
