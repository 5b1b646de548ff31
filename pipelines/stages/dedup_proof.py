"""Proof of near duplicates by their stills, which are fetched for the pairs in question alone. Part of stage `dedup`."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pyarrow as pa

from curation.corpus import Corpus
from curation.duplicates import groups, stills
from curation.signals.crop import Crop
from curation.variants import Variant

_CLIPS = 1024
"""Clips whose sketches are remembered: 75 MB."""
_PARTS = 64
"""Parts of which it is remembered where stills lie."""


class Proof:
    """Looks at the stills of clips, given by number."""

    def __init__(self, corpus: Corpus, variant: Variant) -> None:
        self._corpus = corpus
        self._variant = variant
        self._sketches: OrderedDict[int, stills.Sketches] = OrderedDict()
        self._places: OrderedDict[int, pa.Table] = OrderedDict()

    def same(self, worse: np.ndarray, better: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        """(n,) bool: which pairs show the same picture, one mirrored where that is said. Pairs whose clips lie near each other are looked at one after the other."""
        out = np.zeros(len(worse), bool)
        for i in np.lexsort((worse, better >> 32, worse >> 32)).tolist():
            other = self.sketches(int(worse[i]))
            out[i] = stills.same(self.sketches(int(better[i])), other.mirrored() if mirrored[i] else other)
        return out

    def sketches(self, clip: int) -> stills.Sketches:
        """Of the stills of a clip."""
        if clip in self._sketches:
            self._sketches.move_to_end(clip)
            return self._sketches[clip]
        part, row = clip >> 32, clip & 0xFFFFFFFF
        place = self._place(part).slice(row, 1).to_pylist()[0]
        tar, crop = self._corpus.path("stills", part), Crop(*place["crop"])
        found = [
            stills.sketch(self._corpus.store.read_range(tar, offset, size), crop)
            for offset, size in zip(place["stills_offset"], place["stills_size"], strict=True)
        ]
        self._sketches[clip] = stills.Sketches([one for one in found if one is not None])
        if len(self._sketches) > _CLIPS:
            self._sketches.popitem(last=False)
        return self._sketches[clip]

    def _place(self, part: int) -> pa.Table:
        if part not in self._places:
            path = groups.looks_path(self._variant, part)
            self._places[part] = self._corpus.store.read_table(path, ["stills_offset", "stills_size", "crop"])
            if len(self._places) > _PARTS:
                self._places.popitem(last=False)
        return self._places[part]
