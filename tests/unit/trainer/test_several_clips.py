"""Groups of no clip, one and several in one row give the numbers of transformers alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration

from configs.schema import DataConfig, ModelConfig
from data.prompts import FORBIDDEN_LOGIT, PromptBuilder
from data.records import ClipFeatures, Completion, Example, FloatArray, Group, GroupSample, Turn
from tests.fixtures import make_example, tone
from trainer.logprobs import PackedPolicy, to_device
from trainer.packing import build_row, completion_weights
from trainer.policy import load_thinker, prepare_thinker

pytestmark = pytest.mark.slow

CLIPS = {
    name: tone(150.0 + 90.0 * number, duration_s=0.5 + 0.7 * number)
    for number, name in enumerate(("a.wav", "b.wav", "c.wav", "d.wav"))
}
"""0.5 to 2.6 s: one to two windows of the audio tower's attention."""
SHORT = (Turn("user", "Where were you?", "b.wav"), Turn("assistant", "That is anger."))
ROWS = [
    make_example(0, audio="", transcript="Late."),
    make_example(1, audio="a.wav"),
    make_example(2, audio="d.wav", before=("a.wav",)),
    make_example(3, audio="c.wav", after=("d.wav",), turns=SHORT),
    make_example(4, audio="", turns=SHORT),
]
"""No clip, one, two, three around turns, and a clip in a turn alone."""


@pytest.fixture(scope="module")
def builder(tiny_checkpoint: Path) -> PromptBuilder:
    return PromptBuilder(tiny_checkpoint, DataConfig(system_prompt="Listen."))


def sample_of(example: Example, builder: PromptBuilder, seed: int) -> GroupSample:
    """Return the prompt of a row with two random completions."""
    arrays = {name: builder.extract_features(samples) for name, samples in CLIPS.items()}
    none = np.zeros((128, 0), np.float32)
    own = arrays[example.audio] if example.audio else none
    others = [arrays[name] for name in example.others]
    beside = [ClipFeatures(array, array.shape[1], array.nbytes) for array in others]
    draw = np.random.default_rng(seed)
    answers = tuple(Completion.unsampled(draw.integers(20, 300, n)) for n in (9, 4))
    prompt = builder.build(example, own, own.shape[1], beside)
    return GroupSample(Group(prompt, answers), np.ones(2, np.float32), np.ones(2, np.bool_))


@torch.no_grad()
def by_transformers(path: Path, samples: list[GroupSample], forbidden: tuple[int, ...]) -> Tensor:
    """Return [N] log-probs of all completions, one plain forward pass each."""
    model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(path, dtype=torch.float32)
    processor = Qwen2_5OmniProcessor.from_pretrained(path)
    found: list[Tensor] = []
    for sample in samples:
        prompt = sample.group.prompt
        clips: list[FloatArray] = [CLIPS[name] for name in prompt.example.clips]
        for completion in sample.group.completions:
            inputs = processor(text=prompt.text, audio=clips or None, return_tensors="pt")
            assert inputs["input_ids"][0].tolist() == prompt.token_ids.tolist()
            answer = torch.tensor(completion.token_ids)[None]
            inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], dim=1)
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
            logits = model(**inputs).logits[0, -answer.shape[1] - 1 : -1]
            logits[:, forbidden] += FORBIDDEN_LOGIT
            found.append(logits.log_softmax(-1).gather(-1, answer[0][:, None])[:, 0])
    return torch.cat(found)


@torch.no_grad()
@pytest.mark.parametrize("rows", [ROWS, ROWS[::-1], ROWS[:1]])
def test_log_probs_equal_a_plain_forward_pass(
    tiny_checkpoint: Path, builder: PromptBuilder, rows: list[Example]
) -> None:
    samples = [sample_of(example, builder, seed) for seed, example in enumerate(rows)]
    packed = build_row(samples, completion_weights(samples, "token_mean"))
    row = to_device(packed, packed.features, torch.device("cpu"), "sdpa", torch.float32)
    thinker = load_thinker(tiny_checkpoint, "float32")
    prepare_thinker(thinker, ModelConfig(freeze=[]))
    policy = PackedPolicy(
        thinker,
        attention="sdpa",
        temperature=1.0,
        forbidden_token_ids=builder.forbidden_token_ids,
        chunk_tokens=1024,
        float32_head=False,
    )
    expected = by_transformers(tiny_checkpoint, samples, builder.forbidden_token_ids)
    torch.testing.assert_close(policy(row).logprobs, expected, atol=1e-5, rtol=0)
    assert len(row.feature_lengths) == sum(len(example.clips) for example in rows)
    assert row.feature_lengths.sum() == sum(s.group.prompt.num_frames for s in samples)


def test_a_row_of_single_clips_is_the_row_of_before(builder: PromptBuilder) -> None:
    samples = [sample_of(make_example(n, audio=f"{'abcd'[n]}.wav"), builder, n) for n in range(4)]
    row = build_row(samples, completion_weights(samples, "token_mean"))
    assert [id(a) for a in row.features] == [id(s.group.prompt.features) for s in samples]
    for sample in samples:
        prompt = sample.group.prompt
        plain = builder.tokens_of(prompt.text)
        (place,) = np.flatnonzero(plain == builder.audio_token_id)
        num_tokens = ((prompt.num_frames - 1) // 2 + 1) // 2
        clip = np.full(num_tokens, builder.audio_token_id, dtype=np.int64)
        by_hand = np.concatenate([plain[:place], clip, plain[place + 1 :]])
        assert prompt.token_ids.dtype == by_hand.dtype
        assert prompt.token_ids.tobytes() == by_hand.tobytes()
