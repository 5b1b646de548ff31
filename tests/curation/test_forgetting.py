"""Forgetting, piece by piece: the list of hashes, the plan, texts that name a source, tars without a sample."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from curation.corpus import Corpus
from curation.forget_find import Item, find, not_found
from curation.forgotten import EMPTY, Forgotten, refuse_unfinished
from curation.listing import Entry, list_inputs
from curation.planning import extend_plan, retry_failed
from curation.repacking import ASIDE, forget_planned, forget_shard, places, repack
from curation.scrubbing import Names, scrub_answers, scrub_runs, scrub_scratch
from curation.shard_numbers import next_number, note_number
from curation.shards import Sample, write_tar
from curation.storage import Store
from schemas.errors import StorageError, UsageError
from schemas.recipe import CurateRecipe
from schemas.tables import SHARD_PLAN, SHARDS

WHEN = "2026-01-02T03:04:05Z"
CLIP, OTHER = "c" + "0" * 31, "c" + "1" * 31


def item(path: Path, sha256: str | None = None) -> Item:
    info = path.stat()
    return Item(0, str(path), path.name, info.st_size, info.st_mtime_ns, "s" + "a" * 31, sha256)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus.open_or_create(tmp_path / "c", CurateRecipe())


@pytest.fixture
def video(tmp_path: Path) -> Path:
    folder = tmp_path / "v"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"content")
    (folder / "b.mp4").write_bytes(b"other")
    return folder / "a.mp4"


# The list --------------------------------------------------------------------------------------------------------------


def test_list_holds_hashes_only(corpus: Corpus, video: Path) -> None:
    stone = item(video, hashlib.sha256(b"content").hexdigest()).stone(WHEN)
    Forgotten.read(corpus.store).adding([stone, stone]).write(corpus.store)
    text = corpus.store.read_bytes("forgotten.json").decode()
    assert str(video) not in text
    assert "a.mp4" not in text
    found = Forgotten.read(corpus.store)
    assert found.stones == (stone,)
    assert found.contents == {hashlib.sha256(b"content").hexdigest()}
    for what in (str(video), "a.mp4", "s" + "a" * 31):
        assert found.of(what) == [stone]
    assert not found.of("b.mp4")
    later = found.adding([replace(stone, when="2027-01-01T00:00:00Z")])
    assert list(later.stones) == [stone]  # the date stays


def test_damaged_list_stops_everything(corpus: Corpus, video: Path) -> None:
    """To go on without it could bring a forgotten source back."""
    corpus.store.commit_bytes("forgotten.json", b"{}")
    with pytest.raises(StorageError, match=r"forgotten\.json"):
        extend_plan(corpus, list_inputs([str(video)]))


def test_no_content_stands_for_nobody(corpus: Corpus, video: Path) -> None:
    assert hashlib.sha256(b"").hexdigest() == EMPTY
    assert not Forgotten([item(video, EMPTY).stone(WHEN)]).contents


# The plan --------------------------------------------------------------------------------------------------------------


def test_forgotten_file_is_not_planned_again(corpus: Corpus, video: Path) -> None:
    stone = item(video, hashlib.sha256(b"content").hexdigest()).stone(WHEN)
    Forgotten([stone]).write(corpus.store)
    planned = extend_plan(corpus, list_inputs([str(video.parent)]))
    assert (planned.new, planned.forgotten) == (1, 1)
    video.write_bytes(b"content")  # touched, and the same
    assert extend_plan(corpus, list_inputs([str(video.parent)])).forgotten == 1
    video.write_bytes(b"another video in its place")
    planned = extend_plan(corpus, list_inputs([str(video.parent)]))
    assert (planned.new, planned.known, planned.forgotten) == (1, 1, 0)


def test_never_read_and_untouched_is_known_by_its_listing(corpus: Corpus, video: Path) -> None:
    Forgotten([item(video).stone(WHEN)]).write(corpus.store)
    assert extend_plan(corpus, list_inputs([str(video)])).forgotten == 1
    video.write_bytes(b"content, changed")
    assert extend_plan(corpus, list_inputs([str(video)])).new == 1


def test_nothing_is_planned_while_a_forgetting_is_unfinished(corpus: Corpus, video: Path) -> None:
    refuse_unfinished(corpus.store)
    corpus.store.commit_bytes("forget.json", b"{}")
    with pytest.raises(UsageError, match="begun and not finished"):
        extend_plan(corpus, list_inputs([str(video)]))
    with pytest.raises(UsageError, match="begun and not finished"):
        retry_failed(corpus)


# What is meant ---------------------------------------------------------------------------------------------------------


def entry(name: str) -> Entry:
    return Entry(uri=f"/in/{name}", rel_path=name, size=1000, mtime_ns=1)


def test_names_and_patterns(corpus: Corpus) -> None:
    extend_plan(corpus, [entry(n) for n in ("a.mp4", "d/b.mp4", "d/c.mp4", "odd[1].mp4")])

    def meant(*wanted: str) -> list[str]:
        return sorted(i.rel_path for i in find(corpus, wanted).items)

    assert meant("/in/a.mp4") == meant("file:///in/a.mp4") == meant("a.mp4") == ["a.mp4"]
    assert meant("d/*") == meant("/in/d/*.mp4") == ["d/b.mp4", "d/c.mp4"]
    assert meant("odd[1].mp4") == ["odd[1].mp4"]  # a name before it is a pattern
    assert meant("d/b.mp4", "a.mp4") == ["a.mp4", "d/b.mp4"]
    assert not meant("b.mp4")  # what is deleted for good is named in full
    found = find(corpus, ["a.mp4", "x.mp4"])
    assert found.unknown == ["x.mp4"]
    assert "`a.mp4`" in not_found(corpus, ["aa.mp4"]).fix
    one = find(corpus, ["d/b.mp4"]).items[0]
    assert all(one.meant_by(text) for text in ("d/b.mp4", "d/*", "/in/d/b.mp4", "/in/*"))
    assert not one.meant_by("b.mp4")


# Texts -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("/in/a.mp4", True),
        ("cannot read `/in/a.mp4`: gone", True),
        ("a.mp4 failed.", True),
        ('{"error": "a.mp4"}', True),
        (f"clip {CLIP}.00.jpg", True),
        ("/mnt/in/a.mp4", False),
        ("banana.mp4", False),
        ("b/a.mp4", False),
        ("a.mp4.txt", False),
        ("/in/a.mp4/b", False),
        (f"x{CLIP}", False),
        (OTHER, False),
    ],
)
def test_a_name_is_found_where_it_stands_by_itself(text: str, named: bool) -> None:
    names = Names([CLIP], ["/in/a.mp4", "a.mp4"])
    assert names.named(text) is named
    assert names.within(text.encode()) is named
    assert (names.scrub({"notes": [text, "x"]}) == {"notes": [text, "x"]}) is not named


def test_nothing_to_find_is_never_found() -> None:
    assert not Names([], []).within(b"anything")


def test_records_and_answers(corpus: Corpus) -> None:
    store = corpus.store
    odd = '/in/ü "x".mp4'
    store.commit_bytes("runs/a.json", json.dumps({"notes": [f"{odd}: odd", "fine"]}).encode())
    store.commit_bytes("runs/b.json", b'{"odd": "bytes stay  as they are"}')
    lines = [json.dumps({"of": f"{c} caption", "answer": {"text": "t"}}).encode() + b"\n" for c in (CLIP, OTHER)]
    for path in ("part-000000.jsonl", "part-000001.jsonl", "part-000000.journal/w.jsonl"):
        store.commit_bytes(f"answers/m/{path}", b"".join(lines) + f'{{"of": "{CLIP}'.encode())
    store.commit_bytes("answers/n/part-000000.jsonl", lines[0])
    names = Names([CLIP], [odd])
    scrub_runs(store, names)
    scrub_answers(store, names, [0])
    assert json.loads(store.read_bytes("runs/a.json")) == {"notes": ["(forgotten)", "fine"]}
    assert store.read_bytes("runs/b.json") == b'{"odd": "bytes stay  as they are"}'
    assert store.read_bytes("answers/m/part-000000.jsonl") == lines[1]
    assert store.read_bytes("answers/m/part-000000.journal/w.jsonl") == lines[1]
    assert CLIP.encode() in store.read_bytes("answers/m/part-000001.jsonl")  # it has no clip of that part
    assert not store.exists("answers/n/part-000000.jsonl")


def test_unfinished_work(corpus: Corpus) -> None:
    segment = "g" + "2" * 31
    base = corpus.store.scratch()
    for path in (
        f"scan/v/{segment}/stills.bin",
        f"scan/v/{segment}-whole/x",
        f"export/f/{CLIP}.mp4",
        f"export/f/{OTHER}.mp4",
    ):
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_bytes(b"pictures")
    (base / "notes.txt").write_text("of /in/a.mp4")
    scrub_scratch(corpus.store, Names([CLIP, segment], ["/in/a.mp4"]))
    assert [p.relative_to(base).as_posix() for p in base.rglob("*") if p.is_file()] == [f"export/f/{OTHER}.mp4"]


# Tars ------------------------------------------------------------------------------------------------------------------


def samples(folder: Path, *clips: str) -> list[Sample]:
    made = []
    for number, clip in enumerate(clips):
        path = folder / f"{clip}.mp4"
        path.write_bytes(f"{clip} ".encode() * (100 + number))
        made.append(Sample(clip, clip, path, f"caption of {clip}", {"clip_id": clip, "motion": 0.1 + number}))
    return made


def test_repacked_tar_is_as_if_written_without(tmp_path: Path) -> None:
    store = Store(tmp_path)
    both = samples(tmp_path, CLIP, OTHER)
    write_tar(both, tmp_path / "both.tar")
    written = write_tar(both[1:], tmp_path / "one.tar")
    assert repack(store, "both.tar", tmp_path / "out.tar", {CLIP})
    assert (tmp_path / "out.tar").read_bytes() == (tmp_path / "one.tar").read_bytes()
    assert places(store, "out.tar")[f"{OTHER}.mp4"] == (written[0].byte_offset, written[0].byte_size)
    assert not repack(store, "out.tar", tmp_path / "again.tar", {CLIP})
    assert repack(store, "out.tar", tmp_path / "empty.tar", {OTHER})
    write_tar([], tmp_path / "nothing.tar")
    assert (tmp_path / "empty.tar").read_bytes() == (tmp_path / "nothing.tar").read_bytes()


def shard(corpus: Corpus, tmp_path: Path, *clips: str) -> list[dict[str, object]]:
    """A finished shard 000000 of the variant `default`; gives the rows of its index."""
    members = write_tar(samples(tmp_path, *clips), tmp_path / "made.tar")
    cut = dict.fromkeys(("start_frame", "end_frame", "num_frames", "width", "height", "frames_decoded"), 1)
    rows = [
        {
            "clip_id": m.clip_id,
            "shard": "000000",
            "shard_key": m.key,
            "byte_offset": m.byte_offset,
            "byte_size": m.byte_size,
        }
        | {"sha256": m.sha256, **cut, "fps": 1.0, "how": "copy", "caption": None}
        for m in members
    ]
    corpus.store.commit_file("shards/default/000000.tar", tmp_path / "made.tar")
    corpus.store.commit_table("shards/default/000000.parquet", pa.Table.from_pylist(rows, schema=SHARDS.arrow))
    return rows


def test_shard_goes_on_under_another_number(corpus: Corpus, tmp_path: Path) -> None:
    shard(corpus, tmp_path, CLIP, OTHER)
    forget_shard(corpus.store, "shards/default", "000000", "000007", {CLIP})
    assert corpus.store.names("shards/default") == ["000007.parquet", "000007.tar"]
    (row,) = corpus.store.read_table("shards/default/000007.parquet").to_pylist()
    assert (row["clip_id"], row["shard"]) == (OTHER, "000007")
    data = corpus.store.read_range("shards/default/000007.tar", row["byte_offset"], row["byte_size"])
    assert hashlib.sha256(data).hexdigest() == row["sha256"]
    forget_shard(corpus.store, "shards/default", "000007", None, {OTHER})
    assert not corpus.store.names("shards/default")


def test_damaged_tar_is_no_reason_to_lose_the_others(corpus: Corpus, tmp_path: Path) -> None:
    (_, row) = shard(corpus, tmp_path, CLIP, OTHER)
    tar = tmp_path / "c" / "shards/default/000000.tar"
    data = bytearray(tar.read_bytes())
    data[int(str(row["byte_offset"]))] ^= 1
    tar.write_bytes(data)
    with pytest.raises(StorageError, match="does not hold what was written"):
        forget_shard(corpus.store, "shards/default", "000000", "000001", {CLIP})
    assert corpus.store.names("shards/default") == ["000000.parquet", "000000.tar"]


def test_waiting_index_is_put_in_place(corpus: Corpus, tmp_path: Path) -> None:
    """Killed after the old index was removed: what waits beside it is all that is left to know of the new tar."""
    shard(corpus, tmp_path, OTHER)
    corpus.store.move("shards/default/000000.parquet", f"shards/default/000001.parquet{ASIDE}")
    corpus.store.commit_bytes("shards/default/000001.tar", corpus.store.read_bytes("shards/default/000000.tar"))
    forget_shard(corpus.store, "shards/default", "000000", "000001", {CLIP})
    assert corpus.store.names("shards/default") == ["000001.parquet", "000001.tar"]


def test_shard_plan_keeps_its_order_and_what_it_covers(corpus: Corpus) -> None:
    schema = SHARD_PLAN.arrow
    schema = schema.with_metadata({**(schema.metadata or {}), b"stiv_parts": b"4"})
    clips = [("000000", CLIP), ("000000", OTHER), ("000001", "c" + "2" * 31)]
    rows = [{"shard": s, "clip_id": c, "part": 3} for s, c in clips]
    corpus.store.commit_table("shards/default/plan.parquet", pa.Table.from_pylist(rows, schema=schema))
    forget_planned(corpus.store, "shards/default", {"000000": "000002"}, {CLIP}, None)
    found = corpus.store.read_table("shards/default/plan.parquet")
    assert found["shard"].to_pylist() == ["000001", "000002"]
    assert found.schema.metadata[b"stiv_parts"] == b"4"
    forget_planned(corpus.store, "shards/default", {"000002": None}, {OTHER}, 3)  # the last shard goes altogether
    left = corpus.store.read_table("shards/default/plan.parquet")
    assert left["shard"].to_pylist() == ["000001"]
    assert next_number(left) == 3  # a number is never given twice
    assert next_number(note_number(left, 2)) == 2
    assert corpus.store.read_table("shards/default/plan.parquet").schema.metadata[b"stiv_parts"] == b"3"
