"""Charts as inline SVG, made by hand: no library, no request, colours from the page's style sheet."""

from __future__ import annotations

import math

from markupsafe import Markup

from pipelines.apps.report_signals import Bin, Histogram, Threshold
from pipelines.apps.words import number

WIDTH = 400
PLOT = 104
"""Height of the bars in the drawing's own units."""

AXIS = 22
LINE = 15
"""Height of one line of threshold labels."""

_SIGNS = {"<": "<", "<=": "≤", ">": ">", ">=": "≥", "=": "=", "<>": "≠"}


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) within a span."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]


def histogram(data: Histogram) -> Markup:
    """Bars of kept, dropped and open clips on top of each other, with the thresholds of rules as dashed lines.

    A threshold that lies outside the drawing is named at the edge with an arrow.
    """
    low, high = data.bins[0].low, data.bins[-1].high
    head = LINE * len(data.thresholds) + (6 if data.thresholds else 2)
    tallest = max(b.kept + b.dropped + b.open for b in data.bins) or 1
    wide = WIDTH / len(data.bins)
    parts: list[Markup] = []
    for i, b in enumerate(data.bins):
        parts.append(_bar(b, i * wide, wide, head, tallest, _span(data, i)))
    base = head + PLOT
    parts.append(Markup('<line class="axis" x1="0" x2="{}" y1="{}" y2="{}"/>').format(WIDTH, base, base))
    for tick in ticks(low, high):
        if data.integer and (tick % 1 or tick >= high):
            continue
        # A whole number stands in the middle of its bar.
        x = _x(tick + (0.5 if data.integer and data.bins[0].high - low == 1 else 0.0), low, high)
        anchor = "start" if x < 14 else "end" if x > WIDTH - 14 else "middle"
        parts.append(
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                x, base + 16, anchor, number(tick)
            )
        )
    for line, threshold in enumerate(data.thresholds):
        parts.append(_threshold(threshold, low, high, line, base, data.integer))
    label = f"{data.name}: {data.clips} clips from {number(data.low)} to {number(data.high)}"
    return Markup('<svg class="histogram" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, base + AXIS, label, Markup("").join(parts)
    )


def _x(value: float, low: float, high: float) -> float:
    return WIDTH * (value - low) / (high - low) if high > low else WIDTH / 2


def _bar(b: Bin, x: float, wide: float, head: int, tallest: int, span: str) -> Markup:
    base = float(head + PLOT)
    pieces: list[Markup] = []
    for kind, count in (("kept", b.kept), ("dropped", b.dropped), ("open", b.open)):
        if count:
            tall = max(1.5, PLOT * count / tallest)
            base -= tall
            pieces.append(
                Markup('<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>').format(
                    kind, x + 0.5, base, max(0.5, wide - 1), tall
                )
            )
    if b.kept + b.dropped + b.open:
        counts = [f"{n:,} {kind}" for kind, n in (("kept", b.kept), ("dropped", b.dropped), ("open", b.open)) if n]
        tip = f"{span}\n{', '.join(counts)}"
        pieces.append(
            Markup('<rect class="hit" x="{:.2f}" y="{}" width="{:.2f}" height="{}" data-tip="{}"/>').format(
                x, head, wide, PLOT, tip
            )
        )
    return Markup("").join(pieces)


def _span(data: Histogram, i: int) -> str:
    """The values of a bin in words; the first and last also hold what lies beyond."""
    b = data.bins[i]
    if data.integer:
        low, high = number(b.low), number(b.high - 1)
        return low if low == high else f"{low} to {high}"
    low, high = number(b.low, 3), number(b.high, 3)
    if i == 0:
        return f"up to {high}"
    return f"from {low}" if i == len(data.bins) - 1 else f"{low} to {high}"


def _threshold(threshold: Threshold, low: float, high: float, line: int, base: int, integer: bool) -> Markup:
    y = LINE * line + 11
    text = f"{threshold.rule} {_SIGNS[threshold.op]} {number(threshold.value)}"
    if not low <= threshold.value <= high:
        left = threshold.value < low
        arrow = f"← {text}" if left else f"{text} →"
        return Markup('<text class="far" x="{}" y="{}" text-anchor="{}">{}</text>').format(
            0 if left else WIDTH, y, "start" if left else "end", arrow
        )
    # Between whole numbers: `> 0` stands after the bar of 0.
    x = _x(threshold.value + (1 if integer and threshold.op in (">", "<=") else 0), low, high)
    right = x <= WIDTH * 0.55
    return Markup(
        '<line class="threshold" x1="{0:.2f}" x2="{0:.2f}" y1="{1}" y2="{2}"/><text class="mark" x="{3:.2f}" y="{4}" text-anchor="{5}">{6}</text>'
    ).format(x, y - 9, base, x + (5 if right else -5), y, "start" if right else "end", text)


def share_bar(kept: int, total: int, whole: int) -> Markup:
    """A flat bar: length is the share of ``whole``, the filled part of it is what was kept."""
    length = 100 * total / whole if whole else 0.0
    inner = 100 * kept / total if total else 0.0
    return Markup('<span class="bar" style="width:{:.2f}%"><span style="width:{:.2f}%"></span></span>').format(
        length, inner
    )
