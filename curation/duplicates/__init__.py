"""Duplicates: which clips of a corpus show the same pictures, and which of them is kept. Room: curation.

    looks → exact, near, cosines → clusters

``looks`` is what is remembered of a clip to compare it; the three searches give pairs (worse, better) with their evidence; ``clusters``
decides. Nothing here knows how the work is spread: every function takes arrays and gives arrays.
"""
