"""Stage `embed`: vectors, scores and tags of clips, made from the stills of a corpus by both backends."""

import json
import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pebble import ProcessExpired

from curation.corpus import Corpus
from curation.perceptual import clip_vector
from curation.storage import Store
from models.vision.kept_vectors import pack, unpack
from models.vision.towers import Towers
from pipelines.children import Children
from pipelines.stages import embed
from pipelines.stages.still_reading import Look, read_still, to_look
from schemas.recipe_learned import TAGS
from schemas.tables import TABLES

STAGES = ("scan", "features")
QUIET = ("features.text.enabled=false", "dedup.enabled=false", "select.still=off")

OTHER = "select.never=end_s < 0"
"""Another choice of clips, and so another variant, though it leaves the same ones."""

CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small OpenCLIP and a linear aesthetic head, as a user would have them."""
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    model = CLIP(**json.loads(json.dumps(CONFIG)))
    (folder / "tiny.json").write_text(json.dumps(CONFIG))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "tiny.safetensors")
    torch.save({"weight": torch.ones(1, 32), "bias": torch.tensor([5.0])}, folder / "head.pth")
    return folder


def openclip(folder: Path) -> tuple[str, ...]:
    values = {"backend": "openclip", "model": folder / "tiny.json", "weights": folder / "tiny.safetensors"}
    values |= {"aesthetic_head": folder / "head.pth", "device": "cpu"}
    return (*QUIET, *(f"features.embeddings.{key}={value}" for key, value in values.items()))


@pytest.fixture(scope="module")
def made(videos: Path, tmp_path_factory: pytest.TempPathFactory, run: Any) -> tuple[Path, Any]:
    """A corpus with perceptual vectors, and what its run counted."""
    out = tmp_path_factory.mktemp("embedded") / "corpus"
    _, counts = run(out, videos, settings=QUIET, stages=STAGES)
    return out, counts


@pytest.fixture
def copy(made: tuple[Path, Any], tmp_path: Path) -> Path:
    shutil.copytree(made[0], tmp_path / "corpus")
    return tmp_path / "corpus"


def rows_of(out: Path, name: str = "default") -> list[dict[str, Any]]:
    return Corpus.open(out).read("embeddings", 0, name).to_pylist()


def looks_of(out: Path, most: int = 4) -> list[Look]:
    return [to_look(row, most) for row in Corpus.open(out).read("clips", 0).to_pylist()]


def pictures_of(out: Path, look: Look) -> list[np.ndarray]:
    found = [read_still(Store(out), "stills/part-000000.tar", place, look.crop) for place in look.stills]
    return [picture for picture in found if picture is not None]


def test_without_weights_each_clip_has_its_perceptual_vector(made: tuple[Path, Any]) -> None:
    out, counts = made
    rows, looks = rows_of(out), looks_of(out)
    assert [row["clip_id"] for row in rows] == [look.clip_id for look in looks]
    assert len(rows) == 4
    for row, look in zip(rows, looks, strict=True):
        wanted = clip_vector(pictures_of(out, look))
        assert wanted is not None
        assert row.pop("embedding") == pytest.approx(wanted.tolist(), abs=1e-6)
        assert (row.pop("embedding_model"), row.pop("embedding_stills")) == ("perceptual", len(look.stills))
        assert set(row) - {"clip_id"} == {k for k, v in row.items() if v is None}
    assert counts.looked_clips["embeddings"] == 4
    assert counts.looked_stills["embeddings"] == sum(len(look.stills) for look in looks)


def test_openclip_says_what_the_embedder_says(copy: Path, clip: Path, run: Any) -> None:
    from models.vision.make import make_embedder

    _, counts = run(copy, settings=openclip(clip), stages=("features",), name="clip")
    embedder = make_embedder(json.loads((copy / "features/embeddings/clip/variant.json").read_text())["settings"])
    for row, look in zip(rows_of(copy, "clip"), looks_of(copy), strict=True):
        vectors = unpack(pack([*embedder.images(pictures_of(copy, look))]), len(look.stills))
        view = embedder.view(vectors)
        assert unpack(row["still_vectors"], len(look.stills)) == pytest.approx(vectors, abs=1e-3)
        assert view.embedding is not None
        assert row["embedding"] == pytest.approx(view.embedding.tolist(), abs=1e-5)
        assert np.linalg.norm(row["embedding"]) == pytest.approx(1, abs=1e-5)
        assert row["embedding_model"] == "tiny/tiny"
        assert row["openclip_consistency"] == pytest.approx((vectors[1:] * vectors[:-1]).sum(1).min(), abs=1e-5)
        assert row["aesthetic_laion"] == pytest.approx(5 + vectors.sum(1).mean(), abs=1e-5)
        scores = dict(row["content_tag_scores"])
        groups = [TAGS[group] for group in sorted(TAGS)]  # whatever order the variant's file has them in
        assert row["content_tags"] == [max(labels, key=lambda label: scores[label]) for labels in groups]
        for labels in groups:
            assert sum(scores[label] for label in labels) == pytest.approx(1, abs=1e-5)
    assert counts.looked_clips["embeddings"] == 4
    assert counts.looked_stills["embeddings"] == sum(len(look.stills) for look in looks_of(copy))


def test_a_head_over_weights_of_another_training_is_told_before_it_is_used(
    copy: Path, clip: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip.factory
    import open_clip.pretrained

    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny", CONFIG)
    known = {tag: {"quick_gelu": False} for tag in ("toy", "openai")}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny", known)
    for tag in ("toy", "openai"):
        section = {"model": "Tiny", "weights": tag, "weights_file": clip / "tiny.safetensors"}
        settings = (*openclip(clip), *(f"features.embeddings.{key}={value}" for key, value in section.items()))
        _, counts = run(copy, settings=settings, stages=("features",), name=tag)
        assert [note.partition(":")[0] for note in counts.notes] == ["`aesthetic_laion` may mean little"] * (
            tag == "toy"
        )
        _, counts = run(copy, settings=settings, stages=("features",), name=tag)
        assert counts.notes == []  # nothing is left to be made


@pytest.mark.parametrize("change", ["tags", "head", "both", "no head"])
def test_other_tags_and_heads_are_worked_out_from_the_vectors_that_are_kept(
    copy: Path, clip: Path, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    import torch

    fresh = Path(shutil.copytree(copy, tmp_path / "fresh"))
    run(copy, settings=openclip(clip), stages=("features",), name="old")
    torch.save({"weight": torch.ones(1, 32) / 2, "bias": torch.tensor([3.0])}, tmp_path / "other.pth")
    more = [f"features.embeddings.aesthetic_head={tmp_path}/other.pth"] if change in ("head", "both") else []
    more += ["features.embeddings.aesthetic_head=null"] if change == "no head" else []
    more += ['features.embeddings.tags={"light": {"day": ["a sunny day"], "night": ["a dark night"]}}'] * (
        change in ("tags", "both")
    )
    settings = (*openclip(clip), *more)
    run(fresh, settings=settings, stages=("features",), name="new")
    monkeypatch.setattr(Towers, "pictures", lambda *_: pytest.fail("the image tower looked again"))
    _, counts = run(copy, settings=settings, stages=("features",), name="new")
    assert counts.looked_reused["embeddings"] == 4
    part = "features/embeddings/new/part-000000.parquet"
    assert (copy / part).read_bytes() == (fresh / part).read_bytes()
    assert rows_of(copy, "new") != rows_of(copy, "old")


def test_of_perceptual_vectors_no_tag_is_made_and_nothing_is_measured_again(
    copy: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "_perceptual", lambda *_: pytest.fail("it was measured again"))
    tags = 'features.embeddings.tags={"light": {"day": ["a sunny day"], "night": ["a dark night"]}}'
    run(copy, settings=(*QUIET, tags), stages=("features",), name="other")
    assert rows_of(copy, "other") == rows_of(copy)


@pytest.mark.parametrize("change", ["stills=2", "precision=bfloat16", "weights"])
def test_what_changes_vectors_has_them_made_again(
    copy: Path, clip: Path, run: Any, tmp_path: Path, change: str
) -> None:
    run(copy, settings=openclip(clip), stages=("features",), name="old")
    settings = openclip(clip)
    if change == "weights":
        from safetensors.torch import load_file, save_file

        state = load_file(clip / "tiny.safetensors")
        save_file({**state, "visual.proj": state["visual.proj"] * -1}, tmp_path / "tiny.safetensors")
        change = f"weights={tmp_path}/tiny.safetensors"
    _, counts = run(copy, settings=(*settings, f"features.embeddings.{change}"), stages=("features",), name="new")
    assert counts.looked_reused["embeddings"] == 0
    assert counts.looked_clips["embeddings"] == 4


def test_rows_do_not_depend_on_batches_and_the_same_run_gives_the_same_bytes(copy: Path, clip: Path, run: Any) -> None:
    for name, batch in (("a", 64), ("b", 64), ("c", 3)):
        run(copy, settings=(*openclip(clip), f"features.embeddings.batch={batch}"), stages=("features",), name=name)
        # Else the next one would take its rows over.
        (copy / f"features/embeddings/{name}").rename(copy / f"features/embeddings/.{name}")
    first, again, other = (
        (copy / f"features/embeddings/.{name}/part-000000.parquet").read_bytes() for name in ("a", "b", "c")
    )
    assert first == again
    assert len(other) > 0
    one, two = (
        Corpus.open(copy).store.read_table(f"features/embeddings/.{name}/part-000000.parquet") for name in ("a", "c")
    )
    for left, right in zip(one.to_pylist(), two.to_pylist(), strict=True):
        assert left["embedding"] == pytest.approx(right["embedding"], abs=1e-3)  # one step of float16 apart


def test_what_was_measured_the_same_way_is_taken_over(copy: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "_perceptual", lambda *_: pytest.fail("it was measured again"))
    _, counts = run(copy, settings=(*QUIET, OTHER), stages=("features",), name="again")
    assert rows_of(copy, "again") == rows_of(copy)
    assert counts.looked_reused["embeddings"] == 4


def test_other_stills_take_nothing_over(copy: Path, run: Any) -> None:
    run(copy, settings=(*QUIET, "features.embeddings.stills=1"), stages=("features",), name="one")
    assert [row["embedding_stills"] for row in rows_of(copy, "one")] == [1] * 4


def test_only_clips_that_cheap_rules_leave_are_looked_at(copy: Path, run: Any) -> None:
    drop = (*QUIET, "select.tiny=end_s - start_s < 3.5")
    _, counts = run(copy, settings=drop, stages=("features",), name="long")
    assert 0 < len(rows_of(copy, "long")) < 4
    assert counts.looked_skipped["embeddings"] == 4 - len(rows_of(copy, "long"))
    run(copy, settings=(*drop, "features.embeddings.score_all=true"), stages=("features",), name="all")
    assert len(rows_of(copy, "all")) == 4


def damage(out: Path, look: Look, which: slice) -> None:
    """Overwrite stills of a clip with zeros."""
    path = out / "stills/part-000000.tar"
    data = bytearray(path.read_bytes())
    for offset, size in look.stills[which]:
        data[offset : offset + size] = bytes(size)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("backend", ["perceptual", "openclip"])
def test_damaged_stills_are_left_out_and_a_clip_without_any_has_no_vector(
    backend: str, copy: Path, clip: Path, run: Any
) -> None:
    first, second, *_ = looks_of(copy)
    damage(copy, first, slice(None))
    damage(copy, second, slice(0, 1))
    settings = openclip(clip) if backend == "openclip" else (*QUIET, "features.embeddings.stills=3")
    run(copy, settings=settings, stages=("features",), name="torn")
    torn, less, *whole = rows_of(copy, "torn")
    model = torn["embedding_model"]
    assert torn == {
        **dict.fromkeys(TABLES["embeddings"].names),
        "clip_id": first.clip_id,
        "embedding_model": model,
        "embedding_stills": 0,
    }
    assert less["embedding"] is not None
    assert less["embedding_stills"] == (3 if backend == "openclip" else 2)
    assert all(row["embedding_stills"] == (4 if backend == "openclip" else 3) for row in whole)


def test_a_clip_that_was_not_seen_is_looked_at_again_under_another_name(copy: Path, run: Any) -> None:
    look = looks_of(copy)[0]
    intact = (copy / "stills/part-000000.tar").read_bytes()
    damage(copy, look, slice(None))
    settings = (*QUIET, "features.embeddings.stills=3")
    run(copy, settings=settings, stages=("features",), name="torn")
    (copy / "stills/part-000000.tar").write_bytes(intact)
    _, counts = run(copy, settings=(*settings, OTHER), stages=("features",), name="mended")
    assert counts.looked_reused["embeddings"] == 3
    assert rows_of(copy, "mended")[0]["embedding_stills"] == 3


class Dying(Children):
    """Children that die over one clip."""

    def __init__(self, bad: str) -> None:
        super().__init__(1)
        self.bad = bad
        self.tasks: list[int] = []

    def submit(self, function: Any, *args: Any, limit_s: float) -> Any:
        self.tasks.append(len(args[2]))
        done = Future[Any]()
        if self.bad in [clip.clip_id for clip in args[2]]:
            done.set_exception(ProcessExpired("it crashed", code=-11))
        else:
            done.set_result(function(*args))
        return done


def test_a_still_that_kills_the_child_costs_only_its_clip(
    copy: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = looks_of(copy)[1].clip_id
    children = Dying(bad)
    monkeypatch.setattr("pipelines.context.Children", lambda jobs: children)
    monkeypatch.setattr(embed, "BATCH", 3)
    run(copy, settings=(*QUIET, "features.embeddings.stills=3"), stages=("features",), name="killed")
    assert children.tasks == [3, 1, 1, 1, 1]
    assert [row["embedding_stills"] for row in rows_of(copy, "killed")] == [3, 0, 3, 3]
    assert rows_of(copy, "killed")[1]["embedding"] is None


def test_a_second_run_does_nothing(copy: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.stages.measuring.clips_to_measure", lambda *_: pytest.fail("the part is committed"))
    outcome, _ = run(copy, settings=QUIET, stages=("features",))
    assert not outcome.worked
