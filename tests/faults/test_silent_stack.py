"""Bugs planted one after another in a real engine and a real learner, and undone again.

One start of the two serves all tests of this file, so each leaves the pair as it found it, and
checks that the gate passes before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from configs.load import load_config
from configs.schema import LogConfig, RunConfig
from data.prompts import PromptBuilder, prompt_function
from data.records import Group, GroupSample
from data.splits import read_data
from launch.cluster import connect, place
from launch.preflight import ROOT
from rollout.engine import EngineSpec, RolloutError
from rollout.pool import EnginePool, ordered
from tests.conftest import MakeOnce
from tests.e2e.conftest import CONFIG, fill_corpus
from trainer.alarms import Alarms
from trainer.learner_group import LearnerGroup
from trainer.loop import sync_weights
from trainer.parity import ParityError, check_parity, compare
from trainer.weights import WeightSource

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

RATE = 5e-3


class Stack:
    """An engine and a learner of a random checkpoint; bugs are planted in their processes."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        builder = PromptBuilder(config.model.path, config.data)
        build = prompt_function(builder, config.data, ray.put)
        self.prompts = [build(row) for row in read_data(config).train[:6]]
        self.learner = LearnerGroup(
            config,
            forbidden_token_ids=builder.forbidden_token_ids,
            actor_options=place(config).learners,
        )
        self.engines = EnginePool(EngineSpec.of(config, builder), place(config).engines)
        self.learner.start()
        self.engines.start()
        self.learner.connect(self.engines.actors)
        self.version = 0
        self.seed = 0

    def sample(self) -> list[Group]:
        self.seed += 1
        groups = self.engines.generate(self.prompts, num_completions=4, seed=self.seed)
        return ordered(groups, self.prompts)

    def gate(self) -> None:
        groups = self.sample()
        check_parity(compare(groups, self.learner.logprobs(groups)), self.config.parity)

    def update(self) -> dict[str, float]:
        draw = np.random.default_rng(self.seed)
        samples = []
        for group in self.sample():
            credit = draw.standard_normal(4).astype(np.float32)
            samples.append(GroupSample(group, credit - credit.mean(), np.ones(4, np.bool_)))
        return self.learner.update(samples, RATE)

    def sync(self) -> None:
        self.version += 1
        sync_weights(self.learner, self.engines, self.version)

    def in_learner(self, call: Callable[..., Any], *args: Any) -> Any:
        (actor,) = self.learner._actors
        return ray.get(actor.__ray_call__.remote(call, *args))


@pytest.fixture(scope="module")
def stack(make_once: MakeOnce, tiny_checkpoint: Path, tmp_path_factory: Any) -> Iterator[Stack]:
    corpus = make_once("corpus", fill_corpus) / "corpus"
    folder = tmp_path_factory.mktemp("silent")
    path = folder / "run.yaml"
    base = ROOT / "configs" / "tiny.yaml"
    path.write_text(
        CONFIG.format(base=base, folder=folder, checkpoint=tiny_checkpoint, corpus=corpus)
    )
    config = load_config(path, ["loss.kl_coef=0.04", "model.freeze=[audio_tower]"])
    connect(config)
    stack = Stack(config)
    yield stack
    stack.learner.close()
    stack.engines.close()
    ray.shutdown()


@pytest.fixture(autouse=True)
def sound_before_and_after(stack: Stack) -> Iterator[None]:
    stack.sync()
    stack.gate()
    yield
    stack.sync()
    stack.gate()


def stop_optimizer(actor: Any) -> None:
    actor._learner._engine.optimizer.optimizer.step = lambda *args, **kwargs: None


def start_optimizer(actor: Any) -> None:
    del actor._learner._engine.optimizer.optimizer.step


def alarm_of(*steps: dict[str, float]) -> list[str]:
    alarms = Alarms(LogConfig(alarm_steps=2), [])
    lines: list[str] = []
    for metrics in steps:
        lines += alarms.observe({"rollout/completion_tokens_mean": 20.0, **metrics})
    return lines


@pytest.mark.fault(
    "the optimizer computes gradients and does not step",
    happens="the KL stays exactly 0: an alarm line after `log.alarm_steps` steps",
    lost="those steps",
)
def test_an_optimizer_that_does_not_step(stack: Stack):
    stack.in_learner(stop_optimizer)
    stuck = [stack.update() for _ in range(3)]
    stack.in_learner(start_optimizer)
    assert all(metrics["policy/kl"] == 0.0 for metrics in stuck)
    (line,) = alarm_of(*stuck)
    assert "the weights do not move" in line
    moving = []
    for _ in range(3):
        moving.append(stack.update())
        stack.sync()
    assert alarm_of(*moving) == [] and moving[-1]["policy/kl"] > 0


def lose_reference(actor: Any) -> None:
    actor.kept, actor._learner._reference = actor._learner._reference, None


def restore_reference(actor: Any) -> None:
    actor._learner._reference = actor.kept


@pytest.mark.fault(
    "the reference is the policy itself",
    happens="the KL is exactly 0: an alarm line after `log.alarm_steps` steps",
    lost="those steps",
)
def test_a_reference_that_moves_along(stack: Stack):
    stack.in_learner(lose_reference)
    stuck = []
    for _ in range(2):
        stuck.append(stack.update())
        stack.sync()
    stack.in_learner(restore_reference)
    assert [metrics["policy/kl"] for metrics in stuck] == [0.0, 0.0]
    assert len(alarm_of(*stuck)) == 1


@pytest.mark.fault(
    "the engines get no weights after an update",
    happens="`policy/logprob_gap` jumps; a restart is refused by the gate",
    lost="until somebody looks at the metric",
)
def test_weights_that_are_not_sent(stack: Stack):
    sound = stack.update()["policy/logprob_gap"]
    # No sync: the engine samples with the old weights.
    stale = stack.update()["policy/logprob_gap"]
    assert stale > 20 * sound
    with pytest.raises(ParityError):
        stack.gate()


def hold_back(actor: Any, part: str) -> int:
    """Send the weights of one part as they are now from now on."""
    every = WeightSource.__iter__
    old = {name: w.clone() for name, w in every(actor._learner._source) if part in name}

    def stale(source: WeightSource) -> Iterator[Any]:
        for name, weight in every(source):
            yield name, old.get(name, weight)

    actor.every, WeightSource.__iter__ = every, stale
    return len(old)


def let_go(actor: Any) -> None:
    WeightSource.__iter__ = actor.every


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(
            part,
            marks=pytest.mark.fault(
                f"{name} is left out of the weight sync",
                happens="`policy/logprob_gap` jumps; a restart is refused by the gate",
                lost="until somebody looks at the metric",
            ),
        )
        for part, name in {
            "model.layers.0.": "one layer",
            "embed_tokens": "the embedding",
            "lm_head": "the head",
        }.items()
    ],
)
def test_weights_that_are_not_all_sent(stack: Stack, part: str):
    sound = stack.update()["policy/logprob_gap"]
    stack.sync()
    assert stack.in_learner(hold_back, part) > 0
    stack.update()
    stack.sync()
    stale = stack.update()["policy/logprob_gap"]
    with pytest.raises(ParityError):
        stack.gate()
    stack.in_learner(let_go)
    assert stale > 20 * sound


@pytest.mark.fault(
    "an engine serves weights of another version than the learner's",
    happens="the run ends with both versions",
    lost="the step",
)
def test_an_engine_of_another_version(stack: Stack):
    (actor,) = stack.engines.actors
    ray.get(actor.activate.remote(stack.version - 1))
    both = rf"engine 0 .*policy versions \[{stack.version - 1}\].*should serve {stack.version}"
    with pytest.raises(RolloutError, match=both):
        stack.sample()
    ray.get(actor.activate.remote(stack.version))


def drift(actor: Any, size: float) -> None:
    import torch

    tower = actor._learner._thinker.audio_tower
    with torch.no_grad():
        for weight in tower.parameters():
            weight.add_(size)


@pytest.mark.fault(
    "frozen weights drift in the learner",
    happens="the engines, which never get them, disagree: `policy/logprob_gap` jumps",
    lost="until somebody looks at the metric",
)
def test_frozen_weights_that_drift(stack: Stack):
    assert "audio_tower" in stack.config.model.freeze
    stack.in_learner(drift, 2.0**-6)  # exact, so that it can be taken back
    stack.sync()
    with pytest.raises(ParityError):
        stack.gate()
    stack.in_learner(drift, -(2.0**-6))
