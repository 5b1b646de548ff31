"""Captions in chunks that a text tower can read, and their cosine with pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from curation.captioning.agreement import CHUNK_TOKENS, agreements, text_chunks
from curation.captioning.sentences import split_sentences

TABLE = {"east": (1.0, 0.0), "north": (0.0, 1.0)}


def texts(chunks: Sequence[str]) -> np.ndarray:
    return np.asarray([TABLE["north" if chunk.startswith("North") else "east"] for chunk in chunks], np.float32)


def test_cosines_are_those_of_the_vectors() -> None:
    found = agreements(
        ["East.", "North.", "East.", None, "", "East."],
        [(2.0, 0.0), (2.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (1.0, 0.0), None],
        texts,
    )
    assert found == [1.0, 0.0, -1.0, None, None, None]


def test_a_long_caption_is_the_mean_of_its_chunks() -> None:
    long = "East " + "word " * 69 + "North " + "word " * 69
    assert [chunk[:5] for chunk in text_chunks(long)] == ["East ", "North"]
    assert agreements([long], [(1.0, 0.0)], texts) == [round(2**-0.5, 5)]


def test_equal_chunks_are_sent_once_and_nothing_is_sent_for_nothing() -> None:
    sent: list[list[str]] = []

    def counted(chunks: Sequence[str]) -> np.ndarray:
        sent.append(list(chunks))
        return texts(chunks)

    assert agreements(["East.", "East.", "North."], [(1.0, 0.0)] * 3, counted) == [1.0, 1.0, 0.0]
    assert sent == [["East.", "North."]]
    assert agreements([None], [(1.0, 0.0)], counted) == [None]
    assert len(sent) == 1


def test_opposite_chunks_and_a_vector_of_nothing_have_no_cosine() -> None:
    def both(chunks: Sequence[str]) -> np.ndarray:
        return np.asarray([(1.0, 0.0), (-1.0, 0.0)][: len(chunks)], np.float32)

    assert agreements(["word " * 70 + "other " * 70], [(1.0, 0.0)], both) == [None]
    assert agreements(["East."], [(0.0, 0.0)], texts) == [None]


@pytest.mark.parametrize(
    "caption",
    [
        "A red circle moves to the right across a plain black background. " * 12,
        "一位女士在海滩上遛狗。" * 30,
        "x" * 900,
        "no end " * 200,
        "A short one.",
        "...",
    ],
)
def test_chunks_hold_every_word_and_none_is_too_long(caption: str) -> None:
    chunks = text_chunks(caption)
    assert "".join("".join(chunks).split()) == "".join(caption.split())
    for chunk in chunks:
        words = sum(len(w.encode()) if not w.isascii() else -(-len(w) // 5) for w in chunk.split())
        assert words <= CHUNK_TOKENS


def test_sentences_stay_whole_where_they_fit() -> None:
    caption = " ".join(f"Sentence number {i} speaks of a small boat on a wide lake." for i in range(12))
    for chunk in text_chunks(caption):
        assert chunk.startswith("Sentence")
        assert chunk.endswith("lake.")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("No full stop", 1),
        ("One. Two! Three? Four…", 4),
        ("Dr. Lee meets Mr. J. Smith at 3.5 km, e.g. in St. Moritz.", 1),
        ('He says "Stop." Then he runs.', 2),
        ("Version 2.0 of example.com opens. It closes.", 2),
        ("一只狗在跑。它很快！", 2),
        ("A list\nof lines", 2),
        ("Wait... what?! (Nothing.) -- ", 3),
        ("Plan B. It works.", 1),
        ("So do I. He waves.", 2),
    ],
)
def test_sentences(text: str, count: int) -> None:
    assert len(split_sentences(text)) == count
