"""Tokens that mean something to a network beyond their letters, taken out of what is asked. Room: models.

In: a text that anybody may have written, such as a caption. Out: the same without marks of turns and places for pictures.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def special_tokens(processor: Any, tokenizer: Any) -> list[str]:
    """Longest first: one may be part of another.

    Words and blanks that were merely added to a vocabulary are no marks, and stay.
    """
    places = (getattr(processor, f"{kind}_token", None) for kind in ("image", "video", "audio"))
    marks = {str(token) for token in (*tokenizer.all_special_tokens, *places) if token}
    added = (token for token in tokenizer.get_added_vocab() if len(token.strip()) > 2 and not token.isalnum())
    return sorted((token for token in {*marks, *added} if token.strip()), key=lambda token: (-len(token), token))


def without(text: str, tokens: Iterable[str]) -> str:
    """``text`` with a blank in place of each token, also of one that only comes about so."""
    tokens = tuple(tokens)
    while found := [token for token in tokens if token in text]:
        text = text.replace(found[0], " ")
    return text
