"""The curation recipe: every setting once, with its default, limits and meaning. Flags, YAML, docs and errors come from here.

Sections map to stages. ``plan`` and ``scan`` define the corpus; the others may differ from one named variant to the next.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from schemas.recipe_learned import Captions, Chats, Check, Dedup, Features
from schemas.section import Name, Section


class Plan(Section):
    """How the input is split into parts, the unit of work and of commit."""

    part_minutes: float = Field(
        10.0, gt=0, description="CPU-minutes of scanning that a part should hold, estimated from file sizes."
    )
    part_sources: int = Field(2000, ge=1, description="Most sources in a part.")
    segment_minutes: float = Field(
        3.0,
        gt=0,
        description="A long source is scanned in pieces of about this many minutes of video, so that one file fills all processors.",
    )
    segment_mb: float = Field(
        64.0,
        ge=0,
        description="Only sources over this size in megabytes (10^6 bytes) are looked into when the plan is made, and cut into such pieces.",
    )


class Shots(Section):
    """Finding transitions and making clips of what lies between them."""

    backend: Literal["adaptive+histogram", "transnetv2", "ensemble", "fixed"] = Field(
        "adaptive+histogram",
        description="What finds transitions. `adaptive+histogram`: cheap detectors nominate, tests of ours decide; no weights. `transnetv2`: the TransNetV2 network on every frame. `ensemble`: the first, and the network only around what it finds doubtful. `fixed`: none, a clip every `fixed_s`. The network needs the extra `models` and 650 to 800 MB a worker.",
    )
    network_threshold: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="TransNetV2: least probability of a transition. Only for backends with the network.",
    )
    fixed_s: float = Field(10.0, gt=0, description="Length of a clip in seconds where `backend` is `fixed`.")
    stitch: bool = Field(
        True, description="Drop a cut when the pictures on both sides, some frames away from it, show the same scene."
    )
    adaptive_threshold: float = Field(
        3.0,
        gt=0,
        description="PySceneDetect AdaptiveDetector: how far a frame's change stands out from its neighbours' to nominate a cut.",
    )
    histogram_threshold: float = Field(
        0.20,
        gt=0,
        le=1,
        description="PySceneDetect HistogramDetector: luma histogram difference that nominates a gradual change.",
    )
    trim_frames: int = Field(
        2,
        ge=0,
        description="Frames removed on each side of a cut, but none after one whose first frame plainly shows the new shot alone; fades and dissolves are removed whole, and these frames besides.",
    )
    min_s: float = Field(2.0, gt=0, description="Shortest clip in seconds; shorter pieces are not made into clips.")
    max_s: float = Field(
        20.0, gt=0, description="Longest clip in seconds; longer shots are split where they change least."
    )

    @model_validator(mode="after")
    def _order(self) -> Shots:
        if self.max_s < 2 * self.min_s:
            raise ValueError("max_s must be at least twice min_s, so that a shot just over max_s splits into two clips")
        return self


class Stills(Section):
    """JPEGs of each clip, for captioners, models and people."""

    short_side: int = Field(512, ge=64, le=2160, description="Short side in pixels; smaller sources keep their size.")
    quality: int = Field(90, ge=30, le=100, description="JPEG quality.")
    per_second: float = Field(1.0, gt=0, le=2, description="Stills per second of clip, within the two limits below.")
    least: int = Field(
        4, ge=1, le=64, description="Fewest stills of a clip (a clip with fewer sampled frames has those)."
    )
    most: int = Field(16, ge=1, le=256, description="Most stills of a clip.")

    @model_validator(mode="after")
    def _order(self) -> Stills:
        if self.most < self.least:
            raise ValueError("most must not be smaller than least")
        return self


class Scan(Section):
    """The one pass over every source: decode, shots, signals, stills."""

    shots: Shots = Shots()
    stills: Stills = Stills()
    stall_s: float = Field(
        60.0,
        gt=0,
        description="A source that gives no frame for this many seconds is stopped and recorded as `timeout`.",
    )
    source_limit_s: float = Field(6 * 3600.0, gt=0, description="A source may take at most this many seconds in all.")
    max_pixels: int = Field(
        8192 * 4320, ge=64, description="Largest frame, width × height; larger ones are recorded as `unsupported`."
    )
    error_rate_limit: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of sources with status `error` over which a run stops with exit code 3; counted from `error_rate_after` sources on.",
    )
    error_rate_after: int = Field(100, ge=1, description="Sources to see before the error rate may stop a run.")


class Rule(Section):
    """One named predicate: a clip for which ``drop`` is true is dropped, and says so by this name."""

    name: Name = Field(description="Recorded as the reason; lower-case letters, digits, underscores.")
    drop: str = Field(
        min_length=1,
        description="One scalar SQL expression (DuckDB) over the columns of `clips_all`. NULL drops nothing and is counted as unknown. `percentile(column, q)` stands for that percentile of the corpus.",
    )


def _rules(*pairs: tuple[str, str]) -> tuple[Rule, ...]:
    return tuple(Rule(name=n, drop=d) for n, d in pairs)


class _Rules(Section):
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> _Rules:
        seen: set[str] = set()
        for rule in self.rules:
            if rule.name in seen:
                raise ValueError(f"two rules are named `{rule.name}`")
            seen.add(rule.name)
        return self


class Select(_Rules):
    """Rules over what the scan measured; they run before captions, so that nothing is captioned that is already out."""

    rules: tuple[Rule, ...] = Field(
        _rules(
            ("damaged", "damaged_frames > 0"),
            (
                "too_small",
                "least(width - coalesce(bar_left + bar_right, 0), height - coalesce(bar_top + bar_bottom, 0)) < 240",
            ),
            ("black", "black_share > 0.2 OR brightness < 0.03"),
            ("frozen", "static_share > 0.8"),
            ("still", "motion < 0.1"),
            ("too_fast", "motion > 100"),
            ("blurred", "sharpness < 0.1"),
            ("flat", "contrast < 0.05"),
            ("bars", "bar_share > 0.35"),
            ("unaesthetic", "aesthetic_photo < 2.5"),
            ("combed", "comb_share > 0.3"),
            ("text", "text_area > 0.15"),
            ("duplicate", "duplicate_of IS NOT NULL"),
        ),
        description="Ordered; the first that drops a clip gives the reason, all are recorded.",
    )


_REFUSAL = (
    "regexp_matches(caption, '(?i)("
    # A refusal opens the caption or a sentence; the same words within one are reported speech or text on screen.
    r"(^|[.!?] )(sorry|(i am|i[''’]m) sorry|unfortunately|my apologies|i apologi[sz]e),? (but )?(i|i[''’]m|the|this|there)\b"
    r"|(^|[.!?] )(unable|not able) to (process|view|see|access|describe|analy[sz]e|identify) (the|this|any)\b"
    r"|(^|[.!?] )(i cannot|i can[''’]t|i can not|(i am|i[''’]m) (unable|not able) to) (assist with|help (you )?with|comply)\b"
    r"|\bas an? (ai|artificial intelligence|language model)( language)?( model| assistant)?,? i\b"
    r"|\b(i cannot|i can[''’]t|i can not|(i am|i[''’]m) (unable|not able) to|i do not|i don[''’]t)"
    r" (describe|see|view|watch|access|analy[sz]e|process|identify|provide|have access to)\b"
    r"[^.!?]{0,40}\b(videos?|images?|clips?|frames?|footage|pictures?|content|description|caption)\b"
    r"|\bno (video|image|frames?|content|footage) (was|were|is|are|has been|have been) (provided|attached|uploaded|shared|given)\b"
    r"|\bplease (provide|upload|share|attach) (the|a|an|your|more|some)\b[^.!?]{0,20}\b(video|image|frames?|footage|file)"
    ")')"
)
_BOILERPLATE = (
    "regexp_matches(caption, '(?i)("
    r"https?://|\bwww\.[a-z]|\b(youtu\.be|bit\.ly|t\.co)/|\S@\w[\w-]*\.[a-z]"
    r"|lorem ipsum|all rights reserved|\{\{|<[a-z/][^>]*>|&(amp|nbsp|lt|gt|quot|#\d+);"
    r"|\bsubscribe (to (my|our|the|this) (\w+ )?channel|for (more|new|free|daily|weekly))"
    r"|\b(likes?|comment|share)[ ,]+(and|&) subscribe|\b(forget to|please) subscribe"
    r"|(^|[.!?] |\b(info|information|details|more),? )click (here|(on )?(the|this) link)"
    r"|\bclick (here|(on )?(the|this) link) (to|for|below|now|in)\b"
    r"|#\w+\s+#\w+\s+#\w+"
    # A file's name in place of a caption.
    r"|^\W*(img|dsc|dscn|vid|mov|mvi|gopr|pxl|gx|dji|wp|screen ?recording)[ _-]?\d[\w .-]*$"
    r"|^[^.!?]*\.(mp4|mov|avi|mkv|webm|m4v|mpe?g|flv|wmv|jpe?g|png|gif)$"
    r"|^\W*(thanks|thank you)( so much| all)? for watching\W*$"
    ")')"
)


class Judge(_Rules):
    """Rules over captions; what they leave is kept."""

    rules: tuple[Rule, ...] = Field(
        _rules(
            ("no_caption", "caption IS NULL OR caption_words = 0"),
            ("caption_short", "caption_words < 3"),
            ("caption_long", "caption_words > 400"),
            ("caption_repeats", "caption_repetition > 0.3"),
            ("caption_refusal", _REFUSAL),
            ("caption_boilerplate", _BOILERPLATE),
            ("caption_garbled", "contains(caption, chr(65533))"),
            ("caption_script", "caption_script IS DISTINCT FROM 'latin' OR caption_script_share < 0.6"),
            ("caption_language", "caption_language <> 'en' AND caption_language_score > 0.9"),
            ("hallucinated", "dsg_i > 0.1"),
            ("mismatch", "agreement < 0.2"),
        ),
        description="Ordered; the first that drops a clip gives the reason, all are recorded. They run after the rules of `select`.",
    )


class Export(Section):
    """Cutting the survivors and packing them into WebDataset tars."""

    short_side: int = Field(
        720,
        ge=16,
        le=4320,
        description="Largest short side in pixels of an exported clip; smaller clips keep their size.",
    )
    crf: int = Field(20, ge=0, le=51, description="x264 quality where a clip is encoded: lower is better and larger.")
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"] = (
        Field("veryfast", description="x264 preset where a clip is encoded.")
    )
    keyframe_interval_s: float = Field(
        1.0,
        gt=0,
        le=60,
        description="Longest distance between codec keyframes in an encoded clip: short makes random access in training cheap.",
    )
    audio: Literal["drop", "keep"] = Field(
        "drop", description="`keep` encodes the sound of the span as AAC, or copies it with a copied clip."
    )
    cut: Literal["auto", "copy", "encode"] = Field(
        "auto",
        description="`auto` copies packets where start, size, pixel format, rotation and keyframe distance of the source allow it, and encodes the rest; `encode` always encodes; `copy` never does: clips that cannot be copied are left out and listed.",
    )
    crop_bars: bool = Field(
        False, description="Cut black bars off. Such clips are always encoded; those without bars are not affected."
    )
    copy_start_tolerance_s: float = Field(
        0.5, ge=0, description="A copied clip may start this much later than its span, at a codec keyframe."
    )
    copy_keyframe_interval_s: float = Field(
        2.0, gt=0, description="Longest distance between codec keyframes that a copied clip may have."
    )
    shard_mb: float = Field(512.0, gt=0, description="Estimated size of a tar in megabytes (10^6 bytes).")
    shard_samples: int = Field(2000, ge=1, description="Most samples in a tar.")


class CurateRecipe(Section):
    """What `stiv curate` does. Unknown keys are errors; every key has a default."""

    kind: Literal["curate"] = Field("curate", description="Tells a curation recipe from a training recipe.")
    plan: Plan = Plan()
    scan: Scan = Scan()
    features: Features = Features()
    dedup: Dedup = Dedup()
    select: Select = Select()
    chat: Chats = Chats()
    captions: Captions = Captions()
    check: Check = Check()
    judge: Judge = Judge()
    export: Export = Export()
