"""Truncated sampling: the engine's log-probabilities are the learner's, token by token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from configs.load import load_config
from data.prompts import PromptBuilder, prompt_function
from data.records import Completion, Group, GroupSample, Prompt
from data.splits import read_data
from launch.preflight import ROOT
from rollout.engine import EngineSpec, RolloutEngine, SampleRequest
from trainer.head import EVERYTHING
from trainer.logprobs import PackedPolicy, sampling_options, to_device
from trainer.packing import build_row
from trainer.policy import load_thinker, prepare_thinker

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MAX_GAP = 1e-4
NUM_CLIPS = 4


def test_engine_and_learner_agree_on_truncated_probabilities(
    corpus: Path, tiny_checkpoint: Path
) -> None:
    config = load_config(
        ROOT / "configs" / "tiny.yaml",
        [
            f"model.path={tiny_checkpoint}",
            f"data.manifest={corpus / 'manifest.jsonl'}",
            f"data.audio_root={corpus}",
            "rollout.temperature=0.9",
            "rollout.top_p=0.9",
            "rollout.top_k=300",
        ],
    )
    builder = PromptBuilder(config.model.path, config.data)
    build = prompt_function(builder, config.data)
    prompts = [build(row) for row in read_data(config).train[:NUM_CLIPS]]
    groups = sampled(RolloutEngine(EngineSpec.of(config, builder)), prompts)
    engine = np.concatenate([c.rollout_logprobs for g in groups for c in g.completions])
    assert len(engine) > 200

    thinker = load_thinker(config.model.path, "float32", torch.device("cpu"))
    prepare_thinker(thinker, config.model)
    options = sampling_options(config)
    learner = logprobs_of(thinker, builder, groups, config.rollout.temperature, options)
    assert np.abs(learner - engine).max() < MAX_GAP
    # The test would see a learner that knows nothing of it: by the log of the kept share.
    whole = logprobs_of(
        thinker, builder, groups, config.rollout.temperature, {"truncation": EVERYTHING}
    )
    assert np.abs(whole - engine).mean() > 0.05


def sampled(engine: RolloutEngine, prompts: list[Prompt]) -> list[Group]:
    requests = [SampleRequest(prompt, 4, seed=100 * i) for i, prompt in enumerate(prompts)]
    found: dict[int, tuple[Completion, ...]] = {}
    for batch in engine.generate(requests, greedy=False):
        for position, completions in batch:
            assert isinstance(completions, tuple) and isinstance(completions[0], Completion)
            found[position] = completions
    return [Group(prompt, found[i], i) for i, prompt in enumerate(prompts)]


@torch.no_grad()
def logprobs_of(thinker, builder, groups, temperature, options) -> np.ndarray:
    policy = PackedPolicy(
        thinker,
        attention="sdpa",
        temperature=temperature,
        forbidden_token_ids=builder.forbidden_token_ids,
        chunk_tokens=64,
        float32_head=False,
        **options,
    )
    scores = []
    for group in groups:
        num = len(group.completions)
        sample = GroupSample(group, np.zeros(num, np.float32), np.ones(num, np.bool_))
        row = build_row([sample], [[1.0] * num])
        tensors = to_device(row, row.features, torch.device("cpu"), "sdpa", torch.float32)
        scores.append(policy(tensors).logprobs.numpy())
    return np.concatenate(scores)
