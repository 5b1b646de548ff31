"""Where the sentences of a caption end. Room: curation."""

from __future__ import annotations

import re

_END = re.compile(r"(?:[.!?…]+[\"'”’)\]]*(?=\s+|$))|(?:[。！？]+[」』”’）]*)|\n+")
"""A full stop inside a number or an address ends nothing, nor does a semicolon."""

_SHORT = frozenset("mr mrs ms dr prof st mt no vs etc eg ie e.g i.e approx fig jr sr a.m p.m".split())
"""Words whose full stop is their own. An initial ("J. Smith") is one, too."""


def split_sentences(text: str) -> list[str]:
    """The sentences of a text in order, stripped; one without any letter or digit is none.

    >>> split_sentences("Dr. Lee pours 3.5 litres. She smiles! (It is warm.)")
    ['Dr. Lee pours 3.5 litres.', 'She smiles!', '(It is warm.)']
    """
    found: list[str] = []
    start = 0
    for end in _END.finditer(text):
        word = text[start : end.start()].rpartition(" ")[2].strip("(\"'“‘").casefold()
        initial = len(word) == 1 and word.isalpha() and word != "i"
        if end.group() == "." and (word in _SHORT or initial) and text[end.end() :].strip():
            continue
        found.append(text[start : end.end()].strip())
        start = end.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if any(c.isalnum() for c in sentence)]
