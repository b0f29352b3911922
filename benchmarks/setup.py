"""What the benchmarks share: a model with random weights, clips of noise, parts of a run.

Import it before anything heavy: it sets the environment of this process and of its workers.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from launch.command import QUIET
from rollout.engine import EngineSpec


def device_of(arguments: Sequence[str]) -> str:
    """Return `cuda` if the last `device=` of a command line names it, else `cpu`."""
    named = [word for word in arguments if word.startswith("device=")]
    return "cuda" if named[-1:] == ["device=cuda"] else "cpu"


# DeepSpeed looks for its device when it is imported, before any argument is parsed.
_ENVIRONMENT = {"DS_ACCELERATOR": device_of(sys.argv), "VLLM_LOGGING_LEVEL": "ERROR"}
for _name, _value in {**QUIET, **_ENVIRONMENT}.items():
    os.environ.setdefault(_name, _value)

import numpy as np
import ray
import torch

from benchmarks.timing import nothing
from configs.load import load_config
from configs.schema import RunConfig
from data.prompts import PromptBuilder
from data.records import Completion, Example, FloatArray, Group, GroupSample, Prompt
from demo.checkpoint import SPECIAL_TOKENS, build_checkpoint
from launch.cluster import Places
from rollout.pool import EnginePool
from trainer.learner import Learner
from trainer.learner_group import LearnerGroup
from trainer.learner_spec import LearnerSpec

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "tiny.yaml"
"""The shipped CPU configuration: what is measured is what a user runs."""

ON_CUDA = (
    "model.dtype=bfloat16",
    "model.attention=flex",
    "rollout.enforce_eager=false",
    "rollout.colocate=true",
    "rollout.kv_cache_gib=4",
    "sync.transport=ipc",
)
"""Settings over `CONFIG` that come with `device=cuda`: learner and engine share one GPU. With two,
`rollout.colocate=false sync.transport=nccl` gives each its own."""

SAMPLE_RATE_HZ = 16_000


@contextmanager
def tiny_run(
    *overrides: str, hidden_size: int = 128, num_layers: int = 4
) -> Iterator[tuple[RunConfig, PromptBuilder]]:
    """Yield a configuration, whose model has random weights in a temporary folder.

    Args:
        overrides: `key=value` settings over configs/tiny.yaml; later ones win. With `model.path` no
            model is made, and with `device=cuda` the settings of `ON_CUDA` come first.
        hidden_size: see `demo.checkpoint.build_checkpoint`; 1.3 million weights by default.
        num_layers: layers of its language model.

    Yields:
        The configuration and the prompt builder of its model.
    """
    defaults = ON_CUDA if device_of(overrides) == "cuda" else ()
    with tempfile.TemporaryDirectory() as folder:
        if not any(item.startswith("model.path=") for item in overrides):
            path = Path(folder) / "model"
            build_checkpoint(path, hidden_size=hidden_size, num_layers=num_layers)
            defaults = (*defaults, f"model.path={path}")
        config = load_config(CONFIG, [*defaults, *overrides])
        print(f"{device_name(config)}, {config.model.dtype}, {config.model.attention}", flush=True)
        yield config, PromptBuilder(config.model.path, config.data)


def device_name(config: RunConfig) -> str:
    """Return what a run computes on.

    Raises:
        SystemExit: the device is `cuda`, and there is none.
    """
    if config.device == "cpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise SystemExit("device=cuda, but torch finds no CUDA device here")
    return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"


def device_wait(config: RunConfig) -> Callable[[], None]:
    """Return what waits until the GPU of this process is idle; nothing on a CPU."""
    return torch.cuda.synchronize if config.device == "cuda" else nothing


def endless(builder: PromptBuilder) -> tuple[int, ...]:
    """Return the forbidden tokens plus the end token: completions then have exactly full length."""
    return (*builder.forbidden_token_ids, builder.end_token_id)


def make_engines(config: RunConfig, builder: PromptBuilder, places: Places) -> EnginePool:
    """Return the engines of a run, whose completions never end early; Ray is connected.

    On the GPU of a learner rank an engine takes what the rank leaves, so the learner starts first.
    """
    spec = replace(EngineSpec.of(config, builder), forbidden_token_ids=endless(builder))
    return EnginePool(spec, places.engines)


def make_learner(config: RunConfig, builder: PromptBuilder, places: Places) -> LearnerGroup:
    """Return the learner ranks that go with `make_engines`; Ray is connected."""
    return LearnerGroup(config, forbidden_token_ids=endless(builder), actor_options=places.learners)


def start_learner(config: RunConfig, forbidden_token_ids: Sequence[int]) -> Learner:
    """Return a learner of one rank in this process."""
    meeting = socket.socket()
    meeting.bind(("127.0.0.1", 0))
    spec = LearnerSpec(config, 0, 1, tuple(forbidden_token_ids))
    return Learner(spec, *meeting.getsockname(), meeting)


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
        shared: features as references into Ray's shared memory instead of arrays.
    """
    draw = np.random.default_rng(seed)
    examples = [make_example(config, f"clip-{seed}-{i}", i) for i in range(num_prompts)]
    return [make_prompt(builder, e, make_clip(duration_s, draw), shared=shared) for e in examples]


def make_example(config: RunConfig, name: str, number: int) -> Example:
    """Return an example with one of the labels of a run."""
    choices = tuple(config.data.choices)
    label = choices[number % len(choices)]
    return Example(name, f"{number}.wav", label, config.data.question, choices)


def make_prompt(
    builder: PromptBuilder, example: Example, clip: FloatArray, *, shared: bool
) -> Prompt:
    """Return the prompt of an example about a clip [S]; `shared` as in `make_prompts`."""
    features = builder.extract_features(clip)
    return builder.build(example, ray.put(features) if shared else features, features.shape[1])


def make_samples(
    prompts: Sequence[Prompt], *, group_size: int, min_tokens: int, max_tokens: int, seed: int
) -> list[GroupSample]:
    """Return a group of random completions per prompt, with normal advantages.

    Args:
        max_tokens: longest completion; lengths are uniform between the two.
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
