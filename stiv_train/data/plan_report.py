"""What a data plan means for a recipe, as plain numbers: visits, steps, epochs, tokens. For `stiv data-plan` and the run's log.

In: a data plan and the recipe it was made with. Out: JSON-able. Seconds of video, pixels, tokens per sample.
"""

from __future__ import annotations

from typing import Any

from schemas.train_recipe import Bucket, TrainRecipe
from stiv_train.data.plan import DataPlan
from stiv_train.data.selection import REASONS


def plan_report(plan: DataPlan, recipe: TrainRecipe) -> dict[str, Any]:
    """All that `stiv data-plan --json` prints.

    ``visits`` are per epoch; ``steps`` are those in which a bucket's visits of one epoch are used up at its batch. An epoch is
    all visits of all buckets.
    """
    facts = plan.facts
    rows = []
    for bucket, counts in zip(plan.buckets, facts["by_bucket"], strict=True):
        batch = bucket.batch or recipe.train.batch
        rows.append(
            {
                "frames": bucket.frames,
                "height": bucket.height,
                "width": bucket.width,
                "batch": batch,
                **counts["train"],
                "steps": counts["train"]["visits"] / batch,
                "tokens": tokens_per_sample(bucket, recipe),
                "validation_clips": counts["validation"]["clips"],
            }
        )
    epoch = sum(row["steps"] for row in rows)
    return {
        **{key: facts[key] for key in ("hash", "corpus", "shards", "captions", "select", "weight", "percentiles")},
        "samples": facts["samples"],
        "train": facts["train"],
        "validation": facts["validation"],
        "validation_clips": recipe.data.validation_clips,
        "buckets": rows,
        "left_out": [
            {"reason": reason, "meaning": REASONS[reason], "clips": n} for reason, n in facts["left_out"].items()
        ],
        "not_exported": facts["not_exported"],
        "failed": facts["failed"],
        "steps": recipe.train.steps,
        "steps_per_epoch": epoch,
        "epochs": recipe.train.steps / epoch,
        "bytes_per_row": facts["bytes_per_row"],
        "warnings": facts["warnings"],
    }


def tokens_per_sample(bucket: Bucket, recipe: TrainRecipe) -> int | None:
    """Tokens that the network works on for a sample, none dropped; None where only the loaded autoencoder knows its factors.

    Image autoencoders are taken to have the usual 8 pixels per latent, frame by frame.
    """
    latents, patch = recipe.latents, recipe.model.patch
    if latents.kind == "video_vae":
        return None
    frames, rows, columns = latents.block if latents.kind == "linear" else (1, 8, 8)
    along = [
        -(-size // (factor * step))
        for size, factor, step in zip(
            (bucket.frames, bucket.height, bucket.width), (frames, rows, columns), patch, strict=True
        )
    ]
    return along[0] * along[1] * along[2]
