"""What a corpus is about: kept clips and hours by category of their captions, and weights that even them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curation.corpus import Corpus
from curation.views import Chosen, choose, connect


@dataclass(frozen=True, slots=True)
class CategoryShare:
    """One category of a corpus."""

    category: str | None
    """None: clips whose caption has no category, or was not checked."""
    clips: int
    """Kept clips of which it is the first category: each clip counts once."""
    hours: float
    """Their length."""
    share: float
    """Of the hours of all kept clips, 0..1."""
    clips_also: int
    """Kept clips that have it among their categories, first or not."""


_SQL = """
WITH judged AS (SELECT category, categories, duration_s FROM clips_all WHERE {kept}),
firsts AS (SELECT category, count(*) AS clips, coalesce(sum(duration_s), 0) / 3600 AS hours FROM judged GROUP BY ALL),
alsos AS (SELECT also, count(*) AS clips FROM (SELECT unnest(list_distinct(categories)) AS also FROM judged) GROUP BY ALL)
SELECT coalesce(category, also), coalesce(firsts.clips, 0), coalesce(hours, 0), coalesce(alsos.clips, 0)
FROM firsts FULL JOIN alsos ON category = also
ORDER BY coalesce(category, also) IS NULL, 3 DESC, 2 DESC, 4 DESC, 1
"""


def category_balance(corpus: Corpus, use: Mapping[str, str] | Chosen | None = None) -> list[CategoryShare] | None:
    """The categories of the kept clips, the one with most hours first, clips without a category last.

    None where no caption was checked; empty where captions were, and no clip is kept. Where nothing was decided yet, clips with a
    caption count as kept.

    Args:
        use: which variants to look at; see :func:`curation.views.choose`.
    """
    chosen = use if isinstance(use, Chosen) else choose(corpus, use)
    if chosen["checks"] is None:
        return None
    kept = "kept" if chosen["decisions"] is not None else "caption IS NOT NULL"
    with connect(corpus, chosen) as db:
        rows = db.execute(_SQL.format(kept=kept)).fetchall()
    whole = sum(hours for _, _, hours, _ in rows)
    return [
        CategoryShare(category, clips, hours, hours / whole if whole else 0.0, also)
        for category, clips, hours, also in rows
    ]


def flattening_weight(balance: Sequence[CategoryShare], strength: float = 1.0, most: float = 8.0) -> str:
    """An expression for `data.weight` by which every category is seen as often as the others, as far as ``most`` allows.

    A clip's weight is (mean clips of a category / clips of its own) to the power of ``strength``, between 1 / most and most: 0 leaves all
    as it is, 0.5 goes half the way. Clips without a category keep the weight 1.

        stiv data-plan corpus --set "data.weight=CASE category WHEN 'people' THEN 0.5 WHEN 'food' THEN 3 ELSE 1 END"
    """
    named = [row for row in balance if row.category is not None and row.clips]
    if not named:
        return "1"
    mean = sum(row.clips for row in named) / len(named)
    weights = {str(row.category): min(most, max(1 / most, (mean / row.clips) ** strength)) for row in named}
    cases = " ".join(f"WHEN {_quoted(name)} THEN {weight:.3g}" for name, weight in weights.items())
    return f"CASE category {cases} ELSE 1 END"


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
