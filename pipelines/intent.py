"""What a run is about to make again in the place of something, or anew beside it, in words."""

from __future__ import annotations

from collections.abc import Sequence

from curation import variants
from curation.corpus import Corpus
from curation.variants import Variant
from pipelines.chain import SCAN, Stage


def intent(corpus: Corpus, stages: Sequence[Stage], foreseen: dict[str, Variant], *, exporting: bool) -> str | None:
    """What is made, and what stays; None where there is nothing to say."""
    tables = [s.table for s in stages if s is not SCAN] + (["shards"] if exporting else [])
    again = [t for t in tables if foreseen[t].replacing]
    new = [t for t in tables if t not in again and variants.load(corpus, t, foreseen[t].name) is None]
    parts = set(corpus.parts())
    done = [t for t in tables if t not in (*again, *new, "shards") and parts <= corpus.done(t, foreseen[t].folder)]
    if again:
        kept = f"; {', '.join(done)} stay as they are" if done else ""
        return f"Making again, in the place of `{foreseen[again[0]].name}`: {', '.join(again)}{kept}."
    if new and done:
        return (
            f"Making under the name `{foreseen[new[-1]].name}`: {', '.join(new)}; {', '.join(done)} are there already."
        )
    return None
