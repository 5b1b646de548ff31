"""`stiv explain`: the whole story of one clip or source."""

from __future__ import annotations

from collections.abc import Mapping

from curation.corpus import Corpus
from curation.views import choose, connect
from pipelines.apps.explain_clip import ClipStory, clip_story
from pipelines.apps.explain_find import find_target
from pipelines.apps.explain_source import SourceStory, read_story, source_story
from pipelines.apps.explain_text import print_explanation

__all__ = ["ClipStory", "Explanation", "SourceStory", "explain", "print_explanation"]

Explanation = ClipStory | SourceStory
"""Either has ``as_json()``."""


def explain(corpus: Corpus, what: str, use: Mapping[str, str] | None = None) -> Explanation:
    """Tell the story of a clip (by id, or its first six or more characters) or a source (by id, address, path or file name).

    Raises:
        UsageError: nothing or more than one thing is named so, or a variant is missing or must be named.
    """
    chosen = choose(corpus, use)
    with connect(corpus, chosen) as db:
        target = find_target(db, what)
        reading = read_story(db, target.uri)
        part = target.part if target.clip_id is not None else reading.facts["part"] if reading.facts else None
        # All else hangs on the one part, but for the places of the clip's signals among all clips.
        with connect(corpus, chosen, None if part is None else {part}) as near:
            if target.clip_id is None:
                return source_story(corpus, near, reading, chosen.names)
            return clip_story(corpus, db, near, target.clip_id, reading, chosen)
