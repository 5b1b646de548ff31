"""Planning a copy, before anything is decoded or written; sizes and clocks of what is written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from curation.clip_form import fitted_size
from curation.copy_check import CopyRefused
from curation.keyframes import starts_afresh
from curation.remux import _collect, decoding_times, plan_copy
from curation.spans import SourceSpan
from curation.timescale import ticks, timescale_of


@st.composite
def groups(draw: st.DrawFn) -> list[tuple[int, bool]]:
    """(pts, is keyframe) in decoding order: closed groups, each a keyframe and then its other frames in any order."""
    stamps: list[tuple[int, bool]] = []
    for _ in range(draw(st.integers(1, 4))):
        at = len(stamps)
        others = draw(st.permutations(range(1, draw(st.integers(1, 8)))))
        stamps += [(at, True), *((at + n, False) for n in others)]
    step = draw(st.integers(1, 40))
    return [(pts * step, key) for pts, key in stamps]


@given(groups(), st.data())
@settings_of_hypothesis(max_examples=200, deadline=None)
def test_a_planned_copy_is_a_beginning_in_both_orders(stamps: list[tuple[int, bool]], data: st.DataObject) -> None:
    shown = sorted(pts for pts, _ in stamps)
    a = data.draw(st.integers(0, len(shown) - 1))
    b = data.draw(st.integers(a + 1, len(shown)))
    end = [*shown, shown[-1] + 7][b]
    span = SourceSpan(Path("x"), 0, shown[a], end, b - a)
    keys = [i for i, (pts, key) in enumerate(stamps) if key and shown[a] <= pts < end]
    if not keys:
        with pytest.raises(CopyRefused, match="no codec keyframe"):
            plan_copy(stamps, span, tolerance=10**6, interval=10**6, least=1)
        return
    plan = plan_copy(stamps, span, tolerance=10**6, interval=10**6, least=1)
    first = keys[0]
    assert plan.chosen == tuple(range(first, first + len(plan.chosen))), "a beginning in decoding order"
    chosen = sorted(stamps[i][0] for i in plan.chosen)
    at = shown.index(stamps[first][0])
    assert chosen == shown[at : at + len(chosen)], "a beginning in the order of showing"
    assert plan.skipped == at - a
    assert plan.end_pts == (end if at + len(chosen) == b else shown[at + len(chosen)])
    longest = max(
        n for n in range(1, len(stamps) - first + 1)
        if (some := sorted(pts for pts, _ in stamps[first : first + n])) == shown[at : at + n] and some[-1] < end
    )  # fmt: skip
    assert len(chosen) == longest, "nothing is left out without need"


@given(groups())
@settings_of_hypothesis(max_examples=100, deadline=None)
def test_decoding_times_increase_and_come_before_showing(stamps: list[tuple[int, bool]]) -> None:
    shown = [pts for pts, _ in stamps]
    stored = decoding_times(shown)
    assert all(a < b for a, b in pairwise(stored))
    assert all(dts <= pts for dts, pts in zip(stored, shown, strict=True))


@pytest.mark.parametrize(
    ("codec", "extradata", "packet", "expected"),
    [
        ("h264", None, b"\x00\x00\x00\x01\x67aa\x00\x00\x01\x65bb", True),
        ("h264", None, b"\x00\x00\x01\x06aa\x00\x00\x01\x41bb", False),
        ("h264", b"\x01\x64\x00\x1f\xff", b"\x00\x00\x00\x02\x65a", True),
        ("h264", b"\x01\x64\x00\x1f\xfd", b"\x00\x02\x61a\x00\x00\x00\x01\x65", True),
        ("h264", b"\x01\x64\x00\x1f\xff", b"\x00\x00\x00\x02\x61\x65", False),
        ("hevc", None, b"\x00\x00\x01\x26\x01", True),
        ("hevc", None, b"\x00\x00\x01\x2a\x01", False),
        ("hevc", b"\x01" + bytes(20) + b"\x03", b"\x00\x00\x00\x02\x28\x01", True),
        ("vp9", None, b"\x80", True),
    ],
)
def test_only_some_keyframes_start_afresh(codec: str, extradata: bytes | None, packet: bytes, expected: bool) -> None:
    assert starts_afresh(codec, extradata, packet) is expected


def test_keyframes_of_a_planned_copy_are_never_further_apart_than_asked() -> None:
    stamps = [(pts, pts in (0, 30)) for pts in range(60)]
    for end, interval, allowed in [(60, 30, True), (60, 29, False), (25, 25, True), (25, 24, False), (40, 30, True)]:
        refused = contextlib.nullcontext() if allowed else pytest.raises(CopyRefused, match="too far apart")
        with refused:
            plan_copy(stamps, SourceSpan(Path("x"), 0, 0, end, end), tolerance=0, interval=interval, least=1)


def test_frames_in_an_order_that_no_proof_thinks_of_are_not_copied() -> None:
    span = SourceSpan(Path("x"), 0, 2, 8, 6)
    for order, refused in [
        ([0, 1, 2, 3, 4, 5, 6, 7], False),
        ([0, 3, 1, 2, 4, 5, 6, 7], True),  # 3 is shown after the keyframe 2 and stored before it
        ([0, 2, 1, 3, 4, 5, 6, 7], False),
        ([0, 2, 3, 1, 4, 5, 6, 7], True),  # 1 is a leading frame that comes late
    ]:
        stamps = [(pts, pts in (0, 2)) for pts in order]
        with pytest.raises(CopyRefused, match="stored") if refused else contextlib.nullcontext():
            plan = plan_copy(stamps, span, tolerance=0, interval=9, least=1)
            assert [order[i] for i in plan.leading] == ([1] if order[1] == 2 else [])


def test_what_lies_before_a_copy_is_not_kept() -> None:
    def packet(pts: int | None, key: bool = False) -> Any:
        new = av.Packet(b"x")
        new.pts, new.is_keyframe = pts, key
        return new

    asked: list[int] = []

    def packets(count: int, keys: tuple[int, ...]) -> Iterator[Any]:
        for pts in range(count):
            asked.append(pts)
            yield packet(pts, pts in keys)

    stamps, kept = _collect(packets(100, (0, 40, 60)), 50, 70)
    assert stamps == [(pts, pts in (0, 40, 60)) for pts in range(100)]
    assert [p.pts for p in kept.values()] == list(kept) == list(range(60, 100))
    asked.clear()
    with pytest.raises(CopyRefused, match="no codec keyframe"):
        _collect(packets(10**9, (0,)), 50, 70)
    assert len(asked) <= 110, "all would be read in vain"
    with pytest.raises(CopyRefused, match="have no time"):
        _collect(iter([packet(None)]), 0, 0)


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(16, 4320))
def test_fitted_sizes_are_even_never_enlarged_and_keep_the_aspect(width: int, height: int, short_side: int) -> None:
    fitted = fitted_size(width, height, short_side)
    scale = min(1.0, min(fitted) / min(width, height)) if min(width, height) > short_side else 1.0
    for old, new in zip((width, height), fitted, strict=True):
        assert new % 2 == 0
        assert new == 2 or new <= old
        assert abs(new - old * scale) <= 2
    assert min(fitted) <= short_side


@pytest.mark.parametrize("base", ["1/1000", "1001/30000", "1/90000", "1/12", "1/14112000", "1/1000000000", "1/1"])
def test_ticks_keep_time(base: str) -> None:
    time_base = Fraction(base)
    scale = timescale_of(time_base)
    assert 10_000 <= scale <= 30_000_000
    error = abs(Fraction(ticks(10**9 + 1, time_base, scale), scale) - (10**9 + 1) * time_base)
    assert error == 0 if time_base.denominator <= 30_000_000 else error <= Fraction(1, 180_000)
