"""The command line: exit codes, one-paragraph errors with a fix, nothing half-written."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from curation.storage import Store
from curation.views import VIEWS
from pipelines.cli.main import run


def stiv(*arguments: object) -> int:
    return run([str(a) for a in arguments])


def one_paragraph(capsys: pytest.CaptureFixture[str]) -> str:
    out = capsys.readouterr()
    text = out.err.strip()
    assert "Traceback" not in text + out.out
    assert text.startswith("Error: ")
    assert "\n" not in text
    return text


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        [],
        ["curate"],
        ["scan"],
        ["features"],
        ["export"],
        ["query"],
        ["explain"],
        ["recipe", "show"],
        ["golden"],
    ):
        assert stiv(*arguments, "--help") == 0
    text = capsys.readouterr().out
    for word in (
        "--recipe",
        "--set",
        "--executor",
        "--jobs",
        "--ray-address",
        "--dry-run",
        "--limit",
        "--json",
        "--replace",
        "--score-all",
    ):
        assert word in text


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("dedup", "Exact near semantic --name --set"),
        ("caption", "answers/ budget_usd captions.captioners=[openai,describe] captions.rewrite.enabled=true"),
        ("check", "DSG-Video budget_usd check.dsg.enabled=true kept agreement"),
        ("judge", "judge.hallucinated= judge.mismatch= seconds"),
        ("report", "duplicates, captions, categories stiv report corpus --use"),
    ],
)
def test_help_of_what_models_do_has_examples(capsys: pytest.CaptureFixture[str], command: str, words: str) -> None:
    assert stiv(command, "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Examples" in text
    assert f"stiv {command} corpus" in text
    for word in words.split():
        assert word in text


RESET = (
    "--set",
    "captions.captioners=[describe]",
    "--set",
    "captions.prompt=caption",
    "--set",
    "features.scores.scorers=[]",
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("check: {dsg: {enabled: true}}", "The chat model `llm` has no name."),
        ("check: {dsg: {enabled: true}}\nchat: {llm: {model: a}}", "chat.llm has no base_url."),
        (
            "check: {dsg: {enabled: true}}\nchat: {llm: {model: a, base_url: 'http://h:1/v1'}}",
            "The chat model `vlm` has no name.",
        ),
        ("captions: {captioners: [vlm]}", "The chat model `vlm` has no name."),
        ("captions: {captioners: [no_such_one]}", "There is no captioner `no_such_one`."),
        ("captions: {prompt: nosuch.md}", "neither an embedded prompt nor a file"),
        ("features: {scores: {scorers: [nosuch]}}", "There is no scorer or tagger `nosuch`."),
    ],
)
def test_a_recipe_that_lacks_a_model_is_told_as_by_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, videos: Path, text: str, says: str
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(text)
    assert stiv("recipe", "check", recipe) == 2
    checked = one_paragraph(capsys)
    assert says in checked
    assert stiv("curate", videos, "--out", tmp_path / "c", "--recipe", recipe, "--executor", "inline") == 2
    assert checked.removeprefix("Error: ") in capsys.readouterr().err.replace("\n", " ")
    assert stiv("recipe", "check", recipe, "--set", "check.enabled=false", *RESET) == 0


def test_help_of_golden_names_every_set(capsys: pytest.CaptureFixture[str]) -> None:
    from curation.golden.videos import SETS

    assert stiv("golden", "--help") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in SETS)


def test_two_forms_of_one_result_are_refused(capsys: pytest.CaptureFixture[str], straight: Path) -> None:
    assert stiv("query", straight, "SELECT 1", "--csv", "--json") == 2
    assert "--csv and --json" in one_paragraph(capsys)


def test_a_dry_plan_asks_for_no_more_than_planning_does(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, straight: Path, videos: Path
) -> None:
    """Shards that are stale are no business of a command that plans."""
    corpus = tmp_path / "c"
    shutil.copytree(straight, corpus)
    assert stiv("judge", corpus, "--replace", "--set", 'judge.mine="caption_words > 1000"', "--executor", "inline") == 0
    (tmp_path / "new.mp4").write_bytes((videos / "captioned.mp4").read_bytes())
    capsys.readouterr()
    assert stiv("plan", tmp_path / "new.mp4", "--out", corpus, "--dry-run") == 0
    told = capsys.readouterr().out
    assert told.startswith("Would plan 1 new source")
    assert told.endswith("Nothing was written.\n")
    assert "export" not in told


def test_listing_and_retry_speak_of_one_source_as_of_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, videos: Path
) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    shutil.copy(videos / "captioned.mp4", folder)
    for name in ("a.jpg", "b.jpg", "c.webp", "d", "captioned.txt"):
        (folder / name).write_bytes(b"x")
    (tmp_path / "l.txt").write_text("gone.mp4\n")
    assert stiv("plan", folder, "--out", tmp_path / "c", "--dry-run") == 0
    left_out = "Left out: 4 files with other endings (2 .jpg, 1 .webp, 1 without an ending)"
    assert left_out in capsys.readouterr().out
    assert stiv("plan", folder, "--out", tmp_path / "c") == 0
    assert f"Found 1 source: 1 new, in 1 new part.\n{left_out}" in capsys.readouterr().out
    assert stiv("plan", folder, tmp_path / "l.txt", "--out", tmp_path / "c", "--json") == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == {".jpg": 2, ".webp": 1, "": 1}
    assert stiv("scan", tmp_path / "c", "--executor", "inline") == 0
    assert "stiv retry" in capsys.readouterr().out
    assert stiv("retry", tmp_path / "c") == 0
    assert "Planned 1 source again." in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.jpg").write_bytes(b"x")
    assert stiv("plan", tmp_path / "empty", "--out", tmp_path / "d") == 2
    assert "only 1 file with other endings (1 .jpg)" in one_paragraph(capsys)


def test_misspelt_option_is_wrong_use(capsys: pytest.CaptureFixture[str], tmp_path: Path, videos: Path) -> None:
    assert stiv("curate", videos, "--out", tmp_path / "c", "--executr", "inline") == 2
    err = capsys.readouterr().err
    assert "--executr" in err
    assert "--executor" in err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("text", "says", "fix"),
    [
        (
            "scan: {stills: {qualty: 80}}",
            "unknown key `scan.stills.qualty` (did you mean `scan.stills.quality`?)",
            "stiv recipe schema",
        ),
        ("sacn: {}", "unknown key `sacn` (did you mean `scan`?)", "stiv recipe schema"),
        ("scan: {stills: {quality: high}}", "`scan.stills.quality`", "stiv recipe schema"),
        ("scan: {shots: {min_s: 5, max_s: 8}}", "max_s must be at least twice min_s", "stiv recipe schema"),
        ("scan: [1, 2", "not valid YAML", "quotes"),
        ("- a\n- b", "holds a list", "stiv recipe show"),
        ("select: {rules: [{name: x, drop: 'moton < 1'}]}", "moton", "motion"),
        ("select: {rules: [{name: x, drop: 'motion <'}]}", "rule `x`", ""),
        ("select: {rules: [{name: x, drop: 'caption IS NULL'}]}", "caption", ""),
    ],
)
def test_bad_recipes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, videos: Path, text: str, says: str, fix: str
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(text)
    assert stiv("curate", videos, "--out", tmp_path / "c", "--recipe", recipe) == 2
    message = one_paragraph(capsys)
    assert says in message
    assert fix in message
    assert not (tmp_path / "c").exists()
    assert stiv("recipe", "check", recipe) == 2


def test_missing_recipe_names_a_near_one(capsys: pytest.CaptureFixture[str], tmp_path: Path, videos: Path) -> None:
    (tmp_path / "strict.yaml").write_text("{}")
    assert stiv("curate", videos, "--out", tmp_path / "c", "--recipe", tmp_path / "strikt.yaml") == 2
    assert "strict.yaml" in one_paragraph(capsys)


@pytest.mark.parametrize(
    "setting",
    ["scan.stills.quality", "=3", "scan..x=1", "scan.stills.quality=high", "select.nosuch=off", "select.still=3"],
)
def test_bad_set_values(capsys: pytest.CaptureFixture[str], tmp_path: Path, videos: Path, setting: str) -> None:
    assert stiv("curate", videos, "--out", tmp_path / "c", "--set", setting) == 2
    one_paragraph(capsys)
    assert not (tmp_path / "c").exists()


def test_wrong_inputs_and_names(capsys: pytest.CaptureFixture[str], tmp_path: Path, videos: Path) -> None:
    copy = tmp_path / "v"
    shutil.copytree(videos, copy)
    for arguments, says in (
        ((tmp_path / "nosuch", "--out", tmp_path / "c"), "is not there"),
        ((copy, "--out", copy / "out"), "lies inside the input folder"),
        ((copy, "--out", tmp_path), "not a corpus"),
        ((copy, "--out", videos / "sub"), "not a corpus"),
        ((copy, "--out", tmp_path / "c", "--name", "../up"), "cannot be a name"),
        ((copy, "--out", tmp_path / "c", "--executor", "spark"), "no executor"),
    ):
        code = (
            stiv("curate", *arguments, "--executor", "inline")
            if "--executor" not in arguments
            else stiv("curate", *arguments)
        )
        assert code == 2
        assert says in one_paragraph(capsys)
        assert not (tmp_path / "c").exists()
    assert not list((videos / "sub").glob(".*"))  # not even a lock file in a folder that is not ours
    (tmp_path / "empty").mkdir()
    assert stiv("curate", tmp_path / "empty", "--out", tmp_path / "d") == 2
    assert "no video" in one_paragraph(capsys)


def test_stage_without_a_corpus(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for command in ("scan", "features", "dedup", "select", "caption", "check", "judge", "export", "status", "report"):
        assert stiv(command, tmp_path) == 2
        assert "not a corpus" in one_paragraph(capsys)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "another folder"), (errno.EROFS, "read-only")],
)
def test_full_disk_and_no_permission(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    videos: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    says: str,
    tree: object,
) -> None:
    out = tmp_path / "c"
    real = os.fsync
    calls: list[int] = []

    def fails(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 12:
            raise OSError(number, os.strerror(number))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        assert stiv("curate", videos, "--out", out, "--executor", "inline", "--no-report") == 2
    text = capsys.readouterr().err
    assert says in text
    assert "Traceback" not in text
    assert not list(out.glob("sources/*.tmp"))
    assert stiv("curate", videos, "--out", out, "--executor", "inline", "--no-report") == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_may_not_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path, videos: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert stiv("curate", videos, "--out", tmp_path / "locked" / "c") == 2
    assert "may not write" in one_paragraph(capsys)


def test_dry_run_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, videos: Path, straight: Path
) -> None:
    assert stiv("curate", videos, "--out", tmp_path / "c", "--dry-run", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["new"], report["parts"], report["missing"]["scan"]) == (4, 1, 1)
    assert not (tmp_path / "c").exists()
    assert stiv("curate", videos, "--out", straight, "--dry-run", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["new"], report["known"], report["missing"]["scan"]) == (0, 4, 0)


def test_json_summary_and_limit(capsys: pytest.CaptureFixture[str], tmp_path: Path, videos: Path) -> None:
    assert (
        stiv("curate", videos, "--out", tmp_path / "c", "--executor", "inline", "--limit", "2", "--json", "--no-report")
        == 0
    )
    summary = json.loads(capsys.readouterr().out)
    assert summary["sources"] == 2
    assert summary["worked"] is True
    assert (
        stiv("curate", videos, "--out", tmp_path / "c", "--executor", "inline", "--limit", "2", "--json", "--no-report")
        == 0
    )
    assert json.loads(capsys.readouterr().out)["worked"] is False


def test_another_name_is_decided_only_and_can_be_looked_at(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, videos: Path, straight: Path
) -> None:
    out = tmp_path / "c"
    shutil.copytree(straight, out)
    settings = ("--set", "select.strict=motion > 0", "--set", "features.text.enabled=false", "--no-report")
    assert stiv("curate", videos, "--out", out, "--executor", "inline", "--name", "strict", *settings) == 0
    text = capsys.readouterr().out
    assert "Scanning" not in text
    assert "deciding: 1 part" in text
    assert "--use strict" in text
    sql = "SELECT count(*) FILTER (kept) AS n FROM decisions"
    assert stiv("query", out, sql, "--use", "strict", "--json") == 0
    assert json.loads(capsys.readouterr().out)["n"] == 0
    assert stiv("query", out, sql, "--use", "strikt") == 2
    assert "default, strict" in one_paragraph(capsys)


@pytest.mark.parametrize(
    ("setting", "meant"),
    [("text.stills=0", "features.text.stills"), ("scan.shot=1", "scan.shots"), ("max_s=3", "scan.shots.max_s")],
)
def test_a_key_in_the_wrong_place_is_found(capsys: pytest.CaptureFixture[str], setting: str, meant: str) -> None:
    assert stiv("recipe", "show", "--set", setting) == 2
    assert f"(did you mean `{meant}`?)" in one_paragraph(capsys)


def test_help_of_query_names_every_view(capsys: pytest.CaptureFixture[str]) -> None:
    assert stiv("query", "--help") == 0
    words = set(capsys.readouterr().out.replace(",", " ").replace(".", " ").split())
    assert set(VIEWS) <= words


def test_recipe_show_is_a_recipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert stiv("recipe", "show", "--set", "scan.shots.max_s=10", "--set", "select.bright=brightness > 0.9") == 0
    text = capsys.readouterr().out
    assert yaml.safe_load(text)["scan"]["shots"]["max_s"] == 10
    assert "# Longest clip in seconds" in text
    (tmp_path / "r.yaml").write_text(text)
    assert stiv("recipe", "check", tmp_path / "r.yaml") == 0
    capsys.readouterr()
    assert stiv("recipe", "show", "--recipe", tmp_path / "r.yaml") == 0
    assert capsys.readouterr().out == text
    assert stiv("recipe", "schema") == 0
    assert "Longest clip" in capsys.readouterr().out


def test_too_many_errors_stop_the_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.mp4").write_bytes(b"not a video at all " * 10)
    arguments = (
        "curate",
        folder,
        "--out",
        tmp_path / "c",
        "--executor",
        "inline",
        "--no-report",
        "--set",
        "scan.error_rate_after=3",
    )
    assert stiv(*arguments) == 3
    assert "scan.error_rate_limit" in one_paragraph(capsys)
    assert stiv(*arguments, "--set", "scan.error_rate_limit=1") == 0


def test_second_writer_is_refused(capsys: pytest.CaptureFixture[str], videos: Path, tmp_path: Path) -> None:
    from curation.lock import hold

    with hold(Store(tmp_path / "c"), "the first"):
        assert stiv("curate", videos, "--out", tmp_path / "c") == 2
    assert "the first" in one_paragraph(capsys)


def test_foreign_package_in_the_way_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "curation").mkdir()
    (tmp_path / "curation" / "__init__.py").write_text("")
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop()); from pipelines.cli.main import run; sys.exit(run(['--help']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 2
    assert "hides ours" in done.stderr


def test_runs_without_torch() -> None:
    """Curation alone needs no torch: importing everything with torch made impossible works."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import curation.scan, curation.cutting, pipelines.cli.work_commands, pipelines.run, pipelines.cli.main\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_recipe_file_without_a_scan_leaves_the_corpus_its_own(tmp_path: Path, videos: Path) -> None:
    out, recipe = tmp_path / "c", tmp_path / "r.yaml"
    more = ("--executor", "inline", "--no-report")
    assert stiv("curate", videos, "--out", out, "--set", "scan.shots.max_s=10", *more) == 0
    recipe.write_text("select: {rules: [{name: slow, drop: motion < 5}]}")
    assert stiv("select", out, "--recipe", recipe, "--name", "other", "--executor", "inline") == 0
    assert stiv("curate", videos, "--out", out, "--recipe", recipe, "--name", "third", *more) == 0


def test_names_with_markup_are_printed_as_they_are(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, videos: Path
) -> None:
    folder = tmp_path / "a [red]x[" / "red] b"
    folder.mkdir(parents=True)
    shutil.copy(videos / "captioned.mp4", folder / "c [bold] [|] d.mp4")
    (folder / "e [blink] f.mp4").write_bytes(b"no video")
    out = tmp_path / "c [bold] x"
    assert stiv("curate", folder, "--out", out, "--executor", "inline") == 0
    assert "c [bold] x/shards/default" in capsys.readouterr().out
    for command in (
        ("status",),
        ("explain", "c [bold] [|] d.mp4"),
        ("explain", "e [blink] f.mp4"),
        ("query", "SELECT uri FROM sources"),
    ):
        assert stiv(command[0], out, *command[1:]) == 0
    assert "e [blink] f.mp4" in capsys.readouterr().out
    assert stiv("curate", folder, "--out", out, "--set", "scan.stills.quality=50") == 2
    assert stiv("explain", out, "nosuch [/]") == 2


def test_damaged_corpus_is_one_paragraph(capsys: pytest.CaptureFixture[str], straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "c"
    shutil.copytree(straight, out)
    (out / "clips" / "part-000000.parquet").write_bytes(b"junk")
    assert stiv("select", out, "--name", "other", "--executor", "inline") == 2
    assert "clips/part-000000.parquet" in one_paragraph(capsys)
    (out / "corpus.json").write_text("{")
    assert stiv("status", out) == 2
    assert "corpus.json" in one_paragraph(capsys)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert stiv("--version") == 0
    assert capsys.readouterr().out.startswith("stiv ")


def test_nothing_readable_is_no_success(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.mp4").write_bytes(b"no video at all")
    assert stiv("curate", tmp_path / "v", "--out", tmp_path / "c", "--executor", "inline", "--no-report") == 3
    assert "Not one source could be read" in capsys.readouterr().err


def test_unforeseen_error_is_one_paragraph_with_its_details_in_a_file(
    capsys: pytest.CaptureFixture[str], straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curation.corpus.Corpus.parts", lambda self: 1 / 0)
    assert stiv("status", straight) == 1
    text = one_paragraph(capsys)
    assert "ZeroDivisionError" in text
    assert "ZeroDivisionError" in Path(text.rsplit(" ", 1)[1].rstrip(".")).read_text()


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml")), ids=lambda p: p.name)
def test_every_recipe_that_we_ship_is_valid(path: Path) -> None:
    assert stiv("recipe", "check", path) == 0
