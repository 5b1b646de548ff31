"""The chapters of a clip's story that tell what was learned of it, as lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from pipelines.apps.explain_learned import Kinship, Other
from pipelines.apps.explain_source import Row
from pipelines.apps.query_text import cell
from pipelines.apps.words import clock, number, plural, share

_ANSWER = {"yes": "green", "no": "red", "unknown": "yellow"}


def seen(looked: Row | None) -> Iterator[Text]:
    """Who looked at the stills, and the tags they gave with their shares."""
    if looked is None:
        return
    if looked["embedding_model"] is not None:
        yield Text(
            f"vector by {_safe(looked['embedding_model'])}, from {plural(looked['embedding_stills'], 'still')}",
            style="dim",
        )
    tags = looked["content_tags"]
    if tags is not None:
        scores = looked["content_tag_scores"] or {}
        yield Text("tags: " + (", ".join(f"{_safe(tag)} {_two(scores.get(tag))}" for tag in tags) or "none"))
        rest = sorted(((s, t) for t, s in scores.items() if t not in tags), reverse=True)
        if rest:
            yield Text("not: " + ", ".join(f"{_safe(tag)} {_two(score)}" for score, tag in rest), style="dim")
    if looked["user_scores"]:
        given = ", ".join(f"{_safe(name)} {number(value)}" for name, value in looked["user_scores"].items())
        yield Text(f"your scorers: {given}")
    if looked["user_tags"]:
        yield Text(f"your taggers: {', '.join(map(_safe, looked['user_tags']))}")


def family(kinship: Kinship | None, *, sought: bool) -> Iterator[Text]:
    """What the clip duplicates, or what gave way for it. ``sought``: whether the corpus was searched at all."""
    if kinship is None:
        why = "for it: other rules drop it, or its part is still to come" if sought else "in this corpus"
        yield Text(f"none were sought {why}")
        return
    if kinship.kept is not None:
        yield Text("gives way to ", style="red").append_text(_other(kinship.kept))
        return
    if not kinship.gave_way_clips:
        yield Text("it is no duplicate of another, and none gives way to it")
        return
    count = kinship.gave_way_clips
    yield Text(f"stays; {plural(count, 'clip')} {'gives' if count == 1 else 'give'} way to it:", style="green")
    for other in kinship.gave_way:
        yield Text("  ").append_text(_other(other))
    more = count - len(kinship.gave_way)
    if more:
        yield Text(f"  and {more:,} more", style="dim")


def _other(other: Other) -> Text:
    text = Text(other.clip_id, style="default")
    if other.where is not None and other.start_s is not None and other.end_s is not None:
        text.append(" in ").append_text(cell(other.where))
        text.append(f" {clock(other.start_s)} to {clock(other.end_s)}")
    return text.append(f": {other.kind}, {_evidence(other.kind, other.similarity)}")


def _evidence(kind: str, similarity: float) -> str:
    if kind == "exact":
        return "equal content and equal span"
    if kind == "near":
        return f"{share(similarity, 1)} of the bits of the perceptual hashes are equal"
    return f"cosine of the vectors {number(similarity, 4)}"


def caption(told: Row | None) -> Iterator[Text]:
    """The text, who wrote it, and what it was before it was rewritten."""
    if told is None:
        yield Text("none: it was not captioned")
        return
    if told["caption"] is None:
        yield Text("none: no captioner had a text for it")
        return
    yield cell(told["caption"])
    scope = "this clip" if told["caption_scope"] == "clip" else "its whole source"
    yield Text(f"by {_safe(told['captioner'])}, about {scope}, {plural(told['caption_words'], 'word')}", style="dim")
    for name, words in (
        ("caption_short", "short"),
        ("caption_structured", "structured"),
        ("caption_original", "before it was rewritten"),
    ):
        if told[name] is not None:
            yield Text(f"{words}: ", style="dim").append_text(_undimmed(told[name]))


def check(found: Row | None) -> Iterator[Text]:
    """Language, category, agreement, and DSG's objects with their questions and answers."""
    if found is None:
        yield Text("it was not checked")
        return
    language = found["caption_language"]
    yield Text("language: ").append(
        "cannot be told" if language is None else f"{language} (how sure: {_two(found['caption_language_score'])})"
    )
    about = Text("category: ").append("none" if found["category"] is None else _safe(found["category"]))
    if len(found["categories"] or []) > 1:
        about.append(f"; also {', '.join(map(_safe, found['categories'][1:]))}")
    if found["category_source"] is not None:
        about.append(f" (by {_safe(found['category_source'])})", style="dim")
    yield about
    if found["agreement"] is not None:
        yield Text(f"agreement of picture and text: {number(found['agreement'], 3)} (OpenCLIP's cosine)")
    if found["dsg"] is not None:
        yield from _dsg(found)


def _dsg(found: Row) -> Iterator[Text]:
    if found["dsg_i"] is None:
        yield Text(f"DSG-Video: no score, of {plural(found['dsg_objects'] or 0, 'object')} none could be judged")
    else:
        yield Text(
            f"DSG-Video: dsg_i {number(found['dsg_i'], 3)}, dsg_s {number(found['dsg_s'], 3)}; "
            f"{len(found['dsg_hallucinated'] or []):,} of {plural(found['dsg_objects'], 'object')} hallucinated"
        )
    kept = found["dsg"]
    if not isinstance(kept, Mapping):
        return
    yield Text("answers by still, named by its frame, until one shows the object:", style="dim")
    for item in kept.get("objects", []):
        yield _object(item, item["object"] in (found["dsg_hallucinated"] or []), kept.get("stills", []))


def _object(item: Mapping[str, Any], missing: bool, stills: list[int]) -> Text:
    mark, colour = ("✗", "red") if missing else ("✓", "green") if "yes" in item["answers"] else ("?", "yellow")
    line = Text(f"  {mark} ", style=colour)
    line.append_text(_undimmed(item["object"])).append(" hallucinated" if missing else "", style="red")
    line.append(": ", style="default").append_text(cell(item["question"]))
    for frame, answer in zip(stills, item["answers"], strict=False):
        line.append(f"  {frame:,} ", style="dim").append(answer, style=_ANSWER.get(answer, ""))
    return line


def _undimmed(value: str) -> Text:
    """A value in a line of another style."""
    return Text(_safe(value), style="default")


def _safe(text: str) -> str:
    """A text from outside: it cannot drive the terminal."""
    return cell(text).plain


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
