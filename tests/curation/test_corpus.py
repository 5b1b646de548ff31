"""The corpus folder, its plan and its variants: identity, growth, conflicts, switching."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from curation import variants
from curation.corpus import Corpus, differences
from curation.listing import Entry, list_inputs
from curation.lock import hold
from curation.planning import extend_plan, group
from curation.source_rows import failed_source
from curation.storage import Store
from schemas.errors import CorpusBusyError, ErrorCode, UsageError, VariantError
from schemas.recipe import CurateRecipe, Plan

RECIPE = CurateRecipe()


def entry(name: str, size: int | None = 1000) -> Entry:
    return Entry(uri=f"/nowhere/{name}", rel_path=name, size=size, mtime_ns=1)


def recipe_with(**scan: object) -> CurateRecipe:
    return CurateRecipe.model_validate({"scan": scan})


def test_scan_recipe_belongs_to_the_corpus(tmp_path: Path) -> None:
    Corpus.open_or_create(tmp_path / "c", RECIPE)
    Corpus.open_or_create(tmp_path / "c", RECIPE)
    with pytest.raises(UsageError, match=r"scan\.stills\.quality: 90 → 80") as caught:
        Corpus.open_or_create(tmp_path / "c", recipe_with(stills={"quality": 80}))
    assert "--out" in caught.value.fix


def test_limits_may_change(tmp_path: Path) -> None:
    Corpus.open_or_create(tmp_path / "c", RECIPE)
    Corpus.open_or_create(tmp_path / "c", recipe_with(error_rate_limit=1.0))


def test_a_folder_with_other_things_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        Corpus.open_or_create(tmp_path, RECIPE)
    with pytest.raises(UsageError, match="not a corpus"):
        Corpus.open(tmp_path)


def test_parts_are_a_function_of_the_listing() -> None:
    entries = [entry(f"{i}.mp4", 60_000_000) for i in range(50)]
    settings = Plan(part_minutes=5)
    one = [[e.rel_path for e in part] for part in group(entries, settings)]
    two = [[e.rel_path for e in part] for part in group(entries[::-1], settings)]
    assert one == two
    assert sorted(name for part in one for name in part) == sorted(e.rel_path for e in entries)
    assert all(len(part) == 9 for part in one[:-1])  # 5 min = 300 s at 30.3 s each
    assert one[0] != sorted(one[0])  # ordered by a hash, so that neighbours mix


def test_new_inputs_become_new_parts_and_old_parts_stay(tmp_path: Path) -> None:
    corpus = Corpus.open_or_create(tmp_path / "c", RECIPE)
    first = extend_plan(corpus, [entry("a.mp4"), entry("b.mp4")])
    before = corpus.store.read_bytes(corpus.path("plan", 0))
    again = extend_plan(corpus, [entry("a.mp4"), entry("b.mp4")])
    more = extend_plan(corpus, [entry("a.mp4"), entry("c.mp4")])
    assert (first.parts, again.parts, more.parts) == ([0], [], [1])
    assert (again.known, more.known, more.new) == (2, 1, 1)
    assert corpus.store.read_bytes(corpus.path("plan", 0)) == before
    assert corpus.parts() == [0, 1]


def test_killed_planning_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus.open_or_create(tmp_path / "c", CurateRecipe.model_validate({"plan": {"part_sources": 1}}))
    entries = [entry("a.mp4"), entry("b.mp4"), entry("c.mp4")]
    real = Corpus.write
    calls = []

    def dies(self: Corpus, table: str, part: int, rows: list, name: str | None = None) -> None:
        calls.append(part)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(self, table, part, rows, name)

    monkeypatch.setattr(Corpus, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        extend_plan(corpus, entries)
    assert corpus.parts() == []
    monkeypatch.undo()
    assert extend_plan(corpus, entries).parts == [0, 1, 2]


def test_touched_file_is_known_changed_file_is_new(tmp_path: Path) -> None:
    video = tmp_path / "v" / "a.mp4"
    video.parent.mkdir()
    video.write_bytes(b"one")
    corpus = Corpus.open_or_create(tmp_path / "c", RECIPE)
    extend_plan(corpus, list_inputs([str(video)]))
    scanned(corpus, 0, str(video))

    os.utime(video, ns=(5, 5))
    assert extend_plan(corpus, list_inputs([str(video)])).parts == []
    video.write_bytes(b"two")
    changed = extend_plan(corpus, list_inputs([str(video)]))
    assert (changed.parts, changed.changed) == ([1], 1)


def scanned(corpus: Corpus, part: int, uri: str) -> None:
    row = {**failed_source(ErrorCode.UNREADABLE, "x"), "source_id": "s1", "uri": uri, "rel_path": "a.mp4"}
    row |= {"sha256": hashlib.sha256(b"one").hexdigest(), "bytes": 3, "license": None, "tags": None, "extra": None}
    corpus.write("sources", part, [row])


def test_second_writer_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "c")
    code = (
        "import sys\nfrom curation.lock import hold\nfrom curation.storage import Store\n"
        "from schemas.errors import CorpusBusyError\n"
        "try:\n    with hold(Store(sys.argv[1]), 'second'): print('got it')\n"
        "except CorpusBusyError as error: print(error.message)\n"
    )

    def second() -> str:
        return subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "c")], capture_output=True, text=True, check=True
        ).stdout

    with hold(store, "the first run"):
        assert "the first run, process" in second()
    assert second().strip() == "got it"
    with hold(store, "again"), pytest.raises(CorpusBusyError), hold(Store(tmp_path / "c"), "other"):
        pass


def made(corpus: Corpus, quality: int, **more: object) -> variants.Variant:
    return variants.prepare(corpus, "selections", "default", {"quality": quality}, {}, **more)  # type: ignore[arg-type]


def test_changed_settings_under_an_old_name_are_refused(tmp_path: Path) -> None:
    corpus = Corpus.open_or_create(tmp_path / "c", RECIPE)
    made(corpus, 0)
    first = made(corpus, 1)  # nothing was made under the other settings: nothing to protect
    corpus.store.commit_bytes("selections/default/part-000000.parquet", b"work")
    assert made(corpus, 1) == first
    with pytest.raises(VariantError, match="quality: 1 → 2") as caught:
        made(corpus, 2)
    assert "--name" in caught.value.fix
    assert "--replace" in caught.value.fix


def test_replacement_is_built_beside_and_switched_at_the_end(tmp_path: Path) -> None:
    corpus = Corpus.open_or_create(tmp_path / "c", RECIPE)
    made(corpus, 1)
    corpus.store.commit_bytes("selections/default/part-000000.parquet", b"old")
    new = made(corpus, 2, replace=True)
    assert new.replacing
    corpus.store.commit_bytes(f"{new.path}/part-000000.parquet", b"new")
    assert corpus.store.read_bytes("selections/default/part-000000.parquet") == b"old"
    assert corpus.variants("selections") == ["default"]
    assert made(corpus, 2, replace=True) == new  # a killed build is taken up again
    done = variants.switch(corpus, new)
    assert corpus.store.read_bytes(f"{done.path}/part-000000.parquet") == b"new"
    assert corpus.store.names("selections") == ["default"]
    assert made(corpus, 2) == done


def test_switch_cut_short_is_finished_by_the_next_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus.open_or_create(tmp_path / "c", RECIPE)
    made(corpus, 1)
    new = made(corpus, 2, replace=True)
    monkeypatch.setattr(variants, "_finish_switch", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        variants.switch(corpus, new)
    monkeypatch.undo()
    found = variants.load(corpus, "selections", "default")  # a reader sees the new one, and changes nothing
    assert found is not None
    assert found.settings == {"quality": 2}
    assert "default" not in corpus.store.names("selections")
    assert made(corpus, 2).folder == "default"  # the next writer finishes the switch
    assert corpus.store.names("selections") == ["default"]


def test_names_of_inputs_do_not_count_their_content_does(tmp_path: Path) -> None:
    a = variants.identity("captions", {}, {"selections": {"name": "a", "fingerprint": "1"}})
    b = variants.identity("captions", {}, {"selections": {"name": "b", "fingerprint": "1"}})
    c = variants.identity("captions", {}, {"selections": {"name": "a", "fingerprint": "2"}})
    assert a == b != c


def test_differences_name_rules() -> None:
    old = {"rules": [{"name": "still", "drop": "motion < 1"}, {"name": "dark", "drop": "x"}]}
    new = {"rules": [{"name": "still", "drop": "motion < 2"}, {"name": "dark", "drop": "x"}]}
    assert differences(old, new) == ['rules.still.drop: "motion < 1" → "motion < 2"']
    assert differences(old, {"rules": old["rules"][::-1]}) == ["rules: another order"]


def test_rows_must_have_the_documented_columns(tmp_path: Path) -> None:
    corpus = Corpus.open_or_create(tmp_path / "c", RECIPE)
    with pytest.raises(ValueError, match="surprise"):
        corpus.write(
            "decisions", 0, [{"clip_id": "c", "kept": True, "reason": None, "reasons": [], "surprise": 1}], "default"
        )
