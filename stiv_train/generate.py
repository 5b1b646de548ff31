"""Videos from a trained run: prompts, perhaps a first picture each, and seeds in; pixels out.

Room: stiv_train. In: a run folder (:mod:`stiv_train.run_folder`). Out: uint8 RGB. A video's noise depends on its seed and shape alone,
so the same prompt and seed give the same video (up to rounding) whatever else is made beside it.

Legend: N videos, B of them at once, T frames, H rows, W columns of pixels; C channels, t h w latent frames, rows and columns.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from pydantic import ValidationError

from schemas.errors import UsageError
from schemas.train_recipe import Sampling, TrainRecipe
from stiv_train.data.plan import load_plan
from stiv_train.distributed import choose_device
from stiv_train.objective import pixels
from stiv_train.pictures import cover
from stiv_train.run_folder import Run
from stiv_train.sample_grid import to_uint8
from stiv_train.sampling import sample

_AT_ONCE = 64
_VALUES_AT_ONCE = 1 << 24
"""Pixel values sampled at once at most: 4 videos of 20 frames at 256 × 256."""
_TYPICAL_ROWS = 65536
OnStep = Callable[[int, int], None]
"""Called with the solver steps done and those in all, counted over all videos."""


class Generator:
    """A run's model, ready to make videos."""

    def __init__(self, run: Run, device: str = "auto", *, step: int | None = None, ema: bool = True) -> None:
        """Load the newest checkpoint, or that of ``step``; ``ema``: the averaged weights.

        Raises:
            UsageError: there is no such checkpoint, or it does not fit the run's recipe.
        """
        run.checkpoint(step)  # says what is there when it is not
        self.recipe: TrainRecipe = run.recipe
        self.step = run.steps()[-1] if step is None else step
        self.device = choose_device(device)
        self.latents = run.latents().to(self.device)
        self.model = run.model(ema=ema, step=step).to(self.device).eval()
        self._facts = _typical(run)

    @property
    def fps(self) -> float:
        """Frames per second at which the sampled frames play at their clips' speed."""
        return self._facts["fps"] / self.recipe.data.stride

    def sampling(self, **settings: Any) -> Sampling:
        """The recipe's sampling with these settings changed; None leaves one as it is.

        Raises:
            UsageError: a value is out of its limits.
        """
        changed = {key: value for key, value in settings.items() if value is not None}
        try:
            return Sampling.model_validate({**self.recipe.sampling.model_dump(), **changed})
        except ValidationError as error:
            item = error.errors()[0]
            name = str(item["loc"][0]).replace("_", "-")
            raise UsageError(
                f"`--{name} {item['input']}`: {item['msg'][:1].lower()}{item['msg'][1:]}.",
                fix="`stiv generate --help` says what it takes.",
            ) from None

    def size(
        self, frames: int | None = None, height: int | None = None, width: int | None = None
    ) -> tuple[int, int, int]:
        """Frames, height and width of a video: as given, else as in the recipe's first bucket.

        Raises:
            UsageError: they do not fit the autoencoder and the patches; says which do.
        """
        bucket = self.recipe.data.buckets[0]
        size = (frames or bucket.frames, height or bucket.height, width or bucket.width)
        patch = self.model.network.config.patch
        for name, side, cells in (("height", size[1], patch[1]), ("width", size[2], patch[2])):
            unit = self.latents.spatial * cells
            if side % unit:
                near = max(1, side // unit) * unit
                raise UsageError(
                    f"A {name} of {side} pixels does not fit this model.",
                    fix=f"Give a multiple of {unit}, such as {near} or {near + unit}.",
                )
        step, first = self.latents.temporal, 1 if self.latents.causal else self.latents.temporal
        if size[0] > 1 and (size[0] < first or (size[0] - first) % step):  # one frame, a still, always fits
            low = first + max(0, (size[0] - first) // step) * step
            raise UsageError(
                f"{size[0]} frames do not fit this model's autoencoder.",
                fix=f"Give {low} or {low + step}: {first}, {first + step}, {first + 2 * step} … fit.",
            )
        return size

    def generate(self, prompts: Sequence[str], **settings: Any) -> np.ndarray:
        """All videos at once, (N, T, H, W, 3) uint8; settings as of :meth:`each`."""
        return np.stack(list(self.each(prompts, **settings)))

    def each(
        self,
        prompts: Sequence[str],
        *,
        seeds: Sequence[int],
        images: Sequence[np.ndarray | None] | None = None,
        frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        sampling: Sampling | None = None,
        on_step: OnStep | None = None,
    ) -> Iterator[np.ndarray]:
        """Videos (T, H, W, 3) uint8, in the order of the prompts, some at a time.

        Args:
            prompts: N texts; the empty one asks for no text.
            seeds: N; of the noise.
            images: N pictures (any size, 3) uint8 RGB that are the first frame, or None where none is given. Each is scaled to cover
                the video's size and its centre taken.
            frames, height, width: None takes the recipe's first bucket.
            sampling: None takes the recipe's.
            on_step: see :data:`OnStep`.

        Raises:
            UsageError: a size that does not fit, or a picture that this model cannot be given (or does not go without).
        """
        count = len(prompts)
        pictures: list[np.ndarray | None] = list(images) if images is not None else [None] * count
        if len(seeds) != count or len(pictures) != count:
            raise ValueError(f"{count} prompts, {len(seeds)} seeds and {len(pictures)} images")
        size = self.size(frames, height, width)
        self._check_images(pictures, size[0])
        chosen = sampling or self.recipe.sampling
        at_once = max(1, min(_AT_ONCE, _VALUES_AT_ONCE // (3 * size[0] * size[1] * size[2])))
        done = itertools.count(1)

        def tick(_: int, steps: int) -> None:
            if on_step is not None:
                on_step(next(done), steps * -(-count // at_once))

        for start in range(0, count, at_once):
            some = slice(start, start + at_once)
            yield from self._batch(list(prompts[some]), list(seeds[some]), pictures[some], size, chosen, tick)

    @torch.inference_mode()
    def _batch(
        self,
        prompts: list[str],
        seeds: list[int],
        pictures: list[np.ndarray | None],
        size: tuple[int, int, int],
        sampling: Sampling,
        tick: OnStep,
    ) -> np.ndarray:
        """(B, T, H, W, 3) uint8."""
        shape = self.latents.latent_shape(*size)
        noise = torch.stack([_noise(seed, shape) for seed in seeds]).to(self.device)
        given, mask = self._given(pictures, shape, size)
        tokenize = self.model.encoder.tokenize
        micro = torch.tensor([self._micro(size)] * len(prompts), dtype=torch.float32, device=self.device)
        half = self.device.type == "cuda" and self.recipe.train.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            latents = sample(
                self.model.network,
                noise,
                self.model.encode(tokenize(prompts).to(self.device)),
                self.model.encode(tokenize([""]).to(self.device)),
                micro,
                given=given,
                mask=mask,
                flow=self.recipe.flow,
                sampling=sampling,
                tokens=math.prod(self.model.network.config.tokens(*shape[1:])),
                on_step=tick,
            )
        return to_uint8(self.latents.decode(latents.float(), frames=size[0]))

    def _check_images(self, pictures: Sequence[np.ndarray | None], frames: int) -> None:
        conditioning = self.recipe.conditioning
        given = sum(picture is not None for picture in pictures)
        if frames == 1:
            if given:
                raise UsageError(
                    "A still has one frame, and that would be the picture given.",
                    fix="Leave out --image, or ask for more --frames.",
                )
            return  # stills are trained without a picture
        if given and conditioning.task != "ti2v":
            raise UsageError(
                "This model was not trained to be given a picture (`conditioning.task: t2v`).",
                fix="Leave it out, or train on with --init RUN --set conditioning.task=ti2v.",
            )
        if given and self.latents.temporal > 1 and not self.latents.causal:
            raise UsageError(
                f"This model's autoencoder takes {self.latents.temporal} frames at a time, so it cannot be given one.",
                fix="Leave the picture out.",
            )
        if given < len(pictures) and conditioning.task == "ti2v" and conditioning.image_drop == 0:
            raise UsageError(
                "This model was never trained without a picture (`conditioning.image_drop: 0`).",
                fix="Give a first frame with --image.",
            )

    def _given(
        self, pictures: list[np.ndarray | None], shape: tuple[int, int, int, int], size: tuple[int, int, int]
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Clean latents (B, C, t, h, w), zero where nothing is given, and (B, t) bool: True where something is."""
        if all(picture is None for picture in pictures):
            return None, None
        given = torch.zeros((len(pictures), *shape), device=self.device)
        mask = torch.zeros((len(pictures), shape[1]), dtype=torch.bool, device=self.device)
        for index, picture in enumerate(pictures):
            if picture is not None:
                frame = cover(picture, *size[1:])[None, None]
                given[index, :, :1] = self.latents.encode(pixels(frame, self.device))[0]
                mask[index, 0] = True
        return given, mask

    def _micro(self, size: tuple[int, int, int]) -> list[float]:
        """The micro-conditions of a typical training sample: the median clip, cropped at its centre to these proportions."""
        rows, columns = self._facts["height"], self._facts["width"]
        scale = max(size[1] / rows, size[2] / columns)
        top, left = (rows - size[1] / scale) / 2, (columns - size[2] / scale) / 2
        return [rows, columns, top, left, float(self.recipe.data.stride), float(size[0])]


def _typical(run: Run) -> dict[str, float]:
    """Medians over the clips that the run was trained on."""
    # Rows lie in the order of the shards, which is that of a hash: the first ones stand for all, however many there are.
    table = load_plan(run.path, verify=False).table.slice(0, _TYPICAL_ROWS)
    return {name: float(pc.approximate_median(table[name]).as_py()) for name in ("fps", "height", "width")}


def _noise(seed: int, shape: tuple[int, int, int, int]) -> torch.Tensor:
    """(C, t, h, w) standard normal, the same on every device: drawn on the CPU."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
