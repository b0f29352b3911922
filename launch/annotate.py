#!/usr/bin/env python
"""From a corpus on disk to manifest, prosody, reasoning, and files for SFT and for the judge.

python launch/annotate.py [--config FILE] corpus=NAME root=FOLDER [key=value ...] [--dry-run]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from annotate.pipeline import run_pipeline
from configs.annotate_schema import AnnotateConfig
from configs.load import load_sections
from launch.command import EXIT_DONE, EXIT_FAILED, fail, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 done, 2 settings, corpus or manifest, 4 failed or not complete."""
    parser = argparse.ArgumentParser(
        description="Turn a corpus into manifest, prosody, reasoning, SFT and judge files."
    )
    parser.add_argument("--config", default="", metavar="FILE", help="YAML file of the settings")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="settings over the file, such as corpus=ravdess root=/corpora/RAVDESS; docs/data.md "
        "lists them",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check the settings, say what would be written"
    )
    return run_command(parser, annotate, argv)


def annotate(arguments: argparse.Namespace) -> int:
    """Run the pipeline, from where it was."""
    config = load_sections(arguments.config, AnnotateConfig, arguments.overrides)
    try:
        complete = run_pipeline(config, dry_run=arguments.dry_run)
    except (OSError, BrokenProcessPool) as error:
        return fail(EXIT_FAILED, f"{error}; run the same command again to go on")
    return EXIT_DONE if complete else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
