"""The gate of the judges: what a real server on a socket replies decides whether a run starts."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import pytest

from configs.load import load_config
from configs.schema import RewardTermConfig, RunConfig
from data.records import Group, RewardTerms
from launch.judge_gate import TEXTS, JudgeGateError, check_judges
from launch.preflight import ROOT
from rewards.pool import RewardPool
from rewards.reasoning import ReasoningReward
from tests.judge_server import Script, always, running
from tests.unit.make_groups import make_group

PROMPT = make_group(["a"]).prompt
BROKEN = [
    ("text Sure! I would say 4.", "(not json); it replied 'Sure! I would say 4.'"),
    ("text \x1b[2Jred", "it replied '\\x1b[2Jred'"),
    ("text " + "a" * 5000, f"(reply too long); it replied '{'a' * 100}'"),
    ("raw {}", "(not a chat completion)."),
    ("400", "(http 400)."),
]


class Pool:
    """Scores in this process what the run's own pool scores in actors."""

    def __init__(self, url: str) -> None:
        options = {"url": url, "model": "m", "max_attempts": 1, "deadline_s": 5.0}
        self.term = RewardTermConfig(
            "reasoning",
            "rewards.reasoning:ReasoningReward",
            judged=True,
            options={"judge": "rewards.judges.http:HttpJudge", "judge_options": options},
        )
        context = {"audio_root": "", "packages": ["rewards"]}
        self.reward = ReasoningReward(**self.term.options, context=context)
        self.num_asked = 0

    def score(
        self, groups: Sequence[Group], weights: Mapping[str, float]
    ) -> Iterator[tuple[Group, RewardTerms]]:
        assert weights == {"reasoning": 1.0}
        for group in groups:
            self.num_asked += len(group.completions)
            scores = self.reward.score(group)
            yield group, RewardTerms({"reasoning": scores.values}, {"reasoning": scores.details})


def gate(script: Script, weight: float = 1.0) -> Pool:
    with running(script) as server:
        pool = Pool(server.url)
        pool.term.weight = weight
        check_judges(cast(RewardPool, pool), [pool.term], tiny(), PROMPT)
    return pool


def tiny() -> RunConfig:
    return load_config(ROOT / "configs" / "tiny.yaml", ["eval.judged=false"])


def test_a_judge_that_scores_passes() -> None:
    assert gate(always("ok 4")).num_asked == len(TEXTS)


def test_one_readable_reply_is_enough() -> None:
    gate(lambda number, body: "ok 4" if number == 2 else "text no")


@pytest.mark.fault(
    "a judge's server ignores response_format, or answers what is no chat completion",
    happens="the run does not start: one line names the judge, what it replied and what to do",
    lost="nothing",
)
@pytest.mark.parametrize(("item", "said"), BROKEN, ids=[item[:8] for item, _ in BROKEN])
def test_a_judge_of_which_nothing_can_be_read_is_refused(item: str, said: str) -> None:
    with pytest.raises(JudgeGateError) as caught:
        gate(always(item))
    text = str(caught.value)
    assert text.startswith("judge 'reasoning' (http://127.0.0.1:")
    assert said in text and "Serve the model where response_format" in text
    assert text.isprintable()


@pytest.mark.parametrize("item", ["500", "429", "drop"])
def test_a_judge_that_is_down_is_warned_of(item: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        gate(always(item))
    assert "judge 'reasoning' (http://127.0.0.1" in caplog.text
    assert "scored nothing before step 1" in caplog.text


def test_a_term_that_is_not_computed_is_not_asked() -> None:
    assert gate(always("text no"), weight=0.0).num_asked == 0
