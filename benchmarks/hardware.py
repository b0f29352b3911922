"""Steps of a 3B or 7B policy on many H100: few constants are measured, most are assumed.

Measured is one H100 (docs/gpu.md). Nothing that takes two GPUs was ever run: whatever is said of
networks, of other numbers of ranks and of the `nccl` transport is arithmetic on data sheets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from benchmarks.simulate import Stages, decode_seconds, mean_stages, step_seconds
from benchmarks.timing import print_table

NODE = 8
"""GPUs of a node."""

NUM_DRAWN = 12
"""Steps whose completions' lengths are drawn."""


class Constant(NamedTuple):
    """A number, and where it is from."""

    value: float
    unit: str
    measured: bool
    source: str


CONSTANTS = {
    "token_step": Constant(
        5.2e-3,
        "s",
        True,
        "what a token step of 80 completions takes besides reading the weights: 12,570 tokens/s at "
        "3B width and 18 layers, 4.0 GB of weights",
    ),
    "token_step_fixed": Constant(
        0.5,
        "of it",
        False,
        "that does not shrink with fewer completions; one size was run",
    ),
    "memory": Constant(3.35e12, "B/s", False, "data sheet of the H100 SXM, all of it reached"),
    "row": Constant(
        0.20,
        "s per packed row, 36 layers",
        True,
        "rows of 4,096 tokens 3.45 s (10 rows), of 16,384 1.84 s (2 rows), the same groups",
    ),
    "token": Constant(
        6.4e-5, "s per token of a row, 3B", True, "the rest of the same two updates, 22,650 tokens"
    ),
    "token_7b": Constant(
        1.1e-4, "s per token of a row, 7B", True, "2.84 s by layers, less 2 rows of 28 layers"
    ),
    "optimizer": Constant(1.0e-11, "s per weight", True, "34 ms for 3.4 billion, fused AdamW"),
    "offload": Constant(
        53e9, "B/s", True, "12 bytes a weight out and in, 0.9 s of an update at 18 layers"
    ),
    "unseen": Constant(
        1.8, "s of a colocated update", True, "4.45 s in a run; where these are was not seen"
    ),
    "sync": Constant(
        10.9e9, "B/s", True, "`ipc` on one GPU; that `nccl` does as much is an assumption"
    ),
    "sync_fixed": Constant(0.21, "s", True, "0.58 s in a step, 0.37 s of them for 4.0 GB"),
    "judge": Constant(1.5, "s", False, "from the last completion to the last score: 1 to 2"),
    "prefill": Constant(0.4, "of 989 TFLOP/s", False, "the engine's share of peak in prefill"),
    "in_node": Constant(315e9, "B/s", False, "0.7 of NVLink 4's 450 GB/s in one direction"),
    "between_nodes": Constant(35e9, "B/s", False, "0.7 of a 400 Gb/s adapter per GPU"),
    "hidden": Constant(0.5, "of communication", False, "what runs beside computation"),
}


@dataclass(frozen=True)
class Model:
    """What matters of a policy; counts are those of docs/memory.md."""

    weights: float
    """Trained, in bfloat16."""
    layers: int
    kv_bytes: int
    """Of one token in the engine's cache."""
    token_s: float
    """Learner's seconds per token of a row."""
    zero_stage: int
    min_ranks: int
    """GPUs below which the learner does not fit."""


MODELS = {
    "3b": Model(3.397e9, 36, 36_864, CONSTANTS["token"].value, 2, 2),
    "7b": Model(7.616e9, 28, 57_344, CONSTANTS["token_7b"].value, 3, 4),
}


@dataclass(frozen=True)
class Workload:
    """A step's job: by default the paper's."""

    prompts: int = 10
    group: int = 8
    prompt_tokens: int = 260
    """8 s of audio and 60 tokens of text."""
    mean_tokens: float = 250.0
    spread: float = 0.4
    """Of the logarithms of completions' lengths: with 80 of them the longest has about 600."""
    row_tokens: int = 16_384

    def lengths(self, seed: int) -> np.ndarray:
        """Return [P, G] tokens of completions, drawn."""
        draw = np.random.default_rng(seed)
        mean = np.log(self.mean_tokens) - self.spread**2 / 2
        drawn = draw.lognormal(mean, self.spread, (self.prompts, self.group))
        return np.maximum(1, drawn).astype(int)


def value(name: str) -> float:
    """Return a constant."""
    return CONSTANTS[name].value


def rollout_seconds(model: Model, work: Workload, lengths: np.ndarray, engines: int) -> float:
    """Return the seconds of the slowest engine: prompts read, then all of its tokens.

    Completions are dealt out evenly; all of an engine's decode at once.
    """
    context = work.prompt_tokens + work.mean_tokens / 2
    fixed = value("token_step_fixed")

    def token_step(active: int) -> float:
        read = 2 * model.weights + active * context * model.kv_bytes
        host = value("token_step") * (fixed + (1 - fixed) * active / 80)
        return read / value("memory") + host

    shares = np.array_split(lengths.ravel(), min(engines, lengths.size))
    # An engine reads every prompt of which it has completions.
    prompts = min(work.prompts, -(-len(shares[0]) // work.group))
    flops = 2 * model.weights * work.prompt_tokens * prompts
    prefill = flops / (value("prefill") * 989e12)
    return prefill + max(decode_seconds(list(share), token_step) for share in shares)


def collective_bandwidth(gpus: int) -> float:
    """Return the bytes per second of a collective over so many GPUs."""
    return value("in_node") if gpus <= NODE else value("between_nodes")


def update_seconds(model: Model, work: Workload, tokens: float, ranks: int) -> float:
    """Return the seconds of the rank with the most rows; a group is never split.

    Args:
        tokens: Mean completion tokens of a group.
    """
    groups = -(-work.prompts // ranks)
    of_rank = groups * (work.prompt_tokens + tokens)
    rows = max(1, min(groups, -(-of_rank // work.row_tokens)))
    compute = rows * value("row") * model.layers / 36 + of_rank * model.token_s
    # Gradients reduced and weights gathered; ZeRO-3 gathers them twice for every row.
    passes = 3 * rows if model.zero_stage == 3 else 2
    share = (ranks - 1) / ranks
    exchanged = passes * 2 * model.weights * share / collective_bandwidth(ranks)
    return compute + (1 - value("hidden")) * exchanged + value("optimizer") * model.weights / ranks


def stages(
    model: Model, work: Workload, lengths: np.ndarray, engines: int, ranks: int, colocated: bool
) -> Stages:
    """Return the parts of a step."""
    update = update_seconds(model, work, float(lengths.sum(axis=1).mean()), ranks)
    if colocated:
        update += value("unseen") + 2 * 12 * model.weights / ranks / value("offload")
    sync = value("sync_fixed") + 2 * model.weights / value("sync")
    return Stages(rollout_seconds(model, work, lengths, engines), value("judge"), update, sync)


class Choice(NamedTuple):
    """The best division of some GPUs for one mode."""

    seconds: float
    ranks: int
    engines: int
    colocated: bool
    parts: Stages


@cache
def best(name: str, work: Workload, gpus: int, mode: str) -> Choice:
    """Return the division of the GPUs with the shortest step.

    Args:
        mode: `split`, `colocated`, or `staleness N`: split and pipelined.
    """
    model = MODELS[name]
    staleness = int(mode.split()[1]) if " " in mode else 0
    eighths = {max(1, gpus * k // 8) for k in range(1, 8)} | {model.min_ranks}
    few = {min(work.prompts, gpus - 1), min(NODE, gpus - 1)}
    divisions = [(ranks, gpus - ranks) for ranks in sorted(eighths | few)]
    if mode == "colocated":
        divisions = [(gpus, gpus)]
    choices = []
    for ranks, engines in divisions:
        if ranks < model.min_ranks or engines < 1:
            continue
        shared = mode == "colocated"
        steps = [
            stages(model, work, work.lengths(seed), engines, ranks, shared)
            for seed in range(NUM_DRAWN)
        ]
        # Over and over, so that the first rollout, which nothing hides, does not count.
        seconds = step_seconds(steps * 4, staleness)
        choices.append(Choice(seconds, ranks, engines, shared, mean_stages(steps)))
    return min(choices)


MODES = ("split", "colocated", "staleness 1", "staleness 2")


def print_constants() -> None:
    """Print all constants and where they are from."""
    print_table(
        ["constant", "value", "", "source"],
        [
            [name, f"{c.value:g} {c.unit}", "measured" if c.measured else "assumed", c.source]
            for name, c in CONSTANTS.items()
        ],
    )


def print_gpus(name: str, all_gpus: Sequence[int], all_prompts: Sequence[int]) -> None:
    """Print the best step of every mode, and its parts at the first number of prompts."""
    table = []
    for prompts in all_prompts:
        work = Workload(prompts=prompts)
        for mode in MODES:
            choices = [best(name, work, gpus, mode) for gpus in all_gpus]
            table.append([f"{prompts}", mode, *map(_division, choices)])
    print(f"{name}, simulated: seconds of a step (ranks + engines)\n")
    print_table(["prompts", "mode", *(f"{gpus} GPUs" for gpus in all_gpus)], table)
    work = Workload(prompts=all_prompts[0])
    table = []
    for gpus in all_gpus:
        for mode in MODES:
            choice = best(name, work, gpus, mode)
            rate = work.prompts * work.group / choice.seconds
            parts = [f"{part:.2f}" for part in choice.parts]
            table.append([f"{gpus}", mode, *parts, f"{choice.seconds:.2f}", f"{rate:.0f}"])
    print(f"{name}, simulated: parts of a step of {work.prompts} prompts, in s\n")
    parts = ["rollout", "tail", "update", "sync", "step"]
    print_table(["GPUs", "mode", *parts, "completions/s"], table)


def _division(choice: Choice) -> str:
    where = "" if choice.colocated else f" ({choice.ranks} + {choice.engines})"
    return f"{choice.seconds:.1f}{where}"
