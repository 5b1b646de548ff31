"""Another captioner or another prompt: captions and what hangs on them are made again, nothing before them, and the run says so."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.main import run as stiv

BEFORE = ("features/text", "features/embeddings", "duplicates", "selections")
AFTER = ("captions", "checks", "decisions", "shards")
DESCRIBE = "captions.captioners=[describe]"


@pytest.fixture
def corpus(straight: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(straight, tmp_path / "c"))


def curate(videos: Path, corpus: Path, *more: str) -> int:
    return stiv(["curate", str(videos), "--out", str(corpus), "--executor", "inline", "--no-report", *more])


def record(corpus: Path) -> dict[str, Any]:
    newest = max((corpus / "runs").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    found: dict[str, Any] = json.loads(newest.read_text())
    return found


def test_under_a_new_name(corpus: Path, videos: Path, tree: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(corpus)
    assert curate(videos, corpus, "--name", "plain", "--set", DESCRIBE) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Making under the name `plain`: captions, checks, decisions, shards; " in said
    assert "text, embeddings, duplicates, selections are there already" in said
    assert [t for t in (*BEFORE, *AFTER) if (corpus / t / "plain").exists()] == list(AFTER)
    after = tree(corpus)
    assert {p: after[p] for p in before} == before
    done = record(corpus)
    assert done["decode"]["source_frames"] == done["decode"]["export_frames"] == 0  # finished clips are copied
    assert done["counts"]["captioners"] == {"describe": 4}
    assert not done["counts"]["looked_clips"]


def test_in_the_place_of_the_old(corpus: Path, videos: Path, tree: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(corpus)
    assert curate(videos, corpus, "--set", DESCRIBE) == 2
    assert tree(corpus) == before
    for dry in (["--dry-run"], []):
        assert curate(videos, corpus, "--set", DESCRIBE, "--replace", *dry) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "Making again, in the place of `default`: captions, checks, decisions, shards; " in said
        assert "selections stay as they are" in said
        assert (tree(corpus) == before) is bool(dry)
    after = tree(corpus)
    changed = {p.split("/")[0] for p in after if after.get(p) != before.get(p)}
    assert changed == set(AFTER)
    assert record(corpus)["decode"]["export_frames"] == 0


def test_one_changed_prompt_is_another_variant_and_asks_only_the_captioner(
    corpus: Path, videos: Path, openai_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = tmp_path / "mine.md"
    prompt.write_text("Say what is shown.\n")
    openai_server.script(lambda request: openai_server.reply("A patchwork of colours slides past."))
    sets = [
        *(
            "--set",
            "captions.captioners=[openai]",
            "--set",
            "captions.styles=[long]",
            "--set",
            f"captions.prompt={prompt}",
        ),
        *("--set", f"chat.openai.base_url={openai_server.url}", "--set", "chat.openai.model=m"),
    ]
    assert curate(videos, corpus, "--name", "asked", *sets) == 0
    asked = len(openai_server.requests)
    assert asked == 4
    assert curate(videos, corpus, "--name", "asked", *sets) == 0
    assert len(openai_server.requests) == asked
    prompt.write_text("Say what is shown, in one sentence.\n")
    assert curate(videos, corpus, "--name", "asked", *sets) == 2  # under that name stands what the old prompt gave
    assert "prompt" in capsys.readouterr().err
    assert curate(videos, corpus, "--name", "asked", *sets, "--replace") == 0
    assert len(openai_server.requests) == 2 * asked
    os.remove(prompt)
    assert stiv(["status", str(corpus)]) == 0  # the text of the prompt is kept with the captions
    assert curate(videos, corpus, "--name", "asked") == 0
    assert len(openai_server.requests) == 2 * asked


def test_a_name_that_is_partly_made_goes_on_with_the_settings_of_default(corpus: Path, videos: Path) -> None:
    assert curate(videos, corpus, "--name", "base", "--set", "captions.max_chars=60") == 0
    shutil.rmtree(corpus / "captions/default")
    shutil.copytree(corpus / "captions/base", corpus / "captions/default")
    select = ["--name", "strict", "--set", "select.blurred=sharpness < 0.01"]
    assert stiv(["select", str(corpus), "--executor", "inline", *select]) == 0
    assert stiv(["caption", str(corpus), "--executor", "inline", "--name", "strict"]) == 0
    assert json.loads((corpus / "captions/strict/variant.json").read_text())["settings"]["max_chars"] == 60


def test_a_percentile_of_what_is_only_known_of_captions(corpus: Path, videos: Path, run: Any) -> None:
    rule = "judge.longest=caption_words > percentile(caption_words, 50)"
    _, counts = run(corpus, settings=(rule,), name="half", stages=("select", "caption", "check", "judge"))
    resolved = json.loads((corpus / "decisions/half/variant.json").read_text())["resolved"]["percentiles"]
    assert list(resolved) == ["caption_words@50.0"]
    assert 0 < counts.kept < counts.judged


def test_an_unmade_input_names_the_command_with_the_name(
    corpus: Path, capsys: pytest.CaptureFixture[str], videos: Path
) -> None:
    assert curate(videos, corpus, "--name", "plain", "--set", DESCRIBE) == 0
    for path in (corpus / "decisions/plain").glob("part-*"):
        path.unlink()
    capsys.readouterr()
    assert stiv(["export", str(corpus), "--name", "plain", "--executor", "inline"]) == 2
    assert "--name plain` first" in " ".join(capsys.readouterr().err.split())
