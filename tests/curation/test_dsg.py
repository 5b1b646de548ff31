"""DSG-Video with models whose answers are written down: the numbers of the definition, and answers of every bad kind."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from curation.captioning.contract import ClipFacts, StillRef
from curation.captioning.dsg import NOTHING, Dsg
from curation.captioning.dsg_reading import MAX_OBJECTS, read_answers, read_questions
from curation.captioning.json_answers import json_values
from curation.captioning.prompts import load_prompt
from schemas.chat import Answer, Ask
from schemas.tables import CHECKS

CAPTION = "A red circle and a dog move. The dog carries a kite. It rains."
OBJECTS = (("red circle", 1), ("dog", 1), ("kite", 2))


def clip(name: str = "c1", stills: int = 3) -> ClipFacts:
    return ClipFacts(name, "", "", None, {}, [StillRef(10 * i, lambda: b"jpeg") for i in range(stills)])


def listed(objects: Sequence[tuple[str, int]] = OBJECTS) -> str:
    items = [{"object": o, "sentence": n, "question": f"Is there a {o} in the picture?"} for o, n in objects]
    return json.dumps({"objects": items})


def asked_things(ask: Ask) -> list[str]:
    return re.findall(r"^\d+\. Is there a (.+) in the picture\?$", ask.prompt, re.MULTILINE)


def frame_of(ask: Ask) -> int:
    return int(ask.key.partition(":")[2])


def seeing(shown: Mapping[str, Sequence[int]]) -> Callable[[Ask], str]:
    """A vision model: object → frames on which it is to be seen."""

    def answer(ask: Ask) -> str:
        return json.dumps(
            {str(n): "yes" if frame_of(ask) in shown[o] else "no" for n, o in enumerate(asked_things(ask), 1)}
        )

    return answer


def examine(
    language: Any, vision: Any, clips: Sequence[ClipFacts], captions: Sequence[str | None], stills: int = 8
) -> Any:
    dsg = Dsg(language, vision, load_prompt("dsg_questions"), load_prompt("dsg_answers"), stills)
    return asyncio.run(dsg.examine(clips, captions)), dsg


def test_the_shares_are_those_of_the_definition(scripted_chat: Any) -> None:
    vision = scripted_chat(seeing({"red circle": [0], "dog": [20], "kite": []}))
    (row,), dsg = examine(scripted_chat(lambda ask: listed()), vision, [clip()], [CAPTION])
    assert row["dsg_i"] == pytest.approx(1 / 3)  # the kite, of three objects
    assert row["dsg_s"] == pytest.approx(1 / 3)  # its sentence, of three; one without objects counts below the line
    assert (row["dsg_objects"], row["dsg_hallucinated"]) == (3, ["kite"])
    assert set(row) == set(NOTHING)
    assert set(row) == {name for name in CHECKS.names if name.startswith("dsg")}
    held = json.loads(row["dsg"])
    assert held["stills"] == [0, 10, 20]
    assert held["sentences"] == ["A red circle and a dog move.", "The dog carries a kite.", "It rains."]
    assert [(o["object"], o["sentences"], o["answers"]) for o in held["objects"]] == [
        ("red circle", [1], ["yes"]),
        ("dog", [1, 2], ["no", "no", "yes"]),
        ("kite", [2], ["no", "no", "no"]),
    ]
    assert dsg.warnings == []


def test_an_object_that_was_seen_is_not_asked_for_again(scripted_chat: Any) -> None:
    vision = scripted_chat(seeing({"red circle": [0, 10, 20], "dog": [10], "kite": []}))
    examine(scripted_chat(lambda ask: listed()), vision, [clip()], [CAPTION])
    assert [asked_things(ask) for ask in vision.asked] == [["red circle", "dog", "kite"], ["dog", "kite"], ["kite"]]
    assert [len(ask.stills) for ask in vision.asked] == [1, 1, 1]
    assert [ask.key for ask in vision.asked] == ["c1:0", "c1:10", "c1:20"]


@pytest.mark.parametrize("case", range(27))
def test_stopping_early_cannot_change_the_result(scripted_chat: Any, case: int) -> None:
    """Against the definition itself: absent from all stills."""
    shown = {
        o: [f for f in (0, 10, 20) if case * (i + 3) % (2 + f // 10) == 0 and case % 3 != i]
        for i, (o, _) in enumerate(OBJECTS)
    }
    (row,), _ = examine(scripted_chat(lambda ask: listed()), scripted_chat(seeing(shown)), [clip()], [CAPTION])
    absent = [o for o, _ in OBJECTS if not shown[o]]
    assert row["dsg_hallucinated"] == absent
    assert row["dsg_i"] == pytest.approx(len(absent) / 3)
    speaking = {"red circle": {1}, "dog": {1, 2}, "kite": {2}}
    assert row["dsg_s"] == pytest.approx(len(set().union(*(speaking[o] for o in absent))) / 3)


@pytest.mark.parametrize(
    ("caption", "objects", "sentences"),
    [
        # In the form that the prompt asks for: once, under the fullest name, with the first sentence.
        ("A brown dog runs. The dog barks. It rains.", [("brown dog", 1)], 2),
        ("A brown dog runs. It rains. The brown dog is wet.", [("brown dog", 1)], 2),
        ("A dog runs. The brown dog barks. It rains.", [("brown dog", 2)], 2),
        ("A brown dog runs. Its owner feeds dogs. A white dog barks.", [("brown dog", 1)], 2),
        ("A brown dog runs. A toy dog and another dog lie there. Dogs are nice.", [("brown dog", 1)], 2),
        ("A glass of water. Water drips from the glass. Water is cold.", [("glass of water", 1)], 2),
        # Two of one head noun: only the full name tells which.
        ("A brown dog and a white cat. A white dog. The dog barks.", [("brown dog", 1), ("white dog", 2)], 2),
        ("A dog runs. A dog barks. It rains.", [("dog", 1), ("a dog", 2)], 2),
        # A wrong or impossible number is made good.
        ("It rains. It pours. A brown dog runs.", [("brown dog", 1)], 1),
        ("It rains. A dog that was brown. It pours.", [("brown dog", 9)], 1),
    ],
)
def test_an_object_spoils_every_sentence_that_speaks_of_it(
    scripted_chat: Any, caption: str, objects: list[tuple[str, int]], sentences: int
) -> None:
    vision = scripted_chat(lambda ask: '{"1": "no", "2": "no"}')
    (row,), _ = examine(scripted_chat(lambda ask: listed(objects)), vision, [clip()], [caption])
    assert row["dsg_i"] == 1
    assert row["dsg_s"] == pytest.approx(sentences / 3)


def test_unreadable_answers_are_unknown_and_an_object_without_any_is_left_out(scripted_chat: Any) -> None:
    def vision(ask: Ask) -> str:
        # The circle is never spoken of, the dog denied on two of three, the kite is seen at last.
        said = {
            "red circle": "perhaps",
            "dog": "no" if frame_of(ask) >= 10 else "?",
            "kite": "yes" if frame_of(ask) == 20 else "",
        }
        return json.dumps({str(n): said[o] for n, o in enumerate(asked_things(ask), 1)})

    (row,), dsg = examine(scripted_chat(lambda ask: listed()), scripted_chat(vision), [clip()], [CAPTION])
    assert (row["dsg_i"], row["dsg_hallucinated"], row["dsg_objects"]) == (0.5, ["dog"], 3)
    assert row["dsg_s"] == pytest.approx(2 / 3)
    answers = {o["object"]: o["answers"] for o in json.loads(row["dsg"])["objects"]}
    assert answers == {
        "red circle": ["unknown"] * 3,
        "dog": ["unknown", "no", "no"],
        "kite": ["unknown", "unknown", "yes"],
    }
    assert any("left out, for too few answers" in text and "red circle" in text for text in dsg.warnings)
    assert any("could not be read (3 ×)" in text for text in dsg.warnings)


@pytest.mark.parametrize(("noes", "share"), [(0, None), (1, None), (4, None), (5, 1.0), (8, 1.0)])
def test_an_object_is_missing_only_where_most_stills_deny_it(
    scripted_chat: Any, noes: int, share: float | None
) -> None:
    vision = scripted_chat(lambda ask: '{"1": "no"}' if frame_of(ask) < 10 * noes else Answer(None, "500"))
    language = scripted_chat(lambda ask: listed([("dog", 1)]))
    dsg = Dsg(language, vision, "Questions?", "Answers?", 8)
    (row,) = asyncio.run(dsg.examine([clip(stills=8)], [CAPTION]))
    assert (row["dsg_i"], row["dsg_hallucinated"]) == (share, ["dog"] if share else [])
    assert [o["seen"] for o in json.loads(row["dsg"])["objects"]] == ["no" if share else "unknown"]
    assert bool([text for text in dsg.warnings if "too few answers" in text]) == (share is None)


def test_a_vision_model_that_never_answers_gives_no_share(scripted_chat: Any) -> None:
    vision = scripted_chat(lambda ask: Answer(None, "500"))
    (row,), _ = examine(scripted_chat(lambda ask: listed()), vision, [clip()], [CAPTION])
    assert (row["dsg_i"], row["dsg_s"], row["dsg_objects"], row["dsg_hallucinated"]) == (None, None, 3, [])
    assert row["dsg"] is not None


def test_without_questions_there_is_nothing_to_share(scripted_chat: Any) -> None:
    vision = scripted_chat(seeing({}))
    language = scripted_chat(iter_answers(['{"objects": []}', None, "I would rather not.", Answer(None, "timeout")]))
    rows, dsg = examine(language, vision, [clip(f"c{i}") for i in range(4)], [f"{CAPTION} {i}." for i in range(4)])
    assert (rows[0]["dsg_i"], rows[0]["dsg_objects"]) == (None, 0)
    assert rows[1:] == [NOTHING] * 3
    assert vision.asked == []
    assert [text for text in dsg.warnings if "lists of questions could not be read (1 ×)" in text]


@pytest.mark.parametrize("objects", [[("banana", 1), ("ship", 2)], [("", 1)]])
def test_questions_about_nothing_in_the_caption_are_no_questions(scripted_chat: Any, objects: Any) -> None:
    vision = scripted_chat(seeing({}))
    rows, dsg = examine(scripted_chat(lambda ask: listed(objects)), vision, [clip()], [CAPTION])
    assert rows == [NOTHING]
    assert vision.asked == []
    assert any("questions about nothing in the caption (1 ×)" in text for text in dsg.warnings)


def iter_answers(answers: Sequence[Any]) -> Callable[[Ask], Any]:
    left = iter(answers)
    return lambda ask: next(left)


def test_clips_without_caption_still_or_sentence_are_not_asked_about(scripted_chat: Any) -> None:
    language, vision = scripted_chat(lambda ask: listed()), scripted_chat(seeing({}))
    rows, _ = examine(language, vision, [clip("a"), clip("b", 0), clip("c")], [None, CAPTION, " ... "])
    assert rows == [NOTHING] * 3
    assert language.asked == vision.asked == []


def test_equal_captions_share_their_questions_and_the_key_names_a_clip(scripted_chat: Any) -> None:
    language = scripted_chat(lambda ask: listed())
    vision = scripted_chat(seeing({"red circle": [0], "dog": [0], "kite": [0]}))
    rows, _ = examine(language, vision, [clip("a"), clip("b")], [CAPTION, CAPTION])
    assert [row["dsg_i"] for row in rows] == [0.0, 0.0]
    assert [ask.key for ask in language.asked] == ["a"]
    assert [ask.key for ask in vision.asked] == ["a:0", "b:0"]


def test_all_clips_are_asked_about_a_still_at_once(scripted_chat: Any) -> None:
    rounds: list[int] = []
    vision = scripted_chat(seeing({"red circle": [0], "dog": [10], "kite": []}))
    ask = vision.ask

    async def counted(asks: Sequence[Ask], on_answer: Any = None) -> list[Answer]:
        rounds.append(len(asks))
        return list(await ask(asks, on_answer))

    vision.ask = counted
    examine(scripted_chat(lambda ask: listed()), vision, [clip(f"c{i}") for i in range(5)], [CAPTION] * 5)
    assert rounds == [5, 5, 5]


def test_stills_are_spread_over_the_clip(scripted_chat: Any) -> None:
    vision = scripted_chat(seeing({"red circle": [], "dog": [], "kite": []}))
    examine(scripted_chat(lambda ask: listed()), vision, [clip(stills=12)], [CAPTION], stills=3)
    assert [frame_of(ask) for ask in vision.asked] == [20, 60, 100]


def test_prompts_hold_sentences_and_questions_wherever_they_have_a_place(scripted_chat: Any) -> None:
    language = scripted_chat(lambda ask: listed())
    vision = scripted_chat(seeing({"red circle": [0], "dog": [0], "kite": [0]}))
    dsg = Dsg(language, vision, "Own words {sentences} and more.\n", "Say yes or no.\n", 1)
    asyncio.run(dsg.examine([clip()], [CAPTION]))
    assert language.asked[0].prompt.startswith(
        "Own words 1. A red circle and a dog move.\n2. The dog carries a kite.\n3. It rains. and more."
    )
    assert vision.asked[0].prompt.startswith("Say yes or no.\n\n1. Is there a red circle in the picture?\n2. Is")
    assert language.asked[0].want_json
    assert vision.asked[0].want_json


def test_embedded_prompts_ask_for_objects_with_their_colours() -> None:
    text = load_prompt("dsg_questions")
    assert "{sentences}" in text
    assert "colour" in text
    assert "{questions}" in load_prompt("dsg_answers")


# Reading ----------------------------------------------------------------------------------------------------------------

SENTENCES = ["A red circle moves.", "Two dogs watch the red circle."]


def names(text: str) -> list[tuple[str, tuple[int, ...]]] | None:
    found = read_questions(text, SENTENCES)
    return None if found is None else [(q.object, q.sentences) for q in found.questions]


@pytest.mark.parametrize(
    "text",
    [
        '{"objects": [{"object": "red circle", "sentence": 1}, {"object": "dog", "sentence": 2}]}',
        'Sure!\n```json\n{"objects": [{"object": "red circle", "sentence": "1"}, {"object": "dog", "sentence": 2}]}\n```\nHope it helps.',
        '[{"object": "red circle", "sentence": 1}, {"object": "dog", "sentence": 2}]',
        '{"questions": [{"object": "red circle", "sentence": 1}, {"object": "dog", "sentence": 2}]}',
        '{"object": "red circle", "sentence": 1}\n{"object": "dog", "sentence": 2}',
        '<think>{"objects": [{"object": "circle"}]}</think>{"objects": [{"object": "red circle"}, {"object": "dog", "sentence": 7}]}',
        '{"objects": [{"object": "red circle", "sentence": 1}, {"object": "dog", "sentence": 2}, {"object": "wh',
        '{"objects": [3, null, {"object": ""}, {"object": ["x"]}, {"object": "red circle", "sentence": 1}, {"object": "dog", "sentence": true}]}',
    ],
)
def test_lists_of_questions_are_read_however_they_are_wrapped(text: str) -> None:
    assert names(text) == [("red circle", (1, 2)), ("dog", (2,))]


@pytest.mark.parametrize("text", ["", "I cannot.", '{"answer": 3}', "{", "[1, 2]", '{"objects": "none"}', "[" * 5000])
def test_what_is_no_list_is_none(text: str) -> None:
    assert read_questions(text, SENTENCES) is None


def test_an_object_that_the_caption_does_not_name_is_the_models_own() -> None:
    found = read_questions(listed([("red circle", 1), ("banana", 1), ("a", 1)]), SENTENCES)
    assert found is not None
    assert [q.object for q in found.questions] == ["red circle"]
    assert found.invented == ["banana"]


def test_names_in_a_script_without_spaces_are_found() -> None:
    sentences = ["一只小狗在草地上奔跑。", "一辆红色汽车驶过。"]
    found = read_questions(listed([("红色汽车", 2), ("小狗", 9), ("香蕉", 1)]), sentences)
    assert found is not None
    assert [(q.object, q.sentences) for q in found.questions] == [("红色汽车", (2,)), ("小狗", (1,))]
    assert found.invented == ["香蕉"]
    found = read_questions(listed([("car", 1)]), ["A cardboard box."])
    assert found is not None
    assert found.invented == ["car"]


def test_a_runaway_list_ends_and_long_texts_are_cut() -> None:
    items = [(f"dog {i}", 2) for i in range(300)] + [("red circle", 1)]
    found = read_questions(listed(items), SENTENCES)
    assert found is not None
    assert len(found.questions) == MAX_OBJECTS
    found = read_questions(listed([("dog " * 500, 2)]), SENTENCES)
    assert found is not None
    assert len(found.questions[0].object) <= 120
    assert len(found.questions[0].question) <= 300


def test_a_missing_question_is_written() -> None:
    found = read_questions('[{"object": "two dogs"}]', SENTENCES)
    assert found is not None
    assert found.questions[0].question == "Does the picture show two dogs?"


@pytest.mark.parametrize(
    "text",
    [
        '{"1": "yes", "2": "no"}',
        '```json\n{"1": "Yes.", "2": "No, it does not"}\n```',
        '["yes", "no"]',
        "[true, false]",
        '{"answers": {"1": true, "2": false}}',
        '{"answers": [{"question": 1, "answer": "yes"}, {"question": 2, "answer": "no"}]}',
        '{"Q1": 1, "Q2": 0}',
        "1. Yes\n2. No",
        "1) yes, there is.\n2) no",
        '<think>1. no 2. no {"1": "no", "2": "no"}</think>\n{"1": "yes", "2": "no"}',
    ],
)
def test_answers_are_read_however_they_are_wrapped(text: str) -> None:
    assert read_answers(text, 2) == [True, False]


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ('{"1": "yes"}', [True, None]),
        ('{"1": "yes", "2": "maybe", "3": "no"}', [True, None]),
        ('["yes"]', [None, None]),
        ("yes", [None, None]),
        ("", [None, None]),
        ("The picture shows a dog.", [None, None]),
        ('{"1": "yes", "2": "n', [True, None]),
        ("[[[[", [None, None]),
        ('{"a": {"b": {"c": 1}}}', [None, None]),
    ],
)
def test_what_cannot_be_read_is_unknown(text: str, answers: list[bool | None]) -> None:
    assert read_answers(text, 2)[:2] == answers


def test_a_bare_word_answers_one_question() -> None:
    assert read_answers("Yes, there is one.", 1) == [True]
    assert read_answers("no", 1) == [False]
    assert read_answers("There is none.", 1) == [None]


def test_json_values_are_found_between_words() -> None:
    assert list(json_values('a {"b": [1]} c [2] {broken [3]')) == [{"b": [1]}, [2], [3]]
    assert list(json_values("no json")) == []
    assert list(json_values("[" * 100_000)) == []
    assert list(json_values("{" * 500 + '{"a": 1}')) == []
