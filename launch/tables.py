#!/usr/bin/env python
"""Write finished evaluations as the tables of the paper, in Markdown.

python launch/tables.py LABEL=RUN_FOLDER ... [--probes RUN_FOLDER [RUN_FOLDER]] [--output FILE.md]
python launch/tables.py --folds RUN_FOLDER ... [--output FILE.md]

Table 2: accuracy on every benchmark. Table 4: variants, compared with the first one. Table 5, with
`--probes`: prosody probes before and after, of two evaluations or of one supervised run. `--folds`:
the means of a cross-validation, as EmoBox reports them.
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
from evaluation.folds import fold_table
from evaluation.paper_tables import tables
from launch.command import EXIT_DONE, run_command


def write_tables(arguments: argparse.Namespace) -> int:
    """Write the page, or print it."""
    if arguments.folds:
        if arguments.runs or arguments.probes:
            raise UserError("--folds makes a table of its own; leave the other runs out")
        page = fold_table(arguments.folds)
    else:
        page = tables(arguments.runs, arguments.probes)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(page, encoding="utf-8")
        print(arguments.output)
    else:
        print(page, end="")
    return EXIT_DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0 for done, 2 for a folder without an evaluation."""
    parser = argparse.ArgumentParser(description="Write evaluations as the tables of the paper.")
    parser.add_argument("runs", nargs="*", metavar="LABEL=RUN_FOLDER", help="evaluations, in order")
    parser.add_argument("--probes", nargs="+", type=Path, default=[], metavar="RUN_FOLDER")
    parser.add_argument("--folds", nargs="+", type=Path, default=[], metavar="RUN_FOLDER")
    parser.add_argument("--output", type=Path, help="Markdown file; else it is printed")
    return run_command(parser, write_tables, argv)


if __name__ == "__main__":
    sys.exit(main())
