"""`stiv forget`: nothing of a source is left, everything else is as it was, and no kill changes the end."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation import forgetting
from curation.corpus import Corpus
from curation.forget_find import find
from curation.storage import Store
from pipelines.cli import forget_command
from pipelines.cli.main import run as run_stiv
from pipelines.curate import ALL_STAGES
from stiv_train.data.plan_file import SCHEMA as PLAN_SCHEMA
from stiv_train.data.plan_file import hash_table, write_file
from stiv_train.ledger import ledger_table

NAME = "captioned.mp4"
WHEN = "2026-01-02T03:04:05Z"
SMALL = ("plan.part_sources=2", "export.shard_samples=2", "features.text.enabled=false")


def stiv(*arguments: object) -> int:
    return run_stiv([str(a) for a in arguments])


class Death(BaseException):
    """Stands for the power cord: nothing of ours handles it."""


@pytest.fixture(scope="module")
def own_videos(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos that a test may add to and take away from."""
    folder = tmp_path_factory.mktemp("own") / "videos"
    shutil.copytree(videos, folder)
    return folder


@pytest.fixture(scope="module")
def made(own_videos: Path, tmp_path_factory: pytest.TempPathFactory, run: Any) -> Path:
    """A corpus of two parts and two tars, with a report and a record that names a source. Do not write to it."""
    out = tmp_path_factory.mktemp("made") / "c"
    run(out, own_videos, settings=SMALL)
    corpus = Corpus.open(out)
    rows = source_of(out, NAME)
    note = {"notes": [f"{rows['uri']}: odd", "something else"], "counts": {rows["source_id"]: 1, "clips": 4}}
    corpus.store.commit_bytes("runs/20250101T000000Z-abcdef.json", json.dumps(note).encode())
    answers = [{"clip_id": c, "answer": "A patchwork."} for c in clips_of(out)]
    lines = "".join(json.dumps(a) + "\n" for a in answers)
    corpus.store.commit_bytes("answers/model/answers.jsonl", lines.encode())
    corpus.store.commit_table("answers/model/more.parquet", pa.Table.from_pylist(answers))
    corpus.store.commit_bytes("report.html", b"thumbnails")
    return out


@pytest.fixture
def corpus(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "c"))


@pytest.fixture(autouse=True)
def _at_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget_command, "_now", lambda: WHEN)


def rows_of(out: Path, table: str) -> list[dict[str, Any]]:
    """All rows of a scan's table, or of the default variant of another."""
    files = sorted(out.glob(f"{table}/part-*.parquet")) or sorted(out.glob(f"{table}/default/*.parquet"))
    return [row for path in files for row in pq.read_table(path, partitioning=None).to_pylist()]


def source_of(out: Path, rel_path: str) -> dict[str, Any]:
    return next(row for row in rows_of(out, "sources") if row["rel_path"] == rel_path)


def clips_of(out: Path, rel_path: str | None = None) -> dict[str, dict[str, Any]]:
    source = None if rel_path is None else source_of(out, rel_path)["source_id"]
    return {r["clip_id"]: r for r in rows_of(out, "clips") if source in (None, r["source_id"])}


def stills_of(out: Path) -> dict[str, list[bytes]]:
    """Clip → its JPEGs, by the byte ranges of `clips`."""
    found = {}
    for path in sorted(out.glob("sources/part-*.parquet")):
        tar = out / "stills" / f"{path.stem}.tar"
        for row in pq.read_table(out / "clips" / path.name, partitioning=None).to_pylist():
            places = zip(row["stills_offset"], row["stills_size"], strict=True)
            found[row["clip_id"]] = [tar.read_bytes()[o : o + s] for o, s in places]
    return found


def samples_of(out: Path) -> dict[str, bytes]:
    """Clip → its exported .mp4, by the byte ranges of the index."""
    found = {}
    for path in sorted(out.glob("shards/default/[0-9]*.parquet")):
        tar = path.with_suffix(".tar").read_bytes()
        for row in pq.read_table(path, partitioning=None).to_pylist():
            assert row["shard"] == path.stem
            found[row["clip_id"]] = tar[row["byte_offset"] : row["byte_offset"] + row["byte_size"]]
    return found


def everything(out: Path) -> dict[str, bytes]:
    """Every file with its content; of tables also what they say."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.is_file():
            said = repr(pq.read_table(path, partitioning=None).to_pylist()) if path.suffix == ".parquet" else ""
            found[path.relative_to(out).as_posix()] = path.read_bytes() + said.encode()
    return found


def files(out: Path) -> dict[str, bytes]:
    return {
        p.relative_to(out).as_posix(): p.read_bytes()
        for p in sorted(out.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


# What is gone, and what stays ------------------------------------------------------------------------------------------


def test_vectors_that_the_semantic_search_remembers_go_as_well(
    corpus: Path, own_videos: Path, run: Any, tmp_path: Path
) -> None:
    """They lie beside the tables, a file for each part, without a name of a clip in them."""
    import numpy as np

    settings = (*SMALL, "dedup.semantic.enabled=true", "dedup.semantic.min_cosine=1")
    run(corpus, settings=settings, stages=ALL_STAGES[1:], name="alike")
    looks = corpus / "duplicates/alike/looks"
    part = next(
        i
        for i in Corpus.open(corpus).parts()
        if NAME in {r["rel_path"] for r in Corpus.open(corpus).read("plan", i).to_pylist()}
    )
    mine = looks / f"part-{part:06d}.f16"
    others = {path for path in looks.glob("*.f16") if path != mine}
    wanted = {
        np.asarray(row["embedding"], np.float16).tobytes()
        for row in Corpus.open(corpus).read("embeddings", part, "default").to_pylist()
        if row["clip_id"] in clips_of(corpus, NAME)
    }
    assert wanted
    assert all(vector in mine.read_bytes() for vector in wanted)
    assert others
    assert stiv("forget", corpus, "--source", NAME, "--yes") == 0
    assert not mine.exists()
    assert others == set(looks.glob("*.f16"))
    assert not any(vector in data for data in files(corpus).values() for vector in wanted)


def test_nothing_of_it_is_left(corpus: Path) -> None:
    source, clips = source_of(corpus, NAME), clips_of(corpus, NAME)
    pictures = [picture for clip in clips for picture in stills_of(corpus)[clip]]
    cut = [samples_of(corpus)[clip] for clip in clips]
    words = [source["uri"], source["rel_path"], source["source_id"], *clips]
    before = everything(corpus)
    assert pictures
    assert cut
    for what in (*words, *pictures, *cut):
        data = what.encode() if isinstance(what, str) else what
        assert any(data in content for content in before.values())
    assert stiv("forget", corpus, "--source", source["uri"], "--yes") == 0
    for path, content in everything(corpus).items():
        for what in (*words, *pictures, *cut):
            data = what.encode() if isinstance(what, str) else what
            assert data not in content or (path == "forgotten.json" and what == source["source_id"]), (path, what)
    assert source["sha256"].encode() in (corpus / "forgotten.json").read_bytes()
    assert not (corpus / "report.html").exists()
    assert not (corpus / "forget.json").exists()


def test_everything_else_is_as_it_was(corpus: Path, made: Path) -> None:
    gone = set(clips_of(corpus, NAME))
    assert stiv("forget", corpus, "--source", NAME, "--yes") == 0
    for table in ("clips", "selections", "captions", "checks", "decisions", "features/embeddings"):
        left = [{**r, "stills_offset": 0} for r in rows_of(made, table) if r["clip_id"] not in gone]
        assert [{**r, "stills_offset": 0} for r in rows_of(corpus, table)] == left
    for table in ("plan", "sources"):
        assert rows_of(corpus, table) == [r for r in rows_of(made, table) if r["rel_path"] != NAME]
    assert stills_of(corpus) == {c: s for c, s in stills_of(made).items() if c not in gone}
    assert samples_of(corpus) == {c: s for c, s in samples_of(made).items() if c not in gone}
    record = json.loads((corpus / "runs/20250101T000000Z-abcdef.json").read_text())
    assert record == {"notes": ["(forgotten)", "something else"], "counts": {"(forgotten)": 1, "clips": 4}}
    lines = (corpus / "answers/model/answers.jsonl").read_text().splitlines()
    assert {json.loads(line)["clip_id"] for line in lines} == set(clips_of(made)) - gone
    assert pq.read_table(corpus / "answers/model/more.parquet").num_rows == len(lines)
    names = {p.name for p in made.glob("shards/default/*.tar")}
    assert names - {p.name for p in corpus.glob("shards/default/*.tar")}  # no tar has other bytes under its old name
    for path in corpus.glob("shards/default/*.tar"):
        assert path.name not in names or path.read_bytes() == (made / "shards/default" / path.name).read_bytes()


@pytest.mark.slow
def test_as_if_it_had_never_been_there(own_videos: Path, tmp_path: Path, run: Any, tree: Any) -> None:
    """One part, one tar: the same bytes as a corpus that was made without it."""
    folder = tmp_path / "v"
    folder.mkdir()
    for name in (NAME, "two_shots.mp4"):
        shutil.copy(own_videos / name, folder)
    settings = ("features.text.enabled=false",)
    run(tmp_path / "c", folder, settings=settings)
    assert stiv("forget", tmp_path / "c", "--source", NAME, "--yes") == 0
    (folder / NAME).unlink()
    run(tmp_path / "other", folder, settings=settings)
    found, wanted = tree(tmp_path / "c"), tree(tmp_path / "other")
    shards = {p for p in {*found, *wanted} if p.startswith("shards/default/0") or p == "shards/default/plan.parquet"}
    shards |= {p for p in wanted if "/looks/" in p}  # made again when they are needed
    assert {p: h for p, h in found.items() if p not in shards} == {
        "forgotten.json": found["forgotten.json"],
        **{p: h for p, h in wanted.items() if p not in shards},
    }
    assert found["shards/default/000001.tar"] == wanted["shards/default/000000.tar"]


def test_same_content_under_another_name_goes_too(
    own_videos: Path, tmp_path: Path, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    for name in (NAME, "twin.mp4"):
        shutil.copy(own_videos / NAME, folder / name)
    shutil.copy(own_videos / "two_shots.mp4", folder)
    run(tmp_path / "c", folder, stages=("scan",))
    assert stiv("forget", tmp_path / "c", "--source", "twin.mp4", "--yes") == 0
    assert f"{NAME} (the same content under another name)" in capsys.readouterr().out
    assert [r["rel_path"] for r in rows_of(tmp_path / "c", "sources")] == ["two_shots.mp4"]


# Killed anywhere -------------------------------------------------------------------------------------------------------


def die_at(patch: pytest.MonkeyPatch, number: int) -> list[str]:
    """Die before the change of that number, counted from 0; gives the list of changes, which grows."""
    done: list[str] = []
    for name in ("commit_bytes", "commit_file", "commit_table", "move", "remove"):
        real = getattr(Store, name)

        def change(self: Store, path: str, *rest: Any, _real: Any = real, _name: str = name) -> None:
            if _name != "commit_table":  # it is made of commit_bytes
                if len(done) == number:
                    raise Death
                done.append(f"{_name} {path}")
            _real(self, path, *rest)

        patch.setattr(Store, name, change)
    return done


@pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_every_change(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """Taken up again, it ends with the same bytes; and in between nobody sees a wrong picture or sample."""
    whole = Path(shutil.copytree(made, tmp_path / "whole"))
    with monkeypatch.context() as patch:
        changes = die_at(patch, 10**6)
        forget_it(whole)
    want, pictures, samples = files(whole), stills_of(made), samples_of(made)
    assert len(changes) > 20
    for number in range(every // 2, len(changes), every):
        out = Path(shutil.copytree(made, tmp_path / "c"))
        with monkeypatch.context() as patch:
            die_at(patch, number)
            with pytest.raises(Death):
                forget_it(out)
        assert all(pictures[clip] == found for clip, found in stills_of(out).items()), changes[number]
        assert all(samples[clip] == found for clip, found in samples_of(out).items()), changes[number]
        forget_it(out)
        assert files(out) == want, changes[number]
        shutil.rmtree(out)


def forget_it(out: Path) -> None:
    """What the command does, without its words."""
    corpus = Corpus.open(out)
    begun = forgetting.begun(corpus.store)
    if begun is None:
        begun = forgetting.begin(corpus, forgetting.foresee(corpus, find(corpus, [NAME]).items, WHEN))
    forgetting.finish(corpus, begun)


def test_others_wait_until_it_is_finished(
    corpus: Path, own_videos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        die_at(patch, 12)
        with pytest.raises(Death):
            stiv("forget", corpus, "--source", "captioned*", "--yes")
    sets = [x for s in SMALL for x in ("--set", s)]
    capsys.readouterr()
    for command in (("curate", own_videos, "--out", corpus, *sets), ("judge", corpus), ("retry", corpus)):
        assert stiv(*command) == 2
        assert "Finish it first: stiv forget" in capsys.readouterr().err
    twin = shutil.copytree(corpus, corpus.with_name("twin"))
    assert stiv("forget", corpus, "--source", "captioned*", "--yes") == 0
    assert "Finishing what was begun before" in capsys.readouterr().out
    assert stiv("forget", twin) == 0  # no need to say again what
    assert files(twin) == files(corpus)
    assert NAME not in {r["rel_path"] for r in rows_of(corpus, "sources")}


def die_before(patch: pytest.MonkeyPatch, place: str) -> None:
    for name in ("commit_bytes", "commit_file"):
        real = getattr(Store, name)

        def commit(self: Store, path: str, *rest: Any, _real: Any = real) -> None:
            if path.startswith(place):
                raise Death
            _real(self, path, *rest)

        patch.setattr(Store, name, commit)


@pytest.mark.parametrize("place", ["clips/part-000000", "shards/default/000000.tar"])
def test_unfinished_work_goes_too(
    own_videos: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Killed before the scan's tables, or before a tar: what waits in scratch names the source and shows it."""
    out, stages = tmp_path / "c", ("scan",) if place.startswith("clips") else ALL_STAGES
    settings = ("features.text.enabled=false",)
    with monkeypatch.context() as patch:
        die_before(patch, place)
        with pytest.raises(Death):
            run(out, own_videos, settings=settings, stages=stages)
    uri = str(own_videos / NAME)
    assert any(uri.encode() in content for content in everything(out).values())
    assert stiv("forget", out, "--source", uri, "--yes") == 0
    for path, content in everything(out).items():
        assert uri.encode() not in content, path
        assert NAME.encode() not in content, path
    run(out, own_videos, settings=settings, stages=stages)
    assert {r["rel_path"] for r in rows_of(out, "sources")} == {"two_shots.mp4", "sub/third one.mkv", "sub/empty.mp4"}
    assert stages == ("scan",) or set(samples_of(out)) == set(clips_of(out))


def test_on_object_storage(corpus: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No local folder, no renames: the same bytes in the end."""
    local = Path(shutil.copytree(made, tmp_path / "local"))
    assert stiv("forget", local, "--source", NAME, "--yes") == 0
    monkeypatch.setenv("STIV_SCRATCH", str(tmp_path / "scratch"))
    remote = Corpus.open(corpus)
    remote.store.local = None
    forgetting.finish(remote, forgetting.begin(remote, forgetting.foresee(remote, find(remote, [NAME]).items, WHEN)))
    assert files(corpus) == files(local)


# Afterwards ------------------------------------------------------------------------------------------------------------


def test_it_does_not_come_back(corpus: Path, own_videos: Path, tmp_path: Path, run: Any) -> None:
    """Neither from the same folder, nor touched, nor under another name; new videos come into tars with new numbers."""
    folder, out = tmp_path / "v", tmp_path / "c2"
    folder.mkdir()
    for name in (NAME, "two_shots.mp4"):
        shutil.copy(own_videos / name, folder)
    run(out, folder, settings=SMALL)
    tars = {p.name for p in out.glob("shards/default/*.tar")}
    assert stiv("forget", out, "--source", NAME, "--yes") == 0
    gone_tars = tars - {p.name for p in out.glob("shards/default/*.tar")}
    after = files(out)
    run(out, folder, settings=SMALL)
    assert files(out) == after
    (folder / NAME).touch()
    run(out, folder, settings=SMALL)
    assert files(out) == after
    shutil.copy(folder / NAME, folder / "other name.mp4")
    shutil.copy(folder / "two_shots.mp4", folder / "copy.mp4")
    before = samples_of(out)
    run(out, folder, settings=SMALL)
    assert source_of(out, "other name.mp4")["error_code"] == "forgotten"
    assert not clips_of(out, "other name.mp4")
    now = samples_of(out)
    assert {c: now[c] for c in before} == before
    assert {p: c for p, c in files(out).items() if p in after and p.endswith(".tar")} == {
        p: c for p, c in after.items() if p.endswith(".tar")
    }
    assert not {p.name for p in out.glob("shards/default/*.tar")} & gone_tars
    plan = pq.read_table(out / "shards/default/plan.parquet").to_pylist()
    assert {r["shard"]: 1 for r in plan}.keys() == {p.stem for p in out.glob("shards/default/*.tar")}
    with tarfile.open(sorted(out.glob("shards/default/*.tar"))[-1]) as tar:
        assert not any(name.startswith(tuple(clips_of(corpus, NAME))) for name in tar.getnames())


def test_duplicates_of_it_come_back(corpus: Path, own_videos: Path, run: Any) -> None:
    """The best of those that are left takes the place of the kept clip; the others stay out in its favour."""
    kept, *_ = clips_of(corpus, NAME)
    drop = ("select.duplicates=duplicate_of IS NOT NULL",)
    others = clips_of(corpus)
    best, *rest = sorted(
        (c for c in others if c != kept),
        key=lambda c: (
            -others[c]["width"] * others[c]["height"] * (others[c]["sharpness"] or 0.5),
            -others[c]["duration_s"],
            c,
        ),
    )
    for path in corpus.glob("duplicates/default/part-*.parquet"):
        part = int(path.stem[5:])
        ids = pq.read_table(corpus / "clips" / path.name, partitioning=None)["clip_id"].to_pylist()
        rows = [
            {
                "clip_id": c,
                "duplicate_cluster": kept,
                "duplicate_of": None if c == kept else kept,
                "duplicate_kind": "near",
                "duplicate_similarity": 0.9,
            }
            for c in ids
        ]
        Corpus.open(corpus).write("duplicates", part, rows, "default")
    later = ("select", "caption", "check", "judge", "export")
    run(corpus, settings=(*SMALL, *drop), stages=later, replace=True)
    assert set(samples_of(corpus)) == {kept}
    assert stiv("forget", corpus, "--source", NAME, "--yes") == 0
    assert not samples_of(corpus)
    found = {r["clip_id"]: r for r in rows_of(corpus, "duplicates")}
    assert {c: (r["duplicate_cluster"], r["duplicate_of"]) for c, r in found.items()} == {
        best: (best, None),
        **dict.fromkeys(rest, (best, best)),
    }
    run(corpus, settings=(*SMALL, *drop), stages=later)
    assert set(samples_of(corpus)) == {best}
    assert len(rows_of(corpus, "decisions")) == len(found)


# Training runs ---------------------------------------------------------------------------------------------------------


def fake_run(folder: Path, out: Path, steps: list[list[int]]) -> None:
    """A run folder whose data plan has all samples of a corpus, and a ledger."""
    (folder / "ledger").mkdir(parents=True)
    (folder / "checkpoints" / "step-00000003").mkdir(parents=True)
    (folder / "checkpoints" / "step-00000003" / "state.json").write_text("{}")
    sources = {r["source_id"]: r["uri"] for r in rows_of(out, "sources")}
    clips = clips_of(out)
    rows = [
        {
            **{f.name: 1 for f in PLAN_SCHEMA if not pa.types.is_string(f.type)},
            "clip_id": c,
            "source_id": clips[c]["source_id"],
        }
        | {"uri": sources[clips[c]["source_id"]], "shard": "000000", "shard_key": c, "caption": "", "validation": False}
        for c in sorted(clips)
    ]
    table = pa.Table.from_pylist(rows, schema=PLAN_SCHEMA)
    write_file(folder / "data_plan.arrow", table.to_batches())
    facts = {"format": 1, "order": {}, "hash": hash_table(table, {})}
    (folder / "data_plan.json").write_text(json.dumps(facts))
    (folder / "run.json").write_text(json.dumps({"format": 1}))
    import numpy as np

    seen = np.array([(step, place, row) for step, some in enumerate(steps, 1) for place, row in enumerate(some)])
    pq.write_table(ledger_table(seen, 1, len(steps)), folder / "ledger" / "part-00000001.parquet")


def test_training_runs_that_saw_it_are_listed(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone, *_ = clips_of(corpus, NAME)
    row = sorted(clips_of(corpus)).index(gone)
    other = (row + 1) % len(clips_of(corpus))
    fake_run(tmp_path / "runs" / "a", corpus, [[other, row], [other], [row, row]])
    fake_run(tmp_path / "runs" / "deep" / "b", corpus, [[other]])
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "run.json").write_text("{")
    before = files(tmp_path / "runs")
    command = ("forget", corpus, "--source", NAME, "--runs", tmp_path / "runs", "--json")
    for more in (("--dry-run",), ("--yes",), ("--yes",)):  # the last time all is forgotten already: by the hash
        assert stiv(*command, *more) == 0
        told = {Path(r["run"]).name: r for r in json.loads(capsys.readouterr().out)["runs"]}
        assert told["a"]["error"] is None
        assert told["a"]["visits"] == 3
        assert told["a"]["steps"] == [1, 3]
        assert told["a"]["clips"] == 1
        assert len(told["a"]["plan"]) == 64
        assert told["b"]["visits"] == 0
        assert "no data plan" in told["broken"]["error"]
    assert files(tmp_path / "runs") == before
    assert stiv(*command[:-1], "--yes") == 0
    text = capsys.readouterr().out
    assert "seen 3 times, in steps 1, 3" in text
    assert "was forgotten on 2026-01-02" in text
    assert "Runs are left as they are" in text


# The command -----------------------------------------------------------------------------------------------------------


def test_dry_run_changes_nothing_and_tells_all(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(corpus)
    clips = clips_of(corpus, NAME)
    assert stiv("forget", corpus, "--source", NAME, "--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert files(corpus) == before
    assert told["done"] is False
    assert [s["rel_path"] for s in told["sources"]] == [NAME]
    assert told["clips"] == len(clips) == told["rows"]["clips"] == told["rows"]["captions default"]
    assert told["seconds"] == pytest.approx(sum(c["duration_s"] for c in clips.values()))
    assert told["still_bytes"] == sum(sum(c["stills_size"]) for c in clips.values())
    assert told["samples"] == {"default": len(clips)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("captoined.mp4", "Did you mean `captioned.mp4`"),
        ("sub", "It is a folder with 2 of them: --source 'sub/*'"),
        ("zzz", "Give a source's path"),
    ],
)
def test_what_is_not_there_is_an_error(corpus: Path, capsys: pytest.CaptureFixture[str], text: str, says: str) -> None:
    before = files(corpus)
    assert stiv("forget", corpus, "--source", NAME, "--source", text, "--yes") == 2
    error = capsys.readouterr().err
    assert f"There is no source `{text}`" in error
    assert says in error
    assert files(corpus) == before


def test_nobody_to_ask(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(corpus)
    assert stiv("forget", corpus, "--source", NAME) == 2
    assert "give --yes" in capsys.readouterr().err
    assert stiv("forget", corpus, "--yes") == 2
    assert "Give --source or --list" in capsys.readouterr().err
    assert files(corpus) == before


def test_many_by_a_list_a_pattern_and_an_id(corpus: Path, tmp_path: Path) -> None:
    wanted = tmp_path / "list.txt"
    wanted.write_text(f"# these\n{source_of(corpus, NAME)['source_id']}\n\nsub/*\n")
    assert stiv("forget", corpus, "--list", wanted, "--yes") == 0
    assert [r["rel_path"] for r in rows_of(corpus, "sources")] == ["two_shots.mp4"]
    assert stiv("forget", corpus, "--list", tmp_path / "none.txt", "--yes") == 2


def test_asked_on_a_terminal(corpus: Path) -> None:
    """The terminal itself is asked: standard input is closed for every command."""
    import pty

    words = ["-m", "pipelines.cli.main", "forget", str(corpus), "--source", NAME]
    before = files(corpus)
    for answer, code in (("n", 130), ("y", 0)):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(sys.executable, [sys.executable, *words])
        said = b""
        try:
            while chunk := os.read(terminal, 4096):
                said += chunk
                if b"[y/N]" in said and answer:
                    os.write(terminal, f"{answer}\n".encode())
                    answer = ""
        except OSError:  # the end of a terminal
            pass
        finally:
            os.close(terminal)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == code, said.decode()
        assert (files(corpus) == before) == (code == 130)
    assert NAME not in {r["rel_path"] for r in rows_of(corpus, "sources")}
