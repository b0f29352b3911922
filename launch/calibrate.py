#!/usr/bin/env python
"""Calibrate a judge on the held-out rows of a judge file.

python launch/calibrate.py --config FILE [key=value ...] [--human CSV] [--against FILE] [--run RUN]

Writes `calibration/` into the run folder: scores.jsonl, summary.json, report.md, report.png.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from configs.load import ConfigError, load_config
from configs.schema import RunConfig
from launch.command import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_PREFLIGHT,
    add_run_arguments,
    be_quiet,
    fail,
    run_command,
)
from launch.preflight import preflight, stop_run


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 done, 2 configuration or data, 3 preflight, 4 the judge failed."""
    parser = argparse.ArgumentParser(description="Calibrate a judge on held-out rows.")
    add_run_arguments(parser)
    parser.add_argument("--human", default="", metavar="CSV", help="people's scores of the texts")
    parser.add_argument("--against", default="", metavar="FILE", help="an earlier scores.jsonl")
    parser.add_argument("--run", default="", metavar="RUN", help="run whose completions count too")
    return run_command(parser, calibrate, argv)


def calibrate(arguments: argparse.Namespace) -> int:
    """Check the configuration and the machine, then calibrate."""
    be_quiet()
    config = load_config(arguments.config, arguments.overrides)
    if config.loss.kind == "policy":
        raise ConfigError(f"{arguments.config}: loss.kind is policy, needs sft")
    if stop_run(preflight(config, learns=False)):
        return EXIT_PREFLIGHT
    return _calibrate(config, arguments)


def _calibrate(config: RunConfig, arguments: argparse.Namespace) -> int:
    from ray.exceptions import RayError

    from evaluation.calibration.completions import score_completions
    from evaluation.calibration.judge import local_judge, start_judge
    from evaluation.calibration.run import score_probes, write_calibration
    from launch.cluster import ClusterError, connect, place
    from launch.judge_training import read_calibration_rows
    from rewards.base import RewardError

    folder = Path(config.output_dir) / config.name
    try:
        train, rows = read_calibration_rows(config)
        connect(config, learns=False)
        target, options = local_judge(config, str(folder / "export"))
        if config.judge.target:
            target, options = config.judge.target, config.judge.target_options
        judge = start_judge(config, target, options, place(config, learns=False).rewards)
        name = target.rpartition(":")[2]
        scored = {name: score_probes(config, judge, rows)}
        run = Path(arguments.run) if arguments.run else None
        completions = {name: score_completions(config, judge, run)} if run else {}
        judge.close()
        write_calibration(
            folder / "calibration",
            scored,
            rows,
            train=train,
            seed=config.seed,
            human=arguments.human,
            against=arguments.against,
            completions=completions,
        )
    except (ClusterError, RayError, RewardError) as error:
        return fail(EXIT_FAILED, error)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
