"""Which sampled frames become a clip's stills."""

from itertools import pairwise

import pytest

from curation.frames import Span
from curation.stills import Still, StillPicker, how_many, spread
from schemas.recipe import Stills


@pytest.mark.parametrize(("seconds", "count"), [(2.0, 4), (7.6, 8), (16.0, 16), (60.0, 16)])
def test_about_one_a_second_within_limits(seconds: float, count: int) -> None:
    assert how_many(seconds, Stills()) == count


def test_spread_is_even_in_order_and_without_repeats() -> None:
    times = [i * 0.5 for i in range(40)]
    chosen = spread(times, 0.0, 20.0, 16)
    assert len(set(chosen)) == 16
    assert chosen == sorted(chosen)
    gaps = [times[b] - times[a] for a, b in pairwise(chosen)]
    assert max(gaps) <= 1.5
    assert spread([0.0, 1.0], 0.0, 2.0, 4) == [0, 1]


def test_only_frames_of_the_clip_and_bounded_memory() -> None:
    picker = StillPicker(Stills())
    for i in range(100):
        picker.add(Still(i * 10, i * 0.5, b"x"))
    picked = picker.close(Span(200, 400, 0, 0, 10.0, 20.0))
    assert all(200 <= s.frame < 400 for s in picked)
    assert len(picked) == 10
    picker.forget(400)
    assert len(picker._candidates) == 60
    assert picker.close(Span(200, 400, 0, 0, 10.0, 20.0)) == []
