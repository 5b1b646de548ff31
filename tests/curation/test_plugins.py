"""Captioners, scorers and taggers from outside: found, checked, asked once, and never the run's end."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curation import plugins
from curation.answers import KeptAnswers
from curation.captioning import Unanswered, make_captioners
from curation.captioning.contract import CaptionText, ClipFacts, StillRef
from curation.captioning.outside import OutsideCaptioner
from curation.own_scores import score_clips
from curation.plugins import CAPTIONERS, SCORERS, TAGGERS, Plugin
from curation.storage import Store
from schemas.errors import RecipeError, StivError
from schemas.tables import SCORES

ROOT = Path(__file__).parents[2]

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a package with entry points on the path, as an installer would."""

    def put(code: str, points: dict[str, dict[str, str]], package: str = "toy", version: str = "2.1") -> None:
        site = tmp_path / package
        info = site / f"{package}-{version}.dist-info"
        info.mkdir(parents=True)
        (site / f"{package}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in held.items()) for group, held in points.items()]
        (info / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(str(site))

    plugins._make.cache_clear()
    yield put
    plugins._make.cache_clear()
    for name in ("toy", "other"):
        sys.modules.pop(name, None)


def clip(clip_id: str = "c", *greys: int) -> ClipFacts:
    def jpeg(grey: int) -> bytes:
        return cv2.imencode(".jpg", np.full((16, 32, 3), grey, np.uint8))[1].tobytes()

    stills = [StillRef(i, lambda g=g: jpeg(g)) for i, g in enumerate(greys)]  # type: ignore[misc]
    return ClipFacts(clip_id, "/v/a_cat.mp4", "a_cat.mp4", None, {"width": 32, "height": 16}, stills)


# Finding --------------------------------------------------------------------------------------------------------------


def test_names_that_are_nowhere_get_a_list_of_what_there_is(install: Install) -> None:
    install("", {CAPTIONERS: {"mine": "toy:X"}, SCORERS: {"sharp": "toy:X"}, TAGGERS: {"shape": "toy:X"}})
    with pytest.raises(RecipeError, match=r"no captioner `yours`.*sidecar, describe, vlm, openai, frames\+llm, mine"):
        plugins.captioner("yours", {})
    with pytest.raises(RecipeError, match=r"no scorer or tagger `mine`.*There are: shape, sharp"):
        plugins.scorer("mine")
    with pytest.raises(RecipeError, match="no captioner `sharp`"):
        make_captioners({"captioners": ["describe", "sharp"]}, lambda name: pytest.fail("no model"))


def test_a_plugin_that_cannot_be_used_says_which_and_why(install: Install) -> None:
    code = """
class NoMark:
    def score(self, clip): return {}
class NoMethod:
    fingerprint = "x"
class Fails:
    def __init__(self): raise OSError("no weights")
class NotAsync:
    fingerprint = "x"
    def caption(self, clips): return []
"""
    scorers = {
        "mark": "toy:NoMark",
        "method": "toy:NoMethod",
        "fails": "toy:Fails",
        "gone": "toy:Gone",
        "mod": "nomod:X",
    }
    install(code, {SCORERS: scorers, TAGGERS: {"tagger": "toy:NoMethod"}, CAPTIONERS: {"sync": "toy:NotAsync"}})
    for name, why in {
        "mark": "has no `fingerprint`",
        "method": "has no `score` or `score_batch`",
        "tagger": "has no `tag` or `tag_batch`",
        "fails": "toy 2.1 cannot be used (OSError: no weights)",
        "gone": "AttributeError",
        "mod": "ModuleNotFoundError",
    }.items():
        with pytest.raises(RecipeError, match=re.escape(why)):
            plugins.scorer(name)
    with pytest.raises(RecipeError, match="not `async`"):
        plugins.captioner("sync", {})


def test_two_packages_with_one_name_are_refused(install: Install) -> None:
    code = "class X:\n    fingerprint = 'x'\n    def score(self, clip): return {}"
    install(code, {SCORERS: {"sharp": "toy:X"}})
    assert plugins.scorer("sharp").package == "toy 2.1"
    plugins._make.cache_clear()
    install(code, {TAGGERS: {"sharp": "other:X"}}, package="other")
    with pytest.raises(RecipeError, match=r"more than one scorer or tagger `sharp`.*toy 2\.1.*other 2\.1"):
        plugins.scorer("sharp")


def test_inputs_of_variants_are_fingerprints_of_plugins_only(install: Install) -> None:
    code = """
class C:
    def __init__(self, **settings): self.fingerprint = f"c-{settings.get('prompt')}"
    async def caption(self, clips): return []
class S:
    fingerprint = "s-1"
    def score(self, clip): return {}
"""
    install(code, {CAPTIONERS: {"mine": "toy:C"}, SCORERS: {"sharp": "toy:S"}})
    names = ("sidecar", "mine", "describe", "vlm", "openai", "frames+llm")
    assert plugins.captioner_inputs(names, {"prompt": "p", "rewrite": {}}) == {
        "captioner mine": {"name": "toy 2.1", "fingerprint": "c-p"}
    }
    assert plugins.captioner_inputs(("sidecar", "describe")) == {}
    assert plugins.scorer_inputs(("sharp",)) == {"scorer sharp": {"name": "toy 2.1", "fingerprint": "s-1"}}


def test_a_plugin_is_made_once_with_its_settings(install: Install) -> None:
    code = """
made = []
class C:
    fingerprint = "c"
    def __init__(self, **settings): made.append(settings)
    async def caption(self, clips): return [None for _ in clips]
"""
    install(code, {CAPTIONERS: {"mine": "toy:C"}})
    settings = {"captioners": ["mine"], "prompt": "p\n", "styles": ["long"], "max_chars": 9, "rewrite": {}, "chats": {}}
    first, second = (make_captioners(settings, lambda name: pytest.fail("no model"))[0] for _ in range(2))
    assert (first.name, first.fingerprint) == (second.name, second.fingerprint) == ("mine", "c")
    import toy  # type: ignore[import-not-found]

    assert toy.made == [{"prompt": "p\n", "styles": ["long"], "max_chars": 9}]


# Captioners -----------------------------------------------------------------------------------------------------------


class Toy:
    """A captioner as somebody might write it."""

    def __init__(self, says: Callable[[ClipFacts], Any], **more: Any) -> None:
        self.says = says
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0
        self.__dict__.update(more)

    async def caption(self, clips: Sequence[ClipFacts]) -> list[Any]:
        self.asked += [c.clip_id for c in clips]
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return [self.says(c) for c in clips]


def captions(made: Any, clips: Sequence[ClipFacts], kept: KeptAnswers | None = None) -> list[Any]:
    captioner = OutsideCaptioner(Plugin("mine", CAPTIONERS, "toy 2.1", "f", made), kept)
    return asyncio.run(captioner.caption(clips))


def test_kept_texts_are_not_asked_for_again(tmp_path: Path) -> None:
    toy = Toy(lambda c: CaptionText(c.clip_id, "s", "{}", "source") if c.clip_id != "b" else None)
    clips, kept = [clip(i) for i in "abc"], KeptAnswers(Store(tmp_path), "f", 0)
    first = captions(toy, clips, kept)
    assert first == [CaptionText("a", "s", "{}", "source"), None, CaptionText("c", "s", "{}", "source")]
    kept.close()
    assert captions(toy, clips[::-1], KeptAnswers(Store(tmp_path), "f", 0)) == first[::-1]
    assert toy.asked == ["a", "b", "c", "b"]


def test_texts_are_kept_by_name_and_fingerprint_where_they_are_dear(install: Install) -> None:
    code = """
class Dear:
    fingerprint = "d-1"
    async def caption(self, clips): return []
class Cheap(Dear):
    dear = False
class Other(Dear):
    fingerprint = "d-2"
"""
    install(code, {CAPTIONERS: {"dear": "toy:Dear", "also": "toy:Dear", "cheap": "toy:Cheap", "other": "toy:Other"}})
    asked: list[str] = []

    def keep(mark: str) -> Any:
        asked.append(mark)

    names = ["dear", "also", "cheap", "other", "describe"]
    make_captioners({"captioners": names}, lambda name: pytest.fail("no model"), keep=keep)
    assert len(set(asked)) == len(asked) == 3


def test_texts_of_other_settings_are_kept_apart(install: Install) -> None:
    code = """
class C:
    fingerprint = "c"
    def __init__(self, **settings): pass
    async def caption(self, clips): return []
"""
    install(code, {CAPTIONERS: {"mine": "toy:C"}})
    settings = {"captioners": ["mine"], "prompt": "p", "styles": ["long"], "max_chars": 9}
    asked: list[str] = []

    def keep(mark: str) -> Any:
        asked.append(mark)

    changes: list[dict[str, Any]] = [{}, {"rewrite": {}}, {"prompt": "q"}, {"styles": ["short"]}, {"max_chars": 8}]
    for change in changes:
        make_captioners({**settings, **change}, lambda name: pytest.fail("no model"), keep=keep)
    assert asked[0] == asked[1]
    assert len(set(asked)) == 4


def test_batches_go_to_a_package_one_at_a_time() -> None:
    toy = Toy(lambda c: CaptionText(c.clip_id))

    async def both() -> list[Any]:
        captioner = OutsideCaptioner(Plugin("mine", CAPTIONERS, "toy 2.1", "f", toy))
        return await asyncio.gather(*(captioner.caption([clip(i)]) for i in "abc"))

    assert asyncio.run(both()) == [[CaptionText(i)] for i in "abc"]
    assert toy.most_at_once == 1


def test_a_package_that_fails_is_named() -> None:
    for says, why in ((lambda c: 1 / 0, "ZeroDivisionError"), (lambda c: "text", "a str where a CaptionText")):
        with pytest.raises(StivError, match=rf"captioner `mine` of toy 2\.1 failed: .*{why}"):
            captions(Toy(says), [clip()])

    class Short(Toy):
        async def caption(self, clips: Sequence[ClipFacts]) -> list[Any]:
            return []

    with pytest.raises(StivError, match="0 texts for 1 clips"):
        captions(Short(str), [clip()])


def test_a_failure_that_may_pass_costs_no_other_text_and_is_asked_about_again(tmp_path: Path) -> None:
    down = {"b", "c"}
    toy = Toy(lambda c: Unanswered(1, f"{c.clip_id} is down") if c.clip_id in down else CaptionText(c.clip_id))
    clips, kept = [clip(i) for i in "abcd"], KeptAnswers(Store(tmp_path), "f", 0)
    with pytest.raises(Unanswered, match=r"^b is down$") as failed:
        captions(toy, clips, kept)
    assert failed.value.questions == 2
    kept.close()
    down.clear()
    assert captions(toy, clips, KeptAnswers(Store(tmp_path), "f", 0)) == [CaptionText(i) for i in "abcd"]
    assert toy.asked == [*"abcd", *"bc"]

    class Busy(Toy):
        async def caption(self, clips: Sequence[ClipFacts]) -> list[Any]:
            raise Unanswered(len(clips), "busy")

    with pytest.raises(Unanswered, match=r"^busy$"):
        captions(Busy(str), clips)


def test_warnings_of_a_package_are_told_once() -> None:
    toy = Toy(lambda c: None, warnings=["of an earlier part"])
    captioner = OutsideCaptioner(Plugin("mine", CAPTIONERS, "toy 2.1", "f", toy))
    toy.warnings.append("new")  # type: ignore[attr-defined]
    assert captioner.warnings == ["new"]


# Scorers and taggers --------------------------------------------------------------------------------------------------


def scored(clips: Sequence[ClipFacts], *made: tuple[str, str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    rows, warnings = score_clips(clips, [Plugin(name, group, "toy 2.1", "f", one) for name, group, one in made])
    pa.Table.from_pylist(rows, schema=SCORES.arrow).validate(full=True)
    return rows, warnings


class One:
    def __init__(self, says: Callable[[ClipFacts], Any]) -> None:
        self.score = self.tag = says


class Many:
    batch = 2

    def __init__(self, says: Callable[[ClipFacts], Any]) -> None:
        self.says = says
        self.sizes: list[int] = []

    def score_batch(self, clips: Sequence[ClipFacts]) -> list[Any]:
        self.sizes.append(len(clips))
        return [self.says(c) for c in clips]

    tag_batch = score_batch


def test_scores_and_tags_are_named_by_plugin_and_aspect() -> None:
    rows, warnings = scored(
        [clip("a"), clip("b")],
        ("z", SCORERS, One(lambda c: {"": 1, "y": np.float32(0.5)})),
        ("a", SCORERS, One(lambda c: {"x": True})),
        ("t", TAGGERS, One(lambda c: ["wide", "wide", "", "low"])),
        ("u", TAGGERS, One(lambda c: [])),
    )
    assert [row["clip_id"] for row in rows] == ["a", "b"]
    assert rows[0]["user_scores"] == [("a.x", 1.0), ("z", 1.0), ("z.y", 0.5)]
    assert rows[0]["user_tags"] == ["t.wide", "t.low"]
    assert warnings == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_finite_number_is_left_out_with_a_note(bad: float) -> None:
    rows, warnings = scored([clip("a"), clip("b")], ("s", SCORERS, One(lambda c: {"x": bad, "y": 2.0})))
    assert rows[0]["user_scores"] == [("s.y", 2.0)]
    assert warnings == [f"s: gave what is no finite number, it is left out (2 ×), such as clip a: x = {bad}"]


def test_a_failure_on_one_clip_costs_only_that_score() -> None:
    def says(c: ClipFacts) -> dict[str, float]:
        if c.clip_id == "b":
            raise RuntimeError("out of luck")
        return {"x": 1.0}

    clips = [clip(i) for i in "abcd"]
    many = Many(says)
    rows, warnings = scored(clips, ("one", SCORERS, One(says)), ("many", SCORERS, many))
    both = [("many.x", 1.0), ("one.x", 1.0)]
    assert [row["user_scores"] for row in rows] == [both, [], both, both]
    assert warnings == [
        f"{name}: failed, the clip is without it (1 ×), such as clip b: RuntimeError: out of luck"
        for name in ("one", "many")
    ]
    assert many.sizes == [2, 1, 1, 2]


@pytest.mark.parametrize("answer", [{"x": "1"}, {3: 1.0}, 0.5, ["x"], {"x": None}, None])
def test_what_is_no_score_is_left_out(answer: Any) -> None:
    rows, warnings = scored([clip()], ("s", SCORERS, One(lambda c: answer)))
    assert rows[0]["user_scores"] == []
    assert len(warnings) == (answer is not None)


@pytest.mark.parametrize("answer", ["text", [1], 3])
def test_what_is_no_tag_is_left_out(answer: Any) -> None:
    rows, warnings = scored([clip()], ("t", TAGGERS, Many(lambda c: answer)))
    assert rows[0]["user_tags"] == []
    assert len(warnings) == 1


def test_a_batch_answered_for_another_number_of_clips_is_a_failure() -> None:
    class Odd(Many):
        def score_batch(self, clips: Sequence[ClipFacts]) -> list[Any]:
            return [{"x": 1.0}]

    rows, warnings = scored([clip(i) for i in "abc"], ("s", SCORERS, Odd(str)))
    assert all(row["user_scores"] == [("s.x", 1.0)] for row in rows)
    assert warnings == []


# The example ----------------------------------------------------------------------------------------------------------


def test_contributing_shows_the_example_as_it_is() -> None:
    shown = re.findall(r"```(?:python|toml)\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    for name in ("stiv_example.py", "pyproject.toml"):
        assert (ROOT / "examples" / "plugin" / name).read_text() in shown


def test_the_example_says_what_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "plugin"))
    import stiv_example  # type: ignore[import-not-found]

    rows, warnings = scored(
        [clip("a", 51, 153)],
        ("brightness", SCORERS, stiv_example.Brightness()),
        ("shape", TAGGERS, stiv_example.Shape()),
    )
    assert dict(rows[0]["user_scores"]) == pytest.approx({"brightness.mean": 0.4, "brightness.spread": 0.2}, abs=0.01)
    assert rows[0]["user_tags"] == ["shape.landscape"]
    assert warnings == []
    assert captions(stiv_example.FileNames(prompt="x"), [clip()]) == [CaptionText("A video named a cat.mp4.")]
