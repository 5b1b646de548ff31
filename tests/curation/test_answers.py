"""Kept answers: nothing paid for is lost or asked for twice, whatever ends the process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from curation.answers import REMOTE_EVERY, REMOTE_SECONDS, KeepingChat, KeptAnswers, question_key
from curation.storage import Store
from schemas.chat import Answer, Ask, Unanswered, Usage
from schemas.errors import BudgetError, StorageError

ROOT = Path(__file__).parents[2]


class Remote(Store):
    """A store that is not on a local disk as far as the engine knows."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.local = None

    def _upload(self, path: str, data: bytes) -> None:
        self.fs.create_dir(self.full(path).rpartition("/")[0])  # an object store needs none
        super()._upload(path, data)


def stores(tmp_path: Path, kind: str) -> Store:
    return Store(tmp_path) if kind == "local" else Remote(tmp_path)


def files(tmp_path: Path) -> list[str]:
    """Below the model's folder."""
    return sorted("/".join(path.relative_to(tmp_path).parts[2:]) for path in tmp_path.glob("answers/**/*.jsonl"))


def fill(store: Store, numbers: Sequence[int], part: int = 3) -> KeptAnswers:
    kept = KeptAnswers(store, "model-1", part)
    for n in numbers:
        kept.put(f"question {n}", {"text": f"answer {n}"}, f"clip{n}:0,8")
    return kept


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_an_answer_is_there_for_the_next_process(tmp_path: Path, kind: str) -> None:
    fill(stores(tmp_path, kind), range(3)).close()
    kept = KeptAnswers(stores(tmp_path, kind), "model-1", 3)
    assert [kept.get(f"question {n}") for n in range(4)] == [*({"text": f"answer {n}"} for n in range(3)), None]
    assert KeptAnswers(stores(tmp_path, kind), "model-1", 4).get("question 0") is None
    assert KeptAnswers(stores(tmp_path, kind), "model-2", 3).get("question 0") is None


def test_the_first_answer_stays(tmp_path: Path) -> None:
    kept = fill(Store(tmp_path), [1, 1])
    kept.put("question 1", {"text": "another"}, "clip1")
    kept.settle()
    again = KeptAnswers(Store(tmp_path), "model-1", 3)
    assert again.get("question 1") == {"text": "answer 1"}
    assert len((next(tmp_path.glob("answers/*/*.jsonl"))).read_bytes().splitlines()) == 1


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_settled_bytes_do_not_depend_on_order_or_interruption(tmp_path: Path, kind: str) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    fill(stores(straight, kind), range(40)).settle()
    fill(stores(broken, kind), [17, 3, 39]).close()
    fill(stores(broken, kind), range(39, 20, -1)).settle()
    fill(stores(broken, kind), range(30)).settle()
    assert files(straight) == files(broken) == ["part-000003.jsonl"]
    one, other = (next(folder.glob("answers/*/*.jsonl")).read_bytes() for folder in (straight, broken))
    assert one == other
    keys = [json.loads(line)["key"] for line in one.splitlines()]
    assert keys == sorted(keys)
    assert len(keys) == 40
    assert json.loads(one.splitlines()[0])["of"].startswith("clip")


def test_settling_twice_and_without_news_writes_nothing(tmp_path: Path) -> None:
    KeptAnswers(Store(tmp_path), "model-1", 3).settle()
    assert not (tmp_path / "answers").exists()
    fill(Store(tmp_path), range(3)).settle()
    path = next(tmp_path.glob("answers/*/*.jsonl"))
    os.utime(path, (1, 1))
    kept = fill(Store(tmp_path), range(3))
    kept.settle()
    kept.settle()
    assert path.stat().st_mtime == 1


def test_two_writers_of_one_part_lose_nothing(tmp_path: Path) -> None:
    one, other = (KeptAnswers(Store(tmp_path), "model-1", 3) for _ in range(2))
    one.put("question 1", {"text": "answer 1"}, "clip1")
    other.put("question 2", {"text": "answer 2"}, "clip2")
    one.close()
    other.settle()
    one = KeptAnswers(Store(tmp_path), "model-1", 3)
    assert one.get("question 1") == {"text": "answer 1"}
    assert one.get("question 2") == {"text": "answer 2"}


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_torn_by_a_kill_costs_that_answer_alone(tmp_path: Path, cut: int) -> None:
    fill(Store(tmp_path), range(3)).close()
    journal = next(tmp_path.glob("answers/*/*.journal/*.jsonl"))
    journal.write_bytes(journal.read_bytes()[:-cut])
    kept = KeptAnswers(Store(tmp_path), "model-1", 3)
    assert kept.damaged == 0
    assert [kept.get(f"question {n}") is None for n in range(3)] == [False, False, True]
    kept.put("question 2", {"text": "answer 2"}, "clip2")
    kept.settle()
    assert KeptAnswers(Store(tmp_path), "model-1", 3).get("question 2") == {"text": "answer 2"}


def test_damaged_lines_are_skipped_counted_and_told(tmp_path: Path) -> None:
    fill(Store(tmp_path), range(4)).settle()
    path = next(tmp_path.glob("answers/*/*.jsonl"))
    lines = path.read_bytes().splitlines()
    bad = [b"\xff\xfe\x00", b'{"key": 1, "of": "x", "answer": {}}', b"[" * 100_000]
    path.write_bytes(b"\n".join([lines[0], *bad, *lines[2:]]) + b"\n")
    kept = KeptAnswers(Store(tmp_path), "model-1", 3)
    assert kept.damaged == 3
    assert sum(kept.get(f"question {n}") is not None for n in range(4)) == 3
    chat = KeepingChat(Scripted(), kept)
    assert chat.usage.warnings == [
        "3 kept answers could not be read (the file was changed or damaged); they are asked for again"
    ]
    kept.settle()
    assert KeptAnswers(Store(tmp_path), "model-1", 3).damaged == 0


def test_object_storage_gets_a_file_after_some_answers_or_some_time(tmp_path: Path) -> None:
    now = 0.0
    kept = KeptAnswers(Remote(tmp_path), "model-1", 3, clock=lambda: now)
    for n in range(REMOTE_EVERY):
        assert files(tmp_path) == []
        kept.put(str(n), {"text": "x"}, "clip")
    assert len(files(tmp_path)) == 1
    kept.put("one more", {"text": "x"}, "clip")
    now = REMOTE_SECONDS + 1
    assert len(files(tmp_path)) == 1
    kept.put("and another", {"text": "x"}, "clip")
    assert len(files(tmp_path)) == 2
    kept.put("the last", {"text": "x"}, "clip")
    kept.close()
    assert len(files(tmp_path)) == 3
    assert KeptAnswers(Remote(tmp_path), "model-1", 3).get("the last") == {"text": "x"}


def test_a_full_disk_stops_the_run_and_spoils_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = fill(Store(tmp_path), [1])
    assert kept._file is not None
    opened, write = kept._file, kept._file.write

    class Full:
        """Takes half a line."""

        def write(self, line: bytes) -> int:
            return write(line[: len(line) // 2])

        def close(self) -> None:
            opened.close()

    kept._file = Full()  # type: ignore[assignment]
    with pytest.raises(StorageError, match="disk is full"):
        kept.put("question 2", {"text": "answer 2"}, "clip2")
    assert kept.get("question 2") is None
    kept.put("question 3", {"text": "answer 3"}, "clip3")
    kept.close()
    again = KeptAnswers(Store(tmp_path), "model-1", 3)
    assert [again.get(f"question {n}") is not None for n in (1, 2, 3)] == [True, False, True]
    assert again.damaged == 0


# A chat model that keeps ----------------------------------------------------------------------------------------------


class Scripted:
    """Answers one question after the other, in the order that ``order`` gives; ``script`` says what."""

    name, fingerprint = "scripted", "scripted-1"

    def __init__(
        self,
        script: Callable[[Ask], Answer] = lambda ask: Answer(f"answer to {ask.prompt}", None, 10, 2),
        order: Callable[[int], Sequence[int]] = range,
    ) -> None:
        self.usage = Usage()
        self.asked: list[str] = []
        self.closed = False
        self._script, self._order = script, order

    async def ask(self, asks: Sequence[Ask], on_answer: Callable[[int, Answer], None] | None = None) -> list[Answer]:
        answers: dict[int, Answer] = {}
        for i in self._order(len(asks)):
            await asyncio.sleep(0)
            self.asked.append(asks[i].prompt)
            answers[i] = self._script(asks[i])
            assert on_answer is not None
            on_answer(i, answers[i])
        return [answers.get(i, Answer("untold")) for i in range(len(asks))]

    async def close(self) -> None:
        self.closed = True


def run(
    store: Store, chat: Scripted, asks: Sequence[Ask], settle: bool = True
) -> tuple[list[Answer], list[tuple[int, Answer]]]:
    kept = KeptAnswers(store, chat.fingerprint, 0)
    told: list[tuple[int, Answer]] = []
    try:
        answers = asyncio.run(KeepingChat(chat, kept).ask(asks, lambda i, answer: told.append((i, answer))))
        if settle:
            kept.settle()
    finally:
        kept.close()
    return answers, told


def questions(count: int) -> list[Ask]:
    return [Ask(f"question {n}", f"clip{n}:1,2") for n in range(count)]


def test_only_what_is_not_kept_is_asked(tmp_path: Path) -> None:
    first, _ = run(Store(tmp_path), Scripted(), questions(4))
    chat = Scripted()
    answers, told = run(Store(tmp_path), chat, questions(6))
    assert chat.asked == ["question 4", "question 5"]
    assert [answer.text for answer in answers] == [f"answer to question {n}" for n in range(6)]
    assert [answer.reused for answer in answers] == [True] * 4 + [False] * 2
    assert [(answer.prompt_tokens, answer.completion_tokens) for answer in answers] == [(0, 0)] * 4 + [(10, 2)] * 2
    assert chat.usage.reused == 4
    assert sorted(i for i, _ in told) == list(range(6))
    assert all(answers[i] == answer for i, answer in told)
    assert not any(answer.reused for answer in first)


def test_everything_that_makes_a_question_another_one_does(tmp_path: Path) -> None:
    base: dict[str, Any] = {"prompt": "what?", "key": "clip:1", "stills": (lambda: b"",)}
    asks = [Ask(**base)]
    asks += [
        Ask(**{**base, **change})
        for change in (
            {"prompt": "who?"},
            {"key": "clip:2"},
            {"system": ""},
            {"system": "Be brief."},
            {"want_json": True},
            {"max_tokens": 5},
            {"stills": ()},
        )
    ]
    assert len({question_key(ask) for ask in asks}) == len(asks)
    chat = Scripted()
    run(Store(tmp_path), chat, asks)
    assert len(chat.asked) == len(asks)


def test_equal_questions_are_asked_once_within_and_across_calls(tmp_path: Path) -> None:
    kept = KeptAnswers(Store(tmp_path), "scripted-1", 0)
    chat = Scripted()
    keeping = KeepingChat(chat, kept)

    async def both() -> list[list[Answer]]:
        return await asyncio.gather(keeping.ask([*questions(3), *questions(2)]), keeping.ask(questions(4)))

    one, other = asyncio.run(both())
    assert sorted(chat.asked) == [f"question {n}" for n in range(4)]
    assert [answer.text for answer in one] == [f"answer to question {n}" for n in (0, 1, 2, 0, 1)]
    assert [answer.reused for answer in one] == [False, False, False, True, True]
    assert [answer.reused for answer in other] == [True, True, True, False]
    assert sum(answer.prompt_tokens for answer in (*one, *other)) == 40
    assert chat.usage.reused == 5


def test_refusals_are_kept_and_failures_are_not(tmp_path: Path) -> None:
    def script(ask: Ask) -> Answer:
        return Answer(None, "refused: no", refused=True) if ask.prompt.endswith("0") else Answer(None, "HTTP 500")

    run(Store(tmp_path), Scripted(script), questions(2))
    chat = Scripted()
    answers, _ = run(Store(tmp_path), chat, questions(2))
    assert chat.asked == ["question 1"]
    assert answers[0] == Answer(None, "refused: no", refused=True, reused=True)
    assert answers[1].text == "answer to question 1"


def test_an_equal_question_fails_with_its_twin(tmp_path: Path) -> None:
    chat = Scripted(lambda ask: Answer(None, "HTTP 500", 5, 0))
    answers, _ = run(Store(tmp_path), chat, [*questions(1), *questions(1)])
    assert [answer.error for answer in answers] == ["HTTP 500", "HTTP 500"]
    assert [answer.prompt_tokens for answer in answers] == [5, 0]
    assert len(chat.asked) == 1


def test_where_a_failure_may_pass_nobody_goes_on_and_the_other_answers_are_kept(tmp_path: Path) -> None:
    lost = Answer(None, "HTTP 500", may_pass=True)
    asks = questions(4)
    for bad in ({"question 1", "question 3"}, {"question 3"}):
        chat = Scripted(lambda ask, bad=bad: lost if ask.prompt in bad else Answer(f"answer to {ask.prompt}"))  # type: ignore[misc]
        with pytest.raises(Unanswered, match=r"^scripted: HTTP 500$") as raised:
            run(Store(tmp_path), chat, [*asks, asks[3]])
        assert raised.value.questions == len(bad)  # equal ones are one
    assert chat.asked == ["question 1", "question 3"]
    answers, _ = run(Store(tmp_path), Scripted(), asks)
    assert [answer.text for answer in answers] == [f"answer to question {n}" for n in range(4)]


def test_what_came_before_an_error_is_kept(tmp_path: Path) -> None:
    def script(ask: Ask) -> Answer:
        if ask.prompt == "question 3":
            raise BudgetError("spent")
        return Answer("yes")

    kept = KeptAnswers(Store(tmp_path), "scripted-1", 0)
    keeping = KeepingChat(Scripted(script), kept)

    async def both() -> list[Any]:
        # The second waits for a question of the first, and hears of its end too.
        return await asyncio.gather(keeping.ask(questions(6)), keeping.ask(questions(6)[5:]), return_exceptions=True)

    assert [type(result) for result in asyncio.run(both())] == [BudgetError, BudgetError]
    chat = Scripted()
    answers, _ = run(Store(tmp_path), chat, questions(6))
    assert chat.asked == ["question 3", "question 4", "question 5"]
    assert [answer.text for answer in answers[:3]] == ["yes"] * 3


def test_a_model_that_does_not_tell_of_an_answer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did not tell of 1 of 3 answers"):
        run(Store(tmp_path), Scripted(order=lambda count: range(count - 1)), questions(3))


def test_the_order_of_arrival_does_not_show(tmp_path: Path) -> None:
    one, _ = run(Store(tmp_path / "one"), Scripted(), questions(9))
    other, _ = run(Store(tmp_path / "other"), Scripted(order=lambda count: range(count - 1, -1, -1)), questions(9))
    assert one == other
    first, second = (next((tmp_path / n).glob("answers/*/*.jsonl")).read_bytes() for n in ("one", "other"))
    assert first == second


def test_it_is_the_model_it_wraps(tmp_path: Path) -> None:
    chat = Scripted()
    keeping = KeepingChat(chat, KeptAnswers(Store(tmp_path), "scripted-1", 0))
    assert (keeping.name, keeping.fingerprint, keeping.usage) == (chat.name, chat.fingerprint, chat.usage)
    asyncio.run(keeping.close())
    assert chat.closed


CHILD = """
import asyncio, sys
from curation.answers import KeepingChat, KeptAnswers
from schemas.chat import Ask
from curation.storage import Store
from models.chat.openai_chat import OpenAIChat
from schemas.recipe_learned import Chat

async def main(folder, url):
    chat = OpenAIChat(Chat(model="toy", base_url=url, concurrency=4), "toy-1", "chat.openai")
    kept = KeptAnswers(Store(folder), chat.fingerprint, 0)
    answers = await KeepingChat(chat, kept).ask([Ask(f"question {n}", f"clip{n}") for n in range(40)])
    await chat.close()
    kept.settle()
    print(chat.usage.asked, chat.usage.reused, sum(a.text == f"answer {n}" for n, a in enumerate(answers)))

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_kill_in_the_middle_asks_the_rest_and_nothing_twice(tmp_path: Path, openai_server: Any) -> None:
    """The process dies as soon as the server has 24 requests: answers on their way are all that may be asked for again."""
    command = [sys.executable, "-c", CHILD, str(tmp_path / "corpus"), openai_server.url]
    answered = 0

    def die(seen: Any) -> Any:
        nonlocal answered
        if len(openai_server.requests) == 24:
            child.send_signal(signal.SIGKILL)
        if len(openai_server.requests) >= 24:
            return openai_server.reply(hold=True)
        answered += 1
        return f"answer {seen.prompt.split()[1]}"

    openai_server.script(die)
    child = subprocess.Popen(command, cwd=ROOT)
    assert child.wait(60) == -signal.SIGKILL
    lines = b"".join(path.read_bytes() for path in tmp_path.glob("corpus/answers/*/*/*.jsonl")).split(b"\n")[:-1]
    kept = [json.loads(line)["of"].removeprefix("clip") for line in lines]
    assert len(kept) == len(set(kept)) > 23 - 4  # up to four were on their way
    before = len(openai_server.requests)
    openai_server.script(lambda seen: f"answer {seen.prompt.split()[1]}")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    asked = [prompt.split()[1] for prompt in openai_server.prompts()[before:]]
    assert sorted([*asked, *kept], key=int) == [str(n) for n in range(40)]
    assert done.stdout.split() == [str(len(asked)), str(len(kept)), "40"]
    assert not list(tmp_path.glob("corpus/answers/*/*.journal"))
