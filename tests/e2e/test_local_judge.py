"""The local judge on the real engine: right, steady, it hears the clip, and it fails in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from numpy.typing import NDArray
from transformers import Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration

from configs.schema import DataConfig
from data.prompts import PromptBuilder
from data.records import Example, FloatArray, Prompt
from launch.preflight import ROOT
from rewards.judges.base import DIMENSIONS, JudgeContext, Judgement
from rewards.judges.local import SYSTEM_PROMPT, LocalJudge
from rewards.judges.prompt import SCORES, JudgePrompt

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

PROMPT_FILE = str(ROOT / "demo" / "judge_prompt.txt")
MAX_MODEL_LEN = 512
REASONINGS = [
    "the voice is high and loud and the pace is fast, so the speaker is angry.",
    "calm.",
    "low pitch, slow pace; the words say nothing of it. the speaker sounds sad to me.",
    "the pitch rises at the end of the sentence, which is a question, or surprise.",
]
BATCH_GAP = 1e-5
"""What sharing a batch may change in a score; measured: 5e-7."""

TRANSFORMERS_GAP = 1e-4
"""Measured: 7e-7."""


def clip(seed: int) -> FloatArray:
    """Return 1.3 s of noise with a slow swell, [S] float32."""
    rng = np.random.default_rng(seed)
    swell = np.sin(np.linspace(0, (seed + 1) * np.pi, 20_800)) ** 2
    return (0.2 * swell * rng.standard_normal(20_800)).astype(np.float32)


@pytest.fixture(scope="module")
def prompts(tiny_checkpoint: Path) -> list[Prompt]:
    """Return the prompts of four clips."""
    config = DataConfig(manifest="", audio_root="", system_prompt="")
    builder = PromptBuilder(tiny_checkpoint, config)
    built: list[Prompt] = []
    for seed in range(4):
        features = builder.extract_features(clip(seed))
        example = Example(f"clip-{seed}", "", "sad", "Which emotion?", ("sad", "happy"))
        built.append(builder.build(example, features, features.shape[1]))
    return built


class JudgeActor:
    """A local judge in a process of its own, as a reward worker holds it."""

    def __init__(self, model_path: str, scoring: str) -> None:
        self._judge = LocalJudge(
            JudgeContext("", "cpu"),
            model_path=model_path,
            scoring=scoring,
            prompt_file=PROMPT_FILE,
            max_model_len=MAX_MODEL_LEN,
            kv_cache_gib=0.25,
            dtype="float32",
        )

    def judge(self, prompt: Prompt, reasonings: list[str]) -> list[Judgement]:
        return self._judge.judge(prompt, reasonings)

    def judge_at_once(self, prompt: Prompt, reasonings: list[str]) -> list[Judgement]:
        return self._judge._judge(prompt, reasonings, deadline_s=0.0)

    def close(self) -> None:
        self._judge.close()


@pytest.fixture(scope="module")
def start(tiny_checkpoint: Path) -> Iterator[Any]:
    """Return a function that starts a judge which four threads may call at a time."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)

    def actor(scoring: str) -> Any:
        kind = ray.remote(JudgeActor).options(num_cpus=0.01, max_concurrency=4)
        return kind.remote(str(tiny_checkpoint), scoring)

    yield actor
    ray.shutdown()


@pytest.fixture(scope="module")
def digits(start: Any) -> Any:
    return start("digits")


@pytest.fixture(scope="module")
def json_judge(start: Any) -> Any:
    return start("json")


def table(judgements: list[Judgement]) -> NDArray[np.float64]:
    """Return [R, 4] scores; all must be there."""
    assert [judgement.missing for judgement in judgements] == [""] * len(judgements)
    rows = [[judgement.scores[name] for name in DIMENSIONS] for judgement in judgements]
    return np.array(rows, np.float64)


@torch.no_grad()
def by_transformers(checkpoint: Path, audio: FloatArray, prompt: Prompt) -> NDArray[np.float64]:
    """Return [R, 4] scores by the checkpoint's files and a waveform alone."""
    kind = Qwen2_5OmniThinkerForConditionalGeneration
    model = kind.from_pretrained(checkpoint, dtype=torch.float32)
    processor: Any = Qwen2_5OmniProcessor.from_pretrained(checkpoint)
    digits = processor.tokenizer.convert_tokens_to_ids([str(score) for score in SCORES])
    rows = []
    for reasoning in REASONINGS:
        text = (
            f"<|im_start|>system\n{SYSTEM_PROMPT}<|im_end|>\n<|im_start|>user\n"
            "<|audio_bos|><|AUDIO|><|audio_eos|>"
            f"{JudgePrompt(PROMPT_FILE).render(prompt, reasoning)}<|im_end|>\n"
            "<|im_start|>assistant\n"
        )
        for name in DIMENSIONS:
            inputs = processor(text=f'{text}{{"{name}":', audio=[audio], return_tensors="pt")
            probs = model(**inputs).logits[0, -1, digits].softmax(-1)
            rows.append(float(probs @ torch.tensor(SCORES, dtype=torch.float32)))
    return np.array(rows).reshape(-1, len(DIMENSIONS))


def test_scores_are_those_of_a_plain_forward_pass(
    digits: Any, prompts: list[Prompt], tiny_checkpoint: Path
):
    found = ray.get(digits.judge.remote(prompts[0], REASONINGS))
    expected = by_transformers(tiny_checkpoint, clip(0), prompts[0])
    np.testing.assert_allclose(table(found), expected, rtol=0, atol=TRANSFORMERS_GAP)
    # Else the comparison would prove little.
    assert np.ptp(expected, axis=0).min() > 50 * TRANSFORMERS_GAP
    assert np.ptp(expected, axis=1).min() > 50 * TRANSFORMERS_GAP
    for judgement in found:
        assert all(1.0 < score < 5.0 for score in judgement.scores.values())
        assert judgement.details["calls"] == judgement.details["completion_tokens"] == 4
        assert judgement.details["prompt_tokens"] > 4 * 100
        assert 0.0 < judgement.details["digit_mass"] < 1.0
        assert judgement.details["latency_s"] > 0.0


def test_the_company_in_the_batch_changes_nothing(digits: Any, prompts: list[Prompt]):
    calls = [digits.judge.remote(prompt, REASONINGS) for prompt in prompts]  # four threads
    together = [table(judgements) for judgements in ray.get(calls)]
    for prompt, scores in zip(prompts, together, strict=True):
        alone = [ray.get(digits.judge.remote(prompt, [text])) for text in REASONINGS]
        np.testing.assert_allclose(
            np.concatenate([table(found) for found in alone]), scores, rtol=0, atol=BATCH_GAP
        )
        backwards = table(ray.get(digits.judge.remote(prompt, REASONINGS[::-1])))
        np.testing.assert_allclose(backwards[::-1], scores, rtol=0, atol=BATCH_GAP)


def test_it_hears_the_clip(digits: Any, prompts: list[Prompt]):
    one, other = (table(ray.get(digits.judge.remote(p, REASONINGS))) for p in prompts[:2])
    assert np.abs(one - other).min(axis=1).max() > 20 * BATCH_GAP


def test_what_does_not_fit_is_missing_and_the_rest_is_scored(digits: Any, prompts: list[Prompt]):
    texts = [REASONINGS[0], "high pitch and low pace, " * 40, REASONINGS[1]]
    first, long, last = ray.get(digits.judge.remote(prompts[0], texts))
    assert long.missing == "too long"
    assert long.scores == dict.fromkeys(DIMENSIONS)
    whole = table(ray.get(digits.judge.remote(prompts[0], REASONINGS[:2])))
    np.testing.assert_allclose(table([first, last]), whole, rtol=0, atol=BATCH_GAP)
    assert ray.get(digits.judge.remote(prompts[0], [])) == []


def test_an_answer_after_the_deadline_is_missing(digits: Any, prompts: list[Prompt]):
    found = ray.get(digits.judge_at_once.remote(prompts[0], REASONINGS))
    assert [judgement.missing for judgement in found] == ["timeout"] * len(REASONINGS)
    table(ray.get(digits.judge.remote(prompts[0], REASONINGS)))  # the engine goes on


def test_a_clip_that_breaks_the_numbers_gives_no_score(digits: Any, prompts: list[Prompt]):
    broken = replace(prompts[0], features=np.full_like(prompts[0].features, np.nan))
    (judgement,) = ray.get(digits.judge.remote(broken, REASONINGS[:1]))
    assert judgement.missing == "not finite"
    assert judgement.scores == dict.fromkeys(DIMENSIONS)
    table(ray.get(digits.judge.remote(prompts[0], REASONINGS)))  # the others are not touched


def test_json_scores_are_whole_numbers(json_judge: Any, prompts: list[Prompt]):
    calls = [json_judge.judge.remote(prompt, REASONINGS) for prompt in prompts]
    scores = np.concatenate([table(judgements) for judgements in ray.get(calls)])
    assert set(scores.ravel()) <= set(SCORES)
    (one,) = ray.get(json_judge.judge.remote(prompts[0], REASONINGS[:1]))
    np.testing.assert_array_equal(table([one])[0], scores[0])
    assert one.details["calls"] == 1
    assert 50 < one.details["completion_tokens"] < 160


def test_a_broken_engine_is_a_reason_not_a_hang(json_judge: Any, prompts: list[Prompt]):
    # Half the mel bins: the audio encoder fails in the middle of a batch.
    broken = replace(prompts[0], features=np.ascontiguousarray(prompts[0].features[:64]))
    found = ray.get(json_judge.judge.remote(broken, REASONINGS), timeout=60)
    found += ray.get(json_judge.judge.remote(prompts[0], REASONINGS[:1]), timeout=60)
    assert [judgement.missing for judgement in found] == ["engine stopped"] * 5
    assert "Error" in found[0].details["error"]
    ray.get(json_judge.close.remote(), timeout=60)


def test_a_closed_judge_answers_nothing(digits: Any, prompts: list[Prompt]):
    table(ray.get(digits.judge.remote(prompts[0], REASONINGS)))
    ray.get(digits.close.remote(), timeout=60)
    (judgement,) = ray.get(digits.judge.remote(prompts[0], REASONINGS[:1]), timeout=60)
    assert (judgement.missing, judgement.details["error"]) == ("engine stopped", "closed")
