"""Finding transitions as spans, and making clips of what lies between them.

PySceneDetect's detectors and cheap measures of our own nominate frames (:mod:`~curation.shots.nominate`,
:mod:`~curation.shots.finder`); tests on small sketches of the frames decide (:mod:`~curation.shots.cuts`,
:mod:`~curation.shots.blends`, :mod:`~curation.shots.valleys`, :mod:`~curation.shots.dips`); :mod:`~curation.shots.clips` trims,
and divides what is long (:mod:`~curation.shots.splits`).
"""

from curation.shots.clips import ClipMaker, ClipSpan
from curation.shots.finder import ShotFinder

__all__ = ["ClipMaker", "ClipSpan", "ShotFinder"]
