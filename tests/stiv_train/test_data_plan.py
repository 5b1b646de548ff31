"""The data plan: what is trained on, what is left out and why, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from rich.console import Console

from curation import variants
from curation.corpus import Corpus
from pipelines.apps.data_plan_text import print_data_plan
from schemas.errors import RecipeError, StivError, StorageError, UsageError, VariantError
from schemas.tables import CAPTIONS
from schemas.train_recipe import TrainRecipe
from stiv_train.data import plan_file
from stiv_train.data.plan import DataPlan, build_plan, load_plan
from stiv_train.data.plan_report import plan_report, tokens_per_sample

BUCKET = {"frames": 8, "height": 64, "width": 64}


def recipe(**data: Any) -> TrainRecipe:
    return TrainRecipe.model_validate(
        {
            "data": {"stride": 2, "buckets": [BUCKET], "validation_share": 0.1, **data},
            "train": {"batch": 4, "steps": 100},
        }
    )


@pytest.fixture
def mine(shapes_corpus: Corpus, tmp_path: Path) -> Corpus:
    """A copy that a test may damage."""
    shutil.copytree(shapes_corpus.store.uri, tmp_path / "corpus")
    return Corpus.open(tmp_path / "corpus")


def ids(plan: DataPlan) -> list[str]:
    found: list[str] = plan.table["clip_id"].to_pylist()
    return found


def rewrite(corpus: Corpus, path: str, change: Callable[[pa.Table], pa.Table]) -> None:
    corpus.store.commit_table(path, change(corpus.store.read_table(path)))


# What is in it -----------------------------------------------------------------------------------------------------------


def test_rows_lead_to_the_bytes_of_their_clips(shapes_corpus: Corpus) -> None:
    plan = build_plan(shapes_corpus, recipe())
    assert plan.table.schema == plan_file.SCHEMA
    assert plan.table.num_rows == 12
    order = list(zip(plan.table["shard"].to_pylist(), plan.table["byte_offset"].to_pylist(), strict=True))
    assert order == sorted(order)
    assert {shard for shard, _ in order} == {"000000", "000001", "000002"}
    index = {
        r["clip_id"]: r
        for s in ("000000", "000001", "000002")
        for r in shapes_corpus.store.read_table(f"shards/default/{s}.parquet").to_pylist()
    }
    sources = {r["source_id"]: r for r in shapes_corpus.read("sources", 0).to_pylist()}
    for row in plan.table.to_pylist():
        sample = index.pop(row["clip_id"])
        assert {k: row[k] for k in ("shard", "num_frames", "width", "height", "fps", "caption")} == {
            k: sample[k] for k in ("shard", "num_frames", "width", "height", "fps", "caption")
        }
        data = shapes_corpus.store.read_range(
            f"shards/default/{row['shard']}.tar", row["byte_offset"], row["byte_size"]
        )
        assert hashlib.sha256(data).hexdigest() == sample["sha256"]
        assert row["uri"] == sources[row["source_id"]]["uri"]
        assert (row["bucket"], row["weight"]) == (0, 1.0)
    assert not index
    assert plan.facts["left_out"] == {}
    assert plan.facts["train"]["clips"] + plan.facts["validation"]["clips"] == 12
    assert plan.buckets[0].batch == 4


def test_selection_keeps_what_is_true_and_counts_the_unknown(shapes_corpus: Corpus) -> None:
    sql = "CASE WHEN contains(caption, 'circle') THEN true WHEN contains(caption, 'square') THEN false END"
    plan = build_plan(shapes_corpus, recipe(), sql)
    captions = plan.table["caption"].to_pylist()
    assert len(captions) == 4
    assert all("circle" in c for c in captions)
    assert plan.facts["left_out"] == {"not_selected": 4, "select_unknown": 4}
    assert plan.facts["select"] == sql
    assert ids(build_plan(shapes_corpus, recipe(select=sql))) == ids(plan)
    argument = build_plan(shapes_corpus, recipe(select="false"), "shard = '000001' -- only one")
    assert set(argument.table["shard"].to_pylist()) == {"000001"}


def test_columns_of_every_table_may_be_used(shapes_corpus: Corpus) -> None:
    sql = "KEPT AND selection_selected AND source_status = 'ok' AND Motion >= 0 AND caption_words > 3 AND shard_how = 'copy'"
    assert build_plan(shapes_corpus, recipe(), sql).table.num_rows == 12


def test_sizes_in_a_selection_are_the_clips_and_in_the_plan_the_exported(mine: Corpus) -> None:
    def enlarge(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("width")
        wide = pa.array([999] * table.num_rows, pa.int32())
        return table.set_column(place, table.schema.field(place), wide)

    rewrite(mine, mine.path("clips", 0), enlarge)
    plan = build_plan(mine, recipe(weight="width / 999"), "width = 999 AND shard_width = 128")
    assert set(plan.table["width"].to_pylist()) == {128}
    assert set(plan.table["weight"].to_pylist()) == {1.0}


def test_weights_and_why_clips_have_none(shapes_corpus: Corpus) -> None:
    weight = (
        "CASE shard WHEN '000000' THEN 2.5 WHEN '000001' THEN 0 ELSE CASE WHEN contains(caption, 'triangle') THEN -1 "
        "WHEN contains(caption, 'yellow') THEN NULL ELSE CAST('nan' AS DOUBLE) END END"
    )
    plan = build_plan(shapes_corpus, recipe(weight=weight))
    assert plan.table["weight"].to_pylist() == [2.5] * 4
    assert plan.facts["left_out"] == {"no_weight": 4, "weight_zero": 4}
    assert plan.facts["train"]["visits"] == 2.5 * plan.facts["train"]["clips"]
    infinite = "CASE WHEN shard = '000000' THEN 1 ELSE CAST('inf' AS DOUBLE) END"
    assert build_plan(shapes_corpus, recipe(weight=infinite)).facts["left_out"] == {"no_weight": 8}


def test_percentiles_are_those_of_the_samples(shapes_corpus: Corpus) -> None:
    motion = np.sort(shapes_corpus.read("clips", 0).column("motion").to_numpy())
    plan = build_plan(shapes_corpus, recipe(weight="percentile(motion, 0)"), "motion > percentile(Motion, 50)")
    assert plan.table.num_rows == 6
    assert plan.facts["percentiles"]["Motion@50.0"] == pytest.approx(np.median(motion))
    assert plan.table["weight"][0].as_py() == pytest.approx(float(motion[0]))


def test_each_clip_is_in_its_bucket_and_short_ones_are_left_out(shapes_corpus: Corpus) -> None:
    # The clips have 40 frames: 20 at stride 2 need 39, 21 need 41.
    images = {"frames": 1, "height": 64, "width": 64}
    shapes = [{**BUCKET, "frames": 22}, {**BUCKET, "frames": 20}, images]
    assert set(build_plan(shapes_corpus, recipe(buckets=shapes)).table["bucket"].to_pylist()) == {1}
    with pytest.raises(UsageError, match=r"longest of these clips has 40 frames.*needs 43") as error:
        build_plan(shapes_corpus, recipe(buckets=shapes[:1]))
    assert "too few frames for every bucket: 12" in str(error.value)


def test_another_captions_variant_overrides_and_must_have_the_clips(mine: Corpus) -> None:
    inputs = variants.need(mine, "captions", "default").inputs
    variants.prepare(mine, "captions", "better", {"captioners": ["sidecar"]}, inputs)
    old = mine.read("captions", 0, "default")
    rows = [
        {**row, "caption": None if number == 1 else "  " if number == 2 else f"better {number}"}
        for number, row in enumerate(old.to_pylist())
        if number
    ]
    mine.store.commit_table("captions/better/part-000000.parquet", pa.Table.from_pylist(rows, CAPTIONS.arrow))
    plan = build_plan(mine, recipe(captions="better"))
    assert plan.facts["left_out"] == {"no_caption": 3}
    assert all(c.startswith("better") for c in plan.table["caption"].to_pylist())
    assert plan.facts["captions"]["name"] == "better"
    assert build_plan(mine, recipe(captions="better"), "caption = 'better 5'").table.num_rows == 1
    with pytest.raises(VariantError, match="there are: better, default"):
        build_plan(mine, recipe(captions="best"))


def test_a_clip_in_two_parts_is_one_sample(mine: Corpus) -> None:
    before = build_plan(mine, recipe())
    for table in ("clips", "sources"):
        shutil.copy(f"{mine.store.uri}/{mine.path(table, 0)}", f"{mine.store.uri}/{mine.path(table, 1)}")
    again = build_plan(mine, recipe())
    assert again.hash == before.hash


# Validation --------------------------------------------------------------------------------------------------------------


def test_held_out_sources_share_no_content_with_training(mine: Corpus) -> None:
    def pair_up(table: pa.Table) -> pa.Table:
        sums = table["sha256"].to_pylist()
        doubled = pa.array([sums[i // 2 * 2] for i in range(len(sums))])
        return table.set_column(table.schema.get_field_index("sha256"), table.schema.field("sha256"), doubled)

    rewrite(mine, mine.path("sources", 0), pair_up)
    content = {r["source_id"]: r["sha256"] for r in mine.read("sources", 0).to_pylist()}
    assert len(set(content.values())) == 6
    for share in (0.1, 0.4, 0.6):
        plan = build_plan(mine, recipe(validation_share=share))
        sides: dict[str, set[bool]] = {}
        for row in plan.table.to_pylist():
            sides.setdefault(content[row["source_id"]], set()).add(row["validation"])
        assert all(len(found) == 1 for found in sides.values())
        assert set.union(*sides.values()) == {True, False}


def test_sides_do_not_depend_on_what_else_is_selected(shapes_corpus: Corpus) -> None:
    whole = build_plan(shapes_corpus, recipe(validation_share=0.5))
    held = dict(zip(ids(whole), whole.table["validation"].to_pylist(), strict=True))
    assert set(held.values()) == {True, False}
    some = build_plan(shapes_corpus, recipe(validation_share=0.5), "shard <> '000001'")
    assert [held[i] for i in ids(some)] == some.table["validation"].to_pylist()
    held_out = pc.sum(some.table["validation"]).as_py()
    (bucket,) = some.facts["by_bucket"]
    assert bucket["train"] == some.facts["train"]
    assert bucket["validation"] == some.facts["validation"]
    assert bucket["validation"]["sources"] == held_out != bucket["train"]["sources"] == 8 - held_out
    assert some.facts["validation"]["clips"] == pc.sum(some.table["validation"]).as_py()


def test_nothing_is_held_out_of_one_source_and_never_everything(shapes_corpus: Corpus) -> None:
    one = ids(build_plan(shapes_corpus, recipe()))[0]
    plan = build_plan(shapes_corpus, recipe(), f"clip_id = '{one}'")
    assert plan.table["validation"].to_pylist() == [False]
    assert any("no validation" in w for w in plan.facts["warnings"])
    assert not pc.any(build_plan(shapes_corpus, recipe(validation_share=0)).table["validation"]).as_py()
    with pytest.raises(UsageError, match=r"all 12 sources are held out.*validation_share"):
        build_plan(shapes_corpus, recipe(validation_share=0.99999))


# What is refused ---------------------------------------------------------------------------------------------------------


def refused(corpus: Corpus, kind: type[StivError], select: str | None = None, **data: Any) -> str:
    with pytest.raises(kind) as error:
        build_plan(corpus, recipe(**data), select)
    assert error.value.fix
    return str(error.value)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("motoin > 2", "Did you mean `motion`?"),
        ("motion", "not true or false but float"),
        ("motion >", "syntax error"),
        ("(SELECT true)", "a subquery"),
        ("percentile(source_codec, 50) > 1", "not a number"),
        ("sqrt(-motion) > 1", "failed on a value"),
        ("CAST(caption AS INTEGER) = 3", "failed on a value"),
    ],
)
def test_wrong_expressions(shapes_corpus: Corpus, sql: str, says: str) -> None:
    message = refused(shapes_corpus, RecipeError, sql)
    assert says in message
    assert "--select" in message


def test_wrong_weights_and_the_recipe_is_named(shapes_corpus: Corpus) -> None:
    assert "data.weight: `motion > 1` is not a number but bool" in refused(
        shapes_corpus, RecipeError, weight="motion > 1"
    )
    assert "Did you mean `sharpness`?" in refused(shapes_corpus, RecipeError, weight="sharpnes")
    with pytest.raises(RecipeError, match=r"data\.select: there is no column"):
        build_plan(shapes_corpus, recipe(select="nosuch > 1"))


def test_nothing_selected_says_how_many_there_were(shapes_corpus: Corpus) -> None:
    message = refused(shapes_corpus, UsageError, "motion > 1e9")
    assert "12 samples of the shards `default`" in message
    assert "the selection is not true for it: 12" in message
    assert "motion > 1e9" in message
    assert "data.weight" in refused(shapes_corpus, UsageError, weight="0")


def test_no_such_shards_and_shards_without_tars(mine: Corpus) -> None:
    assert "there are: default" in refused(mine, VariantError, shards="big")
    for path in Path(mine.store.uri, "shards/default").glob("00*.parquet"):
        path.unlink()
    assert "no finished tar" in refused(mine, VariantError)


def test_a_tar_that_is_missing_or_cut_short(mine: Corpus) -> None:
    tar = Path(mine.store.uri, "shards/default/000001.tar")
    rows = mine.store.read_table("shards/default/000001.parquet").to_pylist()
    end = max(r["byte_offset"] + r["byte_size"] for r in rows)
    whole = tar.read_bytes()
    tar.write_bytes(whole[:end])
    build_plan(mine, recipe())
    tar.write_bytes(whole[: end - 1])
    message = refused(mine, StorageError)
    assert f"has {end - 1:,} bytes, its index speaks of {end:,}" in message
    assert "stiv export" in message
    tar.unlink()
    message = refused(mine, StorageError)
    assert "000001.tar` is not there, but its index is" in message
    assert build_plan(mine, recipe(), "shard <> '000001'").table.num_rows == 8


def test_damaged_tables(mine: Corpus) -> None:
    rewrite(mine, mine.path("clips", 0), lambda table: table.slice(1))
    assert "12 samples, of which the corpus' tables know 11" in refused(mine, StorageError)
    path = Path(mine.store.uri, mine.path("clips", 0))
    path.write_bytes(path.read_bytes()[:100])
    assert "could not be read" in refused(mine, StorageError, "motion > 0")


# What is said ------------------------------------------------------------------------------------------------------------


def test_stale_shards_and_unexported_clips_are_warned_of(mine: Corpus) -> None:
    assert not any("stale" in w for w in build_plan(mine, recipe()).facts["warnings"])
    old = variants.need(mine, "decisions", "default")
    facts = {
        "settings": {"rules": []}, "inputs": old.inputs, "resolved": {}, "algorithm": 1,
        "fingerprint": variants.identity("decisions", {"rules": []}, old.inputs),
    }  # fmt: skip
    mine.store.commit_bytes("decisions/default/variant.json", json.dumps(facts).encode())
    Path(mine.store.uri, "shards/default/000002.parquet").unlink()
    plan = build_plan(mine, recipe())
    said = " ".join(plan.facts["warnings"])
    assert "shards `default` are stale: its decisions `default` have changed since" in said
    assert "--replace" in said
    assert "4 clips of the shards `default` are planned but not exported yet" in said
    assert (plan.facts["samples"], plan.facts["not_exported"]) == (8, 4)


def printed(report: dict[str, Any]) -> str:
    out = io.StringIO()
    print_data_plan(report, Console(file=out, width=160, color_system=None))
    return out.getvalue()


def test_the_report_in_numbers_and_words(shapes_corpus: Corpus) -> None:
    wanted = recipe(
        select="contains(caption, 'circle') OR contains(caption, '[red]')",
        weight="2.0",
        buckets=[BUCKET, {"frames": 1, "height": 128, "width": 64, "batch": 2}],
    )
    plan = build_plan(shapes_corpus, wanted)
    report = plan_report(plan, wanted)
    assert json.loads(json.dumps(report)) == report
    assert report["train"]["clips"] == 3
    assert report["validation"] == {"clips": 1, "sources": 1, "seconds": 2.5, "visits": 2.0}
    first, second = report["buckets"]
    assert (first["clips"], first["visits"], first["batch"], first["steps"]) == (3, 6.0, 4, 1.5)
    assert (second["clips"], second["batch"]) == (0, 2)
    assert report["epochs"] == pytest.approx(100 / 1.5)
    assert report["left_out"] == [{"reason": "not_selected", "meaning": "the selection is not true for it", "clips": 8}]
    text = printed(report)
    for piece in (
        plan.hash[:16], "3 clips, 8 s, of 3 sources", "1 clip, 2 s, of 1 source, for validation", "'[red]'",
        "8 clips (67 %), not_selected", "6 visits in 1.5 steps; 100 steps are about 66.7 epochs", "8 × 64 × 64",
        "Bucket 1×128×64 has no clip to train on.",
    ):  # fmt: skip
        assert piece in text


def test_tokens_of_a_sample() -> None:
    def tokens(bucket: dict[str, int], **sections: Any) -> int | None:
        made = TrainRecipe.model_validate({"data": {"buckets": [bucket]}, **sections})
        return tokens_per_sample(made.data.buckets[0], made)

    stiv = {"frames": 20, "height": 256, "width": 256}
    assert tokens(stiv) == 2560
    assert tokens(stiv, latents={"kind": "image_vae", "path": "x"}) == 2560
    assert tokens({**stiv, "frames": 1}) == 256
    assert tokens({**stiv, "frames": 5}) == 3 * 256
    assert tokens({**BUCKET, "width": 128}, latents={"block": [4, 8, 8]}, model={"patch": [1, 2, 2]}) == 2 * 4 * 8
    assert tokens(stiv, latents={"kind": "video_vae", "path": "x"}) is None


# The file ----------------------------------------------------------------------------------------------------------------


def test_saved_and_loaded_it_is_the_same(shapes_corpus: Corpus, tmp_path: Path) -> None:
    plan = build_plan(shapes_corpus, recipe(), "shard <> '000001'")
    plan.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data_plan.arrow", "data_plan.json"]
    again = load_plan(tmp_path)
    assert again.table.equals(plan.table)
    assert (again.facts, again.buckets, again.hash) == (plan.facts, plan.buckets, plan.hash)
    before = pa.total_allocated_bytes()
    table = load_plan(tmp_path).table
    assert table.nbytes > 1000
    assert pa.total_allocated_bytes() - before < 1000, "it is mapped, not read"


def test_a_plan_that_is_missing_or_damaged(shapes_corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no data plan"):
        load_plan(tmp_path)
    build_plan(shapes_corpus, recipe()).save(tmp_path)
    rows = tmp_path / "data_plan.arrow"
    whole = rows.read_bytes()
    rows.write_bytes(whole.replace(b"yellow", b"mellow", 1))
    with pytest.raises(StorageError, match="damaged"):
        load_plan(tmp_path)
    load_plan(tmp_path, verify=False)
    rows.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StorageError, match="damaged"):
        load_plan(tmp_path)
    rows.write_bytes(whole)
    (tmp_path / "data_plan.json").write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        load_plan(tmp_path)
    (tmp_path / "data_plan.json").write_text('{"format": 0}')
    with pytest.raises(UsageError, match="another version"):
        load_plan(tmp_path)


def test_the_hash_follows_rows_and_order_and_nothing_else(shapes_corpus: Corpus) -> None:
    plan = build_plan(shapes_corpus, recipe())
    same = recipe(workers=7, prefetch=2, validation_clips=3, crop="random", select="true")
    assert build_plan(shapes_corpus, same).hash == plan.hash
    others = [
        recipe(stride=3),
        recipe(weight="2"),
        recipe(validation_share=0.5),
        recipe(buckets=[{**BUCKET, "batch": 8}]),
        recipe(buckets=[{**BUCKET, "width": 128}]),
        recipe(select="shard <> '000002'"),
    ]
    hashes = {build_plan(shapes_corpus, other).hash for other in others}
    assert len(hashes | {plan.hash}) == 1 + len(others)


def test_the_hash_depends_on_every_value_and_not_on_batches(shapes_corpus: Corpus) -> None:
    plan = build_plan(shapes_corpus, recipe())
    order = plan.facts["order"]
    pieces = pa.concat_tables([plan.table.slice(0, 5), plan.table.slice(5, 1), plan.table.slice(6)])
    assert pieces.column(0).num_chunks == 3
    assert plan_file.hash_table(pieces, order) == plan.hash
    for name, column in zip(plan.table.column_names, plan.table.columns, strict=True):
        values = column.to_pylist()
        last = values[-1]
        values[-1] = (not last) if isinstance(last, bool) else last + "x" if isinstance(last, str) else last + 1
        place = plan.table.schema.get_field_index(name)
        changed = plan.table.set_column(place, plan.table.schema.field(name), pa.array(values, column.type))
        assert plan_file.hash_table(changed, order) != plan.hash, name
    moved = plan.table["clip_id"].to_pylist()
    moved[0], moved[1] = moved[0] + moved[1][:1], moved[1][1:]
    place = plan.table.schema.get_field_index("clip_id")
    shifted = plan.table.set_column(place, plan.table.schema.field(place), pa.array(moved))
    assert plan_file.hash_table(shifted, order) != plan.hash, "letters moved from one text to the next"


def test_rows_by_number(shapes_corpus: Corpus) -> None:
    plan = build_plan(shapes_corpus, recipe())
    table = pa.concat_tables([plan.table.slice(i, 5) for i in (0, 5, 10)])
    assert table.column(0).num_chunks == 3
    rows = np.array([11, 0, 4, 5, 0, 9])
    picked = DataPlan(table, plan.facts).at(rows)
    assert picked.to_pylist() == [plan.table.slice(int(i), 1).to_pylist()[0] for i in rows]
    assert plan.at(rows, ["shard"]).column_names == ["shard"]
    assert plan.at(rows[:0]).num_rows == 0


def test_a_weight_beyond_reason_is_refused(shapes_corpus: Corpus) -> None:
    recipe = TrainRecipe.model_validate(
        {
            "data": {"weight": "3e9", "buckets": [{"frames": 4, "height": 32, "width": 32}]},
            "latents": {"block": [1, 8, 8]},
        }
    )
    with pytest.raises(RecipeError, match="3,000,000,000 visits per epoch"):
        build_plan(shapes_corpus, recipe)
