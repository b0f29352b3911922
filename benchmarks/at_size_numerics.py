"""Parts of benchmarks/at_size.py that compare numbers: attention, masks, bfloat16 log-probs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.at_size_model import (
    Job,
    build,
    make_samples,
    packed,
    relative_error,
    rows_of,
    timed_rounds,
)
from benchmarks.at_size_report import Report
from benchmarks.groups import one_completion_each
from data.records import GroupSample, Microbatch
from trainer import attention as packed_attention
from trainer.logprobs import to_device

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""[1, heads, T, d] three times -> [1, T, heads, d]."""


def attention_ways(
    job: Job, row: Microbatch, num_heads: int, num_kv_heads: int
) -> dict[str, Attention]:
    """Return the project's two kinds of attention over a row, and a dense one that masks all."""
    groups = torch.from_numpy(row.group_ids).to(job.device)
    segments = torch.from_numpy(row.segment_ids).to(job.device)
    place = torch.arange(len(groups), device=job.device)
    same = groups[:, None] == groups
    same_completion = (segments[:, None] == segments) | (segments == 0)
    visible = same & same_completion & (place[:, None] >= place)
    repeats = num_heads // num_kv_heads

    def dense(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        wide = [x.repeat_interleave(repeats, dim=1) for x in (key, value)]
        return scaled_dot_product_attention(query, *wide, attn_mask=visible).transpose(1, 2)

    functions = {
        "sdpa": packed_attention.packed_sdpa,
        "flex": packed_attention.packed_flex,
    }
    ways: dict[str, Attention] = {"dense": dense}
    for name, function in functions.items():
        masks = {
            dtype: to_device(row, row.features, job.device, name, dtype).mask
            for dtype in (torch.float32, torch.bfloat16)
        }

        def attend(
            query: Tensor,
            key: Tensor,
            value: Tensor,
            function: Any = function,
            masks: dict[torch.dtype, Any] = masks,
        ) -> Tensor:
            return function(None, query, key, value, masks[query.dtype])[0]

        ways[name] = attend
    return ways


def part_attention(job: Job, report: Report) -> None:
    """FlexAttention and SDPA against dense attention in float32: output, gradients and time."""
    size = job.size
    head_dim = size.hidden_size // size.num_heads
    for num_prompts in sorted({1, min(2, job.num_prompts), min(4, job.num_prompts)}):
        row = rows_of(make_samples(job, num_prompts, seed=num_prompts), 10**9)[0]
        length = len(row.input_ids)
        torch.manual_seed(length)
        shapes = [(size.num_heads, length), *[(size.num_kv_heads, length)] * 2]
        inputs = [torch.randn(1, *shape, head_dim, device=job.device) for shape in shapes]
        weight = torch.randn(1, length, size.num_heads, head_dim, device=job.device)
        ways = attention_ways(job, row, size.num_heads, size.num_kv_heads)
        truth = _gradients(ways["dense"], inputs, weight, torch.float32)
        for name, way in ways.items():
            # FlexAttention has no backward pass on a CPU.
            backward = job.on_gpu or name != "flex"
            for dtype in (torch.float32, torch.bfloat16):
                report.measure(
                    {"attention": name, "dtype": str(dtype)[6:], "tokens": length},
                    partial(_attention_figures, job, report, way, inputs, weight, dtype, backward),
                    partial(_attention_errors, way, inputs, weight, dtype, backward, truth),
                )
        job.free()


def _attention_figures(
    job: Job,
    report: Report,
    way: Attention,
    inputs: Sequence[Tensor],
    weight: Tensor,
    dtype: torch.dtype,
    backward: bool,
) -> dict[str, float]:
    made = [x.to(dtype).requires_grad_(backward) for x in inputs]

    def work() -> None:
        output = way(*made)
        if backward:
            output.backward(weight.to(output.dtype))

    return timed_rounds(job, torch.nn.Module(), work, report.seconds_left)


def _attention_errors(
    way: Attention,
    inputs: Sequence[Tensor],
    weight: Tensor,
    dtype: torch.dtype,
    backward: bool,
    truth: Sequence[Tensor],
    _: dict[str, float],
) -> dict[str, float | None]:
    values = _gradients(way, inputs, weight, dtype, backward=backward)
    names = ("error", "error_dq", "error_dk", "error_dv")
    errors = {n: relative_error(f, t) for n, f, t in zip(names, values, truth, strict=False)}
    return {name: errors.get(name) for name in names}


def _gradients(
    way: Attention,
    inputs: Sequence[Tensor],
    weight: Tensor,
    dtype: torch.dtype,
    *,
    backward: bool = True,
) -> list[Tensor]:
    """Return the output, and the gradients of query, key and value."""
    made = [x.detach().clone().to(dtype).requires_grad_(backward) for x in inputs]
    output = way(*made)
    if not backward:
        return [output.detach()]
    output.backward(weight.to(output.dtype))
    return [output.detach(), *[x.grad for x in made if x.grad is not None]]


def part_mask(job: Job, report: Report) -> None:
    """Time and memory of building FlexAttention's mask, for rows up to the budget."""
    for tokens in (job.budget // 4, job.budget // 2, job.budget):
        place = np.arange(tokens)
        groups, segments = place // 1500, place % 1500 // 300
        tensors = [torch.from_numpy(array).to(job.device) for array in (groups, segments)]
        before = torch.cuda.memory_allocated() / 1e9 if job.on_gpu else 0.0

        def run(tensors: list[Tensor] = tensors, before: float = before) -> dict[str, float]:
            measured = timed_rounds(
                job,
                torch.nn.Module(),
                lambda: packed_attention.block_mask(*tensors),
                report.seconds_left,
            )
            return measured | {"extra_gb": max(0.0, measured["peak_gb"] - before)}

        report.measure({"mask": "flex", "tokens": tokens}, run)
        job.free()


def part_parity(job: Job, report: Report) -> None:
    """What bfloat16 alone does to log-probs, for the thresholds of the gate.

    Random weights give flat distributions; a head scaled up stands in for a model that is sure.
    """
    samples = make_samples(job, min(4, job.num_prompts))
    lone = one_completion_each(samples)
    thinker = build(job, checkpointing=False)
    for sharpness in (1.0, 8.0):
        with torch.no_grad():
            thinker.lm_head.weight.mul_(sharpness)
        exact = build(job, dtype=torch.float32, checkpointing=False)
        exact.load_state_dict({n: w.float() for n, w in thinker.state_dict().items()})
        truth = score(job, exact, samples, "sdpa", torch.float32)
        scores = {"float32": truth}
        if job.on_gpu:
            scores["float32, flex"] = score(job, exact, samples, "flex", torch.float32)
        del exact
        job.free()
        ways: dict[str, tuple[str, Sequence[GroupSample], bool]] = {
            "sdpa": ("sdpa", samples, False),
            "sdpa, one completion a row": ("sdpa", lone, False),
            "sdpa, float32 head": ("sdpa", samples, True),
            "flex": ("flex", samples, False),
            "flex, float32 head": ("flex", samples, True),
        }
        for name, (attention, groups, head) in ways.items():
            scores[name] = score(job, thinker, groups, attention, torch.bfloat16, float32_head=head)
        pairs = [(name, "float32") for name in scores if name != "float32"]
        pairs += [("flex", "sdpa"), ("sdpa, one completion a row", "sdpa")]
        for one, other in pairs:
            report.row(
                {"sharpness": sharpness, "way": one, "against": other}
                | gap(scores[one], scores[other])
            )
        with torch.no_grad():
            thinker.lm_head.weight.div_(sharpness)
    del thinker
    job.free()


@torch.no_grad()
def score(
    job: Job,
    thinker: Any,
    samples: Sequence[GroupSample],
    attention: str,
    dtype: torch.dtype,
    *,
    float32_head: bool = False,
) -> Tensor:
    """Return the log-probs of all completions in order, a group a row, in nats."""
    policy = packed(thinker, attention, float32_head=float32_head)
    logprobs = []
    for sample in samples:
        row = rows_of([sample], 1)[0]
        tensors = to_device(row, row.features, job.device, attention, dtype)
        logprobs.append(policy(tensors).logprobs.float().cpu())
    return torch.cat(logprobs)


def gap(logprobs: Tensor, truth: Tensor) -> dict[str, float]:
    """Return how far log-probs are apart, in nats, and how they correlate."""
    difference = (logprobs - truth).abs()
    both = torch.stack([logprobs, truth])
    return {
        "mean": float(difference.mean()),
        "rms": float(difference.square().mean().sqrt()),
        "p99": float(difference.quantile(0.99)),
        "max": float(difference.max()),
        "correlation": float(torch.corrcoef(both)[0, 1]),
        "mean_logprob": float(truth.mean()),
    }
