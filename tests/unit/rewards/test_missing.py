"""When too many scores are missing."""

from __future__ import annotations

import pytest

from configs.schema import RewardsConfig, RewardTermConfig
from data.records import RewardTerms, ScoredGroup
from rewards.missing import MissingScoresError, enough_scores, missing_fracs
from tests.unit.make_groups import make_group

GOOD = "<think>high pitch</think><answer>angry</answer>"
WEIGHTS = {"format": 0.3, "reasoning": 0.5}


def step(*reasoning: float | None, num_malformed: int = 0) -> list[ScoredGroup]:
    texts = [GOOD] * len(reasoning) + ["loud"] * num_malformed
    values = (*reasoning, *[None] * num_malformed)
    terms = RewardTerms({"format": (1.0,) * len(texts), "reasoning": values})
    return [ScoredGroup(make_group(texts), terms, WEIGHTS, 1.0, (0.0,) * len(texts))]


def config(**fields: object) -> RewardsConfig:
    terms = [RewardTermConfig(name="format"), RewardTermConfig(name="reasoning", judged=True)]
    return RewardsConfig(terms=terms, **fields)  # type: ignore[arg-type]


def test_shares_are_of_what_was_asked_for():
    scored = step(0.8, None, None, 0.2, num_malformed=4)
    judged = frozenset({"reasoning"})
    assert missing_fracs(scored, WEIGHTS, judged) == {"format": 0.0, "reasoning": 0.5}
    assert missing_fracs(scored, WEIGHTS, frozenset())["reasoning"] == 0.75
    assert missing_fracs(scored, {"format": 0.3, "reasoning": 0.0}, judged) == {"format": 0.0}
    assert missing_fracs(step(num_malformed=2), WEIGHTS, judged) == {"format": 0.0}


def test_a_step_with_too_much_missing_is_withheld(caplog: pytest.LogCaptureFixture):
    assert enough_scores(step(0.8, None), WEIGHTS, config())  # 0.5 is not above 0.5
    assert not enough_scores(step(0.8, None, None), WEIGHTS, config())
    assert "reasoning misses 67% of its scores" in caplog.text
    assert enough_scores(step(0.8, None, None), WEIGHTS, config(max_missing_frac=0.7))
    assert not enough_scores(step(0.8, None), WEIGHTS, config(max_missing_frac=0.4))


def test_other_rules():
    bad = step(None, None)
    assert enough_scores(bad, WEIGHTS, config(on_missing="continue"))
    with pytest.raises(MissingScoresError, match="reasoning misses 100%"):
        enough_scores(bad, WEIGHTS, config(on_missing="stop"))
    # Before the gate opens nothing is missing.
    assert enough_scores(bad, {"format": 0.3, "reasoning": 0.0}, config(on_missing="stop"))
