"""Bugs between sampling and the loss that nothing would show: each is planted, and refused.

The step is a real one but for its engine and its model: two groups of four completions are scored
by the reward classes, combined, centred and packed by the functions of the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest

from configs.schema import AdvantageConfig, AsyncConfig, LogConfig, RewardsConfig, RunConfig
from data.records import Completion, GroupSample, Microbatch, RewardTerms, ScoredGroup
from rewards.accuracy import AccuracyReward
from rewards.combine import CombineRules, combine
from rewards.format import FormatReward
from tests.unit.make_groups import make_group
from trainer import advantages, packing
from trainer.advantages import to_samples
from trainer.alarms import Alarms
from trainer.audit import AuditError, check_rows, check_step

END = 2
VERSION = 3
REWARDS = RewardsConfig()
TEXTS = [
    ["<think>loud</think><answer>angry</answer>", "<think>low</think><answer>sad</answer>"] * 2,
    ["sad", "<think>a</think><answer>sad</answer>", "angry", "<think>b</think><answer>no</answer>"],
]


class Step(NamedTuple):
    """What a step has in hand when it comes to the learner."""

    scored: list[ScoredGroup]
    samples: list[GroupSample]
    ranks: list[list[Microbatch]]

    def check(self, max_staleness: int = 0) -> None:
        """Do what the loop and the learner group do."""
        config = RunConfig(rewards=REWARDS, async_=AsyncConfig(max_staleness=max_staleness))
        check_step(self.scored, self.samples, VERSION, config)
        check_rows(self.ranks, self.samples)


def sampled(number: int) -> tuple[Completion, ...]:
    draw = np.random.default_rng(number)
    completions = []
    for i, text in enumerate(TEXTS[number]):
        tokens = np.append(draw.integers(10, 99, 3 + i), END)
        logprobs = draw.normal(-1, 0.3, len(tokens)).astype(np.float32)
        completions.append(Completion(tokens, logprobs, text, "stop", VERSION))
    return tuple(completions)


def scored_groups() -> list[ScoredGroup]:
    found = []
    for number, label in enumerate(("angry", "sad")):
        group = make_group(TEXTS[number], label=label, id=f"clip-{number}")
        group = replace(group, completions=sampled(number), index=number)
        values = {
            "format": FormatReward().score(group).values,
            "accuracy": AccuracyReward().score(group).values,
        }
        weights = {term.name: term.weight for term in REWARDS.terms}
        found.append(combine(group, RewardTerms(values), weights, CombineRules()))
    return found


def rows_of(samples: Sequence[GroupSample]) -> list[list[Microbatch]]:
    return packing.plan_update(samples, budget=64, num_ranks=3, aggregation="token_mean")


def step_of(
    change: Callable[[list[ScoredGroup]], list[ScoredGroup]] = lambda scored: scored,
) -> Step:
    scored = change(scored_groups())
    samples = to_samples(scored, AdvantageConfig(), kl_coef=0.0)
    return Step(scored, samples, rows_of(samples))


@pytest.mark.parametrize("normalize", ["std", "mean", "per_term"])
@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean"])
def test_a_step_without_a_bug_passes(normalize: Any, aggregation: str):
    scored = scored_groups()
    samples = to_samples(scored, AdvantageConfig(normalize=normalize), kl_coef=0.0)
    assert len(samples) == 2
    ranks = packing.plan_update(samples, budget=64, num_ranks=3, aggregation=aggregation)
    assert any(packing.PADDING_ID in row.completion_ids for rank in ranks for row in rank)
    Step(scored, samples, ranks).check()


def refused(step: Step, message: str) -> None:
    with pytest.raises(AuditError, match=message):
        step.check()


def silent(name: str) -> pytest.MarkDecorator:
    return pytest.mark.fault(
        name, happens="the step is refused by name before the weights change", lost="the step"
    )


def with_completions(change: Callable[[Completion], Completion]) -> Step:
    """Return a step in which the first completion of the second group is another one."""

    def plant(scored: list[ScoredGroup]) -> list[ScoredGroup]:
        first, *others = scored[1].group.completions
        group = replace(scored[1].group, completions=(change(first), *others))
        return [scored[0], replace(scored[1], group=group)]

    return step_of(plant)


@silent("a completion of older weights is trained on")
def test_stale_completions():
    step = with_completions(lambda completion: replace(completion, policy_version=VERSION - 1))
    refused(step, "'clip-1'.* policy version 2; the step updates version 3")
    step.check(max_staleness=1)


@silent("a completion is older than `async.max_staleness` allows, or newer than the learner")
@pytest.mark.parametrize("version", [VERSION - 2, VERSION + 1])
def test_completions_beyond_the_bound(version: int):
    step = with_completions(lambda completion: replace(completion, policy_version=version))
    with pytest.raises(AuditError, match=f"version {version}; .*async.max_staleness is 1"):
        step.check(max_staleness=1)


@silent("the end token is cut off before training")
def test_the_end_token_is_lost():
    def cut(completion: Completion) -> Completion:
        return replace(
            completion,
            token_ids=completion.token_ids[:-1],
            rollout_logprobs=completion.rollout_logprobs[:-1],
        )

    refused(with_completions(cut), "end with different tokens")


@silent("log-probabilities of the engine are one token short")
def test_logprobs_are_lost():
    step = step_of()
    (first, *others) = step.scored[1].group.completions
    short = replace(first, rollout_logprobs=first.rollout_logprobs[1:])
    group = replace(step.scored[1].group, completions=(short, *others))
    refused(
        step._replace(scored=[step.scored[0], replace(step.scored[1], group=group)]),
        "4 tokens with 3 log-probabilities",
    )


@silent("a reward's rows are in another order than the completions")
@pytest.mark.parametrize("term", ["format", "accuracy"])
def test_reward_rows_in_another_order(term: str):
    def plant(scored: list[ScoredGroup]) -> list[ScoredGroup]:
        values = dict(scored[1].terms.values)
        values[term] = (values[term][-1], *values[term][:-1])
        weights = {term.name: term.weight for term in REWARDS.terms}
        return [scored[0], combine(scored[1].group, RewardTerms(values), weights, CombineRules())]

    refused(step_of(plant), f"'clip-1': term '{term}' has scored another completion")


@silent("two groups have swapped their scores")
def test_scores_of_another_group():
    def plant(scored: list[ScoredGroup]) -> list[ScoredGroup]:
        first, second = scored
        return [replace(second, group=first.group), replace(first, group=second.group)]

    refused(step_of(plant), "has scored another completion")


@silent("the sum of a reward's terms is wrong")
def test_a_reward_that_is_not_the_sum_of_its_terms():
    def plant(scored: list[ScoredGroup]) -> list[ScoredGroup]:
        rewards = tuple(value + 0.3 * (i == 1) for i, value in enumerate(scored[1].rewards))
        return [scored[0], replace(scored[1], rewards=rewards)]

    refused(step_of(plant), "'clip-1': completion 1 has reward")


@silent("advantages are those of another group")
def test_advantages_of_another_group():
    step = step_of()
    first, second = step.samples
    swapped = [
        replace(first, advantages=second.advantages),
        replace(second, advantages=first.advantages),
    ]
    refused(step._replace(samples=swapped, ranks=rows_of(swapped)), "they are of another group")


@silent("advantages are centred on the whole step")
def test_advantages_over_the_wrong_group(monkeypatch: pytest.MonkeyPatch):
    everything = [reward for item in scored_groups() for reward in item.rewards]

    def over_the_step(rewards: Sequence[float], **_: Any) -> np.ndarray:
        return (np.array(rewards) - np.mean(everything)).astype(np.float32)

    monkeypatch.setattr(advantages, "group_advantages", over_the_step)
    refused(step_of(), r"'clip-0': its advantages sum to .*, not 0")


@silent("advantages have the wrong sign")
def test_advantages_upside_down():
    step = step_of()
    turned = [replace(sample, advantages=-sample.advantages) for sample in step.samples]
    refused(step._replace(samples=turned, ranks=rows_of(turned)), "go against its rewards")


@silent("a group is counted twice")
def test_a_group_is_counted_twice():
    step = step_of()
    doubled = [*step.samples, step.samples[0]]
    refused(step._replace(samples=doubled, ranks=rows_of(doubled)), "trained on twice")


@silent("two groups have the same number")
def test_two_groups_of_one_number():
    def plant(scored: list[ScoredGroup]) -> list[ScoredGroup]:
        return [scored[0], replace(scored[1], group=replace(scored[1].group, index=0))]

    refused(step_of(plant), "two groups have the same index")


@silent("the packing puts a group into two rows")
def test_a_row_is_packed_twice(monkeypatch: pytest.MonkeyPatch):
    plan = packing.spread_rows
    monkeypatch.setattr(packing, "spread_rows", lambda *args: [*plan(*args)[:-1], [[0]]])
    refused(step_of(), r"lack 0 of its completions and hold 4 others")


@silent("the packing loses a group")
def test_a_row_is_lost(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packing, "spread_rows", lambda *_: [[[0]], [], []])
    refused(step_of(), r"lack 4 of its completions and hold 0 others")


@silent("loss weights do not sum to 1")
def test_loss_weights_of_a_wrong_sum(monkeypatch: pytest.MonkeyPatch):
    plan = packing.completion_weights

    def for_each_group(
        samples: Sequence[GroupSample], aggregation: str, max_tokens: int
    ) -> list[list[float]]:
        return [plan([sample], aggregation, max_tokens)[0] for sample in samples]

    monkeypatch.setattr(packing, "completion_weights", for_each_group)
    refused(step_of(), "sum to 2, not 1")


def planted_rows(monkeypatch: pytest.MonkeyPatch, change: Callable[[Microbatch], Any]) -> Step:
    """Return a step whose rows are changed after they are built."""
    build = packing.build_row

    def planted(*args: Any) -> Microbatch:
        row = build(*args)
        return replace(row, **change(row))

    monkeypatch.setattr(packing, "build_row", planted)
    return step_of()


def without_last(row: Microbatch) -> np.ndarray:
    """Return the loss weights of a row with 0 for the last token of each completion."""
    last = np.append(np.diff(row.completion_ids) != 0, True)
    return np.where(last, 0.0, row.loss_weights * len(last) / (~last).sum()).astype(np.float32)


def with_prompt_token(row: Microbatch) -> dict[str, Any]:
    """Return a row that also trains on the last token of its first prompt."""
    grown = {
        name: np.insert(getattr(row, name), 0, getattr(row, name)[0])
        for name in ("completion_ids", "rollout_logprobs", "advantages", "loss_weights")
    }
    prompt_end = row.source[0]
    return {
        **grown,
        "source": np.insert(row.source, 0, prompt_end - 1),
        "target": np.insert(row.target, 0, row.input_ids[prompt_end]),
    }


ROW_BUGS: dict[str, tuple[Callable[[Microbatch], dict[str, Any]], str]] = {
    "the end token has no weight in the loss": (
        lambda row: {"loss_weights": without_last(row)},
        "do not weigh the same",
    ),
    "prompt tokens are in the loss": (with_prompt_token, "not predicted by|hold [1-9]"),
    "log-probabilities are shifted by one token": (
        lambda row: {"source": row.source + 1},
        "not predicted by the tokens before them",
    ),
    "the engine's log-probabilities are shifted by one token": (
        lambda row: {"rollout_logprobs": np.roll(row.rollout_logprobs, 1)},
        "lack 8 of its completions",
    ),
    "positions of the completions are off by one": (
        lambda row: {"positions": row.positions + (row.segment_ids > 0)},
        "not predicted by the tokens before them",
    ),
    "advantages are shifted by one completion": (
        lambda row: {"advantages": np.roll(row.advantages, 5)},
        "lack [1-8] of its completions",
    ),
    "targets are of the next completion": (
        lambda row: {"target": np.roll(row.target, -5)},
        "not predicted by|lack [1-8]",
    ),
}


@pytest.mark.parametrize("bug", [pytest.param(bug, marks=silent(bug)) for bug in ROW_BUGS])
def test_rows_with_a_bug(monkeypatch: pytest.MonkeyPatch, bug: str):
    change, message = ROW_BUGS[bug]
    refused(planted_rows(monkeypatch, change), message)


@pytest.mark.fault(
    "the reference is the policy itself, or the optimizer does not step",
    happens="the KL is exactly 0 beyond the first step: an alarm line says so",
    lost="`log.alarm_steps` steps",
)
def test_a_kl_of_zero_raises_an_alarm():
    alarms = Alarms(LogConfig(alarm_steps=3), [])
    sane = {"rollout/completion_tokens_mean": 30.0, "policy/kl": 1e-9}
    stuck = {**sane, "policy/kl": 0.0}
    assert [alarms.observe(metrics) for metrics in (stuck, sane, stuck, stuck)] == [[]] * 4
    (line,) = alarms.observe(stuck)
    assert "policy/kl has been exactly 0" in line
