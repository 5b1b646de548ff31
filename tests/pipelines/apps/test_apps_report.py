from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from curation import joined, variants
from curation.corpus import Corpus
from curation.rules import check_number
from curation.views import choose, connect
from pipelines.apps import charts, report_data, words
from pipelines.apps.query import run_query
from pipelines.apps.report import in_code, render_report, write_report
from pipelines.apps.report_duplicates import CLUSTERS, MEMBERS, Duplicates, duplicates
from pipelines.apps.report_sheets import NEIGHBOURS, PER_REASON, sheets
from pipelines.apps.report_signals import Histogram, Threshold, histograms
from pipelines.apps.status import corpus_status
from pipelines.apps.thumbnails import shrink
from pipelines.apps.verdicts import rules_in_force
from schemas.errors import UsageError
from schemas.recipe import CurateRecipe

Build = Callable[..., Corpus]

STAGES = ["planned", "scanned", "deduplicated", "selected", "captioned", "checked", "judged", "exported"]
VOID = {"meta", "img", "line", "rect", "br"}


class _Page(HTMLParser):
    """Reads a page, and fails where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]


def _page(corpus: Corpus, **how: Any) -> _Page:
    return _Page(render_report(corpus, **how).decode())


def _scalar(corpus: Corpus, sql: str) -> Any:
    return run_query(corpus, sql).column(0)[0].as_py()


def _told(corpus: Corpus) -> tuple[Any, list[Any]]:
    chosen = choose(corpus)
    db, rules = connect(corpus, chosen), rules_in_force(corpus, chosen)
    report_data.tell(db, rules)
    return db, rules


@pytest.mark.parametrize("upto", STAGES)
def test_the_page_works_at_every_stage(build: Build, upto: str) -> None:
    page = _page(build(upto=upto))
    text = page.text
    assert "15" in text
    assert ("There are no clips yet." in text) == (upto == "planned")
    assert ("No rules have been applied yet." in text) == (upto in ("planned", "scanned", "deduplicated"))
    assert ("No duplicates were sought." in text) == (upto in ("planned", "scanned"))
    assert ("No caption has been checked." in text) == (STAGES.index(upto) < STAGES.index("checked"))
    assert ("Nothing is exported yet." in text) == (upto != "exported")
    assert "to do next" in text
    assert len(page.all("svg")) == (0 if upto == "planned" else len(page.all("figure")))


@pytest.mark.parametrize("with_errors", [True, False])
def test_one_clip(build: Build, with_errors: bool) -> None:
    text = _page(
        build(
            only_clips=1,
            parts=1,
            with_errors=with_errors,
            facts={"motion": 9.0, "sharpness": 0.5, "brightness": 0.5, "aesthetic_photo": 5.0},
        )
    ).text
    assert "became 1 clip ; 1 of them (100 %, 8 s) is kept" in text
    assert ("Every source could be read." in text) == (not with_errors)


def test_nothing_kept_and_everything_unmeasured(build: Build) -> None:
    corpus = build(
        facts={
            "motion": None,
            "sharpness": None,
            "aesthetic_photo": None,
            "brightness": None,
            "black_share": 1.0,
            "phash_a": None,
        }
    )
    page = _page(corpus)
    assert "none of them was kept" in page.text
    assert "motion_p95 % of diagonal" in page.text
    assert "motion % of diagonal" not in page.text


def test_camera_motion_and_sound_are_counted_where_they_are_known(build: Build, corpus: Corpus) -> None:
    assert "Camera motion" not in _page(corpus).text
    text = _page(build(facts={"camera_motion": "pan", "has_sound": False})).text
    assert "Camera motion pan 44" in text
    assert "Sound without sound 44" in text


def test_no_source_at_all(build: Build) -> None:
    assert "0 sources are planned" in _page(build(upto="planned", parts=0)).text


def test_the_page_asks_nothing_of_the_network(corpus: Corpus) -> None:
    html = render_report(corpus).decode()
    page = _Page(html)
    for tag, attrs in page.tags:
        assert tag not in ("link", "iframe", "object", "embed")
        for name in ("src", "href", "srcset", "action"):
            assert attrs.get(name, "#").startswith(("#", "data:image/jpeg;base64,")), (tag, attrs)
    assert "url(" not in html
    assert "@import" not in html
    (policy,) = [m["content"] for m in page.all("meta") if "content" in m and "default-src" in m["content"]]
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_text_from_outside_is_escaped(corpus: Corpus) -> None:
    html = render_report(corpus).decode()
    page = _Page(html)
    assert "<script>alert" not in html
    assert "<b>no</b>" not in html
    assert len(page.all("script")) == 1
    assert "A red car <script>alert(1)</script> drives" in page.text
    assert any("<script>alert(1)</script>.mp4" in a.get("data-tip", "") for a in page.all("article"))


@pytest.mark.parametrize(
    "evil", ['" onmouseover="alert(1)', "' onx='", "{{ 7 * 7 }}", "</style><script>x</script>", "\u2028 ☃ \x00"]
)
def test_captions_cannot_leave_their_place(build: Build, evil: str) -> None:
    page = _page(build(caption=f"one two three {evil}"))
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert len(page.all("script")) == 1
    assert re.sub(r"\s+", " ", f"one two three {evil}").strip() in page.text


def test_the_script_is_the_one_that_the_policy_allows(corpus: Corpus) -> None:
    html = render_report(corpus).decode()
    script = html.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html


def test_the_same_corpus_gives_the_same_bytes(corpus: Corpus) -> None:
    assert render_report(corpus) == render_report(corpus)


def test_where_the_page_is_written(build: Build, tmp_path: Path) -> None:
    corpus = build(upto="judged")
    path = write_report(corpus)
    assert path == Path(corpus.store.full("report.html"))
    assert path.read_bytes() == render_report(corpus)
    other = write_report(corpus, tmp_path / "new folder" / "x.html")
    assert other.read_bytes() == path.read_bytes()
    with pytest.raises(UsageError, match="is a folder"):
        write_report(corpus, tmp_path)


def test_another_variant_on_request(build: Build) -> None:
    corpus = build()
    corpus.store.move("decisions/default", "decisions/second")
    assert "second" in _page(corpus, use={"decisions": "second"}).text


# Numbers -----------------------------------------------------------------------------------------------------------------


def test_the_funnel_adds_up(corpus: Corpus) -> None:
    db, rules = _told(corpus)
    with db:
        total = report_data.totals(db)
        rows = report_data.funnel(corpus_status(corpus), total, report_data.reasons(db, rules), 1)
    by_name = {r.label: r for r in rows}
    assert (by_name["Sources found"].count, by_name["Readable"].count, by_name["Readable"].lost) == (15, 11, 4)
    assert by_name["Clips"].count == 44
    left = 44
    for row in rows:
        if row.kind == "rule":
            assert row.count == left - row.lost
            left = row.count
    assert left == by_name["Kept"].count == _scalar(corpus, "SELECT count(*) FROM decisions WHERE kept")
    exported = by_name["Exported"]
    assert exported.count == _scalar(corpus, "SELECT count(*) FROM shards")
    assert (exported.lost, exported.waiting) == (1, left - exported.count - 1)
    assert by_name["Kept"].seconds == pytest.approx(_scalar(corpus, "SELECT sum(duration_s) FROM clips_all WHERE kept"))


def test_reasons_are_counted_as_first_any_alone_and_unknown(corpus: Corpus) -> None:
    db, rules = _told(corpus)
    with db:
        found = {r.rule.name: r for r in report_data.reasons(db, rules)}
    assert sum(r.first.clips for r in found.values()) == _scalar(
        corpus, "SELECT count(*) FROM decisions WHERE NOT kept"
    )
    for name, row in found.items():
        assert row.any == _scalar(corpus, f"SELECT count(*) FROM decisions WHERE list_contains(reasons, '{name}')")
        assert row.alone == _scalar(corpus, f"SELECT count(*) FROM decisions WHERE reasons = ['{name}']")
        assert row.alone <= row.first.clips <= row.any
    assert (
        found["unaesthetic"].unknown == _scalar(corpus, "SELECT count(*) FROM clips WHERE aesthetic_photo IS NULL") > 0
    )
    assert found["no_caption"].unknown == 0


def test_a_default_rule_over_checks_that_nobody_asked_for_is_not_called_unknown(build: Build) -> None:
    own = [{"name": "mine", "drop": "dsg_i > 0.5"}]
    judge = CurateRecipe().judge.model_dump(mode="json")["rules"] + own
    corpus = build(recipe=CurateRecipe.model_validate({"judge": {"rules": judge}}))
    db, rules = _told(corpus)
    with db:
        found = {r.rule.name: r.unknown for r in report_data.reasons(db, rules)}
    captioned = _scalar(corpus, "SELECT count(*) FROM captions")
    assert (found["hallucinated"], found["mismatch"], found["mine"]) == (0, 0, captioned)


def test_clips_without_a_decision_are_open_not_lost(build: Build) -> None:
    corpus = build(upto="judged")
    corpus.store.remove(corpus.path("decisions", 1, "default"))
    selected = _scalar(corpus, "SELECT count(*) FROM clips_all WHERE kept IS NULL AND selection_selected")
    db, rules = _told(corpus)
    with db:
        total = report_data.totals(db)
        rows = report_data.funnel(corpus_status(corpus), total, report_data.reasons(db, rules), 0)
    assert total.open.clips == selected > 0
    assert rows[-1].waiting == selected
    assert "not decided yet" in _page(corpus).text


def _histograms(corpus: Corpus) -> dict[str, Histogram]:
    db, rules = _told(corpus)
    with db:
        return {h.name: h for h in histograms(db, rules)}


def test_histograms_count_every_measured_clip_once(corpus: Corpus) -> None:
    found = _histograms(corpus)
    assert {"motion", "brightness", "caption_words", "damaged_frames"} <= found.keys()
    assert not {"phash_a", "bar_top"} & found.keys()
    for name, h in found.items():
        assert (
            h.clips
            == sum(b.kept + b.dropped + b.open for b in h.bins)
            == _scalar(corpus, f"SELECT count({name}) FROM clips_all")
        )
        assert sum(b.kept for b in h.bins) == _scalar(corpus, f"SELECT count({name}) FROM clips_all WHERE kept")
        assert h.unknown == 44 - h.clips
    assert found["aesthetic_photo"].bins[0].kept + found["aesthetic_photo"].bins[0].dropped < 4


def test_learned_scores_are_drawn_where_they_were_measured(corpus: Corpus, learned: Corpus) -> None:
    scores = {"aesthetic_laion", "openclip_consistency", "agreement", "dsg_i"}
    assert not scores & _histograms(corpus).keys()
    found = _histograms(learned)
    assert scores <= found.keys()
    assert (found["aesthetic_laion"].clips, found["aesthetic_laion"].unknown) == (39, 5)
    assert found["agreement"].clips == _scalar(learned, "SELECT count(agreement) FROM checks")
    assert (found["dsg_i"].low, found["dsg_i"].high) == (0.5, 0.5)


def test_bins_hold_what_lies_in_them(corpus: Corpus) -> None:
    h = _histograms(corpus)["motion"]
    width = h.bins[0].high - h.bins[0].low
    for b in h.bins[1:-1]:
        near = _scalar(corpus, f"SELECT count(*) FROM clips WHERE motion BETWEEN {b.low - width} AND {b.high + width}")
        assert b.kept + b.dropped <= near
    assert h.median == pytest.approx(_scalar(corpus, "SELECT median(motion) FROM clips"), rel=1e-6)


def test_whole_numbers_get_bins_of_whole_numbers(corpus: Corpus) -> None:
    h = _histograms(corpus)["caption_words"]
    assert h.integer
    assert all(b.low == int(b.low) and b.high - b.low == 1 for b in h.bins)
    (of_two,) = [b for b in h.bins if b.low == 2]
    assert of_two.dropped == _scalar(corpus, "SELECT count(*) FROM captions WHERE caption_words = 2")


def test_a_long_tail_does_not_hide_the_bulk(build: Build) -> None:
    corpus = build(upto="scanned", parts=12)
    rows = corpus.read("clips", 0).to_pylist()
    corpus.write("clips", 0, [{**r, "motion": 1e7 if i == 0 else r["motion"]} for i, r in enumerate(rows)])
    h = _histograms(corpus)["motion"]
    assert h.high == 1e7
    clips = [b.kept + b.dropped + b.open for b in h.bins]
    assert sum(n > 0 for n in clips) <= 3  # one clip in 176 is more than the tail that may be cut off
    corpus = build_tail(corpus)
    h = _histograms(corpus)["motion"]
    assert h.bins[-1].high < 100
    assert sum(b.open > 0 for b in h.bins) > 20


def build_tail(corpus: Corpus) -> Corpus:
    """The same with so many clips that the outlier is one in more than a thousand."""
    rows = corpus.read("clips", 1).to_pylist()
    more = [{**r, "clip_id": f"{r['clip_id'][:-4]}{i:04x}", "motion": 1 + i % 40} for i in range(100) for r in rows]
    corpus.write("clips", 1, more)
    return corpus


def test_thresholds_are_drawn_or_named_at_the_edge(corpus: Corpus) -> None:
    h = _histograms(corpus)["motion"]
    assert {(t.rule, t.op) for t in h.thresholds} == {("still", "<"), ("never", ">")}
    svg = str(charts.histogram(h))
    assert svg.count('class="threshold"') == 1
    assert "never &gt; 5,000 →" in svg
    assert 'data-tip="' in svg
    odd = str(charts.histogram(replace(h, thresholds=[Threshold("<b>", "<", 3.0)])))
    assert "<b>" not in odd


def test_ticks_are_round_numbers_inside() -> None:
    assert charts.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert charts.ticks(-3, 11) == [0, 5, 10]
    assert charts.ticks(0.031, 0.034) == [0.031, 0.0315, 0.032, 0.0325, 0.033, 0.0335, 0.034]
    assert charts.ticks(5, 5) == [5]


# What was learned --------------------------------------------------------------------------------------------------------


def _duplicates(corpus: Corpus) -> Duplicates:
    db, _ = _told(corpus)
    with db:
        found = duplicates(db)
    assert found is not None
    return found


def test_duplicates_are_counted_by_kind(learned: Corpus) -> None:
    found = _duplicates(learned)
    assert (found.looked_at, found.gave_way, found.clusters, found.largest) == (39, 8, 4, 3)
    assert [(k.kind, k.clips) for k in found.kinds] == [("exact", 2), ("near", 3), ("semantic", 3)]
    assert [k.least for k in found.kinds] == pytest.approx([1.0, 0.9375, 0.9741])
    for k in found.kinds:
        of_kind = f"duplicate_of IS NOT NULL AND duplicate_kind = '{k.kind}'"
        assert k.seconds == pytest.approx(_scalar(learned, f"SELECT sum(duration_s) FROM clips_all WHERE {of_kind}"))
    assert found.seconds == pytest.approx(sum(k.seconds for k in found.kinds))
    text = _page(learned).text
    assert (
        "8 of 39 clips looked at (1.2 min) give way to a better one, for 4 that stay; the largest cluster has 3" in text
    )
    assert "near perceptual hashes, proven on stills; likeness is the share of equal bits 3 7.7 %" in text


def test_clusters_are_shown_of_each_kind_with_the_clip_that_stays_first(learned: Corpus) -> None:
    found = _duplicates(learned)
    weakest = [c.members[0].kind for c in found.shown]
    assert weakest == ["semantic", "exact", "semantic", "semantic"]
    db, rules = _told(learned)
    with db:
        shown = sheets(learned, choose(learned), db, rules, found.shown).clusters
    for cluster, sheet in zip(found.shown, shown, strict=True):
        assert sheet.kept.clip_id == cluster.kept
        assert sheet.kept.image
        assert sheet.more == 0
        own = f"SELECT clip_id FROM duplicates WHERE duplicate_of = '{cluster.kept}' ORDER BY clip_id"
        assert sorted(t.card.clip_id for t in sheet.twins) == run_query(learned, own).column(0).to_pylist()
        assert all("duplicate" in t.card.reasons for t in sheet.twins)
    (exact,) = [s for s in shown if s.twins[0].kind == "exact"]
    assert [t.similarity for t in exact.twins] == ["1", "1"]
    html = render_report(learned).decode()
    assert html.count('<div class="at">stays <span></span></div>') == 4
    assert html.count('<div class="at">semantic <span>0.974</span></div>') == 3


def test_many_and_large_clusters_are_cut_short(build: Build) -> None:
    corpus = build(upto="deduplicated", parts=MEMBERS + 4)
    found = _duplicates(corpus)
    assert found.clusters == MEMBERS + 5
    assert len(found.shown) == CLUSTERS
    (large,) = [c for c in found.shown if c.clips > 1]
    assert (large.clips, len(large.members)) == (MEMBERS + 3, MEMBERS)
    assert found.largest == MEMBERS + 4
    assert "and 3 more" in _page(corpus).text


def test_the_least_alike_clusters_of_a_kind_are_shown_first(build: Build) -> None:
    corpus = build(upto="deduplicated", parts=8)
    rows = corpus.read("duplicates", 7, "default").to_pylist()
    corpus.store.remove(corpus.path("duplicates", 7, "default"))
    odd = [{**r, "duplicate_similarity": 0.875} if r["duplicate_kind"] == "near" else r for r in rows]
    corpus.write("duplicates", 7, odd, "default")
    first = next(c for c in _duplicates(corpus).shown if c.members[0].kind == "near")
    assert first.members[0].similarity == 0.875


def test_a_search_that_found_nothing_says_so(build: Build) -> None:
    text = _page(build(only_clips=1, parts=1)).text
    assert "1 clips were looked at" not in text
    assert "1 clip was looked at; none is a duplicate of another." in text


def test_categories_are_shown_with_a_weight_that_flattens_them(learned: Corpus, build: Build) -> None:
    corpus = build(learned=True)
    for part in corpus.parts():
        rows = corpus.read("checks", part, "default").to_pylist()
        corpus.store.remove(corpus.path("checks", part, "default"))
        about = [{**r, "category": "city", "categories": ["city"]} if i == 0 else r for i, r in enumerate(rows)]
        corpus.write("checks", part, about, "default")
    page = _page(corpus)
    clips = "SELECT count(*) FROM clips_all WHERE kept AND category = '{}'"
    city, vehicles = (_scalar(corpus, clips.format(name)) for name in ("city", "vehicles"))
    assert city != vehicles
    mean = (city + vehicles) / 2
    weight = {"city": f"WHEN 'city' THEN {mean / city:.3g}", "vehicles": f"WHEN 'vehicles' THEN {mean / vehicles:.3g}"}
    (command,) = [b["data-copy"] for b in page.all("button") if b.get("data-copy", "").startswith("stiv data-plan")]
    assert command.startswith(f'stiv data-plan {corpus.store.uri} --set "data.weight=CASE category WHEN')
    assert all(words in command for words in weight.values())
    hours = _scalar(corpus, "SELECT sum(duration_s) FROM clips_all WHERE kept AND category = 'city'")
    share = words.share(hours, _scalar(corpus, "SELECT sum(duration_s) FROM clips_all WHERE kept"))
    assert re.search(rf"city {share} {city} \d+ {words.hours(hours)}", page.text)
    # One category alone cannot be flattened.
    assert not any("data-plan" in b.get("data-copy", "") for b in _page(learned).all("button"))


def _with_two_categories(corpus: Corpus) -> None:
    for part in corpus.parts():
        rows = corpus.read("checks", part, "default").to_pylist()
        corpus.store.remove(corpus.path("checks", part, "default"))
        corpus.write(
            "checks", part, [{**r, "category": "city" if i else "food"} for i, r in enumerate(rows)], "default"
        )


def _weight_commands(corpus: Corpus, use: dict[str, str] | None = None) -> list[str]:
    found = [button.get("data-copy", "") for button in _page(corpus, use=use).all("button")]
    return [command for command in found if command.startswith("stiv data-plan")]


def test_the_weight_is_for_the_shards_that_were_made_from_these_decisions(build: Build) -> None:
    corpus = build(learned=True)
    _with_two_categories(corpus)
    assert "data.shards" not in _weight_commands(corpus)[0]
    made = {t: variants.need(corpus, t, "default") for t in ("decisions", "captions", "shards")}
    variants.prepare(
        corpus, "decisions", "strict", made["decisions"].settings | {"rules": []}, made["decisions"].inputs
    )
    for part in corpus.parts():
        corpus.write("decisions", part, corpus.read("decisions", part, "default").to_pylist(), "strict")
    # Decided but not exported under this name: the shards there are others.
    assert _weight_commands(corpus, {"decisions": "strict"}) == []
    inputs = {t: variants.need(corpus, t, n).as_input() for t, n in (("decisions", "strict"), ("captions", "default"))}
    variants.prepare(corpus, "shards", "strict", made["shards"].settings, inputs)
    (command,) = _weight_commands(corpus, {"shards": "strict"})
    assert command.startswith(f'stiv data-plan {corpus.store.uri} --set data.shards=strict --set "data.weight=CASE')


def test_before_an_export_there_is_no_weight(build: Build) -> None:
    corpus = build(learned=True, upto="judged")
    _with_two_categories(corpus)
    assert _weight_commands(corpus) == []


def test_that_no_caption_was_checked_and_that_none_is_kept_are_told_apart(build: Build) -> None:
    unchecked = _page(build(upto="captioned")).text
    assert "No caption has been checked" in unchecked
    corpus = build()
    for part in corpus.parts():
        rows = corpus.read("decisions", part, "default").to_pylist()
        corpus.store.remove(corpus.path("decisions", part, "default"))
        corpus.write("decisions", part, [{**r, "kept": False, "reason": "still"} for r in rows], "default")
    page = _page(corpus).text
    assert "No caption has been checked" not in page
    assert "No clip is kept, so there is nothing to tell by category. The captions were checked." in page


@pytest.mark.parametrize("odd", ["kids' things", "$(rm -rf /)", 'a "b"', "`x`"])
def test_a_shell_takes_the_weight_as_one_word(build: Build, odd: str) -> None:
    corpus = build(parts=1)
    rows = corpus.read("checks", 0, "default").to_pylist()
    corpus.store.remove(corpus.path("checks", 0, "default"))
    about = [{**r, "category": odd if i % 2 else "city", "categories": ["city"]} for i, r in enumerate(rows)]
    corpus.write("checks", 0, about, "default")
    (command,) = [b["data-copy"] for b in _page(corpus).all("button") if "data-plan" in b.get("data-copy", "")]
    *_, flag, setting = shlex.split(command)
    assert flag == "--set"
    check_number(setting.removeprefix("data.weight="), joined.wide_schema(), where="data.weight")
    with connect(corpus) as db:
        found = db.execute(f"SELECT DISTINCT category, {setting.removeprefix('data.weight=')} FROM checks").fetchall()
    assert {category for category, weight in found if weight is not None} == {"city", odd}


def test_rewritten_captions_are_counted_where_there_are_any(corpus: Corpus, learned: Corpus) -> None:
    assert "Rewritten" not in _page(corpus).text
    assert "Rewritten" in _page(learned).text
    db, _ = _told(learned)
    with db:
        found = {row.captioner: row.rewritten for row in report_data.captions(db)}
    assert found["describe"] == _scalar(
        learned, "SELECT count(caption_original) FROM captions WHERE captioner = 'describe'"
    )
    assert found[None] == 0


# Pictures ----------------------------------------------------------------------------------------------------------------


def test_sheets_are_fair_bounded_and_of_the_right_clips(build: Build) -> None:
    corpus = build(parts=15)
    db, rules = _told(corpus)
    with db:
        found = sheets(corpus, choose(corpus), db, rules)
    assert [c.clip_id for c in found.kept] == sorted(
        run_query(corpus, "SELECT clip_id FROM decisions WHERE kept").column(0).to_pylist()
    )[:24]
    order = [r.name for r in rules]
    assert [d.reason for d in found.dropped] == sorted((d.reason for d in found.dropped), key=order.index)
    for sheet in found.dropped:
        assert len(sheet.cards) == min(PER_REASON, sheet.clips)
        assert all(c.outcome == "dropped" and c.reasons[0] == sheet.reason for c in sheet.cards)
    assert all(c.image for c in found.kept)
    assert found.unreadable == []


def test_borders_show_the_nearest_clips_on_either_side(corpus: Corpus) -> None:
    db, rules = _told(corpus)
    with db:
        found = sheets(corpus, choose(corpus), db, rules)
    (still,) = [b for b in found.borders if b.rule == "still"]
    threshold = next(t[2] for r in rules if r.name == "still" for t in r.thresholds)
    below = (
        run_query(
            corpus, f"SELECT clip_id FROM clips WHERE motion < {threshold} ORDER BY motion DESC LIMIT {NEIGHBOURS}"
        )
        .column(0)
        .to_pylist()
    )
    above = (
        run_query(corpus, f"SELECT clip_id FROM clips WHERE motion >= {threshold} ORDER BY motion LIMIT {NEIGHBOURS}")
        .column(0)
        .to_pylist()
    )
    assert [n.card.clip_id for n in reversed(still.below)] == below
    assert [n.card.clip_id for n in still.above] == above
    assert still.above[0].away == "next to it"
    assert still.above[1].away == "2 of 44 away"
    assert "still" in still.below[-1].card.reasons
    (damaged,) = [b for b in found.borders if b.rule == "damaged"]
    assert [n.value for n in damaged.below] == ["0"] * NEIGHBOURS  # `> 0` leaves 0 below the line
    assert [n.value for n in damaged.above] == ["3"]
    (never,) = [b for b in found.borders if b.rule == "never"]
    assert never.above == []


def test_the_middle_still_is_shown_small(build: Build) -> None:
    corpus = build(upto="judged", jpeg=_half_and_half)
    images = [base64.b64decode(a["src"].partition(",")[2]) for a in _page(corpus).all("img")]
    picture = cv2.imdecode(np.frombuffer(images[0], np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (120, 240, 3)
    assert picture[:, :100].mean() < 30
    assert picture[:, 140:].mean() > 220


def _half_and_half(_: int, still: int) -> bytes:
    """Half black, half white; the third of four stills is the middle one, the others are grey."""
    picture = np.full((400, 800, 3), 128, np.uint8)
    if still == 2:
        picture[:, :400], picture[:, 400:] = 0, 255
    return cv2.imencode(".jpg", picture)[1].tobytes()


@pytest.mark.parametrize(
    ("size", "small"),
    [((1000, 500), (240, 120)), ((500, 1000), (120, 240)), ((100, 60), (100, 60)), ((3000, 1), (240, 1))],
)
def test_shrinking_keeps_the_shape(size: tuple[int, int], small: tuple[int, int]) -> None:
    data = cv2.imencode(".jpg", np.full((size[1], size[0], 3), 128, np.uint8))[1].tobytes()
    out = shrink(data)
    assert out is not None
    picture = cv2.imdecode(np.frombuffer(out, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert (picture.shape[1], picture.shape[0]) == small


def test_stills_that_cannot_be_read_are_noted(build: Build) -> None:
    corpus = build(upto="judged")
    corpus.store.remove("stills/part-000000.tar")
    corpus.store.commit_bytes("stills/part-000001.tar", b"\0" * 1_000_000)
    page = _page(corpus)
    assert "no still" in page.text
    assert "stills could not be read" in page.text
    assert "not a readable JPEG" in page.text or "No such file" in page.text
    assert page.all("img")
    assert shrink(b"") is None
    assert shrink(b"\xff\xd8 no") is None


def test_backticks_become_code_and_nothing_else_does() -> None:
    assert in_code("run `stiv x` now") == "run <code>stiv x</code> now"
    assert in_code("<i> `<b>`") == "&lt;i&gt; <code>&lt;b&gt;</code>"
    assert in_code("one ` alone, `two`") == "one <code> alone, </code>two`"
