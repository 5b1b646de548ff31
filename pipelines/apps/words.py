"""Numbers and times in words, the same on the terminal and on the page."""

from __future__ import annotations


def hours(seconds: float | None) -> str:
    """A length of video: ``42 s``, ``3.5 min``, ``1,204 h``."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    value = seconds / 3600
    return f"{value:,.1f} h" if value < 1000 else f"{value:,.0f} h"


def clock(seconds: float) -> str:
    """A place in a video: ``0:07.96``, ``1:02:07.96``."""
    hundredths = round(seconds * 100)
    sign, hundredths = ("-", -hundredths) if hundredths < 0 else ("", hundredths)
    whole, rest = divmod(hundredths, 100)
    minutes, secs = divmod(whole, 60)
    big, minutes = divmod(minutes, 60)
    return f"{sign}{big}:{minutes:02d}:{secs:02d}.{rest:02d}" if big else f"{sign}{minutes}:{secs:02d}.{rest:02d}"


def elapsed(seconds: float) -> str:
    """A length of waiting, in whole seconds: ``0:07``, ``1:02:07``."""
    minutes, rest = divmod(int(seconds), 60)
    big, minutes = divmod(minutes, 60)
    return f"{big}:{minutes:02d}:{rest:02d}" if big else f"{minutes}:{rest:02d}"


def size(count: float | None) -> str:
    """Bytes in decimal units."""
    if count is None:
        return "–"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} PB"


def dollars(usd: float) -> str:
    """A sum of money: ``$1,204.50``; what is not quite nothing is never `$0.00`."""
    return "under $0.01" if 0 < usd < 0.01 else f"${usd:,.2f}"


def share(part: float, whole: float) -> str:
    """A share in percent; ``–`` of nothing; never 0 % or 100 % where it is not quite so."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.1f} %"


def number(value: float | int | None, digits: int = 4) -> str:
    """A measurement: four significant digits, thousands marked, no needless zeros."""
    if value is None:
        return "–"
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 clip``, ``1,204 clips``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def brief(text: str, limit: int = 160) -> str:
    """A long text, such as a rule with patterns, cut with an ellipsis; it stands whole in the recipe and in JSON."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
