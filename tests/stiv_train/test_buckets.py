"""Which bucket a clip goes to."""

import numpy as np
import pytest

from schemas.train_recipe import Bucket
from stiv_train.data.buckets import assign, needed_frames


def one(frames: int, width: int, height: int, shapes: list[tuple[int, int, int]], stride: int = 3) -> int:
    buckets = [Bucket(frames=f, height=h, width=w) for f, h, w in shapes]
    return int(assign(np.array([frames]), np.array([width]), np.array([height]), buckets, stride)[0])


@pytest.mark.parametrize(("frames", "stride"), [(1, 3), (2, 1), (20, 3), (8, 5)])
def test_a_clip_of_just_enough_frames_fits(frames: int, stride: int) -> None:
    need = needed_frames(frames, stride)
    assert len(range(0, need, stride)) == frames
    assert one(need, 640, 360, [(frames, 256, 256)], stride) == 0
    assert one(need - 1, 640, 360, [(frames, 256, 256)], stride) == -1


def test_nearest_proportions_come_before_frames_and_pixels() -> None:
    shapes = [(20, 256, 256), (8, 256, 456), (40, 512, 512), (20, 456, 256)]
    assert one(500, 1920, 1080, shapes) == 1
    assert one(500, 1080, 1920, shapes) == 3
    assert one(500, 1000, 1000, shapes) == 2


def test_as_far_is_measured_by_ratio_on_both_sides() -> None:
    # A clip of 1:1.35 is nearer to 1:1 (1.35) than to 1:2 (1.48), though not by the difference of the ratios, and so is its mirror image.
    assert one(100, 1000, 1350, [(20, 256, 256), (20, 512, 256)]) == 0
    assert one(100, 1350, 1000, [(20, 256, 512), (20, 256, 256)]) == 1


def test_sizes_rounded_to_tokens_count_as_equal_proportions() -> None:
    # 448 × 256 is 1.75, 912 × 512 is 1.78: the clip is 16:9, and only the pixels should decide.
    shapes = [(20, 512, 912), (20, 256, 448)]
    assert one(100, 854, 480, shapes) == 1
    assert one(100, 1920, 1080, shapes) == 0


def test_most_frames_come_before_pixels() -> None:
    shapes = [(20, 512, 512), (40, 256, 256), (1, 512, 512)]
    assert one(200, 720, 720, shapes) == 1
    assert one(100, 720, 720, shapes) == 0
    assert one(10, 720, 720, shapes) == 2


def test_the_largest_that_need_not_be_enlarged_else_the_smallest() -> None:
    shapes = [(20, 256, 256), (20, 512, 512), (20, 1024, 1024)]
    assert one(100, 600, 600, shapes) == 1
    assert one(100, 512, 512, shapes) == 1
    assert one(100, 128, 128, shapes) == 0
    assert one(100, 4000, 520, [(20, 512, 512), (20, 1024, 1024)]) == 0, "its rows are too few for the larger"


def test_equal_buckets_go_by_their_order() -> None:
    assert one(100, 300, 300, [(20, 256, 256), (20, 256, 256)]) == 0


def test_many_clips_are_placed_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    frames, width, height = rng.integers(1, 200, 500), rng.integers(100, 2000, 500), rng.integers(100, 2000, 500)
    shapes = [(20, 256, 256), (40, 256, 448), (8, 448, 256), (20, 512, 512)]
    buckets = [Bucket(frames=f, height=h, width=w) for f, h, w in shapes]
    together = assign(frames, width, height, buckets, 3)
    assert together.dtype == np.int16
    assert set(together.tolist()) == {-1, 0, 1, 2, 3}
    alone = [one(int(f), int(w), int(h), shapes) for f, w, h in zip(frames, width, height, strict=True)]
    assert together.tolist() == alone
    assert assign(frames[:0], width[:0], height[:0], buckets, 3).shape == (0,)
