"""A text detector: PP-OCRv6 (small) from rapidocr's wheel, run by onnxruntime. Room: models.

In: pictures. Out: boxes round lines of text, at any angle, and the share of the picture that they cover.

Only the weights of rapidocr are used, not its program: that would set up loggers, look for models to download and take all processors.
Nothing is ever fetched; one thread per detector, so that the answer does not depend on the machine's size.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from pathlib import Path

import cv2
import numpy as np

from models.text_detector.boxes import covered_share, find_boxes
from schemas.errors import UsageError

WEIGHTS = "PP-OCRv6_det_small.onnx"
NAME = WEIGHTS.removesuffix(".onnx")

_STEP = 32
"""px: sides of the network's input are multiples of this."""

_FIX = "Install it: pip install 'rapidocr>=3.10' onnxruntime (they are part of stiv's own requirements); or turn the search for text off with --set features.text.enabled=false."


class TextDetector:
    """The network, ready to be asked. Holds about 100 MB."""

    def __init__(self, long_side: int, min_score: float) -> None:
        """
        Args:
            long_side: px; larger pictures are reduced to this before they are looked at, smaller ones are not enlarged.
            min_score: 0..1, least confidence of a box.

        Raises:
            UsageError: rapidocr or onnxruntime is not installed.
        """
        self._long_side, self._min_score = long_side, min_score
        weights = weights_file()
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise UsageError("The package onnxruntime is not installed.", fix=_FIX) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def boxes(self, picture: np.ndarray) -> list[np.ndarray]:
        """Boxes round the text of a picture, (h, w, 3) uint8 BGR: each (4, 2) float32 (x, y) in its pixels."""
        height, width = picture.shape[:2]
        scale = min(1.0, self._long_side / max(height, width))
        inner = (_steps(width * scale), _steps(height * scale))
        reduced = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        # (1, 3, h, w) float32, −1..1
        given = cv2.dnn.blobFromImage(reduced, 1 / 127.5, mean=(127.5, 127.5, 127.5))
        probability = self._session.run(None, {self._input: given})[0][0, 0]
        factor = np.array([width / inner[0], height / inner[1]], np.float32)
        return [corners * factor for corners in find_boxes(probability, self._min_score)]

    def area(self, picture: np.ndarray) -> float:
        """0..1: share of a picture, (h, w, 3) uint8 BGR, under text."""
        height, width = picture.shape[:2]
        return covered_share(self.boxes(picture), width, height)


def _steps(side: float) -> int:
    return max(1, round(side / _STEP)) * _STEP


def weights_file() -> Path:
    """Where the weights lie.

    Raises:
        UsageError: rapidocr is not installed, or its wheel is without them.
    """
    found = importlib.util.find_spec("rapidocr")
    if found is None or not found.submodule_search_locations:
        raise UsageError("The package rapidocr, which holds the text detector's weights, is not installed.", fix=_FIX)
    path = Path(found.submodule_search_locations[0]) / "models" / WEIGHTS
    if not path.is_file():
        raise UsageError(f"The installed rapidocr is without the text detector's weights ({WEIGHTS}).", fix=_FIX)
    return path


@functools.cache
def fingerprint() -> str:
    """Of the weights: what an answer depends on beside the settings.

    Raises:
        UsageError: see :func:`weights_file`.
    """
    return hashlib.sha256(weights_file().read_bytes()).hexdigest()[:16]
