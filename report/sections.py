"""The sections of a run's report that are tables and words."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from report.describe_run import (
    NOT_RECORDED,
    machine_words,
    method_words,
    optimiser_words,
    reward_words,
    split_words,
    used_splits,
    version_words,
)
from report.figures import confusion_figure
from report.run_facts import RunFacts, alarms_of
from rewards.accuracy import canonical_label
from trainer.progress import duration

CONTROL = "control_"

SHOWN = {"accuracy": "accuracy", "ua": "UA", "macro_f1": "macro F1"}

MAX_CHOICES = 30
"""Labels of a confusion matrix that can still be read."""

COLOURS = "The colour is the share of the gold label's clips, the number counts them."

Row = Mapping[str, Any]


def headline(facts: RunFacts, evaluation: Mapping[str, Any] | None) -> str:
    """Return the result in a sentence; what there is none of is said.

    Args:
        facts: Of the run.
        evaluation: Its summary, of `launch/evaluate.py` or the run's last test.
    """
    before, after = facts.last("test_before"), facts.last("test_after")
    if "accuracy" in before and "accuracy" in after:
        gain = 100 * (after["accuracy"] - before["accuracy"])
        return (
            f"Test accuracy {before['accuracy']:.1%} before, {after['accuracy']:.1%} after "
            f"({gain:+.1f} points)."
        )
    if "accuracy" in after:
        return f"Test accuracy {after['accuracy']:.1%}."
    if evaluation:
        return f"Accuracy {evaluation['overall']['accuracy']:.1%} on {_of(evaluation)}."
    return _why_no_test(facts)


def _why_no_test(facts: RunFacts) -> str:
    if facts.is_judge:
        return "A judge answers no questions; the curves show how well it agrees with known scores."
    if not facts.is_rl:
        return "A supervised run generates no answers to test; launch/evaluate.py does."
    if not facts.config["eval"]["test_split"]:
        return "No test was run: eval.test_split is empty."
    return "No test result yet: the test follows the last step."


def what_was_run(facts: RunFacts, evaluated: bool) -> list[tuple[str, list[str]]]:
    """Return (head, lines) of the summary at the top.

    Args:
        facts: Of the run.
        evaluated: The run is an evaluation: nothing was trained.
    """
    config = facts.config
    splits = used_splits(facts)
    if evaluated:
        splits = {config["eval"]["test_split"]: "evaluated"}
    data = [
        f"{use}: split {split}, {split_words(facts.splits.get(split))}"
        for split, use in splits.items()
    ]
    rewards = [f"{name}: {words}" for name, words in reward_words(config)] if facts.is_rl else []
    started = [_start_words(start) for start in facts.starts] or [NOT_RECORDED]
    method = (
        "Evaluation: greedy answers, nothing was trained." if evaluated else method_words(facts)
    )
    found = [
        ("what", [method]),
        ("command", [facts.status["resume_cmd"] or NOT_RECORDED]),
        ("started", started),
        ("duration", [] if evaluated else [_duration_words(facts)]),
        ("policy", [f"{config['model']['path']} ({config['model']['dtype']})"]),
        ("data", [config["data"]["manifest"], *data]),
        ("rewards", [] if evaluated else rewards),
        ("optimiser", [] if evaluated else [optimiser_words(config)]),
        ("seed", [str(config["seed"])]),
        ("machine", [machine_words(facts)]),
        ("versions", [version_words(facts)]),
    ]
    return [(head, lines) for head, lines in found if lines]


def _start_words(start: Row) -> str:
    time = datetime.datetime.fromisoformat(start["time"]).strftime("%Y-%m-%d %H:%M UTC")
    return time if start["first_step"] == 0 else f"{time}, resumed at step {start['first_step']}"


def _duration_words(facts: RunFacts) -> str:
    timed = sorted(row["time/step_s"] for row in facts.rows if "time/step_s" in row)
    if not timed:
        return NOT_RECORDED
    middle = timed[len(timed) // 2]
    return (
        f"{duration(facts.seconds())} in {len(timed)} steps ({middle:.2f} s each, median); "
        "starting up is not in it"
    )


def cards(facts: RunFacts) -> list[dict[str, str]]:
    """Return the numbers that stand large at the top."""
    before, after = facts.last("test_before"), facts.last("test_after")
    found = [
        _card(label, after[name], before.get(name), "{:.1%}", "test")
        for name, label in SHOWN.items()
        if name in after
    ]
    for name in after:
        if name.endswith("_factual_alignment"):
            label = f"facts, by {name.removesuffix('_factual_alignment')}"
            found.append(_card(label, after[name], before.get(name), "{:.2f}", "of 5"))
    gates = facts.last("gate")
    for name in gates:
        if name.endswith("_open"):
            step = gates.get(f"{name[:-5]}_opened_at")
            value = "closed" if step is None else f"step {step:.0f}"
            note = "never opened" if step is None else "opened"
            found.append({"label": f"gate of {name[:-5]}", "value": value, "note": note})
    return found


def _card(label: str, after: float, before: float | None, form: str, note: str) -> dict[str, str]:
    note = note if before is None else f"{form.format(before)} before"
    return {"label": label, "value": form.format(after), "note": note}


def alarm_help(facts: RunFacts) -> str:
    """Return what raises an alarm in this run."""
    log = facts.config["log"]
    if not facts.is_rl or not log["alarm_steps"]:
        return "Steps that made no update are listed here; nothing else is watched in this run."
    return (
        f"Watched: a judge that scores wrong answers above right ones, and completions longer than "
        f"{log['alarm_growth']:g} times those of the first steps, each for {log['alarm_steps']} "
        "steps in a row; and steps that made no update."
    )


def alarm_lines(facts: RunFacts) -> list[str]:
    """Return what a person should look at, each with its step; empty if there is nothing."""
    found = [f"step {step}: {line}" for step, line in alarms_of(facts)] if facts.is_rl else []
    skipped = [row["step"] for row in facts.rows if row.get("optim/skipped")]
    if skipped:
        found.append(
            f"{len(skipped)} steps made no update, first step {skipped[0]}, last {skipped[-1]}: "
            "nothing to learn from, too many scores missing, or a number that is not finite"
        )
    return found


def emotions(facts: RunFacts, evaluation: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return heads, rows and source of the table by emotion; without rows, source says why."""
    before = facts.last("test_before")
    if evaluation:
        heads = ["emotion", "clips", "recall before", "recall", "precision", "F1"]
        rows = [
            [name, str(cell["examples"]), _percent(before.get(_recall(name)))]
            + [_percent(cell[key]) for key in ("recall", "precision", "f1")]
            for name, cell in evaluation["classes"].items()
        ]
        if not before:
            heads, rows = heads[:2] + heads[3:], [row[:2] + row[3:] for row in rows]
        return {"heads": heads, "rows": rows, "source": f"Greedy answers on {_of(evaluation)}."}
    after, source = facts.last("test_after"), "the test split"
    if not after:
        first = next((row for row in facts.rows if "eval/accuracy" in row), {})
        before = {key[5:]: value for key, value in first.items() if key.startswith("eval/")}
        after = facts.last("eval")
        source = "the evaluation split, first and last evaluation"
    rows = [
        [name, _percent(before.get(_recall(name))), _percent(after[_recall(name)])]
        for name in facts.config["data"]["choices"]
        if _recall(name) in after
    ]
    heads = ["emotion", "recall before", "recall after"]
    if not rows:
        why = f"No answers by emotion. {_why_no_test(facts)}"
        return {"heads": heads, "rows": [], "source": why}
    return {"heads": heads, "rows": rows, "source": f"Greedy answers on {source}."}


def _recall(label: str) -> str:
    return f"recall_{label.replace(' ', '_')}"


def confusion(
    config: Mapping[str, Any], evaluation: Mapping[str, Any] | None, samples: Sequence[Row]
) -> tuple[str, str]:
    """Return the figure of the confusion matrix and what it shows; without a figure, why not.

    Args:
        config: Of the run.
        evaluation: Its summary, of `launch/evaluate.py`.
        samples: Completions of the page; of a training run they stand in for an evaluation.
    """
    if evaluation and len(evaluation["choices"]) > MAX_CHOICES:
        return "", f"No confusion matrix of {len(evaluation['choices'])} labels."
    if evaluation:
        figure = confusion_figure(evaluation["choices"], evaluation["confusion"])
        return figure, f"Greedy answers on {_of(evaluation)}. {COLOURS}"
    if not samples and config["loss"]["kind"] != "policy":
        return "", "No confusion matrix: a supervised run samples no answers."
    if not samples:
        return "", (
            "No confusion matrix: the run has no sample files (log.samples_every). "
            "launch/evaluate.py gives one of the test split."
        )
    choices, aliases = list(config["data"]["choices"]), config["rewards"]["aliases"]
    place = {canonical_label(choice, aliases): index for index, choice in enumerate(choices)}
    counts = np.zeros((len(choices), len(choices) + 1), dtype=np.int64)
    for sample in samples:
        gold = place.get(canonical_label(str(sample["label"]), aliases))
        answer = sample["answer"]
        if gold is not None:
            told = "" if answer is None else canonical_label(str(answer), aliases)
            counts[gold, place.get(told, len(choices))] += 1
    steps = sorted({sample["step"] for sample in samples})
    return confusion_figure(choices, counts.tolist()), (
        f"Sampled answers to training clips, steps {steps[0]} to {steps[-1]}, {counts.sum():,} "
        f"completions: not a test. launch/evaluate.py gives the matrix of the test split. {COLOURS}"
    )


def test_sets(evaluation: Mapping[str, Any] | None) -> list[list[str]]:
    """Return name, clips, accuracy with interval, UA of each test set, if there are several."""
    sets = evaluation.get("sets", {}) if evaluation else {}
    rows: list[list[str]] = []
    for name, found in sets.items() if len(sets) > 1 else ():
        overall, interval = found["overall"], found["overall"]["interval"]["accuracy"]
        accuracy = (
            f"{_percent(overall['accuracy'])} [{100 * interval['low']:.1f}, "
            f"{100 * interval['high']:.1f}]"
        )
        rows.append([name, f"{overall['examples']:,}", accuracy, _percent(overall["ua"])])
    return rows


def _of(evaluation: Mapping[str, Any]) -> str:
    return str(evaluation.get("of", "the test split"))


def controls(facts: RunFacts) -> list[list[str]]:
    """Return the rows of the grounding controls; none if the run had none."""
    after = facts.last("test_after")
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
