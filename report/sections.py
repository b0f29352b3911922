"""The tables of a run's report."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from data.files import Row
from evaluation.faithfulness import Faithfulness
from evaluation.nulls import NULLS
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
from report.formats import interval, number, percent, signed
from report.run_facts import RunFacts
from report.sweep_results import Block
from rewards.accuracy import canonical_label
from trainer.progress import duration

CONTROL = "control_"

MAX_CHOICES = 30
"""Labels of a confusion matrix that can still be read."""


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
    entries = [
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
    return [(head, lines) for head, lines in entries if lines]


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


def emotions(facts: RunFacts, evaluation: Mapping[str, Any] | None) -> Block:
    """Return the table by emotion; without rows if nothing was answered."""
    before, after = facts.last("test_before"), facts.last("test_after")
    if evaluation:
        heads = ["emotion", "clips", "recall before", "recall", "precision", "F1"]
        rows = [
            [name, str(cell["examples"]), percent(before.get(_recall(name)))]
            + [percent(cell[key]) for key in ("recall", "precision", "f1")]
            for name, cell in evaluation["classes"].items()
        ]
        if not before:
            heads, rows = heads[:2] + heads[3:], [row[:2] + row[3:] for row in rows]
        return {"heads": heads, "rows": rows}
    if not after:
        first = next((row for row in facts.rows if "eval/accuracy" in row), {})
        before = {key[5:]: value for key, value in first.items() if key.startswith("eval/")}
        after = facts.last("eval")
    rows = [
        [name, percent(before.get(_recall(name))), percent(after[_recall(name)])]
        for name in facts.config["data"]["choices"]
        if _recall(name) in after
    ]
    return {"heads": ["emotion", "recall before", "recall after"], "rows": rows}


def _recall(label: str) -> str:
    return f"recall_{label.replace(' ', '_')}"


def confusion(
    config: Mapping[str, Any], evaluation: Mapping[str, Any] | None, samples: Sequence[Row]
) -> tuple[Sequence[str], Sequence[Sequence[int]]] | None:
    """Return the K labels and the [K, K + 1] counts of answers; None where there are none.

    Args:
        config: Of the run.
        evaluation: Its summary, of `launch/evaluate.py` or the run's last test.
        samples: Completions of the page; of a training run they stand in for an evaluation.
    """
    if evaluation:
        choices = evaluation["choices"]
        return (choices, evaluation["confusion"]) if len(choices) <= MAX_CHOICES else None
    if not samples:
        return None
    choices, aliases = list(config["data"]["choices"]), config["rewards"]["aliases"]
    place = {canonical_label(choice, aliases): index for index, choice in enumerate(choices)}
    counts = np.zeros((len(choices), len(choices) + 1), dtype=np.int64)
    for sample in samples:
        gold = place.get(canonical_label(str(sample["label"]), aliases))
        answer = canonical_label(str(sample["answer"] or ""), aliases)
        if gold is not None and "move" not in sample:
            counts[gold, place.get(answer, len(choices))] += 1
    return choices, counts.tolist()


def test_sets(evaluation: Mapping[str, Any] | None) -> list[list[str]]:
    """Return name, clips, accuracy with interval, UA of each test set, if there are several."""
    sets = evaluation.get("sets", {}) if evaluation else {}
    rows: list[list[str]] = []
    for name, answers in sets.items() if len(sets) > 1 else ():
        overall, interval = answers["overall"], answers["overall"]["interval"]["accuracy"]
        low, high = 100 * interval["low"], 100 * interval["high"]
        accuracy = f"{percent(overall['accuracy'])} [{low:.1f}, {high:.1f}]"
        rows.append([name, f"{overall['examples']:,}", accuracy, percent(overall["ua"])])
    return rows


def without_listening(evaluation: Mapping[str, Any] | None) -> Block:
    """Return what needs no listening on each test set, beside the policy; no rows if not known."""
    sets = evaluation.get("sets", {}) if evaluation else {}
    rows = [
        [
            name,
            *map(percent, (part["overall"]["accuracy"], *(nulls[key] for key in NULLS))),
            number(nulls.get("facts", {}).get("gold")),
        ]
        for name, part in sets.items()
        if (nulls := part.get("nulls"))
    ]
    return {"heads": ["test set", "this policy", *NULLS.values(), "facts by heart"], "rows": rows}


def controls(facts: RunFacts) -> list[list[str]]:
    """Return the rows of the grounding controls; none if the run had none."""
    after = facts.last("test_after")
    end = "_accuracy"
    names = [
        k[len(CONTROL) : -len(end)] for k in after if k.startswith(CONTROL) and k.endswith(end)
    ]
    kinds = ("accuracy", "changed_frac", "follow_frac", "against_frac")
    return [
        [
            name,
            *(percent(after.get(f"{CONTROL}{name}_{kind}")) for kind in kinds),
            f"{after.get(f'{CONTROL}{name}_follow_num', 0):.0f}",
        ]
        for name in names
    ]


def hearing(evaluation: Mapping[str, Any] | None) -> list[list[str]]:
    """Return how far claimed levels follow moved clips; none if no texts were sampled of them."""
    # An evaluation of an older version does not have the keys.
    sets = evaluation.get("sets", {}) if evaluation else {}
    return [
        [
            f"{name}: {control}" if len(sets) > 1 else control,
            *(_with_interval(m["shift"], m["interval"]) for m in moved["attributes"].values()),
            f"{moved['num_clips'] - moved['num_unclean']}",
            f"{moved['num_unclean']}",
        ]
        for name, answers in sets.items()
        for control, moved in answers.get("shifts", {}).items()
    ]


def faithful(
    recorded: Sequence[tuple[str, Faithfulness]], evaluation: Mapping[str, Any] | None
) -> list[list[str]]:
    """Return how far answers depend on claims: of recorded completions, and of evaluated ones."""
    sets = evaluation.get("sets", {}) if evaluation else {}
    parts = [(f"sampled in training, steps {steps}", asdict(tie)) for steps, tie in recorded]
    parts += [(f"evaluation, {name}", part.get("faithfulness")) for name, part in sets.items()]
    return [
        [
            what,
            percent(tie["same_frac"]),
            percent(tie["other_frac"]),
            _with_interval(tie["gap"], tie["interval"]),
            f"{tie['num_groups']:,}",
        ]
        for what, tie in parts
        if tie and tie["num_groups"]
    ]


def _with_interval(value: float | None, ends: Mapping[str, float] | None) -> str:
    between = f" {interval(ends['low'], ends['high'])}" if ends else ""
    return f"{signed(value)}{between}"
