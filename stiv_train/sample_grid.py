"""Sample grids: what the averaged weights make of the captions of held-out clips, on a schedule. Room: stiv_train.

RUN/samples/step-00000200.png    a row for each prompt, a column per frame; the same noise every time
RUN/samples/prompts.txt          the prompts, a line for each row
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from curation.storage import Store
from stiv_train.conditioning import task_mask
from stiv_train.data.batch import Batch
from stiv_train.distributed import World
from stiv_train.draws import draw_noise
from stiv_train.objective import Objective, pixels
from stiv_train.sampling import sample
from stiv_train.trained import VideoModel
from stiv_train.validation import HeldOut
from stiv_train.video_files import write_pictures


@dataclass
class SampleGrid:
    """The prompts of a run, and how they are shown."""

    objective: Objective
    held_out: HeldOut
    run: Path
    world: World

    @cached_property
    def shown(self) -> Batch:
        """Clips whose captions are the prompts and, where frames are given, whose frames are: held-out ones of one shape, or training
        clips where none is held out."""
        plan = self.held_out.plan
        rows = self.held_out.rows if len(self.held_out.rows) else np.arange(min(64, plan.table.num_rows))
        buckets = np.asarray(plan.at(rows, ["bucket"])["bucket"])
        return self.held_out.load(rows[buckets == buckets[0]][: self.objective.recipe.train.sample_prompts])

    @torch.no_grad()
    def write(self, model: VideoModel, step: int) -> Path:
        """Sample with the weights that the model has now. All processes must call it, because sharded models need all; the main
        one writes."""
        objective, recipe, device = self.objective, self.objective.recipe, self.objective.device
        count = len(self.shown.rows)
        with objective.autocast():
            text = model.encode(objective.encoder.tokenize(self.shown.captions).to(device))
            null = model.encode(objective.encoder.tokenize([""]).to(device))
        clean = objective.latents.encode(pixels(self.shown.pixels, device))
        frames, rows, columns = clean.shape[2:]
        mask = task_mask(recipe.conditioning.task, frames).expand(count, -1).to(device)

        def network(x: torch.Tensor, time: torch.Tensor, condition: object, micro: torch.Tensor) -> torch.Tensor:
            with objective.autocast():
                prediction: torch.Tensor = model(x, time, condition, micro)
            return prediction.float()

        shape = (clean.shape[1], frames, rows, columns)
        latents = sample(
            network,
            draw_noise(recipe.train.seed, 0, np.arange(count), shape).to(device),
            text,
            null,
            torch.from_numpy(self.shown.micro).to(device),
            given=clean,
            mask=mask,
            flow=recipe.flow,
            sampling=recipe.sampling,
            tokens=math.prod(objective.config.tokens(frames, rows, columns)),
        )
        path = self.run / "samples" / f"step-{step:08d}.png"
        if self.world.main:
            write_pictures(path, to_uint8(objective.latents.decode(latents)))
            text_of = "".join(caption.replace("\n", " ") + "\n" for caption in self.shown.captions)
            Store(self.run).commit_bytes("samples/prompts.txt", text_of.encode())
        return path


def to_uint8(video: torch.Tensor) -> np.ndarray:
    """(B, 3, T, H, W) float in -1..1 → (B, T, H, W, 3) uint8."""
    scaled = (video.float() + 1) * 127.5
    return scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 4, 1).cpu().numpy()
