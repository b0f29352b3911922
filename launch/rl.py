#!/usr/bin/env python
"""Train a policy with GRPO on audio prompts.

python launch/rl.py --config FILE [key=value ...] [--dry-run]
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from launch.cli import main

if __name__ == "__main__":
    sys.exit(main("policy", "Train a policy with GRPO on audio prompts."))
