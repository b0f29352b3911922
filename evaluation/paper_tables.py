"""Finished evaluations as the tables of the paper, in Markdown.

Table 2: accuracy on every benchmark. Table 4: variants, compared with the first one. Table 5:
prosody probes before and after, of two evaluations or of one supervised run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.files import read_rows
from evaluation.markdown import table
from evaluation.page import cell
from evaluation.paper_numbers import BENCHMARKS, SOURCE, TABLE_2, TABLE_5, paper_variant
from evaluation.statistics import compare
from evaluation.summary import quality
from trainer.run_folder import RunFolder

MISSING = "-"
"""Of what was not measured."""


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation."""

    label: str
    """As the tables call it."""
    summary: Mapping[str, Any]
    """Its summary.json."""
    rows: Sequence[Mapping[str, Any]]
    """Its answers.jsonl without those to probes."""

    @classmethod
    def read(cls, label: str, run: Path) -> Evaluated:
        """Read the evaluation of a run folder.

        Raises:
            ValueError: There is none.
        """
        folder = run / "evaluation"
        for name in ("summary.json", "answers.jsonl"):
            if not (folder / name).is_file():
                raise ValueError(
                    f"{folder / name}: no such file; evaluate with launch/evaluate.py first"
                )
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        if "sets" not in summary:
            raise ValueError(f"{folder}: was written by an older version; evaluate again")
        probes = {name for name, found in summary["sets"].items() if found["probe"]}
        rows = read_rows(folder / "answers.jsonl")
        return cls(label, summary, [row for row in rows if row["benchmark"] not in probes])

    @property
    def sets(self) -> dict[str, Mapping[str, Any]]:
        """Test sets that ask about the emotion: name -> summary."""
        return {name: found for name, found in self.summary["sets"].items() if not found["probe"]}

    @property
    def accuracy(self) -> float | None:
        """Over the clips of all these sets together."""
        means = self.summary["means"]
        return means["micro"]["accuracy"] if means else None

    @property
    def judged(self) -> tuple[str, Mapping[str, Any]] | None:
        """The first judged term and what it says of all these clips; None if nothing was judged."""
        return next(iter(quality(self.rows).items()), None)


def table_2(runs: Sequence[Evaluated]) -> list[str]:
    """Return accuracies on all test sets, their means, and the quality of the reasoning."""
    names = list(dict.fromkeys(name for run in runs for name in run.sets))
    rows = []
    for run in runs:
        means = run.summary["means"]
        complete = bool(means) and set(run.sets) == set(names)
        rows.append(
            [
                run.label,
                *(
                    _share(run.sets[n]["overall"]["accuracy"] if n in run.sets else None)
                    for n in names
                ),
                _share(means["micro"]["accuracy"] if complete else None),
                _share(means["macro"]["accuracy"] if complete else None),
                _quality(run),
            ]
        )
    known = {name: place for name in names for place in BENCHMARKS if name.upper() == place}
    paper = [
        [
            f"{model} (paper)",
            *(_number(figures[known[name]]) if name in known else MISSING for name in names),
            _number(figures["Avg"]) if sorted(known.values()) == sorted(BENCHMARKS) else MISSING,
            MISSING,
            _number(figures["quality"]),
        ]
        for model, figures in TABLE_2.items()
        if known
    ]
    return [
        "## Table 2: accuracy on benchmarks, in %",
        "",
        *_table(["model", *names, "Avg (micro)", "macro", "quality"], rows + paper),
        "",
        "Avg: all clips together, as in the paper; macro: mean of the benchmarks. Both where a run "
        "has all of them.",
        *_notes(runs),
    ]


def table_4(runs: Sequence[Evaluated]) -> list[str]:
    """Return accuracy and quality of variants, compared with the first one clip by clip."""
    rows = []
    for run in runs:
        paper = paper_variant(run.label)
        rows.append(
            [
                run.label,
                _share(run.accuracy),
                *(_compared(runs[0], run) if run is not runs[0] else (MISSING, MISSING)),
                _quality(run),
                _number(paper.accuracy) if paper else MISSING,
                _number(paper.quality) if paper else MISSING,
            ]
        )
    heads = ["variant", "acc", f"against {runs[0].label}", "p", "quality"]
    return [
        "## Table 4: variants",
        "",
        *_table([*heads, "paper: acc", "paper: quality"], rows),
        "",
        "Against: points, with the 95 % interval of the difference (bootstrap over clips); p: "
        "McNemar's exact test. Both where the clips are the same.",
    ]


def _compared(first: Evaluated, second: Evaluated) -> tuple[str, str]:
    try:
        found = compare(first.rows, second.rows)
    except ValueError:  # other clips: nothing to compare
        return MISSING, MISSING
    low, high = 100 * found.interval.low, 100 * found.interval.high
    return f"{100 * found.difference:+.1f} ({low:+.1f} to {high:+.1f})", f"{found.p:.2g}"


def table_5(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """Return accuracies on prosody probes before and after, in the order of the paper.

    Args:
        before: Probe -> accuracy, 0 to 1.
        after: The same later.
    """
    names = list(dict.fromkeys([*TABLE_5, *before, *after]))
    rows = []
    for name in names:
        paper = TABLE_5.get(name)
        rows.append(
            [
                name,
                _share(before.get(name)),
                _share(after.get(name)),
                *((_number(paper[0]), _number(paper[1])) if paper else (MISSING, MISSING)),
            ]
        )
    heads = ["probe", "before", "after", "paper: before", "paper: after"]
    return ["## Table 5: prosody probes, accuracy in %", "", *_table(heads, rows)]


def probes_of(runs: Sequence[Path]) -> tuple[dict[str, float], dict[str, float]]:
    """Return probe -> accuracy before and after.

    Args:
        runs: Two evaluations, or one run of `launch/sft.py` with `eval.benchmarks`.

    Raises:
        ValueError: There are no probes.
    """
    if len(runs) == 2:
        before, after = (_evaluated_probes(Evaluated.read("", run)) for run in runs)
    else:
        rows = RunFolder(runs[0]).rows()
        by_step = {row["step"]: found for row in rows if (found := _trained_probes(row))}
        before = by_step.pop(0, {})
        after = by_step[max(by_step)] if by_step else {}
    if not before or not after:
        raise ValueError(
            f"{', '.join(map(str, runs))}: no probes before and after; name two evaluations with "
            "probes among their eval.benchmarks, or a finished run of launch/sft.py with them"
        )
    return before, after


def _evaluated_probes(run: Evaluated) -> dict[str, float]:
    sets = run.summary["sets"].items()
    return {name: found["overall"]["accuracy"] for name, found in sets if found["probe"]}


def _trained_probes(row: Mapping[str, Any]) -> dict[str, float]:
    prefix, suffix = "probe/", "_accuracy"
    return {
        key.removeprefix(prefix).removesuffix(suffix): value
        for key, value in row.items()
        if key.startswith(prefix) and key.endswith(suffix)
    }


def _quality(run: Evaluated) -> str:
    return _number(run.judged[1]["mean"]) if run.judged else MISSING


def _notes(runs: Sequence[Evaluated]) -> list[str]:
    """Return what the figures rest on: who judged what, and how the answers came about."""
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
            labels.setdefault(note, []).append(cell(run.label))
        if run.summary["mode"] == "direct":
            note = "direct answers, without reasoning."
            labels.setdefault(note, []).append(cell(run.label))
    lines = [f"- {'; '.join(names)}: {note}" for note, names in labels.items()]
    return ["", *lines] if lines else []


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return table([cell(head) for head in heads], [[cell(text) for text in row] for row in rows])


def _share(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.2f}"


def _number(value: float) -> str:
    return f"{value:.2f}"


def tables(named: Sequence[str], probes: Sequence[Path]) -> str:
    """Return all tables that there is something for.

    Args:
        named: `LABEL=RUN_FOLDER` of each evaluation; a folder alone is its own label.
        probes: As `probes_of`; empty = no Table 5.

    Raises:
        ValueError: Nothing is named, a label twice, or something is not there.
    """
    pairs = [
        (name.rpartition("=")[0] or Path(name).name, name.rpartition("=")[2]) for name in named
    ]
    labels = [label for label, _ in pairs]
    if len(set(labels)) < len(labels):
        raise ValueError(f"two evaluations have the same label: {', '.join(labels)}")
    if not pairs and not probes:
        raise ValueError("name evaluations as LABEL=RUN_FOLDER, or --probes")
    if len(probes) > 2:
        raise ValueError("--probes: name one supervised run, or two evaluations")
    runs = [Evaluated.read(label, Path(folder)) for label, folder in pairs]
    parts = [table_2(runs), table_4(runs)] if runs else []
    if probes:
        parts.append(table_5(*probes_of(probes)))
    head = ["# Tables", "", f"{MISSING}: not measured. Paper: {SOURCE}."]
    return "\n\n".join("\n".join(part) for part in [head, *parts]) + "\n"
