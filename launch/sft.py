#!/usr/bin/env python
"""Fine-tune a policy on reference reasoning, with the RL learner.

python launch/sft.py --config FILE [key=value ...] [--dry-run]
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from launch.cli import main

if __name__ == "__main__":
    sys.exit(main("sft", "Fine-tune a policy on reference reasoning, with the RL learner."))
