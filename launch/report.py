#!/usr/bin/env python
"""Write the report of a run or a sweep: one HTML file that opens from a disk, without a network.

python launch/report.py RUN_FOLDER [--compare RUN_FOLDER ...] [--samples 2000] [--clips 60]
python launch/report.py SWEEP_FOLDER
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# The repository comes first on the path: its package names are common words.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from launch import report_page
from launch.report_data import ReportError, collect, label_counts
from launch.report_figures import figures, trial_figure
from launch.report_runs import (
    RESULTS,
    Block,
    compared,
    place_in_sweep,
    sweep_blocks,
    sweep_curves,
    sweep_of,
    sweep_picture,
    sweep_runs,
)
from trainer.run_facts import RunFacts

EXIT_DONE, EXIT_CONFIG = 0, 2

HERE = Path(__file__).parent


def write_report(
    run: Path, *, num_samples: int = 2000, num_clips: int = 60, compare: Sequence[Path] = ()
) -> Path:
    """Write `report.html` into a run folder and return its path.

    Args:
        run: Folder of a run.
        num_samples: Most completions in the sample browser.
        num_clips: Clips that are drawn; those that fit into `report_data.MAX_SOUND_S` are embedded
            with their sound, 43 kB a second.
        compare: Folders of runs that a table sets beside this one.

    Raises:
        ReportError: A folder holds no run.
    """
    found = collect(run, num_samples=num_samples, num_clips=num_clips)
    data = {key: found[key] for key in ("samples", "clips", "levels")}
    page = _render(
        "report.html",
        **_page_facts(found),
        **_run_tables(run, compare),
        data=_json(data),
    )
    return _write(run / "report.html", page)


def write_sweep_report(sweep: Path) -> Path:
    """Write `report.html` into the folder of a sweep and return its path.

    Args:
        sweep: Folder that `launch/sweep.py` has written results into.
    """
    runs, num_done, num_runs = sweep_runs(sweep)
    curves = sweep_curves(sweep)
    title = "accuracy of the rollouts, mean over seeds"
    page = _render(
        "report_sweep.html",
        name=sweep.resolve().name,
        num_done=num_done,
        num_runs=num_runs,
        blocks=sweep_blocks(sweep)[1:],  # the first is the title
        picture=Markup(sweep_picture(sweep)),
        curves=Markup(trial_figure(curves, title)) if curves else "",
        runs=runs,
    )
    return _write(sweep / "report.html", page)


def _render(template: str, **facts: Any) -> str:
    """Return a page whose only code is ours, and which loads nothing."""
    # Everything of the run goes through autoescape; what is marked as safe is our own: figures,
    # style, script, and JSON that holds no "<".
    environment = Environment(autoescape=True, loader=FileSystemLoader(HERE))
    script = (HERE / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    style = (HERE / "report.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(
        style=Markup(style), script=Markup(script), script_sha256=digest, **facts
    )


def _json(data: Mapping[str, Any]) -> Markup:
    """Return JSON without "<", so that no text can end the element that carries it."""
    text = json.dumps(data, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _write(path: Path, page: str) -> Path:
    path.write_text(page, encoding="utf-8")
    return path


def _page_facts(found: Mapping[str, Any]) -> dict[str, Any]:
    facts: RunFacts = found["facts"]
    evaluation = found["evaluation"]
    trained = any("time/step_s" in row for row in facts.rows)
    samples = found["samples"]
    matrix, matrix_help = report_page.confusion(facts.config, evaluation, samples)
    return {
        "name": facts.config["name"],
        "state": facts.status["state"],
        "step": facts.status["step"] if trained else None,
        "reason": facts.status["reason"],
        "headline": report_page.headline(facts, evaluation),
        "what": report_page.what_was_run(facts, evaluation is not None and not trained),
        "cards": report_page.cards(facts),
        "alarms": report_page.alarm_lines(facts),
        "alarm_help": report_page.alarm_help(facts),
        "figures": [
            {"title": figure.title, "svg": Markup(figure.svg), "help": figure.help}
            for figure in figures(facts.rows)
            if trained
        ],
        "emotions": report_page.emotions(facts, evaluation),
        "test_sets": report_page.test_sets(evaluation),
        "confusion": Markup(matrix),
        "confusion_help": matrix_help,
        "controls": report_page.controls(facts),
        "num_samples": len(samples),
        "samples_of": found["samples_of"],
        "labels": label_counts(samples),
        "terms": sorted({name for sample in samples for name in sample["terms"]}),
        "config": found["config"],
    }


def _run_tables(run: Path, compare: Sequence[Path]) -> dict[str, Any]:
    """Return the tables of other runs: of the sweep that this one belongs to, and of named ones."""
    sweep = sweep_of(run)
    blocks: list[Block] = sweep_blocks(sweep)[1:] if sweep else []
    return {
        "place": f"{place_in_sweep(run, sweep)}, in the sweep {sweep.name}" if sweep else "",
        "sweep_blocks": blocks,
        "compared": compared(run, compare) if compare else None,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program name; None = those of this process.

    Returns:
        The exit code: 0 done, 2 no run there.
    """
    parser = argparse.ArgumentParser(description="Write the report of a run as one HTML file.")
    parser.add_argument("run", type=Path, help="folder of the run, or of a sweep")
    parser.add_argument(
        "--compare", type=Path, nargs="+", default=[], metavar="RUN", help="runs set beside it"
    )
    parser.add_argument("--samples", type=int, default=2000, help="most completions shown")
    parser.add_argument("--clips", type=int, default=60, help="clips drawn, with their sound")
    arguments = parser.parse_args(argv)
    try:
        if (arguments.run / RESULTS).is_file():
            path = write_sweep_report(arguments.run)
        else:
            path = write_report(
                arguments.run,
                num_samples=arguments.samples,
                num_clips=arguments.clips,
                compare=arguments.compare,
            )
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
