"""A frozen text tower of OpenCLIP, such as ViT-bigG-14's: the open stand-in for STIV's CLIP-bigG (arXiv 2412.07730, sec. 3). Room: models.

In: captions. Out: the states of all tokens after the tower's last norm and before its projection; pooled is that of the end token.
Only the text tower is built and only its weights are read. Weights are safetensors, or a published checkpoint that torch reads
with `weights_only`.

Legend: B batch, M text tokens, D width of the tower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from models.libraries import library
from models.openclip_files import Keys, read_configuration, weights_file
from models.text.contract import TextCondition
from models.text.frozen import Frozen
from models.text.tokens import VOCABULARY, pick, tokenize, until_end
from schemas.errors import UsageError

_KEYS = Keys("text.name", "text.weights", "ViT-bigG-14")

_PARTS = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.")
"""Keys of the text tower in a CLIP's state dict; in some they stand under `text.`."""


class OpenClipText(Frozen):
    """See :class:`models.text.contract.TextEncoder`."""

    def __init__(self, name: str, weights: str | None, max_tokens: int, own: str | None = None) -> None:
        """Build the tower and load its weights.

        Args:
            name: an architecture that open_clip knows, or a local JSON configuration in its format.
            weights: a pretrained tag, or a local .safetensors file of a whole CLIP.
            max_tokens: longest M.
            own: a local file that holds the weights of the tag.

        Raises:
            UsageError: name or weights are unknown, of no use here, or do not fit each other.
        """
        super().__init__()
        library("open_clip")
        config = configuration(name)
        file, quick = find_weights(name, weights, own)
        tower = _tower(name, config, bool(config.get("quick_gelu", False)) if quick is None else quick)
        if max_tokens > tower.context_length:
            raise UsageError(
                f"{name} reads {tower.context_length} tokens, not {max_tokens}.",
                fix=f"Set `text.max_tokens` to {tower.context_length} or less.",
            )
        _load(tower, file, name)
        self.tower = tower
        self.width = int(tower.width)
        self.max_tokens = max_tokens
        self.freeze()

    def tokenize(self, captions: Sequence[str]) -> torch.Tensor:
        return tokenize(captions, self.max_tokens)

    @torch.no_grad()
    def encode(self, ids: torch.Tensor) -> TextCondition:
        tower = self.tower
        end, mask = until_end(ids)
        length = mask.shape[1]
        # The tower is causal: what is cut off behind a caption's end changes nothing before it.
        x = tower.token_embedding(ids[:, :length]) + tower.positional_embedding[:length]
        x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])).float()
        return TextCondition(x, pick(x, end), mask)


def configuration(name: str) -> dict[str, Any]:
    """open_clip's configuration of an architecture, or that in a local file."""
    return dict(read_configuration(name, _KEYS)["model_cfg"])


def find_weights(name: str, weights: str | None, own: str | None) -> tuple[str, bool | None]:
    """A local file with the weights, fetched if need be; and whether they were trained with QuickGELU, if that is known."""
    file, known = weights_file(name, weights, own, _KEYS)
    return file, None if known is None else bool(known.facts.get("quick_gelu", False))


def _tower(name: str, config: Mapping[str, Any], quick_gelu: bool) -> Any:
    """The text tower with random weights."""
    from open_clip.model import CLIPTextCfg, _build_text_tower

    try:
        section = CLIPTextCfg(**config["text_cfg"])
    except TypeError as error:
        raise UsageError(
            f"The configuration {name}: {error}.", fix="Name a JSON file in open_clip's format."
        ) from error
    reasons = {
        "it is no tower of open_clip's own": section.hf_model_name,
        "it has a tokenizer of its own": section.hf_tokenizer_name or section.tokenizer_kwargs,
        "it has another vocabulary": section.vocab_size != VOCABULARY,
        "it is not causal": section.no_causal_mask,
        "its pooled vector is not the end-of-text token's": section.embed_cls or section.pool_type != "argmax",
    }
    for why, holds in reasons.items():
        if holds:
            raise UsageError(
                f"The text tower of {name} cannot be used: {why}.",
                fix="Set `text.name` to a CLIP such as ViT-L-14, ViT-H-14 or ViT-bigG-14; or `text.kind: t5`.",
            )
    tower = _build_text_tower(config["embed_dim"], section, quick_gelu)
    tower.text_projection = None
    return tower


def _load(tower: Any, file: str, name: str) -> None:
    """Put the text tower's part of a CLIP checkpoint into it."""
    from open_clip.factory import load_state_dict
    from safetensors import SafetensorError, safe_open

    try:
        if file.endswith(".safetensors"):
            with safe_open(file, framework="pt") as opened:
                found = {key: opened.get_tensor(key) for key in opened.keys() if _own(key) is not None}  # noqa: SIM118
        else:
            found = load_state_dict(file, weights_only=True)
        tower.load_state_dict({own: value.float() for key, value in found.items() if (own := _own(key)) is not None})
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UsageError(
            f"The weights {file} do not fit the text tower of {name}: {' '.join(str(error).split())[:300]}.",
            fix="`text.name` and `text.weights` must belong together; the file must be a whole CLIP as open_clip saves it.",
        ) from error


def _own(key: str) -> str | None:
    """A checkpoint's key as the tower calls it; None for what is not the tower's."""
    own = key.removeprefix("module.").removeprefix("text.")
    return own if own.startswith(_PARTS) else None
