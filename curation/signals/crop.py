"""What is left of the picture when its black bars are taken off, as shares, so that it fits any size of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Crop:
    """Widths of the black bars as shares (0..1) of the displayed picture's sides. The default is no bars."""

    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0

    @property
    def area(self) -> float:
        """0..1: share of the picture that is left."""
        return (1.0 - self.left - self.right) * (1.0 - self.top - self.bottom)

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in pixels of a picture of that size, right and bottom exclusive, rounded inwards; never empty."""
        left, top = min(width - 1, _up(self.left * width)), min(height - 1, _up(self.top * height))
        right, bottom = (
            max(left + 1, int((1 - self.right) * width + 1e-6)),
            max(top + 1, int((1 - self.bottom) * height + 1e-6)),
        )
        return left, top, right, bottom


NO_BARS = Crop()
"""The whole picture."""


def _up(value: float) -> int:
    return int(-((-value + 1e-6) // 1))
