from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from curation.corpus import Corpus
from curation.listing import path_to_uri
from pipelines.apps.explain import ClipStory, Explanation, SourceStory, explain, print_explanation
from pipelines.apps.explain_learned import OTHERS
from pipelines.apps.explain_source import stretches
from pipelines.apps.query import run_query
from schemas.errors import UsageError
from schemas.recipe import Shots

Build = Callable[..., Corpus]


def _clip(corpus: Corpus, where: str) -> str:
    found = run_query(corpus, f"SELECT clip_id FROM clips_all WHERE {where} ORDER BY clip_id LIMIT 1")
    return str(found.column(0)[0].as_py())


def _story(corpus: Corpus, where: str) -> ClipStory:
    story = explain(corpus, _clip(corpus, where))
    assert isinstance(story, ClipStory)
    return story


def _printed(story: Explanation) -> str:
    console = Console(file=io.StringIO(), width=200, highlight=False, soft_wrap=True)
    print_explanation(story, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_kept_clip_tells_its_whole_story(corpus: Corpus) -> None:
    story = _story(corpus, "shard IS NOT NULL AND shot = 0")
    assert (story.outcome, story.reason, story.reasons) == ("kept", None, [])
    assert story.origin.before is None
    assert story.origin.after is not None
    assert (story.origin.after["kind"], story.origin.trimmed_before, story.origin.trimmed_after) == ("cut", 0, 2)
    assert story.shard is not None
    assert story.why_no_shard is None
    assert story.caption is not None
    assert story.caption["captioner"] in ("sidecar", "describe")
    assert len(story.stills) == 4
    assert {r.outcome for r in story.rules} <= {"pass", "unknown"}
    text = _printed(story)
    for words in (
        "Listed",
        "Read",
        "Cut out",
        "begins   at the start of the source",
        "Rules",
        f"shards/default/{story.shard['shard']}.tar",
        story.caption["caption"],
    ):
        assert words in text


def test_what_is_told_in_json_is_json(corpus: Corpus) -> None:
    data = json.loads(json.dumps(_story(corpus, "kept").as_json()))
    assert data["kind"] == "clip"
    assert next(s for s in data["signals"] if s["name"] == "motion")["unit"] == "% of diagonal / s"
    assert json.loads(json.dumps(explain(corpus, "day1/empty.mp4").as_json()))["kind"] == "source"


def test_rules_show_values_and_verdicts_as_recorded(corpus: Corpus) -> None:
    story = _story(corpus, "list_contains(reasons, 'black')")
    verdicts = {r.name: r for r in story.rules}
    assert [r.name for r in story.rules if r.outcome == "drop"] == story.reasons
    assert verdicts["black"].values == {"black_share": 0.8, "brightness": 0.01}
    assert verdicts["no_caption"].outcome == "skipped"
    percentile = verdicts["still"].percentiles["percentile(motion, 10)"]
    assert percentile is not None
    assert f"{percentile:.4g}" in _printed(story)


def test_an_unmeasured_signal_is_unknown_not_a_drop(corpus: Corpus) -> None:
    story = _story(corpus, "aesthetic_photo IS NULL")
    assert next(r for r in story.rules if r.name == "unaesthetic").outcome == "unknown"
    assert next(s for s in story.signals if s.name == "aesthetic_photo").percentile is None
    assert "aesthetic_photo = NULL" in _printed(story)


def test_percentiles_are_of_the_corpus(corpus: Corpus) -> None:
    for order, low, high in (("min", 0, 3), ("max", 97, 100)):
        story = _story(corpus, f"motion = (SELECT {order}(motion) FROM clips)")
        place = next(s for s in story.signals if s.name == "motion").percentile
        assert place is not None
        assert low <= place <= high


def test_pieces_of_a_split_shot(corpus: Corpus) -> None:
    first, second = _story(corpus, "shot = 3 AND piece = 0"), _story(corpus, "shot = 3 AND piece = 1")
    assert first.origin.pieces == second.origin.pieces == 2
    assert (first.origin.trimmed_before, first.origin.trimmed_after, second.origin.trimmed_before) == (2, 0, 0)
    assert "where its shot was split" in _printed(first)
    assert "at the dissolve at 0:20.00 to 0:20.80" in _printed(first)
    assert "at the end of the source" in _printed(second)


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("kept = false", "dropped"),
        ("clip_id IN (SELECT clip_id FROM shard_failures)", "the source has changed"),
        ("clip_id IN (SELECT clip_id FROM shard_plan WHERE shard = '000002')", "not finished"),
    ],
)
def test_why_a_clip_is_in_no_shard(corpus: Corpus, where: str, why: str) -> None:
    story = _story(corpus, where)
    assert story.shard is None
    assert why in (story.why_no_shard or "")


@pytest.mark.parametrize(
    ("upto", "why"), [("scanned", "not decided"), ("captioned", "not decided"), ("judged", "nothing is exported")]
)
def test_a_story_that_is_not_finished(build: Build, upto: str, why: str) -> None:
    corpus = build(upto=upto)
    story = _story(corpus, "kept" if upto == "judged" else "coalesce(selection_selected, true)")
    assert why in (story.why_no_shard or "")
    assert len(story.rules) == {"scanned": 0, "captioned": 7, "judged": 9}[upto]
    assert _printed(story)


def test_a_selection_alone_can_drop(build: Build) -> None:
    story = _story(build(upto="selected"), "NOT selection_selected")
    assert story.outcome == "dropped"
    assert story.reason == story.reasons[0]


def test_a_source_accounts_for_every_second(corpus: Corpus) -> None:
    story = explain(corpus, "day0/walk 1.mp4")
    assert isinstance(story, SourceStory)
    spans = sorted(
        [(c["start_frame"], c["end_frame"]) for c in story.clips]
        + [(s.start_frame, s.end_frame) for s in story.stretches]
    )
    assert spans[0][0] == 0
    assert spans[-1][1] == 1000
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    whys = [s.why for s in story.stretches]
    assert any("shot too short: 1.04 s after trimming, scan.shots.min_s is 2 s" in w for w in whys)
    assert "trimmed before the cut" in whys
    assert any(w.startswith("dissolve") for w in whys)
    text = _printed(story)
    assert all(c["clip_id"] in text for c in story.clips)
    assert "4 clips (38 s of 40 s)" in text


def test_a_broken_source_says_what_is_wrong_and_whether_to_retry(corpus: Corpus) -> None:
    text = _printed(explain(corpus, "day2/gone.mp4"))
    assert (
        "not_found: the file is not there: it was moved or deleted, or the manifest names it wrongly; trying again may help"
        in text
    )
    assert "avformat said <b>no</b>" in text
    assert "trying again will not help" in _printed(explain(corpus, "empty.mp4"))


def test_a_source_that_is_only_planned(build: Build) -> None:
    story = explain(build(upto="planned"), "day0/walk 0.mp4")
    assert isinstance(story, SourceStory)
    assert story.reading.facts is None
    text = _printed(story)
    assert "not scanned yet" in text
    assert "CC0" in text
    assert "A & B" in text


def test_a_retried_source_shows_its_newest_row_and_the_earlier_one(build: Build) -> None:
    corpus = build(upto="scanned")
    old = corpus.read("sources", 2).to_pylist()[3]
    corpus.write("plan", 3, [corpus.read("plan", 2).to_pylist()[3]])
    corpus.store.commit_bytes("plan/parts.json", b'{"parts": 4}')
    for table in ("transitions", "clips"):
        corpus.write(table, 3, [])
    corpus.write("sources", 3, [{**old, "error_code": "no_permission"}])
    story = explain(corpus, "gone.mp4")
    assert isinstance(story, SourceStory)
    assert story.reading.facts is not None
    assert story.reading.facts["error_code"] == "no_permission"
    assert story.reading.earlier == ["part 2: error (not_found)"]


@pytest.mark.parametrize("length", [6, 12, 32])
def test_a_clip_by_the_beginning_of_its_id(corpus: Corpus, length: int) -> None:
    clip = _clip(corpus, "kept")
    story = explain(corpus, clip[:length])
    assert isinstance(story, ClipStory)
    assert story.clip_id == clip


def test_a_source_by_any_of_its_names(corpus: Corpus) -> None:
    sid = run_query(corpus, "SELECT source_id FROM sources WHERE rel_path = 'day1/walk 2.mp4'").column(0)[0].as_py()
    for what in (
        sid,
        sid[:8],
        "file:///videos/day1/walk 2.mp4",
        "day1/walk 2.mp4",
        "./day1/walk 2.mp4",
        "videos/day1/walk 2.mp4",
    ):
        story = explain(corpus, what)
        assert isinstance(story, SourceStory)
        assert story.reading.listed["rel_path"] == "day1/walk 2.mp4"


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("walk 1.mp4", "may be any of .*day0/walk 1.mp4.*day1/walk 1.mp4"),
        ("day1/walk1.mp4", "Did you mean `day1/walk 1.mp4`"),
        ("gnoe.mp4", "Did you mean `day2/gone.mp4`"),
        ("c0ffee0ffee", "no clip and no source"),
        ("cabc", "too short"),
        ("zzzzzzzz", "Give a clip id"),
        ("", "no clip and no source"),
        ("'; DROP VIEW clips; --", "no clip and no source"),
    ],
)
def test_unknown_and_ambiguous_names(corpus: Corpus, what: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        explain(corpus, what)


# What was learned --------------------------------------------------------------------------------------------------------


def test_names_with_backslashes_and_with_bytes_that_are_no_text(build: Build) -> None:
    """A file is found by its real name, as a shell gives it, and by the form in which it is printed."""
    corpus = build(upto="planned", with_errors=False)
    real = [b"/videos/day0/back\\slash.mp4", b"/videos/day0/bad\xffbyte.mp4", b"/videos/day0/\xff and \\ both.mp4"]
    paths = [Path(os.fsdecode(name)) for name in real]
    rows = corpus.read("plan", 0).to_pylist()
    for row, path in zip(rows, paths, strict=True):
        row |= {
            "uri": path_to_uri(path),
            "rel_path": os.fsencode(path.relative_to("/videos")).decode("utf-8", "backslashreplace"),
        }
    corpus.write("plan", 0, rows)
    for row, path in zip(rows, paths, strict=True):
        name = str(path.name)
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        for what in (name, shown, f"day0/{name}", f"day0/{shown}", str(path), row["uri"], row["rel_path"]):
            assert _listed(corpus, what)["uri"] == row["uri"], what
    with pytest.raises(UsageError, match=r"no clip and no source `nosuch\\xff\.mp4`") as caught:
        explain(corpus, os.fsdecode(b"nosuch\xff.mp4"))
    str(caught.value).encode("utf-8")
    # Written with the other separator, a path is still found, but a name that is just so comes first.
    rows[0] |= {"uri": "/videos/day0/slash.mp4", "rel_path": "day0/slash.mp4"}
    rows[1] |= {"uri": "/videos/day0\\slash.mp4", "rel_path": "day0\\slash.mp4"}
    corpus.write("plan", 0, rows)
    assert _listed(corpus, "day0\\slash.mp4")["rel_path"] == "day0\\slash.mp4"
    corpus.write("plan", 0, [rows[0], rows[2]])
    assert _listed(corpus, "day0\\slash.mp4")["rel_path"] == "day0/slash.mp4"


def _listed(corpus: Corpus, what: str) -> dict[str, Any]:
    story = explain(corpus, what)
    assert isinstance(story, SourceStory)
    return story.reading.listed


def test_a_duplicate_says_what_it_gives_way_to_and_why(learned: Corpus) -> None:
    for kind, words in (
        ("exact", "exact, equal content and equal span"),
        ("near", "near, 94 % of the bits of the perceptual hashes are equal"),
        ("semantic", "semantic, cosine of the vectors 0.9741"),
    ):
        story = _story(learned, f"duplicate_of IS NOT NULL AND duplicate_kind = '{kind}'")
        assert story.kinship is not None
        kept = story.kinship.kept
        assert kept is not None
        assert kept.clip_id == _clip(
            learned, f"clip_id = (SELECT duplicate_of FROM duplicates d WHERE d.clip_id = '{story.clip_id}')"
        )
        assert f"gives way to {kept.clip_id} in {kept.where} " in _printed(story)
        assert words in _printed(story)
        assert story.reasons[-1] == "duplicate"


def test_a_kept_clip_names_those_that_gave_way_to_it_in_all_parts(learned: Corpus) -> None:
    story = _story(learned, "duplicate_cluster = clip_id AND duplicate_kind = 'exact'")
    assert story.kinship is not None
    assert story.kinship.kept is None
    assert sorted(str(o.where) for o in story.kinship.gave_way) == ["day1/walk 0.mp4", "day2/walk 0.mp4"]
    text = _printed(story)
    assert "stays; 2 clips give way to it:" in text
    assert all(f"  {o.clip_id} in {o.where} 0:00.00 to 0:07.92: exact" in text for o in story.kinship.gave_way)


def test_a_large_cluster_is_cut_short(build: Build) -> None:
    corpus = build(upto="deduplicated", parts=OTHERS + 5)
    story = _story(corpus, "duplicate_cluster = clip_id AND duplicate_kind = 'exact'")
    assert story.kinship is not None
    assert (len(story.kinship.gave_way), story.kinship.gave_way_clips) == (OTHERS, OTHERS + 4)
    assert "and 4 more" in _printed(story)


def test_no_duplicate_is_not_the_same_as_not_sought(build: Build) -> None:
    corpus = build(upto="selected")
    alone = "clip_id IN (SELECT clip_id FROM duplicates WHERE duplicate_cluster IS NULL)"
    assert "no duplicate of another, and none gives way to it" in _printed(_story(corpus, alone))
    unseen = "clip_id NOT IN (SELECT clip_id FROM duplicates)"
    assert "none were sought for it: other rules drop it" in _printed(_story(corpus, unseen))
    corpus.store.remove("duplicates")
    assert "none were sought in this corpus" in _printed(_story(corpus, unseen))


def test_tags_and_scores_say_who_gave_them(learned: Corpus, corpus: Corpus) -> None:
    text = _printed(_story(learned, "list_contains(content_tags, 'slideshow') AND user_scores['calm'] = 0.3"))
    for words in (
        "vector by ViT-B-32 laion2b, from 4 stills",
        "tags: slideshow 0.75, safe 1.00",
        "not: film 0.25, nsfw 0.00",
        "your scorers: calm 0.3",
        "your taggers: mood.quiet",
    ):
        assert words in text
    story = _story(learned, "aesthetic_laion = (SELECT max(aesthetic_laion) FROM embeddings)")
    signals = {s.name: s for s in story.signals}
    assert (signals["aesthetic_laion"].percentile or 0) > 90
    assert signals["openclip_consistency"].unit == "-1..1"
    plain = _story(corpus, "embedding_model IS NOT NULL")
    assert "vector by perceptual" in _printed(plain)
    assert "tags:" not in _printed(plain)
    assert not {"aesthetic_laion", "openclip_consistency"} & {s.name for s in plain.signals}
    assert _story(corpus, "embedding_model IS NULL").looked_at is None


def test_a_caption_tells_its_past_and_what_was_found_out_about_it(learned: Corpus) -> None:
    story = _story(learned, "kept AND dsg IS NOT NULL")
    assert story.caption is not None
    assert story.check is not None
    text = _printed(story)
    for words in (
        "by sidecar, about its whole source, 11 words",
        f"before it was rewritten: In this clip: {story.caption['caption']}",
        "language: en (how sure: 0.98)",
        "category: vehicles; also city (by rules)",
        "agreement of picture and text: 0.25",
        "DSG-Video: dsg_i 0.5, dsg_s 1; 1 of 2 objects hallucinated",
        "✓ car: Is there a red car?  25 unknown  74 yes",
        "✗ <script>alert(1)</script> hallucinated: Is there <script>alert(1)</script>?  25 no  74 no  124 no  173 no",
    ):
        assert words in text
    data = json.loads(json.dumps(story.as_json()))
    assert data["check"]["dsg"]["objects"][0]["answers"] == ["unknown", "yes"]
    assert "caption_language" not in data["caption"]


def test_a_caption_that_no_model_was_asked_about_has_no_empty_lines(corpus: Corpus) -> None:
    text = _printed(_story(corpus, "kept AND category IS NULL"))
    assert "category: none (by rules)" in text
    assert not any(words in text for words in ("agreement", "DSG", "rewritten"))


def test_a_caption_that_was_not_checked_says_so(build: Build) -> None:
    corpus = build(upto="captioned")
    story = _story(corpus, "caption IS NOT NULL")
    assert story.check is None
    assert "it was not checked" in _printed(story)


def test_names_from_models_cannot_drive_the_terminal(build: Build) -> None:
    corpus = build(upto="checked", learned=True, parts=1)
    rows = corpus.read("checks", 0, "default").to_pylist()
    corpus.store.remove(corpus.path("checks", 0, "default"))
    evil = "\x1b[2J"
    dsg = {"stills": [1], "objects": [{"object": evil, "question": evil, "answers": ["no"]}]}
    changed = {
        "category": evil,
        "categories": [evil, evil],
        "dsg": json.dumps(dsg),
        "dsg_hallucinated": [evil],
        "dsg_i": 1.0,
    }
    corpus.write("checks", 0, [{**r, **changed, "dsg_s": 1.0, "dsg_objects": 1} for r in rows], "default")
    text = _printed(_story(corpus, "caption IS NOT NULL"))
    assert "\x1b" not in text
    assert text.count("\\x1b[2J") == 4


def test_stretches_of_a_source_without_clips_or_facts() -> None:
    facts = {"num_frames": 30, "fps": 30.0, "duration_s": 1.0}
    (only,) = stretches(facts, [], [], Shots())
    assert (only.start_frame, only.end_frame, only.start_s, only.end_s) == (0, 30, 0.0, 1.0)
    assert "too short: 1.00 s" in only.why
    assert stretches({"num_frames": None, "fps": None, "duration_s": None}, [], [], Shots()) == []
