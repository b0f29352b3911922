"""Counterfactual pairs in a step: sampled apart, scored together, each half its own group."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from configs.schema import (
    AdvantageConfig,
    AsyncConfig,
    CounterfactualConfig,
    RewardsConfig,
    RewardTermConfig,
    RolloutConfig,
    RunConfig,
    TrainConfig,
)
from data.records import Completion, Group, Move, Prompt, RewardTerms, ScoredGroup
from rewards.base import Scores
from rewards.combine import CombineRules, combine
from rewards.counterfactual import CounterfactualReward
from rewards.missing import missing_fracs
from rewards.schedule import Schedule
from tests.fixtures import make_example
from trainer.advantages import to_samples
from trainer.audit import check_step
from trainer.classes import ClassWindow
from trainer.clock import StepClock
from trainer.metrics import rollout_metrics, sample_rows
from trainer.packing import build_row
from trainer.pairs import halves, joined
from trainer.rollouts import Rollouts, rollout_seed

TERMS = [
    RewardTermConfig(name="accuracy", target="rewards.accuracy:AccuracyReward"),
    RewardTermConfig(name="listens", target="rewards.counterfactual:CounterfactualReward"),
]
WEIGHTS = {term.name: term.weight for term in TERMS}


def pair(number: int, direction: int = 1) -> Prompt:
    """A prompt of 3 tokens with its counterpart, whose slowed clip has 4."""
    example = make_example(number)
    plain, moved = (
        Prompt(example, "", np.arange(3 + size), f"{way}", size, move=Move("pitch", way, 4.0, True))
        for size, way in ((0, 0), (1, direction))
    )
    return replace(plain, counterpart=moved)


def completions(*texts: str) -> tuple[Completion, ...]:
    return tuple(
        Completion(np.array([n, 2]), np.zeros(2, np.float32), text, "stop", 0)
        for n, text in enumerate(texts)
    )


def says(level: str, answer: str = "neutral") -> str:
    return f"<think>The pitch is {level}.</think><answer>{answer}</answer>"


def test_a_step_is_sampled_half_by_half():
    alone = replace(pair(2), move=None, counterpart=None)
    prompts = halves([pair(0), alone, pair(1, -1)])
    found = [(p.example.id, p.move and p.move.direction, p.is_moved) for p in prompts]
    assert found == [
        ("clip-0", 0, False),
        ("clip-0", 1, True),
        ("clip-2", None, False),
        ("clip-1", 0, False),
        ("clip-1", -1, True),
    ]
    assert all(prompt.counterpart is None for prompt in prompts), "not sent twice"


def test_halves_meet_whichever_comes_first_and_nobody_waits_for_them():
    alone = replace(pair(2), move=None, counterpart=None)
    prompts = halves([pair(0), alone, pair(1)])
    groups = [Group(p, completions(f"{n}", "x"), n) for n, p in enumerate(prompts)]
    seen: list[int] = []

    def arriving() -> Iterator[Group]:
        for number in (4, 2, 0, 3):  # 1, the other half of 0, is left out
            seen.append(number)
            yield groups[number]

    found = [
        (group.index, [c.text for c in group.others], len(seen)) for group in joined(arriving())
    ]
    assert found == [
        (2, [], 2),
        (3, ["4", "x"], 4),
        (4, ["3", "x"], 4),
        (0, [], 4),
    ]


class Loader:
    """Two pairs a step; which way clips are moved follows from their place."""

    num_skipped = 0

    def __init__(self, position: int = 0) -> None:
        self.position = position

    def next_batch(self) -> list[Prompt]:
        first, self.position = self.position, self.position + 2
        return [pair(n, 1 if n % 3 else -1) for n in range(first, first + 2)]

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}


class Engines:
    """The clip as it is sounds normal, a moved one as it was moved."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def generate(
        self, prompts: Sequence[Prompt], *, seed: int, num_completions: int
    ) -> Iterator[Group]:
        assert num_completions == 2
        self.calls.append(seed)
        return self._groups(prompts)

    def _groups(self, prompts: Sequence[Prompt]) -> Iterator[Group]:
        for index in reversed(range(len(prompts))):
            move = prompts[index].move
            assert move is not None
            heard = ("normal", "high", "low")[move.direction]
            yield Group(prompts[index], completions(says(heard), says("normal")), index)

    def close(self) -> None:
        """Nothing goes on."""


class Rewards:
    """The term itself, as the pool runs it; accuracy of clips as they are."""

    def score(
        self, groups: Iterator[Group], weights: Mapping[str, float]
    ) -> Iterator[tuple[Group, RewardTerms]]:
        for group in groups:
            found = {
                "listens": CounterfactualReward().score(group),
                "accuracy": Scores.not_applicable(2)
                if group.prompt.is_moved
                else Scores((1.0, 0.0), ({}, {})),
            }
            yield (
                group,
                RewardTerms(
                    {name: found[name].values for name in weights},
                    {name: found[name].details for name in weights},
                ),
            )

    def close(self) -> None:
        """Nothing goes on."""


def rollouts(staleness: int, position: int = 0) -> tuple[Rollouts, Engines]:
    config = replace(
        RunConfig(train=TrainConfig(num_steps=4, prompts_per_step=2)),
        async_=AsyncConfig(max_staleness=staleness),
        rollout=RolloutConfig(group_size=4, counterfactual=CounterfactualConfig(moves=["pitch"])),
    )
    engines = Engines()
    loader, sampling, rewards = cast(Any, (Loader(position), engines, Rewards()))
    schedule = Schedule(TERMS, "accuracy")
    return Rollouts(config, loader, sampling, rewards, CombineRules(), schedule), engines


def test_a_step_has_two_groups_of_half_the_size_for_each_prompt():
    run, engines = rollouts(0)
    with run:
        run.begin(0)
        batch = run.scored(0, StepClock())
    assert engines.calls == [rollout_seed(0, 0)]
    assert [item.group.index for item in batch.groups] == [0, 1, 2, 3]
    values = [item.terms.values["listens"] for item in batch.groups]
    # Clip 0 was moved down, clip 1 up: low and high are a level away from the normal of the others.
    assert values == [(None, None), (0.75, 0.5), (None, None), (0.75, 0.5)]
    assert [item.rewards for item in batch.groups] == [(1, 0), (0.75, 0.5), (1, 0), (0.75, 0.5)]
    assert missing_fracs(batch.groups, WEIGHTS, frozenset()) == {"accuracy": 0, "listens": 0}


@pytest.mark.parametrize("staleness", [0, 1])
def test_a_resumed_run_meets_the_same_pairs(staleness: int):
    def told(run: Rollouts, step: int) -> list[tuple[str, Any, tuple[float, ...]]]:
        run.begin(step)
        batch = run.scored(step, StepClock())
        run.drain()
        return [(g.group.prompt.example.id, g.group.prompt.move, g.rewards) for g in batch.groups]

    whole, engines = rollouts(staleness)
    with whole:
        told(whole, 0)
        state = json.loads(json.dumps(whole.state_dict()))
        expected = told(whole, 1)
    again, more = rollouts(staleness, position=2)
    again.load_state_dict(state)
    with again:
        assert told(again, 1) == expected
    assert more.calls == engines.calls[1 + staleness :], "what was sampled is not sampled again"


def scored_pair() -> list[ScoredGroup]:
    """The plain half right, wrong and wrong; the moved half twice right about the move."""
    plain, moved = halves([pair(0)])
    groups = [
        Group(plain, completions(says("normal"), says("low", "sad"), says("low", "sad")), 0),
        Group(moved, completions(says("high"), says("high"), says("low")), 1),
    ]
    terms = [
        {"accuracy": (1.0, 0.0, 0.0), "listens": (None,) * 3},
        {"accuracy": (None,) * 3, "listens": (0.9, 0.9, 0.4)},
    ]
    return [
        combine(group, RewardTerms(values), WEIGHTS, CombineRules())
        for group, values in zip(groups, terms, strict=True)
    ]


def test_each_half_has_its_own_baseline_and_its_own_prompt():
    scored = scored_pair()
    assert [item.weights for item in scored] == [
        {"accuracy": 1.0, "listens": 0.0},
        {"accuracy": 0.0, "listens": 1.0},
    ]
    samples = to_samples(scored, AdvantageConfig(normalize="mean"), kl_coef=0.0)
    assert samples[0].advantages == pytest.approx([2 / 3, -1 / 3, -1 / 3])
    assert samples[1].advantages == pytest.approx([1 / 6, 1 / 6, -1 / 3])
    # By its own deviation, though its rewards differ by half as much.
    scaled = to_samples(scored, AdvantageConfig(normalize="std"), kl_coef=0.0)
    assert scaled[1].advantages == pytest.approx([0.577, 0.577, -1.154], abs=1e-3)
    check_step(scored, samples, 0, RunConfig(rewards=RewardsConfig(terms=TERMS)))
    row = build_row(samples, [[1.0] * 3] * 2)
    assert row.features == ("0", "1"), "the clip of each half"
    assert np.bincount(row.group_ids).tolist() == [3 + 6, 4 + 6]


def test_what_is_said_of_a_moved_clip_is_neither_right_nor_wrong():
    scored = scored_pair()
    samples = to_samples(scored, AdvantageConfig(), kl_coef=0.0)
    rows = sample_rows(3, scored, samples, {})
    assert [row["correct"] for row in rows] == [True, False, False, None, None, None]
    assert [row["move"]["direction"] for row in rows] == [0, 0, 0, 1, 1, 1]
    assert rows[3]["move"] == {"attribute": "pitch", "direction": 1, "size": 4.0, "clean": True}
    assert json.loads(json.dumps(rows)) == rows
    metrics = rollout_metrics(scored, 2, CombineRules())
    assert metrics["rollout/accuracy"] == pytest.approx(1 / 3)
    assert metrics["reward/accuracy_coverage"] == 0.5
    assert metrics["reward/listens_mean"] == pytest.approx(2.2 / 3)
    assert ClassWindow(5, {}).observe(scored)["classes/recall_neutral"] == pytest.approx(1 / 3)


def test_rows_without_pairs_say_nothing_of_moves():
    (item, _) = scored_pair()
    group = replace(item.group, prompt=replace(item.group.prompt, move=None))
    (row, *_) = sample_rows(1, [replace(item, group=group)], [], {})
    assert "move" not in row and row["correct"] is True
