#!/usr/bin/env python
"""From a corpus on disk to manifest, prosody, reasoning, and files for SFT and for the judge.

python launch/annotate.py [--config FILE] corpus=NAME root=FOLDER [key=value ...] [--dry-run]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from annotate.pipeline import run_pipeline
from configs.annotate_schema import AnnotateConfig
from configs.errors import UserError
from configs.load import load_sections
from launch.command import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED, fail, run_command
from launch.preflight import in_ray_job


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code.

    0 done, 2 settings, corpus or manifest, 4 failed or not complete, 75 stopped.
    """
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
        if config.ray and not arguments.dry_run:
            complete = _on_cluster(config)
        else:
            complete = run_pipeline(config, dry_run=arguments.dry_run)
    except (OSError, BrokenProcessPool) as error:
        return fail(EXIT_FAILED, f"{error}; run the same command again to go on")
    except KeyboardInterrupt:
        return fail(EXIT_PREEMPTED, "stopped; run the same command again to go on")
    return EXIT_DONE if complete else EXIT_FAILED


def _on_cluster(config: AnnotateConfig) -> bool:
    """Run the pipeline with the clips spread over a cluster."""
    paths = {"root": config.root, "output": config.output}
    for key, path in paths.items() if in_ray_job() else ():
        if not Path(path).is_absolute():
            raise UserError(
                f"{key}: {path!r} is relative, but a job runs in a folder that is deleted later; "
                "give an absolute path that every node sees"
            )
    if config.ray != "auto":
        os.environ["RAY_ADDRESS"] = config.ray
    os.environ.setdefault("RAY_ADDRESS", "auto")
    # Here, for Ray takes seconds to import and looks at the address meanwhile.
    from launch.ray_map import joined_cluster, ray_map

    with joined_cluster():
        return run_pipeline(config, clip_map=ray_map)


if __name__ == "__main__":
    sys.exit(main())
