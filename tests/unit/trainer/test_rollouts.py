"""Which weights sample which step, what a checkpoint keeps of steps ahead, and what stops them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from configs.schema import AdvantageConfig, AsyncConfig, RewardTermConfig, RunConfig, TrainConfig
from data.records import Completion, Example, Group, Prompt, RewardTerms
from rewards.combine import CombineRules
from rewards.schedule import Schedule
from rollout.engine import RolloutError
from trainer.clock import StepClock
from trainer.refill import Refill
from trainer.rollouts import Rollouts, rollout_seed

TERM = RewardTermConfig(name="accuracy", target="rewards.accuracy:AccuracyReward")


class Loader:
    """Two prompts a step, named after their place in the stream."""

    num_skipped = 0

    def __init__(self, position: int = 0, name: str = "clip") -> None:
        self.position = position
        self.name = name

    def next_batch(self, num_prompts: int = 2) -> list[Prompt]:
        first, self.position = self.position, self.position + num_prompts
        names = [f"{self.name}-{number}" for number in range(first, self.position)]
        return [
            Prompt(Example(name, "a.wav", "sad", "?", ("sad", "angry")), "", np.arange(3), None, 0)
            for name in names
        ]

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.position = state["position"]


class Engines:
    """Sample a token that tells the seed, in the reverse order of the prompts."""

    def __init__(self) -> None:
        self.version = 0
        self.calls: list[tuple[int, int]] = []
        """(seed, version) of each call."""
        self.go_on = threading.Event()
        self.go_on.set()
        self.closed = False
        self.error: Exception | None = None

    def generate(
        self, prompts: Sequence[Prompt], *, seed: int, num_completions: int, may_lack: bool = False
    ) -> Iterator[Group]:
        assert num_completions == 8 and may_lack == (seed >= 2**64)
        self.calls.append((seed, self.version))
        return self._groups(prompts, seed, self.version)

    def _groups(self, prompts: Sequence[Prompt], seed: int, version: int) -> Iterator[Group]:
        for index in reversed(range(len(prompts))):
            assert self.go_on.wait(20)
            if self.error:
                raise self.error
            completions = tuple(
                Completion(np.array([seed, index, n]), np.zeros(3, np.float32), "", "stop", version)
                for n in range(2)
            )
            yield Group(prompts[index], completions, index)

    def close(self) -> None:
        self.closed = True
        self.go_on.set()


class Rewards:
    """Score 1 and 0, or what a clip is given; notes what was scored with which weights."""

    def __init__(self) -> None:
        self.weights: list[float] = []
        self.scores: dict[str, tuple[float, float]] = {}
        self.go_on = threading.Event()
        self.go_on.set()
        self.closed = False

    def score(
        self, groups: Iterator[Group], weights: Mapping[str, float]
    ) -> Iterator[tuple[Group, RewardTerms]]:
        self.weights.append(weights["accuracy"])
        for group in groups:
            assert self.go_on.wait(20)
            scores = self.scores.get(group.prompt.example.id, (1.0, 0.0))
            yield group, RewardTerms({"accuracy": scores})

    def close(self) -> None:
        self.closed = True
        self.go_on.set()


class Run:
    """What a loop does with its rollouts; updates are a number."""

    def __init__(
        self,
        staleness: int,
        num_steps: int = 6,
        step: int = 0,
        in_flight: bool = False,
        refill_rounds: int = 0,
    ) -> None:
        self.config = replace(
            RunConfig(train=TrainConfig(num_steps=num_steps, prompts_per_step=2)),
            async_=AsyncConfig(max_staleness=staleness, in_flight=in_flight),
            advantage=AdvantageConfig(refill_rounds=refill_rounds),
        )
        self.step = self.start = step
        self.loader, self.engines, self.rewards = Loader(2 * step), Engines(), Rewards()
        self.engines.version = step
        schedule = Schedule([TERM], "accuracy")
        rules = CombineRules(outcome="accuracy")
        parts = cast(Any, (self.loader, self.engines, self.rewards))
        further = cast(Any, Loader(name="more"))
        refill = Refill(self.config.advantage, further) if refill_rounds else None
        self.rollouts = Rollouts(self.config, *parts, rules, schedule, refill=refill)

    def run_step(self) -> list[list[int]]:
        """Return the tokens of the step's first completions."""
        self.rollouts.begin(self.step)
        batch = self.rollouts.scored(self.step, StepClock())
        assert [prompt.example.id for prompt in batch.prompts] == [
            item.group.prompt.example.id for item in batch.groups
        ]
        self.step += 1
        self.rollouts.drain()
        self.engines.version = self.step
        return [item.group.completions[0].token_ids.tolist() for item in batch.groups]

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds, once through JSON."""
        state = {"loader": self.rollouts.position(), "sampled": self.rollouts.state_dict()}
        return json.loads(json.dumps(state))


@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_a_step_is_sampled_with_weights_as_old_as_allowed(staleness: int):
    run = Run(staleness)
    with run.rollouts:
        tokens = [run.run_step() for _ in range(6)]
    seeds = [rollout_seed(run.config.seed, step) for step in range(6)]
    versions = [max(0, step - staleness) for step in range(6)]
    assert run.engines.calls == list(zip(seeds, versions, strict=True))
    # The same prompts and seeds, in the order of the prompts, whatever the staleness is.
    assert tokens == [[[seed, 0, 0], [seed, 1, 0]] for seed in seeds]
    assert run.loader.position == 12 and not run.engines.closed, "nothing is drawn beyond the end"


def test_the_next_step_is_sampled_and_scored_while_this_one_is_learned():
    run = Run(1)
    with run.rollouts:
        run.rollouts.begin(0)
        run.rollouts.scored(0, StepClock())
        assert len(run.engines.calls) == 2
        run.rollouts.drain()
        run.rollouts.settle()
        assert len(run.rewards.weights) == 2
        run.rollouts.scored(1, StepClock())


def test_weights_in_flight_wait_for_no_completion():
    run = Run(1, in_flight=True)
    with run.rollouts:
        run.rollouts.begin(0)
        run.rollouts.scored(0, StepClock())
        run.engines.go_on.clear()
        run.engines.version = run.step = 1
        run.rollouts.begin(1)
        run.rollouts.drain()  # though the engines hold on to what is left of step 2
        run.engines.go_on.set()
        batch = run.rollouts.scored(1, StepClock())
        versions = {c.policy_version for item in batch.groups for c in item.group.completions}
        assert versions == {0}, "as old as the weights that they began with"
        run.rollouts.scored(2, StepClock())


def test_scores_of_a_step_wait_for_those_of_the_step_before():
    run = Run(2)
    with run.rollouts:
        run.rewards.go_on.clear()
        run.rollouts.begin(0)
        run.rollouts.drain()  # all three are sampled, though nothing is scored
        assert len(run.engines.calls) == 3 and len(run.rewards.weights) <= 1
        run.rewards.go_on.set()
        run.rollouts.scored(0, StepClock())
        run.rollouts.settle()
        assert len(run.rewards.weights) == 2, "of the step after the next nothing is scored yet"
        for step in (1, 2):
            run.rollouts.begin(step)
            run.rollouts.scored(step, StepClock())
            run.rollouts.drain()


@pytest.mark.parametrize("staleness", [0, 1, 2])
@pytest.mark.parametrize("stopped_after", [1, 3, 5])
def test_a_resumed_run_samples_what_it_would_have_without_the_stop(
    staleness: int, stopped_after: int
):
    whole = Run(staleness)
    with whole.rollouts:
        expected = [whole.run_step() for _ in range(6)]
    first = Run(staleness)
    with first.rollouts:
        done = [first.run_step() for _ in range(stopped_after)]
        state = first.state()
    assert state["loader"]["position"] == 2 * stopped_after
    second = Run(staleness, step=stopped_after)
    second.rollouts.load_state_dict(state["sampled"])
    assert second.state() == state, "a stop right after the start loses nothing either"
    with second.rollouts:
        rest = [second.run_step() for _ in range(stopped_after, 6)]
    assert done + rest == expected
    # What was sampled is not sampled again, and the rest has the weights that it would have had.
    assert first.engines.calls + second.engines.calls == whole.engines.calls


def test_what_is_only_partly_sampled_is_sampled_again():
    first = Run(1)
    with first.rollouts:
        first.rollouts.begin(0)
        first.rollouts.scored(0, StepClock())
        first.rollouts.drain()
        first.engines.go_on.clear()
        first.rollouts.begin(1)
        assert first.state()["sampled"].keys() == {"1"} and first.state()["loader"]["position"] == 2
    assert first.engines.closed and first.rewards.closed, "what is on its way is given up"


def test_completions_of_other_prompts_or_older_than_allowed_are_not_used():
    first = Run(2)
    with first.rollouts:
        first.run_step()
        state = first.state()
    assert state["sampled"].keys() == {"1", "2"}
    strict = Run(0, step=1)
    strict.rollouts.load_state_dict(state["sampled"])
    with strict.rollouts:
        strict.run_step()
    assert strict.engines.calls == [(rollout_seed(0, 1), 1)]
    moved = Run(2, step=1)
    moved.loader.position = 4
    moved.rollouts.load_state_dict(state["sampled"])
    with moved.rollouts:
        moved.run_step()
    assert [seed for seed, _ in moved.engines.calls[:2]] == [rollout_seed(0, 1), rollout_seed(0, 2)]


@pytest.mark.parametrize("staleness", [0, 1])
def test_what_the_engines_raise_is_raised_where_it_is_waited_for(staleness: int):
    run = Run(staleness)
    with pytest.raises(RolloutError, match="gone"), run.rollouts:
        run.run_step()
        run.engines.error = RolloutError("gone")
        run.run_step()
    assert run.engines.closed or not staleness


def test_what_is_skipped_while_a_later_step_is_drawn_counts_there():
    run = Run(1)
    with run.rollouts:
        run.rollouts.begin(0)
        run.loader.num_skipped = 3
        first = run.rollouts.scored(0, StepClock())
        run.rollouts.drain()
        run.rollouts.begin(1)
        second = run.rollouts.scored(1, StepClock())
        run.rollouts.drain()
        run.rollouts.begin(2)
        third = run.rollouts.scored(2, StepClock())
        run.rollouts.drain()
        counts = [batch.metrics["data/skipped_clips"] for batch in (first, second, third)]
        assert counts == [0, 0, 3]


FLAT = {
    "clip-0": (1.0, 1.0),
    "clip-5": (0.0, 0.0),
    "clip-6": (1.0, 1.0),
    "more-0": (0.0, 0.0),
    "more-2": (1.0, 1.0),
    "more-3": (0.0, 0.0),
}
"""What the groups of these clips get in the tests of the refill; all others are mixed."""


def refilled_step(run: Run) -> dict[str, Any]:
    """Run a step; return what was trained on, what was measured, and which weights sampled it."""
    run.rollouts.begin(run.step)
    batch = run.rollouts.scored(run.step, StepClock())
    run.step += 1
    run.rollouts.drain()
    run.engines.version = run.step
    return {
        "used": [item.group.prompt.example.id for item in batch.groups],
        "drawn": [item.group.prompt.example.id for item in batch.drawn],
        "indices": [item.group.index for item in batch.groups],
        "versions": [item.group.completions[0].policy_version for item in batch.groups],
        "sampled": batch.metrics["refill/groups_sampled"],
        "tokens": [item.group.completions[0].token_ids.tolist() for item in batch.groups],
    }


@pytest.mark.parametrize("staleness", [0, 1, 2])
@pytest.mark.parametrize("in_flight", [False, True])
def test_flat_groups_give_way_to_further_prompts_of_the_newest_weights(
    staleness: int, in_flight: bool
):
    run = Run(staleness, in_flight=in_flight and staleness > 0, refill_rounds=2)
    run.rewards.scores = FLAT
    with run.rollouts:
        steps = [refilled_step(run) for _ in range(4)]
    # Step 0: clip-0 is flat, so is more-0, more-1 is not. Step 2: clip-5 is flat, so are more-2
    # and more-3, and the two rounds are spent.
    assert [step["used"] for step in steps] == [
        ["more-1", "clip-1"],
        ["clip-2", "clip-3"],
        ["clip-4", "clip-5"],
        ["more-4", "clip-7"],
    ]
    assert [step["drawn"] for step in steps] == [
        [f"clip-{first}", f"clip-{first + 1}"] for first in (0, 2, 4, 6)
    ]
    assert [step["sampled"] for step in steps] == [4, 2, 4, 3]
    assert [step["indices"] for step in steps] == [[0, 1]] * 4
    assert steps[0]["versions"] == [0, 0]
    assert steps[3]["versions"] == [3, max(0, 3 - staleness)]


def test_a_refill_has_seeds_of_its_own_and_leaves_the_steps_as_they_were():
    plain, run = Run(1), Run(1, refill_rounds=1)
    run.rewards.scores = FLAT
    with plain.rollouts, run.rollouts:
        expected = [plain.run_step() for _ in range(4)]
        steps = [refilled_step(run) for _ in range(4)]
    kept = [
        (step["tokens"][place], tokens[place])
        for step, tokens in zip(steps, expected, strict=True)
        for place in (0, 1)
        if step["used"][place] == step["drawn"][place]
    ]
    assert len(kept) == 8 - 1 and all(ours == theirs for ours, theirs in kept)
    seeds = [seed for seed, _ in run.engines.calls]
    assert len(set(seeds)) == len(seeds)
    assert [seed for seed in seeds if seed < 2**64] == [seed for seed, _ in plain.engines.calls]


@pytest.mark.parametrize("staleness", [0, 1])
@pytest.mark.parametrize("stopped_after", [1, 2, 3])
def test_a_resumed_run_refills_as_it_would_have_without_the_stop(
    staleness: int, stopped_after: int
):
    def make(step: int = 0) -> Run:
        run = Run(staleness, step=step, refill_rounds=2)
        run.rewards.scores = FLAT
        return run

    whole, first = make(), make()
    with whole.rollouts:
        expected = [refilled_step(whole) for _ in range(5)]
    with first.rollouts:
        done = [refilled_step(first) for _ in range(stopped_after)]
        state = first.state()
        assert first.rollouts.refill
        further = json.loads(json.dumps(first.rollouts.refill.state_dict()))
    second = make(stopped_after)
    second.rollouts.load_state_dict(state["sampled"])
    assert second.rollouts.refill
    second.rollouts.refill.load_state_dict(further)
    with second.rollouts:
        rest = [refilled_step(second) for _ in range(stopped_after, 5)]
    assert done + rest == expected


def test_engines_that_fail_in_a_refill_end_the_step():
    run = Run(1, refill_rounds=1)
    run.rewards.scores = FLAT
    with pytest.raises(RolloutError, match="gone"), run.rollouts:
        run.rollouts.begin(0)
        run.rollouts.drain()
        run.engines.error = RolloutError("gone")
        run.rollouts.scored(0, StepClock())
    assert run.engines.closed and run.rewards.closed
