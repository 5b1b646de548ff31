"""Where a clip's text comes from: captioners behind one small contract, and the measurements taken of what they wrote."""

from __future__ import annotations

from collections.abc import Sequence

from curation.captioning.contract import Captioner, CaptionText, ClipFacts, StillRef, caption_clips
from curation.captioning.describe import DescribeCaptioner
from curation.captioning.sidecar import ReadText, SidecarCaptioner, read_local_text
from curation.captioning.text import measure_text
from schemas.errors import RecipeError

__all__ = [
    "CaptionText",
    "Captioner",
    "ClipFacts",
    "DescribeCaptioner",
    "SidecarCaptioner",
    "StillRef",
    "caption_clips",
    "make_captioners",
    "measure_text",
]


def make_captioners(names: Sequence[str], read_text: ReadText = read_local_text) -> list[Captioner]:
    """The captioners of a recipe, in its order, fresh for one part. ``read_text`` reads the files beside the videos.

    Raises RecipeError for a name that is none of them.
    """
    made: list[Captioner] = []
    for name in names:
        if name == SidecarCaptioner.name:
            made.append(SidecarCaptioner(read_text))
        elif name == DescribeCaptioner.name:
            made.append(DescribeCaptioner())
        else:
            raise RecipeError(
                f"There is no captioner `{name}`.", fix=f"Use {SidecarCaptioner.name} or {DescribeCaptioner.name}."
            )
    return made
