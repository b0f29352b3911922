#!/usr/bin/env python
"""Train a policy with GRPO on audio prompts.

python launch/rl.py --config FILE [key=value ...] [--dry-run]
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
    return cli.main("policy", "Train a policy with GRPO on audio prompts.", argv)


if __name__ == "__main__":
    sys.exit(main())
