"""Picture files to pixels of a wanted size. Room: stiv_train. In: a path. Out: (H, W, 3) uint8 RGB."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from schemas.errors import UsageError
from stiv_train.data.decoding import cover as covering_size


def read_picture(path: Path) -> np.ndarray:
    """The picture as a person sees it (EXIF orientation applied), (H, W, 3) uint8 RGB; of an animation the first frame.

    Raises:
        UsageError: the file is not there or is no picture.
    """
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I;16"):  # Pillow would clip 16-bit grey at 255
                grey = (np.asarray(upright, np.uint16) >> 8).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            return np.asarray(upright.convert("RGB"))
    except FileNotFoundError:
        raise UsageError(f"The picture `{path}` is not there.", fix="Check the path.") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise UsageError(
            f"`{path}` cannot be read as a picture: {str(error).rstrip('.')}.", fix="Give a PNG, JPEG or WebP file."
        ) from None


def cover(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale a picture (H, W, 3) until it covers the size, then crop its centre: (height, width, 3) uint8."""
    rows, columns = covering_size(picture.shape[0], picture.shape[1], height, width)
    if (rows, columns) != picture.shape[:2]:
        shrinks = rows < picture.shape[0]
        picture = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    top, left = (rows - height) // 2, (columns - width) // 2
    return np.ascontiguousarray(picture[top : top + height, left : left + width])
