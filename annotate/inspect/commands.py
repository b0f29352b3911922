"""What `launch/dataset.py` does: each command prints its lines and says whether all is well."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from annotate.inspect.checks import (
    check_clips_fully,
    check_labels,
    check_train_split,
    describe_findings,
)
from annotate.inspect.figure import draw_corpus
from annotate.inspect.leaks import KINDS, describe_leaks, find_leaks
from annotate.inspect.stats import Cell, Summary, Table, clip_durations, corpus_tables
from configs.schema import DataConfig, RunConfig
from data.files import file_sha256, write_rows
from data.manifest import ManifestError, check_manifest, read_leniently
from data.progress import reported
from data.stored import HashMap, StoredRows, distinct, text_hash


@dataclass(frozen=True, slots=True)
class Command:
    """One way to look at a corpus."""

    summary: str
    """For its help."""
    run: Callable[..., bool]
    """Takes the run's configuration and the options by name; whether nothing is wrong."""
    options: Mapping[str, Mapping[str, Any]]
    """Flag -> what `argparse` is told of it."""


def check(config: RunConfig, *, output: Path | None, workers: int) -> bool:
    """Print everything that is wrong with a corpus, and count what is odd.

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
    rows = _rows(data)
    findings = check_clips_fully(
        rows,
        Path(data.audio_root),
        min_duration_s=data.min_duration_s,
        max_duration_s=data.max_duration_s,
        num_workers=workers,
    )
    findings += check_labels(rows)
    findings += check_train_split(rows, data.train_split, config.train.prompts_per_step)
    if output is not None:
        write_rows(output, [asdict(f) | {"is_problem": f.is_problem} for f in findings])
    if manifest_error:
        _print(f"manifest: {manifest_error}")
    _print(*describe_findings(findings))
    num_clips = int(distinct(row["audio"] for row in rows)[1].sum())
    num_bad = sum(finding.is_problem for finding in findings)
    _print(
        f"{data.manifest}: {num_clips} clips of {len(rows)} rows decoded: {num_bad} problem(s), "
        f"{len(findings) - num_bad} warning(s){', manifest not usable' if manifest_error else ''}"
    )
    return not (manifest_error or num_bad)


def leaks(config: RunConfig, *, output: Path | None, allow: Sequence[str]) -> bool:
    """Print what two splits share.

    Raises:
        ManifestError: The manifest cannot be used.
        OSError: A clip cannot be read.
    """
    data = config.data
    rows = _read_checked(data)
    rows = _hashed(rows, Path(data.audio_root))
    shared = find_leaks(rows, allow)
    if output is not None:
        write_rows(output, map(asdict, shared))
    _print(*describe_leaks(shared))
    num_loose = sum("split" not in row for row in rows)
    if num_loose:
        _print(f"{num_loose} of {len(rows)} rows have no split and were not compared")
    bad = Counter(leak.kind for leak in shared if not leak.is_allowed)
    if bad:
        flags = " ".join(f"--allow {kind}" for kind in bad)
        _print(
            f"{data.manifest}: splits share what they must not, or nobody can tell, and scores on "
            "them would be too good. Name speakers, make other splits, or declare what is so by "
            f"design: {flags}"
        )
    return not bad


def stats(config: RunConfig, *, workers: int, figure: Path | None) -> bool:
    """Print the tables of a corpus; draw it as PNG or SVG, `manifest.stats.png` if None is named.

    Raises:
        ManifestError: The manifest cannot be used.
        OSError: The figure cannot be written.
    """
    data = config.data
    checked = _read_checked(data)
    manifest = Path(data.manifest)
    durations_s = clip_durations(checked, Path(data.audio_root), num_workers=workers)
    rows = Summary(checked, durations_s)
    # A pipe or file gets lines of any width and no frames.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    for table in corpus_tables(rows, data.choices):
        _print_table(console, table)
    if not rows.has_prosody:
        _print("no row has prosody: launch/annotate.py measures it")
    target = figure or manifest.with_name(f"{manifest.stem}.stats.png")
    title = f"{manifest.parent.name}/{manifest.name}: {len(rows)} clips, {rows.hours:.2f} hours"
    draw_corpus(title, rows, data.choices, target)
    _print(f"figure: {target}")
    return True


def _read_checked(data: DataConfig) -> StoredRows:
    """Return the rows with all their fields; Raises ManifestError unless all are as they must."""
    check_manifest(
        Path(data.manifest),
        audio_root=data.audio_root,
        choices=data.choices,
        follow_links=data.follow_links,
    )
    return _rows(data)


def _rows(data: DataConfig) -> StoredRows:
    root = Path(data.audio_root)
    rows = read_leniently(Path(data.manifest), root, follow_links=data.follow_links)
    return StoredRows.spooled(rows)


def _hashed(rows: StoredRows, audio_root: Path) -> StoredRows:
    """Return rows that all have the hash of their clip."""
    unhashed = rows.where(lambda row: "sha256" not in row)
    clips = unhashed.chosen(distinct(row["audio"] for row in unhashed)[1])
    places, sums = HashMap(), bytearray()
    for row in reported(clips, len(clips), "hashed {} of {} clips"):
        places.put(text_hash(row["audio"]), len(sums))
        sums += bytes.fromhex(file_sha256(audio_root / row["audio"]))

    def with_hash(row: dict[str, Any]) -> dict[str, Any]:
        place = places.get(text_hash(row["audio"]))
        return row if place is None else {"sha256": sums[place : place + 32].hex(), **row}

    return rows.changed(with_hash)


def _print(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


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


def _thread_count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}, needs at least 1")
    return int(text)


_OUTPUT = {"type": Path, "metavar": "FILE", "help": "write all that was found as JSON Lines"}
_WORKERS = {
    "type": _thread_count,
    "default": len(os.sched_getaffinity(0)),
    "metavar": "N",
    "help": "threads; as many as there are cores unless given",
}
_ALLOW = {
    "action": "append",
    "default": [],
    "choices": KINDS,
    "help": "kind that the splits share by design; may be given several times",
}
_FIGURE = {
    "type": Path,
    "metavar": "FILE",
    "help": "PNG or SVG; manifest.stats.png beside manifest.jsonl unless given",
}

COMMANDS = {
    "check": Command(
        "Decode every clip and list what is wrong.",
        check,
        {"--output": _OUTPUT, "--workers": _WORKERS},
    ),
    "leaks": Command(
        "List what two splits share.", leaks, {"--output": _OUTPUT, "--allow": _ALLOW}
    ),
    "stats": Command(
        "Print what is in a corpus and draw it.",
        stats,
        {"--workers": _WORKERS, "--figure": _FIGURE},
    ),
}
"""Name -> command."""
