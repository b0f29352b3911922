"""Packed rows give the numbers of padded rows through the plain transformers model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import Qwen2_5OmniThinkerForConditionalGeneration

from configs.schema import ModelConfig
from data.prompts import FORBIDDEN_LOGIT
from data.records import GroupSample
from tests.unit.make_samples import NUM_MELS, make_clip_sample, make_sample
from trainer.logprobs import PackedPolicy, PackedRow, TokenScores, to_device
from trainer.packing import build_row, completion_weights
from trainer.policy import layer_pieces, load_thinker, prepare_thinker

pytestmark = pytest.mark.slow

AUDIO = 3
"""The tiny checkpoint's <|AUDIO|>."""
FORBIDDEN = (AUDIO, 6)
CPU = torch.device("cpu")
# Clips of 0.9 to 3.3 s: one to four windows of the audio tower's attention.
SAMPLES = [
    make_clip_sample(120, [7, 13, 5], audio_token_id=AUDIO, seed=1),
    make_clip_sample(333, [11, 1, 18], audio_token_id=AUDIO, seed=2),
    make_clip_sample(87, [9, 6], audio_token_id=AUDIO, seed=3),
]
NUM_TOKENS = 7 + 13 + 5 + 11 + 1 + 18 + 9 + 6


class Padded(NamedTuple):
    """What transformers alone says of the eight completions."""

    logits: Tensor
    """[N, V] raw logits that predict each completion token."""
    gradients: dict[str, Tensor]
    """Of sum(log-prob * advantage), forbidden tokens biased."""


def make_row(samples: Sequence[GroupSample], attention: str = "sdpa") -> PackedRow:
    row = build_row(samples, completion_weights(samples, "token_mean"))
    return to_device(row, row.features, CPU, attention, torch.float32)


def make_policy(
    path: Path,
    *,
    freeze: Sequence[str] = (),
    checkpointing: bool = False,
    attention: str = "sdpa",
    temperature: float = 1.0,
    forbidden: Sequence[int] = FORBIDDEN,
    chunk_tokens: int = 1024,
) -> PackedPolicy:
    thinker = load_thinker(path, "float32")
    prepare_thinker(thinker, ModelConfig(freeze=list(freeze), gradient_checkpointing=checkpointing))
    return PackedPolicy(
        thinker,
        attention=attention,
        temperature=temperature,
        forbidden_token_ids=forbidden,
        chunk_tokens=chunk_tokens,
        float32_head=False,
    )


def padded_logits(model: Qwen2_5OmniThinkerForConditionalGeneration) -> Tensor:
    """Logits [N, V] from one batch of eight rows, tokens and clips padded on the right."""
    rows, clips, starts = [], [], []
    for sample in SAMPLES:
        prompt = sample.group.prompt
        for completion in sample.group.completions:
            rows.append(torch.tensor(np.concatenate([prompt.token_ids, completion.token_ids])))
            clips.append(torch.from_numpy(prompt.features))
            starts.append(len(prompt.token_ids))
    length, num_frames = max(map(len, rows)), max(clip.shape[1] for clip in clips)
    tokens, token_mask = torch.zeros(2, len(rows), length, dtype=torch.long)
    frame_mask = torch.zeros(len(rows), num_frames, dtype=torch.long)
    features = torch.zeros(len(rows), NUM_MELS, num_frames)
    for i, (row, clip) in enumerate(zip(rows, clips, strict=True)):
        tokens[i, : len(row)], token_mask[i, : len(row)] = row, 1
        features[i, :, : clip.shape[1]], frame_mask[i, : clip.shape[1]] = clip, 1
    logits = model(
        input_ids=tokens,
        attention_mask=token_mask,
        input_features=features,
        feature_attention_mask=frame_mask,
    ).logits
    spans = zip(logits, starts, rows, strict=True)
    return torch.cat([row[start - 1 : len(ids) - 1] for row, start, ids in spans])


def targets() -> Tensor:
    groups = [sample.group for sample in SAMPLES]
    return torch.tensor(np.concatenate([c.token_ids for g in groups for c in g.completions]))


def token_advantages() -> Tensor:
    return torch.cat(
        [
            torch.full((len(completion.token_ids),), float(advantage))
            for sample in SAMPLES
            for completion, advantage in zip(
                sample.group.completions, sample.advantages, strict=True
            )
        ]
    )


def biased(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-distribution [N, V] with the forbidden tokens out."""
    bias = torch.zeros(logits.shape[1])
    bias[list(FORBIDDEN)] = FORBIDDEN_LOGIT
    return (logits / temperature + bias).log_softmax(-1)


def picked(distribution: Tensor) -> Tensor:
    return distribution.gather(-1, targets()[:, None])[:, 0]


@pytest.fixture(scope="module")
def padded(tiny_checkpoint: Path) -> Padded:
    model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
        tiny_checkpoint, dtype=torch.float32
    ).eval()
    text = model.config.text_config
    assert text.num_attention_heads == 2 * text.num_key_value_heads  # so GQA is covered
    logits = padded_logits(model)
    (picked(biased(logits)) * token_advantages()).sum().backward()
    weights = model.named_parameters()
    return Padded(logits.detach(), {n: w.grad for n, w in weights if w.grad is not None})


def distance(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Norm of the difference over the norm of `theirs`, over the weights of `ours`."""
    gap = sum(float((ours[name] - theirs[name]).pow(2).sum()) for name in ours)
    return math.sqrt(gap / sum(float(theirs[name].pow(2).sum()) for name in ours))


def trained_gradients(policy: PackedPolicy) -> dict[str, Tensor]:
    weights = policy.thinker.named_parameters()
    return {name: weight.grad for name, weight in weights if weight.requires_grad}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("chunk_tokens", [NUM_TOKENS, 16])
def test_packed_rows_equal_padded_rows(
    tiny_checkpoint: Path, padded: Padded, chunk_tokens: int, checkpointing: bool
):
    policy = make_policy(tiny_checkpoint, checkpointing=checkpointing, chunk_tokens=chunk_tokens)
    scores = policy(make_row(SAMPLES))
    torch.testing.assert_close(scores.logprobs, picked(biased(padded.logits)), atol=1e-5, rtol=0)
    (scores.logprobs * token_advantages()).sum().backward()
    gradients = trained_gradients(policy)
    assert gradients.keys() == padded.gradients.keys()
    assert distance(gradients, padded.gradients) < 1e-5
    for name, gradient in gradients.items():
        # Every weight's own gradient, not only the large ones.
        scale = float(padded.gradients[name].norm()) + 1e-4
        assert float((gradient - padded.gradients[name]).norm()) < 1e-4 * scale, name


@pytest.mark.parametrize("checkpointing", [False, True])
def test_compiled_pieces_of_the_layers_change_no_number(
    tiny_checkpoint: Path, padded: Padded, checkpointing: bool
):
    # What PyTorch makes of them is captured and differentiated; to let a compiler write kernels for
    # it takes a minute.
    policy = make_policy(tiny_checkpoint, checkpointing=checkpointing)
    pieces = layer_pieces(policy.thinker)
    assert len(pieces) == 3 * len(policy.thinker.model.layers)
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    for piece in pieces:
        piece.compile(dynamic=True, backend="aot_eager")
    scores = policy(make_row(SAMPLES))
    torch.testing.assert_close(scores.logprobs, picked(biased(padded.logits)), atol=1e-5, rtol=0)
    (scores.logprobs * token_advantages()).sum().backward()
    assert distance(trained_gradients(policy), padded.gradients) < 1e-5
    # Another length is no reason to compile again.
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    policy(make_row(SAMPLES[:2]))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs


@pytest.mark.parametrize("freeze", [["audio_tower"], ["audio_tower", "model.layers.0"]])
def test_a_frozen_audio_tower_gets_no_gradient_and_the_rest_the_same(
    tiny_checkpoint: Path, padded: Padded, freeze: list[str]
):
    policy = make_policy(tiny_checkpoint, freeze=freeze, checkpointing=True)
    scores = policy(make_row(SAMPLES))
    (scores.logprobs * token_advantages()).sum().backward()
    for name, weight in policy.thinker.named_parameters():
        assert (weight.grad is None) == name.startswith(tuple(f"{part}." for part in freeze)), name
    assert distance(trained_gradients(policy), padded.gradients) < 1e-5


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@torch.no_grad()
def test_flex_attention_equals_sdpa(tiny_checkpoint: Path, padded: Padded):
    # FlexAttention has no backward on CPUs; its gradients are checked on a GPU.
    policy = make_policy(tiny_checkpoint, attention="flex")
    scores = policy(make_row(SAMPLES, "flex"))
    torch.testing.assert_close(scores.logprobs, picked(biased(padded.logits)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("frames", [[120, 333, 87], [400, 200], [160, 160]])
def test_all_windows_of_the_audio_tower_at_once_equal_one_after_another(
    tiny_checkpoint: Path, frames: list[int]
):
    policy = make_policy(tiny_checkpoint)
    samples = [make_clip_sample(n, [2], audio_token_id=AUDIO, seed=i) for i, n in enumerate(frames)]
    tower = policy.thinker.audio_tower
    outcomes = []
    for attention in ("sdpa", tower.config._attn_implementation):
        tower.config._attn_implementation = attention
        tower.zero_grad()
        embeddings = policy.encode_audio(make_row(samples))
        (embeddings * torch.linspace(-1, 1, embeddings.shape[1])).sum().backward()
        gradients = torch.cat([w.grad.flatten() for w in tower.layers.parameters()])
        outcomes.append((embeddings, gradients))
    (loop, expected), (at_once, gradients) = outcomes
    torch.testing.assert_close(at_once, loop, atol=1e-5, rtol=0)
    assert (gradients - expected).norm() < 1e-5 * expected.norm()


@torch.no_grad()
def test_temperature_divides_the_logits_and_forbidden_tokens_are_out(
    tiny_checkpoint: Path, padded: Padded
):
    scores = make_policy(tiny_checkpoint, temperature=0.5)(make_row(SAMPLES))
    expected = biased(padded.logits, temperature=0.5)
    torch.testing.assert_close(scores.logprobs, picked(expected), atol=1e-5, rtol=0)
    free = make_policy(tiny_checkpoint, forbidden=())(make_row(SAMPLES))
    expected = padded.logits.log_softmax(-1)
    torch.testing.assert_close(free.logprobs, picked(expected), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("chunk_tokens", [1024, 16])
def test_entropy_is_of_the_whole_distribution(
    tiny_checkpoint: Path, padded: Padded, chunk_tokens: int
):
    scores = make_policy(tiny_checkpoint, chunk_tokens=chunk_tokens)(make_row(SAMPLES))
    distribution = biased(padded.logits)
    entropy = -(distribution.exp() * distribution).sum(-1)
    torch.testing.assert_close(scores.entropy, entropy, atol=1e-5, rtol=0)


@torch.no_grad()
def test_without_a_head_all_allowed_tokens_are_alike(tiny_checkpoint: Path):
    policy = make_policy(tiny_checkpoint)
    policy.thinker.lm_head.weight.zero_()
    sample = make_sample([1, 2, *[AUDIO] * 10], [[7, 8], [FORBIDDEN[1]]])
    row = build_row([sample], [[1.0, 1.0]])
    clip = np.zeros((NUM_MELS, 40), np.float32)
    scores: TokenScores = policy(to_device(row, [clip], CPU, "sdpa", torch.float32))
    allowed = len(policy.thinker.lm_head.weight) - len(FORBIDDEN)
    assert scores.entropy.tolist() == pytest.approx([math.log(allowed)] * 3, rel=1e-6)
    expected = [-math.log(allowed), -math.log(allowed), FORBIDDEN_LOGIT - math.log(allowed)]
    assert scores.logprobs.tolist() == pytest.approx(expected, rel=1e-6)


def test_the_gradient_of_a_row_is_the_same_every_time(tiny_checkpoint: Path):
    # All completions of a group start at the last token of its prompt, and the row is long enough
    # for threads to share its work: sums in the order of their arrival would differ.
    torch.set_num_threads(2)
    policy = make_policy(tiny_checkpoint)
    lengths = [32768 // (8 * policy.thinker.config.text_config.hidden_size) + 1] * 8
    row = make_row([make_clip_sample(120, lengths, audio_token_id=AUDIO, seed=0)])

    def gradient() -> torch.Tensor:
        policy.zero_grad()
        policy(row).logprobs.sum().backward()
        weights = policy.thinker.model.parameters()
        return torch.cat([w.grad.flatten() for w in weights if w.grad is not None])

    first = gradient()
    assert all(torch.equal(gradient(), first) for _ in range(30))


@torch.no_grad()
def test_embeddings_of_the_clips_can_be_handed_in(tiny_checkpoint: Path):
    policy = make_policy(tiny_checkpoint)
    row = make_row(SAMPLES)
    scores = policy(row)
    policy.thinker.audio_tower = None
    assert torch.equal(policy(row, scores.audio).logprobs, scores.logprobs)


@torch.no_grad()
def test_the_answer_depends_on_the_clip_of_its_own_group_only(tiny_checkpoint: Path):
    policy = make_policy(tiny_checkpoint)
    row = make_row(SAMPLES[:2])
    changed = row.features.clone()
    changed[:, 120:] += 1.0  # the second clip
    own, other = policy(row).logprobs, policy(replace(row, features=changed)).logprobs
    assert torch.allclose(own[:25], other[:25], atol=1e-6)
    assert (own[25:] - other[25:]).abs().min() > 1e-5


@pytest.mark.parametrize("num_placeholders", [9, 11])
def test_placeholders_must_match_the_clip(tiny_checkpoint: Path, num_placeholders: int):
    sample = make_sample([1, *[AUDIO] * num_placeholders, 2], [[7, 8]])
    row = build_row([sample], [[1.0]])
    clip = np.zeros((NUM_MELS, 40), np.float32)
    message = f"{num_placeholders} audio placeholders for 10 audio embeddings in a row of 1 clips"
    with pytest.raises(ValueError, match=message):
        make_policy(tiny_checkpoint)(to_device(row, [clip], CPU, "sdpa", torch.float32))


def text_sample(seed: int) -> GroupSample:
    draw = np.random.default_rng(seed)
    return make_sample(
        [1, 20, 5, 30, 31, 2, 1],
        [draw.integers(20, 300, 6).tolist()],
        advantages=[1.0],
        features=np.zeros((NUM_MELS, 0), np.float32),
        id=f"text-{seed}",
    )


def test_a_text_only_group_equals_the_plain_language_model(tiny_checkpoint: Path):
    """Beside a clip and in a row of its own: the logits of the model that hears nothing."""
    model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
        tiny_checkpoint, dtype=torch.float32
    ).eval()
    policy = make_policy(tiny_checkpoint)
    sample = text_sample(4)
    tokens = np.concatenate([sample.group.prompt.token_ids, sample.group.completions[0].token_ids])
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(tokens)[None]).logits[0, 6:-1]
        wanted = biased(logits).gather(-1, torch.tensor(tokens[7:])[:, None])[:, 0]
        alone = policy(make_row([sample])).logprobs
        beside = policy(make_row([SAMPLES[2], sample])).logprobs[-6:]
    torch.testing.assert_close(alone, wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(beside, wanted, atol=1e-5, rtol=0)


def test_a_text_only_row_runs_the_audio_tower_and_gives_it_no_gradient(tiny_checkpoint: Path):
    """Every parameter takes part in the backward pass, as ZeRO-3 needs, and the tower's stay 0."""
    policy = make_policy(tiny_checkpoint)
    policy(make_row([text_sample(5)])).logprobs.sum().backward()
    gradients = trained_gradients(policy)
    tower = {name: g for name, g in gradients.items() if "audio_tower" in name}
    assert tower and all(not g.abs().any() for g in tower.values())
    assert any(g.abs().any() for name, g in gradients.items() if name not in tower)
