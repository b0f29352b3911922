"""Reasoning from a server, a scripted one on a real socket: resumed, bounded, checked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotate.cot.generate import (
    MAX_FAILED_IN_A_ROW,
    Generated,
    cost_of,
    generate_reasoning,
)
from annotate.cot.server import ATTEMPTS_PER_CALL, CotPrompt, ServerWriter, render_cues
from annotate.cot.template import write_reasoning
from configs.annotate_schema import ReasoningConfig
from configs.errors import UserError
from configs.schema import NINE_LABELS
from rewards.judges.chat import ChatCall, ChatError
from tests.judge_server import JudgeServer, always, message_of, running
from tests.unit.make_rows import draw_rows

pytestmark = pytest.mark.slow

ROWS = [
    {**row, "label": "angry", "text": f"these are the words of clip number {number}"}
    for number, row in enumerate(draw_rows(24, seed=8, missing=0.0))
]
BY_WORDS = {row["text"]: row for row in ROWS}
Ask = Callable[..., Generated]


def row_of(body: dict[str, Any]) -> dict[str, Any]:
    """The row that a request is about."""
    message = message_of(body)
    return next(row for words, row in BY_WORDS.items() if f'"{words}"' in message)


def good(number: int, body: dict[str, Any]) -> str:
    """A writer that makes no mistakes."""
    return f"text {write_reasoning(row_of(body), 0, seed=0)}"


def wrong(number: int, body: dict[str, Any]) -> str:
    """A writer that always concludes something else."""
    return f"text {write_reasoning({**row_of(body), 'label': 'sad'}, 0, seed=0)}"


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    def run(server: JudgeServer | str, rows: Any = ROWS, seed: int = 0, **options: Any):
        url = server if isinstance(server, str) else server.url
        settings = {"source": "server", "model": "writer", "timeout_s": 10.0, **options}
        return generate_reasoning(
            ReasoningConfig(url=url, **settings),
            rows,
            tmp_path / "attempts.jsonl",
            choices=NINE_LABELS,
            seed=seed,
        )

    return run


def test_every_row_is_asked_about_once(ask: Ask, tmp_path: Path):
    with running(good) as server:
        found = ask(server, temperature=0.7, max_tokens=99)
    assert found.accepted == {row["id"]: write_reasoning(row, 0, seed=0) for row in ROWS}
    assert not (found.given_up or found.failed or found.faults or found.stopped)
    assert len(server.bodies) == len(ROWS)
    assert found.usage == {"calls": 24, "prompt_tokens": 24 * 300, "completion_tokens": 24 * 40}
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("writer", 0.7, 99)
    lines = (tmp_path / "attempts.jsonl").read_text().splitlines()
    assert {json.loads(line)["id"] for line in lines} == found.accepted.keys()


def test_the_template_needs_no_server(ask: Ask):
    found = ask("", source="template", model="", seed=3)
    assert found.accepted == {row["id"]: write_reasoning(row, 0, seed=3) for row in ROWS}
    assert found.usage["calls"] == 0


@pytest.mark.parametrize("cut", [1, 40])
def test_a_killed_run_goes_on_where_it_was(ask: Ask, tmp_path: Path, cut: int):
    """Cutting 1 byte leaves a whole entry without its line end, 40 a broken one."""
    with running(good) as server:
        first = dict(ask(server, ROWS[:10]).accepted)
        journal = tmp_path / "attempts.jsonl"
        journal.write_bytes(journal.read_bytes()[:-cut])
        asked = len(server.bodies)
        again = ask(server)
        lost = 0 if cut == 1 else 1
        assert len(server.bodies) - asked == len(ROWS) - 10 + lost
        assert {name: again.accepted[name] for name in first} == first
        assert ask(server).accepted == again.accepted
        assert len(server.bodies) == len(ROWS) + lost
    assert again.usage["calls"] == len(ROWS)


def test_other_settings_ask_again_and_the_costs_add_up(ask: Ask):
    with running(good) as server:
        ask(server, temperature=0.5)
        found = ask(server, temperature=0.6)
        assert len(server.bodies) == 2 * len(ROWS)
        assert found.usage["calls"] == 2 * len(ROWS)
        assert len(found.accepted) == len(ROWS)
        # And those of the first settings are still known.
        ask(server, temperature=0.5)
        assert len(server.bodies) == 2 * len(ROWS)


def test_a_row_that_changed_is_asked_about_again(ask: Ask):
    with running(good) as server:
        ask(server)
        flat = {**ROWS[0], "prosody": {**ROWS[0]["prosody"], "pitch_to_above": 1.111}}
        ask(server, [flat, *ROWS[1:]])
        assert len(server.bodies) == len(ROWS) + 1


def test_a_wrong_conclusion_is_asked_about_again(ask: Ask):
    def second_time_right(number: int, body: dict[str, Any]) -> str:
        return wrong(number, body) if number == 0 else good(number, body)

    with running(second_time_right) as server:
        found = ask(server, ROWS[:1])
    assert found.accepted == {"clip-0": write_reasoning(ROWS[0], 0, seed=0)}
    assert found.faults == {"concludes sad": 1}
    assert len(server.bodies) == 2


def test_a_row_is_given_up_after_its_attempts(ask: Ask):
    with running(wrong) as server:
        found = ask(server, ROWS[:5], max_attempts=2)
        assert len(server.bodies) == 10
        assert found.given_up == {row["id"]: ("concludes sad",) for row in ROWS[:5]}
        assert not found.accepted and not found.stopped
        assert found.faults["concludes sad"] == 10
        # One more attempt is one more call for each.
        assert len(ask(server, ROWS[:5], max_attempts=3).given_up) == 5
        assert len(server.bodies) == 15


def test_fewer_attempts_do_not_take_back_what_was_accepted(ask: Ask):
    def third_time_right(number: int, body: dict[str, Any]) -> str:
        return wrong(number, body) if number < 2 else good(number, body)

    with running(third_time_right) as server:
        ask(server, ROWS[:1], max_attempts=3)
        found = ask(server, ROWS[:1], max_attempts=2)
    assert found.accepted.keys() == {"clip-0"} and not found.given_up
    assert len(server.bodies) == 3


def test_a_copy_of_another_rows_text_is_refused(ask: Ask):
    prosody = ROWS[0]["prosody"]
    twins = [{**row, "prosody": prosody} for row in ROWS[:4]]
    same = f"text {write_reasoning(ROWS[0], 0, seed=0)}"
    with running(always(same)) as server:
        found = ask(server, twins, max_attempts=1, concurrency=1)
    assert found.accepted.keys() == {"clip-0"}
    assert found.given_up == {f"clip-{n}": ("duplicate: of clip-0",) for n in (1, 2, 3)}


@pytest.mark.parametrize("concurrency", [1, 8])
def test_no_call_beyond_the_budget_over_two_runs(ask: Ask, concurrency: int):
    with running(good) as server:
        options = {"max_calls": 7, "concurrency": concurrency}
        found = ask(server, **options)
        assert len(server.bodies) == len(found.accepted) == 7
        assert found.stopped == "the budget is spent" and not found.failed
        again = ask(server, **options)
        assert len(server.bodies) == 7
        assert again.accepted == found.accepted and again.stopped
        last = ask(server, **{**options, "max_calls": 0})
        assert len(server.bodies) == len(last.accepted) == len(ROWS)
        assert not last.stopped


def test_a_failed_call_leaves_its_place_in_the_budget(ask: Ask):
    def first_fails(number: int, body: dict[str, Any]) -> str:
        return "400" if number < 4 else good(number, body)

    with running(first_fails) as server:
        found = ask(server, max_calls=4, concurrency=4)
    assert len(found.accepted) == 4 and len(found.failed) == 4
    assert len(server.bodies) == 8
    assert found.stopped == "the budget is spent"


def test_no_call_begins_when_the_cost_is_reached(ask: Ask):
    # 300 prompt tokens at 1,000 and 40 completion tokens at 5,000 a million: 0.5 a call.
    prices: dict[str, Any] = {"prompt_price": 1_000.0, "completion_price": 5_000.0}
    with running(good) as server:
        found = ask(server, max_cost=2.0, concurrency=1, **prices)
        assert len(server.bodies) == len(found.accepted) == 4
        assert found.stopped == "the budget is spent"
        ask(server, max_cost=2.4, concurrency=1, **prices)
        assert len(server.bodies) == 5  # 2.5 were spent
    assert cost_of(ReasoningConfig(**prices), found.usage) == 2.0


def test_calls_under_way_are_bounded(ask: Ask):
    def slow(number: int, body: dict[str, Any]) -> str:
        return f"later 0.05 {good(number, body).removeprefix('text ')}"

    with running(slow) as server:
        found = ask(server, concurrency=3)
    assert len(found.accepted) == len(ROWS)
    assert server.most == 3


def test_calls_are_spaced():
    with running(good) as server:
        elapsed_s = asyncio.run(time_of_calls(server, num_calls=6, calls_per_minute=600))
        assert elapsed_s >= 5 * 0.1 - 0.01  # on the clock that they are spaced by
        assert len(server.bodies) == 6


async def time_of_calls(server: JudgeServer, num_calls: int, calls_per_minute: float) -> float:
    settings = ReasoningConfig(
        url=server.url,
        model="writer",
        concurrency=num_calls,
        timeout_s=10,
        calls_per_minute=calls_per_minute,
    )
    loop = asyncio.get_running_loop()
    async with ServerWriter(settings, CotPrompt.from_file(""), NINE_LABELS) as writer:
        start = loop.time()
        await asyncio.gather(*(writer.write(row, 0, ChatCall()) for row in ROWS[:num_calls]))
        return loop.time() - start


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("500", "http 500"),
        ("429", "http 429"),
        ("401", "http 401"),
        ("hang", "deadline"),
        ("drop", "connection"),
        ("cut", "connection"),
        ("raw not json", "not a chat completion"),
        ("huge", "reply too large"),
    ],
)
def test_a_call_without_a_reply_fails_its_row_this_time_only(ask: Ask, item: str, reason: str):
    timeout_s = 0.5 if item == "hang" else 10.0
    with running(always(item)) as server:
        found = ask(server, ROWS[:2], timeout_s=timeout_s)
        assert found.failed == {"clip-0": reason, "clip-1": reason}
        assert not (found.accepted or found.given_up or found.stopped)
        server.script = good
        again = ask(server, ROWS[:2])
    assert len(again.accepted) == 2 and not again.failed


@pytest.mark.parametrize("text", ["", "I cannot help with that.", "{" * 2_000, "\x00\ud83d\ude00"])
def test_garbage_is_a_faulty_attempt(ask: Ask, text: str):
    with running(always(f"text {text}")) as server:
        found = ask(server, ROWS[:1], max_attempts=2)
    assert len(server.bodies) == 2
    assert {"no cue", "no conclusion"} <= set(found.given_up["clip-0"])


def script_that_recovers(number: int, body: dict[str, Any]) -> str:
    return "429 0" if number in (0, 2) else good(number, body)


def test_a_server_that_is_busy_is_asked_again_within_the_call(ask: Ask):
    with running(script_that_recovers) as server:
        found = ask(server, ROWS[:3], concurrency=1)
    assert len(found.accepted) == 3 and not found.failed
    assert len(server.bodies) == found.usage["calls"] == 5


@pytest.mark.parametrize("listens", [True, False])
def test_a_server_that_is_down_is_given_up(ask: Ask, listens: bool):
    rows = [{**ROWS[0], "id": f"clip-{n}"} for n in range(500)]
    with running(always("500")) as server:
        if listens:
            found = ask(server, rows, concurrency=4)
    if not listens:
        found = ask(server.url, rows, concurrency=4)
    assert found.stopped == f"{MAX_FAILED_IN_A_ROW} calls in a row failed"
    assert MAX_FAILED_IN_A_ROW <= len(found.failed) < MAX_FAILED_IN_A_ROW + 4
    assert set(found.failed.values()) <= {"http 500", "connection", "breaker open"}
    assert len(server.bodies) <= (MAX_FAILED_IN_A_ROW + 4) * ATTEMPTS_PER_CALL


def test_what_the_writer_is_told():
    prosody = {
        "pitch": "high",
        "pitch_to_below": 0.05,
        "energy": None,
        "rate": "slow",
        "rate_to_above": 0.9,
        "intonation": "flat",
        "energy_change": "falling",
        "stressed_words": ["never", "<|im_end|>"],
    }
    assert render_cues(prosody).splitlines() == [
        "- pitch: high (weak)",
        "- energy: not measured",
        "- speaking rate: slow",
        "- intonation: flat (weak)",
        "- energy from the first half to the second: falling",
        "- stressed words: never, (|im_end|)",
    ]
    row = {"id": "a", "label": "sad", "text": 'he said\n</s> "{label}"', "prosody": prosody}
    message = CotPrompt("{label}|{transcript}|{cues}|{choices}|{speaker}").render(row, ["sad"])
    assert message.startswith('sad|"he said (/s) "{label}""|- pitch: high (weak)\n')
    assert message.endswith("|sad|not described")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"\xff{label}{cues}", "cannot be read"),
        (b"{label}{cues}{mood}", r"unknown \{mood\}; known are label, choices"),
        (b"{label}", r"has no \{cues\}"),
        (b"{cues}", r"has no \{label\}"),
    ],
)
def test_prompt_files_that_cannot_be_used(tmp_path: Path, content: bytes | None, message: str):
    file = tmp_path / "prompt.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        CotPrompt.from_file(str(file))


def test_a_server_needs_a_model_and_an_address(ask: Ask):
    with pytest.raises(UserError, match=r"reasoning\.model is empty"):
        ask("http://127.0.0.1:9/v1", model="")
    with pytest.raises(ChatError, match="the url is not one"):
        ask("")
