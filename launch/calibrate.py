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

from configs.errors import UserError
from configs.load import ConfigError, load_config
from configs.schema import RunConfig
from launch.command import (
    EXIT_CONFIG,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_PREFLIGHT,
    be_quiet,
    fail,
    show_log,
)
from launch.preflight import preflight


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Calibrate a judge on held-out rows.")
    parser.add_argument("--config", required=True, metavar="FILE", help="YAML file of a judge run")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings over the file")
    parser.add_argument("--human", default="", metavar="CSV", help="people's scores of the texts")
    parser.add_argument(
        "--against", default="", metavar="FILE", help="scores.jsonl of an earlier calibration"
    )
    parser.add_argument(
        "--run", default="", metavar="RUN", help="run folder whose completions are judged too"
    )
    return parser.parse_intermixed_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program name; None = those of this process.

    Returns:
        The exit code: 0 done, 2 configuration or data, 3 preflight, 4 the judge failed.
    """
    arguments = parse_arguments(argv)
    show_log()
    be_quiet()
    try:
        config = load_config(arguments.config, arguments.overrides)
        if config.loss.kind == "policy":
            raise ConfigError(f"{arguments.config}: loss.kind is policy, needs sft")
    except ConfigError as error:
        return fail(EXIT_CONFIG, error)
    problems = preflight(config, learns=False)
    for problem in problems:
        print(f"{problem.level}: {problem.what}; {problem.fix}", file=sys.stderr)
    if any(problem.level == "error" for problem in problems):
        return EXIT_PREFLIGHT
    return _calibrate(config, arguments)


def _calibrate(config: RunConfig, arguments: argparse.Namespace) -> int:
    from ray.exceptions import RayError

    from evaluation.calibration.completions import score_completions
    from evaluation.calibration.judge import local_judge, start_judge
    from evaluation.calibration.run import score_probes, write_calibration
    from launch.cluster import ClusterError, connect, place
    from launch.judge_training import read_held_out
    from rewards.base import RewardError

    folder = Path(config.output_dir) / config.name
    try:
        rows = read_held_out(config)
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
            seed=config.seed,
            human=arguments.human,
            against=arguments.against,
            completions=completions,
        )
    except UserError as error:
        return fail(EXIT_CONFIG, error)
    except (ClusterError, RayError, RewardError) as error:
        return fail(EXIT_FAILED, error)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
