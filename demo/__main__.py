"""`python -m demo`: material, cold start, RL and evaluation; finished stages are skipped."""

from __future__ import annotations

import time

from demo.material import prepare
from demo.results import describe_run, draw_curve
from demo.stages import RUNS, run

FOLDER = RUNS / "demo"


def main() -> None:
    """Run the demo and print held-out accuracy before and after RL."""
    start = time.monotonic()
    print("material: a tiny Qwen2.5-Omni and a synthetic speech corpus", flush=True)
    prepare(FOLDER / "material")
    # A finished stage is started too: it says so, and refuses a configuration that has changed.
    title = "cold start: supervised fine-tuning"
    run(title, "launch/sft.py", "--config", "configs/tiny_sft.yaml")
    title = "reinforcement learning: GRPO-PTR"
    run(title, "launch/rl.py", "--config", "configs/tiny.yaml")
    draw_curve([FOLDER / "rl"], FOLDER / "learning_curve.png")
    print(f"\n{describe_run(FOLDER / 'rl')}")
    print(f"learning curve: {FOLDER / 'learning_curve.png'}; samples: {FOLDER / 'rl' / 'samples'}")
    print(f"the whole demo took {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
