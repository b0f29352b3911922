"""What the benchmarks share: a model with random weights, clips of noise, timing in turns.

Import it before anything heavy: it sets the environment of this process and of its workers.
"""

from __future__ import annotations

import argparse
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from launch.cli import QUIET

for _name, _value in {**QUIET, "DS_ACCELERATOR": "cpu", "VLLM_LOGGING_LEVEL": "ERROR"}.items():
    os.environ.setdefault(_name, _value)

import numpy as np
import ray

from configs.load import load_config
from configs.schema import RunConfig
from data.prompts import PromptBuilder
from data.records import Completion, Example, FloatArray, Group, GroupSample, Prompt
from demo.checkpoint import SPECIAL_TOKENS, build_checkpoint
from launch.assemble import engine_spec
from launch.cluster import engine_options, learner_options
from rollout.pool import EnginePool
from trainer.learner import Learner, LearnerSpec
from trainer.learner_group import LearnerGroup

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "tiny.yaml"
"""The shipped CPU configuration: what is measured is what a user runs."""

SAMPLE_RATE_HZ = 16_000


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser with what every benchmark takes: `--quick` and `key=value` overrides."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--quick", action="store_true", help="few rounds and small sizes: only shows that it runs"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings over configs/tiny.yaml"
    )
    return parser


@contextmanager
def tiny_run(
    *overrides: str, hidden_size: int = 128, num_layers: int = 4
) -> Iterator[tuple[RunConfig, PromptBuilder]]:
    """Yield a configuration whose model has random weights in a temporary folder.

    Args:
        overrides: `key=value` settings over configs/tiny.yaml; later ones win.
        hidden_size: see `demo.checkpoint.build_checkpoint`; 1.3 million weights by default.
        num_layers: layers of its language model.

    Yields:
        The configuration and the prompt builder of its model.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        build_checkpoint(path, hidden_size=hidden_size, num_layers=num_layers)
        config = load_config(CONFIG, [f"model.path={path}", *overrides])
        yield config, PromptBuilder(path, config.data)


def endless(builder: PromptBuilder) -> tuple[int, ...]:
    """Return the forbidden tokens plus the end token: completions then have exactly full length."""
    return (*builder.forbidden_token_ids, builder.end_token_id)


def make_engines(config: RunConfig, builder: PromptBuilder) -> EnginePool:
    """Return the engines of a run, whose completions never end early; Ray is connected."""
    spec = replace(engine_spec(config, builder), forbidden_token_ids=endless(builder))
    return EnginePool(spec, engine_options(config))


def make_learner(config: RunConfig, builder: PromptBuilder) -> LearnerGroup:
    """Return the learner ranks that go with `make_engines`; Ray is connected."""
    return LearnerGroup(
        config, forbidden_token_ids=endless(builder), actor_options=learner_options(config)
    )


def start_learner(config: RunConfig, forbidden_token_ids: Sequence[int]) -> Learner:
    """Return a learner of one rank in this process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Learner(LearnerSpec(config, 0, 1, tuple(forbidden_token_ids)), "127.0.0.1", port)


def make_clip(duration_s: float, draw: np.random.Generator) -> FloatArray:
    """Return [S] float32, a tone of random pitch in noise."""
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = 0.3 * np.sin(2 * np.pi * draw.uniform(80, 400) * time_s)
    return (tone + 0.05 * draw.standard_normal(len(time_s))).astype(np.float32)


def make_prompts(
    builder: PromptBuilder,
    config: RunConfig,
    *,
    num_prompts: int,
    duration_s: float,
    seed: int,
    shared: bool,
) -> list[Prompt]:
    """Return prompts about different clips, all of one length.

    Args:
        builder: of the model.
        config: question and labels are taken from it.
        num_prompts: P.
        duration_s: length of each clip.
        seed: draws the clips.
        shared: features as references into Ray's shared memory instead of arrays.
    """
    draw = np.random.default_rng(seed)
    choices = tuple(config.data.choices)
    prompts = []
    for i in range(num_prompts):
        features = builder.extract_features(make_clip(duration_s, draw))
        label = choices[i % len(choices)]
        example = Example(f"clip-{seed}-{i}", f"{i}.wav", label, config.data.question, choices)
        prompts.append(
            builder.build(example, ray.put(features) if shared else features, features.shape[1])
        )
    return prompts


def make_samples(
    prompts: Sequence[Prompt], *, group_size: int, min_tokens: int, max_tokens: int, seed: int
) -> list[GroupSample]:
    """Return a group of random completions per prompt, with normal advantages.

    Args:
        prompts: P prompts.
        group_size: G.
        min_tokens: shortest completion.
        max_tokens: longest completion; lengths are uniform between the two.
        seed: draws lengths, tokens and advantages.
    """
    draw = np.random.default_rng(seed)
    samples = []
    for prompt in prompts:
        lengths = draw.integers(min_tokens, max_tokens + 1, group_size)
        completions = tuple(
            Completion(
                token_ids=draw.integers(len(SPECIAL_TOKENS), 300, length),
                rollout_logprobs=np.full(length, -np.log(512), np.float32),
                text="",
                finish_reason="length",
                policy_version=0,
            )
            for length in lengths
        )
        samples.append(with_drawn_advantages(Group(prompt, completions), draw))
    return samples


def with_drawn_advantages(group: Group, draw: np.random.Generator) -> GroupSample:
    """Return a sample with normal advantages.

    A model with random weights answers nothing right, so by its rewards every group would be flat
    and none would be trained.
    """
    size = len(group.completions)
    return GroupSample(
        group, draw.standard_normal(size).astype(np.float32), np.ones(size, np.bool_)
    )
