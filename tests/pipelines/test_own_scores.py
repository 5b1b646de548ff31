"""The example package in a real run: its scores, tags and captions, and a rule over them."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from curation import plugins
from curation.captioning import Unanswered
from curation.corpus import Corpus
from schemas.errors import RecipeError, UnansweredError

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"
OWN = (
    'features.scores.scorers=["brightness","shape"]',
    'captions.captioners=["file_names","describe"]',
    "features.text.enabled=false",
    "features.embeddings.enabled=false",
    "dedup.enabled=false",
    "check.enabled=false",
    "judge.caption_language=off",
)
STAGES = ("features", "select", "caption", "judge")


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The example package, registered as an installer would; gives its folder."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    site = tmp_path / "site"
    info = site / f"stiv_example-{project['version']}.dist-info"
    info.mkdir(parents=True)
    shutil.copy(EXAMPLE / "stiv_example.py", site)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    points = project["entry-points"].items()
    (info / "entry_points.txt").write_text(
        "\n".join(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in held.items()) for group, held in points)
    )
    monkeypatch.syspath_prepend(str(site))
    plugins._make.cache_clear()
    yield site
    plugins._make.cache_clear()


@pytest.fixture
def corpus(straight: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(straight, tmp_path / "corpus"))


def rows(corpus: Path, table: str, name: str = "own") -> list[dict[str, Any]]:
    opened = Corpus.open(corpus)
    return [row for part in opened.parts() for row in opened.read(table, part, name).to_pylist()]


def test_the_example_captions_scores_and_tags_and_its_scores_serve_a_rule(
    example: Path, corpus: Path, run: Callable[..., Any]
) -> None:
    _, counts = run(corpus, settings=OWN, stages=STAGES, name="own")
    scores = {row["clip_id"]: dict(row["user_scores"]) for row in rows(corpus, "scores")}
    assert len(scores) == 4
    assert all(sorted(s) == ["brightness.mean", "brightness.spread"] for s in scores.values())
    assert all(row["user_tags"] == ["shape.landscape"] for row in rows(corpus, "scores"))
    captions = rows(corpus, "captions")
    assert {row["caption"] for row in captions} >= {"A video named two shots.mp4.", "A video named sub/third one.mkv."}
    assert {row["captioner"] for row in captions} == {"file_names"}
    assert {row["captioner_fingerprint"] for row in captions} == {"file-names-1"}
    assert counts.captioners == {"file_names": 4}
    assert counts.notes == []

    limit = sorted(s["brightness.mean"] for s in scores.values())[1] + 1e-9
    rule = f"select.dim=user_scores['brightness.mean'] < {limit!r}"
    _, counts = run(corpus, settings=(*OWN, rule), stages=STAGES, name="strict")
    selected = {row["clip_id"]: (row["selected"], row["reason"]) for row in rows(corpus, "selections", "strict")}
    assert selected == {
        clip: (False, "dim") if score["brightness.mean"] < limit else (True, None) for clip, score in scores.items()
    }
    assert not counts.looked_clips["scores"]  # the same clips, measured in the same way: nothing is to be done

    _, counts = run(corpus, settings=(*OWN, "select.small=width < 9"), stages=("features",), name="third")
    assert (counts.looked_reused["scores"], counts.looked_clips["scores"]) == (4, 0)
    assert rows(corpus, "scores", "third") == rows(corpus, "scores")


def test_a_scorer_that_fails_on_one_clip_is_a_note_and_is_asked_again(
    example: Path, corpus: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import stiv_example  # type: ignore[import-not-found]

    good, calls = stiv_example.Brightness.score, []

    def bad(self: Any, clip: Any) -> dict[str, float]:
        calls.append(clip)
        if len(calls) == 2:
            raise RuntimeError("no luck")
        return {"mean": float("nan")} if len(calls) == 3 else good(self, clip)

    monkeypatch.setattr(stiv_example.Brightness, "score", bad)
    settings = (*OWN, "features.scores.stills=1")
    _, counts = run(corpus, settings=settings, stages=("features",), name="own")
    assert sorted(len(row["user_scores"]) for row in rows(corpus, "scores")) == [0, 0, 2, 2]
    assert sorted(note.partition(",")[0] for note in counts.notes) == [
        "brightness: failed",
        "brightness: gave what is no finite number",
    ]
    assert all(len(clip.stills) == 1 for clip in calls)
    assert calls[0].row["width"] == 320
    monkeypatch.setattr(stiv_example.Brightness, "score", good)
    run(corpus, settings=(*settings, "select.small=width < 9"), stages=("features",), name="two")
    assert all(len(row["user_scores"]) == 2 for row in rows(corpus, "scores", "two"))


def test_a_captioner_whose_service_is_down_for_one_clip_is_asked_about_that_one_again(
    example: Path, corpus: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import stiv_example

    good, asked, lost = stiv_example.FileNames.caption, [], []

    async def down(self: Any, clips: Any) -> list[Any]:
        asked.extend(clip.clip_id for clip in clips)
        lost.append(clips[0].clip_id)
        return [Unanswered(1, "out for lunch"), *(await good(self, clips[1:]))]

    async def up(self: Any, clips: Any) -> list[Any]:
        asked.extend(clip.clip_id for clip in clips)
        return list(await good(self, clips))

    monkeypatch.setattr(stiv_example.FileNames, "dear", True)
    monkeypatch.setattr(stiv_example.FileNames, "caption", down)
    with pytest.raises(UnansweredError, match=r"no answer, for a reason that may pass.*out for lunch"):
        run(corpus, settings=OWN, stages=STAGES, name="own")
    assert len(asked) == len(set(asked)) == 4
    monkeypatch.setattr(stiv_example.FileNames, "caption", up)
    _, counts = run(corpus, settings=OWN, stages=STAGES, name="own")
    assert counts.captioners == {"file_names": 4}
    assert sorted(asked[4:]) == sorted(lost) != sorted(asked[:4])


def test_only_clips_that_the_cheap_rules_leave_are_scored(example: Path, corpus: Path, run: Callable[..., Any]) -> None:
    rule = "select.only=source_rel_path NOT LIKE 'two%'"
    run(corpus, settings=(*OWN, rule), stages=("features",), name="own")
    assert len(rows(corpus, "scores")) == 2
    run(corpus, settings=(*OWN, rule, "features.scores.score_all=true"), stages=("features",), name="all")
    assert len(rows(corpus, "scores", "all")) == 4


def test_an_unknown_scorer_stops_before_anything_is_done(corpus: Path, run: Callable[..., Any]) -> None:
    with pytest.raises(RecipeError, match="no scorer or tagger `sharpest`"):
        run(corpus, settings=('features.scores.scorers=["sharpest"]',), stages=("features",), name="own")
    assert not (corpus / "features" / "scores").exists()
