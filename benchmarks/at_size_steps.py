"""Parts of benchmarks/at_size.py that time the learner's forward and backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.profiler import ProfilerActivity, profile
from transformers import AttentionInterface

from benchmarks.at_size_model import (
    Job,
    build,
    estimate_gb,
    make_samples,
    packed,
    packed_update,
    padded_update,
    relative_error,
    rows_of,
    timed_rounds,
    update_flops,
    with_plain_head,
)
from benchmarks.at_size_report import Report
from benchmarks.groups import one_completion_each
from data.records import GroupSample, Microbatch
from trainer.logprobs import to_device
from trainer.policy import layer_pieces

LAYER_COUNTS = (1, 2, 4, 8)


def num_completion_tokens(samples: Sequence[GroupSample]) -> int:
    """Return the tokens that carry a loss."""
    return sum(len(c.token_ids) for sample in samples for c in sample.group.completions)


def speed(job: Job, measured: dict[str, float], samples: Sequence[GroupSample]) -> dict[str, float]:
    """Return rates of an update: completion tokens per second, and utilization of the work itself.

    `mfu` is of the FLOPs that the packed rows need, however they were computed, so that ways
    compare as their times do; 0 if the device's peak is not known.
    """
    rows = rows_of(samples, job.budget)
    model, _ = update_flops(job.size, rows, checkpointing=False)
    peak = job.peak_tflops * 1e12
    return {
        "tokens_per_s": num_completion_tokens(samples) / measured["s"],
        "mfu": model / measured["s"] / peak if peak else 0.0,
    }


def measure_packed(
    job: Job,
    report: Report,
    thinker: Any,
    rows: Sequence[Microbatch],
    *,
    attention: str,
    chunk: int = 1024,
) -> dict[str, float]:
    """Return the figures of an update of packed rows; see `timed_rounds`."""
    policy = packed(thinker, attention, chunk_tokens=chunk)
    return timed_rounds(
        job,
        thinker,
        lambda: packed_update(policy, rows, attention, job.device),
        report.seconds_left,
    )


def part_steps(job: Job, report: Report) -> None:
    """Packed, repeated and padded rows; with and without checkpointing; row budgets and chunks."""
    samples = make_samples(job, job.num_prompts)
    for checkpointing in (True, False):
        thinker = build(job, checkpointing=checkpointing)
        for way in packed_ways(job):
            report_packed(job, report, thinker, samples, way, checkpointing=checkpointing)
            job.free()
        report_padded(job, report, thinker, samples, checkpointing=checkpointing)
        del thinker
        job.free()


class PackedWay(NamedTuple):
    """How rows are made and computed."""

    name: str
    attention: str
    budget: int
    chunk: int


def packed_ways(job: Job) -> list[PackedWay]:
    """Return what is compared: attention, budget of a row, chunk of the head, and lone rows."""
    best = job.attentions[0]
    return [
        *[PackedWay("packed", attention, job.budget, 1024) for attention in job.attentions],
        PackedWay("packed", best, job.budget // 4, 1024),
        PackedWay("packed", best, job.budget, 4096),
        PackedWay("repeated", best, job.budget, 1024),
    ]


def report_packed(
    job: Job,
    report: Report,
    thinker: Any,
    samples: Sequence[GroupSample],
    way: PackedWay,
    *,
    checkpointing: bool,
) -> None:
    """Measure one way of packed rows, beside the estimate of its memory."""
    groups = one_completion_each(samples) if way.name == "repeated" else samples
    rows = rows_of(groups, way.budget)
    longest = max(rows, key=lambda row: len(row.input_ids))
    estimate = estimate_gb(job.size, thinker, longest, checkpointing=checkpointing, chunk=way.chunk)
    report.measure(
        {
            "way": way.name,
            "attention": way.attention,
            "checkpointing": checkpointing,
            "budget": way.budget,
            "chunk": way.chunk,
        },
        lambda: measure_packed(
            job, report, thinker, rows, attention=way.attention, chunk=way.chunk
        ),
        lambda measured: speed(job, measured, samples),
        {
            "rows": len(rows),
            "row_tokens": sum(len(row.input_ids) for row in rows),
            "estimate_gb": sum(estimate.values()),
        },
    )


def report_padded(
    job: Job, report: Report, thinker: Any, samples: Sequence[GroupSample], *, checkpointing: bool
) -> None:
    """Measure padded batches; the thinker keeps its own head and attention afterwards."""
    plain = with_plain_head(thinker)
    report.measure(
        {"way": "padded", "attention": "sdpa", "checkpointing": checkpointing},
        lambda: timed_rounds(
            job, plain, lambda: padded_update(plain, samples, job.device), report.seconds_left
        ),
        lambda measured: speed(job, measured, samples),
    )


def part_layers(job: Job, report: Report) -> None:
    """A few layers, and a line through them: what all layers would take, where they do not fit."""
    samples = make_samples(job, job.num_prompts)
    rows = rows_of(samples, job.budget)
    counts = [n for n in LAYER_COUNTS if n <= job.size.num_layers]
    points: list[tuple[int, float, float]] = []
    for count in counts:
        thinker = build(job, num_layers=count)
        measured = report.measure(
            {"layers": count, "attention": job.attentions[0]},
            partial(measure_packed, job, report, thinker, rows, attention=job.attentions[0]),
        )
        if measured:
            points.append((count, measured["s"], measured["peak_gb"]))
        del thinker
        job.free()
    if len(points) < 2:
        return
    numbers = np.array(points)
    fits = [np.polyfit(numbers[:, 0], numbers[:, column], 1) for column in (1, 2)]
    whole = {
        name: float(np.polyval(fit, job.size.num_layers))
        for name, fit in zip(("s", "peak_gb"), fits, strict=True)
    }
    report.row(
        {"layers": job.size.num_layers, "way": "by the line", "per_layer_s": float(fits[0][0])}
        | whole
        | speed(job, whole, samples)
    )


def part_compile(job: Job, report: Report) -> None:
    """`torch.compile` of whole decoder layers, and of their gated layers and norms alone."""
    samples = make_samples(job, job.num_prompts)
    rows = rows_of(samples, job.budget)
    for what in ("nothing", "mlp and norms", "layers"):
        for checkpointing in (True, False):
            torch.compiler.reset()
            thinker = build(job, checkpointing=checkpointing)
            for module in compiled_modules(thinker, what):
                module.compile(dynamic=True)
            report.measure(
                {"compiled": what, "checkpointing": checkpointing},
                partial(measure_packed, job, report, thinker, rows, attention=job.attentions[0]),
                lambda measured: speed(job, measured, samples),
            )
            del thinker
            job.free()
    torch.compiler.reset()


def compiled_modules(thinker: Any, what: str) -> list[nn.Module]:
    """Return the modules that are compiled in place."""
    layers = list(thinker.model.layers)
    if what == "layers":
        return layers
    if what == "mlp and norms":
        return layer_pieces(thinker)
    return []


def _varlen_tower(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """All chunks of all clips in one call; [1, heads, T, d] in, [1, T, heads, d] out."""
    if query.is_cuda:
        from torch.nn.attention.varlen import varlen_attn

        parts = [x[0].transpose(0, 1) for x in (query, key, value)]
        lengths = cu_seq_lens_q.to(torch.int32)
        output = varlen_attn(*parts, lengths, lengths, max_length_q, max_length_q, scale=scaling)
        return output[None], None
    # No kernel on a CPU: the same by a loop, which shows that shapes and scale are right.
    sizes = cu_seq_lens_q.diff().tolist()
    chunks = zip(*(x.split(sizes, dim=2) for x in (query, key, value)), strict=True)
    outputs = [scaled_dot_product_attention(*chunk, scale=scaling) for chunk in chunks]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


# With `flash` in its name the audio tower hands it all chunks at once instead of one by one.
AttentionInterface.register("flash_varlen", _varlen_tower)


def part_tower(job: Job, report: Report) -> None:
    """The audio tower alone: its own loop over chunks of 2 s against one call for all of them.

    "at once" is what the learner does.
    """
    thinker = build(job, num_layers=1)
    samples = make_samples(job, job.num_prompts)
    policy = packed(thinker, "sdpa")
    row = rows_of(samples, 10**9)[0]
    tensors = to_device(row, row.features, job.device, "sdpa", thinker.dtype)
    tower = thinker.audio_tower
    outputs: dict[str, Tensor] = {}

    @torch.no_grad()
    def encode(way: str) -> None:
        outputs[way] = policy.encode_audio(tensors)

    names = {"loop over chunks": "sdpa", "at once": "flash_all_windows", "varlen": "flash_varlen"}
    for way, name in names.items():
        tower.config._attn_implementation = name
        work = partial(encode, way)
        report.measure(
            {"way": way, "clips": len(samples), "clip_s": job.clip_s},
            partial(timed_rounds, job, thinker, work, report.seconds_left),
        )
    for way, output in outputs.items():
        loop = outputs["loop over chunks"]
        report.row({"way": way, "relative_error": relative_error(output, loop)})


def part_adamw(job: Job, report: Report) -> None:
    """One fused or foreach AdamW step on a flat float32 tensor of the trained weights."""
    with torch.device("meta"):
        thinker = build(replace(job, device=torch.device("meta")))
    count = sum(w.numel() for w in thinker.parameters() if w.requires_grad)

    def step(kind: str) -> Callable[[], dict[str, float]]:
        def run() -> dict[str, float]:
            weight = nn.Parameter(torch.zeros(count, device=job.device))
            weight.grad = torch.zeros_like(weight)
            optimizer = torch.optim.AdamW([weight], lr=1e-6, **{kind: True})
            optimizer.step()
            before = torch.cuda.memory_allocated() / 1e9 if job.on_gpu else 0.0
            module = nn.Module()  # without weights: gradients stay between rounds
            measured = timed_rounds(job, module, lambda: optimizer.step(), report.seconds_left)
            return measured | {"state_gb": before, "extra_gb": measured["peak_gb"] - before}

        return run

    for kind in ("foreach", "fused"):
        report.measure({"adamw": kind, "weights": count}, step(kind))
        job.free()


def part_profile(job: Job, report: Report) -> None:
    """Operators of one packed update by their time on the device."""
    samples = make_samples(job, job.num_prompts)
    thinker = build(job)
    attention = job.attentions[0]
    policy = packed(thinker, attention)
    rows = rows_of(samples, job.budget)
    packed_update(policy, rows, attention, job.device)
    on_gpu = [ProfilerActivity.CUDA] if job.on_gpu else []
    with profile(activities=[ProfilerActivity.CPU, *on_gpu]) as operators:
        packed_update(policy, rows, attention, job.device)
        job.wait()
    order = "self_cuda_time_total" if job.on_gpu else "self_cpu_time_total"
    table = operators.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=60)
    print(table, flush=True)
    report.record({"table": table})
    del thinker, policy
    job.free()
