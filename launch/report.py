#!/usr/bin/env python
"""Write the report of a run: one HTML file that opens from a disk, without a network.

python launch/report.py RUN_FOLDER [--samples 2000] [--clips 60]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# The repository comes first on the path: its package names are common words.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jinja2 import Environment

from launch.report_data import ReportError, collect, label_counts, last_with
from launch.report_figures import confusion_figure, figures

EXIT_DONE, EXIT_CONFIG = 0, 2

TEMPLATE = Path(__file__).with_name("report.html")

CONTROL = "control_"


def write_report(run: Path, *, num_samples: int = 2000, num_clips: int = 60) -> Path:
    """Write `report.html` into a run folder and return its path.

    Args:
        run: Folder of a run.
        num_samples: Most completions in the sample browser.
        num_clips: Clips that are embedded, about 50 kB each for 1.5 s.

    Raises:
        ReportError: The folder holds no run.
    """
    found = collect(run, num_samples=num_samples, num_clips=num_clips)
    # Everything of the run goes through autoescape; the figures are our own, and the JSON holds no
    # "<", so that no text can end the script element that carries it.
    page = Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    data = json.dumps({"samples": found["samples"], "clips": found["clips"]}).replace(
        "<", "\\u003c"
    )
    text = page.render(**_page_facts(found), data=data)
    path = run / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


def _page_facts(found: Mapping[str, Any]) -> dict[str, Any]:
    rows, status = found["rows"], found["status"]
    before, after = last_with(rows, "test_before"), last_with(rows, "test_after")
    evaluation = found["evaluation"]
    classes, heads, source = _classes(evaluation, before, after, last_with(rows, "eval"))
    return {
        "name": found["name"],
        "state": status["state"],
        "step": status["step"],
        "reason": status["reason"],
        "summary": _summary(before, after),
        "cards": _cards(rows, before, after),
        "figures": figures(rows),
        "classes": classes,
        "class_heads": heads,
        "classes_of": source,
        "confusion": confusion_figure(evaluation["choices"], evaluation["confusion"])
        if evaluation
        else "",
        "controls": _controls(after),
        "num_samples": len(found["samples"]),
        "labels": label_counts(found["samples"]),
        "terms": sorted({name for sample in found["samples"] for name in sample["terms"]}),
        "config": found["config"],
    }


def _summary(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    if "accuracy" in before and "accuracy" in after:
        gain = 100 * (after["accuracy"] - before["accuracy"])
        return (
            f"Test accuracy {before['accuracy']:.1%} before, {after['accuracy']:.1%} after "
            f"({gain:+.1f} points)."
        )
    return f"Test accuracy {after['accuracy']:.1%}." if "accuracy" in after else ""


def _cards(
    rows: Sequence[Mapping[str, Any]], before: Mapping[str, float], after: Mapping[str, float]
) -> list[dict[str, str]]:
    """Return the numbers that stand large at the top."""
    cards = []
    for name, label in (("accuracy", "accuracy"), ("ua", "UA"), ("macro_f1", "macro F1")):
        if name in after:
            note = f"{before[name]:.1%} before" if name in before else ""
            cards.append({"label": label, "value": f"{after[name]:.1%}", "note": note})
    facts = [name for name in after if name.endswith("_factual_alignment")]
    for name in facts:
        note = f"{before[name]:.2f} before" if name in before else "1 to 5"
        cards.append({"label": "facts", "value": f"{after[name]:.2f}", "note": note})
    opened = last_with(rows, "gate")
    for name, value in opened.items():
        if name.endswith("_opened_at"):
            cards.append({"label": "gate opened", "value": f"{value:.0f}", "note": "step"})
    steps = [row["time/step_s"] for row in rows if "time/step_s" in row]
    if steps:
        middle = sorted(steps)[len(steps) // 2]
        cards.append({"label": "step", "value": f"{middle:.2f} s", "note": "median"})
    return cards


def _classes(
    evaluation: Mapping[str, Any] | None,
    before: Mapping[str, float],
    after: Mapping[str, float],
    during: Mapping[str, float],
) -> tuple[list[list[str]], list[str], str]:
    """Return rows, heads and source of the table by emotion."""
    if evaluation:
        rows = [
            [name, str(cell["examples"])]
            + [_percent(cell[key]) for key in ("precision", "recall", "f1")]
            for name, cell in evaluation["classes"].items()
        ]
        return (
            rows,
            ["emotion", "clips", "precision", "recall", "F1"],
            "Greedy answers, test split.",
        )
    found, source = (
        (after, "Recall on the test split.") if after else (during, "Recall, last eval.")
    )
    names = [name for name in found if name.startswith("recall_")]
    rows = [
        [name[7:].replace("_", " "), _percent(before.get(name)), _percent(found[name])]
        for name in names
    ]
    return rows, ["emotion", "before", "after"], source


def _controls(after: Mapping[str, float]) -> list[list[str]]:
    end = "_accuracy"
    names = [
        k[len(CONTROL) : -len(end)] for k in after if k.startswith(CONTROL) and k.endswith(end)
    ]
    kinds = ("accuracy", "changed_frac", "follow_frac", "against_frac")
    return [
        [name, *(_percent(after.get(f"{CONTROL}{name}_{kind}")) for kind in kinds)]
        for name in names
    ]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program name; None = those of this process.

    Returns:
        The exit code: 0 done, 2 no run there.
    """
    parser = argparse.ArgumentParser(description="Write the report of a run as one HTML file.")
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--samples", type=int, default=2000, help="most completions shown")
    parser.add_argument("--clips", type=int, default=60, help="clips embedded with their sound")
    arguments = parser.parse_args(argv)
    try:
        path = write_report(arguments.run, num_samples=arguments.samples, num_clips=arguments.clips)
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
