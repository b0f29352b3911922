"""The means of a cross-validation: WA, UA and macro F1 of each corpus, averaged over its folds.

Source: EmoBox (Ma et al. 2024, arXiv:2406.07162), intra-corpus results; its WA is accuracy, its UA
scikit-learn's balanced accuracy (https://github.com/emo-box/EmoBox, `EmoEval`).
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.errors import UserError
from data.parsing import normalize_label
from evaluation.files import StoredEvaluation
from evaluation.formats import cell, number
from evaluation.official import PUBLISHED
from evaluation.statistics import classification_report
from evaluation.summary import NUMBERS


def fold_table(runs: Sequence[Path]) -> str:
    """Return the table of the evaluations of a cross-validation's folds, in Markdown.

    Args:
        runs: Run folders, one a fold, each evaluated on the test split of its fold.

    Raises:
        UserError: A folder without an evaluation, or a clip that two of them were tested on.
    """
    means = fold_means(runs)
    published = PUBLISHED["emobox"]
    theirs = {
        name: published["figures"].get(re.sub("[^a-z0-9]", "", name.casefold()), {})
        for name in means
    }
    models = list(dict.fromkeys(model for figures in theirs.values() for model in figures))
    lines = [
        "# Means over folds",
        "",
        "In %, over the folds of each corpus, each fold alike; in brackets the standard deviation.",
        "",
        "| " + " | ".join(["corpus", "folds", "clips", "WA", "UA", "macro F1", *models]) + " |",
        "|---|--:|--:|--:|--:|--:|" + "--:|" * len(models),
    ]
    for name, row in means.items():
        shown = [
            f"{number(100 * m)} ({number(None if s is None else 100 * s)})"
            for m, s in row["numbers"].values()
        ]
        shown += [number(theirs[name].get(model)) for model in models]
        lines.append(f"| {cell(name)} | {row['folds']} | {row['clips']} | {' | '.join(shown)} |")
    if models:
        source = f"published, {published['metric']} ({published['source']})"
        lines += ["", f"{', '.join(models)}: {source}."]
    return "\n".join([*lines, ""])


def fold_means(runs: Sequence[Path]) -> dict[str, Any]:
    """Return corpus -> `folds`, `clips` and `numbers`: name -> mean and standard deviation.

    The deviation is that of the sample, None of one fold. The classes of a corpus are the labels
    that its clips have in any fold.

    Raises:
        UserError: As `fold_table`.
    """
    folds: dict[str, list[list[dict[str, Any]]]] = {}
    tested: dict[tuple[str, str], Path] = {}
    for run in runs:
        parts: dict[str, list[dict[str, Any]]] = {}
        for row in StoredEvaluation.read("", run).rows:
            corpus = row.get("dataset") or row.get("benchmark") or "unnamed"
            other = tested.setdefault((corpus, row["id"]), run)
            if other != run:
                raise UserError(
                    f"{other} and {run}: both were tested on {row['id']}; name the evaluations of "
                    "different folds, each on its own test split (splits.fold)"
                )
            parts.setdefault(corpus, []).append(dict(row))
        for corpus, rows in parts.items():
            folds.setdefault(corpus, []).append(rows)
    return {corpus: _means(parts) for corpus, parts in sorted(folds.items())}


def _means(parts: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    spelled = {normalize_label(row["label"]): row["label"] for rows in parts for row in rows}
    choices = [spelled[key] for key in sorted(spelled)]
    reports = [
        classification_report(
            [spelled[normalize_label(row["label"])] for row in rows],
            [_respelled(row["answer"], spelled) for row in rows],
            choices,
        )
        for rows in parts
    ]
    values = {name: [getattr(report, name) for report in reports] for name in NUMBERS}
    return {
        "folds": len(parts),
        "clips": sum(map(len, parts)),
        "numbers": {
            name: (statistics.fmean(each), statistics.stdev(each) if len(each) > 1 else None)
            for name, each in values.items()
        },
    }


def _respelled(answer: str | None, spelled: dict[str, str]) -> str | None:
    return None if answer is None else spelled.get(normalize_label(answer), answer)
