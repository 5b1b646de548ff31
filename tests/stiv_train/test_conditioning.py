"""Each task's mask, and putting frames in."""

import pytest
import torch

from stiv_train import conditioning


def given(mask: torch.Tensor) -> list[int]:
    assert mask.dtype == torch.bool
    return mask.nonzero().flatten().tolist()


def test_masks_of_the_tasks() -> None:
    assert given(conditioning.none(5)) == []
    assert given(conditioning.first(5)) == [0]
    assert given(conditioning.first(5, 4)) == [0, 1, 2, 3]
    assert given(conditioning.every(6)) == [0, 2, 4]
    assert given(conditioning.every(7, 3)) == [0, 3, 6]
    assert given(conditioning.ends(5)) == [0, 4]
    assert given(conditioning.only(7, 3)) == [3]
    for mask in (conditioning.none(5), conditioning.first(5, 9), conditioning.every(5), conditioning.ends(5)):
        assert mask.shape == (5,)


@pytest.mark.parametrize(
    ("task", "frames", "wanted"), [("t2v", 4, []), ("ti2v", 4, [0]), ("ti2v", 1, []), ("t2v", 1, [])]
)
def test_recipes_tasks(task: conditioning.Task, frames: int, wanted: list[int]) -> None:
    assert given(conditioning.task_mask(task, frames)) == wanted


def test_a_dropped_image_gives_nothing() -> None:
    mask = conditioning.given_mask("ti2v", torch.tensor([False, True, False]), 3)
    assert mask.tolist() == [[True, False, False], [False, False, False], [True, False, False]]
    assert not conditioning.given_mask("t2v", torch.tensor([False, True]), 3).any()


def test_put_changes_the_given_frames_only_and_exactly() -> None:
    generator = torch.Generator().manual_seed(0)
    x, clean = torch.randn(2, 3, 2, 4, 5, 6, generator=generator).unbind()
    mask = torch.tensor([[True, False, False, True], [False] * 4, [True] * 4])
    clean[1] = float("nan")
    out = conditioning.put(x, clean, mask)
    for row in range(3):
        for frame in range(4):
            wanted = clean if mask[row, frame] else x
            assert torch.equal(out[row, :, frame], wanted[row, :, frame])
