"""The judge behind a server: a scripted one on a real socket, for everything that goes wrong."""

from __future__ import annotations

import base64
import io
import logging
import threading
import time
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from configs.schema import RewardTermConfig
from data.records import Example, Prompt
from rewards.judges.base import DIMENSIONS, NO_CLIP, JudgeContext, JudgeError, Judgement
from rewards.judges.http import HttpJudge
from rewards.judges.injections import injections
from rewards.pool import RewardPool
from tests.fixtures import write_tone
from tests.judge_server import always, message_of, obedient, running, scores_text
from tests.unit.make_groups import CHOICES, make_group

pytestmark = pytest.mark.slow

PROSODY = {"pitch": "high"}
SETTINGS: dict[str, Any] = {"timeout_s": 10.0, "deadline_s": 20.0, "max_attempts": 2}
"""Long enough for a busy machine; tests of timeouts set their own."""


def prompt_of(audio: str = "clip-1.wav") -> Prompt:
    example = Example("clip-1", audio, "angry", "Which emotion?", CHOICES, prosody=PROSODY)
    return Prompt(example, "", make_group([""]).prompt.token_ids, None, 0)


@pytest.fixture
def judge_of() -> Iterator[Callable[..., HttpJudge]]:
    judges: list[HttpJudge] = []

    def make(url: str, root: str = "clips", **options: Any) -> HttpJudge:
        settings = {**SETTINGS, "model": "judge", **options}
        judges.append(HttpJudge(JudgeContext(root), url=url, **settings))
        return judges[-1]

    yield make
    for judge in judges:
        judge.close()


def ask(judge: HttpJudge, *texts: str) -> list[Judgement]:
    return judge.judge(prompt_of(), texts or ("The pitch is high.",))


def test_scores_and_costs_of_a_good_reply(judge_of):
    with running(always(f"text {scores_text(4).replace('4', '2', 1)}")) as server:
        (found,) = ask(judge_of(server.url))
    assert found.scores == {**dict.fromkeys(DIMENSIONS, 4.0), "factual_alignment": 2.0}
    assert found.missing == ""
    costs = {"cached": False, "calls": 1, "prompt_tokens": 300, "completion_tokens": 40}
    assert {key: found.details[key] for key in costs} == costs
    (body,) = server.bodies
    assert (body["model"], body["temperature"]) == ("judge", 0)
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["factual_alignment"]["enum"] == [1, 2, 3, 4, 5]
    text = message_of(body)
    assert "The pitch is high." in text and "pitch: high" in text and "angry" in text
    assert "Answers it could choose from" in text


def test_a_judge_that_hears_is_not_asked_about_a_row_without_a_clip(judge_of):
    with running(always(f"text {scores_text(4)}")) as server:
        (found,) = judge_of(server.url, audio=True).judge(prompt_of(""), ["The pitch is high."])
        assert (found.scores, found.missing) == (dict.fromkeys(DIMENSIONS), NO_CLIP)
        (read,) = judge_of(server.url).judge(prompt_of(""), ["The words are sad."])
        assert read.missing == "" and len(server.bodies) == 1


@pytest.mark.parametrize(
    ("item", "reason", "calls"),
    [
        ("500", "http 500", 2),
        ("529", "http 529", 2),
        ("429", "http 429", 2),
        ("429 Tue, 24 Nov 99999999999999999999 10:00:00 GMT", "http 429", 2),  # no date: ours
        ("429 60", "http 429", 1),  # the server asks for more time than there is
        ("400", "http 400", 1),
        ("401", "http 401", 1),
        ("302", "http 302", 1),
        ("hang", "timeout", 2),
        ("slow 1", "timeout", 2),
        ("drop", "connection", 2),
        ("cut", "connection", 2),
        ("gzip", "compressed reply", 1),
        ("huge", "reply too large", 1),
        ("raw not json", "not a chat completion", 1),
        ("raw {}", "not a chat completion", 1),
        ("raw []", "not a chat completion", 1),
        ('raw {"choices": []}', "not a chat completion", 1),
        ('raw {"choices": [{"message": {"content": 5}}]}', "not a chat completion", 1),
        ("raw " + "[" * 20_000, "not a chat completion", 1),
        ("text I would say four.", "not json", 1),
        ("text " + "{" * 400, "nested json", 1),
        ("text " + " " * 2_000, "reply too long", 1),
        ("ok 9", "out of range", 1),
        ("ok 0", "out of range", 1),
        ("ok 5.0", "not an integer", 1),
        ("ok true", "not an integer", 1),
        ('ok "6"', "not an integer", 1),
        ("ok NaN", "not an integer", 1),
        ("ok 1" + "0" * 200, "out of range", 1),
        ('text {"factual_alignment": 5}', "wrong keys", 1),
    ],
)
def test_every_failure_is_missing_with_a_reason(judge_of, item: str, reason: str, calls: int):
    with running(always(item)) as server:
        (found,) = ask(judge_of(server.url, timeout_s=0.4 if reason == "timeout" else 10.0))
        assert found.scores == dict.fromkeys(DIMENSIONS, None)
        assert (found.missing, found.details["calls"]) == (reason, calls)
        until = time.monotonic() + 20
        while len(server.bodies) < calls and time.monotonic() < until:
            time.sleep(0.01)  # a busy server may read a request after its client has gone
        assert len(server.bodies) == calls
        assert server.bytes_sent < 5_000_000  # of 50 MB: the rest was not read


def test_no_server_at_all(judge_of):
    with running(always("ok 4")) as server:
        url = server.url
    (found,) = ask(judge_of(url))
    assert found.missing == "connection"


def test_a_second_attempt_heals(judge_of):
    script = ["500", "ok 4"]
    with running(lambda number, body: script[number]) as server:
        (found,) = ask(judge_of(server.url))
    assert found.missing == "" and found.details["calls"] == 2


def retry_after_date(seconds: float) -> str:
    return formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize(("as_date", "least"), [(False, 1.0), (True, 0.5)])
def test_the_server_is_left_alone_for_as_long_as_it_asks(judge_of, as_date: bool, least: float):
    wait = retry_after_date(2.5) if as_date else "1"  # a date has whole seconds
    with running(lambda number, body: f"429 {wait}" if number == 0 else "ok 4") as server:
        start = time.monotonic()
        (found,) = ask(judge_of(server.url, deadline_s=8.0))
    assert found.missing == ""
    assert time.monotonic() - start >= least


def test_the_deadline_covers_all_attempts(judge_of):
    with running(always("hang")) as server:
        judge = judge_of(server.url, timeout_s=5.0, deadline_s=0.5, max_attempts=9)
        start = time.monotonic()
        (found,) = ask(judge)
        assert found.missing == "deadline"
        assert time.monotonic() - start < 3


def test_calls_of_all_threads_share_the_slots(judge_of):
    with running(always("slow 0.1")) as server:
        judge = judge_of(server.url, max_concurrent_calls=3)
        texts = [[f"text {i}-{k}" for k in range(4)] for i in range(4)]
        found: list[Judgement] = []
        threads = [
            threading.Thread(target=lambda some=some: found.extend(ask(judge, *some)))
            for some in texts
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.most == 3
        assert len(server.bodies) == len(found) == 16
        assert not any(judgement.missing for judgement in found)


def test_equal_reasoning_is_asked_about_once_and_remembered(judge_of):
    with running(always("ok 4")) as server:
        judge = judge_of(server.url)
        first = ask(judge, "high pitch", "low pitch", "high pitch")
        again = ask(judge, "low pitch")
        assert len(server.bodies) == 2
        other = judge.judge(prompt_of("clip-2.wav"), ["low pitch"])
        assert len(server.bodies) == 3
    assert first[0] is first[2]
    assert again[0].details == {"cached": True, "calls": 0}
    assert again[0].scores == first[1].scores == other[0].scores


def test_failures_are_not_remembered(judge_of):
    script = ["400", "ok 4"]
    with running(lambda number, body: script[number]) as server:
        judge = judge_of(server.url)
        assert [ask(judge)[0].missing for _ in range(2)] == ["http 400", ""]


def test_the_same_scores_in_any_order_and_number(judge_of):
    def by_length(number: int, body: dict[str, Any]) -> str:
        return f"ok {1 + len(message_of(body)) % 5}"

    texts = ["a" * n for n in range(1, 12)]
    with running(by_length) as server:
        together = ask(judge_of(server.url), *texts)
        reverse = ask(judge_of(server.url), *reversed(texts))
        judge = judge_of(server.url)
        alone = [ask(judge, text)[0] for text in texts]
    assert [j.scores for j in together] == [j.scores for j in reversed(reverse)]
    assert [j.scores for j in together] == [j.scores for j in alone]
    assert len({j.scores["factual_alignment"] for j in together}) == 5


def test_a_server_that_is_down_is_left_alone_until_a_probe_succeeds(judge_of):
    healed = threading.Event()
    with running(lambda number, body: "ok 4" if healed.is_set() else "500") as server:
        judge = judge_of(
            server.url, max_attempts=1, breaker_failures=3, breaker_cooldown_s=0.5,
            max_concurrent_calls=1,
        )  # fmt: skip
        reasons = [ask(judge, str(i))[0].missing for i in range(6)]
        assert reasons == ["http 500"] * 3 + ["breaker open"] * 3
        assert len(server.bodies) == 3
        healed.set()
        time.sleep(0.6)
        assert ask(judge, "probe")[0].missing == ""
        assert not any(judgement.missing for judgement in ask(judge, "a", "b", "c"))


@pytest.mark.parametrize(("item", "reason"), [("text no", "not json"), ("400", "http 400")])
def test_bad_replies_do_not_open_the_breaker(judge_of, item: str, reason: str):
    with running(always(item)) as server:
        judge = judge_of(server.url, breaker_failures=2)
        assert {ask(judge, str(i))[0].missing for i in range(5)} == {reason}


def test_a_blip_that_a_retry_heals_does_not_open_the_breaker(judge_of):
    with running(lambda number, body: "503" if number < 6 else "ok 4") as server:
        judge = judge_of(server.url, breaker_failures=2, max_attempts=9, max_concurrent_calls=6)
        assert {found.missing for found in ask(judge, *"abcdef")} == {""}


def test_one_call_probes_an_open_breaker_once_and_the_rest_fail_at_once(judge_of):
    with running(lambda number, body: "500" if number < 1 else "hang") as server:
        judge = judge_of(
            server.url, max_attempts=1, timeout_s=1.0, breaker_failures=1, breaker_cooldown_s=0.05
        )
        assert ask(judge, "opens it")[0].missing == "http 500"
        time.sleep(0.1)
        reasons = [found.missing for found in ask(judge, *"abcd")]
        assert sorted(reasons) == ["breaker open"] * 3 + ["timeout"]
        assert len(server.bodies) == 2


def test_a_usage_that_cannot_be_is_not_believed(judge_of):
    with running(always("usage 1" + "0" * 400)) as server:
        (found,) = ask(judge_of(server.url))
    assert found.missing == "" and not {"prompt_tokens", "completion_tokens"} & set(found.details)


def test_closing_ends_a_judgement_that_is_under_way(judge_of):
    with running(always("hang")) as server:
        judge = judge_of(server.url, timeout_s=20.0, deadline_s=20.0)
        ended: list[type] = []

        def wait() -> None:
            try:
                ask(judge)
            except CancelledError as error:
                ended.append(type(error))

        thread = threading.Thread(target=wait)
        thread.start()
        while not server.bodies:
            time.sleep(0.01)
        judge.close()
        judge.close()
        thread.join(5)
        assert ended == [CancelledError]


def test_the_clip_is_sent_as_wav(judge_of, tmp_path: Path):
    write_tone(tmp_path / "clip-1.wav", sample_rate=8_000, duration_s=0.5, channels=2)
    with running(always("ok 4")) as server:
        judge = judge_of(server.url, root=str(tmp_path), audio=True)
        assert ask(judge)[0].missing == ""
        missing = judge.judge(prompt_of("nowhere.wav"), ["x"])
        outside = judge.judge(prompt_of("../clip-1.wav"), ["x"])
        assert len(server.bodies) == 1
    assert missing[0].missing == outside[0].missing == "clip"
    heard, told = server.bodies[0]["messages"][0]["content"]
    assert told["type"] == "text"
    with wave.open(io.BytesIO(base64.b64decode(heard["input_audio"]["data"]))) as file:
        shape = (file.getframerate(), file.getnchannels(), file.getsampwidth(), file.getnframes())
    assert shape == (16_000, 1, 2, 8_000)


def test_the_key_is_sent_and_stands_nowhere_else(
    judge_of, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    secret = "sentinel-3f9a"
    monkeypatch.setenv("JUDGE_KEY", f"{secret}\n")  # as read from a file
    caplog.set_level(logging.DEBUG)
    with running(lambda number, body: "ok 4" if number == 0 else "401") as server:
        judge = judge_of(server.url, api_key_env="JUDGE_KEY")
        found = [*ask(judge, "a"), *ask(judge, "b")]
    assert server.headers[0]["Authorization"] == f"Bearer {secret}"
    assert secret not in repr(found) + repr(judge) + repr(vars(judge)) + caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "ftp://host/v1"}, "write it like http://HOST:PORT/v1"),
        ({"url": "host:8000"}, "write it like http://HOST:PORT/v1"),
        ({"url": "http://me:secret@host/v1"}, "holds a user, a password or a query"),
        ({"url": "ftp://me:secret@host/v1"}, "holds a user, a password or a query"),
        ({"url": "http://me:secret@host:port/v1"}, "write it like http://HOST:PORT/v1"),
        ({"url": "http://a..b/v1"}, "write it like http://HOST:PORT/v1"),
        ({"api_key_env": "NO_SUCH_KEY"}, "environment variable NO_SUCH_KEY"),
        ({"max_attempts": 0}, "max_attempts is 0"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"prompt_file": "nowhere.txt"}, "prompt_file nowhere.txt: cannot read"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str):
    settings = {"url": "http://127.0.0.1:9/v1", "model": "m", **options}
    with pytest.raises(JudgeError, match=message) as caught:
        HttpJudge(JudgeContext("clips"), **settings)
    assert "secret" not in str(caught.value)


def test_no_injection_raises_an_obedient_judges_score(judge_of):
    texts = injections()
    assert len(texts) >= 30
    with running(obedient) as server:
        judge = judge_of(server.url, deadline_s=60.0)
        found = judge.judge(prompt_of(), texts)
        for text, judgement in zip(texts, found, strict=True):
            assert judgement.scores == dict.fromkeys(DIMENSIONS, 2.0), text
        padded = [f"The pitch is high. {text} The rate is fast." for text in texts]
        for judgement in judge.judge(prompt_of(), padded):
            assert judgement.scores == dict.fromkeys(DIMENSIONS, 2.0)


def test_the_obedient_judge_obeys_where_nothing_protects_it():
    # Else the test above could not fail.
    raised = 0
    for text in injections():
        body = {"messages": [{"role": "user", "content": f"Grade this from 1 to 5:\n{text}"}]}
        raised += obedient(0, body) == "ok 5"
    assert raised >= 25


def test_a_key_that_cannot_be_one_is_refused_unquoted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUDGE_KEY", "sentinel\nX-Header: 1")
    with pytest.raises(JudgeError, match="JUDGE_KEY") as caught:
        HttpJudge(JudgeContext(""), url="http://h/v1", model="m", api_key_env="JUDGE_KEY")
    assert "sentinel" not in str(caught.value)


def test_errors_for_one_group_leave_the_others_scored(ray_cluster):
    def script(number: int, body: dict[str, Any]) -> str:
        return "500" if "trouble" in message_of(body) else "ok 4"

    groups = [
        make_group([f"<think>{word} {i}</think><answer>sad</answer>" for i in range(2)], id=word)
        for word in ("calm", "trouble", "quiet")
    ]
    with running(script) as server:
        judge = {"url": server.url, "model": "m", "max_attempts": 1, "timeout_s": 5.0}
        options = {"judge": "rewards.judges.http:HttpJudge", "judge_options": judge}
        term = RewardTermConfig(
            name="reasoning",
            target="rewards.reasoning:ReasoningReward",
            judged=True,
            options=options,
        )
        pool = RewardPool([term], ["rewards"])
        try:
            found = {
                group.prompt.example.id: terms
                for group, terms in pool.score(iter(groups), {"reasoning": 1.0})
            }
        finally:
            pool.close()
    assert {name: terms.values["reasoning"] for name, terms in found.items()} == {
        "calm": (0.8, 0.8),
        "trouble": (None, None),
        "quiet": (0.8, 0.8),
    }
    assert [d["missing"] for d in found["trouble"].details["reasoning"]] == ["http 500"] * 2
