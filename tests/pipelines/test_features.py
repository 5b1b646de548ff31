"""Stage `features`: which clips are looked at, what is taken over, what rules make of it."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from pebble import ProcessExpired

from curation import joined, variants
from curation.corpus import Corpus
from curation.golden import draw
from curation.golden.encode import encode
from curation.signals.crop import Crop
from curation.views import connect
from models.text_detector import detector
from pipelines.children import Children
from pipelines.stages import features
from pipelines.stages.still_reading import to_look
from pipelines.stages.text_area import Found, text_row
from schemas.errors import UsageError, VariantError
from schemas.tables import TABLES

WIDTH, HEIGHT, FPS = 320, 240, 12

RULE = "select.text=text_area > 0.1"


def pan(seed: int, count: int, speed: float) -> Iterator[np.ndarray]:
    """A textured picture that moves ``speed`` pixels per frame to the right."""
    big = draw.texture(WIDTH + 16 + int(count * speed), HEIGHT + 16, seed)
    for i in range(count):
        yield draw.window(big, 8 + i * speed, 8, WIDTH, HEIGHT)


def written(picture: np.ndarray, bars: int = 0) -> np.ndarray:
    out = draw.text_box(picture, (10, 60, 300, 60), "SUBSCRIBE NOW")
    out = draw.text_box(out, (10, 140, 300, 60), "TODAY ONLY")
    return draw.bars(out, bars, bars) if bars else out


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips that move, one of them full of text; and one that hardly moves, with text too."""
    folder = tmp_path_factory.mktemp("films")
    encode(pan(1, 36, 2.0), folder / "plain.mp4", FPS)
    encode((written(p) for p in pan(2, 36, 2.0)), folder / "text.mp4", FPS)
    encode((written(p) for p in pan(3, 36, 0.3)), folder / "slow.mp4", FPS)
    return folder


CHEAP = "select.still=motion < 1.5"
"""Drops `slow.mp4`."""


@pytest.fixture(scope="module")
def made(films: Path, tmp_path_factory: pytest.TempPathFactory, run: Any) -> Path:
    out = tmp_path_factory.mktemp("made") / "corpus"
    run(out, films, settings=(CHEAP, RULE), stages=("scan", "features", "dedup", "select", "caption", "check", "judge"))
    return out


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    out = tmp_path / "corpus"
    shutil.copytree(made, out)
    return out


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Clips that were looked at, as the stage asks for them; nobody really looks."""
    seen: list[str] = []

    def pretend(worker: Any, part: int, clips: Any) -> Any:
        for clip in clips:
            seen.append(clip["clip_id"])
            yield text_row(clip["clip_id"], [0.25, 0.75])

    monkeypatch.setattr(features, "_look_at", pretend)
    return seen


def by_file(out: Path, use: dict[str, str] | None = None) -> pd.DataFrame:
    with connect(Corpus.open(out), use) as db:
        return db.execute("SELECT * FROM clips_all").df().set_index("source_rel_path")


def test_only_clips_that_cheap_rules_leave_are_looked_at(made: Path) -> None:
    clips = by_file(made)
    assert clips["text_stills"].notna().to_dict() == {"plain.mp4": True, "text.mp4": True, "slow.mp4": False}
    assert clips.loc["plain.mp4", "text_area"] < 0.02
    assert 0.1 < clips.loc["text.mp4", "text_area"] <= clips.loc["text.mp4", "text_area_max"] < 0.5
    assert clips.loc["text.mp4", "text_stills"] == 3
    assert len(pd.read_parquet(made / "features/text/default/part-000000.parquet")) == 2


def test_rules_may_speak_of_text_and_what_was_not_looked_at_is_null(made: Path) -> None:
    clips = by_file(made)
    assert clips["reason"].fillna("").to_dict() == {
        "plain.mp4": "",
        "text.mp4": "text",
        "slow.mp4": "still",
    }
    assert list(clips.loc["slow.mp4", "reasons"]) == ["still"]


def test_a_clip_that_was_not_looked_at_does_not_count_as_unknown(films: Path, tmp_path: Path, run: Any) -> None:
    _, counts = run(tmp_path / "c", films, settings=(CHEAP, RULE), stages=("scan", "features", "dedup", "select"))
    assert "text" not in counts.unknown
    assert (counts.looked_clips["text"], counts.looked_stills["text"]) == (2, 6)
    assert (counts.looked_skipped["text"], counts.looked_reused["text"]) == (1, 0)
    assert counts.cpu_s["text"] > 0


def test_score_all_looks_at_every_clip(copy: Path, run: Any, looked: list[str]) -> None:
    run(copy, settings=(CHEAP, RULE, "features.text.score_all=true"), stages=("features",), name="all")
    clips = by_file(copy, {"text": "all"})
    assert clips["text_stills"].notna().all()
    assert looked == [clips.loc["slow.mp4", "clip_id"]]  # the others were measured under another name


def test_looser_cheap_rules_measure_only_what_is_new(copy: Path, run: Any, looked: list[str]) -> None:
    _, counts = run(copy, settings=(RULE, "select.still=off"), stages=("features", "dedup", "select"), name="loose")
    clips = by_file(copy, {"selections": "loose"})
    assert looked == [clips.loc["slow.mp4", "clip_id"]]
    assert counts.looked_reused["text"] == 2
    assert clips.loc["slow.mp4", "selection_reason"] == "text"
    old = by_file(copy, {"selections": "default"})
    assert old.loc["text.mp4", "text_area"] == clips.loc["text.mp4", "text_area"]
    assert pd.isna(old.loc["slow.mp4", "text_area"])


def test_another_search_takes_nothing_over(copy: Path, run: Any, looked: list[str]) -> None:
    for number, change in enumerate(("stills=2", "long_side=480", "min_score=0.7")):
        run(copy, settings=(CHEAP, f"features.text.{change}"), stages=("features",), name=f"n{number}")
        assert len(looked) == 2 * (number + 1)


def test_other_weights_take_nothing_over(
    copy: Path, run: Any, looked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector, "fingerprint", lambda: "other")
    with pytest.raises(VariantError, match="model"):
        run(copy, settings=(CHEAP, RULE), stages=("features",))
    run(copy, settings=(CHEAP, RULE), stages=("features",), name="new")
    assert len(looked) == 2


def test_changed_settings_need_a_name_or_replace(copy: Path, run: Any, looked: list[str]) -> None:
    with pytest.raises(VariantError, match="stills: 3 → 2"):
        run(copy, settings=(CHEAP, RULE, "features.text.stills=2"), stages=("features",))
    with pytest.raises(VariantError, match=r"^`select\.still` differs"):
        run(copy, settings=("select.still=motion < 4", RULE), stages=("features",))
    run(copy, settings=("select.still=off", RULE), stages=("features",), replace=True)
    assert len(looked) == 1  # what the old one had is kept
    assert not list(copy.rglob(".new-*"))
    assert Corpus.open(copy).variants("text") == ["default"]


def test_a_rule_over_text_alone_does_not_touch_what_was_measured(copy: Path, run: Any, looked: list[str]) -> None:
    run(copy, settings=(CHEAP, "select.text=text_area > 0.9"), stages=("features",))
    run(copy, settings=(CHEAP, "select.text=text_area > 0.9"), stages=("select",), name="high")
    assert looked == []
    assert by_file(copy, {"selections": "high"}).loc["text.mp4", "selection_selected"]


def test_a_second_run_does_nothing_and_new_sources_only_theirs(
    copy: Path, films: Path, run: Any, looked: list[str], tmp_path: Path
) -> None:
    stages = ("scan", "features", "dedup", "select", "caption", "check", "judge")
    outcome, _ = run(copy, films, settings=(CHEAP, RULE), stages=stages)
    assert not outcome.worked
    more = tmp_path / "more"
    more.mkdir()
    shutil.copy(films / "plain.mp4", more / "new.mp4")
    run(copy, more, settings=(CHEAP, RULE), stages=stages)
    assert looked == [by_file(copy).loc["new.mp4", "clip_id"]]


def test_select_under_a_new_name_goes_on_under_it(copy: Path, films: Path, run: Any, looked: list[str]) -> None:
    settings = (CHEAP, "select.text=text_area > 0.9")
    run(copy, settings=settings, stages=("select",), name="high")
    outcome, _ = run(copy, films, settings=settings, stages=("scan", "features", "dedup", "select"), name="high")
    assert not outcome.worked
    assert looked == []


@pytest.mark.parametrize("change", ["score_all=true", "score_all=false"])
def test_a_selection_that_read_another_text_does_not_keep_clips_from_being_measured(
    copy: Path, run: Any, looked: list[str], change: str
) -> None:
    settings = ("select.still=off", RULE)
    run(copy, settings=settings, stages=("select",), name="loose")
    settings = (*settings, f"features.text.{change}")
    outcome, _ = run(copy, settings=settings, stages=("features",), name="loose")
    assert outcome.worked
    assert looked == [by_file(copy).loc["slow.mp4", "clip_id"]]
    with pytest.raises(VariantError, match="it reads `text` from `loose` instead of `default`"):
        run(copy, settings=settings, stages=("features", "dedup", "select"), name="loose")
    run(copy, settings=settings, stages=("features", "dedup", "select"), name="loose", replace=True)
    assert by_file(copy, {"selections": "loose"}).loc["slow.mp4", "selection_reason"] == "text"
    assert len(looked) == 1


def test_a_run_that_would_leave_a_selection_behind_says_so_and_writes_nothing(
    copy: Path, run: Any, looked: list[str]
) -> None:
    settings = ("select.still=off", RULE)
    run(copy, settings=settings, stages=("select",), name="loose")
    with pytest.raises(VariantError, match="it reads `text` from `loose` instead of `default`"):
        run(copy, settings=settings, stages=("features", "dedup", "select"), name="loose")
    assert Corpus.open(copy).variants("text") == ["default"]
    assert looked == []


def test_off_leaves_the_columns_null(films: Path, tmp_path: Path, run: Any, made: Path) -> None:
    out = tmp_path / "c"
    others = ("features.embeddings.enabled=false", "dedup.enabled=false")
    settings = (CHEAP, RULE, "features.text.enabled=false", *others)
    _, counts = run(
        out, films, settings=settings, stages=("scan", "features", "dedup", "select", "caption", "check", "judge")
    )
    assert counts.looked_clips["text"] == 0
    assert counts.unknown["text"] == 2
    assert not (out / "features").exists()
    clips = by_file(out)
    assert clips["text_area"].isna().all()
    assert clips["kept"].to_dict() == {"plain.mp4": True, "text.mp4": True, "slow.mp4": False}
    with pytest.raises(UsageError, match=r"features\.text\.enabled"):
        run(out, settings=settings, stages=("features",))
    assert json.loads((out / "selections/default/variant.json").read_text())["inputs"].keys() == {"corpus"}


def test_a_stage_without_settings_uses_those_it_was_made_with(
    films: Path, tmp_path: Path, run: Any, copy: Path
) -> None:
    from pipelines.recipe_files import load_recipe
    from pipelines.run import stored_recipe

    kept = load_recipe(None, (), stored_recipe(Corpus.open(copy), "default"))
    assert kept.features.text.enabled
    assert {r.name: r.drop for r in kept.select.rules}["still"] == "motion < 1.5"
    shutil.rmtree(copy / "selections")
    kept = load_recipe(None, (), stored_recipe(Corpus.open(copy), "default"))
    assert {r.name: r.drop for r in kept.select.rules}["still"] == "motion < 1.5"
    out = tmp_path / "off"
    run(out, films, settings=("features.text.enabled=false",), stages=("scan", "features", "dedup", "select"))
    assert not load_recipe(None, (), stored_recipe(Corpus.open(out), "default")).features.text.enabled


def test_percentiles_of_cheap_columns_and_of_text(films: Path, tmp_path: Path, run: Any, looked: list[str]) -> None:
    out = tmp_path / "c"
    rules = ("select.still=motion < percentile(motion, 30)", "select.text=text_area >= percentile(text_area, 50)")
    run(out, films, settings=rules, stages=("scan", "features", "dedup", "select"))
    text = json.loads((out / "features/text/default/variant.json").read_text())["resolved"]["percentiles"]
    assert list(text) == ["motion@30.0"]
    chosen = json.loads((out / "selections/default/variant.json").read_text())["resolved"]["percentiles"]
    assert chosen == {**text, "text_area@50.0": 0.5}
    assert len(looked) == 2  # the slowest of three is out
    assert set(by_file(out)["selection_reason"]) == {"still", "text"}


def test_the_picture_counts_without_its_bars(tmp_path: Path, run: Any) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    encode((written(p) for p in pan(2, 36, 2.0)), folder / "plain.mp4", FPS)
    encode((written(p, bars=40) for p in pan(2, 36, 2.0)), folder / "bars.mp4", FPS)
    run(tmp_path / "c", folder, settings=("select.still=off", "select.too_small=off"), stages=("scan", "features"))
    clips = by_file(tmp_path / "c")
    assert clips.loc["bars.mp4", "bar_top"] == pytest.approx(40, abs=2)
    ratio = clips.loc["bars.mp4", "text_area"] / clips.loc["plain.mp4", "text_area"]
    assert ratio == pytest.approx(HEIGHT / (HEIGHT - 80), rel=0.12)


def test_stills_are_spread_and_never_more_than_there_are() -> None:
    row = {"clip_id": "c", "width": WIDTH, "height": HEIGHT, "bar_top": None, "bar_bottom": 24, "bar_left": 0}
    row |= {"bar_right": 32, "stills_offset": list(range(9)), "stills_size": [1] * 9}
    look = to_look(row, 3)
    assert [offset for offset, _ in look.stills] == [1, 4, 7]
    assert look.crop.box(WIDTH, HEIGHT) == (0, 0, WIDTH - 32, HEIGHT - 24)
    assert len(to_look(row, 16).stills) == 9
    assert to_look({**row, "stills_offset": [], "stills_size": []}, 3).stills == ()
    assert text_row("c", []) == {"clip_id": "c", "text_area": None, "text_area_max": None, "text_stills": 0}


def test_a_damaged_still_is_not_looked_at(copy: Path) -> None:
    from pipelines.stages.still_reading import Look
    from pipelines.stages.text_area import look

    clip = next(r for r in Corpus.open(copy).read("clips", 0).to_pylist() if r["stills_offset"])
    whole = to_look(clip, 2)
    broken = Look("x", (whole.stills[0], (whole.stills[1][0], 20)), whole.crop)
    found = look(str(copy), "stills/part-000000.tar", [broken], 320, 0.6)
    assert found.rows[0]["text_stills"] == found.stills == 1


@pytest.mark.parametrize("damage", ["empty", "huge"])
def test_a_still_that_the_decoder_refuses_is_not_looked_at(damage: str, tmp_path: Path) -> None:
    from pipelines.stages.still_reading import Look
    from pipelines.stages.text_area import look

    jpeg = cv2.imencode(".jpg", draw.texture(64, 48, 1))[1].tobytes()
    header = jpeg.index(b"\xff\xc0")
    huge = jpeg[: header + 5] + b"\xff\x00\xff\x00" + jpeg[header + 9 :]
    bad = {"empty": b"", "huge": huge}[damage]
    (tmp_path / "stills.tar").write_bytes(jpeg + bad)
    clip = Look("x", ((0, len(jpeg)), (len(jpeg), len(bad))), Crop())
    found = look(str(tmp_path), "stills.tar", [clip], 320, 0.6)
    assert found.rows[0]["text_stills"] == found.stills == 1
    assert found.rows[0]["text_area"] is not None


class _Fails(Children):
    """Children that fail over certain clips, and find every other one half full of text."""

    def __init__(self, bad: set[str], error: BaseException) -> None:
        super().__init__(1)
        self.bad, self.error = bad, error
        self.tasks: list[int] = []
        """Clips in each task."""

    def submit(self, function: Any, *args: Any, limit_s: float) -> Any:
        looks, done = args[2], Future[Any]()
        self.tasks.append(len(looks))
        if self.bad.intersection(clip.clip_id for clip in looks):
            done.set_exception(self.error)
        else:
            done.set_result(Found([text_row(clip.clip_id, [0.5]) for clip in looks], len(looks), 0.0))
        return done


@pytest.mark.parametrize("error", [ProcessExpired("gone"), FutureTimeout()], ids=["dies", "hangs"])
@pytest.mark.parametrize("bad", [("text.mp4",), ("plain.mp4", "text.mp4")], ids=["one", "both"])
def test_a_clip_over_which_a_child_fails_alone_has_no_text_and_the_others_keep_theirs(
    copy: Path, run: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, bad: tuple[str, ...]
) -> None:
    from pipelines import context

    ids = by_file(copy)["clip_id"]
    children = _Fails({ids[name] for name in bad}, error)
    monkeypatch.setattr(context, "Children", lambda jobs: children)
    settings = (CHEAP, RULE, "features.text.stills=2")
    _, counts = run(copy, settings=settings, stages=("features", "dedup", "select"), name="dead")
    assert children.tasks == [2, 1, 1]
    clips = by_file(copy, {"selections": "dead"})
    wanted = {"plain.mp4": 1, "text.mp4": 1, "slow.mp4": -1} | dict.fromkeys(bad, 0)
    assert clips["text_stills"].fillna(-1).to_dict() == wanted
    assert (clips["text_area"].notna() == (clips["text_stills"] == 1)).all()
    assert len(counts.notes) == len(bad)
    for name in bad:
        assert any(f"looking for text in clip {ids[name]} failed" in note for note in counts.notes)
    children.bad = set()
    _, counts = run(copy, settings=("select.still=motion < 1.4", *settings[1:]), stages=("features",), name="again")
    assert (counts.looked_clips["text"], counts.looked_reused["text"]) == (
        len(bad),
        2 - len(bad),
    )  # where it failed nothing was measured


def test_the_command_says_what_it_did(copy: Path, capsys: pytest.CaptureFixture[str], looked: list[str]) -> None:
    from pipelines.cli.main import run as stiv

    assert stiv(["features", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--score-all" in text
    assert "text_area" in text
    assert stiv(["features", str(copy), "--name", "all", "--score-all", "--executor", "inline"]) == 0
    assert len(looked) == 1
    text = capsys.readouterr().out
    assert "of 3 looked at have text" in " ".join(text.split())
    assert stiv(["features", str(copy), "--name", "all", "--executor", "inline"]) == 0  # as it was made
    assert "nothing to do" in capsys.readouterr().out
    clip = by_file(copy).loc["text.mp4", "clip_id"]
    assert stiv(["explain", str(copy), clip]) == 0
    assert "text_area > 0.1" in capsys.readouterr().out
    assert stiv(["report", str(copy)]) == 0
    assert "text_area" in (copy / "report.html").read_text()


def test_the_joined_columns_are_not_doubled_and_may_be_null(made: Path) -> None:
    names = joined.select_schema().names
    assert [n for n in names if n.startswith("text_")] == ["text_area", "text_area_max", "text_stills"]
    assert "embedding" not in names  # a vector is no column for a rule
    corpus = Corpus.open(made)
    wide = joined.read_measured(corpus, 0, {"text": "default"})
    assert wide.schema.names == names
    assert wide.column("text_stills").null_count == 1
    without = joined.read_measured(corpus, 0, {})
    assert without.schema.names == names
    assert without.column("text_stills").null_count == without.num_rows == 3
    path = made / "features/text/default/part-000000.parquet"
    assert list(pd.read_parquet(path).columns) == TABLES["text"].names


def test_the_ledger_counts_frames_and_time_by_kind(films: Path, tmp_path: Path, run: Any) -> None:
    outcome, counts = run(tmp_path / "c", films, settings=(CHEAP, RULE), stages=("scan", "features"))
    record = json.loads((tmp_path / "c" / outcome.record).read_text())
    assert record["decode"]["source_frames"] == 3 * 36
    assert 1.0 <= record["decode"]["analysis_ratio"] <= 1.02
    assert record["cpu_s"]["text"] > 0
    assert (record["counts"]["looked_clips"]["text"], record["counts"]["looked_stills"]["text"]) == (2, 6)
    assert counts.analysis_frames == record["decode"]["analysis_frames"]


@pytest.mark.ray
def test_ray_measures_the_same_bytes(made: Path, films: Path, tmp_path: Path, run: Any, tree: Any) -> None:
    out = tmp_path / "c"
    settings = (CHEAP, RULE)
    run(
        out,
        films,
        settings=settings,
        stages=("scan", "features", "dedup", "select", "caption", "check", "judge"),
        executor="ray",
    )
    assert tree(out) == tree(made)


def test_text_is_seen_when_it_is_tilted(tmp_path: Path, run: Any) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 25, 0.8)
    encode((cv2.warpAffine(written(p), turn, (WIDTH, HEIGHT)) for p in pan(5, 36, 2.0)), folder / "a.mp4", FPS)
    run(tmp_path / "c", folder, settings=("select.still=off",), stages=("scan", "features"))
    assert by_file(tmp_path / "c").loc["a.mp4", "text_area"] > 0.04


@pytest.mark.parametrize("beside_default", [True, False])
@pytest.mark.parametrize("upto", [("features",), ("features", "dedup")])
def test_a_corpus_measured_without_text_goes_on_without_it_stage_by_stage(
    copy: Path, upto: tuple[str, ...], beside_default: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `stiv status` says, with nothing repeated: what a later stage reads follows from what was made."""
    from pipelines.cli.main import run as stiv

    name = ["--name", "bare"] if beside_default else []
    if not beside_default:
        for table in ("features", "duplicates", "selections", "captions", "checks", "decisions"):
            shutil.rmtree(copy / table)
    for stage in ("features", "dedup", "select", "caption"):
        off = ["--set", "features.text.enabled=false"] if stage in upto else []
        assert stiv([stage, str(copy), "--executor", "inline", *name, *off]) == 0, capsys.readouterr().err
    made = variants.need(Corpus.open(copy), "selections", "bare" if beside_default else "default")
    assert made.inputs.keys() == {"embeddings", "duplicates"}
