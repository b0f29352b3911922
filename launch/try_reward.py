#!/usr/bin/env python
"""Score texts with the rewards of a configuration: no model, no Ray, no GPU.

python launch/try_reward.py --config FILE --label angry --text '<think>...</think><answer>...'
python launch/try_reward.py --config FILE --texts FILE.jsonl [--json] [key=value ...]
python launch/try_reward.py --run RUN_FOLDER [--step 20] [--row ID] [key=value ...]

Without --text, --texts and --run one text is read from standard input. docs/rewards.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from configs.errors import UserError
from configs.load import load_config
from configs.schema import RunConfig
from launch.command import EXIT_DONE, EXIT_FAILED, add_run_arguments, run_command
from launch.scored_texts import GroupBuilder, build_terms, rows_of, score_group
from launch.tried_texts import Rows, Tried, texts_of_file, texts_of_run, typed_texts
from rewards.foreign import one_line
from trainer.run_folder import RunFolder

SHOWN_CHARS = 100
"""Characters of a text that the table shows."""


def table_of(row: Mapping[str, Any], number: int, num: int) -> str:
    """Return the lines about one text."""
    parsed = row["parsed"]
    shape = f"malformed: {parsed['fault']}"
    if parsed["well_formed"]:
        verdict = "right" if parsed["right"] else f"wrong, gold: {one_line(row['label'])}"
        shape = f"well-formed; answer: {one_line(parsed['answer'])} ({verdict})"
    claims = ", ".join(
        f"{'not ' if c['negated'] else ''}{c['level']} {c['attribute']} ({_truth(c['truth'])})"
        for c in row["claims"]
    )
    lines = [
        f"{one_line(row['id'])}, text {number} of {num}: {one_line(row['text'], SHOWN_CHARS)}",
        f"  parsed  {shape}",
        f"  think   {one_line(parsed['think'] or '-', SHOWN_CHARS)}",
        f"  claims  {claims or '-'}",
        f"  tokens  {row['tokens'] or 'unknown'}",
        f"  {'term':<20} {'value':>8} {'weight':>8} {'reward':>9}",
    ]
    for name, term in row["terms"].items():
        cells = [_number(term[key]) for key in ("value", "weight", "contribution")]
        line = f"  {name:<20} {cells[0]:>8} {cells[1]:>8} {cells[2]:>9}  {term['note']}"
        lines.append(line.rstrip())
    return "\n".join([*lines, f"  {'total':<20} {'':>8} {'':>8} {_number(row['total']):>9}"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _truth(truth: float | None) -> str:
    return {None: "not measured", 1.0: "true", 0.0: "false"}.get(truth, "borderline")


def texts_of(arguments: argparse.Namespace, config: RunConfig) -> list[Tried]:
    """Return the texts that the arguments name."""
    names = ("label", "speaker", "transcript", "prosody")
    given = {n: getattr(arguments, n) for n in names if getattr(arguments, n) is not None}
    rows, row = Rows(config, given), arguments.row
    fields = {"finish_reason": "length" if arguments.cut else "stop"}
    fields |= {"num_tokens": arguments.tokens}
    if arguments.run:
        return texts_of_run(arguments.run, arguments.step, rows, row)
    if arguments.texts:
        return texts_of_file(arguments.texts, rows, row, **fields)
    if not arguments.text and sys.stdin.isatty():
        print("type a text, then Ctrl-D on a line of its own:", file=sys.stderr)
    texts = arguments.text or [sys.stdin.read()]
    return typed_texts(texts, rows, row, **fields)


def config_of(arguments: argparse.Namespace) -> RunConfig:
    """Return the configuration: the file that is named, or that of the run.

    Raises:
        UserError: Neither is named, or the run has none.
    """
    path = arguments.config
    if path is None and arguments.run:
        path = RunFolder(arguments.run).config_path
        if not path.is_file():
            raise UserError(f"{arguments.run}: is no run folder; it has no config.yaml")
    if path is None:
        raise UserError("name the rewards: --config FILE, or --run RUN_FOLDER")
    return load_config(path, arguments.overrides)


def try_reward(arguments: argparse.Namespace) -> int:
    """Score the texts and print what came out."""
    config = config_of(arguments)
    texts = texts_of(arguments, config)
    failures: dict[str, str] = {}
    # What plug-ins and the log print is no part of the result.
    for handler in logging.getLogger("rewards").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)
    output: list[dict[str, Any]] = []
    with contextlib.redirect_stdout(sys.stderr):
        terms = build_terms(config, arguments.without)
        builder = GroupBuilder(config, needs_clips=terms.needs_clips)
        places = {group: n for n, group in enumerate(dict.fromkeys(t.group for t in texts))}
        ordered = sorted(texts, key=lambda item: places[item.group])
        for index, (_, members) in enumerate(groupby(ordered, key=lambda item: item.group)):
            group = builder.group(list(members), index)
            scored, failed = score_group(group, terms, config)
            failures |= failed
            output += rows_of(scored, config, terms)
    for number, row in enumerate(output, 1):
        print(json.dumps(row) if arguments.json else table_of(row, number, len(output)))
    moving = [t.name for t in config.rewards.terms if t.schedule.kind != "constant"]
    if moving and not arguments.json:
        print(f"weights are those without the schedule of {', '.join(moving)}")
    for name, reason in failures.items():
        print(f"error: reward {name!r}: {reason}", file=sys.stderr)
    return EXIT_FAILED if failures else EXIT_DONE


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("a text has at least 1 token")
    return int(text)


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError('needs a JSON object, such as \'{"pitch": "high"}\'')
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 for done, 2 for settings or texts to mend, 4 for a reward that failed."""
    parser = argparse.ArgumentParser(description="Score texts with the rewards of a run.")
    add_run_arguments(parser, required=False)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--text", action="append", metavar="TEXT", help="may be given repeatedly")
    source.add_argument("--texts", type=Path, metavar="FILE", help=".jsonl, or texts between ---")
    source.add_argument("--run", type=Path, metavar="RUN_FOLDER", help="its samples")
    parser.add_argument("--step", type=int, help="of --run; else the newest with samples")
    parser.add_argument("--row", metavar="ID", help="row of the manifest that the texts answer")
    parser.add_argument("--label", help="gold label of the row")
    parser.add_argument("--speaker", help="speaker of the row")
    parser.add_argument("--transcript", help="what is said in the clip")
    parser.add_argument("--prosody", type=_json_object, metavar="JSON", help="of the clip")
    parser.add_argument("--cut", action="store_true", help="the texts were cut at the token limit")
    parser.add_argument(
        "--tokens", type=_count, metavar="N", help="tokens of each text, end token included"
    )
    parser.add_argument("--without", nargs="+", default=[], metavar="TERM", help="terms left out")
    parser.add_argument("--json", action="store_true", help="one JSON object a text")
    return run_command(parser, try_reward, argv)


if __name__ == "__main__":
    sys.exit(main())
