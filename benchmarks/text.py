"""What captions cost as text: telling their language, and conditions that were computed before against the encoder that made them.

    python benchmarks/text.py [--salad 20000] [--captions 2100000] [--batch 128] [--folder FOLDER]

Word salad of two to eight English words is asked for its language; none of it should be called another one with a score over 0.9, the
limit of the rule `caption_language`. Then a folder of precomputed conditions is indexed (its conditions are small: the index is the
same for large ones), and a batch is read from conditions as the tower of a ViT-B/32 makes them, beside that tower with random weights
making them, in the same run.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file

from curation.captioning.language import detect_language
from curation.captioning.wordlists import word_set
from models.text.cached import CachedText
from models.text.openclip import OpenClipText
from stiv_train import text_store
from stiv_train.text_store import Encoder, TextStore, TextWriter

MODEL, TOKENS = "ViT-B-32", 77
CHUNK = 4096
SURE = 0.9


def language(count: int) -> None:
    """Print how often word salad is called another language, and what a caption costs."""
    rng = np.random.default_rng(0)
    words = sorted(word_set("things") | word_set("verbs") | word_set("adjectives") | word_set("abstract"))
    salad = [" ".join(rng.choice(words, rng.integers(2, 9))) for _ in range(count)]
    detect_language("The model is loaded with the first text.")
    start = time.process_time()
    told = [detect_language(text) for text in salad]
    spent = time.process_time() - start
    wrong = [text for text, (code, score) in zip(salad, told, strict=True) if code not in (None, "en") and (score or 0) > SURE]  # fmt: skip
    silent = sum(code is None for code, _ in told)
    print(
        f"language: {count:,} of word salad, {len(wrong)} called another one with over {SURE} ({wrong[:3]}), {silent} not told; ",
        end="",
    )
    print(f"{1000 * spent / count:.2f} CPU-ms a caption")


def encoder(width: int) -> Encoder:
    return Encoder("openclip", MODEL, None, "0" * 64, TOKENS, "fp32", width, "float16")


def index(folder: Path, captions: int) -> None:
    """Print what the index of so many captions costs in time, memory and bytes."""
    spent, real = [0.0], text_store.add_to_index

    def timed(*arguments: object) -> object:
        start = time.monotonic()
        made = real(*arguments)  # type: ignore[arg-type]
        spent[0] += time.monotonic() - start
        return made

    text_store.add_to_index = timed  # type: ignore[assignment]
    writer = TextWriter(str(folder), encoder(2))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for start in range(0, captions, CHUNK):
        texts = [f"caption {n}" for n in range(start, min(start + CHUNK, captions))]
        small = torch.zeros(len(texts), 2, dtype=torch.float16)
        writer.add(texts, list(small[:, None]), list(small))
    writer.finish()
    text_store.add_to_index = real
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(file.stat().st_size for file in folder.glob("index-*.npy"))
    print(
        f"index: {len(writer):,} captions in {spent[0]:.1f} s, {peak - before:.0f} MB more memory, {size / captions:.1f} bytes a caption"
    )


def conditions(folder: Path, batch: int) -> None:
    """Print what reading a batch costs beside making it."""
    torch.manual_seed(0)
    weights = folder / "weights.safetensors"
    state = open_clip.create_model(MODEL, pretrained=None).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, weights)
    tower = OpenClipText(MODEL, str(weights), TOKENS)
    captions: Sequence[str] = [
        f"A red circle number {n} moves to the right across a plain black background." for n in range(batch)
    ]
    start = time.monotonic()
    made = tower.encode(tower.tokenize(captions))
    slow = time.monotonic() - start
    writer = TextWriter(str(folder / "made"), encoder(tower.width))
    tokens = [row[mask].half() for row, mask in zip(made.tokens, made.mask, strict=True)]
    writer.add(captions, tokens, list(made.pooled.half()))
    writer.finish()
    cached = CachedText(TextStore.open(str(folder / "made")))
    start = time.monotonic()
    read = cached.encode(cached.tokenize(captions))
    quick = time.monotonic() - start
    assert torch.allclose(read.pooled, made.pooled, atol=0.01)
    print(
        f"conditions: {batch} read in {1000 * quick:.0f} ms, made in {slow:.1f} s ({torch.get_num_threads()} threads)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--salad", type=int, default=20_000)
    parser.add_argument("--captions", type=int, default=2_100_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--folder", type=Path, help="an empty folder to work in")
    arguments = parser.parse_args()
    language(arguments.salad)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        index(folder / "index", arguments.captions)
        conditions(folder, arguments.batch)


if __name__ == "__main__":
    main()
