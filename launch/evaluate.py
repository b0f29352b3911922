#!/usr/bin/env python
"""Evaluate a policy on the test split of a run's configuration; no learner, no training.

python launch/evaluate.py --config FILE [key=value ...] [--dry-run]

Writes one row to the run folder's metrics.jsonl, with the keys `test_after/*` that a training run
writes after its last step.
"""

import sys
from pathlib import Path

# The repository comes first on the path: its package names are common words.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launch.cli import main

if __name__ == "__main__":
    sys.exit(main("evaluate", "Evaluate a policy on the test split of a configuration."))
