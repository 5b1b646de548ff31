"""All styles of a caption in one answer: how they are asked for, and how what comes back is read. Room: curation.

In: a prompt, or a model's answer, which is anybody's text. Out: the prompt with the form of the answer, or a caption.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from curation.captioning.contract import CaptionText
from curation.captioning.json_answers import without_thought
from curation.captioning.text import clean_text

KEYS = {
    "long": '"caption": the description, one paragraph as text',
    "short": '"short": the same in one sentence of at most 20 words',
    "structured": '"structured": an object with the keys "subjects", "actions", "setting", "style" and "camera", each a list of short texts',
}
"""Style → its key in the answer, and what is asked for."""

_FORM = "Answer with one JSON object and nothing else. Its keys are:\n{keys}"
_PLAIN = "Answer with the description alone."

_TRIES = 64
"""Most braces of an answer at which a JSON object is looked for."""

_FENCE = re.compile(r"^\s*```[a-z]*[ \t]*\n(.*?)\n?\s*```\s*$", re.DOTALL | re.IGNORECASE)
_LIKE_JSON = re.compile(r"""^\s*(```\w*\s*)?(\{|\[\s*["'{])|["']caption["']\s*:""")
_LEAD = re.compile(
    r"""^((sure|certainly|of\s+course|absolutely|okay|ok)(\s+thing)?\s*[!,.:]+\s+(?=\S))?
        (here(['’]s|\s+is)\b[^:.!?]{0,80}\b(caption|description|paragraph|summary)\b[^:.!?]{0,80}:[*_\s]*)?
        ([*_\#\s]*(caption|description)\s*[*_]*\s*:[*_\s]*)?""",
    re.IGNORECASE | re.VERBOSE,
)
"""What stands before a caption: a courtesy, an announcement, a label."""
_QUOTES = {'"': '"', "“": "”"}

_MEDIUM = r"(video|clip|footage|film|image|picture|photo|still|frame|screenshot|attachment|file|content)"
_REFUSAL = re.compile(
    rf"""^\W*(unfortunately,?\s+|sorry,?\s+(but\s+)?|(i\s+am|i['’]m)\s+(\w+\s+)?sorry,?\s+(but\s+)?)?(
        (i|we)\s+(can\s?not|can['’]t|could\s+not|couldn['’]t|do\s+not|don['’]t)\s+(\w+ly\s+)?(see|view|perceive)\s+
            (((any|an?|the|this|that|these|those|your|of|actual|attached|uploaded)\s+)*{_MEDIUM}s?\b|anything\b|enough\b|it\b)
        | (i|we)\s+(can\s?not|can['’]t|could\s+not|couldn['’]t|do\s+not|don['’]t)\s+(?!(\w+ly\s+)?(see|view|perceive)\b)
        | (i|we)\s+(will\s+not|won['’]t|apologi[sz]e|decline|refuse)\b
        | (i|we)\s+(must|have\s+to|need\s+to|should|will|would)\s+(\w+ly\s+)?(decline|refuse|apologi[sz]e)\b
        | (i\s+am|i['’]m|we\s+are|we['’]re)\s+(unable|not\s+able|not\s+allowed|sorry)\b
        | (unable|not\s+able)\s+to\s+(process|view|see|access|describe|analy[sz]e|identify|help|assist)\b
        | as\s+an?\s+(ai|artificial\s+intelligence|(large\s+)?language\s+model)\b
        | no\s+(video|image|picture|still|frame)s?\s+(was|were|is|are|has\s+been|have\s+been)\s+(provided|given|attached|uploaded|shared)\b
        | (that|this|it)(['’]s|\s+is)\s+(not\s+)?something\s+(that\s+)?(i|we)\s+(can|am|are|could|will|won)
        | (this|that|the|your)\s+(content|{_MEDIUM}|request|material)\s+(\w+\s+)?(violates?|goes\s+against|is\s+against|conflicts\s+with)\s+
            (my|our|the|content|safety|usage|community)\b
        )
    | ^\W*(
        (es\s+)?tut\s+mir\s+(\w+\s+)?leid\b | (leider\s+)?(ich\s+(kann|darf)|(kann|darf)\s+ich)\b[^.!?]{{0,80}}\bnicht\b
        | lo\s+(siento|lamento)\b | (lamentablemente,?\s+)?no\s+puedo\b
        | (je\s+suis\s+(\w+\s+)?)?d[ée]sol[ée]e?\s*(,|mais\b|de\b|\.) | (malheureusement,?\s+)?je\s+ne\s+(peux|puis)\b
        | mi\s+dispiace\b | (desculpe|lamento|sinto\s+muito|infelizmente)\b | (извините|простите|к\s+сожалению)\b
        | (很|非常|十分|真的)?(对不起|對不起|抱歉) | 我(无法|無法|不能) | 申し訳 | 申しわけ | すみません | ごめんなさい | 죄송
        )""",
    re.IGNORECASE | re.VERBOSE,
)
"""How an answer begins that is none. A model speaks of itself only where it declines, save for what it does not see in a picture.

Of other languages only the commonest beginnings are known.
"""


class UnusableAnswer(ValueError):
    """No caption is in it. The message says why, after `answers`: `were empty`."""


def with_form(prompt: str, styles: Sequence[str]) -> str:
    """The prompt with what the answer should look like: plain text where only the long style is wanted, else a JSON object."""
    if wants_json(styles):
        return f"{prompt.strip()}\n\n" + _FORM.format(keys="\n".join(f"- {KEYS[style]}" for style in styles))
    return f"{prompt.strip()}\n\n{_PLAIN}"


def wants_json(styles: Sequence[str]) -> bool:
    return set(styles) != {"long"}


def read_answer(text: str, styles: Sequence[str]) -> CaptionText:
    """The caption in an answer: from the first JSON object that has one, wherever it stands, else the whole text.

    Only styles that were asked for are taken.

    Raises:
        UnusableAnswer: it is empty, a refusal in words, or JSON that is broken or has no caption.
    """
    said = without_thought(text)
    if not clean_text(said):
        raise UnusableAnswer("were empty")
    found = next((held for held in _objects(said) if isinstance(held.get("caption"), str)), None)
    if found is None:
        if _LIKE_JSON.search(said) or said.lstrip().startswith("<think>"):
            raise UnusableAnswer("were cut short, or no JSON with a caption")
        found = {"caption": _bare(said)}
    caption = clean_text(found["caption"])
    if not caption:
        raise UnusableAnswer("were empty")
    if _REFUSAL.match(caption):
        raise UnusableAnswer("were refusals")
    short = found.get("short") if "short" in styles else None
    structured = found.get("structured") if "structured" in styles else None
    return CaptionText(
        caption,
        (clean_text(short) or None) if isinstance(short, str) else None,
        _json(structured) if isinstance(structured, dict) and structured else None,
    )


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that begin at the first braces of a text; objects in objects come, too, after the outer one."""
    decoder = json.JSONDecoder(strict=False, parse_constant=lambda name: None)
    start = -1
    for _ in range(_TRIES):
        start = text.find("{", start + 1)
        if start < 0:
            return
        try:
            yield decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            continue


def _bare(text: str) -> str:
    """Without a code fence, what announces it, a label or quotation marks round the whole of it."""
    fenced = _FENCE.match(text)
    bare = _LEAD.sub("", clean_text(fenced[1] if fenced else text))
    if len(bare) > 1 and _QUOTES.get(bare[0]) == bare[-1] and bare[0] not in bare[1:-1]:
        bare = bare[1:-1]
    return bare


def _json(held: dict[str, Any]) -> str:
    """Half surrogate pairs, which JSON can hold and UTF-8 cannot, become U+FFFD."""
    return json.dumps(held, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
