#!/usr/bin/env python
"""Look at a corpus before a run does.

python launch/dataset.py check --config FILE [key=value ...] [--output FILE] [--workers N]
python launch/dataset.py leaks --config FILE [key=value ...] [--allow KIND] [--output FILE]
python launch/dataset.py stats --config FILE [key=value ...] [--figure FILE] [--workers N]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

# The repository comes first on the path: its package names are common words.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from annotate.checks import (
    PROBLEMS,
    WARNINGS,
    Finding,
    check_clips_fully,
    check_train_split,
    file_sha256,
    read_raw_rows,
)
from annotate.figure import draw_corpus
from annotate.leaks import KINDS, describe_leaks, find_leaks
from annotate.progress import reported
from annotate.stats import Cell, Table, clip_durations, corpus_tables
from configs.errors import UserError
from configs.load import load_config
from configs.schema import DataConfig, RunConfig
from data.files import write_rows
from data.manifest import ManifestError, read_manifest
from launch.command import EXIT_CONFIG, EXIT_DONE, fail, show_log

COMMANDS = {
    "check": "Decode every clip and list what is wrong.",
    "leaks": "List what two splits share.",
    "stats": "Print what is in a corpus and draw it.",
}

MAX_EXAMPLES = 3
"""Warnings of a kind that are printed; --output has all."""


def check(config: RunConfig, output: Path | None, num_workers: int) -> int:
    """Print everything that is wrong with a corpus, and count what is odd.

    Args:
        config: Says where the manifest and the clips are, and what a run will ask of them.
        output: JSON Lines file for all findings; None = none.
        num_workers: Threads.

    Returns:
        The exit code.

    Raises:
        ManifestError: There is no manifest, or no audio root.
        OSError: The output cannot be written.
    """
    data = config.data
    manifest_error = ""
    try:
        _read_checked(data)
    except ManifestError as error:
        if not (Path(data.manifest).is_file() and Path(data.audio_root).is_dir()):
            raise
        # Clips are checked all the same: nobody wants to mend a corpus in two rounds.
        manifest_error = str(error)
    rows = read_raw_rows(Path(data.manifest), Path(data.audio_root))
    findings = check_clips_fully(
        rows,
        Path(data.audio_root),
        min_duration_s=data.min_duration_s,
        max_duration_s=data.max_duration_s,
        num_workers=num_workers,
    )
    findings += check_train_split(rows, data.train_split, config.train.prompts_per_step)
    if output is not None:
        write_rows(output, [asdict(f) | {"is_problem": f.is_problem} for f in findings])
    if manifest_error:
        _log(f"manifest: {manifest_error}")
    _print_findings(findings)
    num_clips = len({row["audio"] for row in rows})
    num_bad = sum(finding.is_problem for finding in findings)
    _log(
        f"{data.manifest}: {num_clips} clips of {len(rows)} rows decoded: {num_bad} problem(s), "
        f"{len(findings) - num_bad} warning(s){', manifest not usable' if manifest_error else ''}"
    )
    return EXIT_CONFIG if manifest_error or num_bad else EXIT_DONE


def leaks(data: DataConfig, allowed: Sequence[str], output: Path | None) -> int:
    """Print what two splits share.

    Args:
        data: Says where the manifest and the clips are.
        allowed: Kinds that they share by design.
        output: JSON Lines file for all leaks; None = none.

    Returns:
        The exit code.

    Raises:
        ManifestError: The manifest cannot be used.
        OSError: A clip cannot be read.
    """
    rows = _read_checked(data)
    unknown = list(dict.fromkeys(row["audio"] for row in rows if "sha256" not in row))
    paths = (Path(data.audio_root, audio) for audio in unknown)
    sums = reported(map(file_sha256, paths), len(unknown), "hashed {} of {} clips")
    hashes = dict(zip(unknown, sums, strict=True))
    found = find_leaks(({"sha256": hashes.get(row["audio"])} | row for row in rows), allowed)
    if output is not None:
        write_rows(output, map(asdict, found))
    for line in describe_leaks(found):
        _log(line)
    bad = Counter(leak.kind for leak in found if not leak.is_allowed)
    num_loose = sum("split" not in row for row in rows)
    if num_loose:
        _log(f"{num_loose} of {len(rows)} rows have no split and were not compared")
    if bad:
        flags = " ".join(f"--allow {kind}" for kind in bad)
        _log(
            f"{data.manifest}: splits share what they must not, and scores on them would be too "
            f"good. Make other splits, or declare what is shared by design: {flags}"
        )
    return EXIT_CONFIG if bad else EXIT_DONE


def stats(data: DataConfig, figure: Path | None, num_workers: int) -> int:
    """Print the tables of a corpus and draw its figure.

    Args:
        data: Says where the manifest and the clips are.
        figure: PNG or SVG file; None = `manifest.stats.png` beside `manifest.jsonl`.
        num_workers: Threads.

    Returns:
        The exit code.

    Raises:
        ManifestError: The manifest cannot be used.
        OSError: The figure cannot be written.
    """
    rows = _read_checked(data)
    manifest = Path(data.manifest)
    durations_s = clip_durations(rows, Path(data.audio_root), num_workers=num_workers)
    # A pipe or file gets lines of any width and no frames.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    for table in corpus_tables(rows, durations_s, data.choices):
        _print_table(console, table)
    if not any(row.get("prosody") for row in rows):
        _log("no row has prosody: launch/annotate.py measures it")
    target = figure or manifest.with_name(f"{manifest.stem}.stats.png")
    hours = sum(length for length in durations_s if length is not None) / 3600
    title = f"{manifest.parent.name}/{manifest.name}: {len(rows)} clips, {hours:.2f} hours"
    draw_corpus(title, rows, durations_s, data.choices, target)
    _log(f"figure: {target}")
    return EXIT_DONE


def _read_checked(data: DataConfig) -> list[dict[str, Any]]:
    read_manifest(
        data.manifest,
        audio_root=data.audio_root,
        choices=data.choices,
        question_template=data.question,
    )
    return read_raw_rows(Path(data.manifest), Path(data.audio_root))


def _log(line: str) -> None:
    print(line, flush=True)


def _print_findings(findings: Sequence[Finding]) -> None:
    """Print all problems, and of each kind of warning the number and a few."""
    for finding in findings:
        if finding.is_problem:
            where = "" if finding.id is None else f"{finding.id!r}: "
            _log(f"problem   {PROBLEMS[finding.kind]}: {where}{finding.message}")
    for kind, meaning in WARNINGS.items():
        own = [finding for finding in findings if finding.kind == kind]
        if own:
            _log(f"warning   {kind}: {len(own)} ({meaning})")
        for finding in own[:MAX_EXAMPLES]:
            _log(f"            {finding.id!r} {finding.message}")
        if len(own) > MAX_EXAMPLES:
            _log(f"            ... and {len(own) - MAX_EXAMPLES} more")


def _print_table(console: Console, table: Table) -> None:
    shown = RichTable(
        title=Text(table.title),
        title_justify="left",
        title_style="bold",
        box=RichTable().box if console.is_terminal else None,
        pad_edge=False,
    )
    for place, name in enumerate(table.columns):
        shown.add_column(Text(name), justify="right" if place else "left")
    for row in table.rows:
        shown.add_row(*(Text(_cell(value)) for value in row))
    console.print(shown)
    console.print()


def _cell(value: Cell) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    size = abs(value)
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2}f}"


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command and what follows it."""
    outer = argparse.ArgumentParser(
        description="Look at a corpus before a run does.",
        epilog="\n".join(f"{name}: {what}" for name, what in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    outer.add_argument("command", choices=list(COMMANDS), help="`COMMAND --help` tells more")
    command = outer.parse_args(argv[:1]).command
    parser = argparse.ArgumentParser(prog=f"{outer.prog} {command}", description=COMMANDS[command])
    parser.set_defaults(command=command)
    parser.add_argument("--config", required=True, metavar="FILE", help="YAML file of the run")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="dotted settings over the file, such as data.manifest=mine.jsonl",
    )
    if command != "stats":
        parser.add_argument(
            "--output", type=Path, metavar="FILE", help="write all that was found as JSON Lines"
        )
    if command == "leaks":
        parser.add_argument(
            "--allow",
            action="append",
            default=[],
            choices=KINDS,
            help="kind that the splits share by design; may be given several times",
        )
    else:
        parser.add_argument(
            "--workers",
            type=int,
            default=len(os.sched_getaffinity(0)),
            metavar="N",
            help="threads; as many as there are cores unless given",
        )
    if command == "stats":
        parser.add_argument(
            "--figure",
            type=Path,
            metavar="FILE",
            help="PNG or SVG; manifest.stats.png beside manifest.jsonl unless given",
        )
    arguments = parser.parse_intermixed_args(argv[1:])
    if command != "leaks" and arguments.workers < 1:
        parser.error(f"--workers is {arguments.workers}, needs at least 1")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program name; None = those of this process.

    Returns:
        The exit code: 0 done and nothing wrong, 2 configuration, manifest, bad clips or leaks.
    """
    arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
    show_log()
    try:
        config = load_config(arguments.config, arguments.overrides)
        if arguments.command == "check":
            return check(config, arguments.output, arguments.workers)
        if arguments.command == "leaks":
            return leaks(config.data, arguments.allow, arguments.output)
        return stats(config.data, arguments.figure, arguments.workers)
    except (UserError, OSError) as error:
        return fail(EXIT_CONFIG, error)


if __name__ == "__main__":
    sys.exit(main())
