"""The search for duplicates over a corpus: on scanned copies, in groups of parts, through kills."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curation import variants
from curation.corpus import Corpus
from curation.duplicates import cells, groups
from curation.golden import draw
from curation.golden.encode import encode
from curation.golden.set_copies import COPIES
from curation.golden.shapes import MovingShape, moving
from pipelines.context import Context, Worker
from pipelines.recipe_files import load_recipe
from pipelines.stages import dedup
from schemas.errors import RecipeError, UsageError
from schemas.tables import TABLES

FPS = 12.0
OFF = ("select.rules=[]", "features.text.enabled=false", "features.embeddings.enabled=false")


def test_copies_are_found_in_the_scan(tmp_path: Path, run: Callable[..., Any]) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for seed, speed in enumerate((1.0, 0.0)):
        wide = draw.texture(420, 240, seed + 20)
        pictures = [draw.window(wide, 8 + i * speed, 8, 320, 220) for i in range(30)]
        encode(pictures, folder / f"{seed}.mp4", FPS)
        for kind in ("resized", "letterboxed", "watermarked", "shifted"):
            encode(COPIES[kind].make(pictures, FPS), folder / f"{seed}.{kind}.mp4", FPS, crf=28)
    (folder / "again.mp4").write_bytes((folder / "0.mp4").read_bytes())
    _, counts = run(tmp_path / "corpus", folder, OFF, ("scan", "features", "dedup"))
    corpus = Corpus.open(tmp_path / "corpus")
    files = {r["source_id"]: r["rel_path"] for r in corpus.read("sources", 0).to_pylist()}
    clips = {r["clip_id"]: r for r in corpus.read("clips", 0).to_pylist()}
    rows = corpus.read("duplicates", 0, "default").to_pylist()
    assert [r["clip_id"] for r in rows] == list(clips)
    of = {files[clips[r["clip_id"]]["source_id"]]: r for r in rows}
    clusters = {name: row["duplicate_cluster"] for name, row in of.items()}
    for seed in "01":
        assert len({c for name, c in clusters.items() if name.startswith(seed)}) == 1
    assert len(set(clusters.values())) == 2
    assert clusters["again.mp4"] == clusters["0.mp4"]
    twins = [(of[n]["duplicate_kind"], of[n]["duplicate_similarity"]) for n in ("0.mp4", "again.mp4")]
    assert twins[0] == twins[1], "what one is to the clip that is kept the other is too"
    assert twins[0][0] == "near"
    assert of["0.resized.mp4"]["duplicate_of"] is not None, "the larger picture is kept"
    assert of["0.resized.mp4"]["duplicate_kind"] == "near"
    assert 0.85 <= of["0.resized.mp4"]["duplicate_similarity"] <= 1
    assert sum(r["duplicate_of"] is None for r in rows) == 2
    assert any("9 give way" in note for note in counts.found)


def test_clips_that_differ_in_colour_alone_are_no_copies(tmp_path: Path, run: Callable[..., Any]) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    plain = np.full((128, 128, 3), (112, 112, 114), np.uint8)
    for colour in ("yellow", "green"):
        shape = MovingShape("triangle", colour, "left", 20.0, 1.2, (92.0, 60.0))
        pictures = list(moving(shape, plain, 40))
        encode(pictures, folder / f"{colour}.mp4", 16.0)
        encode(COPIES["re-encoded"].make(pictures, 16.0), folder / f"{colour}.again.mp4", 16.0, crf=32)
    run(tmp_path / "corpus", folder, OFF, ("scan", "features", "dedup"))
    corpus = Corpus.open(tmp_path / "corpus")
    files = {r["source_id"]: r["rel_path"] for r in corpus.read("sources", 0).to_pylist()}
    owner = {r["clip_id"]: files[r["source_id"]] for r in corpus.read("clips", 0).to_pylist()}
    rows = {owner[r["clip_id"]]: r for r in corpus.read("duplicates", 0, "default").to_pylist()}
    clusters = {name: row["duplicate_cluster"] for name, row in rows.items()}
    assert clusters["yellow.mp4"] == clusters["yellow.again.mp4"] is not None
    assert clusters["green.mp4"] == clusters["green.again.mp4"] is not None
    assert clusters["yellow.mp4"] != clusters["green.mp4"]


class Tables:
    """A corpus of tables and stills, without video. Clips are dictionaries: `source`, `content`, `picture`, and columns of `clips`."""

    def __init__(self, out: Path, *settings: str) -> None:
        self.recipe = load_recipe(None, (*OFF, *settings))
        self.corpus = Corpus.open_or_create(out, self.recipe)
        self.events: list[dict[str, Any]] = []
        self.parts = 0

    def add(self, *clips: dict[str, Any]) -> None:
        """One more part."""
        part, tar, rows, sources = self.parts, io.BytesIO(), [], []
        with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as out:
            for number, clip in enumerate(clips):
                jpeg = cv2.imencode(".jpg", draw.texture(160, 90, clip.get("picture", 1000 * part + number)))[
                    1
                ].tobytes()
                info = tarfile.TarInfo("still.jpg")
                info.size = len(jpeg)
                rng = np.random.default_rng([7, clip.get("picture", 1000 * part + number)])
                row = {
                    "clip_id": f"c{clip['id']:031x}",
                    "source_id": f"s{clip.get('source', clip['id']):031x}",
                    **{
                        name: int(h)
                        for name, h in zip(("phash_a", "phash_b", "phash_c"), rng.integers(2**62, size=3), strict=True)
                    },
                    "stills_offset": [out.offset + 512],
                    "stills_size": [len(jpeg)],
                    "end_frame": 100,
                    "duration_s": 4.0,
                    "width": 640,
                    "height": 360,
                    **{k: v for k, v in clip.items() if k not in ("id", "source", "content", "picture")},
                }
                out.addfile(info, io.BytesIO(jpeg))
                rows.append(row)
                sources.append({"source_id": row["source_id"], "sha256": clip.get("content", f"{clip['id']:064x}")})
        store = self.corpus.store
        store.commit_bytes(self.corpus.path("stills", part), tar.getvalue())
        store.commit_table(self.corpus.path("clips", part), _filled("clips", rows))
        store.commit_table(self.corpus.path("sources", part), _filled("sources", sources))
        self.parts += 1
        store.commit_bytes("plan/parts.json", json.dumps({"parts": self.parts}).encode())

    def worker(self) -> Worker:
        settings = self.recipe.dedup.model_dump(mode="json", exclude={"enabled"}) | {"rules": self.rules}
        made = {"duplicates": variants.prepare(self.corpus, "duplicates", "default", settings, {})}
        if self.corpus.done("embeddings", "default"):
            made["embeddings"] = variants.prepare(self.corpus, "embeddings", "default", {}, {})
        return Worker(Context(self.corpus.store.uri, "test", 1, self.recipe, made), self.events.append)

    rules: list[dict[str, str]] = []  # noqa: RUF012

    def search(self) -> dict[int, dict[str, Any]]:
        """All rows, by the clips' numbers."""
        dedup.run(self.worker(), self.parts - 1)
        return self.rows()

    def rows(self) -> dict[int, dict[str, Any]]:
        found = [row for p in range(self.parts) for row in self.corpus.read("duplicates", p, "default").to_pylist()]
        return {int(row["clip_id"][1:], 16): row for row in found}

    def files(self) -> dict[str, bytes]:
        folder = Path(self.corpus.store.uri) / "duplicates"
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _filled(table: str, rows: list[dict[str, Any]]) -> pa.Table:
    schema = TABLES[table].arrow

    def empty(field: pa.Field) -> Any:
        if field.nullable:
            return None
        plain = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        return 0 if plain else [] if pa.types.is_list(field.type) or pa.types.is_map(field.type) else ""

    base = {field.name: empty(field) for field in schema}
    return pa.Table.from_pylist([base | row for row in rows], schema=schema)


def gives_way(rows: dict[int, dict[str, Any]]) -> dict[int, int]:
    return {n: int(r["duplicate_of"][1:], 16) for n, r in rows.items() if r["duplicate_of"] is not None}


def test_best_is_kept_then_longest_then_first(tmp_path: Path) -> None:
    tables = Tables(tmp_path, "dedup.keep=width")
    tables.add(
        {"id": 1, "picture": 1},
        {"id": 2, "picture": 1, "width": 1280, "height": 720},
        {"id": 3, "picture": 3},
        {"id": 4, "picture": 3, "duration_s": 4.2},
        {"id": 6, "picture": 5},
        {"id": 5, "picture": 5},
        {"id": 7, "picture": 7},
    )
    rows = tables.search()
    assert gives_way(rows) == {1: 2, 3: 4, 6: 5}
    assert rows[7] | {"clip_id": ""} == {
        "clip_id": "",
        "duplicate_cluster": None,
        "duplicate_of": None,
        "duplicate_kind": None,
        "duplicate_similarity": None,
    }
    assert rows[2]["duplicate_cluster"] == rows[2]["clip_id"]


def test_an_unknown_value_comes_last(tmp_path: Path) -> None:
    tables = Tables(tmp_path, "dedup.keep=sharpness")
    tables.add({"id": 1, "picture": 1}, {"id": 2, "picture": 1, "sharpness": 0.1})
    assert gives_way(tables.search()) == {1: 2}


def test_a_wrong_keep_names_itself(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"dedup\.keep.*wdith"):
        Tables(tmp_path, "dedup.keep=wdith * height")
    assert not list(tmp_path.iterdir())  # before anything is written


def test_equal_hashes_of_different_pictures_are_not_merged(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    same = {"phash_a": 2**60 + 12345, "phash_b": 2**61 + 54321, "phash_c": 2**59 + 999}
    tables.add({"id": 1, **same}, {"id": 2, **same})
    assert gives_way(tables.search()) == {}


def test_without_stills_nothing_near_is_proven(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables.add({"id": 1, "picture": 1}, {"id": 2, "picture": 1, "stills_offset": [], "stills_size": []})
    assert gives_way(tables.search()) == {}


def test_exact_needs_equal_content_and_span(tmp_path: Path) -> None:
    tables = Tables(tmp_path, "dedup.near.enabled=false")
    tables.add(
        {"id": 1, "content": "a"},
        {"id": 2, "content": "a"},
        {"id": 3, "content": "a", "end_frame": 99},
        {"id": 4, "content": None},
        {"id": 5, "content": None},
    )
    rows = tables.search()
    assert gives_way(rows) == {2: 1}
    assert rows[2]["duplicate_kind"] == "exact"
    assert rows[2]["duplicate_similarity"] == 1


def test_moments_of_one_source_are_no_copies(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables.add({"id": 1, "source": 9, "picture": 1}, {"id": 2, "source": 9, "picture": 1, "end_frame": 99})
    assert gives_way(tables.search()) == {}


def test_only_survivors_are_looked_at(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables.rules = [{"name": "dark", "drop": "brightness < 0.1"}]
    tables.add({"id": 1, "picture": 1, "brightness": 0.05}, {"id": 2, "picture": 1}, {"id": 3, "picture": 1})
    rows = tables.search()
    assert gives_way(rows) == {3: 2}
    assert 1 not in rows


def test_semantic_needs_vectors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="vectors"):
        Tables(tmp_path, "dedup.semantic.enabled=true")
    assert not list(tmp_path.iterdir())


SEMANTIC = ("features.embeddings.enabled=true", "dedup.semantic.enabled=true", "dedup.near.enabled=false")


def add_vectors(tables: Tables, first: int, vectors: np.ndarray, without: tuple[int, ...] = ()) -> None:
    """One more part, of clips numbered from ``first`` on with these vectors."""
    part, ids = tables.parts, range(first, first + len(vectors))
    tables.add(*({"id": i} for i in ids))
    rows = [
        {
            "clip_id": f"c{i:031x}",
            "embedding": None if i in without else v.tolist(),
            "embedding_model": "test",
            "embedding_stills": 1,
        }
        for i, v in zip(ids, vectors, strict=True)
    ]
    tables.corpus.store.commit_table(tables.corpus.path("embeddings", part, "default"), _filled("embeddings", rows))


def directions(rng: np.random.Generator, count: int, width: int = 8) -> np.ndarray:
    return cells.unit(rng.standard_normal((count, width)))


def test_semantic_duplicates_by_cosine(tmp_path: Path) -> None:
    tables = Tables(tmp_path, *SEMANTIC)
    rng = np.random.default_rng(0)
    early, late = directions(rng, 5), directions(rng, 5)
    early[0] = late[0] = early[2]
    add_vectors(tables, 1, early, without=(5,))
    add_vectors(tables, 11, late, without=(15,))
    found = tables.search()
    assert gives_way(found) == {3: 1, 11: 1}
    assert found[11]["duplicate_kind"] == "semantic"
    assert found[11]["duplicate_similarity"] == pytest.approx(1, abs=1e-3)


def border_pair(centres: np.ndarray, cosine: float) -> np.ndarray:
    """Two vectors on either side of the border between two cells, (2, d), and in no third cell's reach."""
    for a, b in combinations(range(len(centres)), 2):
        middle = cells.unit((centres[a] + centres[b])[None])[0]
        apart = centres[a] - centres[b]
        apart = cells.unit((apart - apart @ middle * middle)[None])[0]
        half = np.arccos(cosine) / 2
        pair = np.stack([np.cos(half) * middle + side * np.sin(half) * apart for side in (1, -1)]).astype(np.float32)
        if [set(row) for row in cells.nearest(pair, centres).tolist()] == [{a, b}] * 2:
            return pair
    raise AssertionError("no two cells touch")


def test_semantic_pairs_over_cells_borders_and_groups(tmp_path: Path) -> None:
    tables = Tables(tmp_path, *SEMANTIC, "dedup.semantic.cells=6", "dedup.semantic.min_cosine=0.98")
    rng = np.random.default_rng(1)
    early = directions(rng, 60, 4)
    add_vectors(tables, 1, early)
    assert all(row["duplicate_kind"] in (None, "semantic") for row in tables.search().values())
    path = next((Path(tables.corpus.store.uri) / "duplicates/default/cells").iterdir())
    centres = np.load(path)
    assert len(centres) == 6
    pair = border_pair(centres, 0.99)
    one, other = cells.nearest(pair, centres)[:, 0]
    assert one != other
    late = np.concatenate([directions(rng, 20, 4), pair[:1], early[5:6]])
    add_vectors(tables, 101, late)
    tables.search()
    last = np.concatenate([directions(rng, 20, 4), pair[1:]])
    add_vectors(tables, 201, last)
    rows = tables.search()
    assert 122 in gives_way(rows), "of an earlier group, in another part"
    assert gives_way(rows)[221] == gives_way(rows).get(121, 121), "of an earlier group, across a border"
    assert path.exists(), "how many cells there are was asked for: they stay"
    # Every pair that comparing all with all would find decides alike: a clip stays only where no clip that stays is as close.
    ids = [*range(1, 61), *range(101, 123), *range(201, 222)]
    vectors = np.concatenate([early, late, last])
    kept = [i for i, n in enumerate(ids) if rows[n]["duplicate_of"] is None]
    close = np.triu(vectors[kept] @ vectors[kept].T > 0.981, 1)
    assert not close.any()


def growing(folder: Path, *settings: str) -> Tables:
    tables = Tables(folder, *SEMANTIC, *settings)
    add_vectors(tables, 1, directions(np.random.default_rng(2), 12))
    return tables


def grown(tables: Tables) -> None:
    early, rng = directions(np.random.default_rng(2), 12), np.random.default_rng(3)
    add_vectors(tables, 101, np.concatenate([directions(rng, 60), early[3:5]]))


def cells_there(tables: Tables) -> dict[str, int]:
    names = [n for n in tables.files() if n.startswith("default/cells/")]
    return {n.removeprefix("default/cells/"): len(np.load(io.BytesIO(tables.files()[n]))) for n in names}


def test_cells_are_found_anew_when_the_corpus_has_outgrown_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "CLIPS_PER_CELL", 4)
    tables = growing(tmp_path)
    tables.search()
    assert cells_there(tables) == {"0000.npy": 3}
    before = {n: f for n, f in tables.files().items() if "/part-" in n and "/looks/" not in n}
    grown(tables)
    assert gives_way(tables.search()) == {161: 4, 162: 5}
    assert cells_there(tables) == {"0001.npy": 18}
    assert before.items() <= tables.files().items(), "what was decided stays decided"
    add_vectors(tables, 301, directions(np.random.default_rng(4), 60))
    tables.search()
    assert cells_there(tables) == {"0001.npy": 18}, "not yet four times as many"


def test_vectors_may_come_late(tmp_path: Path) -> None:
    tables = Tables(tmp_path, *SEMANTIC)
    rng = np.random.default_rng(5)
    add_vectors(tables, 1, directions(rng, 2), without=(1, 2))
    assert gives_way(tables.search()) == {}
    assert cells_there(tables) == {}
    late = directions(rng, 3)
    late[2] = late[0]
    add_vectors(tables, 11, late)
    assert gives_way(tables.search()) == {13: 11}


def test_cells_stay_where_their_number_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "CLIPS_PER_CELL", 4)
    tables = growing(tmp_path, "dedup.semantic.cells=3")
    tables.search()
    grown(tables)
    assert gives_way(tables.search()) == {161: 4, 162: 5}
    assert cells_there(tables) == {"0000.npy": 3}


@pytest.mark.parametrize(("step", "at"), [("remove", 1), ("commit_bytes", 1), ("remove", 2)])
def test_killed_while_cells_are_found_anew_it_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, at: int
) -> None:
    monkeypatch.setattr(cells, "CLIPS_PER_CELL", 4)
    undisturbed, tables = growing(tmp_path / "a"), growing(tmp_path / "b")
    for one in (undisturbed, tables):
        one.search()
        grown(one)
    undisturbed.search()
    worker, calls = tables.worker(), 0
    real = getattr(type(tables.corpus.store), step)

    def dying(store: Any, path: str, *data: bytes) -> None:
        nonlocal calls
        calls += path.endswith(("/looks", ".npy"))
        if calls == at:
            raise Killed
        real(store, path, *data)

    with monkeypatch.context() as patch:
        patch.setattr(type(tables.corpus.store), step, dying)
        with pytest.raises(Killed):
            dedup.run(worker, 1)
    tables.search()
    assert tables.files() == undisturbed.files()


def two_parts(folder: Path) -> Tables:
    tables = Tables(folder, "dedup.keep=width")
    tables.add({"id": 1, "picture": 1}, {"id": 2, "picture": 2}, {"id": 3, "picture": 1, "width": 660})
    tables.add({"id": 4, "picture": 2, "width": 680}, {"id": 5, "content": "x"}, {"id": 6, "content": "x"})
    return tables


def third_part(tables: Tables) -> None:
    tables.add({"id": 7, "picture": 1, "width": 1280, "height": 720}, {"id": 8, "picture": 8}, {"id": 9, "picture": 8})


def test_parts_planned_later_drop_only_their_own_clips(tmp_path: Path) -> None:
    tables = two_parts(tmp_path)
    assert gives_way(tables.search()) == {1: 3, 2: 4, 6: 5}
    before = tables.files()
    third_part(tables)
    rows = tables.search()
    assert gives_way(rows) == {1: 3, 2: 4, 6: 5, 7: 3, 9: 8}, "7 is better than 3, but 3 was there first"
    assert rows[7]["duplicate_cluster"] == rows[3]["clip_id"]
    after = tables.files()
    assert {k: v for k, v in after.items() if k in before and k != "default/groups.json"} == {
        k: v for k, v in before.items() if k != "default/groups.json"
    }


def test_a_later_clip_is_not_dropped_for_one_that_was_dropped(tmp_path: Path) -> None:
    tables = Tables(tmp_path, "dedup.near.enabled=false", "dedup.keep=width")
    tables.add({"id": 1, "content": "x", "width": 700}, {"id": 2, "content": "x"})
    tables.search()
    tables.add({"id": 3, "content": "x", "width": 9000})
    assert gives_way(tables.search()) == {2: 1, 3: 1}


def test_where_there_is_nothing_new_nothing_is_compared(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables.add()
    tables.search()
    tables.add({"id": 1}, {"id": 2})
    tables.search()
    tables.add()
    tables.search()
    tasks = [e["part"] for e in tables.events if e.get("stage") == "dedup_search"]
    assert tasks == list(range(len(tasks))) != []  # of the second part alone
    told = [e["text"] for e in tables.events if e["kind"] == "found"]
    assert len(told) == 1
    assert told[0].startswith("Duplicates among 2 clips:")


def test_all_is_done_only_once(tmp_path: Path) -> None:
    tables = two_parts(tmp_path)
    tables.search()
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "duplicates").rglob("*")}
    events = len(tables.events)
    tables.search()
    assert dedup.prepare(tables.corpus, tables.worker().context.variants) is None
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "duplicates").rglob("*")} == stamps
    assert len(tables.events) == events
    assert [e["text"] for e in tables.events if e["kind"] == "found"] == [
        "Duplicates among 6 clips: 3 give way to better ones (1 exact, 2 near, 0 semantic)."
    ]
    assert sorted(e["part"] for e in tables.events if e.get("stage") == "dedup") == [0, 1]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("commit", [1, 2, 3, 4, 5, 12, 26, 27, 28])
def test_killed_at_any_commit_it_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: int, undisturbed: dict[str, bytes]
) -> None:
    tables = two_parts(tmp_path)
    worker = tables.worker()
    writes = 0
    real = type(tables.corpus.store).commit_bytes

    def dying(store: Any, path: str, data: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == commit:
            raise Killed
        real(store, path, data)

    monkeypatch.setattr(type(tables.corpus.store), "commit_bytes", dying)
    with contextlib.suppress(Killed):
        dedup.run(worker, 1)
    monkeypatch.undo()
    third_part(tables)  # planned between the kill and the next run: not part of the group that was begun
    tables.search()
    begun = json.loads(tables.files()["default/groups.json"])["groups"]
    if begun == [2, 3]:
        assert tables.files() == undisturbed
    else:
        assert begun == [3], "killed before the group was written down"
        assert commit == 1


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    tables = two_parts(tmp_path_factory.mktemp("undisturbed"))
    tables.search()
    third_part(tables)
    tables.search()
    return tables.files()


def test_looks_that_were_deleted_are_made_again(tmp_path: Path) -> None:
    tables = two_parts(tmp_path)
    tables.search()
    path = groups.looks_path(tables.worker().variant("duplicates"), 0)
    before = tables.files()[path.removeprefix("duplicates/")]
    tables.corpus.store.remove(path)
    third_part(tables)
    assert gives_way(tables.search())[7] == 3
    assert tables.files()[path.removeprefix("duplicates/")] == before
