#!/usr/bin/env python
"""The learner's forward and backward pass at 3B or 7B size with random weights, on one device.

python benchmarks/at_size.py [PART ...] [--size tiny] [--layers N] [--out FILE] [--budget 120]

Neither a checkpoint nor vLLM, Ray or DeepSpeed is needed; nothing is downloaded. Parts:

- attention: FlexAttention and SDPA of the project against dense float32, output and gradients;
- mask: time and memory of FlexAttention's mask;
- parity: log-probs in bfloat16 against float32, as the gate compares them;
- steps: packed, repeated and padded rows; checkpointing; tokens/s, utilization, memory;
- compile: `torch.compile` of decoder layers;
- tower: the audio tower's loop over chunks against varlen attention;
- adamw: an optimizer step over all trained weights;
- layers: 1, 2, 4 and 8 layers and a line through them, for sizes that do not fit;
- profile: operators of one update.

Every row is printed and appended to `--out` at once, and a part begins nothing new after its
budget, so a run that is cut off leaves what it had. A row that does not fit into memory says so.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

# Instead of this folder, whose modules are named like our packages.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from launch.command import be_quiet

be_quiet()

import torch

from benchmarks.at_size_model import Job, peak_tflops
from benchmarks.at_size_numerics import part_attention, part_mask, part_parity
from benchmarks.at_size_report import Report
from benchmarks.at_size_steps import (
    part_adamw,
    part_compile,
    part_layers,
    part_profile,
    part_steps,
    part_tower,
)
from benchmarks.timing import print_machine
from demo.random_checkpoint import SIZES

PARTS: dict[str, Callable[[Job, Report], None]] = {
    "attention": part_attention,
    "mask": part_mask,
    "parity": part_parity,
    "steps": part_steps,
    "compile": part_compile,
    "tower": part_tower,
    "adamw": part_adamw,
    "layers": part_layers,
    "profile": part_profile,
}


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the parsed arguments; sizes that are not given follow from the model's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all")
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--layers", type=int, default=0, help="of the language model; 0 = all")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="cuda if there is one")
    parser.add_argument("--prompts", type=int, default=0, help="of a step; 10, or 2 if tiny")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a clip")
    parser.add_argument("--tokens", type=int, default=0, help="longest completion; 400, or 20")
    parser.add_argument("--row-tokens", type=int, default=0, help="of a row; 16384, or 1024")
    parser.add_argument("--rounds", type=int, default=4, help="that count, if there is time")
    parser.add_argument("--peak", type=float, default=0.0, help="TFLOP/s of the device")
    parser.add_argument("--out", type=Path, help="JSON Lines file that rows are appended to")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds of one part")
    parsed = parser.parse_args(argv)
    unknown = [part for part in parsed.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    if parsed.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda, but torch finds no CUDA device here")
    return parsed


def make_job(parsed: argparse.Namespace) -> Job:
    """Return what the arguments ask for."""
    device = parsed.device or ("cuda" if torch.cuda.is_available() else "cpu")
    tiny = parsed.size == "tiny"
    size = SIZES[parsed.size]
    longest = parsed.tokens or (20 if tiny else 400)
    name = torch.cuda.get_device_name(0) if device == "cuda" else "cpu"
    return Job(
        name=parsed.size,
        size=replace(size, num_layers=parsed.layers or size.num_layers),
        device=torch.device(device, 0 if device == "cuda" else None),
        device_name=name,
        num_prompts=parsed.prompts or (2 if tiny else 10),
        clip_s=parsed.seconds,
        min_tokens=max(1, longest // 4),
        max_tokens=longest,
        budget=parsed.row_tokens or (1024 if tiny else 16384),
        rounds=parsed.rounds,
        peak_tflops=parsed.peak or peak_tflops(name),
    )


def main() -> None:
    """Measure, print and write."""
    parsed = parse()
    print_machine()
    job = make_job(parsed)
    report = Report(parsed.out, parsed.budget)
    report.start("facts")
    report.row(
        {
            "size": job.name,
            "layers": job.size.num_layers,
            "device": job.device_name,
            "peak_tflops": job.peak_tflops,
            "torch": torch.__version__,
            "prompts": job.num_prompts,
            "clip_s": job.clip_s,
            "completion_tokens": f"{job.min_tokens} to {job.max_tokens}",
            "row_tokens": job.budget,
        }
    )
    for part in parsed.parts or PARTS:
        report.start(part)
        PARTS[part](job, report)


if __name__ == "__main__":
    main()
