"""Running a frozen text encoder once over all that training will say, for the trainer to read back. Room: stiv_train.

In: a corpus, a training recipe, a folder. Out: the folder (`text_store`) with the condition of every distinct caption of the data plan,
and of the empty caption, which stands for a dropped text. What is there already stays; only what is missing is computed. Captions come
in the order of the plan, are gathered into chunks and encoded by length within a chunk, so little is spent on padding and neighbours in
the shards stay neighbours. Memory holds a chunk and some keys, however many captions there are.

Legend: n captions of a chunk, B of them at once, M their tokens, D width of the encoder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from curation.corpus import Corpus
from curation.lock import hold
from curation.storage import Store
from models.text.content import content
from models.text.contract import TextEncoder
from models.text.make import make_text
from schemas.errors import StivError, UsageError
from schemas.train_recipe import TrainRecipe
from stiv_train.data.plan import DataPlan, build_plan
from stiv_train.distributed import choose_device
from stiv_train.precomputed import plan_captions
from stiv_train.stopping import StopRequest, on_signals
from stiv_train.text_store import DTYPES, Encoder, TextStore, TextWriter, recorded

_CHUNK_CAPTIONS, _CHUNK_BYTES = 4096, 1 << 28
"""Most captions of a chunk, and most bytes if all were as long as can be."""
_TOKENS_AT_ONCE = {"cuda": 32768, "cpu": 4096}
"""B · M."""


@dataclass(frozen=True)
class Embedded:
    """How far a run is. Counts are captions as the plan has them, copies included, that were not there when it began."""

    done: int
    total: int
    encoded: int
    """Different ones."""
    seconds: float
    """Since the encoder was loaded."""


@dataclass(frozen=True)
class EmbedSummary:
    """How a run ended."""

    folder: str
    encoded: int
    """Captions encoded in this run."""
    captions: int
    """Captions in the folder."""
    bytes: int
    """Written in this run, in chunks."""
    seconds: float
    """From the first caption encoded to the last."""
    stopped: bool
    """It was told to stop; what it had encoded is kept."""


def embed_text(
    corpus: Corpus,
    recipe: TrainRecipe,
    folder: str,
    *,
    select: str | None = None,
    dtype: str = "float16",
    on_progress: Callable[[Embedded], None] = lambda _: None,
) -> EmbedSummary:
    """Encode every caption that training by this recipe can draw and the folder lacks.

    The first SIGINT or SIGTERM ends it after the captions at hand, which are kept.

    Args:
        folder: new, empty, or begun with the same encoder.
        select: stands in place of the recipe's ``data.select``.
        dtype: in which conditions are stored; one of :data:`stiv_train.text_store.DTYPES`.

    Raises:
        UsageError: the encoder is trained along or cannot be loaded; the folder belongs to another one; nothing is left to train on.
    """
    text = recipe.text
    if text.kind == "small":
        raise UsageError(
            "The text encoder `small` is trained along with the network: what it says of a caption changes with every step, so "
            "nothing can be computed before.",
            fix="Choose `text.kind: openclip` or `t5`, or train without precomputed conditions.",
        )
    made = recorded(folder)
    plan = build_plan(corpus, recipe, select)
    tower = _Tower(recipe)
    wanted: dict[str, Any] = {
        "kind": text.kind,
        "name": text.name,
        "weights": text.weights,
        # What is on the hub must be fetched to be known.
        "content": content(text) or content(text, cast(nn.Module, tower.encoder)),
        "max_tokens": text.max_tokens,
        "precision": recipe.train.precision,
        "dtype": dtype,
    }
    encoder = Encoder(**wanted, width=made.width if made is not None else tower.encoder.width)
    with hold(Store(folder), "embedding texts"), on_signals() as stop:
        writer = TextWriter(folder, encoder)
        job = _Job(writer, tower, stop, on_progress)
        try:
            job.run(plan)
        finally:
            writer.finish()
    return EmbedSummary(
        folder=writer.folder.uri,
        encoded=job.encoded,
        captions=len(writer),
        bytes=job.bytes,
        seconds=job.ended - job.began,
        stopped=bool(stop.signal),
    )


class _Tower:
    """The encoder, loaded when it is first needed."""

    def __init__(self, recipe: TrainRecipe) -> None:
        self.recipe = recipe
        self.device = choose_device(recipe.train.device)

    @cached_property
    def encoder(self) -> TextEncoder:
        return cast(TextEncoder, make_text(self.recipe.text).to(self.device))

    @torch.inference_mode()
    def conditions(self, ids: torch.Tensor, dtype: torch.dtype) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(B, M) token ids → for each (m, D) tokens and (D,) pooled, on the CPU; computed as training would compute them."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.train.precision == "bf16"):
            found = self.encoder.encode(ids.to(self.device))
        tokens, pooled, mask = found.tokens.to(dtype).cpu(), found.pooled.to(dtype).cpu(), found.mask.cpu()
        for n in range(len(ids)):
            yield tokens[n, mask[n]], pooled[n]


class _Job:
    """Encoding what a plan has and a folder lacks, with counts."""

    def __init__(
        self, writer: TextWriter, tower: _Tower, stop: StopRequest, on_progress: Callable[[Embedded], None]
    ) -> None:
        self.writer, self.tower, self.stop, self.on_progress = writer, tower, stop, on_progress
        self.dtype = DTYPES[writer.encoder.dtype]
        self.total = self.done = self.encoded = self.bytes = 0
        self.began = self.ended = time.perf_counter()

    def run(self, plan: DataPlan) -> None:
        """Chunk by chunk, until all is there or a stop is asked for."""
        before = TextStore(self.writer.folder, self.writer.encoder)  # what was there when we began
        self.total = sum(len(captions) for captions in _missing(before, plan))
        if not self.total:
            return
        encoder = self.tower.encoder
        most = max(1, min(_CHUNK_CAPTIONS, _CHUNK_BYTES // (encoder.max_tokens * encoder.width * self.dtype.itemsize)))
        self.began = time.perf_counter()
        self._tell(0)
        for copies, captions in self._chunks(_missing(before, plan), most):
            self._chunk(captions)
            if self.stop.signal:
                break
            self.done += copies + len(captions)
            self._tell(0)
        else:
            self.done = self.total  # copies after the last chunk
            self._tell(0)
        self.ended = time.perf_counter()

    def _chunks(self, missing: Iterable[list[str]], most: int) -> Iterator[tuple[int, list[str]]]:
        """Different captions that the writer lacks, at most ``most`` at a time, and how many copies were passed over for them."""
        waiting: dict[str, None] = {}
        copies = 0
        for captions in missing:
            for caption in captions:
                # One by one: it may have come with the chunk just written.
                if caption in waiting or self.writer.find([caption])[0] >= 0:
                    copies += 1
                    continue
                waiting[caption] = None
                if len(waiting) == most:
                    yield copies, list(waiting)
                    waiting, copies = {}, 0
        if waiting:
            yield copies, list(waiting)

    def _chunk(self, captions: list[str]) -> None:
        """Encode and commit; of what was encoded before a stop, that."""
        ids = self.tower.encoder.tokenize(captions)
        found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        for some in batches(lengths(ids), _TOKENS_AT_ONCE[self.tower.device.type]):
            found.update(zip(some.tolist(), self.tower.conditions(ids[some], self.dtype), strict=True))
            if self.stop.signal:
                break
            self._tell(len(found))
        rows = sorted(found)
        tokens, pooled = [found[row][0] for row in rows], [found[row][1] for row in rows]
        for row, values, whole in zip(rows, tokens, pooled, strict=True):
            if not bool(values.isfinite().all() and whole.isfinite().all()):
                raise StivError(
                    f"The encoder's values for the caption “{captions[row][:120]}” do not fit into {self.writer.encoder.dtype}.",
                    fix="Store them as bfloat16 (--dtype bfloat16, in another folder); if they do not fit there, its weights are broken.",
                )
        self.bytes += self.writer.add([captions[row] for row in rows], tokens, pooled)
        self.encoded += len(rows)

    def _tell(self, more: int) -> None:
        self.on_progress(Embedded(self.done + more, self.total, self.encoded + more, time.perf_counter() - self.began))


def lengths(ids: torch.Tensor) -> np.ndarray:
    """(n, M) padded token ids → (n,) how many tokens each caption has, or one more: equal ids at the end are padding."""
    differs = ids[:, :-1] != ids[:, -1:]
    last = (differs * torch.arange(1, ids.shape[1])).amax(1)  # the last place that differs, from 1; 0 where none does
    return torch.minimum(last + 1, torch.tensor(ids.shape[1])).numpy()


def batches(length: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Rows in batches of captions about equally long, the longest first, each of at most ``tokens`` tokens with padding (or one row)."""
    order = np.argsort(-length, kind="stable")
    start = 0
    while start < len(order):
        count = max(1, tokens // int(length[order[start]]))
        yield order[start : start + count]
        start += count


def _missing(store: TextStore, plan: DataPlan) -> Iterator[list[str]]:
    """Captions that training can draw and a folder lacks, in the order of the plan, copies included, some at a time."""
    if store.find([""])[0] < 0:
        yield [""]
    for captions in plan_captions(plan):
        if lacking := [captions[n] for n in np.flatnonzero(store.find(captions) < 0)]:
            yield lacking
