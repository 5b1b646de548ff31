"""Prompts by name, by file and as text; filling in facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.captioning.prompts import MAX_BYTES, fill, load_prompt, prompt_names
from schemas.errors import RecipeError
from schemas.recipe_learned import Captions


def test_every_prompt_of_the_default_recipe_is_embedded() -> None:
    wanted = Captions()
    for name in (wanted.prompt, wanted.frame_prompt, wanted.merge_prompt, wanted.rewrite.prompt):
        assert name in prompt_names()
        assert len(load_prompt(name)) > 100


def test_a_loaded_prompt_is_a_prompt_and_stays_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mine.md"
    file.write_bytes(b"\xef\xbb\xbf  Say what you see.\r\n\r\n")
    assert load_prompt(str(file)) == "Say what you see.\n"
    for value in ("caption", str(file), "One line\n", "\n two\nlines "):
        once = load_prompt(value)
        assert load_prompt(once) == once


def test_a_file_is_found_by_its_path_and_a_name_is_the_embedded_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("caption").write_text("mine")
    assert load_prompt("./caption") == "mine\n"
    assert load_prompt("caption") != "mine\n"


def test_an_absent_prompt_names_the_key_and_what_there_is() -> None:
    with pytest.raises(RecipeError, match=r"captions\.merge_prompt is `captoin`.*Embedded are .*caption.*frame.*merge"):
        load_prompt("captoin", "captions.merge_prompt")


def test_what_is_no_prompt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"`x\.prompt` is empty|x\.prompt is empty"):
        load_prompt(" \n ", "x.prompt")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_prompt(str(tmp_path))
    file = tmp_path / "big"
    file.write_bytes(b"a" * (MAX_BYTES + 1))
    with pytest.raises(RecipeError, match="larger than"):
        load_prompt(str(file))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_prompt(str(file))


def test_only_known_names_are_filled_in_and_once() -> None:
    text = 'A {duration} s clip. {"a": {unknown}} {} {duration.real} {0} {source_caption} {duration!r}'
    values = {"duration": "3", "source_caption": "{duration} {0.__class__}"}
    assert fill(text, values) == (
        'A 3 s clip. {"a": {unknown}} {} {duration.real} {0} {duration} {0.__class__} {duration!r}'
    )
