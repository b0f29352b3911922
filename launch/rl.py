#!/usr/bin/env python
"""Train a policy with GRPO on audio prompts.

python launch/rl.py --config FILE [key=value ...] [--dry-run]
"""

import sys
from pathlib import Path

# The repository comes first on the path: its package names are common words.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launch.cli import main

if __name__ == "__main__":
    sys.exit(main("policy", "Train a policy with GRPO on audio prompts."))
