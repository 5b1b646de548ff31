"""The training recipe: every setting once, with its default, limits and meaning.

Defaults are those of the paper (STIV, arXiv 2412.07730) where it states them; what it leaves open is our choice and says so.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.section import check_weights_file


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=())


Positive = Annotated[int, Field(ge=1)]


class Bucket(_Section):
    """One shape of training samples. Each clip goes to the bucket that fits it best."""

    frames: int = Field(20, ge=1, description="Sampled frames of a sample; 1 trains on still images.")
    height: int = Field(256, ge=8, description="Pixels.")
    width: int = Field(256, ge=8, description="Pixels.")
    batch: int | None = Field(
        None, ge=1, description="Samples in a global batch of this bucket; null takes `train.batch`."
    )


class Data(_Section):
    """What is trained on. `--select` on the command line stands in place of `select`."""

    shards: str = Field("default", description="The shards variant of the corpus whose samples are read.")
    captions: str | None = Field(
        None, description="A captions variant that overrides the exported captions; null keeps those."
    )
    select: str | None = Field(
        None,
        description="One SQL expression over the columns of `clips_all`; clips for which it is true are trained on. NULL leaves a clip out and is counted.",
    )
    weight: str | None = Field(
        None,
        description="One SQL expression: visits per epoch. 2 is seen twice, 0.5 in every second epoch on average (decided by a hash of the clip), 0 never.",
    )
    validation_share: float = Field(
        0.02, ge=0, lt=1, description="Share of the sources held out, each with all its duplicates."
    )
    validation_clips: int = Field(64, ge=1, description="Most clips on which validation loss is measured.")
    buckets: tuple[Bucket, ...] = Field((Bucket(),), min_length=1, description="Shapes of samples.")
    stride: int = Field(3, ge=1, description="One of this many frames is sampled (STIV: 3).")
    start: Literal["random", "first"] = Field("random", description="Where in a clip the sampled frames begin.")
    crop: Literal["random", "centre"] = Field(
        "centre", description="Where the picture is cropped after it was scaled to cover the bucket's size."
    )
    workers: int = Field(2, ge=0, description="Processes that read and decode; 0 decodes in the training process.")
    prefetch: int = Field(4, ge=1, description="Batches that each worker holds ready.")


class Model(_Section):
    """The network."""

    preset: Literal["T", "S", "B", "XL", "XXL", "M"] = Field(
        "S", description="Width and depth: T 128 × 4, S 384 × 12, B 768 × 12, XL 1152 × 28, XXL 1536 × 38, M 3072 × 46."
    )
    width: int | None = Field(None, ge=64, multiple_of=64, description="Overrides the preset; heads are 64 wide.")
    depth: int | None = Field(None, ge=1, description="Blocks; overrides the preset.")
    attention: Literal["factorized", "full"] = Field(
        "factorized", description="Spatial and temporal attention by turns (STIV), or one over all tokens."
    )
    patch: tuple[Positive, Positive, Positive] = Field(
        (2, 2, 2), description="Latent frames, rows and columns in a token (STIV: 2, 2, 2)."
    )
    temporal: bool = Field(True, description="With temporal attention; false is the image model, frame by frame.")
    mask_blocks: int = Field(
        2, ge=0, description="Extra blocks after dropped tokens come back (STIV, after MaskDiT: 2). 0: no masking."
    )
    skip: bool = Field(
        False,
        description="Add the network's output to the best linear guess of the velocity, so that it need not carry the noise through. Ours, after EDM (Karras et al. 2022): small models learn several times quicker.",
    )
    rope_interpolate: bool = Field(
        True,
        description="Where a sample has more rows, columns or frames than the first bucket the model was trained on, squeeze its positions into that range; else they go on.",
    )


class Latents(_Section):
    """What the network works on in place of pixels."""

    kind: Literal["linear", "image_vae", "video_vae"] = Field(
        "linear",
        description="`linear`: principal components of blocks, fitted on the selection. `image_vae`: diffusers' AutoencoderKL, frame by frame (STIV). `video_vae`: a video autoencoder of diffusers.",
    )
    block: tuple[Positive, Positive, Positive] = Field(
        (1, 8, 8), description="linear: frames, rows and columns of a block; 1 frame allows images to be given."
    )
    channels: int = Field(16, ge=1, description="linear: principal components kept per block.")
    fit_clips: int = Field(
        256, ge=1, description="Clips of the selection that components and channel statistics are fitted on."
    )
    path: str | None = Field(
        None, description="image_vae, video_vae: a local folder or a name on the model hub, in diffusers' format."
    )
    subfolder: str | None = Field(None, description="Folder of the autoencoder within `path`, such as `vae`.")
    model_class: str | None = Field(
        None, description="video_vae: diffusers class, such as AutoencoderKLWan; null reads it from the configuration."
    )

    @model_validator(mode="after")
    def _complete(self) -> Latents:
        if self.kind == "linear" and self.channels > 3 * self.block[0] * self.block[1] * self.block[2]:
            raise ValueError("channels must not be more than the values of a block (3 × frames × rows × columns)")
        if self.kind != "linear" and not self.path:
            raise ValueError(f"`{self.kind}` needs `path`: a folder or hub name such as stabilityai/sd-vae-ft-ema")
        return self


class Text(_Section):
    """How captions reach the network."""

    kind: Literal["small", "openclip", "t5"] = Field(
        "small",
        description="`small`: a transformer over OpenCLIP's tokens, trained along. `openclip`: a frozen text tower. `t5`: a frozen T5 encoder.",
    )
    max_tokens: int = Field(77, ge=4, le=512, description="Longest caption in tokens, start and end included.")
    width: int = Field(256, ge=64, multiple_of=64, description="small: width of the transformer; heads are 64 wide.")
    depth: int = Field(2, ge=0, description="small: layers.")
    name: str | None = Field(
        None,
        description="openclip: architecture such as ViT-bigG-14, hf-hub:owner/name, or a local JSON configuration; t5: folder or hub name.",
    )
    weights: str | None = Field(
        None,
        description="openclip: pretrained tag such as laion2b_s39b_b160k, or a local .safetensors file, which is built as `name` says (OpenAI's weights then need ViT-…-quickgelu).",
    )
    weights_file: str | None = Field(
        None,
        description="openclip: local .safetensors file with the weights of the tag in `weights`. Nothing is fetched then; the activation is the tag's.",
    )
    precomputed: str | None = Field(
        None,
        description="openclip, t5: folder of `stiv embed-text`. Training reads its captions' conditions there and loads no encoder; `stiv generate` still loads it, because prompts are new.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Text:
        if self.kind == "small" and self.precomputed is not None:
            raise ValueError(
                "`small` is trained along with the network, so nothing can be `precomputed`; choose `openclip` or `t5`, or leave it out"
            )
        if self.kind != "small" and not self.name:
            raise ValueError(
                f"`{self.kind}` needs `name`, such as {'ViT-bigG-14' if self.kind == 'openclip' else 'google/t5-v1_1-xxl'}"
            )
        check_weights_file(self.weights, self.weights_file)
        return self


class Flow(_Section):
    """The training objective (STIV: x_t = t·x1 + (1 - t)·noise, target x1 - noise)."""

    target: Literal["velocity", "clean"] = Field(
        "velocity",
        description="What the network predicts: the velocity (STIV), or the clean latent, with the loss weighted as that of the velocity.",
    )
    timesteps: Literal["uniform", "logit_normal"] = Field(
        "uniform", description="Density of training timesteps. The paper does not say; uniform is our choice."
    )
    mean: float = Field(0.0, description="logit_normal: mean of the logit; below 0 means more noise.")
    std: float = Field(1.0, gt=0, description="logit_normal: standard deviation of the logit.")
    shift: Literal["none", "resolution"] = Field(
        "none",
        description="`resolution`: timesteps move towards noise with the root of the tokens over `shift_tokens`.",
    )
    shift_tokens: int = Field(
        2560,
        ge=1,
        description="Tokens of a sample for which `shift: resolution` moves nothing (256² × 20 frames: 2560).",
    )


class Conditioning(_Section):
    """What a sample is given besides noise."""

    task: Literal["t2v", "ti2v"] = Field(
        "t2v", description="`t2v`: text. `ti2v`: text and the first frame, given clean at every step (STIV)."
    )
    text_drop: float = Field(0.10, ge=0, le=1, description="Share of samples without their text (STIV: 0.10).")
    image_drop: float = Field(
        0.08, ge=0, le=1, description="ti2v: share of samples without their frame, independently (STIV: 0.08)."
    )
    token_drop: float = Field(
        0.5, ge=0, lt=1, description="Share of spatial tokens left out of the main blocks (STIV, after MaskDiT: 0.5)."
    )


class Optim(_Section):
    """Optimiser, learning rate and average of the weights."""

    kind: Literal["adafactor", "adamw"] = Field("adafactor", description="STIV: AdaFactor.")
    lr: float = Field(2e-4, gt=0, description="Learning rate after warm-up (STIV: 2e-4).")
    warmup: int = Field(1000, ge=0, description="Steps of linear warm-up (STIV: 1000).")
    decay: Literal["constant", "cosine"] = Field("constant", description="After warm-up (STIV: constant).")
    beta1: float = Field(0.9, ge=0, lt=1, description="STIV: 0.9.")
    beta2: float = Field(0.999, ge=0, lt=1, description="STIV: 0.999.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled (STIV: 0).")
    clip: float = Field(
        1.0,
        gt=0,
        description="Largest gradient norm; adafactor: largest root mean square of a block's update too (STIV: 1).",
    )
    ema: float = Field(0.9999, ge=0, lt=1, description="Decay of the weights' average (STIV: 0.9999).")


class Sampling(_Section):
    """How videos are made from the network."""

    solver: Literal["euler", "heun"] = Field("euler", description="The paper names none; Euler is our choice.")
    steps: int = Field(50, ge=1, description="Solver steps. Our choice.")
    guidance: float = Field(
        7.5, ge=0, description="Scale of joint guidance, or of the text in separate guidance (STIV: 7.5)."
    )
    image_guidance: float | None = Field(
        None,
        ge=0,
        description="With a number: separate guidance in three passes with this scale for the image (STIV's best: 1.5).",
    )
    renormalise: bool = Field(True, description="Give the guided prediction the norm of the conditional one (STIV).")


class Train(_Section):
    """The loop."""

    steps: int = Field(400_000, ge=1, description="Optimiser steps in all (STIV: 400,000).")
    batch: int = Field(1024, ge=1, description="Samples in a step, over all processes (STIV: 1024).")
    accumulate: int = Field(1, ge=1, description="Pieces in which a process works through its share of a batch.")
    seed: int = Field(0, ge=0, description="Of weights, order, noise and dropout.")
    precision: Literal["fp32", "bf16"] = Field(
        "bf16",
        description="bf16: autocast, with weights and their average in fp32. On a CPU fp32 is quicker for small models.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where there is one.")
    compile: bool = Field(False, description="Compile each block (torch.compile).")
    checkpointing: Literal["none", "attention", "full"] = Field(
        "none", description="Recompute in the backward pass: all but self-attention's outputs (STIV), or everything."
    )
    sharding: Literal["none", "fsdp"] = Field(
        "none", description="Several processes: whole copies (DDP), or weights sharded over them (FSDP2)."
    )
    log_every: int = Field(10, ge=1, description="Steps between lines of metrics.")
    validate_every: int = Field(1000, ge=1, description="Steps between measurements of validation loss.")
    sample_every: int = Field(5000, ge=1, description="Steps between sample grids.")
    sample_prompts: int = Field(8, ge=1, le=64, description="Captions of held-out clips shown in a sample grid.")
    save_every: int = Field(1000, ge=1, description="Steps between checkpoints.")
    keep: int = Field(3, ge=1, description="Checkpoints kept; older ones are removed.")
    quarantine_limit: int = Field(
        1000, ge=0, description="Broken samples after which training stops rather than going on without them."
    )


class TrainRecipe(_Section):
    """What `stiv train` does. Unknown keys are errors; every key has a default."""

    kind: Literal["train"] = Field("train", description="Tells a training recipe from a curation recipe.")
    data: Data = Data()
    model: Model = Model()
    latents: Latents = Latents()
    text: Text = Text()
    flow: Flow = Flow()
    conditioning: Conditioning = Conditioning()
    optim: Optim = Optim()
    sampling: Sampling = Sampling()
    train: Train = Train()

    @model_validator(mode="after")
    def _fits(self) -> TrainRecipe:
        frames, rows, columns = self.latents.block if self.latents.kind == "linear" else (1, 8, 8)
        for bucket in self.data.buckets:
            for name, size, unit in (
                ("height", bucket.height, rows * self.model.patch[1]),
                ("width", bucket.width, columns * self.model.patch[2]),
            ):
                if size % unit:
                    raise ValueError(f"a bucket's {name} of {size} is no multiple of {unit} (latent factor × patch)")
            if self.latents.kind == "linear" and bucket.frames > 1 and bucket.frames % frames:
                raise ValueError(
                    f"a bucket's {bucket.frames} frames are no multiple of the {frames} in a block of `latents.block`"
                )
        if self.conditioning.task == "ti2v" and self.latents.kind == "linear" and frames > 1:
            raise ValueError("`ti2v` gives single frames, so `latents.block` must begin with 1")
        if self.model.skip and self.flow.target != "velocity":
            raise ValueError("`model.skip` guesses the velocity, so it needs `flow.target: velocity`")
        if self.conditioning.token_drop > 0 and self.model.mask_blocks == 0:
            raise ValueError(
                "`conditioning.token_drop` needs `model.mask_blocks` of at least 1; or set token_drop to 0"
            )
        return self
