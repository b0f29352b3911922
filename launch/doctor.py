#!/usr/bin/env python
"""Check a machine, or a run on it, without starting anything.

python launch/doctor.py [--json]
python launch/doctor.py --config FILE [key=value ...] [--json]

Without a configuration: Python and packages, shared memory, authentication, GPUs. With one: all
that a run checks before it starts, and the estimate of its memory. Exit codes: 0 nothing but
warnings, 2 the configuration is wrong, 3 something would stop a run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from configs.load import ConfigError, load_config
from configs.schema import RunConfig
from configs.secrets import hiding_output
from launch.command import EXIT_CONFIG, EXIT_DONE, EXIT_PREFLIGHT, add_run_arguments, fail
from launch.memory.estimate import estimate, find_device
from launch.memory.model_size import ModelSizeError
from launch.memory.table import describe_memory, memory_json
from launch.preflight import (
    Problem,
    check_authentication,
    check_folder,
    check_job_stop,
    check_shared_memory,
    check_versions,
    in_ray_job,
    preflight,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks and print what they say; return the exit code."""
    parser = argparse.ArgumentParser(description="Check a machine, or a run on it.")
    add_run_arguments(parser, required=False)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    arguments = parser.parse_intermixed_args(argv)
    if arguments.overrides and not arguments.config:
        parser.error("settings need --config FILE")
    with hiding_output():
        return _check(arguments)


def _check(arguments: argparse.Namespace) -> int:
    if not arguments.config:
        report = {"gpus": visible_gpus()}
        problems = sorted(check_machine(), key=lambda problem: problem.level)
        text = gpu_line(report["gpus"])
    else:
        try:
            config = load_config(arguments.config, arguments.overrides)
        except ConfigError as error:
            if arguments.json:
                print(json.dumps({"error": str(error)}))
                return EXIT_CONFIG
            return fail(EXIT_CONFIG, error)
        problems = preflight(config)
        report, text = memory_report(config)
    stops = any(problem.level == "error" for problem in problems)
    if arguments.json:
        report = {"healthy": not stops, "problems": [asdict(p) for p in problems]} | report
        print(json.dumps(report, indent=1))
    else:
        print("\n".join([*map(str, problems), text]))
        num_errors = sum(problem.level == "error" for problem in problems)
        print(f"\n{num_errors} errors, {len(problems) - num_errors} warnings")
    return EXIT_PREFLIGHT if stops else EXIT_DONE


def check_machine() -> Iterator[Problem]:
    """Yield what is wrong with this machine for a run of the default sizes."""
    device = "cuda" if visible_gpus() else "cpu"
    yield from check_versions(device)
    yield from check_folder(Path.cwd())
    yield from check_shared_memory(RunConfig(device=device))
    yield from check_authentication(submitting=False)
    if in_ray_job():
        yield from check_job_stop()


def visible_gpus() -> list[dict[str, Any]]:
    """Return name and size in bytes of every GPU that this process sees."""
    import torch

    if not torch.cuda.is_available():
        return []
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [{"name": gpu.name, "bytes": gpu.total_memory} for gpu in gpus]


def gpu_line(gpus: Sequence[dict[str, Any]]) -> str:
    """Return the GPUs and cores of this machine as text."""
    names = [f"{gpu['name']} ({gpu['bytes'] / 1e9:.1f} GB)" for gpu in gpus]
    return f"GPUs: {', '.join(names) or 'none visible'}; {os.cpu_count()} cores"


def memory_report(config: RunConfig) -> tuple[dict[str, Any], str]:
    """Return the estimate of a run's memory, for JSON and as text."""
    device = find_device(config)
    text = describe_memory(config, device)
    try:
        return {"memory": memory_json(config, device, estimate(config, device))}, text
    except ModelSizeError:
        return {"memory": None}, text


if __name__ == "__main__":
    sys.exit(main())
