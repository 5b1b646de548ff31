"""The main job on small generated videos: what is in the shards, what a second run does, what growth and changes do."""

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
import webdataset

from curation.corpus import Corpus
from curation.golden.draw import texture, window
from curation.golden.encode import encode
from schemas.errors import StivError, UsageError, VariantError
from schemas.tables import TABLES


def read_all(corpus: Path, pattern: str) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(p) for p in sorted(corpus.glob(pattern))], ignore_index=True)


def test_every_video_becomes_clips_and_the_broken_one_a_row(straight: Path) -> None:
    sources = read_all(straight, "sources/*.parquet").set_index("rel_path")
    clips = read_all(straight, "clips/*.parquet")
    assert sources["status"].to_dict() == {
        "two_shots.mp4": "ok",
        "captioned.mp4": "ok",
        "sub/third one.mkv": "ok",
        "sub/empty.mp4": "error",
    }
    assert sources.loc["sub/empty.mp4", "error_code"] == "empty_file"
    counts = clips["source_id"].map(sources.reset_index().set_index("source_id")["rel_path"]).value_counts().to_dict()
    assert counts == {"two_shots.mp4": 2, "captioned.mp4": 1, "sub/third one.mkv": 1}
    assert (clips["end_frame"] - clips["start_frame"] == clips["num_frames"]).all()
    assert clips["clip_id"].is_unique


def test_transition_is_found_and_clips_keep_clear_of_it(straight: Path) -> None:
    transitions = read_all(straight, "transitions/*.parquet")
    assert transitions[["start_frame", "end_frame", "kind"]].to_numpy().tolist() == [[36, 36, "cut"]]
    clips = read_all(straight, "clips/*.parquet")
    two = clips[clips["source_id"] == transitions["source_id"][0]].sort_values("start_frame")
    assert two[["start_frame", "end_frame"]].to_numpy().tolist() == [[0, 34], [36, 72]]


def test_each_sample_is_what_the_index_says(straight: Path) -> None:
    tars = sorted(straight.glob("shards/default/*.tar"))
    assert tars
    for tar in tars:
        index = pd.read_parquet(tar.with_suffix(".parquet")).set_index("shard_key")
        data = tar.read_bytes()
        seen = []
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False):
            row = index.loc[sample["__key__"]]
            seen.append(sample["__key__"])
            assert data[row.byte_offset : row.byte_offset + row.byte_size] == sample["mp4"]
            assert hashlib.sha256(sample["mp4"]).hexdigest() == row.sha256
            with av.open(io.BytesIO(sample["mp4"])) as container:
                frames = list(container.decode(video=0))
            assert len(frames) == row.num_frames == row.end_frame - row.start_frame
            assert (frames[0].width, frames[0].height) == (row.width, row.height)
            assert sample["txt"].decode() == row.caption
            facts = json.loads(sample["json"])
            assert facts["clip_id"] == row.clip_id
            assert facts["num_frames"] == row.num_frames
        assert seen == sorted(seen)
        assert set(seen) == set(index.index)


def test_side_car_caption_is_used_and_others_are_described(straight: Path) -> None:
    captions = read_all(straight, "captions/default/*.parquet")
    assert sorted(captions["captioner"]) == ["describe", "describe", "describe", "sidecar"]
    text = captions.set_index("captioner").loc["sidecar", "caption"]
    assert text == "A patchwork of colours slides slowly past the camera."


def test_tables_have_exactly_the_documented_columns(straight: Path) -> None:
    places = {"plan": "plan", "sources": "sources", "transitions": "transitions", "clips": "clips"}
    places |= {t: f"{t}/default" for t in ("selections", "captions", "decisions")} | {"text": "features/text/default"}
    for table, folder in places.items():
        path = str(straight / folder / "part-000000.parquet")
        assert pq.read_schema(path).equals(TABLES[table].arrow), table
        assert list(pd.read_parquet(path).columns) == TABLES[table].names
        described = duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
        assert [row[0] for row in described] == TABLES[table].names
        assert duckdb.sql(f"SELECT count(*) FROM '{path}'").fetchall() == [(len(pd.read_parquet(path)),)]
    index = next((straight / "shards/default").glob("0*.parquet"))
    assert list(pd.read_parquet(index).columns) == TABLES["shards"].names


def test_stills_are_where_the_clips_say(straight: Path) -> None:
    tar = (straight / "stills/part-000000.tar").read_bytes()
    clips = read_all(straight, "clips/*.parquet")
    for row in clips.itertuples():
        assert len(row.stills_frame) == 4 or row.duration_s > 4
        for frame, offset, size in zip(row.stills_frame, row.stills_offset, row.stills_size, strict=True):
            assert row.start_frame <= frame < row.end_frame
            assert tar[offset : offset + 3] == b"\xff\xd8\xff"
            assert tar[offset + size - 2 : offset + size] == b"\xff\xd9"


def test_no_nan_in_any_table(straight: Path) -> None:
    for path in straight.rglob("*.parquet"):
        for name, column in zip(pq.read_schema(path).names, pq.read_table(path).columns, strict=True):
            if str(column.type) in ("float", "double"):
                assert not any(v != v for v in column.to_pylist() if v is not None), f"{path.name} {name}"


def test_second_run_does_nothing(straight: Path, videos: Path, tmp_path: Path, run: Any, tree: Any) -> None:
    out = tmp_path / "c"
    shutil.copytree(straight, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name != ".lock"}
    outcome, counts = run(out, videos)
    assert not outcome.worked
    assert counts.sources == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name != ".lock"} == before


def test_new_inputs_become_new_parts_and_old_ones_stay(
    straight: Path, videos: Path, tmp_path: Path, run: Any, tree: Any
) -> None:
    out, more = tmp_path / "c", tmp_path / "more"
    shutil.copytree(straight, out)
    before = tree(out)
    more.mkdir()
    big = texture(512, 256, 9)
    encode((window(big, 8 + 2.5 * i, 8, 320, 240) for i in range(36)), more / "new.mp4", 12)
    run(out, more)
    after = tree(out)
    changed = {p for p in before if after[p] != before[p]}
    assert changed == {"plan/parts.json", "duplicates/default/groups.json", "shards/default/plan.parquet"}
    assert "shards/default/000001.tar" in after
    assert "sources/part-000001.parquet" in after


def test_stage_by_stage_gives_the_same_bytes(straight: Path, videos: Path, tmp_path: Path, run: Any, tree: Any) -> None:
    out = tmp_path / "c"
    for number, stage in enumerate(("scan", "features", "dedup", "select", "caption", "check", "judge", "export")):
        run(out, videos if number == 0 else None, stages=(stage,))
    assert tree(out) == tree(straight)


def test_one_child_or_three_give_the_same_bytes(
    straight: Path, videos: Path, tmp_path: Path, run: Any, tree: Any
) -> None:
    run(tmp_path / "c", videos, jobs=1)
    assert tree(tmp_path / "c") == tree(straight)
    run(tmp_path / "d", videos, jobs=3)
    assert tree(tmp_path / "d") == tree(straight)


def test_stages_ask_for_what_they_need(straight: Path, tmp_path: Path, videos: Path, run: Any) -> None:
    out = tmp_path / "c"
    shutil.copytree(straight, out)
    (out / "sources").rename(tmp_path / "sources")
    with pytest.raises(UsageError, match="`scan`"):
        run(out, stages=("select",), name="other")
    (tmp_path / "sources").rename(out / "sources")
    shutil.rmtree(out / "features")
    with pytest.raises(VariantError, match="text") as caught:
        run(out, stages=("select",), name="other")
    assert "features.text.enabled=false" in caught.value.fix
    shutil.rmtree(out / "captions")
    with pytest.raises(VariantError, match="captions"):
        run(out, stages=("judge",), name="other")


def test_other_thresholds_need_a_name_or_replace(straight: Path, tmp_path: Path, run: Any, tree: Any) -> None:
    out = tmp_path / "c"
    shutil.copytree(straight, out)
    strict = ("select.still=motion < 5",)
    with pytest.raises(VariantError, match=r"^`select\.still` differs") as caught:
        run(out, settings=strict)
    assert "--replace" in caught.value.fix
    before = tree(out)
    _, counts = run(out, settings=strict, name="strict")
    assert counts.sources == 0  # nothing is scanned again
    assert {p: h for p, h in tree(out).items() if p in before} == before
    kept = {name: int(read_all(out, f"decisions/{name}/*.parquet")["kept"].sum()) for name in ("default", "strict")}
    assert 0 < kept["strict"] < kept["default"]
    reasons = set(read_all(out, "decisions/strict/*.parquet")["reason"].dropna())
    assert reasons == {"still"}
    # The clips that both keep were copied from the finished shard, not cut again.
    assert (
        counts.cut == {"encode": kept["strict"]}
        or counts.cut == {"copy": kept["strict"]}
        or counts.resumed_cuts == kept["strict"]
    )
    assert counts.export_frames == 0


def test_replace_switches_and_leaves_what_a_fresh_run_makes(
    straight: Path, videos: Path, tmp_path: Path, run: Any, tree: Any
) -> None:
    out, fresh = tmp_path / "c", tmp_path / "d"
    shutil.copytree(straight, out)
    strict = ("select.still=motion < 5",)
    run(out, settings=strict, replace=True)
    run(fresh, videos, settings=strict)
    assert tree(out) == tree(fresh)
    assert not list(out.rglob(".new-*"))


def test_percentile_is_worked_out_once_from_the_corpus(straight: Path, tmp_path: Path, run: Any) -> None:
    out = tmp_path / "c"
    shutil.copytree(straight, out)
    run(out, settings=("select.slowest=motion < percentile(motion, 50)",), name="half")
    clips = read_all(out, "clips/*.parquet")
    selected = read_all(out, "selections/half/*.parquet").set_index("clip_id")["selected"]
    numbers = json.loads((out / "selections/half/variant.json").read_text())["resolved"]["percentiles"]
    (value,) = numbers.values()
    assert value == pytest.approx(clips["motion"].quantile(0.5), rel=1e-3)
    assert selected.sum() == (clips["motion"] >= value).sum() == 2


def test_vanished_source_costs_only_its_clips_and_only_until_it_is_back(
    videos: Path, straight: Path, tmp_path: Path, run: Any, tree: Any
) -> None:
    copy, out = tmp_path / "v", tmp_path / "c"
    shutil.copytree(videos, copy)
    run(out, copy, stages=("scan", "features", "dedup", "select", "caption", "check", "judge"))
    (copy / "captioned.mp4").rename(tmp_path / "away.mp4")
    two_shots = (copy / "two_shots.mp4").read_bytes()
    (copy / "two_shots.mp4").write_bytes((copy / "sub" / "third one.mkv").read_bytes())
    _, counts = run(out, stages=("export",))
    failed = pd.read_parquet(next((out / "shards/default").glob("*.failed.parquet")))
    assert sorted(failed["error_code"]) == ["changed", "changed", "not_found"]
    assert len(counts.failed_cuts) == 3
    assert len(read_all(out, "shards/default/0*0.parquet")) == 1
    before = tree(out)
    _, counts = run(out, stages=("export",))  # still away: tried again, said again, nothing touched
    assert len(counts.failed_cuts) == 3
    assert tree(out) == before
    (tmp_path / "away.mp4").rename(copy / "captioned.mp4")
    _, counts = run(out, stages=("export",))  # one of them is back: each clip is told once
    assert len(counts.failed_cuts) == counts.cut["failed"] == 2
    assert counts.cut.total() - counts.resumed_cuts == 3
    (copy / "two_shots.mp4").write_bytes(two_shots)
    _, counts = run(out, stages=("export",))
    assert not counts.failed_cuts
    assert {p: h for p, h in tree(out).items() if "shards" in p} == {
        p: h for p, h in tree(straight).items() if "shards" in p
    }


def test_corpus_knows_its_environment(straight: Path) -> None:
    assert Corpus.open(straight).environment_changes() == []


@pytest.mark.ray
def test_ray_makes_the_same_bytes(
    straight: Path, videos: Path, tmp_path: Path, run: Callable[..., Any], tree: Any
) -> None:
    out = tmp_path / "c"
    outcome, counts = run(out, videos, executor="ray")
    assert outcome.worked
    assert counts.sources == 4  # events of all workers arrived
    assert tree(out) == tree(straight)


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_decoder_threads_do_not_show(videos: Path, tmp_path: Path, share: float) -> None:
    """One long file may be decoded by several threads; what is found must not tell, cut short or not."""
    from curation.scan import scan_source
    from schemas.recipe import Scan

    data = (videos / "sub" / "third one.mkv").read_bytes()
    path = tmp_path / "a.mkv"
    path.write_bytes(data[: int(share * len(data))])
    found = []
    for threads in (1, 2, 4):
        with open(tmp_path / "stills", "w+b") as stills:
            result = scan_source(path, "s", Scan(), stills, threads=threads)
            stills.seek(0)
            found.append((result.source, result.transitions, result.clips, stills.read()))
    assert found[0] == found[1] == found[2]
    assert (found[0][0]["status"] == "ok") == (share == 1.0)


def test_content_that_comes_back_is_not_planned_again(videos: Path, tmp_path: Path, run: Any) -> None:
    folder, out = tmp_path / "v", tmp_path / "c"
    folder.mkdir()
    path = folder / "a.mp4"
    first, second = (videos / "captioned.mp4").read_bytes(), (videos / "two_shots.mp4").read_bytes()
    for content in (first, second, first):
        path.write_bytes(content)
        run(out, folder)
    assert Corpus.open(out).parts() == [0, 1]
    plan = pd.read_parquet(out / "shards/default/plan.parquet")
    assert plan["clip_id"].is_unique


def test_source_that_was_missing_is_planned_when_it_is_there(videos: Path, tmp_path: Path, run: Any) -> None:
    (tmp_path / "list.txt").write_text("late.mp4\n")
    out = tmp_path / "c"
    run(out, tmp_path / "list.txt")
    assert list(read_all(out, "sources/*.parquet")["error_code"]) == ["not_found"]
    shutil.copy(videos / "captioned.mp4", tmp_path / "late.mp4")
    run(out, tmp_path / "list.txt")
    assert list(read_all(out, "sources/*.parquet")["status"]) == ["error", "ok"]


def test_retry_plans_what_may_have_passed_and_nothing_else(videos: Path, tmp_path: Path, run: Any) -> None:
    from curation.planning import retry_failed

    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "list.txt").write_text("late.mp4\nempty.mp4\n")
    out = tmp_path / "c"
    run(out, tmp_path / "list.txt")
    shutil.copy(videos / "captioned.mp4", tmp_path / "late.mp4")
    assert retry_failed(Corpus.open(out)).new == 1  # an empty file stays empty
    assert retry_failed(Corpus.open(out)).new == 0  # planned, and waiting
    run(out, stages=("scan",))
    assert retry_failed(Corpus.open(out)).new == 0


def test_percentile_before_the_scan_is_refused_and_leaves_nothing(videos: Path, tmp_path: Path, run: Any) -> None:
    out = tmp_path / "c"
    run(out, videos, stages=())
    with pytest.raises(UsageError, match="`scan`"):
        run(out, stages=("select",), settings=("select.slow=motion < percentile(motion, 50)",))
    assert not (out / "selections").exists()


def test_percentile_of_a_source_column_in_any_case(straight: Path, tmp_path: Path, run: Any) -> None:
    out = tmp_path / "c"
    shutil.copytree(straight, out)
    run(out, settings=("select.x=source_duration_s < percentile(SOURCE_DURATION_S, 40)",), name="half")
    assert 0 < read_all(out, "selections/half/*.parquet")["selected"].sum() < 4


def test_export_of_captions_of_another_time_is_refused(straight: Path, tmp_path: Path, run: Any) -> None:
    out = tmp_path / "c"
    shutil.copytree(straight, out)
    strict = ("select.still=motion < 5",)
    run(out, settings=strict, stages=("select",), replace=True)
    run(out, settings=strict, stages=("caption",), replace=True)
    with pytest.raises(UsageError, match="stiv judge"):
        run(out, settings=strict, stages=("export",), name="other")
    assert not (out / "shards" / "other").exists()


def test_settings_of_a_run_that_made_nothing_do_not_stick(videos: Path, tmp_path: Path, run: Any) -> None:
    out = tmp_path / "c"
    with pytest.raises(StivError, match="rule `x`"):
        run(out, videos, settings=("select.x=source_codec = 3",))
    outcome, _ = run(out, videos)
    assert outcome.worked


def test_caption_of_a_manifest_counts_beside_the_folder(videos: Path, tmp_path: Path, run: Any) -> None:
    from curation.listing import list_inputs

    (tmp_path / "m.csv").write_text(f"uri,caption\n{videos / 'two_shots.mp4'},Colours.\n")
    entries = {e.rel_path: e.caption for e in list_inputs([str(videos), str(tmp_path / "m.csv")])}
    assert entries["two_shots.mp4"] == "Colours."
    (tmp_path / "n.csv").write_text(f"uri,caption\n{videos / 'two_shots.mp4'},Others.\n")
    with pytest.raises(UsageError, match="two captions"):
        list_inputs([str(tmp_path / "m.csv"), str(tmp_path / "n.csv")])
