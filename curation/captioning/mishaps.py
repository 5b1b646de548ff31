"""What went wrong without stopping anything: each kind counted, with one example, told in words. Room: curation."""

from __future__ import annotations

from curation.captioning.text import clean_text, cut_at_word

_EXAMPLE_CHARS = 80


class Mishaps:
    """Counts kinds of failure, each a short sentence of what happened: `answers were empty`."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._kinds: dict[str, tuple[int, str]] = {}

    def add(self, what: str, example: str) -> None:
        """One more of a kind; its first example is kept, short and without control characters, for it may come from anywhere."""
        count, kept = self._kinds.get(what, (0, ""))
        if not kept:
            kept = clean_text(example)
            kept = kept if len(kept) <= _EXAMPLE_CHARS else cut_at_word(kept, _EXAMPLE_CHARS) + "…"
        self._kinds[what] = count + 1, kept

    def texts(self) -> list[str]:
        """One sentence per kind, in the order in which they first came."""
        return [f"{self._who}: {what} ({n} ×), such as {example}" for what, (n, example) in self._kinds.items()]
