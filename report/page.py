"""Pages about runs and sweeps: each an HTML file that opens from a disk, without a network."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from data.files import write_atomically
from report import sections
from report.data import collect
from report.figures import confusion_figure, figures, trial_figure
from report.pair import Pairs, read_pairs
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
    run: Path,
    *,
    num_samples: int = 2000,
    num_clips: int = 60,
    compare: Sequence[Path] = (),
    every_s: float = 0.0,
) -> Path:
    """Write `report.html` into a run folder and return its path.

    Args:
        run: Folder of a run.
        num_samples: Most completions in the sample browser.
        num_clips: Clips that are drawn; those that fit into `report.data.MAX_SOUND_S` are embedded
            with their sound, 43 kB a second.
        compare: Folders of runs that a table sets beside this one.
        every_s: Seconds after which an open page looks whether it was written again; 0 = never.

    Raises:
        UserError: A folder holds no run.
    """
    shown = collect(run, num_samples=num_samples, num_clips=num_clips)
    data = {key: shown[key] for key in ("samples", "clips", "levels")}
    page = _page(
        "report.html",
        ("list.js", "report.js", "live.js"),
        **_page_facts(shown),
        **_run_tables(run, compare),
        data=_json(data),
        every_s=every_s,
        written=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
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


def write_pair(first: Path, second: Path, path: Path, *, num_clips: int = 200) -> Pairs:
    """Write the answers of two evaluations to the same clips side by side, as one HTML file.

    Args:
        first: Run folder of `launch/evaluate.py`, or of a training run with a last test: A.
        second: Another one: B.
        path: The file.
        num_clips: Clips that are drawn, those first whose answers differ; with sound as in
            `write_report`.

    Returns:
        What the page shows.

    Raises:
        UserError: A folder holds no run or no answers, or they have no clip in common.
    """
    pairs = read_pairs(first, second, num_clips=num_clips)
    page = _page(
        "report_pair.html",
        ("list.js", "pair.js"),
        name=f"{pairs.names[0]} and {pairs.names[1]}",
        pairs=pairs,
        compared=compared(first, [second]),
        data=_json({"pairs": pairs.rows, "clips": pairs.clips, "levels": pairs.levels}),
    )
    _write(path, page)
    return pairs


def _page(template: str, scripts: Sequence[str] = (), **facts: Any) -> str:
    """Return a page whose only code is ours, and which loads nothing but itself."""
    # Everything of the run goes through autoescape; what is marked as safe is our own: figures,
    # style, script, and JSON that holds no "<".
    script = "".join((HERE / name).read_text(encoding="utf-8") for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    style = (HERE / "report.css").read_text(encoding="utf-8")
    ours = {"style": Markup(style), "script": Markup(script), "script_sha256": digest}
    return render(template, **{"every_s": 0, **ours, **facts})


def _json(data: Mapping[str, Any]) -> Markup:
    """Return JSON without "<", so that no text can end the element that carries it."""
    text = json.dumps(data, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _write(path: Path, page: str) -> Path:
    write_atomically(path, page)  # it may be open in a browser
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
        "without_listening": sections.without_listening(evaluation),
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
