"""Results and limits in a model card: what the run's numbers say, and what they do not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evaluation.formats import escape, table
from report.describe_run import split_words
from report.run_facts import RunFacts, alarms_of, judged_terms
from rewards.judges.base import DIMENSIONS

FACTS = "factual_alignment"

MAX_ALARMS = 5

RESULTS = {
    "accuracy": "accuracy (WA)",
    "ua": "mean recall of the emotions (UA)",
    "macro_f1": "macro F1",
    "format_frac": "readable answers",
}
"""Metrics of an evaluation that are shares, and their names."""

CORPORA = (
    "It was trained on the corpora named above alone, and tested on no others. Other microphones, "
    "noise, languages, accents, ages and spontaneous speech were not measured; expect less."
)


def results(run: RunFacts) -> list[str]:
    """Return the results as pieces of Markdown; what is missing is said to be missing."""
    if run.is_judge:
        return _judge_results(run)
    probes = {k: v for k, v in run.last("probe").items() if k.endswith("_accuracy")}
    parts: list[str] = []
    if probes:
        rows = [[escape(name.removesuffix("_accuracy")), _percent(v)] for name, v in probes.items()]
        parts += [
            "Accuracy of the likeliest choice:",
            _block(["benchmark", "accuracy"], rows),
        ]
    before, after = run.last("test_before"), run.last("test_after")
    if not after:
        parts.append(_no_test(run))
        before, after = {}, run.last("eval")
    if not after:
        return parts
    names = {**RESULTS, **_judged_names(run)}
    rows = [
        [escape(words), _number(key, before.get(key)), _number(key, after[key])]
        for key, words in names.items()
        if key in after
    ]
    parts += [
        _measured_on(run),
        _block(["", "before", "after"], rows),
        "Recall by emotion:",
    ]
    labels = _labels(run)
    rows = [
        [escape(label), f"{labels[label]:,}" if label in labels else ""]
        + [_percent(found.get(f"recall_{label.replace(' ', '_')}")) for found in (before, after)]
        for label in run.config["data"]["choices"]
    ]
    return [*parts, _block(["emotion", "clips", "before", "after"], rows)]


def _judge_results(run: RunFacts) -> list[str]:
    last = run.last("judge_eval")
    size = split_words(run.splits.get(str(run.config["eval"]["test_split"])))
    rows = [
        [name.replace("_", " "), *(_plain(last.get(f"{name}_{k}")) for k in ("spearman", "mae"))]
        for name in DIMENSIONS
        if f"{name}_mae" in last
    ]
    heads = ["dimension", "Spearman's rank correlation", "mean absolute error, in points"]
    return [f"Against known scores of held-out texts ({size}):", _block(heads, rows)]


def _no_test(run: RunFacts) -> str:
    if not run.is_rl:
        return (
            "**No answers were generated and tested**: a supervised run does not do that. "
            "`launch/evaluate.py` does."
        )
    if run.config["eval"]["test_split"]:
        return "**There is no result of a test**: the run has not ended."
    return "**There is no result of a test**: the run was given no test split (`eval.test_split`)."


def _judged_names(run: RunFacts) -> dict[str, str]:
    """Return metric -> name of what the judges say."""
    found: dict[str, str] = {}
    for term in judged_terms(run.config):
        found[f"{term}_mean"] = f"{term}, mean (0 to 1)"
        for dimension in DIMENSIONS:
            found[f"{term}_{dimension}"] = f"{term}: {dimension.replace('_', ' ')} (1 to 5)"
    return found


def _tested_split(run: RunFacts) -> str:
    kind = "test_split" if run.last("test_after") else "split"
    return str(run.config["eval"][kind])


def _labels(run: RunFacts) -> Mapping[str, int]:
    split = run.splits.get(_tested_split(run))
    return split.labels if split else {}


def _measured_on(run: RunFacts) -> str:
    split = _tested_split(run)
    what = "before the first step and after the last" if run.last("test_after") else "the last one"
    return (
        f"Greedy answers on split {escape(split)} ({split_words(run.splits.get(split))}), {what}:"
    )


def limits(run: RunFacts) -> list[str]:
    """Return what the run's own numbers, its data and its kind leave open, a Markdown line each."""
    if run.is_judge:
        return [
            "Its scores are a model's opinions. A policy that is trained on them finds what "
            "pleases the judge, true or not: watch right against wrong answers, and trust.",
            CORPORA,
        ]
    choices = run.config["data"]["choices"]
    lines = [
        f"It knows {len(choices)} labels and answers one of them whatever it hears; guessing is "
        f"right in {_percent(1 / len(choices))} of the cases if the labels are equally frequent.",
        *_number_limits(run),
        "What it says in `<think>` is generated text. It can be wrong, and it need not be why the "
        "answer was given.",
        CORPORA,
        "Labels of such corpora are acted or perceived emotions; what a person feels is another "
        "thing. Not for decisions about people, such as hiring, schooling, policing, credit or "
        "health; emotion recognition is forbidden by law in some of these places.",
    ]
    alarms = alarms_of(run) if run.is_rl else []
    lines += [f"Alarm at step {step}: {escape(line)}." for step, line in alarms[:MAX_ALARMS]]
    if len(alarms) > MAX_ALARMS:
        lines.append(f"{len(alarms) - MAX_ALARMS} more alarms are in the report of the run.")
    return lines


def _number_limits(run: RunFacts) -> list[str]:
    """Return what the numbers of the run itself show."""
    after = run.last("test_after") or run.last("eval")
    if "accuracy" not in after:
        return ["How often it is right is not known: no answers were tested."]
    lines = [f"It is wrong in {_percent(1 - after['accuracy'])} of the tested clips."]
    num = sum(_labels(run).values())
    if num:
        half = 1.96 * math.sqrt(after["accuracy"] * (1 - after["accuracy"]) / num)
        lines[0] += (
            f" With {num:,} clips this is known to about {100 * half:.1f} points either way (95 %, "
            "clips taken as independent; clips of one speaker are not)."
        )
    recalls = {key[7:]: value for key, value in after.items() if key.startswith("recall_")}
    if recalls:
        worst, best = min(recalls, key=recalls.__getitem__), max(recalls, key=recalls.__getitem__)
        lines.append(
            f"Emotions differ: {escape(worst.replace('_', ' '))} is recognized in "
            f"{_percent(recalls[worst])}, {escape(best.replace('_', ' '))} in "
            f"{_percent(recalls[best])} of its clips."
        )
    for term in judged_terms(run.config):
        if f"{term}_{FACTS}" in after:
            lines.append(
                f"A judge ({escape(term)}) gave the facts in its reasoning "
                f"{after[f'{term}_{FACTS}']:.2f} of 5 on average."
            )
    return lines


def _block(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(table(heads, rows))


def _number(metric: str, value: float | None) -> str:
    return _percent(value) if metric in RESULTS else _plain(value)


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "not measured" if value is None else f"{100 * value:.1f} %"
