#!/usr/bin/env python
"""The estimate of memory of the shipped configurations for the released models, as a table.

python benchmarks/omni_memory.py

Needs neither a GPU nor the models: their headers are made up in a temporary folder.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

# Instead of this folder, whose modules are named like our packages.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.timing import print_table
from configs.load import load_config
from demo.headers import RELEASED, write_omni
from launch.memory.estimate import ASSUMED_GPU_BYTES, LEARNER, Device, estimate, places
from launch.memory.figures import GB

CONFIGS = Path(__file__).resolve().parent.parent / "configs"

COLOCATED = (
    "rollout.colocate=true",
    "sync.transport=ipc",
    "learner.num_ranks=8",
    "rollout.num_engines=8",
    "rollout.kv_cache_gib=10",
)

RUNS: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("omni_7b", "omni_7b", "7B", ()),
    ("omni_7b, colocated on 8", "omni_7b", "7B", COLOCATED),
    ("omni_3b", "omni_3b", "3B", ()),
    ("omni_3b, one rank", "omni_3b", "3B", ("learner.num_ranks=1",)),
    ("omni_judge", "omni_judge", "3B", ()),
    ("omni_sft_prosody", "omni_sft_prosody", "7B", ()),
    ("omni_sft_cold_start", "omni_sft_cold_start", "7B", ()),
]
"""Row, file in `configs/`, size of the policy, settings."""

COLUMNS = {
    "weights": ["weights"],
    "master, moments": ["master weights", "optimizer moments"],
    "gradients": ["gradients", "gradient bucket", "gradient of the largest weight"],
    "reference": ["reference"],
    "gathered": ["gathered layers"],
    "activations": ["activations kept", "audio tower's activations", "one layer, backward"],
    "logits": ["logits of a chunk"],
}
"""Column -> figures of a learner rank that it sums up."""


def row(name: str, file: str, size: str, overrides: tuple[str, ...], folder: Path) -> list[str]:
    """Return a row of the table, in GB."""
    path = f"model.path={folder / size}"
    config = load_config(CONFIGS / f"{file}.yaml", [path, *overrides])
    device = Device(ASSUMED_GPU_BYTES, known=False)
    roles = estimate(config, device)
    (learner,) = [role for role in roles if role.name == LEARNER]
    num_bytes = {figure.name: figure.num_bytes for figure in learner.figures}
    parts = [sum(num_bytes.get(figure, 0) for figure in figures) for figures in COLUMNS.values()]
    shared = [p.num_bytes for p in places(config, roles) if p.name.startswith("shared GPU")]
    numbers = [*parts, learner.backward, learner.step, max([learner.peak, *shared])]
    return [name, str(learner.count), *(f"{number / GB:.1f}" for number in numbers)]


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in RELEASED:
            write_omni(folder / size, size)
        rows = [row(*run, folder) for run in RUNS]
    header = ["GB of a learner rank", "ranks", *COLUMNS, "forward, backward", "step", "its GPU"]
    print_table(header, rows)


if __name__ == "__main__":
    main()
