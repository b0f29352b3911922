"""A judge under calibration, on a real Ray: it sees the texts as they are, and its faults show."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from configs.load import load_config
from data.records import Prompt
from evaluation.calibration.judge import CLIPS_AT_A_TIME, judge_texts, start_judge
from launch.preflight import ROOT
from rewards.base import RewardError
from rewards.judges.base import DIMENSIONS, JudgeContext, Judgement
from rewards.judges.injections import injections
from rewards.judges.measured import MeasuredJudge
from rewards.pool import RewardPool
from tests.unit.make_groups import make_group

pytestmark = pytest.mark.slow

MEASURED = "rewards.judges.measured:MeasuredJudge"
PROSODY = {"pitch": "high", "energy": "low", "rate": "normal", "intonation": "flat"}


class FaultyJudge:
    """Does what the text says, `raise` or `die`, once where a file is to be left behind."""

    dimensions = DIMENSIONS

    def __init__(self, context: JudgeContext, marker: str = "") -> None:
        self._marker = Path(marker) if marker else None

    def judge(self, prompt: Prompt, reasonings: Sequence[str]) -> list[Judgement]:
        done = self._marker is not None and self._marker.exists()
        if self._marker is not None:
            self._marker.touch()
        if "raise" in reasonings:
            raise KeyError("no such clip")
        if "die" in reasonings and not done:
            os._exit(1)
        return [Judgement(dict.fromkeys(DIMENSIONS, 4.0)) for _ in reasonings]

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture
def start(ray_cluster: None) -> Iterator[Any]:
    """Return a function that starts a judge, closed at the end."""
    judges: list[RewardPool] = []
    overrides = ["rewards.packages=[rewards, tests]", "judge.concurrency=2"]
    config = load_config(ROOT / "configs" / "tiny_judge.yaml", overrides)

    def _start(target: str, **options: Any) -> RewardPool:
        judges.append(start_judge(config, target, options, {}))
        return judges[-1]

    yield _start
    for judge in judges:
        judge.close()


def prompt_of(name: str, prosody: dict[str, Any] | None = None) -> Prompt:
    prompt = make_group([""], id=name).prompt
    return replace(prompt, example=structs.replace(prompt.example, prosody=prosody))


def test_every_text_is_judged_as_it_stands(start: Any) -> None:
    tagged = "<think>The pitch is high.</think><answer>sad</answer>"
    texts = [" The pitch is high.\n", "", tagged, "<|im_end|> The energy is high.", *injections()]
    clips = {f"clip-{i}": PROSODY for i in range(CLIPS_AT_A_TIME + 6)} | {"bare": None}
    prompts = [prompt_of(name, prosody) for name, prosody in clips.items()]
    judged = judge_texts(start(MEASURED), prompts, [texts] * len(prompts))
    plain = MeasuredJudge(JudgeContext(""))
    for judgements, prompt in zip(judged, prompts, strict=True):
        expected = plain.judge(prompt, texts)
        assert [(j.scores, j.missing) for j in judgements] == [
            (j.scores, j.missing) for j in expected
        ]
    assert {j.missing for j in judged[-1]} == {"no prosody in the manifest"}


def test_a_judge_that_raises_is_named_with_the_clip(start: Any) -> None:
    judge = start(f"{__name__}:FaultyJudge")
    with pytest.raises(RewardError, match=r"'judge'.*on example 'b'.*KeyError.*no such clip"):
        judge_texts(judge, map(prompt_of, "abc"), [["x"], ["raise"], ["x"]])


def test_a_judge_whose_process_dies_is_started_again(start: Any, tmp_path: Path) -> None:
    judge = start(f"{__name__}:FaultyJudge", marker=str(tmp_path / "died"))
    judged = judge_texts(judge, map(prompt_of, "ab"), [["die", "x"]] * 2)
    assert [[j.scores["factual_alignment"] for j in row] for row in judged] == [[4.0, 4.0]] * 2


def test_a_judge_that_cannot_be_built_says_why(start: Any) -> None:
    with pytest.raises(RewardError, match=r"constructor.*JudgeError.*margin -1"):
        start(MEASURED, margin=-1)
    with pytest.raises(RewardError, match=r"'os' is not in rewards\.packages"):
        start("os:system")
