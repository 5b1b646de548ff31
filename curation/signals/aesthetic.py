"""aesthetic_photo: a score of 0 to 10 from what photographers' rules say about measured signals. No network, no
weights learned.

    score = 10 × product over the terms of term ^ weight        (weights sum to 1)

A geometric mean, because one gross fault spoils a picture whatever its other merits: each of exposure, contrast and
sharpness takes the score to 0 alone. Terms are 0..1 and grow with their signal (but exposure, which has a middle). The
choice of terms follows Datta et al., "Studying Aesthetics in Photographic Images Using a Computational Approach"
(2006) and Ke, Tang and Jing, "The Design of High-Level Features for Photo Quality Assessment" (2006); limits and
weights are ours. It tells technical faults from sound pictures; it knows nothing of subject, moment or taste.
"""

from __future__ import annotations

from curation.signals.light import Light

EXPOSURE_WEIGHT, CONTRAST_WEIGHT, SHARPNESS_WEIGHT, COLOUR_WEIGHT, SIMPLICITY_WEIGHT = 0.25, 0.25, 0.20, 0.20, 0.10

_FULL_CONTRAST = 0.45
"""Contrast (standard deviation over 127.5) from which there is no more to gain: that of a picture evenly spread over
70 % of the range."""
_FULL_COLOUR = 59.0
"""M3 from which there is no more to gain: `quite colourful` in the scale of Hasler and Süsstrunk (2003), table 2."""
_GRAY_COLOUR, _FULL_FRAME = 0.3, 0.5
"""Value of a gray picture's colour term and of a busy picture's simplicity term: both are choices, not faults."""


def aesthetic_photo(light: Light, sharpness: float | None) -> float:
    """0..10. Where ``sharpness`` is None (no structure to judge by) the other terms take over its weight."""
    terms = [
        (exposure(light.brightness, min(1.0, light.clipped_highlights + light.clipped_shadows)), EXPOSURE_WEIGHT),
        (min(1.0, light.contrast / _FULL_CONTRAST), CONTRAST_WEIGHT),
        (_GRAY_COLOUR + (1 - _GRAY_COLOUR) * min(1.0, light.colourfulness / _FULL_COLOUR), COLOUR_WEIGHT),
        (_FULL_FRAME + (1 - _FULL_FRAME) * (1 - light.spread), SIMPLICITY_WEIGHT),
    ]
    if sharpness is not None:
        terms.append((sharpness, SHARPNESS_WEIGHT))
    total = sum(weight for _, weight in terms)
    score = 10.0
    for term, weight in terms:
        score *= term ** (weight / total)
    return score


def exposure(brightness: float, clipped: float) -> float:
    """0..1: 1 for a mean luminance of 0.3 to 0.65, falling in a straight line to 0 at 0.02 and at 0.98, times the
    share that is not clipped."""
    rise = (brightness - 0.02) / (0.30 - 0.02)
    fall = (0.98 - brightness) / (0.98 - 0.65)
    return max(0.0, min(1.0, rise, fall)) * (1.0 - clipped)
