"""A captioner, a scorer and a tagger for stiv. Change them into your own."""

import cv2
import numpy as np

from curation.captioning import CaptionText


class FileNames:
    fingerprint = "file-names-1"  # changes when the captions would
    dear = False  # True, or nothing: its captions are kept, and no clip is captioned twice

    def __init__(self, **settings):
        self.prompt = settings.get("prompt")  # and styles, max_chars: of the recipe's section `captions`

    async def caption(self, clips):
        return [CaptionText(f"A video named {clip.rel_path.replace('_', ' ')}.") for clip in clips]


class Brightness:
    fingerprint = "brightness-1"

    def score(self, clip):
        pictures = [cv2.imdecode(np.frombuffer(still.read(), np.uint8), 0) for still in clip.stills]
        return {"mean": np.mean(pictures) / 255, "spread": np.std(pictures) / 255}


class Shape:
    fingerprint = "shape-1"

    def tag(self, clip):
        return ["portrait" if clip.row["height"] > clip.row["width"] else "landscape"]
