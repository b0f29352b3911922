#!/usr/bin/env python
"""Write a Qwen2.5-Omni checkpoint of real 3B or 7B dimensions with random weights; no download.

python launch/random_checkpoint.py {tiny,3b,7b} FOLDER [--layers N] [--seed N]
"""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from launch.command import be_quiet

if __name__ == "__main__":
    be_quiet()
    # The demo makes checkpoints, and launch imports nothing of the demo.
    runpy.run_module("demo.random_checkpoint", run_name="__main__")
