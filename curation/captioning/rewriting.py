"""Captions in other words: a language model shortens or restyles them, and may add nothing. Room: curation.

A rewrite with a thing, colour, number or direction that its caption does not have is refused; then the caption stays as it was. The
check looks at words, with the limits that :mod:`curation.captioning.additions` states. The short and the structured text of a clip
whose caption was rewritten are held to the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from curation.captioning.additions import added_words
from curation.captioning.mishaps import Mishaps
from curation.captioning.prompts import fill
from curation.captioning.styles import UnusableAnswer, read_answer, with_form
from schemas.chat import Ask, ChatModel

CAPTION = "{caption}"
"""Where the prompt has the caption; without it the caption follows the prompt."""


class Rewriter:
    """Asks a language model for every caption in other words."""

    def __init__(self, chat: ChatModel, prompt: str) -> None:
        self._chat = chat
        self._prompt = prompt if CAPTION in prompt else f"{prompt.strip()}\n\n{CAPTION}"
        self._mishaps = Mishaps("rewrite")

    @property
    def warnings(self) -> Sequence[str]:
        return self._mishaps.texts()

    async def rewrite(self, captions: Sequence[str], clip_ids: Sequence[str]) -> list[str | None]:
        """One text per caption; None where the model has none, or one that adds something. Equal captions are asked about once."""
        # The first clip's id goes with the question, so that its kept answer can be forgotten with the clip.
        once: dict[str, str] = {}
        for caption, clip in zip(captions, clip_ids, strict=True):
            once.setdefault(caption, clip)
        asks = [Ask(with_form(fill(self._prompt, {"caption": text}), ("long",)), clip) for text, clip in once.items()]
        answers = await self._chat.ask(asks)
        texts = {caption: self._read(caption, answer.text) for caption, answer in zip(once, answers, strict=True)}
        return [texts[caption] for caption in captions]

    def adds_nothing(self, caption: str, text: str) -> bool:
        """Whether a text about the clip of a caption names only what the caption does; one that adds something is counted."""
        added = added_words(caption, text)
        if added:
            self._mishaps.add(
                "short or structured texts were left out for what they add", f"{', '.join(added)} in: {text}"
            )
        return not added

    def _read(self, caption: str, answer: str | None) -> str | None:
        if answer is None:
            return None  # the chat model counts why
        try:
            text = read_answer(answer, ("long",)).caption
        except UnusableAnswer as error:
            self._mishaps.add(f"answers {error}, the caption stays", answer)
            return None
        added = added_words(caption, text)
        if added:
            self._mishaps.add("rewrites were refused for what they add", f"{', '.join(added)} in: {text}")
            return None
        return text
