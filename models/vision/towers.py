"""A whole CLIP of open_clip, frozen: pictures and texts to unit vectors. Room: models.

In: RGB pictures that :meth:`Towers.fit` made, or texts. Out: vectors of one common space, of length 1.
Weights are safetensors, or a published checkpoint that torch reads with `weights_only`.

Legend: B batch, H W the input's sides, D width of the common space.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from models import offline
from models.libraries import library, reason
from models.vision.spec import Spec
from schemas.errors import UsageError


class Towers:
    """Both towers of a CLIP, ready to be asked."""

    def __init__(self, spec: Spec, device: str = "auto", precision: str = "auto", threads: int | None = None) -> None:
        """Build and load the towers.

        Args:
            device: `cpu`, `cuda`, or `auto`: a GPU where there is one.
            precision: `float32`, `bfloat16` (of matrix products and convolutions), or `auto`: bfloat16 on a GPU.
            threads: processor threads of a call; by default those of torch.

        Raises:
            UsageError: weights and configuration do not fit, or there is no such device.
        """
        library("open_clip")
        offline.heed()
        from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

        self.device = _device(device)
        self.half = self.device.type == "cuda" if precision == "auto" else precision == "bfloat16"
        self._spec, self._threads = spec, threads
        self._model = _build(spec).to(self.device)
        prepared = {**spec.preparation, "size": self._model.visual.image_size}
        try:
            settings = PreprocessCfg(**merge_preprocess_dict(PreprocessCfg(), prepared))
            steps = image_transform_v2(settings, is_train=False).transforms
        except (TypeError, AssertionError, ValueError) as error:
            raise UsageError(
                f"The preparation of pictures for {spec.name} cannot be used: {reason(error)}.",
                fix="Correct `preprocess_cfg` in the JSON configuration.",
            ) from error
        # The last two, to floats and normalising, are done for a whole batch where the network runs: the same arithmetic.
        self._geometry = steps[:-2]
        self._mean, self._std = (
            torch.tensor(v, dtype=torch.float32, device=self.device).view(1, 3, 1, 1)
            for v in (steps[-1].mean, steps[-1].std)
        )
        self._tokenizer: Any = None
        self.width = int(spec.config["embed_dim"])
        self.scale = float(self._model.logit_scale.exp())
        """What cosines are multiplied by before a softmax."""

    def fit(self, picture: np.ndarray) -> np.ndarray:
        """Resize and crop as open_clip's transform for inference does: (h, w, 3) → (H, W, 3) uint8 RGB. May be called from many threads."""
        from PIL import Image

        image: Any = Image.fromarray(picture)
        for step in self._geometry:
            image = step(image)
        return np.asarray(image)

    def pictures(self, fitted: np.ndarray) -> np.ndarray:
        """(B, H, W, 3) uint8 RGB → (B, D) float32, of length 1."""
        with self._settled():
            given = torch.from_numpy(fitted).to(self.device).permute(0, 3, 1, 2).contiguous()
            given = given.float().div_(255).sub_(self._mean).div_(self._std)
            with self._precision():
                found = self._model.encode_image(given, normalize=False)
            return _unit(found)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """B texts → (B, D) float32, of length 1. Longer texts than the tower reads are cut.

        Raises:
            UsageError: the model has a tokenizer of its own, and that cannot be found or fetched.
        """
        if not texts:
            return np.zeros((0, self.width), np.float32)
        if self._tokenizer is None:
            self._tokenizer = _tokenizer(self._spec)
        with self._settled():
            ids = self._tokenizer(list(texts)).to(self.device)
            with self._precision():
                found = self._model.encode_text(ids, normalize=False)
            return _unit(found)

    def _precision(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()

    @contextmanager
    def _settled(self) -> Iterator[None]:
        before = torch.get_num_threads()
        wanted = self._threads or before
        if wanted != before:
            torch.set_num_threads(wanted)
        try:
            with torch.inference_mode():
                yield
        finally:
            if wanted != before:
                torch.set_num_threads(before)


def _unit(vectors: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("There is no GPU that torch can use.", fix="Set `features.embeddings.device` to auto or cpu.")
    return torch.device(wanted)


FAULTS = (OSError, RuntimeError, TypeError, ValueError, KeyError, AttributeError, AssertionError, ImportError)
"""What open_clip and torch raise over a configuration or a file that is none of theirs, or of another model."""


def _build(spec: Spec) -> Any:
    """The model with its weights, frozen, in float32 on the CPU."""
    from open_clip.factory import load_checkpoint
    from safetensors import SafetensorError

    try:
        model = shell(spec.config)
        load_checkpoint(model, spec.file, strict=True, weights_only=True)
    except (*FAULTS, SafetensorError) as error:
        raise UsageError(
            f"The OpenCLIP model {spec.model} cannot be built with the weights {spec.weights}: {' '.join(str(error).split())[:300]}.",
            fix="`features.embeddings.model` and `.weights` must belong together; the file must be a whole CLIP as open_clip saves it.",
        ) from error
    return model.eval().requires_grad_(False)


def shell(config: dict[str, Any]) -> Any:
    """A model of open_clip's configuration, with random weights. Its towers' own base weights are not fetched: a file has all.

    Raises:
        one of FAULTS: it is no configuration that can be built.
    """
    from open_clip.coca_model import CoCa
    from open_clip.model import CLIP, CustomTextCLIP

    config = copy.deepcopy(config)
    custom = bool(config.pop("custom_text", False)) or "hf_model_name" in config["text_cfg"]
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_model_pretrained"] = False
    if "hf_model_name" in config["text_cfg"]:
        config["text_cfg"]["hf_model_pretrained"] = False
    kind = (CoCa if "multimodal_cfg" in config else CustomTextCLIP) if custom else CLIP
    # The generator of the process is left as it was.
    with torch.random.fork_rng(devices=[]):
        return kind(**config)


def _tokenizer(spec: Spec) -> Any:
    open_clip = library("open_clip")
    text = spec.config["text_cfg"]
    own = text.get("hf_tokenizer_name")
    try:
        if spec.folder is None:
            return open_clip.get_tokenizer(spec.model.replace("/", "-"))
        settings = {"context_length": text.get("context_length", 77), **(text.get("tokenizer_kwargs") or {})}
        if not own:
            return open_clip.SimpleTokenizer(**settings)
        beside = spec.folder / own
        source = str(beside) if beside.exists() else own
        return open_clip.HFTokenizer(source, tokenizer_mode=text.get("tokenizer_mode"), **settings)
    except (OSError, ValueError, TypeError, ImportError) as error:
        fix = f"With a network: hf download {own}." if own else "Check `text_cfg` of the configuration."
        raise UsageError(f"The tokenizer of {spec.name} cannot be loaded: {reason(error)}.", fix=fix) from error
