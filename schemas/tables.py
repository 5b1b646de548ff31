"""The tables of a corpus: every column with its type, unit and meaning. ``docs/tables.md`` is generated from here."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

FORMAT_VERSION = 1
"""Of the corpus folder; raised when a reader of the old one would misread the new one."""


@dataclass(frozen=True, slots=True)
class Column:
    """One documented column. ``unit`` is empty for names and flags; ``nullable`` says whether NULL can occur."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """One documented table: its folder in the corpus, what a row is, and its columns in order."""

    name: str
    row: str
    columns: tuple[Column, ...]

    @property
    def arrow(self) -> pa.Schema:
        """The schema as written to parquet; unit and meaning travel as field metadata."""
        return pa.schema(
            [pa.field(c.name, c.type, c.nullable, {"unit": c.unit, "meaning": c.meaning}) for c in self.columns],
            metadata={"stiv_table": self.name, "stiv_format": str(FORMAT_VERSION)},
        )

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.columns]


S, I32, I64, F32, F64, B, U64 = (
    pa.string(),
    pa.int32(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
    pa.bool_(),
    pa.uint64(),
)
STRINGS = pa.list_(pa.field("item", pa.string(), nullable=False))
STRING_MAP = pa.map_(pa.string(), pa.string())


def _col(name: str, type_: pa.DataType, unit: str, meaning: str, nullable: bool = True) -> Column:
    return Column(name, type_, unit, meaning, nullable)


_CLIP_ID = _col("clip_id", S, "", "hash of source and span; never changes", False)
_SOURCE_ID = _col("source_id", S, "", "hash of the path relative to its input root and of the content", False)

PLAN = Table(
    "plan",
    "a segment: a source, or a time span of one",
    (
        _col(
            "segment_id", S, "", "hash of the path relative to its input root, size, modification time and span", False
        ),
        _col("uri", S, "", "where the source was when it was listed", False),
        _col("rel_path", S, "", "path relative to the input root, with forward slashes", False),
        _col("bytes", I64, "bytes", "size when listed; NULL where the listing does not tell", True),
        _col(
            "mtime_ns",
            I64,
            "ns",
            "modification time when listed, since 1970; NULL where the listing does not tell",
            True,
        ),
        _col("segment", I32, "", "number of this segment within its source, from 0", False),
        _col("segments", I32, "", "number of segments of the source", False),
        _col("from_s", F64, "s", "start of the segment in the source's time; NULL: from the first frame"),
        _col("to_s", F64, "s", "end of the segment in the source's time; NULL: to the last frame"),
        _col("caption", S, "", "caption that the manifest gave for the source"),
        _col("license", S, "", "licence that the manifest gave"),
        _col("tags", STRINGS, "", "tags that the manifest gave"),
        _col("extra", STRING_MAP, "", "further columns of the manifest, as text"),
    ),
)

SOURCES = Table(
    "sources",
    "a source; the newest row of a source wins",
    (
        _SOURCE_ID,
        _col("uri", S, "", "where the source was when it was listed", False),
        _col("rel_path", S, "", "path relative to its input root", False),
        _col("status", S, "", "`ok`, `partial` (some of it was used) or `error` (none of it was)", False),
        _col("error_code", S, "", "why it is not `ok`; the codes are listed in docs/tables.md"),
        _col("error", S, "", "the same in words"),
        _col("container", S, "", "container format as FFmpeg names it"),
        _col("codec", S, "", "video codec as FFmpeg names it"),
        _col("pixel_format", S, "", "pixel format as FFmpeg names it"),
        _col("width", I32, "px", "as displayed: after rotation and with square pixels"),
        _col("height", I32, "px", "as displayed: after rotation and with square pixels"),
        _col("coded_width", I32, "px", "as stored"),
        _col("coded_height", I32, "px", "as stored"),
        _col("rotation", I32, "degrees", "clockwise turn that makes the stored picture upright: 0, 90, 180 or 270"),
        _col("sample_aspect_ratio", S, "", "of a stored pixel, as `width:height`"),
        _col("fps", F64, "1/s", "mean frame rate: (frames − 1) / (last − first time stamp)"),
        _col("variable_fps", B, "", "the gaps between frames differ by more than the time base's rounding"),
        _col("num_frames", I64, "frames", "frames that decode"),
        _col("announced_frames", I64, "frames", "frames that the header announces; NULL where it does not"),
        _col("duration_s", F64, "s", "from the first frame to the end of the last"),
        _col("has_audio", B, "", "there is at least one audio stream"),
        _col("bytes", I64, "bytes", "size as read"),
        _col("sha256", S, "", "of the content; equal for exact duplicates"),
        _col("color_range", S, "", "`tv`, `pc` or NULL where unspecified"),
        _col("color_matrix", S, "", "as FFmpeg names it; NULL where unspecified"),
        _col("color_transfer", S, "", "as FFmpeg names it; NULL where unspecified"),
        _col("color_primaries", S, "", "as FFmpeg names it; NULL where unspecified"),
        _col("segments", I32, "", "pieces in which the scan read it; 1 but for long sources"),
        _col(
            "frames_decoded",
            I64,
            "frames",
            "frames decoded for analysis, each counted once for each time (decode ledger); run-ups at seams are apart",
        ),
        _col("frames_run_up", I64, "frames", "frames decoded besides, before and after the seams between segments"),
        _col(
            "damaged_frames",
            I64,
            "frames",
            "frames flagged as corrupt, or decoded between an error and the next recovery point",
        ),
        _col(
            "decode_errors",
            I64,
            "",
            "packets that the decoder or the demuxer refused, or that gave no frame where each gives one",
        ),
        _col(
            "timestamp_faults",
            I64,
            "",
            "frames whose time stamp was missing or ran backwards, and gaps where the header counts more frames, or none, so that some may be lost",
        ),
        _col(
            "seekable",
            B,
            "",
            "decoding may begin at any codec keyframe; false where H.264 or HEVC parameter sets come once in between, so that clips are cut by decoding from the start",
        ),
        _col("license", S, "", "licence that the manifest gave"),
        _col("tags", STRINGS, "", "tags that the manifest gave"),
        _col("extra", STRING_MAP, "", "further columns of the manifest, as text"),
    ),
)

TRANSITIONS = Table(
    "transitions",
    "a change of shot",
    (
        _SOURCE_ID,
        _col(
            "start_frame",
            I64,
            "frames",
            "first frame of the transition; for a cut the first frame of the new shot",
            False,
        ),
        _col("end_frame", I64, "frames", "first frame after the transition; equals start_frame for a cut", False),
        _col("start_s", F64, "s", "time of start_frame", False),
        _col("end_s", F64, "s", "time of end_frame", False),
        _col("kind", S, "", "`cut`, `fade` or `dissolve`", False),
        _col("score", F32, "0..1", "confidence of the detector", False),
        _col("detector", S, "", "which detector found it", False),
    ),
)

SIGNAL_COLUMNS = (
    _col(
        "motion", F32, "% of diagonal / s", "mean length of the optical flow (DIS) over the clip, black bars left out"
    ),
    _col("motion_p95", F32, "% of diagonal / s", "95th percentile over time of the mean flow length"),
    _col(
        "motion_residual",
        F32,
        "0..1",
        "share of the motion that is left when the camera's is taken away; NULL where nothing moves or the camera cannot be told",
    ),
    _col(
        "camera_motion",
        S,
        "",
        "what the camera does: `static`, `pan`, `tilt`, `zoom`, `roll` or `shake`; NULL where it cannot be told",
    ),
    _col(
        "camera_speed",
        F32,
        "% of diagonal / s",
        "mean length over the picture of the camera's own motion, measured over up to 0.2 s",
    ),
    _col(
        "sharpness",
        F32,
        "0..1",
        "fine detail against coarser detail on the native luma plane; blurred or enlarged is low; NULL where there is no structure",
    ),
    _col("sharpness_min", F32, "0..1", "the least sharp second of the clip"),
    _col("brightness", F32, "0..1", "mean luminance (0 black, 1 white)"),
    _col("contrast", F32, "0..1", "standard deviation of luminance, as a share of its largest possible value"),
    _col("clipped_highlights", F32, "0..1", "share of the picture without detail at the bright end"),
    _col("clipped_shadows", F32, "0..1", "share of the picture without detail at the dark end, black bars left out"),
    _col(
        "colourfulness",
        F32,
        "0..",
        "Hasler and Süsstrunk's M3 measure: 0 grey, about 33 average, over 80 very colourful",
    ),
    _col("black_share", F32, "0..1", "share of samples that are black all over"),
    _col("static_share", F32, "0..1", "share of samples without visible change from the one before"),
    _col(
        "duplicate_share",
        F32,
        "0..1",
        "share of frames that repeat the frame before while the picture moves; NULL where too little moves, or repeats cannot be told from coding",
    ),
    _col(
        "effective_fps",
        F32,
        "1/s",
        "different frames per second: 25 pulled up to 60 is 25; NULL as for `duplicate_share`",
    ),
    _col("comb_share", F32, "0..1", "share of samples with interlacing combs"),
    _col(
        "blockiness",
        F32,
        "0..",
        "steps at the borders of coding blocks against steps elsewhere: 0 none, over 1 plain to see; NULL for pictures of 64 px or less",
    ),
    _col("bar_top", I32, "px", "height of a black bar at the top, in displayed pixels"),
    _col("bar_bottom", I32, "px", "height of a black bar at the bottom, in displayed pixels"),
    _col("bar_left", I32, "px", "width of a black bar on the left, in displayed pixels"),
    _col("bar_right", I32, "px", "width of a black bar on the right, in displayed pixels"),
    _col("bar_share", F32, "0..1", "share of the picture's area under black bars"),
    _col(
        "overlay_share",
        F32,
        "0..1",
        "share of the picture under static overlays such as logos and subtitles; NULL where too little moves to tell",
    ),
    _col(
        "still_consistency",
        F32,
        "0..1",
        "likeness of neighbouring samples a second apart, the least of the clip; low where content changes",
    ),
    _col("orientation", S, "", "`landscape`, `portrait` or `square`: of the displayed picture without its bars"),
    _col(
        "has_sound",
        B,
        "",
        "there is sound in the clip that is not silence (over −70 LUFS); NULL for a clip too short to tell, or where the sound does not decode",
    ),
    _col("loudness", F32, "LUFS", "gated loudness of the clip's sound (ITU-R BS.1770); NULL without sound"),
    _col("phash_a", U64, "", "64-bit perceptual hash at 1/6 of the clip, bars removed"),
    _col("phash_b", U64, "", "64-bit perceptual hash at 1/2 of the clip, bars removed"),
    _col("phash_c", U64, "", "64-bit perceptual hash at 5/6 of the clip, bars removed"),
    _col(
        "aesthetic_photo",
        F32,
        "0..10",
        "photographic quality from measured signals, without a network; not comparable with learned scores",
    ),
)

CLIPS = Table(
    "clips",
    "a clip: a trimmed piece of one shot",
    (
        _CLIP_ID,
        _SOURCE_ID,
        _col("shot", I32, "", "number of the shot within the source, from 0", False),
        _col("piece", I32, "", "number of the piece within the shot, from 0 (long shots are split)", False),
        _col("stream_index", I32, "", "of the video stream within the source", False),
        _col("start_pts", I64, "time base", "time stamp of the first frame", False),
        _col("end_pts", I64, "time base", "time stamp of the first frame after the clip (exclusive)", False),
        _col("time_base", S, "s", "length of one pts step, as `numerator/denominator`", False),
        _col("start_frame", I64, "frames", "first frame, decoded frames counted from 0", False),
        _col("end_frame", I64, "frames", "first frame after the clip (exclusive)", False),
        _col("num_frames", I64, "frames", "end_frame − start_frame", False),
        _col("start_s", F64, "s", "time of start_pts", False),
        _col("end_s", F64, "s", "time of end_pts", False),
        _col("duration_s", F64, "s", "end_s − start_s", False),
        _col("fps", F64, "1/s", "num_frames / duration_s", False),
        _col("width", I32, "px", "as displayed", False),
        _col("height", I32, "px", "as displayed", False),
        _col("damaged_frames", I64, "frames", "frames of the clip that decoded with errors", False),
        *SIGNAL_COLUMNS,
        _col("stills_frame", pa.list_(pa.field("item", I64, nullable=False)), "frames", "frame of each still"),
        _col(
            "stills_offset",
            pa.list_(pa.field("item", I64, nullable=False)),
            "bytes",
            "where each still's JPEG starts in the part's stills tar",
        ),
        _col("stills_size", pa.list_(pa.field("item", I64, nullable=False)), "bytes", "length of each still's JPEG"),
    ),
)

TEXT = Table(
    "text",
    "a clip whose stills were searched for text",
    (
        _CLIP_ID,
        _col("text_area", F32, "0..1", "share of the picture under text, mean over the stills looked at"),
        _col("text_area_max", F32, "0..1", "the same, largest of the stills looked at"),
        _col("text_stills", I32, "", "stills looked at", False),
    ),
)

EMBEDDINGS = Table(
    "embeddings",
    "a clip whose stills were looked at by an embedder",
    (
        _CLIP_ID,
        _col(
            "embedding",
            pa.list_(pa.field("item", F32, nullable=False)),
            "",
            "mean of the stills' unit vectors, of length 1; NULL where no still could be read, or none shows anything. Not part of `clips_all`",
        ),
        _col("embedding_model", S, "", "`perceptual`, or OpenCLIP's architecture and weights", False),
        _col("embedding_stills", I32, "", "stills looked at", False),
        _col(
            "still_vectors",
            pa.binary(),
            "",
            "the stills' vectors, as little-endian float16 one after the other: other tags are worked out from them; NULL without OpenCLIP. Not part of `clips_all`",
        ),
        _col(
            "openclip_consistency",
            F32,
            "-1..1",
            "least cosine of neighbouring stills' vectors; NULL without OpenCLIP, or with fewer than two stills",
        ),
        _col(
            "aesthetic_laion",
            F32,
            "0..10",
            "LAION aesthetic predictor over the stills, mean; NULL without its weights; not comparable with aesthetic_photo",
        ),
        _col(
            "content_tags",
            STRINGS,
            "",
            "the likeliest label of each group of tags, groups in alphabetical order; NULL without OpenCLIP",
        ),
        _col(
            "content_tag_scores",
            pa.map_(pa.string(), F32),
            "0..1",
            "label → its share within its group, mean over the stills; NULL without OpenCLIP",
        ),
    ),
)

SCORES = Table(
    "scores",
    "a clip that scorers or taggers of your own looked at",
    (
        _CLIP_ID,
        _col(
            "user_scores",
            pa.map_(pa.string(), F64),
            "",
            "`scorer` or `scorer.aspect` → number; without those it did not give",
            False,
        ),
        _col("user_tags", STRINGS, "", "`tagger.tag` for each tag given", False),
    ),
)

DUPLICATES = Table(
    "duplicates",
    "a clip among which duplicates were sought",
    (
        _CLIP_ID,
        _col("duplicate_cluster", S, "", "clip_id of the cluster's kept clip; NULL where the clip has no duplicate"),
        _col("duplicate_of", S, "", "clip_id that is kept in its place; NULL where the clip itself is kept"),
        _col("duplicate_kind", S, "", "strongest evidence that joins it to its cluster: `exact`, `near` or `semantic`"),
        _col(
            "duplicate_similarity",
            F32,
            "0..1",
            "likeness to the nearest member of its cluster by that evidence: 1 for exact, share of equal hash bits for near, cosine for semantic",
        ),
    ),
)

SELECTIONS = Table(
    "selections",
    "a clip, as the rules before captions see it",
    (
        _CLIP_ID,
        _col("selected", B, "", "no rule dropped it", False),
        _col("reason", S, "", "name of the first rule that dropped it"),
        _col("reasons", STRINGS, "", "names of all rules that drop it, in order", False),
    ),
)

CAPTIONS = Table(
    "captions",
    "a selected clip with its caption",
    (
        _CLIP_ID,
        _col("caption", S, "", "the caption to train on; NULL where no captioner had one"),
        _col(
            "caption_short",
            S,
            "",
            "one sentence or less; not what the checks look at; NULL, too, where the caption was rewritten and this adds something to `caption_original`",
        ),
        _col("caption_structured", S, "", "JSON object with named aspects; the rest as for `caption_short`"),
        _col("caption_original", S, "", "the caption before it was rewritten; NULL where it was not"),
        _col("captioner", S, "", "which captioner wrote the row; NULL where none did"),
        _col("captioner_fingerprint", S, "", "of that captioner with its model and prompt"),
        _col(
            "caption_scope",
            S,
            "",
            "`clip` where the text is about this clip, `source` where it is about the whole source",
        ),
        _col(
            "caption_words",
            I32,
            "words",
            "length: runs of letters or digits (`don't` is one); each CJK character counts as one",
            False,
        ),
        _col(
            "caption_repetition",
            F32,
            "0..1",
            "share of word trigrams, or of sentences of three words or more, that repeat an earlier one",
            False,
        ),
        _col("caption_script", S, "", "script of most letters: latin, cyrillic, han, …; NULL without letters"),
        _col("caption_script_share", F32, "0..1", "share of the letters in that script"),
    ),
)

CHECKS = Table(
    "checks",
    "a captioned clip, with what was found out about its caption",
    (
        _CLIP_ID,
        _col(
            "caption_language",
            S,
            "",
            "ISO 639-1 code of the caption's likeliest language; NULL where there is too little text to tell",
        ),
        _col("caption_language_score", F32, "0..1", "how sure that is"),
        _col(
            "agreement",
            F32,
            "-1..1",
            "OpenCLIP's cosine of the clip's vector and the caption's; NULL without OpenCLIP",
        ),
        _col("category", S, "", "what the caption is mostly about"),
        _col("categories", STRINGS, "", "all it is about, the first is `category`"),
        _col("category_source", S, "", "`rules` or the chat model that said so"),
        _col(
            "dsg_i",
            F32,
            "0..1",
            "DSG-Video, share of hallucinated objects: those of the caption that no still shows (STIV's DSG-Video_i is 100 times this); NULL where not asked",
        ),
        _col(
            "dsg_s",
            F32,
            "0..1",
            "DSG-Video, share of the caption's sentences that speak of a hallucinated object, by its whole name or its head noun alone; NULL where not asked",
        ),
        _col("dsg_objects", I32, "", "objects that the caption names"),
        _col("dsg_hallucinated", STRINGS, "", "those of them that no still shows"),
        _col(
            "dsg",
            S,
            "",
            "JSON: every object with the sentences that speak of it, its question and the answers, still after still to the first yes",
        ),
    ),
)

DECISIONS = Table(
    "decisions",
    "a clip, with the final word on it",
    (
        _CLIP_ID,
        _col("kept", B, "", "it goes into the shards", False),
        _col("reason", S, "", "name of the first rule that dropped it"),
        _col("reasons", STRINGS, "", "names of all rules that drop it, in order", False),
    ),
)

SHARD_PLAN = Table(
    "shard_plan",
    "a kept clip and the shard it goes to",
    (
        _col("shard", S, "", "name of the tar without its ending, `NNNNNN`", False),
        _CLIP_ID,
        _col("part", I32, "", "part of the corpus that holds the clip", False),
    ),
)

SHARDS = Table(
    "shards",
    "a sample of a shard",
    (
        _CLIP_ID,
        _col("shard", S, "", "name of the tar without its ending, `NNNNNN`", False),
        _col("shard_key", S, "", "WebDataset key of the sample", False),
        _col("byte_offset", I64, "bytes", "where the .mp4 member's data starts in the tar", False),
        _col("byte_size", I64, "bytes", "length of the .mp4 member's data", False),
        _col("sha256", S, "", "of the .mp4 member's data", False),
        _col("start_frame", I64, "frames", "first source frame that was exported", False),
        _col("end_frame", I64, "frames", "first source frame after those exported", False),
        _col("num_frames", I64, "frames", "frames that the .mp4 decodes to", False),
        _col("width", I32, "px", "of the .mp4 as displayed", False),
        _col("height", I32, "px", "of the .mp4 as displayed", False),
        _col("fps", F64, "1/s", "num_frames / duration of the .mp4", False),
        _col("how", S, "", "`copy` (packets of the source) or `encode`", False),
        _col("frames_decoded", I64, "frames", "source and result frames decoded to cut it (decode ledger)", False),
        _col("caption", S, "", "caption as exported"),
    ),
)

SHARD_FAILURES = Table(
    "shard_failures",
    "a kept clip that could not be cut",
    (
        _CLIP_ID,
        _col("shard", S, "", "name of the tar it was planned for", False),
        _col("error_code", S, "", "why; the codes are those of sources", False),
        _col("error", S, "", "the same in words", False),
    ),
)

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        PLAN,
        SOURCES,
        TRANSITIONS,
        CLIPS,
        TEXT,
        EMBEDDINGS,
        SCORES,
        DUPLICATES,
        SELECTIONS,
        CAPTIONS,
        CHECKS,
        DECISIONS,
        SHARD_PLAN,
        SHARDS,
        SHARD_FAILURES,
    )
}
