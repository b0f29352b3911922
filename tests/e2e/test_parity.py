"""Export, engine and learner are the same policy: as read from disk, after updates, never stale."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from transformers import Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration

from configs.load import load_config
from configs.schema import RunConfig
from data.audio import read_audio
from data.prompts import FORBIDDEN_LOGIT, PromptBuilder, prompt_function
from data.records import FloatArray, Group, GroupSample, Prompt
from data.splits import read_data
from launch.cluster import connect, place
from rollout.engine import EngineSpec, RolloutError
from rollout.pool import EnginePool
from tests.e2e.command import RunFiles
from trainer.checkpoint import latest_checkpoint
from trainer.learner_group import LearnerGroup
from trainer.loop import sync_weights
from trainer.parity import ParityReport, compare, measure_parity

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NUM_CLIPS = 16
MAX_GAP = 2e-3
LEARNING_RATE = 1e-3


@dataclass
class Stack:
    """An engine and a learner with the same weights, and prompts for them."""

    config: RunConfig
    builder: PromptBuilder
    prompts: Sequence[Prompt]
    engines: EnginePool
    learner: LearnerGroup
    version: int = 0

    def sample(self, seed: int) -> list[Group]:
        """Return groups of the first clips, in the order of the prompts."""
        return in_order(self.engines.generate(self.prompts, num_completions=2, seed=seed))

    def gap_on(self, groups: Sequence[Group]) -> ParityReport:
        return compare(groups, self.learner.logprobs(groups))

    def update(self, seed: int) -> None:
        """Train on own samples with arbitrary advantages; the engine keeps the old weights."""
        rng = np.random.default_rng(seed)
        samples = [
            GroupSample(group, rng.standard_normal(2).astype(np.float32), np.ones(2, np.bool_))
            for group in self.sample(seed)
        ]
        figures = self.learner.update(samples, LEARNING_RATE)
        assert figures["optim/skipped"] == 0

    def sync(self) -> None:
        self.version += 1
        sync_weights(self.learner, self.engines, self.version)


def in_order(groups: Iterator[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: group.prompt.example.id)


def tokens_of(groups: Sequence[Group]) -> list[list[int]]:
    return [c.token_ids.tolist() for group in groups for c in group.completions]


def flat_logprobs(stack: Stack, groups: Sequence[Group]) -> FloatArray:
    return np.concatenate([row for rows in stack.learner.logprobs(groups) for row in rows])


@pytest.fixture(scope="module")
def stack(finished_run: RunFiles) -> Iterator[Stack]:
    """Start from what a run has exported; weights may come while the engine samples."""
    overrides = [
        f"model.path={finished_run.root / 'export'}",
        "loss.kl_coef=0",
        "async.max_staleness=1",
        "async.in_flight=true",
    ]
    config = load_config(finished_run.root / "config.yaml", overrides)
    connect(config)
    builder = PromptBuilder(config.model.path, config.data)
    build = prompt_function(builder, config.data, ray.put)
    learner = LearnerGroup(
        config,
        forbidden_token_ids=builder.forbidden_token_ids,
        actor_options=place(config).learners,
    )
    engines = EnginePool(EngineSpec.of(config, builder), place(config).engines)
    learner.start()
    engines.start()
    learner.connect(engines.actors)
    prompts = [build(row) for row in read_data(config).train[:NUM_CLIPS]]
    yield Stack(config, builder, prompts, engines, learner)
    learner.close()
    engines.close()
    ray.shutdown()


@torch.no_grad()
def by_transformers(stack: Stack, groups: Sequence[Group]) -> FloatArray:
    """Return log-probs [all tokens, V] of one answer per group, by the export's files alone."""
    path = stack.config.model.path
    model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(path, dtype=torch.float32)
    processor = Qwen2_5OmniProcessor.from_pretrained(path)
    scored = []
    for group in groups:
        clip = Path(stack.config.data.audio_root) / group.prompt.example.audio
        audio = read_audio(clip, min_duration_s=0.1, max_duration_s=30)
        inputs = processor(text=group.prompt.text, audio=[audio], return_tensors="pt")
        assert inputs["input_ids"][0].tolist() == group.prompt.token_ids.tolist()
        answer = torch.tensor(group.completions[0].token_ids)[None]
        inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        logits = model(**inputs).logits[0, -answer.shape[1] - 1 : -1]
        logits[:, stack.builder.forbidden_token_ids] += FORBIDDEN_LOGIT
        scored.append(torch.log_softmax(logits, -1))
    return torch.cat(scored).numpy()


def test_the_export_is_the_last_policy_for_every_reader(
    stack: Stack, finished_run: RunFiles
) -> None:
    # The engine has read the export, and its answers are those of the likeliest tokens.
    groups = in_order(stack.engines.generate(stack.prompts[:4], greedy=True))
    tokens = np.concatenate([group.completions[0].token_ids for group in groups])
    assert len(tokens) > 20
    exported = by_transformers(stack, groups)
    of_tokens = np.take_along_axis(exported, tokens[:, None], axis=1)[:, 0]
    # A token may differ only where two are as likely, up to rounding.
    assert (exported.max(axis=1) - of_tokens).max() < MAX_GAP

    checkpoint = latest_checkpoint(finished_run.root / "checkpoints")
    assert checkpoint is not None and checkpoint.step == stack.config.train.num_steps
    stack.learner.load(checkpoint.path)
    np.testing.assert_allclose(flat_logprobs(stack, groups), of_tokens, rtol=0, atol=1e-4)


def test_engine_and_learner_agree_before_and_after_updates(stack: Stack) -> None:
    first = stack.sample(seed=0)
    before = flat_logprobs(stack, first)
    assert stack.gap_on(first).max_gap < MAX_GAP
    for number in range(5):
        stack.update(seed=number)
        stack.sync()
    moved = np.abs(flat_logprobs(stack, first) - before).max()
    assert moved > 0.01  # else the next line would prove nothing
    assert measure_parity(stack.engines, stack.learner, stack.prompts, seed=9).max_gap < MAX_GAP


def test_new_weights_without_a_cache_reset_are_noticed(stack: Stack) -> None:
    stack.sample(seed=1)  # the engine now holds these clips and prompts in its caches
    stack.update(seed=1)
    stack.learner.send_weights()
    (actor,) = stack.engines.actors
    ray.get(actor.__ray_call__.remote(put_in_service))
    assert stack.gap_on(stack.sample(seed=2)).max_gap > 1e-2

    # Without the key-value prefixes, the stale embeddings of the clips are still there.
    ray.get(actor.__ray_call__.remote(drop_prefixes))
    assert stack.gap_on(stack.sample(seed=3)).max_gap > 1e-2

    stack.version += 1
    stack.engines.activate(stack.version)
    assert stack.gap_on(stack.sample(seed=2)).max_gap < MAX_GAP


def put_in_service(engine: Any) -> None:
    """What `activate` does, without the caches."""
    engine._serving.set()


def drop_prefixes(engine: Any) -> None:
    assert engine._llm.reset_prefix_cache()


def test_the_same_seed_gives_the_same_tokens(stack: Stack) -> None:
    once, again, other = (tokens_of(stack.sample(seed=seed)) for seed in (5, 5, 6))
    assert once == again
    assert once != other


def test_completions_hold_no_forbidden_token(stack: Stack) -> None:
    forbidden = set(stack.builder.forbidden_token_ids)
    assert stack.builder.audio_token_id in forbidden
    tokens = [token for row in tokens_of(stack.sample(seed=7)) for token in row]
    # A policy this untrained would write them: there are about as many as 1 in 50 tokens.
    assert len(tokens) * len(forbidden) / 512 > 5
    assert not forbidden & set(tokens)


def test_a_prompt_that_the_engine_reads_otherwise_is_refused(stack: Stack) -> None:
    prompt = stack.prompts[3]
    shorter = replace(prompt, token_ids=np.delete(prompt.token_ids, 2))
    with pytest.raises(Exception, match=f"example '{prompt.example.id}'") as refusal:
        list(stack.engines.generate([shorter], num_completions=2))
    assert isinstance(refusal.value, RolloutError), type(refusal.value)
    # The engine lives on.
    assert stack.gap_on(stack.sample(seed=8)).max_gap < MAX_GAP


def test_weights_that_come_while_the_engine_samples_score_what_comes_after_them(
    stack: Stack,
) -> None:
    """Every token's log-prob is that of the weights which sampled it."""
    num_mixed = 0
    for attempt, delay_s in enumerate((0.05, 0.1, 0.2, 0.3)):
        stack.sync()
        seed, old = 40 + attempt, stack.version
        undisturbed = in_order(stack.engines.generate(stack.prompts, seed=seed, num_completions=8))
        stack.update(seed)
        sampling = stack.engines.generate(stack.prompts, seed=seed, num_completions=8)
        time.sleep(delay_s)
        stack.sync()
        groups = in_order(sampling)
        by_new = stack.learner.logprobs(groups)
        for group, before, rows in zip(groups, undisturbed, by_new, strict=True):
            for ours, theirs, new in zip(group.completions, before.completions, rows, strict=True):
                assert ours.policy_version == old
                n = min(len(ours.token_ids), len(theirs.token_ids))
                same = ours.token_ids[:n] == theirs.token_ids[:n]
                same &= np.abs(ours.rollout_logprobs[:n] - theirs.rollout_logprobs[:n]) < MAX_GAP
                num_old = len(same) if same.all() else int(np.argmin(same))
                gaps = np.abs(ours.rollout_logprobs - new)
                # Both policies may agree on a token, so the new one may have come earlier.
                assert gaps[num_old:].max(initial=0) < MAX_GAP
                num_mixed += (
                    0 < num_old < len(ours.token_ids) and gaps[:num_old].max() > 5 * MAX_GAP
                )
    assert num_mixed > 20
