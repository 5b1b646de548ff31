"""Sections of the curation recipe that need models, or may: features, duplicates, chat models, captions and their checks.

Every default works without a download. A model is named by a folder or file here, or by its name on the hub.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from schemas.section import Name, Section, check_weights_file

Device = Literal["auto", "cpu", "cuda"]
_DEVICE = "Where the network runs; `auto` takes a GPU where there is one. No part of what a variant is."

Prompt = Annotated[str, StringConstraints(min_length=1)]
"""Name of an embedded prompt, path of a file, or (with a line break in it) the text itself."""

PluginName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_+-]{0,62}$")]


class Text(Section):
    """Search for text in stills, with rapidocr's detector (its weights are in its wheel)."""

    enabled: bool = Field(True, description="Measure `text_area`.")
    stills: int = Field(3, ge=1, le=16, description="Stills of a clip to look at, spread evenly.")
    long_side: int = Field(736, ge=160, le=2048, description="Long side in pixels at which they are looked at.")
    min_score: float = Field(0.6, gt=0, lt=1, description="Least confidence of a text box.")
    score_all: bool = Field(
        False,
        description="Look at every clip; else only at those that the rules of `select` over cheaper columns leave. `--score-all` sets it.",
    )


TAGS: dict[str, dict[str, tuple[str, ...]]] = {
    "content": {
        "people": ("a photo of people", "a close-up of a person"),
        "animals": ("a photo of an animal", "a photo of wildlife"),
        "nature": ("a landscape photo of nature", "a photo of mountains, forest, water or sky"),
        "city": ("a photo of a city street", "a photo of buildings"),
        "vehicles": ("a photo of a car or truck", "a photo of an aeroplane, train or boat"),
        "food": ("a photo of food", "a photo of someone cooking"),
        "sport": ("a photo of a sport", "a photo of athletes"),
        "indoors": ("a photo of a room", "an indoor scene"),
        "animation": ("a frame of an animated film", "a cartoon"),
    },
    "safety": {
        "safe": ("a photo", "an ordinary photo"),
        "nsfw": ("an explicit nude photo", "a pornographic image"),
        "gore": ("a photo of blood and injuries", "a violent, gory image"),
    },
    "watermark": {
        "unmarked": ("a clean photo", "a photo without any text or logo over it"),
        "watermark": ("a photo with a watermark", "a stock photo with a logo printed over it"),
    },
    "format": {
        "camera": ("a frame of a film", "a photo taken with a camera"),
        "screen_recording": ("a screenshot of a computer program", "a screen recording of a desktop"),
        "game": ("a screenshot of a video game",),
        "slideshow": ("a presentation slide", "a slide with a title and bullet points"),
    },
}
"""Group → label → prompts. A label's score is its share of the softmax within its group (CLIP, Radford et al. 2021, section 3.1)."""


class Embeddings(Section):
    """A vector per clip, from its stills: for likeness, learned scores, tags and the agreement of captions."""

    enabled: bool = Field(True, description="Measure the vectors.")
    backend: Literal["perceptual", "openclip"] = Field(
        "perceptual",
        description="`perceptual`: colours and structure, no weights; for likeness only. `openclip`: an image tower of OpenCLIP, which also gives aesthetics, tags and consistency. Needs the extra `models`.",
    )
    model: str = Field(
        "ViT-B-32", description="openclip: architecture, `hf-hub:owner/name`, or a local JSON configuration."
    )
    weights: str | None = Field(
        None,
        description="openclip: pretrained tag such as laion2b_s34b_b79k, or a local .safetensors file, which is built as `model` says (OpenAI's weights then need ViT-…-quickgelu); needless with hf-hub:owner/name, which has its own.",
    )
    weights_file: str | None = Field(
        None,
        description="openclip: local .safetensors file with the weights of the tag in `weights`. Nothing is fetched then; activation and preparation of pictures are the tag's.",
    )
    aesthetic_head: str | None = Field(
        None,
        description="openclip: file of a LAION aesthetic predictor that belongs to the model (linear or MLP; .safetensors, or .pth read without code). Without one `aesthetic_laion` is NULL.",
    )
    tags: dict[Name, dict[Name, tuple[str, ...]]] = Field(
        TAGS,
        description="openclip: groups of labels, each label with prompts. A label's score is its share within its group; labels are unique over all groups.",
    )
    stills: int = Field(4, ge=1, le=32, description="Stills of a clip to look at, spread evenly.")
    batch: int = Field(64, ge=1, le=4096, description="openclip: stills sent through the network at once.")
    device: Device = Field("auto", description=_DEVICE)
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="openclip: `auto` is bfloat16 on a GPU, float32 on a CPU: rows of both agree within tolerances, not to the bit.",
    )
    score_all: bool = Field(
        False, description="Every clip; else only those that the rules of `select` over cheaper columns leave."
    )

    @model_validator(mode="after")
    def _complete(self) -> Embeddings:
        if self.backend == "openclip" and self.enabled and not self.weights and not self.model.startswith("hf-hub:"):
            raise ValueError(
                "`openclip` needs `weights`, a pretrained tag or a local .safetensors file; or a `model` hf-hub:owner/name"
            )
        check_weights_file(self.weights, self.weights_file)
        if self.backend == "perceptual" and self.enabled and self.aesthetic_head:
            raise ValueError("`aesthetic_head` scores vectors of OpenCLIP: set `backend: openclip`, or leave it out")
        labels = [label for group in self.tags.values() for label in group]
        if len(labels) != len(set(labels)):
            raise ValueError("a label of `tags` stands in two groups")
        if any(not prompts for group in self.tags.values() for prompts in group.values()):
            raise ValueError("a label of `tags` has no prompt")
        return self


class Scores(Section):
    """Scorers and taggers of your own, from entry points (see CONTRIBUTING.md)."""

    scorers: tuple[PluginName, ...] = Field(
        (), description="Names of entry points of the groups `stiv.scorers` and `stiv.taggers`."
    )
    stills: int = Field(4, ge=1, le=64, description="Stills of a clip that they are given, spread evenly.")
    score_all: bool = Field(
        False, description="Every clip; else only those that the rules of `select` over cheaper columns leave."
    )


class Features(Section):
    """What is measured from stills after the scan: dearer, and by default only for clips that the cheap rules leave."""

    text: Text = Text()
    embeddings: Embeddings = Embeddings()
    scores: Scores = Scores()


class Near(Section):
    """Copies that were re-encoded, resized, letterboxed, watermarked, mirrored or shifted a little: proposed by perceptual hashes with a banded lookup, proven on stills."""

    enabled: bool = Field(True, description="Look for near duplicates.")
    max_distance: int = Field(
        8,
        ge=0,
        le=16,
        description="Most bits of 64 in which the closest of the three hashes may differ; the others that must agree, in twice as many.",
    )
    hashes: int = Field(2, ge=1, le=3, description="How many of the three must agree.")


class Semantic(Section):
    """Clips that show the same thing: vectors, k-means cells, then cosines within cells (SemDeDup, arXiv 2303.09540)."""

    enabled: bool = Field(
        False, description="Look for semantic duplicates. Needs `features.embeddings`; best with `openclip`."
    )
    min_cosine: float = Field(0.96, gt=0, le=1, description="Least cosine of two clips' vectors.")
    cells: int | None = Field(
        None, ge=1, description="k-means cells. Default: one for about every thousand clips, at most 16,384."
    )


class Dedup(Section):
    """Duplicates among the clips that the rules before this stage leave; the best of each cluster is kept."""

    enabled: bool = Field(True, description="Look for duplicates.")
    exact: bool = Field(True, description="Equal spans of sources with equal content.")
    near: Near = Near()
    semantic: Semantic = Semantic()
    keep: str = Field(
        "width * height * (1 - coalesce(bar_share, 0)) * coalesce(sharpness, 0.5)",
        min_length=1,
        description="One scalar SQL expression over the columns known by then: the clip with the largest value is kept; then the longest, then the first by clip_id.",
    )


class Chat(Section):
    """A model that is asked in words, with or without pictures."""

    backend: Literal["openai", "transformers"] = Field(
        "openai",
        description="`openai`: any endpoint that speaks OpenAI's chat protocol, such as vLLM. `transformers`: an image-text-to-text model in this process; needs the extra `models`.",
    )
    model: str | None = Field(
        None,
        description="Name of the model at the endpoint; or a local folder, or a name on the hub: owner/name, or owner/name@revision.",
    )
    base_url: str | None = Field(
        None,
        description="openai: where the endpoint is, such as http://localhost:8000/v1. No part of what a variant is.",
    )
    api_key_env: str = Field(
        "OPENAI_API_KEY", description="openai: environment variable with the key; unset means that none is sent."
    )
    stills: int = Field(8, ge=1, le=64, description="Most stills of a clip that it is shown, spread evenly.")
    frames: Literal["auto", "images", "video"] = Field(
        "auto", description="transformers: show stills as pictures, or as a video where the model takes one (`auto`)."
    )
    max_tokens: int = Field(512, ge=1, le=32768, description="Longest answer in tokens.")
    temperature: float = Field(0.0, ge=0, le=2, description="0 gives the likeliest answer.")
    seed: int = Field(0, ge=0, description="Of the model's sampling, where it has one.")
    concurrency: int = Field(16, ge=1, le=4096, description="openai: requests under way at once.")
    requests_per_minute: float | None = Field(None, gt=0, description="openai: rate limit. Default: none.")
    timeout_s: float = Field(120.0, gt=0, description="openai: longest wait for one answer.")
    retries: int = Field(
        5, ge=0, le=50, description="openai: further tries after a failure that may pass (429, 5xx, a lost connection)."
    )
    usd_per_million_input: float = Field(0.0, ge=0, description="Price of a million tokens sent.")
    usd_per_million_output: float = Field(0.0, ge=0, description="Price of a million tokens answered.")
    budget_usd: float | None = Field(
        None, gt=0, description="A run that would spend more stops in good order; answers paid for are kept."
    )
    batch: int = Field(4, ge=1, le=256, description="transformers: clips asked about at once.")
    device: Device = Field("auto", description=_DEVICE)
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="transformers: `auto` is bfloat16 on a GPU, float32 on a CPU."
    )

    @model_validator(mode="after")
    def _open(self) -> Chat:
        # Of the whole section, for the error of a field shows the field's value.
        if any(sign in (self.base_url or "") for sign in "@?#"):
            raise ValueError(
                "`base_url` may hold no password or query, for recipes are kept: put the key into the environment variable that `api_key_env` names"
            )
        return self


CHAT_LIMITS = frozenset(
    {
        "base_url",
        "api_key_env",
        "concurrency",
        "requests_per_minute",
        "timeout_s",
        "retries",
        "usd_per_million_input",
        "usd_per_million_output",
        "budget_usd",
        "batch",
        "device",
    }
)
"""Settings of a chat model on which its answers do not depend: they may change under a variant's name."""

ChatName = Literal["vlm", "openai", "llm"]


class LocalChat(Chat):
    """A vision-language model in this process."""

    backend: Literal["openai", "transformers"] = Field(
        "transformers", description="As for the other chat models; this one is local unless you say otherwise."
    )


class Chats(Section):
    """The models that captioners and checks may ask, by name."""

    vlm: LocalChat = LocalChat()
    openai: Chat = Field(Chat(), description="A vision-language model behind an endpoint.")
    llm: Chat = Field(Chat(), description="A language model: it is shown no pictures.")


class Rewrite(Section):
    """A language model shortens or restyles captions; a rewrite that adds a thing, colour, number or direction is refused."""

    enabled: bool = Field(False, description="Rewrite captions.")
    language: ChatName = Field("llm", description="Which chat model.")
    prompt: Prompt = Field("rewrite", description="Embedded prompt, file, or text.")


class Captions(Section):
    """Where a clip's text comes from."""

    captioners: tuple[PluginName, ...] = Field(
        ("sidecar", "describe"),
        min_length=1,
        description="Tried in order; the first that has a text writes the row. `sidecar`: the manifest's caption, or a .txt or .json beside the video. `describe`: what was measured, in plain English. `vlm`, `openai`: that chat model over stills. `frames+llm`: stills captioned one by one, then merged. Others: entry points of the group `stiv.captioners`.",
    )
    prompt: Prompt = Field(
        "caption", description="Embedded prompt, file, or text for `vlm` and `openai`; one answer holds every style."
    )
    styles: tuple[Literal["long", "short", "structured"], ...] = Field(
        ("long", "short"), min_length=1, description="What is asked for. `long` is the caption to train on."
    )
    vision: ChatName = Field("vlm", description="frames+llm: which chat model captions the stills.")
    language: ChatName = Field("llm", description="frames+llm: which chat model merges them.")
    frame_prompt: Prompt = Field("frame", description="frames+llm: for one still.")
    merge_prompt: Prompt = Field("merge", description="frames+llm: for the merger.")
    rewrite: Rewrite = Rewrite()
    max_chars: int = Field(4000, ge=1, description="A text longer than this is cut at a word.")

    @model_validator(mode="after")
    def _long(self) -> Captions:
        if "long" not in self.styles:
            raise ValueError("`styles` must hold `long`, the caption to train on")
        if len(set(self.captioners)) != len(self.captioners):
            raise ValueError("a captioner stands twice")
        return self


class Dsg(Section):
    """DSG-Video (STIV, arXiv 2412.07730, section on the data engine): whether what the caption names appears in the clip."""

    enabled: bool = Field(False, description="Measure `dsg_i` and `dsg_s`.")
    language: ChatName = Field("llm", description="Which chat model writes the questions.")
    vision: ChatName = Field("vlm", description="Which chat model answers them.")
    stills: int = Field(8, ge=1, le=64, description="Stills that each question is asked of, spread evenly.")
    questions_prompt: Prompt = Field("dsg_questions", description="Embedded prompt, file, or text.")
    answers_prompt: Prompt = Field("dsg_answers", description="Embedded prompt, file, or text.")


class Categories(Section):
    """What a caption is about."""

    backend: Literal["rules", "chat"] = Field(
        "rules", description="`rules`: embedded keywords. `chat`: a language model."
    )
    language: ChatName = Field("llm", description="chat: which model.")
    prompt: Prompt = Field("categories", description="chat: embedded prompt, file, or text.")


class Check(Section):
    """What is measured of captions after they are written, for the rules of `judge`."""

    enabled: bool = Field(True, description="Check captions.")
    agreement: bool = Field(
        True,
        description="Cosine of picture and text; measured only where `features.embeddings` is made by `openclip`, and with its model.",
    )
    dsg: Dsg = Dsg()
    categories: Categories = Categories()
