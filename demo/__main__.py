"""`python -m demo`: material, cold start, RL and evaluation; finished stages are skipped."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from demo.material import prepare
from demo.results import describe_run, draw_curve

FOLDER = Path("runs/demo")
STAGES = (
    ("cold start: supervised fine-tuning", "sft", "configs/tiny_sft.yaml"),
    ("reinforcement learning: GRPO-PTR", "rl", "configs/tiny.yaml"),
)


def main() -> int:
    """Run the demo and print held-out accuracy before and after RL.

    Returns:
        0, or the exit code of the stage that failed.
    """
    start = time.monotonic()
    print("material: a tiny Qwen2.5-Omni and a synthetic speech corpus", flush=True)
    prepare(FOLDER / "material")
    for title, command, config in STAGES:
        print(f"\n== {title} ({config})", flush=True)
        done = subprocess.run([sys.executable, f"launch/{command}.py", "--config", config])
        if done.returncode:
            return done.returncode
    draw_curve([FOLDER / "rl"], FOLDER / "learning_curve.png")
    print(f"\n{describe_run(FOLDER / 'rl')}")
    print(f"learning curve: {FOLDER / 'learning_curve.png'}; samples: {FOLDER / 'rl' / 'samples'}")
    print(f"the whole demo took {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
