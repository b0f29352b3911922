"""Flat groups that are replaced, by hand: how many are sampled, where they go, what is saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from configs.schema import AdvantageConfig
from data.loader import PromptLoader
from data.records import Example, Prompt, RewardTerms, ScoredGroup
from tests.fixtures import make_example
from tests.unit.make_groups import make_group, make_scored
from trainer.refill import Refill, is_flat

MIXED, RIGHT, WRONG = (1.3, 0.3), (1.3, 1.3), (0.3, 0.3)


def build(example: Example, epoch: int) -> Prompt:
    return Prompt(example, "", np.arange(3), None, 0)


def make_refill(rounds: int, by: str = "") -> Refill:
    loader = PromptLoader(
        [make_example(number) for number in range(10)],
        build,
        prompts_per_step=4,
        seed=5,
        num_workers=1,
        stream=1,
    )
    return Refill(AdvantageConfig(refill_rounds=rounds, refill_by=by), loader)


def step_of(*rewards: Sequence[float]) -> list[ScoredGroup]:
    """Groups clip-a, clip-b, ... with these rewards, at their places."""
    scored = [make_scored(values, id=f"clip-{chr(97 + i)}") for i, values in enumerate(rewards)]
    return [replace(s, group=replace(s.group, index=i)) for i, s in enumerate(scored)]


class Sampler:
    """Gives each round's prompts the rewards that it is told."""

    def __init__(self, *rounds: Sequence[Sequence[float]]) -> None:
        self.rounds = list(rounds)
        self.ids: list[list[str]] = []

    def __call__(self, prompts: Sequence[Prompt], number: int) -> list[ScoredGroup]:
        self.ids.append([prompt.example.id for prompt in prompts])
        assert number == len(self.ids)
        rewards = self.rounds[number - 1]
        return [make_scored(r, id=p.example.id) for p, r in zip(prompts, rewards, strict=False)]


def ids_of(groups: Sequence[ScoredGroup]) -> list[tuple[str, int]]:
    return [(item.group.prompt.example.id, item.group.index) for item in groups]


def test_flat_groups_are_replaced_in_their_places_and_the_size_of_the_step_stays():
    # 4 groups, 3 flat. Round 1 draws 3, of which 1 is not flat; round 2 draws 2, both are not.
    sampler = Sampler([RIGHT, MIXED, WRONG], [MIXED, MIXED])
    done = make_refill(5).fill(step_of(RIGHT, MIXED, WRONG, RIGHT), sampler)
    # The second order of seed 5 begins 7 4 ... : numpy's permutation of [5, 0, 1].
    order = np.random.Generator(np.random.PCG64([5, 0, 1])).permutation(10)
    names = [f"clip-{number}" for number in order]
    assert sampler.ids == [names[:3], names[3:5]]
    assert ids_of(done.groups) == [(names[1], 0), ("clip-b", 1), (names[3], 2), (names[4], 3)]
    assert done.metrics == {
        "refill/rounds": 2,
        "refill/groups_sampled": 4 + 3 + 2,
        "refill/groups_replaced": 3,
        "refill/groups_used": 4,
    }


def test_what_is_flat_when_the_rounds_are_spent_stays_and_is_counted():
    done = make_refill(1).fill(step_of(RIGHT, MIXED, WRONG), Sampler([RIGHT, MIXED]))
    assert [item.rewards for item in done.groups] == [MIXED, MIXED, WRONG]
    assert done.metrics["refill/groups_used"] == 2 and done.metrics["refill/rounds"] == 1
    assert done.metrics["refill/groups_sampled"] == 5


def test_a_step_without_flat_groups_draws_nothing():
    refill = make_refill(3)
    before = refill.state_dict()
    done = refill.fill(step_of(MIXED, MIXED), Sampler())
    assert done.metrics["refill/groups_sampled"] == 2 and refill.state_dict() == before


def test_prompts_that_no_engine_could_sample_leave_their_places_for_the_next_round():
    done = make_refill(2).fill(step_of(RIGHT, WRONG), Sampler([], [MIXED, MIXED]))
    assert done.metrics["refill/groups_used"] == 2 and done.metrics["refill/groups_sampled"] == 4


@pytest.mark.parametrize(
    ("scores", "rewards", "flat"),
    [
        ((1.0, 1.0), (1.3, 1.0), True),  # all right: DAPO's rule, though the format differs
        ((1.0, 0.0), (1.3, 0.3), False),
        ((1.0, 0.0), (0.7, 0.7), True),  # equal rewards have no gradient, whatever the terms are
        ((None, 1.0), (1.3, 1.0), True),
        ((None, None), (1.3, 1.0), False),  # not scored is not all wrong
    ],
)
def test_a_named_term_makes_groups_flat(
    scores: tuple[float | None, ...], rewards: tuple[float, ...], flat: bool
):
    item = ScoredGroup(
        make_group(["", ""]), RewardTerms({"accuracy": scores}), {}, 1.0, tuple(rewards)
    )
    assert is_flat(item, AdvantageConfig(refill_by="accuracy")) == flat
    assert is_flat(item, AdvantageConfig()) == (rewards[0] == rewards[1])


def test_a_resumed_refill_draws_what_it_would_have():
    first = make_refill(1)
    first.fill(step_of(RIGHT, RIGHT, RIGHT), Sampler([MIXED] * 3))
    state = json.loads(json.dumps(first.state_dict()))
    rest, again = Sampler([MIXED] * 2), Sampler([MIXED] * 2)
    first.fill(step_of(RIGHT, RIGHT), rest)
    second = make_refill(1)
    second.load_state_dict({})  # a checkpoint of a run that did not refill
    second.load_state_dict(state)
    second.fill(step_of(RIGHT, RIGHT), again)
    assert again.ids == rest.ids
