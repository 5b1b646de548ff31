"""The nominators take shortcuts; what they nominate is what PySceneDetect's own detectors do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, HistogramDetector

from curation.shots import nominate
from curation.shots.nominate import MIN_CONTENT, Nominators
from schemas.recipe import Shots


def pictures(count: int = 120) -> Iterator[np.ndarray]:
    """(36, 64, 3) uint8: shots of 20 frames with noise of different strength, a flash, and black."""
    rng = np.random.default_rng(3)
    for index in range(count):
        if index % 20 == 0:
            ground = rng.uniform(0, 255, 3) + rng.normal(0, 30, (36, 64, 3))
        picture = ground + rng.normal(0, 1 + index % 20, ground.shape)
        yield np.clip(picture + 120 * (index == 31) - 300 * (90 <= index < 95), 0, 255).astype(np.uint8)


def test_scores_and_histograms_are_those_of_the_library() -> None:
    ours, theirs = nominate._Cuts(), AdaptiveDetector()
    for index, picture in enumerate(pictures()):
        code = FrameTimecode(index, 25.0)
        ours.process_frame(code, picture)
        theirs.process_frame(code, picture)
        assert ours._frame_score == pytest.approx(theirs._frame_score, abs=1e-9)
        own = nominate._Changes.calculate_histogram(picture, bins=64)
        assert np.array_equal(own, HistogramDetector.calculate_histogram(picture, bins=64))


def test_nominations_are_those_of_the_library() -> None:
    settings = Shots()
    nominators = Nominators(settings)
    cuts = AdaptiveDetector(settings.adaptive_threshold, min_scene_len=1, min_content_val=MIN_CONTENT)
    changes = HistogramDetector(threshold=settings.histogram_threshold, min_scene_len=1)
    found = []
    for index, picture in enumerate(pictures()):
        code = FrameTimecode(index, 25.0)
        wanted = ([c.frame_num for c in cuts.process_frame(code, picture)], bool(changes.process_frame(code, picture)))
        assert nominators.push(index, picture) == wanted
        found += wanted[0]
    assert {20, 40, 60, 80, 100} <= set(found)
