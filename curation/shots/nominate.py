"""PySceneDetect's detectors, asked only where something may have happened.

They return points and see few dissolves, so what they say is a nomination that :mod:`curation.shots.cuts` and
:mod:`curation.shots.blends` then test. Their frame numbers come from time and are wrong at variable rate; here they are given a
time code that counts frames.
"""

from __future__ import annotations

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, HistogramDetector

from schemas.recipe import Shots

MIN_CONTENT = 8.0
"""Least change (mean over hue, saturation and value, 0..255) of a nominated cut. PySceneDetect's default is 15, because nobody
tests its cuts afterwards."""


class _Cuts(AdaptiveDetector):
    """AdaptiveDetector, whose score at equal weights is found in one step instead of channel by channel: a seventh of the time.

    The method belongs to the library's inside. Should another version not know it, that version's own gives the same score.
    """

    _last: np.ndarray | None = None

    def _calculate_frame_score(self, timecode: FrameTimecode, frame_img: np.ndarray) -> float:
        """Mean absolute difference of hue, saturation and value from the frame before, 0..255; 0 for the first frame."""
        last, self._last = self._last, np.asarray(cv2.cvtColor(frame_img, cv2.COLOR_BGR2HSV))
        return 0.0 if last is None else cv2.norm(self._last, last, cv2.NORM_L1) / last.size


class _Changes(HistogramDetector):
    """HistogramDetector, whose histogram is made without taking the picture's channels apart."""

    @staticmethod
    def calculate_histogram(frame_img: np.ndarray, bins: int = 256, normalize: bool = True) -> np.ndarray:
        """(bins,) float32: of the luma of a (h, w, 3) uint8 BGR picture."""
        counts = cv2.calcHist([cv2.cvtColor(frame_img, cv2.COLOR_BGR2YUV)], [0], None, [bins], [0, 256])
        return np.asarray(cv2.normalize(counts, counts) if normalize else counts).ravel()


class Nominators:
    """AdaptiveDetector for cuts, HistogramDetector for gradual change, both without a minimum scene length."""

    def __init__(self, settings: Shots) -> None:
        self._cuts = _Cuts(adaptive_threshold=settings.adaptive_threshold, min_scene_len=1, min_content_val=MIN_CONTENT)
        self._changes = _Changes(threshold=settings.histogram_threshold, min_scene_len=1)
        self._clock = FrameTimecode(0, 25.0)  # any rate will do: only frame numbers are used

    def push(self, index: int, picture: np.ndarray) -> tuple[list[int], bool]:
        """Take the next frame as a small (h, w, 3) uint8 BGR picture.

        Returns:
            the frames now nominated as the first of a new shot (a few frames behind ``index``), and whether the luma
            histogram changed much from the frame before to this one.
        """
        code = FrameTimecode(index, self._clock)
        cuts = [found.frame_num for found in self._cuts.process_frame(code, picture)]
        return cuts, bool(self._changes.process_frame(code, picture))
