"""How well a caption agrees with a clip: the cosine of their vectors, also for captions longer than a text tower reads. Room: curation.

CLIP's text tower reads 77 tokens, two of them marks, and forgets the rest without a word. A longer caption is therefore cut into chunks
of whole sentences; its vector is the mean of their unit vectors, made of length 1 again. Legend: n chunks, D width of the vectors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from curation.captioning.sentences import split_sentences

CHUNK_TOKENS = 70
"""Fewer than 75, for tokens are estimated, not counted."""

_LETTERS_PER_TOKEN = 5
"""Of plain letters; most English words are one token. A mark, and each byte of another script, is counted as one: nearly so it is."""

_RUN = re.compile(r"[A-Za-z]+|[^\sA-Za-z]+")

Texts = Callable[[Sequence[str]], np.ndarray]
"""Texts → (n, D) float32 unit vectors."""


def agreements(
    captions: Sequence[str | None], vectors: Sequence[Sequence[float] | None], texts: Texts
) -> list[float | None]:
    """Cosine, -1..1, of each caption with the vector of its clip, rounded to five digits; None where one of them is missing.

    ``texts`` is asked once, for all chunks; equal chunks are sent once.
    """
    wanted = [i for i, (c, v) in enumerate(zip(captions, vectors, strict=True)) if c and v is not None]
    chunks = {i: text_chunks(captions[i] or "") for i in wanted}
    once = {chunk: place for place, chunk in enumerate(dict.fromkeys(c for i in wanted for c in chunks[i]))}
    found: list[float | None] = [None] * len(captions)
    if not once:
        return found
    said = np.asarray(texts(list(once)), np.float64)
    for i in wanted:
        mean = said[[once[chunk] for chunk in chunks[i]]].mean(axis=0)
        picture = np.asarray(vectors[i], np.float64)
        lengths = float(np.linalg.norm(mean) * np.linalg.norm(picture))
        found[i] = round(float(mean @ picture) / lengths, 5) if lengths > 0 else None
    return found


def text_chunks(caption: str) -> list[str]:
    """A caption in pieces of about ``CHUNK_TOKENS`` tokens at most, of whole sentences where they fit, else of whole words."""
    chunks: list[str] = []
    room = 0
    for sentence in split_sentences(caption) or [caption]:
        for piece in _pieces(sentence):
            tokens = _tokens(piece)
            if chunks and tokens <= room:
                chunks[-1] += " " + piece
            else:
                chunks.append(piece)
                room = CHUNK_TOKENS
            room -= tokens
    return chunks


def _pieces(sentence: str) -> list[str]:
    """The sentence, or parts of it that fit."""
    if _tokens(sentence) <= CHUNK_TOKENS:
        return [sentence]
    pieces, room = [""], CHUNK_TOKENS
    for word in (part for whole in sentence.split() for part in _parts(whole)):
        tokens = _tokens(word)
        if tokens > room and pieces[-1]:
            pieces.append("")
            room = CHUNK_TOKENS
        pieces[-1] = f"{pieces[-1]} {word}".strip()
        room -= tokens
    return pieces


def _parts(word: str) -> list[str]:
    """A word, or parts of one without blanks that is as long as a text (Chinese, an address)."""
    most = CHUNK_TOKENS // 4  # no character has more bytes
    return [word[i : i + most] for i in range(0, len(word), most)]


def _tokens(text: str) -> int:
    return sum(
        -(-len(run) // _LETTERS_PER_TOKEN) if run.isalnum() and run.isascii() else len(run.encode())
        for run in _RUN.findall(text)
    )
