"""The report of a run or a sweep: one HTML file that opens from a disk, without a network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from report import sections
from report.data import collect
from report.figures import confusion_figure, figures, trial_figure
from report.render import HERE, render
from report.run_facts import RunFacts, alarms_of
from report.runs import (
    compared,
    place_in_sweep,
    sweep_curves,
    sweep_of,
    sweep_picture,
    sweep_runs,
)
from report.sweep_results import read_results, result_blocks

CURVES_TITLE = "accuracy of the rollouts, mean over seeds"


def write_report(
    run: Path, *, num_samples: int = 2000, num_clips: int = 60, compare: Sequence[Path] = ()
) -> Path:
    """Write `report.html` into a run folder and return its path.

    Args:
        run: Folder of a run.
        num_samples: Most completions in the sample browser.
        num_clips: Clips that are drawn; those that fit into `report.data.MAX_SOUND_S` are embedded
            with their sound, 43 kB a second.
        compare: Folders of runs that a table sets beside this one.

    Raises:
        UserError: A folder holds no run.
    """
    shown = collect(run, num_samples=num_samples, num_clips=num_clips)
    data = {key: shown[key] for key in ("samples", "clips", "levels")}
    page = _page(
        "report.html",
        **_page_facts(shown),
        **_run_tables(run, compare),
        data=_json(data),
    )
    return _write(run / "report.html", page)


def write_sweep_report(sweep: Path) -> Path:
    """Write `report.html` into the folder of a sweep and return its path.

    Args:
        sweep: Folder that `launch/sweep.py` has written results into.
    """
    results = read_results(sweep)
    curves = sweep_curves(sweep, results)
    page = _page(
        "report_sweep.html",
        name=sweep.resolve().name,
        num_done=results.num_done,
        num_runs=len(results.runs),
        blocks=result_blocks(results),
        picture=Markup(sweep_picture(sweep)),
        curves=Markup(trial_figure(curves, CURVES_TITLE)) if curves else "",
        runs=sweep_runs(sweep, results),
    )
    return _write(sweep / "report.html", page)


def _page(template: str, **facts: Any) -> str:
    """Return a page whose only code is ours, and which loads nothing."""
    # Everything of the run goes through autoescape; what is marked as safe is our own: figures,
    # style, script, and JSON that holds no "<".
    script = (HERE / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    style = (HERE / "report.css").read_text(encoding="utf-8")
    return render(
        template, style=Markup(style), script=Markup(script), script_sha256=digest, **facts
    )


def _json(data: Mapping[str, Any]) -> Markup:
    """Return JSON without "<", so that no text can end the element that carries it."""
    text = json.dumps(data, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _write(path: Path, page: str) -> Path:
    path.write_text(page, encoding="utf-8")
    return path


def _page_facts(shown: Mapping[str, Any]) -> dict[str, Any]:
    run: RunFacts = shown["facts"]
    evaluation, samples = shown["evaluation"], shown["samples"]
    trained = any("time/step_s" in row for row in run.rows)
    confusion = sections.confusion(run.config, evaluation, samples)
    return {
        "name": run.config["name"],
        "run": run,
        "settings": run.config,
        "trained": trained,
        "before": run.last("test_before"),
        "after": run.last("test_after"),
        "gate": run.last("gate"),
        "what": sections.what_was_run(run, evaluation is not None and not trained),
        "alarms": alarms_of(run) if run.is_rl else [],
        "skipped": [row["step"] for row in run.rows if row.get("optim/skipped")],
        "figures": figures(run.rows) if trained else [],
        "evaluation": evaluation,
        "evaluated": (evaluation or {}).get("of", "the test split"),
        "emotions": sections.emotions(run, evaluation),
        "test_sets": sections.test_sets(evaluation),
        "confusion": Markup(confusion_figure(*confusion)) if confusion else "",
        "num_counted": sum(map(sum, confusion[1])) if confusion else 0,
        "steps": sorted({sample["step"] for sample in samples if sample["step"] is not None}),
        "controls": sections.controls(run),
        "hearing": sections.hearing(evaluation),
        "faithful": sections.faithful(shown["faithful"], evaluation),
        "num_samples": len(samples),
        "samples_of": shown["samples_of"],
        "labels": sorted({str(sample["label"]) for sample in samples}),
        "terms": sorted({name for sample in samples for name in sample["terms"]}),
        "config": shown["config"],
    }


def _run_tables(run: Path, compare: Sequence[Path]) -> dict[str, Any]:
    """Return the tables of other runs: of the sweep that this one belongs to, and of named ones."""
    sweep = sweep_of(run)
    results = read_results(sweep) if sweep else None
    return {
        "place": place_in_sweep(run, sweep, results) if sweep and results else "",
        "sweep_blocks": result_blocks(results) if results else [],
        "compared": compared(run, compare) if compare else None,
    }
