"""Differences between engine and learner that no error would show: the gate of the start sees them.

The engine's side is the same checkpoint in a second policy, whose log-probabilities of its own
tokens the groups carry. A bug is planted on one of the two sides, for real: in weights, in a row,
in the head or in the attention. `test_silent_stack.py` does the same to a real engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from configs.schema import LossConfig, ModelConfig, ParityConfig
from data.records import GroupSample, Microbatch
from tests.unit.make_samples import NUM_MELS, make_clip_sample, make_sample
from trainer.logprobs import PackedPolicy, to_device
from trainer.losses import FrozenScores, policy_terms
from trainer.packing import build_row, completion_weights
from trainer.parity import ParityError, check_parity, compare
from trainer.policy import load_thinker, prepare_thinker

pytestmark = pytest.mark.slow

AUDIO = 3
FORBIDDEN = (AUDIO, 6)
CPU = torch.device("cpu")
LIMITS = ParityConfig()
CLIPS = [
    make_clip_sample(120, [7, 13, 5], audio_token_id=AUDIO, seed=1),
    make_clip_sample(120, [11, 1, 18], audio_token_id=AUDIO, seed=2),
]


def policy_of(
    path: Path, temperature: float = 1.0, forbidden: Sequence[int] = FORBIDDEN
) -> PackedPolicy:
    thinker = load_thinker(path, "float32")
    prepare_thinker(thinker, ModelConfig())
    return PackedPolicy(
        thinker,
        attention="sdpa",
        temperature=temperature,
        forbidden_token_ids=forbidden,
        chunk_tokens=1024,
        float32_head=False,
    )


def row_of(samples: Sequence[GroupSample]) -> Microbatch:
    return build_row(samples, completion_weights(samples, "token_mean"))


@torch.no_grad()
def score(policy: PackedPolicy, row: Microbatch) -> np.ndarray:
    tensors = to_device(row, row.features, CPU, "sdpa", torch.float32)
    return policy(tensors).logprobs.numpy()


class Pair:
    """Engine and learner of the same weights, and groups that the engine has sampled."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine, self.learner = policy_of(path), policy_of(path)
        with torch.no_grad():
            # A fresh checkpoint says nearly the same of all tokens; a trained one does not.
            for policy in (self.engine, self.learner):
                policy.thinker.lm_head.weight.mul_(4.0)

    def gate(self, learner_row: Callable[[Microbatch], Microbatch] = lambda row: row) -> None:
        """Do what `launch.build` does before step 1."""
        row = row_of(CLIPS)
        sampled, scored = score(self.engine, row), score(self.learner, learner_row(row))
        ends = np.cumsum([len(c.token_ids) for s in CLIPS for c in s.group.completions])[:-1]
        ours, theirs = np.split(scored, ends), np.split(sampled, ends)
        groups, by_learner = [], []
        for number, sample in enumerate(CLIPS):
            part = slice(3 * number, 3 * number + 3)
            completions = tuple(
                replace(completion, rollout_logprobs=values)
                for completion, values in zip(sample.group.completions, theirs[part], strict=True)
            )
            groups.append(replace(sample.group, completions=completions))
            by_learner.append(ours[part])
        check_parity(compare(groups, by_learner), LIMITS)


@pytest.fixture(scope="module")
def pair(tiny_checkpoint: Path) -> Pair:
    return Pair(tiny_checkpoint)


@pytest.fixture(autouse=True)
def undone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Put the weights of both sides back, and check that the gate passes again."""
    yield
    if "pair" in request.fixturenames:
        request.getfixturevalue("pair").gate()


def at_the_gate(name: str) -> pytest.MarkDecorator:
    return pytest.mark.fault(
        name,
        happens="the gate before the first step refuses to train; in a run, "
        "`policy/logprob_gap` jumps",
        lost="nothing at the start",
    )


def test_without_a_bug_the_gate_passes(pair: Pair):
    pair.gate()


WEIGHTS = {
    "no weights are synced": "",
    "one layer is not synced": "model.layers.0.mlp.",
    "one bias is not synced": "model.layers.1.self_attn.q_proj.bias",
    "the embedding is not synced": "model.embed_tokens.",
    "the head is not synced": "lm_head.",
    "the frozen audio tower drifts": "audio_tower.",
    "a norm is not synced": "model.norm.",
}


@pytest.mark.parametrize("bug", [pytest.param(bug, marks=at_the_gate(bug)) for bug in WEIGHTS])
def test_weights_that_are_not_the_learners(pair: Pair, bug: str):
    weights = {
        name: weight
        for name, weight in pair.learner.thinker.named_parameters()
        if name.startswith(WEIGHTS[bug]) and weight.is_floating_point()
    }
    assert weights
    old = {name: weight.detach().clone() for name, weight in weights.items()}
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in weights.values():
            # As an update of a run at work changes them.
            weight.add_(0.05 * torch.randn_like(weight))
    try:
        with pytest.raises(ParityError, match="worst clip: clip-"):
            pair.gate()
    finally:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(old[name])


HEADS: dict[str, dict[str, Any]] = {
    "temperature differs": {"temperature": 0.9},
    "forbidden tokens are not masked by the engine": {"forbidden": ()},
    "one more token is forbidden to the engine": {"forbidden": (*FORBIDDEN, 40)},
}


@pytest.mark.parametrize("bug", [pytest.param(bug, marks=at_the_gate(bug)) for bug in HEADS])
def test_heads_that_differ(pair: Pair, bug: str):
    good = pair.engine
    pair.engine = policy_of(pair.path, **HEADS[bug])
    pair.engine.thinker.load_state_dict(good.thinker.state_dict())
    try:
        with pytest.raises(ParityError):
            pair.gate()
    finally:
        pair.engine = good


def with_features(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Microbatch], Microbatch]:
    return lambda row: replace(row, features=tuple(change(array) for array in row.features))


def padded_left(array: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((NUM_MELS, 4), np.float32), array[:, :-4]], axis=1)


def silenced(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array[:, :-8], np.zeros((NUM_MELS, 8), np.float32)], axis=1)


ROWS: dict[str, Callable[[Microbatch], Microbatch]] = {
    "features are padded on the left": with_features(padded_left),
    "the end of the features is padding": with_features(silenced),
    "features are scaled": with_features(lambda array: 1.5 * array),
    "mel bins are upside down": with_features(lambda array: array[::-1].copy()),
    "the clip is that of another prompt (a stale clip cache)": lambda row: replace(
        row, features=row.features[::-1]
    ),
    "positions of the completions are off by one": lambda row: replace(
        row, positions=row.positions + (row.segment_ids > 0)
    ),
    "log-probabilities are shifted by one token": lambda row: replace(row, source=row.source - 1),
    "a completion sees the one before it": lambda row: replace(
        row, segment_ids=np.minimum(row.segment_ids, 1)
    ),
}


@pytest.mark.parametrize("bug", [pytest.param(bug, marks=at_the_gate(bug)) for bug in ROWS])
def test_rows_that_differ(pair: Pair, bug: str):
    with pytest.raises(ParityError):
        pair.gate(ROWS[bug])


@pytest.mark.fault(
    "a prompt has more or fewer audio placeholders than the clip has embeddings",
    happens="an error that states both numbers",
    lost="nothing at the start",
)
@pytest.mark.parametrize("num_placeholders", [9, 11])
def test_a_wrong_number_of_placeholders(pair: Pair, num_placeholders: int):
    clip = np.zeros((NUM_MELS, 40), np.float32)
    sample = make_sample([1, *[AUDIO] * num_placeholders, 2], [[7, 8]], features=clip)
    with pytest.raises(ValueError, match=f"{num_placeholders} audio placeholders for 10 audio"):
        score(pair.learner, row_of([sample]))


@pytest.mark.fault(
    "the engine goes on with old weights during a run",
    happens="`policy/logprob_gap` is a hundred times that of a sound step",
    lost="until somebody looks at the metric; the importance weights bound the damage",
)
def test_a_gap_in_the_middle_of_a_run_shows_in_the_metric(pair: Pair):
    row = row_of(CLIPS)
    sampled = score(pair.engine, row)

    def gap() -> float:
        now = torch.from_numpy(score(pair.learner, row))
        measured = replace(row, rollout_logprobs=sampled)
        frozen = FrozenScores(now, None)
        _, metrics = policy_terms(now, measured, frozen, LossConfig(kl_coef=0))
        return float(metrics["policy/logprob_gap"].mean())

    sound = gap()
    weight = pair.learner.thinker.model.layers[0].mlp.up_proj.weight
    old = weight.detach().clone()
    with torch.no_grad():
        weight.add_(0.05 * torch.randn_like(weight))
    stale = gap()
    with torch.no_grad():
        weight.copy_(old)
    assert stale > 100 * max(sound, 1e-6) and gap() == sound
