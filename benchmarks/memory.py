#!/usr/bin/env python
"""How far is the estimate of memory from what a learner rank and an engine take?

python benchmarks/memory.py [--hidden 384] [--layers 4] [--tokens 40] [key=value ...]

One learner and one engine, each in a process of its own on the CPU. Tensors are counted: those
that a process holds by their storages, peaks by the allocations of a profiled update. Resident
memory comes from the kernel; that of a process with next to no model is measured too, since no
estimate can know it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Instead of this folder, whose modules are named like our packages.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.options import Option, parse_options
from benchmarks.setup import (
    endless,
    make_prompts,
    make_samples,
    start_learner,
    tiny_run,
)
from benchmarks.timing import print_machine, print_table
from configs.schema import RunConfig
from data.prompts import PromptBuilder
from data.records import Microbatch
from launch.memory.engine import kv_bytes_per_token
from launch.memory.estimate import DRIVER, ENGINE, LEARNER, estimate, find_device, process_bytes
from launch.memory.figures import RoleMemory
from launch.memory.learner import (
    BUCKET_ELEMENTS,
    KEPT_LOGIT_BYTES,
    LOGIT_BYTES,
    RowShape,
    learner_figures,
)
from launch.memory.model_size import DTYPE_BYTES, read_model_size
from rollout.engine import EngineSpec, RolloutEngine, SampleRequest
from trainer.packing import build_row

NUM_PROMPTS, GROUP_SIZE, CLIP_S = 2, 8, 2.0

RESIDENT = "resident, at most"

NO_MODEL = ["--hidden", "32", "--layers", "1", "--tokens", "1"]
"""Arguments of the smallest process of a role."""

Measured = dict[str, tuple[float, float]]
"""Name -> bytes measured, bytes estimated."""


def storage_bytes(tensors: Iterable[Tensor], seen: set[int]) -> int:
    """Return the bytes of the memory behind tensors, once each; adds its addresses to `seen`."""
    num_bytes = 0
    for tensor in tensors:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            num_bytes += storage.nbytes()
    return num_bytes


class Allocations:
    """What PyTorch allocated and freed while a block ran."""

    peak = 0
    """Largest growth within the block, in bytes."""
    kept = 0
    """Growth from its start to its end, in bytes."""


@contextmanager
def allocations() -> Iterator[Allocations]:
    """Yield the allocations of the block, known at its end."""
    counted = Allocations()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        yield counted
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    events: Any = profiler.profiler.kineto_results.events()
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            counted.kept += event.nbytes()
            counted.peak = max(counted.peak, counted.kept)


def resident_peak() -> int:
    """Return the largest resident memory that this process has had, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def packed(config: RunConfig, builder: PromptBuilder, tokens: int) -> tuple[Microbatch, RowShape]:
    """Return a row of groups with completions of `tokens` tokens, and its shape."""
    prompts = make_prompts(
        builder, config, num_prompts=NUM_PROMPTS, duration_s=CLIP_S, seed=0, shared=False
    )
    samples = make_samples(
        prompts, group_size=GROUP_SIZE, min_tokens=tokens, max_tokens=tokens, seed=0
    )
    weight = 1 / (NUM_PROMPTS * GROUP_SIZE * tokens)
    row = build_row(samples, [[weight] * GROUP_SIZE for _ in samples])
    prompt, frames = len(prompts[0].token_ids), prompts[0].num_frames
    return row, RowShape(len(row.input_ids), NUM_PROMPTS, prompt, GROUP_SIZE, frames)


def measure_learner(config: RunConfig, builder: PromptBuilder, tokens: int) -> Measured:
    """Return what one learner rank takes, part by part."""
    row, shape = packed(config, builder, tokens)
    learner: Any = start_learner(config, endless(builder))
    size = read_model_size(Path(config.model.path))
    role = RoleMemory(LEARNER, 1, 1, tuple(learner_figures(config, size, shape, 1)))
    expected = {figure.name: figure.num_bytes for figure in role.figures}
    for _ in range(2):  # the first one makes the moments
        learner.update([[row]], 1e-4)
    peak = resident_peak()

    seen: set[int] = set()
    measured: Measured = {}
    weights = storage_bytes(learner._thinker.parameters(), seen)
    measured["weights"] = weights, expected["weights"]
    optimizer = learner._engine.optimizer
    master = storage_bytes(optimizer.single_partition_of_fp32_groups, seen)
    measured["master weights"] = master, expected["master weights"]
    states = optimizer.optimizer.state.values()
    moments = (value for state in states for value in state.values() if value.numel() > 1)
    measured["optimizer moments"] = storage_bytes(moments, seen), expected["optimizer moments"]
    reference = storage_bytes(learner._reference.parameters(), seen)
    measured["reference"] = reference, expected["reference"]

    tensors = learner._to_device(row)
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        scores = learner._engine(tensors)
    kept = sum(
        expected[name]
        for name in (
            "activations kept",
            "audio tower's activations",
            "probabilities of the row",
        )
    )
    measured["activations kept"] = storage_bytes(saved, seen), kept
    saved.clear()
    del scores
    measured["logits of a chunk"] = _logits(learner, config, shape, size.vocab)

    with allocations() as backward:
        learner._backward(tensors, row, None)
    with allocations() as step:
        learner._engine.step()
    held = weights + master + measured["optimizer moments"][0] + reference
    # Memory of the bucket that no gradient touches is counted by PyTorch, but not by the machine.
    width = DTYPE_BYTES[config.model.dtype]
    untouched = width * BUCKET_ELEMENTS - expected["gradient bucket"]
    measured["gradients"] = backward.kept, expected["gradients"]
    measured["forward and backward, at most"] = held + backward.peak - untouched, role.backward
    measured["step, at most"] = held + backward.kept + step.peak, role.step
    measured[RESIDENT] = peak, process_bytes(LEARNER) + role.backward
    learner.close()
    return measured


def _logits(learner: Any, config: RunConfig, row: RowShape, vocab: int) -> tuple[float, float]:
    """The peak of the vocabulary projection by itself."""
    chunk = min(row.scored, config.model.logits_chunk_tokens)
    head = learner._thinker.lm_head
    hidden = torch.zeros(chunk, head.weight.shape[1], requires_grad=True)
    with allocations() as projection:
        head(hidden, torch.zeros(chunk, dtype=torch.long))
    return projection.peak, (LOGIT_BYTES + KEPT_LOGIT_BYTES) * chunk * vocab


def measure_engine(config: RunConfig, builder: PromptBuilder, tokens: int) -> Measured:
    """Return what one engine takes, part by part."""
    engine: Any = RolloutEngine(EngineSpec.of(config, builder))
    size = read_model_size(Path(config.model.path))
    device = find_device(config)
    (role,) = [r for r in estimate(config, device) if r.name == "engine"]
    expected = {figure.name: figure.num_bytes for figure in role.figures}
    prompts = make_prompts(
        builder, config, num_prompts=NUM_PROMPTS, duration_s=CLIP_S, seed=0, shared=False
    )
    requests = [SampleRequest(prompt, GROUP_SIZE, seed=0, min_tokens=tokens) for prompt in prompts]
    list(engine.generate(requests, greedy=False))
    peak = resident_peak()
    ((weights, cache, num_tokens),) = engine._llm.collective_rpc(_held_by_worker)
    return {
        "weights": (weights, expected["weights"]),
        "key-value cache": (cache, expected["key-value cache"]),
        "cache, bytes a token": (cache / num_tokens, kv_bytes_per_token(size, config.model.dtype)),
        "together": (weights + cache, role.peak),
        RESIDENT: (peak, process_bytes(ENGINE) + role.peak),
    }


def _held_by_worker(worker: Any) -> tuple[int, int, int]:
    """Bytes of the weights and of the cache of a vLLM worker, and tokens that the cache holds."""
    runner = worker.model_runner
    weights = storage_bytes(runner.model.parameters(), set())
    for module in runner.model.modules():
        # On a CPU vLLM packs a linear layer for oneDNN, out of sight, and empties the weight.
        if hasattr(module, "cpu_linear") and not module.weight.numel():
            size = module.input_size_per_partition * module.output_size_per_partition
            weights += size * module.weight.element_size()
    cache = storage_bytes(runner.kv_caches, set())
    config = worker.vllm_config.cache_config
    return weights, cache, config.num_gpu_blocks * config.block_size


PARTS = {"learner": measure_learner, "engine": measure_engine}

OPTIONS = {
    "hidden": Option(384, "width of the model"),
    "layers": Option(4, "layers of its language model"),
    "tokens": Option(40, "tokens of a completion"),
    "part": Option("", argparse.SUPPRESS, choices=list(PARTS)),
}


def in_own_process(part: str, argv: list[str]) -> Measured:
    """Measure a part in a process of its own."""
    command = [sys.executable, __file__, "--part", part, *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"measuring the {part} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def table_row(part: str, name: str, measured: float, estimated: float) -> list[str]:
    """Return a figure as a row of the table."""
    unit = 1 if name == "cache, bytes a token" else 1e6
    return [
        part,
        name,
        f"{measured / unit:.1f}",
        f"{estimated / unit:.1f}",
        f"{estimated / measured:.2f}",
    ]


def main() -> None:
    """Measure both parts, or the one that `--part` names."""
    parsed = parse_options(__doc__, OPTIONS)
    if parsed.part:
        sizes = {"hidden_size": parsed.hidden, "num_layers": parsed.layers}
        with tiny_run("rollout.num_engines=1", *parsed.overrides, **sizes) as (config, builder):
            print(json.dumps(PARTS[parsed.part](config, builder, parsed.tokens)), flush=True)
        return
    rows = []
    for part, role in (("learner", LEARNER), ("engine", ENGINE)):
        empty, _ = in_own_process(part, [*sys.argv[1:], *NO_MODEL])[RESIDENT]
        rows.append(table_row(part, "resident, next to no model", empty, process_bytes(role)))
        measured = in_own_process(part, sys.argv[1:])
        rows += [table_row(part, name, *figures) for name, figures in measured.items()]
    rows.append(table_row("driver", "resident", resident_peak(), process_bytes(DRIVER)))
    print_machine()
    print_table(["role", "MB", "measured", "estimated", "estimated / measured"], rows)


if __name__ == "__main__":
    main()
