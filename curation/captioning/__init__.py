"""Where a clip's text comes from: captioners behind one small contract, and the measurements taken of what they wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from curation import plugins
from curation.captioning.chat_captioner import ChatCaptioner
from curation.captioning.contract import Captioner, CaptionText, ClipFacts, StillRef, caption_clips
from curation.captioning.describe import DescribeCaptioner
from curation.captioning.frames_captioner import FramesCaptioner
from curation.captioning.outside import Keeps, OutsideCaptioner, kept_as
from curation.captioning.prompts import load_prompt
from curation.captioning.rewriting import Rewriter
from curation.captioning.sidecar import ReadText, SidecarCaptioner, read_local_text
from curation.captioning.text import measure_text
from schemas.chat import ChatModel, Unanswered

__all__ = [
    "CaptionText",
    "Captioner",
    "ClipFacts",
    "DescribeCaptioner",
    "SidecarCaptioner",
    "StillRef",
    "Unanswered",
    "caption_clips",
    "make_captioners",
    "make_rewriter",
    "measure_text",
]

Chats = Callable[[str], ChatModel]
"""Name of a chat model in the recipe → the model."""

Keep = Callable[[str], Keeps]
"""Fingerprint of what answers → where its answers are kept."""


def make_captioners(
    settings: Mapping[str, Any], chats: Chats, read_text: ReadText = read_local_text, keep: Keep | None = None
) -> list[Captioner]:
    """The captioners of a recipe, in its order, fresh for one part.

    Args:
        settings: of a variant of `captions`: the recipe's section, and below ``chats`` the settings of the chat models it names.
        chats: gives those models; asked only for the ones that are needed.
        read_text: reads the files beside the videos.
        keep: gives the place where the texts of a captioner from outside are kept.

    Raises:
        RecipeError: a name is none of them, or a plug-in or prompt cannot be used.
    """

    def make(name: str) -> Captioner:
        if name == SidecarCaptioner.name:
            return SidecarCaptioner(read_text)
        if name == DescribeCaptioner.name:
            return DescribeCaptioner()
        if name in ("vlm", "openai"):
            prompt = load_prompt(settings["prompt"], "captions.prompt")
            return ChatCaptioner(name, chats(name), prompt, settings["styles"], settings["chats"][name]["stills"])
        if name == FramesCaptioner.name:
            return FramesCaptioner(
                chats(settings["vision"]),
                chats(settings["language"]),
                load_prompt(settings["frame_prompt"], "captions.frame_prompt"),
                load_prompt(settings["merge_prompt"], "captions.merge_prompt"),
                settings["styles"],
                settings["chats"][settings["vision"]]["stills"],
            )
        plugin = plugins.captioner(name, settings)
        mark = kept_as(plugin)
        return OutsideCaptioner(plugin, keep(mark) if keep is not None and mark is not None else None)

    return [make(name) for name in settings["captioners"]]


def make_rewriter(settings: Mapping[str, Any], chats: Chats) -> Rewriter | None:
    """What rewrites captions under these settings, or None where they are left as they are. Arguments as above."""
    rewrite = settings["rewrite"]
    if not rewrite["enabled"]:
        return None
    return Rewriter(chats(rewrite["language"]), load_prompt(rewrite["prompt"], "captions.rewrite.prompt"))
