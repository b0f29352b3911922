#!/usr/bin/env python
"""Write a Qwen2.5-Omni checkpoint of real 3B or 7B dimensions with random weights; no download.

python launch/random_checkpoint.py {tiny,3b,7b} FOLDER [--layers N] [--seed N]
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from launch.command import be_quiet


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0 for done, 2 if its folder exists."""
    be_quiet()
    # The demo makes checkpoints, and launch imports nothing of the demo.
    return importlib.import_module("demo.random_checkpoint").main(argv)


if __name__ == "__main__":
    sys.exit(main())
