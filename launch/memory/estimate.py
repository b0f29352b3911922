"""How much memory each role of a run will take, and whether that fits, before anything starts.

An estimate from the configuration and the checkpoint's own files: shapes are counted, the rest
follows formulas or is a guess, and every figure says which. See docs/memory.md.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from configs.rules import LOCAL_JUDGE
from configs.schema import RewardTermConfig, RunConfig
from launch.memory.engine import EngineShape, asleep_figures, cache_note, engine_figures
from launch.memory.figures import GB, Figure, RoleMemory, total
from launch.memory.learner import (
    copied_bytes,
    learner_figures,
    longest_row,
    master_bytes,
    waits_on_host,
)
from launch.memory.model_size import (
    AUDIO_TOWER,
    DTYPE_BYTES,
    ModelSize,
    ModelSizeError,
    read_model_size,
)
from launch.preflight import Problem, joins_cluster

ASSUMED_GPU_BYTES = 85_500_000_000
"""Memory of an H100 of 80 GB, assumed where no GPU is visible."""


MARGIN = 1.1
"""An estimate must exceed a GPU by this factor before a run is warned of it."""

LEARNER, ENGINE, JUDGE, DRIVER = "learner rank", "engine", "judge", "driver"

PROCESS_BYTES = {
    LEARNER: 730_000_000,
    ENGINE: 1_050_000_000,
    JUDGE: 1_050_000_000,
    DRIVER: 650_000_000,
}
"""Resident memory of a process of each role before it holds anything: imports and threads. Measured
with PyTorch's build for CPUs, docs/memory.md."""

CUDA_BUILD_BYTES = 285_000_000
"""Resident memory that importing torch takes more in its CUDA build, also where there is no GPU."""


def process_bytes(role: str) -> int:
    """Return the resident memory of a process of a role before it holds anything."""
    return PROCESS_BYTES[role] + (0 if version("torch").endswith("+cpu") else CUDA_BUILD_BYTES)


@dataclass(frozen=True, slots=True)
class Device:
    """The memory that a role has to fit into."""

    num_bytes: int
    known: bool
    """Read from this machine; else assumed."""

    def __str__(self) -> str:
        """Return the size and how it is known."""
        how = "found on this machine" if self.known else "assumed: no GPU is visible here"
        return f"{self.num_bytes / GB:.1f} GB ({how})"


@dataclass(frozen=True, slots=True)
class Place:
    """What shares one device at one time."""

    name: str
    num_bytes: int
    roles: tuple[str, ...]


def find_device(config: RunConfig) -> Device:
    """Return the memory of this machine's GPUs, or of the machine for a run on the CPU.

    A machine that joins a cluster says nothing about the GPUs of the cluster.
    """
    if config.device == "cpu":
        return Device(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), known=True)
    if not joins_cluster():
        import torch  # here alone: it takes seconds, and CPU runs need none of it

        if torch.cuda.is_available():
            sizes = [
                torch.cuda.get_device_properties(i).total_memory
                for i in range(torch.cuda.device_count())
            ]
            return Device(min(sizes), known=True)
    return Device(ASSUMED_GPU_BYTES, known=False)


def estimate(config: RunConfig, device: Device, *, learns: bool = True) -> list[RoleMemory]:
    """Return the memory of every role of a run.

    Args:
        learns: Whether it trains; an evaluation has engines and judges alone.

    Raises:
        ModelSizeError: The sizes of the policy cannot be read.
    """
    size = read_model_size(Path(config.model.path))
    roles = [_learner(config, size)] if learns else []
    if config.loss.kind == "policy":
        roles.append(_engine(config, size, device))
        if learns or config.eval.judged:
            terms = [t for t in config.rewards.terms if t.options.get("judge") == LOCAL_JUDGE]
            roles += [_judge(config, term, device) for term in terms]
    features = Figure("mel features", config.data.feature_cache_mb * 10**6, "formula")
    base = Figure("process", process_bytes(DRIVER), "guess")
    roles.append(RoleMemory(DRIVER, 1, 0, (), host=(base, features)))
    return roles


def _learner(config: RunConfig, size: ModelSize) -> RoleMemory:
    row, num_rows = longest_row(config)
    host = [Figure("process", process_bytes(LEARNER), "guess")]
    trained = size.num_trained(config.model)
    if config.checkpoint.background and config.checkpoint.every_steps:
        host.append(Figure("checkpoint, copied", copied_bytes(config, trained), "formula"))
    if waits_on_host(config):
        waiting = master_bytes(config, trained) + 8 * trained // config.learner.num_ranks
        host.append(Figure("optimizer state, waiting", waiting, "exact"))
    return RoleMemory(
        LEARNER,
        config.learner.num_ranks,
        1,
        tuple(learner_figures(config, size, row, num_rows)),
        host=tuple(host),
        note=f"rows of {row.tokens:,} tokens, {row.scored:,} of them completions",
    )


def _engine(config: RunConfig, size: ModelSize, device: Device) -> RoleMemory:
    rollout = config.rollout
    shape = EngineShape(
        dtype=config.model.dtype,
        device=config.device,
        tensor_parallel=rollout.tensor_parallel,
        max_model_len=rollout.max_model_len,
        max_num_seqs=rollout.max_num_seqs,
        gpu_memory_frac=rollout.gpu_memory_frac,
        kv_cache_gib=rollout.kv_cache_gib,
        fills_gpu=config.device == "cuda" and not rollout.colocate,
        eager=rollout.enforce_eager,
    )
    role = _vllm_role(ENGINE, rollout.num_engines, shape, size, device)
    if not rollout.colocate:
        return role
    # As in `rollout.engine.sleep_level`: what no sync brings waits on the host.
    only_tower = not config.model.lora.rank and set(config.model.freeze) <= {AUDIO_TOWER}
    kept = sum(map(size.count, config.model.freeze)) if only_tower else size.count()
    waiting = Figure("weights, asleep", kept * DTYPE_BYTES[config.model.dtype], "exact")
    return replace(role, asleep=tuple(asleep_figures(shape)), host=(*role.host, waiting))


def _judge(config: RunConfig, term: RewardTermConfig, device: Device) -> RoleMemory:
    options: dict[str, Any] = term.options.get("judge_options", {})
    shape = EngineShape(
        dtype=options.get("dtype", "bfloat16"),
        device=config.device,
        tensor_parallel=1,
        max_model_len=options.get("max_model_len", 4096),
        max_num_seqs=options.get("max_num_seqs", 128),
        gpu_memory_frac=options.get("gpu_memory_frac", 0.85),
        kv_cache_gib=options.get("kv_cache_gib", 1.0),
        fills_gpu=config.device == "cuda",
        eager=options.get("scoring", "digits") == "digits",
    )
    name = f"{JUDGE} {term.name}"
    try:
        size = read_model_size(Path(options.get("model_path", "")))
    except ModelSizeError as error:  # it may come later, from a training of its own
        return RoleMemory(name, term.workers, 1, (), note=f"not estimated: {error}")
    return _vllm_role(name, term.workers, shape, size, device)


def _vllm_role(
    role: str,
    count: int,
    shape: EngineShape,
    size: ModelSize,
    device: Device,
) -> RoleMemory:
    figures = tuple(engine_figures(shape, size, device.num_bytes))
    kind = ENGINE if role == ENGINE else JUDGE
    return RoleMemory(
        role,
        count,
        shape.tensor_parallel,
        figures,
        host=(Figure("process", process_bytes(kind), "guess"),),
        note=cache_note(shape, size, figures[-1].num_bytes),
    )


def places(config: RunConfig, roles: Sequence[RoleMemory]) -> list[Place]:
    """Return what each kind of device holds at its fullest, one entry for each phase of a run.

    On a CPU all processes share the host's memory; colocated engines take turns with a rank.
    """
    if config.device == "cpu":
        everything = sum(r.count * (r.peak + total(r.host)) for r in roles)
        return [Place("host", everything, tuple(r.name for r in roles))]
    by_name = {r.name: r for r in roles if r.figures}
    devices = []
    if config.rollout.colocate and {LEARNER, ENGINE} <= by_name.keys():
        learner, engine = by_name.pop(LEARNER), by_name.pop(ENGINE)
        update = learner.peak + total(engine.asleep)
        devices.append(Place("shared GPU, updating", update, (LEARNER,)))
        generation = learner.total() + engine.peak
        devices.append(Place("shared GPU, generating", generation, (LEARNER, ENGINE)))
    devices += [Place(f"GPU, {name}", role.peak, (name,)) for name, role in by_name.items()]
    return devices


def misfits(config: RunConfig, device: Device, *, learns: bool, margin: float = 1.0) -> list[Place]:
    """Return the places that need more than `margin` times what the device has."""
    roles = estimate(config, device, learns=learns)
    return [p for p in places(config, roles) if p.num_bytes > margin * device.num_bytes]


def remedies(config: RunConfig, device: Device, *, learns: bool) -> list[str]:
    """Return the settings of which each alone makes a run fit."""
    helpful = []
    for text, changed in _changes(config):
        if not misfits(changed, device, learns=learns):
            helpful.append(text)
    return helpful


def _changes(config: RunConfig) -> Iterator[tuple[str, RunConfig]]:
    """Single changes of a configuration that save memory."""
    learner, rollout, model = config.learner, config.rollout, config.model
    wanted: list[tuple[str, str, Any]] = [
        ("model", "gradient_checkpointing", True),
        ("learner", "tokens_per_microbatch", max(64, learner.tokens_per_microbatch // 2)),
        ("learner", "zero_stage", 3),
        ("learner", "num_ranks", 2 * learner.num_ranks),
        ("model", "logits_chunk_tokens", max(1, model.logits_chunk_tokens // 4)),
        ("rollout", "kv_cache_gib", rollout.kv_cache_gib / 2),
        ("rollout", "tensor_parallel", 2 * rollout.tensor_parallel),
    ]
    for section, name, value in wanted:
        old = getattr(config, section)
        if getattr(old, name) != value:
            yield f"{section}.{name}={str(value).lower()}", _with(config, section, name, value)


def _with(config: RunConfig, section: str, name: str, value: Any) -> RunConfig:
    changed = copy.copy(config)
    setattr(changed, section, replace(getattr(config, section), **{name: value}))
    return changed


def without_checkpointing(config: RunConfig, device: Device) -> Place | None:
    """Return the learner's fullest device if no activation were computed twice.

    None for a run that computes none twice, or has no learner.
    """
    if not config.model.gradient_checkpointing:
        return None
    changed = _with(config, "model", "gradient_checkpointing", False)
    roles = estimate(changed, device)
    held = [place for place in places(changed, roles) if LEARNER in place.roles]
    return max(held, key=lambda place: place.num_bytes)


def check_memory(config: RunConfig, *, learns: bool = True) -> Iterator[Problem]:
    """Yield what will not fit by a wide margin; estimates of unseen GPUs are not judged."""
    if not (Path(config.model.path) / "config.json").is_file():
        return  # `check_checkpoint` has said so
    try:
        device = find_device(config)
        tight = misfits(config, device, learns=learns, margin=MARGIN) if device.known else []
        fixes = remedies(config, device, learns=learns) if tight else []
    except ModelSizeError as error:
        yield Problem("warning", f"memory not estimated: {error}", "see docs/memory.md")
        return
    for place in tight:
        yield Problem(
            "warning",
            f"{place.name}: about {place.num_bytes / GB:.0f} GB for {' and '.join(place.roles)}, "
            f"of {device.num_bytes / GB:.0f}; --dry-run lists the parts",
            f"one of {', '.join(fixes)}" if fixes else "more ranks with learner.zero_stage=3",
        )
