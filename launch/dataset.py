#!/usr/bin/env python
"""Look at a corpus before a run does.

python launch/dataset.py check --config FILE [key=value ...] [--output FILE] [--workers N]
python launch/dataset.py leaks --config FILE [key=value ...] [--allow KIND] [--output FILE]
python launch/dataset.py stats --config FILE [key=value ...] [--figure FILE] [--workers N]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from annotate.inspect.commands import COMMANDS
from configs.errors import UserError
from configs.load import load_config
from launch.command import EXIT_CONFIG, EXIT_DONE, fail, show_log


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 nothing wrong, 2 configuration, manifest, bad clips or leaks."""
    argv = sys.argv[1:] if argv is None else argv
    outer = argparse.ArgumentParser(
        description="Look at a corpus before a run does.",
        epilog="\n".join(f"{name}: {command.summary}" for name, command in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    outer.add_argument("command", choices=list(COMMANDS), help="`COMMAND --help` tells more")
    name = outer.parse_args(argv[:1]).command
    command = COMMANDS[name]
    parser = argparse.ArgumentParser(prog=f"{outer.prog} {name}", description=command.summary)
    parser.add_argument("--config", required=True, metavar="FILE", help="YAML file of the run")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="dotted settings over the file, such as data.manifest=mine.jsonl",
    )
    for flag, about in command.options.items():
        parser.add_argument(flag, **about)
    options = vars(parser.parse_intermixed_args(argv[1:]))
    show_log()
    try:
        config = load_config(options.pop("config"), options.pop("overrides"))
        return EXIT_DONE if command.run(config, **options) else EXIT_CONFIG
    except (UserError, OSError) as error:
        return fail(EXIT_CONFIG, error)


if __name__ == "__main__":
    sys.exit(main())
