"""Finished evaluations as the tables of the paper, in Markdown.

Table 2: accuracy on every benchmark. Table 4: variants, compared with the first one. Table 5:
prosody probes before and after, of two evaluations or of one supervised run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.errors import UserError
from evaluation.files import StoredEvaluation
from evaluation.formats import cell, render
from evaluation.nulls import NULLS
from evaluation.paired import Paired, compare
from evaluation.paper_numbers import BENCHMARKS, SOURCE, TABLE_2, TABLE_5, paper_variant
from trainer.run_folder import RunFolder

TEMPLATE = Path(__file__).with_name("paper_tables.md.j2")

NO_FIGURES = {"accuracy": None, "quality": None, "before": None, "after": None}
"""Of what the paper does not have."""


def tables(named: Sequence[str], probes: Sequence[Path]) -> str:
    """Return all tables that there is something for.

    Args:
        named: `LABEL=RUN_FOLDER` of each evaluation; a folder alone is its own label.
        probes: As `probes_of`; empty = no Table 5.

    Raises:
        UserError: Nothing is named, a label twice, or something is not there.
    """
    pairs = [
        (name.rpartition("=")[0] or Path(name).name, name.rpartition("=")[2]) for name in named
    ]
    labels = [label for label, _ in pairs]
    if len(set(labels)) < len(labels):
        raise UserError(f"two evaluations have the same label: {', '.join(labels)}")
    if not pairs and not probes:
        raise UserError("name evaluations as LABEL=RUN_FOLDER, or --probes")
    if len(probes) > 2:
        raise UserError("--probes: name one supervised run, or two evaluations")
    runs = [StoredEvaluation.read(label, Path(folder)) for label, folder in pairs]
    return render(
        TEMPLATE,
        {
            "source": SOURCE,
            "runs": runs,
            "table_2": table_2(runs),
            "notes": notes(runs),
            "table_4": table_4(runs),
            "table_5": table_5(*probes_of(probes)) if probes else [],
        },
    )


def table_2(runs: Sequence[StoredEvaluation]) -> dict[str, Any]:
    """Return accuracies in % on all test sets, their means, and the quality of the reasoning.

    Returns:
        `names` of the sets, and `rows` with `label`, `accuracies` (None where a run lacks the set),
        `micro` and `macro` (None where it lacks one) and `quality`; first ours, then the paper's.
        `nulls`: name of what needs no listening -> accuracies, of the first run that has any.
    """
    names = list(dict.fromkeys(name for run in runs for name in run.sets))
    rows = []
    for run in runs:
        means = run.summary["means"] if set(run.sets) == set(names) else None
        accuracies = {name: 100 * part["overall"]["accuracy"] for name, part in run.sets.items()}
        rows.append(
            {
                "label": run.label,
                "accuracies": [accuracies.get(name) for name in names],
                **{k: 100 * means[k]["accuracy"] if means else None for k in ("micro", "macro")},
                "quality": _quality(run),
            }
        )
    theirs = {name: name.upper() for name in names if name.upper() in BENCHMARKS}
    for model, figures in TABLE_2.items() if theirs else ():
        rows.append(
            {
                "label": f"{model} (paper)",
                "accuracies": [figures[theirs[n]] if n in theirs else None for n in names],
                "micro": figures["Avg"] if sorted(theirs.values()) == sorted(BENCHMARKS) else None,
                "macro": None,
                "quality": figures["quality"],
            }
        )
    nulls = {n: s["nulls"] for run in reversed(runs) for n, s in run.sets.items() if s.get("nulls")}
    without = {
        words: [_percentage(nulls.get(name, {}).get(key)) for name in names]
        for key, words in (NULLS.items() if nulls else ())
    }
    return {"names": names, "rows": rows, "nulls": without}


def table_4(runs: Sequence[StoredEvaluation]) -> list[dict[str, Any]]:
    """Return accuracy and quality of variants, compared with the first one.

    Over speakers where five are known.

    Returns:
        `label`, `accuracy` in %, `quality`, `paired` with the first (None for itself, and where the
        clips are not the same), and the `paper`'s variant of that name.
    """
    return [
        {
            "label": run.label,
            "accuracy": _percentage(run.accuracy),
            "quality": _quality(run),
            "paired": None if run is runs[0] else _paired(runs[0], run),
            "paper": paper_variant(run.label) or NO_FIGURES,
        }
        for run in runs
    ]


def _paired(first: StoredEvaluation, second: StoredEvaluation) -> Paired | None:
    try:
        return compare(first.rows, second.rows)
    except ValueError:  # other clips: nothing to compare
        return None


def _percentage(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _quality(run: StoredEvaluation) -> float | None:
    return run.judged[1]["mean"] if run.judged else None


def notes(runs: Sequence[StoredEvaluation]) -> dict[str, list[str]]:
    """Return what the figures rest on, who judged what and how it was answered -> labels of runs.

    The notes are Markdown, the labels are not.
    """
    labels: dict[str, list[str]] = {}
    for run in runs:
        if run.judged:
            term, numbers = run.judged
            judge = run.summary["judges"].get(term, term)
            dimensions = ", ".join(numbers["dimensions"])
            note = (
                f"quality by {cell(judge)} over {numbers['scored']} answers, 1 to 5, mean of "
                f"{cell(dimensions)}."
            )
            labels.setdefault(note, []).append(run.label)
        if run.summary["mode"] == "direct":
            labels.setdefault("direct answers, without reasoning.", []).append(run.label)
    return labels


def table_5(before: Mapping[str, float], after: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return accuracies in % on prosody probes before and after, in the order of the paper.

    Args:
        before: Probe -> accuracy, 0 to 1.
        after: The same later.

    Returns:
        `name` of a probe, `before` and `after` (None where it was not asked), and the `paper`'s.
    """
    return [
        {
            "name": name,
            "before": _percentage(before.get(name)),
            "after": _percentage(after.get(name)),
            "paper": TABLE_5.get(name, NO_FIGURES),
        }
        for name in dict.fromkeys([*TABLE_5, *before, *after])
    ]


def probes_of(runs: Sequence[Path]) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Return probe -> accuracy before and after.

    Args:
        runs: Two evaluations, or one run of `launch/sft.py` with `eval.benchmarks`.

    Raises:
        UserError: There are no probes.
    """
    if len(runs) == 2:
        before, after = (StoredEvaluation.read("", run).probes for run in runs)
    else:
        by_step: dict[int, dict[str, float]] = {}
        for row in RunFolder(runs[0]).rows():
            for match in filter(None, map(re.compile("probe/(.+)_accuracy").fullmatch, row)):
                by_step.setdefault(row["step"], {})[match[1]] = row[match[0]]
        before = by_step.pop(0, {})
        after = by_step[max(by_step)] if by_step else {}
    if not before or not after:
        raise UserError(
            f"{', '.join(map(str, runs))}: no probes before and after; name two evaluations with "
            "probes among their eval.benchmarks, or a finished run of launch/sft.py with them"
        )
    return before, after
