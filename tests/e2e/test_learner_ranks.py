"""The learner's numbers depend neither on the number of ranks nor on the ZeRO stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import ray
import torch

from configs.load import load_config
from data.prompts import PromptBuilder, prompt_function
from data.records import Completion, FloatArray, Group, GroupSample
from data.splits import read_data
from demo.checkpoint import build_checkpoint
from launch.cluster import connect, place
from trainer.learner_group import LearnerGroup

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

LEARNING_RATE = 1e-3
TOLERANCE = 1e-5
MODES = {
    "one rank": (1, 2),
    "two ranks, ZeRO-2": (2, 2),
    "two ranks, ZeRO-3": (2, 3),
    # Rows of 100 to 200 completion tokens: the ranks have different numbers of chunks.
    "two ranks, ZeRO-3, chunks": (2, 3, 20),
}
"""Ranks, ZeRO stage, and tokens of a logits chunk."""

Start = Callable[..., LearnerGroup]


class Outcome(NamedTuple):
    """What a learner says and holds after two updates."""

    figures: list[Mapping[str, float]]
    logprobs: list[FloatArray]
    weights: Mapping[str, torch.Tensor]
    saved: Path | None = None
    """The state after the first of them."""


class World(NamedTuple):
    """Samples, and a way to start learners for them."""

    start: Start
    samples: Sequence[GroupSample]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("ranks")
    checkpoint = folder / "checkpoint"
    build_checkpoint(checkpoint, hidden_size=64, num_layers=2)
    common = {
        "output_dir": folder,
        "model.path": checkpoint,
        "data.manifest": corpus / "manifest.jsonl",
        "data.audio_root": corpus,
        "learner.cpu_threads": 1,
        "learner.tokens_per_microbatch": 256,
        # Adam divides by the gradient's size, which would blow rounding up to full steps.
        "optim.eps": 1e-3,
    }

    def start(num_ranks: int, zero_stage: int, **overrides: object) -> LearnerGroup:
        ranks = {"learner.num_ranks": num_ranks, "learner.zero_stage": zero_stage}
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        config = load_config(
            "configs/tiny.yaml", [f"{k}={v}" for k, v in (common | ranks | dotted).items()]
        )
        group = LearnerGroup(
            config,
            forbidden_token_ids=builder.forbidden_token_ids,
            actor_options=place(config).learners,
        )
        group.start()
        return group

    config = load_config("configs/tiny.yaml", [f"{k}={v}" for k, v in common.items()])
    connect(config)
    builder = PromptBuilder(config.model.path, config.data)
    build = prompt_function(builder, config.data, ray.put)
    thinker = json.loads((checkpoint / "config.json").read_text())["thinker_config"]
    vocabulary = set(range(thinker["text_config"]["vocab_size"]))
    allowed = sorted(vocabulary - set(builder.forbidden_token_ids))
    rng = np.random.default_rng(0)
    samples = [random_sample(build(row), allowed, rng) for row in read_data(config).train[:8]]
    yield World(start, samples)
    ray.shutdown()


def random_sample(prompt: object, allowed: Sequence[int], rng: np.random.Generator) -> GroupSample:
    """Return four completions of 3 to 20 tokens as a policy without any preference writes them."""
    completions = []
    for length in rng.integers(3, 20, size=4):
        nats = rng.normal(-np.log(len(allowed)), 0.1, size=length).astype(np.float32)
        tokens = rng.choice(allowed, size=length)
        completions.append(Completion(tokens, nats, "", "stop", policy_version=0))
    group = Group(prompt, tuple(completions))
    advantages = rng.standard_normal(4).astype(np.float32)
    return GroupSample(group, advantages, np.ones(4, np.bool_))


def flat_logprobs(learner: LearnerGroup, samples: Sequence[GroupSample]) -> list[FloatArray]:
    groups = learner.logprobs([sample.group for sample in samples])
    return [logprobs for group in groups for logprobs in group]


def run_twice(
    world: World, num_ranks: int, zero_stage: int, chunk_tokens: int = 1024, *, saved: Path
) -> Outcome:
    learner = world.start(
        num_ranks,
        zero_stage,
        model__logits_chunk_tokens=chunk_tokens,
        # Collectives that do not meet end here, and not in half an hour.
        learner__timeout_s=120,
    )
    # Groups that two ranks cannot share evenly, in one row and in several.
    figures = [learner.update(world.samples[:3], LEARNING_RATE)]
    saved.parent.mkdir()
    learner.save(saved)
    # What was saved is the state of that moment, though it is written during the next update.
    figures.append(learner.update(world.samples[3:], LEARNING_RATE))
    assert len(learner.saved_files(saved)) > (3 if num_ranks == 2 else 1)
    logprobs = flat_logprobs(learner, world.samples)
    # Each completion keeps its place, whatever shares its row.
    for i in (1, 6):
        alone = flat_logprobs(learner, [world.samples[i]])
        for ours, theirs in zip(alone, logprobs[4 * i : 4 * i + 4], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)
    weights = learner._all("full_weights")[0]
    learner.close()
    return Outcome(figures, logprobs, weights, saved)


@pytest.fixture(scope="module")
def outcomes(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[tuple[int, ...], Outcome]:
    """Return what comes of two updates, by mode."""
    folder = tmp_path_factory.mktemp("states")
    return {
        mode: run_twice(world, *mode, saved=folder / f"{number}" / "step_000001")
        for number, mode in enumerate(MODES.values())
    }


def test_ranks_and_stages_give_the_same_policy(
    outcomes: Mapping[tuple[int, ...], Outcome],
) -> None:
    expected, *others = outcomes.values()
    # The reference policy is the start policy: the same before the first update, not after it.
    assert expected.figures[0]["policy/kl"] == pytest.approx(0, abs=1e-8)
    assert expected.figures[1]["policy/kl"] > 1e-4
    for mode, found in zip(list(MODES)[1:], others, strict=True):
        for ours, theirs in zip(found.figures, expected.figures, strict=True):
            assert ours.keys() == theirs.keys()
            for name in ours.keys() - {"perf/packing_frac"}:
                assert ours[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-6), (mode, name)
        for ours, theirs in zip(found.logprobs, expected.logprobs, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE, err_msg=mode)
        assert found.weights.keys() == expected.weights.keys()
        for name, weight in expected.weights.items():
            error = torch.linalg.norm(found.weights[name] - weight) / torch.linalg.norm(weight)
            assert error < TOLERANCE, (mode, name, error)


def test_later_updates_of_a_step_are_measured_against_its_first_policy(world: World) -> None:
    learner = world.start(2, 2, loss__epochs=2, loss__minibatches=2, loss__kl_coef=0)
    # 3 groups in 2 minibatches: the second has one group for two ranks.
    first = learner.update(world.samples[:3], LEARNING_RATE)
    second = learner.update(world.samples[:3], LEARNING_RATE)
    learner.close()
    assert abs(first["policy/ratio_mean"] - 1) > 1e-4
    # The gap to the engine is that of the step's first policy, which the first step has changed.
    assert second["policy/logprob_gap"] > first["policy/logprob_gap"] + 1e-3


def run_adapters(world: World, num_ranks: int, zero_stage: int) -> tuple[Outcome, Outcome]:
    """Return the state of rank-4 adapters before and after two updates."""
    learner = world.start(num_ranks, zero_stage, model__lora__rank=4)
    start = Outcome([], flat_logprobs(learner, world.samples), learner._all("full_weights")[0])
    figures = [learner.update(world.samples[:3], 1e-2) for _ in range(2)]
    logprobs = flat_logprobs(learner, world.samples)
    end = Outcome(figures, logprobs, learner._all("full_weights")[0])
    learner.close()
    return start, end


def test_adapters_are_compared_with_the_model_below_them(world: World) -> None:
    (start, end), (_, sharded) = (run_adapters(world, *mode) for mode in [(1, 2), (2, 3)])
    assert end.figures[0]["policy/kl"] == pytest.approx(0, abs=1e-8)
    assert end.figures[1]["policy/kl"] > 1e-4
    changed = {
        name.split(".")[-2]
        for name, weight in start.weights.items()
        if not torch.equal(weight, end.weights[name])
    }
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj"}
    for before, after, found in zip(start.logprobs, end.logprobs, sharded.logprobs, strict=True):
        assert np.abs(after - before).max() > 1e-3
        np.testing.assert_allclose(found, after, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("zero_stage", [2, 3])
def test_another_number_of_ranks_goes_on_with_a_saved_state(
    world: World, outcomes: Mapping[tuple[int, ...], Outcome], zero_stage: int
) -> None:
    _, whole = outcomes[2, zero_stage].figures
    weights, by_two = outcomes[2, zero_stage].weights, outcomes[2, zero_stage].saved
    assert by_two is not None
    by_one = by_two.parent / "step_000002"
    # Written by two ranks and read by one, then written by that one and read by two.
    for num_ranks, saved in ((1, by_two), (2, by_one)):
        learner = world.start(num_ranks, zero_stage)
        learner.load(saved)
        if num_ranks == 1:
            learner.save(by_one)
            learner.saved_files(by_one)
        figures = learner.update(world.samples[3:], LEARNING_RATE)
        for name in whole.keys() - {"perf/packing_frac"}:
            assert figures[name] == pytest.approx(whole[name], rel=1e-5, abs=1e-6), name
        for name, weight in learner._all("full_weights")[0].items():
            error = torch.linalg.norm(weight - weights[name]) / torch.linalg.norm(weights[name])
            assert error < TOLERANCE, (num_ranks, name, error)
        learner.close()
    assert sorted(path.name for path in by_two.parent.iterdir()) == ["step_000001", "step_000002"]
