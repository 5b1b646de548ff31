"""One boolean mask over latent frames says which are given clean: every STIV task is a value of it.

Room: stiv_train. In: the number of latent frames; out: the mask, and latents with the given frames put in. A given frame is
clean at every step of training and sampling, is left out of the loss, and is put back at every sampling step (STIV section
2.2, frame replacement; tasks in section 2.6 and appendix).

    text to video          none          image to video     first(count=1)
    video prediction       first(count)  interpolation      every(stride)
    fill between anchors   ends          multiple views     only(index)

LEGEND  B batch; C, t, h, w latent channels, frames, rows, columns.
"""

from __future__ import annotations

from typing import Literal

import torch

Task = Literal["t2v", "ti2v"]


def none(frames: int) -> torch.Tensor:
    """No frame is given. (t,) bool, as all below."""
    return torch.zeros(frames, dtype=torch.bool)


def first(frames: int, count: int = 1) -> torch.Tensor:
    """The first frames: one for image to video, several for prediction (STIV: 4)."""
    return torch.arange(frames) < count


def every(frames: int, stride: int = 2) -> torch.Tensor:
    """Frames 0, stride, 2·stride, …: those between are made (STIV: 2)."""
    return torch.arange(frames) % stride == 0


def ends(frames: int) -> torch.Tensor:
    """The first and the last frame."""
    return only(frames, 0) | only(frames, frames - 1)


def only(frames: int, index: int) -> torch.Tensor:
    """One frame, such as the known one of several views."""
    return torch.arange(frames) == index


def task_mask(task: Task, frames: int) -> torch.Tensor:
    """The mask of a recipe's task. (t,) bool. A sample of one latent frame is never given: nothing would be left to learn."""
    return first(frames) if task == "ti2v" and frames > 1 else none(frames)


def given_mask(task: Task, image_dropped: torch.Tensor, frames: int) -> torch.Tensor:
    """The masks of a training batch: the task's, or nothing for samples whose image is dropped. (B,) bool → (B, t) bool."""
    return task_mask(task, frames).to(image_dropped.device) & ~image_dropped[:, None]


def put(x: torch.Tensor, clean: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``x`` with the frames of ``clean`` where the mask is true, bit for bit. x, clean (B, C, t, h, w), mask (B, t) bool."""
    return torch.where(mask[:, None, :, None, None], clean, x)
