#!/usr/bin/env python
"""Fine-tune a policy on reference reasoning, with the RL learner.

python launch/sft.py --config FILE [key=value ...] [--dry-run]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from launch import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit codes are those of `launch.cli.main`."""
    return cli.main("sft", "Fine-tune a policy on reference reasoning, with the RL learner.", argv)


if __name__ == "__main__":
    sys.exit(main())
