"""A small but believable corpus, made without decoding a video: three parts, fifteen sources, every kind of outcome."""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curation import joined, variants
from curation.corpus import Corpus
from curation.percentiles import find_percentiles, measure_percentiles, resolve_percentiles
from curation.rules import apply_rules
from pipelines.variant_settings import settings_of
from schemas import ids
from schemas.recipe import CurateRecipe, Rule
from schemas.tables import SHARD_FAILURES, SHARD_PLAN, SHARDS, SIGNAL_COLUMNS

FPS = 25
TRIM = 2
EVIL = "<script>alert(1)</script>"
STAGES = ("planned", "scanned", "measured", "deduplicated", "selected", "captioned", "checked", "judged", "exported")

RECIPE = CurateRecipe.model_validate(
    {
        "select": {
            "rules": [
                {"name": "damaged", "drop": "damaged_frames > 0"},
                {"name": "black", "drop": "black_share > 0.2 OR brightness < 0.03"},
                {"name": "still", "drop": "motion < percentile(motion, 10)"},
                {"name": "blurred", "drop": "sharpness < 0.1"},
                {"name": "unaesthetic", "drop": "aesthetic_photo < 2.5"},
                {"name": "never", "drop": "motion > 5000"},
                {"name": "duplicate", "drop": "duplicate_of IS NOT NULL"},
            ]
        },
        "judge": {
            "rules": [
                {"name": "no_caption", "drop": "caption IS NULL"},
                {"name": "caption_short", "drop": "caption_words < 3"},
            ]
        },
    }
)


@dataclass
class Scene:
    """What to build. The defaults make the whole thing."""

    upto: str = "exported"
    parts: int = 3
    recipe: CurateRecipe = RECIPE
    jpeg: Callable[[int, int], bytes] | None = None
    """Number of the clip, number of the still → JPEG."""
    only_clips: int | None = None
    with_errors: bool = True
    caption: str = f"A red car {EVIL} drives along a wet street at night."
    facts: dict[str, Any] = field(default_factory=dict)
    """Signals that all clips get, over the random ones."""
    learned: bool = False
    """Whether OpenCLIP, scorers of one's own and chat models had their say, too."""


def paint(clip: int, still: int) -> bytes:
    """A JPEG of a soft gradient, another one for each still."""
    rng = np.random.default_rng([clip, still])
    corners = rng.integers(30, 225, (2, 2, 3)).astype(np.float32)
    picture = cv2.resize(corners, (288, 162), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def make_corpus(folder: Path, scene: Scene | None = None) -> Corpus:
    """Write a corpus as the engine would, up to a stage."""
    scene = scene or Scene()
    upto = STAGES.index(scene.upto)
    corpus = Corpus.open_or_create(folder, scene.recipe)
    builder = _Builder(corpus, scene)
    builder.plan()
    if upto >= 1:
        builder.scan()
    if upto >= 2:
        builder.measure()
    if upto >= 3:
        builder.deduplicate()
    if upto >= 4:
        builder.select()
    if upto >= 5:
        builder.caption()
    if upto >= 6:
        builder.check()
    if upto >= 7:
        builder.judge()
    if upto >= 8:
        builder.export()
    return corpus


class _Builder:
    def __init__(self, corpus: Corpus, scene: Scene) -> None:
        self.corpus, self.scene = corpus, scene
        self.rng = np.random.default_rng(11)
        self.made = 0

    # The plan ----------------------------------------------------------------------------------------------------------

    def sources_of(self, part: int) -> list[tuple[str, str, str | None]]:
        """(relative path, status, error code)."""
        good: list[tuple[str, str, str | None]] = [(f"day{part}/walk {i}.mp4", "ok", None) for i in range(3)]
        if not self.scene.with_errors:
            return good
        odd: list[list[tuple[str, str, str | None]]] = [
            [(f"day{part}/{EVIL}.mp4", "ok", None), (f"day{part}/broken.mkv", "error", "unreadable")],
            [(f"day{part}/höhle – 東京.mp4", "partial", "truncated"), (f"day{part}/empty.mp4", "error", "empty_file")],
            [(f"day{part}/gone.mp4", "error", "not_found"), (f"day{part}/broken.mkv", "error", "unreadable")],
        ]
        return good + odd[part % 3]

    def plan(self) -> None:
        for part in range(self.scene.parts):
            rows = [
                {
                    "segment_id": ids.segment_id(rel, 1000 + i, 5, 0, 1),
                    "uri": f"file:///videos/{rel}",
                    "rel_path": rel,
                    "bytes": 5_000_000 + i,
                    "mtime_ns": 5,
                    "segment": 0,
                    "segments": 1,
                    "from_s": None,
                    "to_s": None,
                    "caption": self.scene.caption if i == 0 else None,
                    "license": "CC0" if i == 0 else None,
                    "tags": ["street", "night"] if i == 0 else None,
                    "extra": [("camera", "A & B")] if i == 0 else None,
                }
                for i, (rel, _, _) in enumerate(self.sources_of(part))
            ]
            self.corpus.write("plan", part, rows)
        self.corpus.store.commit_bytes("plan/parts.json", b'{"parts": %d}' % self.scene.parts)

    # The scan ----------------------------------------------------------------------------------------------------------

    def scan(self) -> None:
        for part in range(self.scene.parts):
            plan = self.corpus.read("plan", part).to_pylist()
            sources, clips, transitions = [], [], []
            tar = io.BytesIO()
            with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as stills:
                for number, (row, (rel, status, code)) in enumerate(zip(plan, self.sources_of(part), strict=True)):
                    source = self._source(row, rel, status, code, number)
                    sources.append(source)
                    if status == "error":
                        continue
                    own, changes = self._shots(source, number, stills)
                    clips += own
                    transitions += changes
            self.corpus.write("transitions", part, transitions)
            self.corpus.store.commit_bytes(f"stills/part-{part:06d}.tar", tar.getvalue())
            self.corpus.write("clips", part, clips)
            self.corpus.write("sources", part, sources)

    def _source(self, row: dict[str, Any], rel: str, status: str, code: str | None, number: int) -> dict[str, Any]:
        read = status != "error"
        sha = ids.digest(rel, number) * 2 if code not in ("not_found", "empty_file") else None
        width, height = (720, 1280) if number == 2 else (1920, 1080)
        facts = {
            "container": "mov,mp4", "codec": "h264", "pixel_format": "yuv420p", "width": width, "height": height, "coded_width": 1920,
            "coded_height": 1080, "rotation": 90 if number == 2 else 0, "sample_aspect_ratio": "1:1", "fps": float(FPS),
            "variable_fps": False, "num_frames": 1000, "announced_frames": 1000 if status == "ok" else 4000, "duration_s": 40.0,
            "has_audio": number == 0, "color_range": "tv", "color_matrix": None, "color_transfer": None, "color_primaries": None,
            "segments": 1, "frames_decoded": 1000, "frames_run_up": 0, "decode_errors": 0, "timestamp_faults": 0, "seekable": True, "damaged_frames": 3 if status == "partial" else 0,
        }  # fmt: skip
        return {
            "source_id": ids.source_id(rel, sha),
            **{k: row[k] for k in ("uri", "rel_path", "license", "tags", "extra")},
            "status": status,
            "error_code": code,
            "error": f"{code}: avformat said <b>no</b>" if code else None,
            **(facts if read else dict.fromkeys(facts)),
            "bytes": row["bytes"],
            "sha256": sha,
        }

    def _shots(
        self, source: dict[str, Any], number: int, stills: tarfile.TarFile
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Shots 0–200 | cut | 200–230 (too short) | cut | 230–500 | dissolve 500–520 | 520–1000 in two pieces."""
        sid = source["source_id"]
        changes = [
            {
                "source_id": sid,
                "start_frame": a,
                "end_frame": b,
                "start_s": a / FPS,
                "end_s": b / FPS,
                "kind": kind,
                "score": 0.9,
                "detector": detector,
            }
            for a, b, kind, detector in [
                (200, 200, "cut", "adaptive"),
                (230, 230, "cut", "adaptive"),
                (500, 520, "dissolve", "blend"),
            ]
        ]
        spans = [(0, 0, 0, 198), (2, 0, 232, 498), (3, 0, 522, 760), (3, 1, 760, 1000)]
        clips = []
        for shot, piece, start, end in spans:
            if self.scene.only_clips is not None and self.made >= self.scene.only_clips:
                break
            clips.append(self._clip(source, number, stills, shot, piece, start, end))
            self.made += 1
        return clips, changes

    def _clip(
        self, source: dict[str, Any], number: int, stills: tarfile.TarFile, shot: int, piece: int, start: int, end: int
    ) -> dict[str, Any]:
        clip = ids.clip_id(source["source_id"], 0, start * 512, end * 512)
        frames = [start + round((i + 0.5) * (end - start) / 4) for i in range(4)]
        offsets, sizes = [], []
        for i in range(4):
            data = (self.scene.jpeg or paint)(self.made, i)
            info = tarfile.TarInfo(f"{clip}.{i:02d}.jpg")
            info.size = len(data)
            offsets.append(stills.offset + 512)
            sizes.append(len(data))
            stills.addfile(info, io.BytesIO(data))
        r = self.rng
        dark = self.made % 9 == 4
        signals: dict[str, Any] = {
            **{c.name: None for c in SIGNAL_COLUMNS},
            "motion": float(r.gamma(2.0, 4.0)), "motion_p95": float(r.gamma(3.0, 6.0)), "sharpness": float(r.beta(4, 3)),
            "brightness": 0.01 if dark else float(r.beta(4, 4)), "contrast": float(r.beta(3, 6)), "colourfulness": float(r.gamma(4.0, 9.0)),
            "black_share": 0.8 if dark else 0.0, "static_share": float(r.beta(1, 8)), "bar_top": 0, "bar_bottom": 0, "bar_left": 0, "bar_right": 0,
            "bar_share": 0.0, "phash_a": int(r.integers(1 << 62)) * 4 + 3, "phash_b": 7, "phash_c": None,
            "aesthetic_photo": None if self.made % 11 == 5 else float(r.normal(4.2, 1.4)),
        }  # fmt: skip
        return {
            "clip_id": clip, "source_id": source["source_id"], "shot": shot, "piece": piece, "stream_index": 0, "start_pts": start * 512,
            "end_pts": end * 512, "time_base": "1/12800", "start_frame": start, "end_frame": end, "num_frames": end - start,
            "start_s": start / FPS, "end_s": end / FPS, "duration_s": (end - start) / FPS, "fps": float(FPS), "width": source["width"],
            "height": source["height"], "damaged_frames": 3 if source["status"] == "partial" and shot == 2 else 0,
            **signals, **self.scene.facts, "stills_frame": frames, "stills_offset": offsets, "stills_size": sizes,
        }  # fmt: skip

    # What follows ------------------------------------------------------------------------------------------------------

    def _prepare(self, table: str, inputs: Sequence[str] = ()) -> variants.Variant:
        """The variant `default` of a table, made from those of ``inputs``."""
        read = {t: variants.need(self.corpus, t, "default").as_input() for t in inputs}
        model = {"model": {"name": "m", "fingerprint": "1"}}
        return variants.prepare(self.corpus, table, "default", settings_of(self.scene.recipe, table), read or model)

    def _rules(
        self, stage: str, table: str, inputs: Sequence[str], tables: list[pa.Table]
    ) -> tuple[variants.Variant, list[Rule]]:
        section = self.scene.recipe.select if stage == "select" else self.scene.recipe.judge
        variant = self._prepare(table, inputs)
        wanted = [w for rule in section.rules for w in find_percentiles(rule.drop)]
        values = measure_percentiles(tables, wanted)
        variant = variants.resolve(
            self.corpus, variant, {"percentiles": {f"{c}@{q:g}": v for (c, q), v in values.items()}}
        )
        return variant, [Rule(name=r.name, drop=resolve_percentiles(r.drop, values)) for r in section.rules]

    def _looked_at(self, part: int) -> list[tuple[int, str]]:
        """(place, id) of a part's clips that were looked at: all but every seventh."""
        clips = self.corpus.read("clips", part, columns=["clip_id"]).column("clip_id").to_pylist()
        return [(i, c) for i, c in enumerate(clips) if i % 7 != 6]

    @property
    def measured(self) -> list[str]:
        return ["text", "embeddings", *(["scores"] if self.scene.learned else [])]

    def measure(self) -> None:
        """Text in every third clip."""
        for table in self.measured:
            self._prepare(table)
        for part in range(self.scene.parts):
            looked = self._looked_at(part)
            rows = [
                {"clip_id": c, "text_area": 0.05 if i % 3 == 0 else 0.0, "text_area_max": 0.1, "text_stills": 3}
                for i, c in looked
            ]
            self.corpus.write("text", part, rows, "default")
            self.corpus.write("embeddings", part, [self._vector(i, c) for i, c in looked], "default")
            if self.scene.learned:
                given = [
                    {"clip_id": c, "user_scores": [("calm", i / 10)], "user_tags": ["mood.quiet"]} for i, c in looked
                ]
                self.corpus.write("scores", part, given, "default")

    def _vector(self, i: int, clip: str) -> dict[str, Any]:
        """OpenCLIP takes every other clip for a slideshow."""
        model = {"clip_id": clip, "embedding": [1.0, 0.0], "embedding_model": "perceptual", "embedding_stills": 4}
        model |= {"still_vectors": None}
        empty = dict.fromkeys(("openclip_consistency", "aesthetic_laion", "content_tags", "content_tag_scores"))
        if not self.scene.learned:
            return {**model, **empty}
        slides = 0.75 if i % 2 else 0.125
        return {
            **model, "embedding_model": "ViT-B-32 laion2b", "openclip_consistency": 0.9 + i / 200, "aesthetic_laion": 4 + i / 10,
            "content_tags": ["slideshow" if i % 2 else "film", "safe"],
            "content_tag_scores": [("film", 1 - slides), ("nsfw", 0.0), ("safe", 1.0), ("slideshow", slides)],
        }  # fmt: skip

    def deduplicate(self) -> None:
        """In every part the third clip is nearly the second; the first clip of a later part is that of part 0, byte for byte."""
        self._prepare("duplicates", self.measured)
        first = self.corpus.read("clips", 0, columns=["clip_id"]).column("clip_id").to_pylist()[:1]
        for part in range(self.scene.parts):
            looked = self._looked_at(part)
            ids = dict(looked)
            fates = {i: (ids.get(1), "near", 0.9375) for i in (1, 2) if 2 in ids}
            if self.scene.parts > 1:
                fates[0] = (first[0] if first else None, "exact", 1.0)
            if self.scene.learned and 3 in ids:
                fates[3] = (ids[1], "semantic", 0.9741)
            rows = [self._fate(c, *fates.get(i, (None, None, None))) for i, c in looked]
            self.corpus.write("duplicates", part, rows, "default")

    @staticmethod
    def _fate(clip: str, kept: str | None, kind: str | None, likeness: float | None) -> dict[str, Any]:
        return {
            "clip_id": clip, "duplicate_cluster": kept, "duplicate_of": None if kept == clip else kept, "duplicate_kind": kind,
            "duplicate_similarity": likeness,
        }  # fmt: skip

    def select(self) -> None:
        made = [*self.measured, "duplicates"]
        folders = dict.fromkeys(made, "default")
        wide = {part: joined.read_measured(self.corpus, part, folders) for part in range(self.scene.parts)}
        _, rules = self._rules("select", "selections", made, list(wide.values()))
        for part, table in wide.items():
            found = apply_rules(table, rules)
            rows = zip(table.column("clip_id").to_pylist(), found.dropped, found.first, found.all, strict=True)
            self.corpus.write(
                "selections",
                part,
                [{"clip_id": c, "selected": not d, "reason": f, "reasons": a} for c, d, f, a in rows],
                "default",
            )

    def caption(self) -> None:
        self._prepare("captions", ["selections"])
        for part in range(self.scene.parts):
            rows = [r for r in self.corpus.read("selections", part, "default").to_pylist() if r["selected"]]
            self.corpus.write("captions", part, [self._caption(i, r["clip_id"]) for i, r in enumerate(rows)], "default")

    def _caption(self, i: int, clip: str) -> dict[str, Any]:
        text: str | None = self.scene.caption if i % 2 else "Slow pan over a bright scene with soft light."
        text = {3: None, 6: "Red car."}.get(i % 7, text)
        rewritten = self.scene.learned and text is not None
        return {
            "clip_id": clip, "caption": text, "caption_short": None, "caption_structured": None,
            "caption_original": f"In this clip: {text}" if rewritten else None,
            "captioner": None if text is None else "sidecar" if i % 2 else "describe", "captioner_fingerprint": None if text is None else "1",
            "caption_scope": None if text is None else "source" if i % 2 else "clip", "caption_words": len(text.split()) if text else 0,
            "caption_repetition": 0.0, "caption_script": "latin" if text else None, "caption_script_share": 1.0 if text else None,
        }  # fmt: skip

    def check(self) -> None:
        """Captions of cars are about vehicles and cities; those of a slow pan are about nothing known."""
        self._prepare("checks", ["captions", *(["embeddings"] if self.scene.learned else [])])
        for part in range(self.scene.parts):
            rows = self.corpus.read("captions", part, "default").to_pylist()
            self.corpus.write("checks", part, [self._check(r["clip_id"], r["caption"]) for r in rows], "default")

    def _check(self, clip: str, text: str | None) -> dict[str, Any]:
        about = ["vehicles", "city"] if text and "street" in text else ["vehicles"] if text and "car" in text else []
        asked = self.scene.learned and bool(about)
        objects = [
            {"object": "car", "sentences": [0], "question": "Is there a red car?", "answers": ["unknown", "yes"]},
            {"object": EVIL, "sentences": [0], "question": f"Is there {EVIL}?", "answers": ["no", "no", "no", "no"]},
        ]
        dsg = {"sentences": [text], "stills": [25, 74, 124, 173], "objects": objects}
        return {
            "clip_id": clip, "caption_language": "en" if text else None, "caption_language_score": 0.98 if text else None,
            "agreement": 0.25 if asked else None, "category": about[0] if about else None, "categories": about, "category_source": "rules",
            "dsg_i": 0.5 if asked else None, "dsg_s": 1.0 if asked else None, "dsg_objects": 2 if asked else None,
            "dsg_hallucinated": [EVIL] if asked else None, "dsg": json.dumps(dsg) if asked else None,
        }  # fmt: skip

    def judge(self) -> None:
        _, rules = self._rules("judge", "decisions", ["selections", "captions", "checks"], [])
        folders = dict.fromkeys([*self.measured, "duplicates"], "default")
        for part in range(self.scene.parts):
            wide = joined.add_captions(
                joined.read_measured(self.corpus, part, folders), self.corpus.read("captions", part, "default")
            )
            wide = joined.add_checks(wide, self.corpus.read("checks", part, "default"))
            found = apply_rules(wide, rules)
            own = dict(zip(wide.column("clip_id").to_pylist(), found.all, strict=True))
            rows = []
            for row in self.corpus.read("selections", part, "default").to_pylist():
                reasons = [*row["reasons"], *own.get(row["clip_id"], [])]
                rows.append(
                    {
                        "clip_id": row["clip_id"],
                        "kept": not reasons,
                        "reason": reasons[0] if reasons else None,
                        "reasons": reasons,
                    }
                )
            self.corpus.write("decisions", part, rows, "default")

    def export(self) -> None:
        self._prepare("shards", ["decisions", "captions"])
        kept: list[tuple[str, int]] = []
        captions: dict[str, str | None] = {}
        for part in range(self.scene.parts):
            captions |= {r["clip_id"]: r["caption"] for r in self.corpus.read("captions", part, "default").to_pylist()}
            kept += [
                (r["clip_id"], part) for r in self.corpus.read("decisions", part, "default").to_pylist() if r["kept"]
            ]
        size = max(1, math.ceil(len(kept) / 3))
        plan = [{"shard": f"{i // size:06d}", "clip_id": c, "part": p} for i, (c, p) in enumerate(sorted(kept))]
        schema = SHARD_PLAN.arrow
        schema = schema.with_metadata({**(schema.metadata or {}), b"stiv_parts": str(self.scene.parts).encode()})
        self.corpus.store.commit_table("shards/default/plan.parquet", pa.Table.from_pylist(plan, schema=schema))
        # The first two tars are finished; in the second one clip failed. The third is still to come.
        for shard in ("000000", "000001"):
            members = [str(r["clip_id"]) for r in plan if r["shard"] == shard]
            if not members:
                continue
            lost = members[-1:] if shard == "000001" else []
            index = [
                self._sample(shard, i, c, captions.get(c)) for i, c in enumerate(m for m in members if m not in lost)
            ]
            if lost:
                rows = [
                    {"clip_id": c, "shard": shard, "error_code": "read_failed", "error": "the source has changed"}
                    for c in lost
                ]
                self.corpus.store.commit_table(
                    f"shards/default/{shard}.failed.parquet", pa.Table.from_pylist(rows, schema=SHARD_FAILURES.arrow)
                )
            self.corpus.store.commit_bytes(f"shards/default/{shard}.tar", b"\0" * 10240)
            self.corpus.store.commit_table(
                f"shards/default/{shard}.parquet", pa.Table.from_pylist(index, schema=SHARDS.arrow)
            )

    @staticmethod
    def _sample(shard: str, i: int, clip: str, caption: str | None) -> dict[str, Any]:
        return {
            "clip_id": clip, "shard": shard, "shard_key": clip, "byte_offset": 512 + i * 2048, "byte_size": 1024, "sha256": "0" * 64,
            "start_frame": 0, "end_frame": 198, "num_frames": 198, "width": 1280, "height": 720, "fps": 25.0, "frames_decoded": 198,
            "how": "copy" if i % 2 else "encode", "caption": caption,
        }  # fmt: skip


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The whole corpus; tests must not change it."""
    return make_corpus(tmp_path_factory.mktemp("whole") / "corpus")


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The same, looked at by OpenCLIP, by scorers of one's own and by chat models; tests must not change it."""
    return make_corpus(tmp_path_factory.mktemp("learned") / "corpus", Scene(learned=True))


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Corpus]:
    """Makes a corpus of one's own: ``build(upto="scanned")``."""

    def make(**scene: Any) -> Corpus:
        return make_corpus(tmp_path / "corpus", Scene(**scene))

    return make
