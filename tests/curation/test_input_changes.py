"""What an error about a taken name says of inputs: plain words for tables and for models."""

import pytest

from curation.input_changes import input_changes


def given(name: str, fingerprint: str = "f") -> dict[str, str]:
    return {"name": name, "fingerprint": fingerprint}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"chat openai": given("toy")}, {}, ["the chat model `openai` (`toy`) had a part in it, and has none now"]),
        ({}, {"chat openai": given("toy")}, ["the chat model `openai` (`toy`) had no part in it so far"]),
        (
            {"chat llm": given("toy")},
            {"chat llm": given("big", "g")},
            ["the chat model `llm` has changed, from `toy` to `big`"],
        ),
        ({"model": given("tiny/a")}, {"model": given("tiny/a", "g")}, ["the model has changed"]),
        ({"captioner mine": given("p 1")}, {"captioner mine": given("p 1", "g")}, ["the captioner `mine` has changed"]),
        ({"text": given("a")}, {"text": given("b", "g")}, ["it reads `text` from `b` instead of `a`"]),
        ({"text": given("a")}, {"text": given("a", "g")}, ["its input `text` has changed"]),
        ({"text": given("a")}, {}, ["it was made with text, now turned off"]),
        ({}, {"text": given("a")}, ["it was made without text, now turned on"]),
        ({"corpus": given("scan")}, {"text": given("a")}, ["it was made without text, now turned on"]),
        ({"text": given("a")}, {"text": given("b")}, []),
    ],
)
def test_inputs_in_words(old: dict[str, dict[str, str]], new: dict[str, dict[str, str]], said: list[str]) -> None:
    assert input_changes(old, new, {"text", "captions"}) == said
