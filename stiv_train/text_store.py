"""A folder of precomputed text conditions: written by `stiv embed-text`, read by the trainer in place of an encoder. Room: stiv_train.

FOLDER/encoder.json                which encoder made them, with a hash of its files; written first
FOLDER/chunks/000000.safetensors   some captions' conditions, in the order in which they came:
                                     keys (n, 16) uint8, ends (n,) int64, tokens (sum of m, D), pooled (n, D); no padding is stored
FOLDER/index-000012.npy            key → chunk and row (`text_index`)

A caption's key is the first 128 bits of the SHA-256 over the encoder (kind, content of its files, most tokens, precision) and the
caption's UTF-8 text exactly as the trainer passes it. A caption takes (m + 1) · D · 2 bytes and 48 besides: 8 for its end and 16 for
its key in the chunk, 24 in the index. A chunk that is there is whole; the index follows from the chunks.

Legend: n captions of a chunk, m tokens of a caption, D width of the encoder, B captions looked up.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from curation.corpus import differences
from curation.storage import Store, is_uri
from schemas.errors import StorageError, UsageError
from schemas.ids import canonical
from stiv_train.text_index import Index, add_to_index, open_index

FORMAT = 1
FACTS = "encoder.json"
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
_OPEN = 256
"""Chunks that a reader keeps open: the order of training dwells in a few hundred places of the corpus at a time."""
_INDEX_EVERY = 1 << 18
"""New captions whose keys a writer holds in memory (about 40 MB) before it puts them into the index."""


@dataclass(frozen=True)
class Encoder:
    """What conditions depend on, and how they are kept."""

    kind: str
    name: str | None
    weights: str | None
    """Kind, name and weights as in the recipe."""
    content: str
    """:func:`models.text.content.content`."""
    max_tokens: int
    precision: str
    """fp32 or bf16: in which the encoder ran."""
    width: int
    """D."""
    dtype: str
    """One of :data:`DTYPES`."""

    def unlike(self, wanted: Mapping[str, Any]) -> list[str]:
        """What some of these fields are here and should be, in words. Where contents are equal, names do not count; where the
        wanted content is None, names stand for it."""
        skipped = {"name", "weights"} if wanted["content"] == self.content else set()
        skipped |= {"content"} if wanted["content"] is None else set()
        names = wanted.keys() - skipped
        return differences({name: vars(self)[name] for name in names}, {name: wanted[name] for name in names})

    def keys(self, captions: Sequence[str]) -> np.ndarray:
        """(B, 2) uint64."""
        made = {"kind": self.kind, "content": self.content, "max_tokens": self.max_tokens, "precision": self.precision}
        begun = hashlib.sha256(canonical(made).encode() + b"\n")
        digests = []
        for caption in captions:
            whole = begun.copy()
            whole.update(caption.encode())
            digests.append(whole.digest()[:16])
        return np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)


class TextStore:
    """Reading. A :class:`models.text.cached.Stored`."""

    def __init__(self, store: Store, encoder: Encoder) -> None:
        self.folder = store
        self.encoder = encoder
        self.width = encoder.width
        self.max_tokens = encoder.max_tokens
        self.index: Index = open_index(store)
        self._chunks: OrderedDict[int, _Chunk] = OrderedDict()

    @staticmethod
    def open(folder: str) -> TextStore:
        """What lies in a folder.

        Raises:
            UsageError: nothing does, or it is of another version or damaged.
        """
        store = _local(folder)
        if not store.exists(FACTS):
            raise UsageError(
                f"`{store.uri}` holds no precomputed text conditions (it has no {FACTS}).",
                fix="Make them with `stiv embed-text CORPUS --recipe RECIPE --out FOLDER`, or leave out `text.precomputed`.",
            )
        return TextStore(store, _read_facts(store))

    def find(self, captions: Sequence[str]) -> np.ndarray:
        """(B,) int64: the place of each caption, -1 where it has none."""
        return self.index.find(self.encoder.keys(captions))

    def places(self, captions: Sequence[str]) -> np.ndarray:
        """(B,) int64: the place of each caption.

        Raises:
            UsageError: one has none; names it.
        """
        found = self.find(captions)
        if len(missing := np.flatnonzero(found < 0)):
            raise self.missing(captions[missing[0]], len(missing) - 1)
        return found

    def missing(self, caption: str, others: int, corpus: str = "CORPUS") -> UsageError:
        """The error for a caption that has no condition here."""
        text = caption if len(caption) <= 120 else caption[:119] + "…"
        more = f" (nor are {others:,} others)" if others else ""
        return UsageError(
            f"The caption “{text}” is not among the text conditions in `{self.folder.uri}`{more}.",
            fix=f"Add what is missing: stiv embed-text {corpus} --recipe RECIPE --out {self.folder.uri}, with the recipe, "
            "--select, --captions and --set of the training.",
        )

    def read(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(m, D) tokens and (D,) pooled, in the type they are stored in."""
        chunk, row = self._chunk(place >> 32), place & 0xFFFFFFFF
        return chunk.tokens[chunk.starts[row] : chunk.starts[row + 1]], chunk.pooled[row : row + 1][0]

    def _chunk(self, number: int) -> _Chunk:
        if number not in self._chunks:
            self._chunks[number] = _Chunk(self.folder, number)
            if len(self._chunks) > _OPEN:
                self._chunks.popitem(last=False)
        self._chunks.move_to_end(number)
        return self._chunks[number]


class TextWriter(TextStore):
    """Adding. For one process at a time: hold the folder's lock (:func:`curation.corpus.hold`)."""

    def __init__(self, folder: str, encoder: Encoder) -> None:
        """Begin a folder, or go on with one.

        Raises:
            UsageError: it holds something else, or conditions of another encoder; says what differs.
        """
        store, made = _local(folder), recorded(folder)
        if made is not None and (changes := made.unlike(vars(encoder))):
            raise UsageError(
                f"`{store.uri}` holds text conditions that were made otherwise: {'; '.join(changes)}.",
                fix="Give another folder to --out, or encode as before.",
            )
        if made is None:
            facts = {"format": FORMAT, **vars(encoder)}
            store.commit_bytes(FACTS, (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode())
        super().__init__(store, encoder)
        self._added: dict[bytes, int] = {}
        chunks = sorted(int(name.removesuffix(".safetensors")) for name in store.names("chunks"))
        self._next = chunks[-1] + 1 if chunks else 0
        for number in chunks:
            if number >= self.index.chunks:  # a run was killed before it put this one into the index
                self._note(number, _Chunk(store, number).keys())
        self.finish()

    def __len__(self) -> int:
        """Captions that have a condition."""
        return len(self.index) + len(self._added)

    def find(self, captions: Sequence[str]) -> np.ndarray:
        keys = self.encoder.keys(captions)
        found = self.index.find(keys)
        for n in np.flatnonzero(found < 0):
            found[n] = self._added.get(keys[n].tobytes(), -1)
        return found

    def add(self, captions: Sequence[str], tokens: Sequence[torch.Tensor], pooled: Sequence[torch.Tensor]) -> int:
        """Commit a chunk: captions that are not there yet, (m, D) each, (D,) each, in the type of the folder. Gives its bytes."""
        keys = self.encoder.keys(captions)
        path = f"chunks/{self._next:06d}.safetensors"
        aside = self.folder.scratch("commit") / "chunk.safetensors"
        save_file(
            {
                "keys": torch.from_numpy(keys.view(np.uint8).copy()),
                "ends": torch.tensor([len(part) for part in tokens], dtype=torch.int64).cumsum(0),
                "tokens": torch.cat(list(tokens)),
                "pooled": torch.stack(list(pooled)),
            },
            aside,
        )
        # The library makes files that only their owner may read; others may train on what they may list.
        shutil.copymode(f"{self.folder.uri}/{FACTS}", aside)
        size = aside.stat().st_size
        self.folder.commit_file(path, aside)
        self._next += 1
        self._note(self._next - 1, keys)
        return size

    def finish(self) -> None:
        """Put what was added into the index, for readers to find."""
        self._settle(self._next)

    def _note(self, number: int, keys: np.ndarray) -> None:
        self._added.update({key.tobytes(): number << 32 | row for row, key in enumerate(keys)})
        if len(self._added) >= _INDEX_EVERY:
            self._settle(number + 1)

    def _settle(self, chunks: int) -> None:
        if self._added:
            self.index = add_to_index(self.folder, self.index, self._added, chunks)
            self._added = {}


class _Chunk:
    """An open chunk; what is read of it comes from its file when it is looked at."""

    def __init__(self, store: Store, number: int) -> None:
        path = f"{store.uri}/chunks/{number:06d}.safetensors"
        try:
            self._file: Any = safe_open(path, "pt")
            self.tokens, self.pooled = self._file.get_slice("tokens"), self._file.get_slice("pooled")
            self.starts = np.concatenate(([0], self._file.get_tensor("ends").numpy()))
        except (OSError, SafetensorError) as error:
            raise StorageError(
                f"`{path}` cannot be read: {error}.",
                fix=f"Restore it from a copy; or delete it and the index-*.npy in `{store.uri}` and run `stiv embed-text` again.",
            ) from None

    def keys(self) -> np.ndarray:
        """(n, 2) uint64."""
        return self._file.get_tensor("keys").numpy().view("<u8").reshape(-1, 2)


def recorded(folder: str) -> Encoder | None:
    """The encoder of a folder's conditions; None for a folder that is empty or not there yet.

    Raises:
        UsageError: it holds something else, or is of another version or damaged.
    """
    store = _local(folder)
    if store.exists(FACTS):
        return _read_facts(store)
    if others := [name for name in store.names("") if name not in (".lock", ".scratch")]:
        raise UsageError(
            f"`{store.uri}` is not empty (`{others[0]}` lies there) and holds no text conditions.",
            fix="Give an empty or new folder to --out.",
        )
    return None


def _local(folder: str) -> Store:
    if is_uri(folder):
        raise UsageError(f"Text conditions cannot lie in `{folder}`.", fix="Name a folder on a local or mounted disk.")
    return Store(Path(folder).expanduser())


def _read_facts(store: Store) -> Encoder:
    try:
        facts = json.loads(store.read_bytes(FACTS))
        if facts.pop("format") != FORMAT:
            raise UsageError(
                f"The text conditions in `{store.uri}` are of another version of this engine.",
                fix="Use the version that made them, or make them anew in another folder.",
            )
        encoder = Encoder(**facts)
        if encoder.dtype not in DTYPES:
            raise ValueError(encoder.dtype)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(
            f"`{store.uri}/{FACTS}` is damaged.",
            fix="Restore it from a copy, or make the conditions anew in another folder.",
        ) from None
    return encoder
