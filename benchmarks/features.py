"""How fast are vectors of clips made from their stills, against bare OpenCLIP on ready tensors?

    python benchmarks/features.py                                # ViT-B-32 with random weights, CPU, float32
    python benchmarks/features.py --stills 64 --rounds 5
    python benchmarks/features.py --device cuda --precision bfloat16 --model ViT-L-14 --stills 2048

Three things take turns on the same stills, threads and batches, the first of each round alternating, so that what disturbs the machine
disturbs all; ratios are medians over rounds, by the clock and by processor seconds:

- bare: open_clip's `encode_image` on float tensors that are ready where the network runs;
- network: our path from decoded, resized stills (uint8) to rows of the table `embeddings`, tags and all;
- whole: our path from JPEG files in a tar on the disk to those rows.

Then JPEG decoding and open_clip's preparation apart, in one thread, and the vectors without weights.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from curation import perceptual
from curation.golden import draw
from curation.signals.crop import NO_BARS
from curation.storage import Store
from models.libraries import library
from models.vision.embedder import Embedder
from models.vision.make import make_embedder
from pipelines.stages.embed import openclip_rows
from pipelines.stages.still_reading import Look, picture

PER_CLIP = 4
WIDTH, HEIGHT = 910, 512
"""px: a 16:9 still as the scan writes it."""


def write_stills(folder: Path, count: int) -> tuple[list[Look], list[bytes]]:
    """So many textured JPEGs in one file, as clips of ``PER_CLIP`` stills."""
    jpegs = []
    for seed in range(count):
        still = draw.texture(WIDTH, HEIGHT, seed % 16)
        jpegs.append(cv2.imencode(".jpg", np.roll(still, 7 * seed, 1), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    (folder / "stills.tar").write_bytes(b"".join(jpegs))
    starts = np.cumsum([0, *map(len, jpegs)]).tolist()
    places = [(start, len(jpeg)) for start, jpeg in zip(starts[:-1], jpegs, strict=True)]
    looks = [Look(f"clip{i}", tuple(places[i : i + PER_CLIP]), NO_BARS) for i in range(0, count, PER_CLIP)]
    return looks, jpegs


def write_weights(file: Path, model: str) -> None:
    """A whole CLIP of that architecture with random weights, as open_clip saves it."""
    torch.manual_seed(0)
    made = library("open_clip").create_model(model)
    library("safetensors.torch").save_file({k: v.contiguous() for k, v in made.state_dict().items()}, str(file))


def network_rows(embedder: Embedder, fitted: Sequence[np.ndarray], batch: int) -> int:
    """Stills that are decoded and resized already, to what a clip's row holds."""
    parts = [embedder._towers.pictures(np.stack(fitted[i : i + batch])) for i in range(0, len(fitted), batch)]
    vectors = np.concatenate(parts)
    return len([embedder.view(vectors[i : i + PER_CLIP]) for i in range(0, len(vectors), PER_CLIP)])


def timed(work: Callable[[], object], device: str) -> tuple[float, float]:
    """Seconds by the clock, and of all processors."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - clock, time.process_time() - cpu


def best_ms(work: Callable[[Any], object], items: Sequence[Any], rounds: int) -> float:
    """Milliseconds an item in one thread: the quickest of some rounds."""
    return min(timed(lambda: [work(item) for item in items], "cpu")[0] for _ in range(rounds)) / len(items) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--stills", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder))


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Print the table."""
    looks, jpegs = write_stills(folder, options.stills)
    weights = folder / "weights.safetensors"
    write_weights(weights, options.model)
    settings = {"backend": "openclip", "model": options.model, "weights": str(weights), "batch": options.batch}
    settings |= {"device": options.device, "precision": options.precision}
    embedder = make_embedder(settings, options.threads)
    towers, store = embedder._towers, Store(folder)
    fitted = [towers.fit(np.ascontiguousarray(picture(jpeg, NO_BARS)[..., ::-1])) for jpeg in jpegs]  # type: ignore[index]
    ready = torch.from_numpy(np.stack(fitted)).to(options.device).permute(0, 3, 1, 2).float().div_(255)
    ready = ready.sub_(towers._mean).div_(towers._std).contiguous()

    def bare() -> None:
        with torch.inference_mode(), towers._precision():
            for i in range(0, len(ready), options.batch):
                towers._model.encode_image(ready[i : i + options.batch])

    work = {
        "bare": bare,
        "network": partial(network_rows, embedder, fitted, options.batch),
        "whole": lambda: list(openclip_rows(embedder, store, "stills.tar", looks)),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for number in range(-1, options.rounds):  # the first is to warm up
        names = list(work) if number % 2 else list(work)[::-1]
        for name in names:
            seconds = timed(work[name], options.device)
            if number >= 0:
                found[name].append(seconds)

    print(
        f"{options.model}, {options.precision}, {options.device}, {options.threads} threads, batches of {options.batch}"
    )
    print(f"{options.stills} stills of {WIDTH} × {HEIGHT}, {options.rounds} rounds\n")
    print(f"{'':10}{'ms/still, best':>16}{'speed, clock':>14}{'speed, CPU':>12}   (bare OpenCLIP = 1)")
    for name, seconds in found.items():
        pairs = [(b[0] / s[0], b[1] / s[1]) for b, s in zip(found["bare"], seconds, strict=True)]
        clock, cpu = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        best = min(s[0] for s in seconds) / options.stills * 1e3
        print(f"{name:10}{best:16.2f}{clock:14.3f}{cpu:12.3f}")

    some, rounds = jpegs[:32], options.rounds
    decoded = [found for jpeg in some if (found := picture(jpeg, NO_BARS)) is not None]
    print("\nIn one thread, ms/still:")
    print(f"  JPEG decoding   {best_ms(lambda jpeg: picture(jpeg, NO_BARS), some, rounds):.2f}")
    print(f"  preparation     {best_ms(lambda p: towers.fit(np.ascontiguousarray(p[..., ::-1])), decoded, rounds):.2f}")
    print(
        f"  perceptual      {best_ms(perceptual.picture_vector, decoded, rounds):.2f}  (without weights, after decoding)"
    )


if __name__ == "__main__":
    main()
