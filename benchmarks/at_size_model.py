"""Models of a released size with random weights, their work, their FLOPs and their memory.

What benchmarks/at_size.py measures with. Neither vLLM, Ray nor DeepSpeed is imported: the learner's
forward and backward pass is the project's own `PackedPolicy` over rows of `plan_update`.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Qwen2_5OmniThinkerForConditionalGeneration

from benchmarks.groups import padded_logits
from configs.schema import ModelConfig
from data.features import NUM_MEL_BINS, num_audio_tokens
from data.records import Completion, Example, Group, GroupSample, Microbatch, Prompt
from demo.checkpoint import ThinkerSize
from demo.random_checkpoint import SIZES, full_config
from trainer.logprobs import PackedPolicy, to_device
from trainer.packing import plan_update
from trainer.policy import prepare_thinker

PEAKS_TFLOPS = (
    ("H100 PCIe", 756.0),
    ("H100 NVL", 835.0),
    ("H100", 989.0),
    ("H200", 989.0),
    ("H800", 989.0),
    ("A100", 312.0),
    ("A800", 312.0),
    ("L40S", 362.0),
    ("B200", 2250.0),
)
"""Part of a device's name -> dense bfloat16 TFLOP/s without sparsity, the first that fits.

Source: the data sheets of the devices."""

FRAMES_PER_SECOND = 100
GROUP_SIZE = 8
FORBIDDEN = (7, 8)


@dataclass(frozen=True)
class Job:
    """What is measured: a size, its work and the device."""

    name: str
    size: ThinkerSize
    device: torch.device
    device_name: str
    num_prompts: int
    clip_s: float
    min_tokens: int
    max_tokens: int
    budget: int
    """Tokens of a row."""
    rounds: int
    peak_tflops: float
    """0 = not known."""

    @property
    def on_gpu(self) -> bool:
        """Whether there is anything to wait for, and memory to count."""
        return self.device.type == "cuda"

    @property
    def attentions(self) -> tuple[str, ...]:
        """Both on a GPU; FlexAttention has no backward pass on a CPU."""
        return ("flex", "sdpa") if self.on_gpu else ("sdpa",)

    def wait(self) -> None:
        """Return once the device is idle."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def peak_gb(self) -> float:
        """Return the most GB (1e9 bytes) that tensors took since `reset_peak`; 0 on a CPU."""
        return torch.cuda.max_memory_allocated() / 1e9 if self.on_gpu else 0.0

    def reset_peak(self) -> None:
        """Count the peak from here on."""
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()

    def free(self) -> None:
        """Give back what no tensor uses."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()


def peak_tflops(device_name: str) -> float:
    """Return the dense bfloat16 peak of a device, 0 if it is not in `PEAKS_TFLOPS`."""
    return next((peak for part, peak in PEAKS_TFLOPS if part in device_name), 0.0)


@cache
def _config(name: str) -> Any:
    return full_config(SIZES[name]).thinker_config


def build(
    job: Job,
    *,
    dtype: torch.dtype = torch.bfloat16,
    checkpointing: bool = True,
    num_layers: int | None = None,
) -> Any:
    """Return a thinker with random weights on the device, frozen and prepared as a run does."""
    config = _config(job.name).to_dict()
    config["text_config"] |= {
        "num_hidden_layers": num_layers or job.size.num_layers,
        "layer_types": None,
    }
    config = type(_config(job.name))(**config)
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with job.device:
            thinker = Qwen2_5OmniThinkerForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(default)
    thinker.visual = None
    thinker.eval()
    prepare_thinker(thinker, ModelConfig(gradient_checkpointing=checkpointing))
    return thinker


def packed(
    thinker: Any, attention: str, *, chunk_tokens: int = 1024, float32_head: bool = False
) -> PackedPolicy:
    """Return the project's policy around a thinker; may be called again for other settings."""
    return PackedPolicy(
        thinker,
        attention=attention,
        temperature=1.0,
        forbidden_token_ids=FORBIDDEN,
        chunk_tokens=chunk_tokens,
        float32_head=float32_head,
    )


def make_samples(job: Job, num_prompts: int, seed: int = 0) -> list[GroupSample]:
    """Return groups of 8 random completions on clips of noise, advantages normal."""
    draw = np.random.default_rng(seed)
    audio_token = _config(job.name).audio_token_id
    frames = round(job.clip_s * FRAMES_PER_SECOND)
    placeholders = np.full(num_audio_tokens(frames), audio_token)

    def tokens(count: int) -> np.ndarray:
        return draw.integers(20, 500, count)  # behind the special tokens

    samples = []
    for number in range(num_prompts):
        example = Example(str(number), f"{number}.wav", "sad", "Which emotion?", ("sad", "happy"))
        ids = np.concatenate([tokens(60), placeholders, tokens(60)])
        features = draw.standard_normal((NUM_MEL_BINS, frames)).astype(np.float32)
        lengths = draw.integers(job.min_tokens, job.max_tokens + 1, GROUP_SIZE)
        completions = tuple(
            Completion(tokens(n), np.full(n, -5.0, np.float32), "", "stop", 0) for n in lengths
        )
        group = Group(Prompt(example, "", ids, features, frames), completions)
        advantages = draw.standard_normal(GROUP_SIZE).astype(np.float32)
        samples.append(GroupSample(group, advantages, np.ones(GROUP_SIZE, np.bool_)))
    return samples


def rows_of(samples: Sequence[GroupSample], budget: int) -> list[Microbatch]:
    """Return the packed rows of one rank."""
    return plan_update(samples, budget=budget, num_ranks=1, aggregation="token_mean")[0]


def packed_update(
    policy: PackedPolicy, rows: Sequence[Microbatch], attention: str, device: torch.device
) -> None:
    """Run forward and backward of an update, masks included, without an optimizer."""
    dtype = policy.thinker.dtype
    for row in rows:
        tensors = to_device(row, row.features, device, attention, dtype)
        weights = torch.from_numpy(row.loss_weights * row.advantages).to(device)
        logprobs = policy(tensors).logprobs
        ratio = torch.exp(logprobs - logprobs.detach())
        (-(ratio * weights).sum()).backward()


def padded_update(thinker: Any, samples: Sequence[GroupSample], device: torch.device) -> None:
    """Run the same update as padded batches of a group, its clip encoded once a completion."""
    total = sum(len(c.token_ids) for s in samples for c in s.group.completions)
    for sample in samples:
        logits, tokens = padded_logits(thinker, sample, device, plain_positions=True)
        weights = torch.zeros(tokens.shape)
        for i, completion in enumerate(sample.group.completions):
            weights[i, : len(completion.token_ids)] = float(sample.advantages[i]) / total
        scores = torch.log_softmax(logits.float(), dim=-1)
        chosen = scores.gather(-1, tokens[..., None])[..., 0]
        (-(chosen * weights.to(device)).sum()).backward()


def with_plain_head(thinker: Any) -> Any:
    """Undo what `PackedPolicy` changed: head and attention of the model's own forward pass."""
    weight = thinker.lm_head.weight
    head = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    head.weight = weight
    thinker.lm_head = head
    thinker.model.set_attn_implementation("sdpa")
    return thinker


def timed_rounds(
    job: Job, model: nn.Module, work: Callable[[], None], seconds_left: float
) -> dict[str, float]:
    """Run work after a warm-up, as often as there is time for, and return its figures.

    Returns:
        `s`: median seconds of a round; `first_s`: of the warm-up, compilation included; `rounds`;
        `peak_gb`: of the rounds after it.
    """
    start = time.perf_counter()
    seconds: list[float] = []
    for number in range(job.rounds + 1):
        model.zero_grad(set_to_none=True)
        if number == 1:
            job.reset_peak()
        job.wait()
        begin = time.perf_counter()
        work()
        job.wait()
        seconds.append(time.perf_counter() - begin)
        late = time.perf_counter() - start + seconds[-1] > seconds_left
        if number and late:
            break
    return {
        "s": statistics.median(seconds[1:]),
        "first_s": seconds[0],
        "rounds": len(seconds) - 1,
        "peak_gb": job.peak_gb(),
    }


def linear_weights(size: ThinkerSize) -> int:
    """Return the weights of one layer's matrices: attention and gated layers, biases left out."""
    head_dim = size.hidden_size // size.num_heads
    attention = size.hidden_size * head_dim * 2 * (size.num_heads + size.num_kv_heads)
    return attention + 3 * size.hidden_size * size.intermediate_size


def tower_weights(size: ThinkerSize) -> int:
    """Return the weights that every frame after the convolutions passes in the audio tower."""
    attention = 4 * size.audio_width**2
    return size.audio_layers * (attention + 2 * size.audio_width * size.audio_intermediate_size)


def forward_flops(size: ThinkerSize, row: Microbatch) -> dict[str, float]:
    """Return the FLOPs of one forward pass over a row: `body`, `head` and `tower`.

    A multiply-add counts 2. Attention counts the pairs that the mask lets through: a prompt token
    sees the prompt before it, a completion's token the prompt and its own completion before it.
    Norms, rotary embeddings, the softmax, convolutions and the tower's attention are left out.
    """
    tokens = len(row.input_ids)
    pairs = 0.0
    for group in np.unique(row.group_ids):
        segments = row.segment_ids[row.group_ids == group]
        lengths = np.bincount(segments)
        prompt = int(lengths[0])
        pairs += prompt * (prompt + 1) / 2
        pairs += sum(n * prompt + n * (n + 1) / 2 for n in lengths[1:].tolist())
    matrices = 2 * linear_weights(size) * tokens
    attention = 4 * size.hidden_size * pairs
    frames = sum(features.shape[1] for features in row.features)
    return {
        "body": size.num_layers * (matrices + attention),
        "head": 2.0 * size.hidden_size * size.vocab_size * len(row.target),
        "tower": 2.0 * tower_weights(size) * frames / 2,
    }


def update_flops(size: ThinkerSize, rows: Sequence[Microbatch], *, checkpointing: bool) -> Any:
    """Return (model FLOPs, FLOPs with recomputation) of an update.

    The backward pass of what is trained counts twice its forward pass (gradients of inputs and of
    weights); the frozen tower runs forward alone. Recomputation adds a forward pass of the layers.

    Source: the accounting of PaLM (arXiv 2204.02311), appendix B, for model FLOPs utilization.
    """
    model = hardware = 0.0
    for row in rows:
        parts = forward_flops(size, row)
        once = 3 * (parts["body"] + parts["head"]) + parts["tower"]
        model += once
        hardware += once + (parts["body"] if checkpointing else 0.0)
    return model, hardware


def estimate_gb(
    size: ThinkerSize, thinker: nn.Module, row: Microbatch, *, checkpointing: bool, chunk: int
) -> dict[str, float]:
    """Return GB (1e9 bytes) that an update should take at its peak, by kind.

    Weights and gradients are counted. The rest is a guess by arithmetic: a layer keeps about six
    rows of the width, twice query, key and value, the attention's output and four rows of the inner
    width a token (checkpointed: its input, and one layer at a time at half as much again); logits
    of a chunk exist about five times in float32. The audio tower and masks are left out.
    """
    weights = list(thinker.parameters())
    num_bytes = weights[0].element_size()
    head_dim = size.hidden_size // size.num_heads
    qkv = head_dim * (size.num_heads + 2 * size.num_kv_heads)
    layer = num_bytes * (
        6 * size.hidden_size + 2 * qkv + size.hidden_size + 4 * size.intermediate_size
    )
    tokens = len(row.input_ids)
    if checkpointing:
        kept = tokens * (size.num_layers * size.hidden_size * num_bytes + 1.5 * layer)
    else:
        kept = tokens * size.num_layers * layer
    logits = 5 * 4 * min(len(row.target), chunk) * size.vocab_size
    parts = {
        "weights": sum(w.numel() * num_bytes for w in weights),
        "gradients": sum(w.numel() * num_bytes for w in weights if w.requires_grad),
        "activations": kept,
        "logits": logits,
    }
    return {name: value / 1e9 for name, value in parts.items()}


def relative_error(value: Tensor, truth: Tensor) -> float:
    """Return |value - truth| / |truth|, norms of all elements."""
    return float((value.float() - truth.float()).norm() / truth.float().norm())
