from __future__ import annotations

import pytest

from pipelines.apps.words import clock, dollars, hours, number, plural, share, size


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0:00.00"), (7.96, "0:07.96"), (59.999, "1:00.00"), (3727.5, "1:02:07.50"), (-0.04, "-0:00.04")],
)
def test_a_place_in_a_video(seconds: float, words: str) -> None:
    assert clock(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (0, "0 s"), (42.4, "42 s"), (210, "3.5 min"), (5400, "1.5 h"), (4.4e6, "1,222 h")],
)
def test_a_length_of_video(seconds: float | None, words: str) -> None:
    assert hours(seconds) == words


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [
        (0, 0, "–"),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 3, "33 %"),
        (1, 40, "2.5 %"),
        (1, 10**6, "< 0.1 %"),
        (10**6 - 1, 10**6, "> 99.9 %"),
    ],
)
def test_a_share_never_rounds_to_nothing_or_all(part: int, whole: int, words: str) -> None:
    assert share(part, whole) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (0.31, "0.31"),
        (2.08191, "2.082"),
        (5000.0, "5,000"),
        (12345.6, "12,346"),
        (1e-9, "1e-09"),
        (1204, "1,204"),
    ],
)
def test_a_measurement(value: float | None, words: str) -> None:
    assert number(value) == words


def test_sizes_and_plurals() -> None:
    assert [size(n) for n in (None, 0, 999, 20480, 5.1e8, 3e18)] == [
        "–",
        "0 bytes",
        "999 bytes",
        "20.5 kB",
        "510.0 MB",
        "3,000.0 PB",
    ]
    assert [plural(1, "clip"), plural(1204, "clip"), plural(2, "entry", "entries")] == [
        "1 clip",
        "1,204 clips",
        "2 entries",
    ]


@pytest.mark.parametrize(
    ("usd", "words"),
    [(0, "$0.00"), (1e-9, "under $0.01"), (0.0099, "under $0.01"), (0.01, "$0.01"), (1204.5, "$1,204.50")],
)
def test_money_that_was_spent_is_never_nothing(usd: float, words: str) -> None:
    assert dollars(usd) == words
