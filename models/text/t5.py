"""A frozen T5 (or UMT5, mT5) encoder of transformers. Room: models. Weights are safetensors or an error: no pickles.

In: captions. Out: the states of all tokens; T5 has no token that stands for the whole, so pooled is the mean of the real ones.
Weights keep the type they were saved in, but for float16, in which T5 overflows.

Legend: B batch, M text tokens, D width of the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError

from models.hub import is_path
from models.libraries import library, reason
from models.text.contract import TextCondition
from models.text.frozen import Frozen
from models.text.tokens import masked_mean
from schemas.errors import UsageError

_CLASSES = {"t5": "T5EncoderModel", "umt5": "UMT5EncoderModel", "mt5": "MT5EncoderModel"}


class T5Text(Frozen):
    """See :class:`models.text.contract.TextEncoder`."""

    def __init__(self, name: str, max_tokens: int) -> None:
        """Load encoder and tokenizer.

        Args:
            name: a local folder or hub name. A folder may be a pipeline of diffusers, with `text_encoder` and `tokenizer` in it.
            max_tokens: longest M.

        Raises:
            UsageError: they cannot be found or fetched, or are no T5.
        """
        super().__init__()
        transformers = library("transformers")
        local = is_path(name)
        encoder, words = folders(name) if local else (name, name)
        try:
            config = transformers.AutoConfig.from_pretrained(encoder, local_files_only=local)
            if config.model_type not in _CLASSES:
                raise UsageError(
                    f"{name} is a {config.model_type}, not a T5.",
                    fix="Set `text.name` to a T5, UMT5 or mT5 such as google/t5-v1_1-xxl.",
                )
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(words, local_files_only=local)
            self.model, found = getattr(transformers, _CLASSES[config.model_type]).from_pretrained(
                encoder, local_files_only=local, use_safetensors=True, dtype="auto", output_loading_info=True
            )
            if found["missing_keys"]:  # they would be random
                raise ValueError(f"its weights lack {', '.join(sorted(found['missing_keys'])[:3])}")
        except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError, SafetensorError) as error:
            raise _unreadable(name, local, error) from error
        if self.model.dtype == torch.float16:
            self.model.to(torch.bfloat16)
        # Where its files are missing, transformers makes a tokenizer to which every word is unknown, and says nothing.
        words_known = set(self.tokenizer.get_vocab()) - set(self.tokenizer.all_special_tokens)
        if len(words_known) < 2 or self.tokenizer.pad_token_id is None:
            raise UsageError(
                f"The text encoder {name} has no tokenizer beside it.",
                fix="Put its tokenizer.json or spiece.model into the same folder, or into `tokenizer` next to `text_encoder`.",
            )
        self.padding = int(self.tokenizer.pad_token_id)
        self.width = int(config.d_model)
        self.max_tokens = max_tokens
        self.freeze()

    def tokenize(self, captions: Sequence[str]) -> torch.Tensor:
        if not captions:
            return torch.zeros(0, self.max_tokens, dtype=torch.int64)
        batch = self.tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return batch["input_ids"]

    @torch.no_grad()
    def encode(self, ids: torch.Tensor) -> TextCondition:
        mask = ids != self.padding
        mask[:, 0] = True  # a tokenizer without an end token gives the empty caption no token at all
        mask = mask[:, : int(mask.sum(1).max()) if len(ids) else 1]
        tokens = self.model(input_ids=ids[:, : mask.shape[1]], attention_mask=mask).last_hidden_state.float()
        return TextCondition(tokens, masked_mean(tokens, mask), mask)


def folders(name: str) -> tuple[str, str]:
    """Folders of encoder and tokenizer."""
    root = Path(name).expanduser()
    if not root.is_dir():
        raise UsageError(
            f"The text encoder's folder {name} does not exist.",
            fix="Set `text.name` to a folder in transformers' format, or to a hub name such as google/t5-v1_1-xxl.",
        )
    encoder = root / "text_encoder" if (root / "text_encoder").is_dir() else root
    words = root / "tokenizer" if (root / "tokenizer").is_dir() else root
    if not (encoder / "config.json").is_file():
        raise UsageError(
            f"The text encoder's folder {encoder} has no config.json.",
            fix="Name the folder that `save_pretrained` of transformers wrote.",
        )
    if not any(encoder.glob("*.safetensors")):
        raise UsageError(
            f"The text encoder's folder {encoder} has no .safetensors weights (other kinds can hold code and are not read).",
            fix="Save it with `save_pretrained(folder)` of transformers and name that folder.",
        )
    return str(encoder), str(words)


def _unreadable(name: str, local: bool, error: Exception) -> UsageError:
    if local:
        fix = "The folder must hold a T5 encoder and its tokenizer, as `save_pretrained` of transformers writes them."
    else:
        fix = (
            "If this machine has no network, copy the folder here and set `text.name` to it; else check the name, "
            "and that the repository holds .safetensors weights."
        )
    return UsageError(f"The text encoder {name} could not be loaded: {reason(error)}.", fix=fix)
