"""Small pictures of clips for the page: stills read by byte range from the parts' tars, made smaller, as data URIs."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from curation.corpus import Corpus
from schemas.errors import StorageError

WIDTH = 240
HEIGHT = 240
QUALITY = 72
READERS = 8
"""Stills read at once: on an object store each read is a round trip."""


@dataclass(frozen=True)
class Pointer:
    """Where a still's JPEG lies."""

    part: int
    offset: int
    size: int


class Thumbnails:
    """Reads stills; what cannot be read is noted and shown as an empty frame, since a report should not fail over a picture."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self.problems: list[str] = []

    def load(self, wanted: Mapping[str, Pointer | None]) -> dict[str, str]:
        """Name → data URI, for those that have a readable still."""
        there = {name: pointer for name, pointer in sorted(wanted.items()) if pointer is not None}
        with ThreadPoolExecutor(READERS) as pool:
            found = list(pool.map(self._one, there.values()))
        images = {}
        for name, (uri, problem) in zip(there, found, strict=True):
            if uri is not None:
                images[name] = uri
            else:
                self.problems.append(f"{name}: {problem}")
        return images

    def _one(self, pointer: Pointer) -> tuple[str | None, str]:
        try:
            data = self._corpus.store.read_range(
                self._corpus.path("stills", pointer.part), pointer.offset, pointer.size
            )
        except StorageError as error:
            return None, error.message
        small = shrink(data)
        if small is None:
            return None, "the still is not a readable JPEG"
        return "data:image/jpeg;base64," + base64.b64encode(small).decode("ascii"), ""


def shrink(jpeg: bytes) -> bytes | None:
    """A JPEG that fits into 240 × 240 pixels, from one of any size; None where it does not decode. Smaller ones keep their size."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    if picture is None:
        return None
    height, width = picture.shape[:2]
    scale = min(WIDTH / width, HEIGHT / height)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return encoded.tobytes() if done else None
