"""An endpoint that misbehaves: nothing is lost, nothing is asked for twice, and what it costs is counted."""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from models.chat.budget import FORM_TOKENS, STILL_TOKENS
from models.chat.make import make_chat
from models.chat.openai_chat import GIVE_UP_AFTER, OpenAIChat
from models.chat.pace import LONGEST_PAUSE_S, Pace, retry_after_s
from schemas.chat import Answer, Ask
from schemas.errors import BudgetError, RecipeError, StorageError, TooManyErrorsError, UsageError
from schemas.recipe_learned import Chat, Chats

JPEG = b"\xff\xd8\xff\xe0 not much of a picture \xff\xd9"
PRICES = {"usd_per_million_input": 1000.0, "usd_per_million_output": 2000.0}
"""Of 100 tokens sent and 10 answered: $0.12."""


class Time:
    """A clock that only a sleep moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sleeps: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


Make = Callable[..., OpenAIChat]


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def make(openai_server: Any, time: Time) -> Make:
    def made(**settings: Any) -> OpenAIChat:
        given = {"model": "toy", "base_url": openai_server.url, "retries": 3, **settings}
        return OpenAIChat(Chat(**given), "print", "chat.openai", sleep=time.sleep, clock=time.clock)

    return made


def ask(chat: OpenAIChat, *asks: Ask | str, told: list[int] | None = None) -> list[Answer]:
    """As the stage does it: ask in one event loop, then close."""

    async def go() -> list[Answer]:
        try:
            given = [Ask(a, a) if isinstance(a, str) else a for a in asks]
            return await chat.ask(given, None if told is None else lambda i, answer: told.append(i))
        finally:
            await chat.close()

    return asyncio.run(go())


def texts(answers: Sequence[Answer]) -> list[str | None]:
    return [answer.text for answer in answers]


# What is sent ---------------------------------------------------------------------------------------------------------


def test_a_question_as_the_protocol_wants_it(make: Make, openai_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", " secret\n")
    chat = make(api_key_env="MY_KEY", temperature=0.5, seed=7, max_tokens=64)
    question = Ask("What is it?", "clip:1,2", (lambda: JPEG, lambda: JPEG + b"\0\0"), "Be brief.", True, max_tokens=20)
    assert ask(chat, question) == [Answer("an answer", None, 100, 10)]
    (seen,) = openai_server.requests
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == "Bearer secret"
    assert seen.headers["content-type"] == "application/json"
    assert (seen.prompt, seen.stills) == ("What is it?", [JPEG, JPEG + b"\0\0"])
    assert seen.body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in seen.body["messages"][1]["content"]] == ["image_url", "image_url", "text"]
    del seen.body["messages"]
    assert seen.body == {
        "model": "toy",
        "max_tokens": 20,
        "temperature": 0.5,
        "seed": 7,
        "response_format": {"type": "json_object"},
    }


def test_a_question_without_pictures_key_or_system(
    make: Make, openai_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    ask(make(max_tokens=16), Ask("Wer? \ud800", "", max_tokens=500))
    (seen,) = openai_server.requests
    assert "authorization" not in seen.headers
    assert seen.body["messages"] == [{"role": "user", "content": "Wer? \ud800"}]
    assert seen.body["max_tokens"] == 16
    assert "response_format" not in seen.body


def test_no_proxy_of_the_surroundings_is_used(make: Make, openai_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert texts(ask(make(), "hello")) == ["an answer"]


def test_one_model_serves_many_event_loops(make: Make, openai_server: Any) -> None:
    chat = make(concurrency=2, requests_per_minute=6000)
    for _ in range(3):
        assert texts(ask(chat, *"abcde")) == ["an answer"] * 5
    assert chat.usage.asked == len(openai_server.requests) == 15


def test_a_still_that_cannot_be_read_costs_one_question(make: Make, openai_server: Any) -> None:
    def gone() -> bytes:
        raise FileNotFoundError(2, "No such file or directory")

    answers = ask(make(), Ask("one", "1", (gone,)), Ask("two", "2", (lambda: JPEG,)))
    assert answers[0] == Answer(None, "a still could not be read (No such file or directory)")
    assert texts(answers) == [None, "an answer"]
    assert len(openai_server.requests) == 1


@pytest.mark.parametrize("bad", [b"", b"no picture \xff\xd9", JPEG[:-2], JPEG + b"\0\1"])
def test_stills_that_are_no_whole_jpeg_are_not_sent(make: Make, openai_server: Any, bad: bytes) -> None:
    asks = [Ask(str(n), str(n), (lambda: JPEG, lambda: bad)) for n in range(GIVE_UP_AFTER + 1)]
    chat = make()
    answers = ask(chat, *asks, "other")
    assert {answer.error for answer in answers[:-1]} == {"a still could not be read (it is no whole JPEG)"}
    assert answers[-1].text == "an answer"
    assert openai_server.prompts() == ["other"]
    assert len(chat.usage.warnings) == 1


# Order and number ------------------------------------------------------------------------------------------------------


def test_answers_that_come_in_another_order_find_their_questions(make: Make, openai_server: Any) -> None:
    """The last of four must answer first: each waits for the one after it."""
    asked = [str(n) for n in range(4)]
    answered = {name: threading.Event() for name in asked}
    last: list[int] = []

    def script(seen: Any) -> Any:
        after = str(int(seen.prompt) + 1)
        return openai_server.reply(f"answer {seen.prompt}", after=answered.get(after))

    openai_server.script(script)
    chat = make(concurrency=4)

    async def go() -> list[Answer]:
        def told(place: int, answer: Answer) -> None:
            last.append(place)
            answered[asked[place]].set()

        try:
            return await chat.ask([Ask(a, a) for a in asked], told)
        finally:
            await chat.close()

    assert texts(asyncio.run(go())) == [f"answer {n}" for n in range(4)]
    assert last == [3, 2, 1, 0]


def test_no_more_are_under_way_than_allowed(make: Make, openai_server: Any) -> None:
    three = threading.Event()

    def script(seen: Any) -> Any:
        if len(openai_server.requests) >= 3:
            three.set()
        return openai_server.reply(after=three)

    openai_server.script(script)
    chat = make(concurrency=3)

    async def go() -> None:
        # The limit holds over all calls together.
        await asyncio.gather(*(chat.ask([Ask(f"{n}{m}", "") for m in range(4)]) for n in range(3)))
        await chat.close()

    asyncio.run(go())
    assert openai_server.most_at_once == 3
    assert len(openai_server.requests) == 12


def test_the_rate_is_kept_over_questions_and_tries(make: Make, openai_server: Any, time: Time) -> None:
    openai_server.script([openai_server.reply(status=500)])
    chat = make(requests_per_minute=30, concurrency=1)
    sent: list[float] = []
    script = openai_server._script
    openai_server.script(lambda seen: (sent.append(time.now), script(seen))[1])
    assert texts(ask(chat, *"abc")) == ["an answer"] * 3
    assert len(sent) == 4
    assert all(b - a >= 2.0 - 1e-9 for a, b in pairwise(sent))
    assert sum(time.sleeps) <= 3 * 2.0 + 1.5  # three places, and the pause after the failure


# What may pass ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": 429},
        {"status": 500},
        {"status": 503},
        {"status": 408},
        {"truncate": 40},
        {"drop": True},
        {"body": b""},
        {"body": b"<html>busy</html>"},
        {"body": b'{"choices": []}'},
        {"body": b'{"choices": [{"message": null}]}'},
        {"body": b"[" * 200_000},
        {"body": b"\x1f\x8b nonsense", "headers": {"Content-Encoding": "gzip"}},
    ],
    ids=lambda wrong: "-".join(wrong) + str(wrong.get("status", "")),
)
def test_what_may_pass_is_tried_again(make: Make, openai_server: Any, time: Time, wrong: dict[str, Any]) -> None:
    openai_server.script([openai_server.reply(**wrong), openai_server.reply(**wrong), "good"])
    chat = make(**PRICES)
    told: list[int] = []
    assert ask(chat, "what?", told=told) == [Answer("good", None, 100, 10)]
    assert told == [0]
    assert len(openai_server.requests) == 3
    usage = chat.usage
    assert (usage.asked, usage.failed, usage.retries) == (1, 0, 2)
    assert (usage.prompt_tokens, usage.completion_tokens, round(usage.usd, 9)) == (100, 10, 0.12)
    # Pauses grow, with some chance in them.
    assert len(time.sleeps) == 2
    assert 1.0 <= time.sleeps[0] <= 1.5 < 2.0 <= time.sleeps[1] <= 3.0


def test_a_slow_answer_is_given_up_and_asked_for_again(make: Make, openai_server: Any) -> None:
    openai_server.script([openai_server.reply(hold=True), "good"])
    chat = make(timeout_s=0.1)
    assert texts(ask(chat, "what?")) == ["good"]
    assert chat.usage.retries == 1


def test_pauses_depend_on_the_seed_alone_and_have_a_longest(make: Make, openai_server: Any, time: Time) -> None:
    openai_server.script([openai_server.reply(status=502)] * 9)
    ask(make(retries=9, seed=1), "what?")
    first = list(time.sleeps)
    assert max(first) <= 1.5 * LONGEST_PAUSE_S
    assert first[-1] >= LONGEST_PAUSE_S
    for seed in (1, 2):
        time.sleeps.clear()
        openai_server.script([openai_server.reply(status=502)] * 9)
        ask(make(retries=9, seed=seed), "what?")
        assert (time.sleeps == first) is (seed == 1)


def test_retry_after_is_obeyed_by_everybody(make: Make, openai_server: Any, time: Time) -> None:
    openai_server.script([openai_server.reply(status=429, headers={"Retry-After": "17"}), "a", "b"])
    chat = make(concurrency=1)
    assert texts(ask(chat, "one", "two")) == ["a", "b"]
    assert time.sleeps == [17.0]
    time.sleeps.clear()
    openai_server.script([openai_server.reply(status=503, headers={"Retry-After": "9"})])
    chat = make(concurrency=1, retries=0)
    assert texts(ask(chat, "one", "two")) == [None, "an answer"]
    assert time.sleeps == []  # nobody waits for a question that is not asked again


def test_places_stay_apart_after_a_rest_and_none_claimed_before_is_used_in_it(time: Time) -> None:
    pace = Pace(30.0, time.clock)
    before = [pace.claim() for _ in range(3)]
    assert before == [100.0, 102.0, 104.0]
    assert all(pace.stands(at) for at in before)
    pace.hold(30.0)
    assert not any(pace.stands(at) for at in before)
    after = [pace.claim() for _ in range(8)]
    assert after == [130.0 + 2.0 * n for n in range(8)]
    assert all(pace.stands(at) for at in after)
    assert pace.wait_s(after[1]) == 32.0


def test_who_wakes_up_in_a_rest_waits_for_its_end(openai_server: Any, time: Time) -> None:
    """The second question has its place, 2 s after the first, when the first is told to wait for 30 s."""
    openai_server.script([openai_server.reply(status=429, headers={"Retry-After": "30"})])
    next_place: list[float] = []
    settings = Chat(model="toy", base_url=openai_server.url, requests_per_minute=30, concurrency=2)

    async def go() -> list[Answer]:
        async def sleep(seconds: float) -> None:
            end = time.now + seconds
            while chat._pace._held_until < 102.0:  # the rest has not been asked for yet
                await asyncio.sleep(0)
            time.now = max(time.now, end)

        chat = OpenAIChat(settings, "print", "chat.openai", sleep=sleep, clock=time.clock)
        try:
            answers = await chat.ask([Ask("a", ""), Ask("b", "")])
            next_place.append(chat._pace._next_at)
            return answers
        finally:
            await chat.close()

    assert texts(asyncio.run(go())) == ["an answer", "an answer"]
    assert next_place == [134.0]  # both took another, at 130 and 132


def test_retry_after_may_be_a_date_by_the_endpoint_s_clock() -> None:
    then = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
    headers = {"retry-after": format_datetime(then + timedelta(seconds=90), usegmt=True)}
    assert retry_after_s({**headers, "date": format_datetime(then, usegmt=True)}) == 90.0
    assert retry_after_s(headers) == 0.0
    assert retry_after_s({"retry-after": "2.5"}) == 2.5
    for said in ("", "soon", "-5", "nan", "inf", "1e9", "Mon, 99 Foo 2001"):
        assert retry_after_s({"retry-after": said}) is None


def test_an_endpoint_that_wants_to_be_left_alone_for_long_stops_the_run(make: Make, openai_server: Any) -> None:
    openai_server.script(["good", openai_server.reply(status=429, headers={"Retry-After": "7200"})])
    told: list[int] = []
    with pytest.raises(TooManyErrorsError, match="left alone for 7200 seconds"):
        ask(make(concurrency=1), *"abc", told=told)
    assert told == [0]
    assert len(openai_server.requests) == 2


def test_a_question_that_keeps_failing_is_an_answer_with_an_error(make: Make, openai_server: Any) -> None:
    openai_server.script(lambda seen: openai_server.reply(status=500) if seen.prompt == "bad" else "good")
    chat = make()
    answers = ask(chat, "bad", "other")
    assert answers == [Answer(None, "HTTP 500: status 500", may_pass=True), Answer("good", None, 100, 10)]
    assert [seen.prompt for seen in openai_server.requests].count("bad") == 4
    assert (chat.usage.asked, chat.usage.failed, chat.usage.retries) == (1, 1, 3)
    assert chat.usage.warnings == ["a question has no answer: HTTP 500: status 500"]


# What does not pass ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, r"does not accept the key.*OPENAI_API_KEY is not set.*chat\.openai\.api_key_env"),
        (403, "does not accept the key"),
        (404, r"has no model `toy`.*chat\.openai\.model.*ends with /v1"),
        (307, "sends elsewhere"),
    ],
)
def test_what_concerns_every_question_stops_the_run(
    make: Make, openai_server: Any, monkeypatch: pytest.MonkeyPatch, status: int, message: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    headers = {"Location": "http://127.0.0.1:1/v1/chat/completions"} if status == 307 else {}
    openai_server.script(lambda seen: openai_server.reply(status=status, headers=headers))
    with pytest.raises(UsageError, match=message):
        ask(make(concurrency=1), *"abc")
    assert len(openai_server.requests) == 1


def test_a_key_that_no_header_can_hold(make: Make, openai_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "one\ntwo")
    with pytest.raises(UsageError, match="OPENAI_API_KEY holds no key") as caught:
        ask(make(), "what?")
    assert "two" not in str(caught.value)
    assert openai_server.requests == []


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_question_that_is_turned_down_is_not_asked_again(make: Make, openai_server: Any, status: int) -> None:
    error = {"message": "image\x1b[2J  too large\n" + "x" * 500}
    openai_server.script([openai_server.reply(status=status, error=error)])
    chat = make()
    (answer,) = ask(chat, "what?")
    assert answer.error is not None
    assert answer.error.startswith(f"HTTP {status} (image [2J too large xxx")
    assert len(answer.error) < 230
    assert not answer.refused
    assert len(openai_server.requests) == 1


def test_an_endpoint_that_turns_everything_down_stops_the_run(make: Make, openai_server: Any) -> None:
    openai_server.script(lambda seen: openai_server.reply(status=400, error={"message": "bad template"}))
    with pytest.raises(TooManyErrorsError, match=rf"{GIVE_UP_AFTER} questions in a row failed.*bad template"):
        ask(make(concurrency=1), *(str(n) for n in range(20)))
    assert len(openai_server.requests) == GIVE_UP_AFTER


def test_a_good_answer_now_and_then_goes_on(make: Make, openai_server: Any) -> None:
    bad = openai_server.reply(status=400)
    openai_server.script(lambda seen: "good" if int(seen.prompt) % GIVE_UP_AFTER == 0 else bad)
    answers = ask(make(concurrency=1), *(str(n) for n in range(3 * GIVE_UP_AFTER)))
    assert sum(answer.text == "good" for answer in answers) == 3


@pytest.mark.parametrize("status", [400, 413, 422])
def test_questions_turned_down_after_an_answer_do_not_stop_the_run(make: Make, openai_server: Any, status: int) -> None:
    bad = openai_server.reply(status=status)
    openai_server.script(lambda seen: "good" if seen.prompt == "0" else bad)
    answers = ask(make(concurrency=1), *(str(n) for n in range(3 * GIVE_UP_AFTER)))
    assert texts(answers) == ["good", *[None] * (3 * GIVE_UP_AFTER - 1)]


def test_what_says_nothing_of_a_question_stops_the_run_even_after_an_answer(make: Make, openai_server: Any) -> None:
    bad = openai_server.reply(status=405)
    openai_server.script(lambda seen: "good" if seen.prompt == "0" else bad)
    with pytest.raises(TooManyErrorsError, match="in a row failed"):
        ask(make(concurrency=1), *(str(n) for n in range(3 * GIVE_UP_AFTER)))


KEY = 'sk-"0123456789\\abc'
"""With signs that JSON writes otherwise."""


@pytest.mark.parametrize("status", [400, 401, 402, 404, 500])
@pytest.mark.parametrize("wrapped", [False, True])
def test_no_message_repeats_the_key(
    make: Make, openai_server: Any, monkeypatch: pytest.MonkeyPatch, status: int, wrapped: bool
) -> None:
    """Not even its first half, where the message is cut there."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    said = f"{'x' * 190} {KEY}"
    body = json.dumps({"detail": {"key": said[150:]}} if wrapped else {"error": {"message": said}}).encode()
    openai_server.script(lambda seen: openai_server.reply(status=status, body=body))
    chat = make(concurrency=1, retries=0)
    try:
        told = str(ask(chat, "what?")[0].error)
    except (UsageError, BudgetError) as stopped:
        told = str(stopped)
    assert "***" in told
    assert "sk-" not in told + "".join(chat.usage.warnings)


def test_no_refusal_repeats_the_key(make: Make, openai_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    body = {"choices": [{"message": {"content": None, "refusal": f"not for {KEY}"}}]}
    openai_server.script([openai_server.reply(body=json.dumps(body).encode())])
    assert ask(make(), "what?")[0].error == "refused: not for ***"


def test_nobody_there_stops_the_run_after_one_question(make: Make, openai_server: Any, time: Time) -> None:
    url = "http://127.0.0.1:1/v1"
    with pytest.raises(TooManyErrorsError, match="nobody answers") as caught:
        ask(make(base_url=url, concurrency=1), *"abc")
    assert "http://127.0.0.1:1/v1/chat/completions" in str(caught.value)
    assert len(time.sleeps) == 3


def test_what_is_on_its_way_when_the_run_stops_is_handed_over(make: Make, openai_server: Any) -> None:
    both, failed = threading.Event(), threading.Event()

    def script(seen: Any) -> Any:
        if len(openai_server.requests) == 2:
            both.set()
        if seen.prompt == "bad":
            return openai_server.reply(status=401, after=both)
        return openai_server.reply("good", after=failed)

    openai_server.script(script)
    chat = make(concurrency=2)
    told: list[int] = []

    async def go() -> None:
        asking = asyncio.ensure_future(
            chat.ask([Ask("bad", ""), Ask("slow", ""), Ask("next", "")], lambda i, a: told.append(i))
        )
        loop = chat._loop
        while loop is None or not loop.stopped.is_set():
            await asyncio.sleep(0)
            loop = chat._loop
        failed.set()
        try:
            await asking
        finally:
            await chat.close()

    with pytest.raises(UsageError):
        asyncio.run(go())
    assert told == [1]
    assert openai_server.prompts() in (["bad", "slow"], ["slow", "bad"])


def test_nobody_sleeps_on_when_the_run_has_stopped(openai_server: Any) -> None:
    waiting = threading.Event()

    async def forever(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    def script(seen: Any) -> Any:
        return (
            openai_server.reply(status=503) if seen.prompt == "busy" else openai_server.reply(status=401, after=waiting)
        )

    openai_server.script(script)
    settings = Chat(model="toy", base_url=openai_server.url, concurrency=2)
    chat = OpenAIChat(settings, "print", "chat.openai", sleep=forever)

    async def go() -> None:
        async with asyncio.timeout(20):
            await chat.ask([Ask("busy", ""), Ask("bad", "")])

    with pytest.raises(UsageError):
        asyncio.run(go())
    assert len(openai_server.requests) == 2


def test_an_answer_that_cannot_be_kept_stops_the_run(make: Make, openai_server: Any) -> None:
    def full(place: int, answer: Answer) -> None:
        raise StorageError("The disk is full.")

    chat = make(concurrency=1)

    async def go() -> None:
        await chat.ask([Ask(a, "") for a in "abc"], full)

    with pytest.raises(StorageError):
        asyncio.run(go())
    assert len(openai_server.requests) == 1


# Odd answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_refusal_is_an_answer_without_text(make: Make, openai_server: Any, temperature: float) -> None:
    openai_server.script(
        [
            openai_server.reply(refusal="I can't help\nwith that"),
            openai_server.reply(None, finish="content_filter"),
            openai_server.reply(status=400, error={"message": "blocked", "code": "content_filter"}),
        ]
    )
    chat = make(concurrency=1, temperature=temperature)
    answers = ask(chat, *"abc")
    final = temperature == 0  # then it would refuse again
    assert answers == [
        Answer(None, "refused: I can't help with that", 100, 10, refused=final),
        Answer(None, "refused: a content filter stopped the answer", 100, 10, refused=final),
        Answer(None, "refused: HTTP 400 (blocked)", 0, 0, refused=final),
    ]
    assert (chat.usage.asked, chat.usage.failed, chat.usage.retries) == (0, 3, 0)
    assert len(chat.usage.warnings) == 1


def test_nothing_is_asked_for_again_once_and_all_is_counted(make: Make, openai_server: Any) -> None:
    openai_server.script(["", "good", openai_server.reply("  \n"), openai_server.reply(None), "late"])
    chat = make(concurrency=1)
    assert ask(chat, "one", "two") == [
        Answer("good", None, 200, 20),
        Answer(None, "an empty answer", 200, 20),
    ]
    assert len(openai_server.requests) == 4
    assert (chat.usage.prompt_tokens, chat.usage.retries) == (400, 2)


def test_a_cut_answer_ends_with_a_sentence_and_cut_json_is_none(make: Make, openai_server: Any) -> None:
    openai_server.script(
        [
            openai_server.reply("A dog of 3.5 kg runs. It barks! Then it", finish="length"),
            openai_server.reply("no sentence at", finish="length"),
            openai_server.reply('{"caption": "A do', finish="length"),
            openai_server.reply("", finish="length"),
        ]
    )
    chat = make(concurrency=1, max_tokens=7)
    answers = ask(chat, "one", "two", Ask("three", "", want_json=True), "four")
    assert texts(answers) == ["A dog of 3.5 kg runs. It barks!", "no sentence at", None, None]
    assert answers[2] == Answer(
        None, "the answer was cut off at 7 tokens (chat.openai.max_tokens)", 100, 10, refused=True
    )
    assert answers[3].error == answers[2].error
    assert len(openai_server.requests) == 4
    assert any("kept up to its last whole sentence" in text for text in chat.usage.warnings)


def test_pieces_and_broken_characters(make: Make, openai_server: Any) -> None:
    pieces: Any = [{"type": "text", "text": "a\ud800"}, {"type": "text", "text": "b "}, "c"]
    openai_server.script([openai_server.reply(pieces)])
    assert texts(ask(make(), "what?")) == ["a?b"]


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": -5, "completion_tokens": 3},
        {"prompt_tokens": "9", "completion_tokens": 10**30},
        [1],
        {"prompt_tokens": True, "completion_tokens": 0.5},
    ],
)
def test_impossible_numbers_of_tokens_count_as_none_and_are_told_once(
    make: Make, openai_server: Any, usage: Any
) -> None:
    openai_server.script([openai_server.reply("good", usage=usage)] * 2)
    chat = make(**PRICES)
    assert texts(ask(chat, "one", "two")) == ["good", "good"]
    assert chat.usage.usd <= 2 * 3 * PRICES["usd_per_million_output"] / 1e6
    assert chat.usage.prompt_tokens == 0
    assert [text for text in chat.usage.warnings if "did not tell its tokens" in text] == chat.usage.warnings
    assert len(chat.usage.warnings) == 1


@pytest.mark.parametrize(
    ("param", "error"),
    [
        (
            "max_tokens",
            {
                "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                "code": "unsupported_parameter",
                "param": "max_tokens",
            },
        ),
        (
            "temperature",
            {
                "message": "Unsupported value: 'temperature' does not support 0.5 with this model.",
                "param": "temperature",
            },
        ),
        ("seed", {"message": "body.seed: Extra inputs are not permitted", "param": None}),
        ("response_format", {"message": "'response_format.type' must be 'json_schema' or 'text'"}),
    ],
)
def test_a_setting_that_the_endpoint_does_not_take_is_left_out_and_told(
    make: Make, openai_server: Any, param: str, error: dict[str, Any]
) -> None:
    openai_server.script(lambda seen: openai_server.reply(status=400, error=error) if param in seen.body else "good")
    chat = make(temperature=0.5, max_tokens=9, concurrency=1)
    answers = ask(chat, *(Ask(a, "", want_json=True) for a in "ab"))
    assert texts(answers) == ["good", "good"]
    assert len(openai_server.requests) == 3
    assert len(chat.usage.warnings) == 1
    assert f"does not take `{param}`" in chat.usage.warnings[0]
    last = openai_server.requests[-1].body
    assert last.get("max_completion_tokens") == (9 if param == "max_tokens" else None)
    assert last.keys() | {param} >= {"max_tokens", "temperature", "seed", "response_format"}


def test_a_wrong_value_is_no_missing_setting(make: Make, openai_server: Any) -> None:
    error = {"message": "max_tokens is too large: 9000. This model supports at most 4096.", "param": "max_tokens"}
    openai_server.script([openai_server.reply(status=400, error=error)])
    (answer,) = ask(make(), "what?")
    assert answer.error is not None
    assert "supports at most 4096" in answer.error


# Money -----------------------------------------------------------------------------------------------------------------


def test_a_run_that_would_spend_more_stops_and_keeps_what_it_has(make: Make, openai_server: Any) -> None:
    """An answer costs $0.12; held back for the next are its text's bytes and the longest answer, $0.116."""
    chat = make(concurrency=1, max_tokens=20, budget_usd=0.5, **PRICES)
    told: list[int] = []
    with pytest.raises(BudgetError, match=r"chat\.openai is spent: \$0\.4800 of \$0\.5.*may cost \$0\.1"):
        ask(chat, *(f"question {n:03}" for n in range(20)), told=told)
    assert told == [0, 1, 2, 3]
    assert round(chat.usage.usd, 9) == 0.48
    with pytest.raises(BudgetError):  # it is of the run, not of an event loop
        ask(chat, "more")
    assert len(openai_server.requests) == 4


def test_many_at_once_do_not_spend_more_either(make: Make, openai_server: Any) -> None:
    most = (FORM_TOKENS + 3) * 1000 / 1e6 + 1000 * 2000 / 1e6
    usage = {"prompt_tokens": FORM_TOKENS, "completion_tokens": 1000}
    openai_server.script(lambda seen: openai_server.reply("good", usage=usage))
    chat = make(concurrency=16, max_tokens=1000, budget_usd=10 * most, **PRICES)
    told: list[int] = []
    with pytest.raises(BudgetError):
        ask(chat, *(f"{n:03}" for n in range(50)), told=told)
    assert openai_server.most_at_once <= 10
    assert len(told) == len(openai_server.requests) == 10
    assert chat.usage.usd <= 10 * most


def test_answers_that_turn_out_cheap_make_room(make: Make, openai_server: Any) -> None:
    """What was held back for the longest answer is given back: the budget is used up to its end."""
    chat = make(concurrency=4, max_tokens=100, budget_usd=1.0, **PRICES)
    told: list[int] = []
    with pytest.raises(BudgetError):
        ask(chat, *(str(n) for n in range(50)), told=told)
    assert len(told) == 7  # a request may cost 0.265: seven are 0.84, and the next might make 1.105
    assert len(openai_server.requests) == 7


def test_the_first_picture_goes_alone_and_tells_what_pictures_take(make: Make, openai_server: Any) -> None:
    """An endpoint that takes 40,000 tokens for a picture, twenty times what was supposed."""
    usage = {"prompt_tokens": 40_000, "completion_tokens": 10}
    one = threading.Event()

    def script(seen: Any) -> Any:
        one.set()
        return openai_server.reply("good", usage=usage, after=one)

    openai_server.script(script)
    chat = make(concurrency=16, max_tokens=10, budget_usd=100.0, **PRICES)
    told: list[int] = []
    with pytest.raises(BudgetError):
        ask(chat, *(Ask(str(n), str(n), (lambda: JPEG,)) for n in range(16)), told=told)
    assert chat.usage.usd <= 100.0
    assert len(told) == 1  # another may cost twice as much as the first: 40 + 80 > 100


def test_lost_answers_may_have_been_billed(make: Make, openai_server: Any) -> None:
    openai_server.script([openai_server.reply(drop=True)] * 2)
    chat = make(concurrency=1, max_tokens=100, budget_usd=0.6, **PRICES)
    with pytest.raises(BudgetError, match=r"\$0\.5300 \(up to \$0\.5300 of it for requests whose cost was not told\)"):
        ask(chat, "1")
    assert len(openai_server.requests) == 2
    assert chat.usage.usd == 0


def test_answers_cut_off_on_the_way_are_told_once_as_perhaps_billed(make: Make, openai_server: Any) -> None:
    openai_server.script([openai_server.reply(truncate=40)] * 2)
    chat = make(concurrency=1, max_tokens=100, budget_usd=0.6, **PRICES)
    with pytest.raises(BudgetError, match=r"up to \$0\.5300 of it"):
        ask(chat, "1")
    (told,) = chat.usage.warnings
    assert "may have been billed" in told


def test_what_a_failing_endpoint_never_answered_costs_nothing(make: Make, openai_server: Any) -> None:
    openai_server.script([openai_server.reply(status=500), openai_server.reply(status=429)])
    chat = make(concurrency=1, max_tokens=100, budget_usd=0.3, **PRICES)
    assert texts(ask(chat, "1")) == ["an answer"]
    assert round(chat.usage.usd, 9) == 0.12


@pytest.mark.parametrize(("status", "code"), [(402, ""), (429, "insufficient_quota")])
def test_an_empty_account_stops_the_run(make: Make, openai_server: Any, status: int, code: str) -> None:
    openai_server.script([openai_server.reply(status=status, error={"message": "Pay first", "code": code})])
    with pytest.raises(BudgetError, match=r"no money left .*Pay first"):
        ask(make(concurrency=1), "a", "b")
    assert len(openai_server.requests) == 1


# Settings --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": None}, r"has no base_url.*--set chat\.llm\.base_url="),
        (
            {"base_url": "localhost:8000/v1"},
            r"chat\.llm\.base_url is `localhost:8000/v1`, which is no address.*http://",
        ),
        ({"base_url": "http://"}, "no address"),
        ({"base_url": "http://host:port/v1"}, "no address"),
        ({"base_url": "ftp://host/v1"}, "no address"),
        ({"model": None}, r"--set chat\.llm\.model="),
        ({"budget_usd": 1.0}, "no price"),
    ],
)
def test_settings_that_cannot_work_name_their_keys(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_chat(Chat(**{"model": "toy", "base_url": "http://localhost:1/v1", **settings}), "llm")


@pytest.mark.parametrize(
    "url", ["https://me:hush@host/v1", "https://host/v1?api-key=hush", "me:hush@host/v1", "http://h/v1#hush"]
)
def test_an_address_holds_no_secret(url: str) -> None:
    with pytest.raises(ValidationError, match=r"may hold no password or query.*`api_key_env` names") as caught:
        Chats.model_validate({"llm": {"base_url": url}})
    # The recipe's error shows inputs that are no sections: this is one, and the text of it all is not shown.
    (finding,) = caught.value.errors()
    assert finding["loc"] == ("llm",)
    assert isinstance(finding["input"], dict)
    assert "hush" not in finding["msg"]


@pytest.mark.parametrize("path", ["/v1", "/v1/"])
def test_an_address_may_end_with_a_stroke(make: Make, openai_server: Any, path: str) -> None:
    ask(make(base_url=openai_server.url.removesuffix("/v1") + path), "a")
    assert openai_server.requests[0].path == "/v1/chat/completions"


def test_limits_are_no_part_of_what_a_model_is() -> None:
    def mark(**settings: Any) -> str:
        return make_chat(
            Chat(**{"model": "toy", "base_url": "http://localhost:1/v1", **settings}), "openai"
        ).fingerprint

    limits = {"base_url": "http://elsewhere/v1", "concurrency": 1, "retries": 0, "timeout_s": 1.0, "batch": 9}
    assert mark() == mark(**limits)
    assert len({mark(), mark(model="other"), mark(temperature=1.0), mark(seed=1), mark(max_tokens=9)}) == 5


def test_a_long_answer_is_none(make: Make, openai_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import models.chat.endpoint

    monkeypatch.setattr(models.chat.endpoint, "MOST_BYTES", 1000)
    openai_server.script([openai_server.reply(body=json.dumps({"x": "y" * 5000}).encode()), "good"])
    assert texts(ask(make(), "what?")) == ["good"]


def test_supposed_cost_of_a_picture_before_one_is_known(make: Make, openai_server: Any) -> None:
    """An endpoint that never tells tokens: a picture counts as supposed, each request as all that was held back."""
    openai_server.script(lambda seen: openai_server.reply("good", usage=None))
    each = (FORM_TOKENS + 1 + STILL_TOKENS) * 1000 / 1e6 + 10 * 2000 / 1e6
    later = (FORM_TOKENS + 1 + 2 * STILL_TOKENS) * 1000 / 1e6 + 10 * 2000 / 1e6
    chat = make(concurrency=8, max_tokens=10, budget_usd=each + 3.5 * later, **PRICES)
    told: list[int] = []
    with pytest.raises(BudgetError, match="whose cost was not told"):
        ask(chat, *(Ask(str(n), str(n), (lambda: JPEG,)) for n in range(8)), told=told)
    assert len(told) == 4
