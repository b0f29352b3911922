"""Which labels the policy still answers: counts of its sampled answers over the last steps."""

from __future__ import annotations

import statistics
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from data.records import ScoredGroup
from rewards.accuracy import answer_of, canonical_label

GIVEN_UP = 0.3
"""A label that is answered less often than this share of how often it is asked for is being given
up: in the demo `neutral` falls to 0.2, and none of its clips is right any more when answers are
greedy."""


class ClassWindow:
    """Sampled answers of the last steps by label.

    Completions of groups as they were drawn count, before a refill chooses among them. Accuracy may
    rise while a label is never answered any more: its clips are lost, and the others gain.
    """

    def __init__(self, num_steps: int, aliases: Mapping[str, str]) -> None:
        """Start empty.

        Args:
            num_steps: Steps that are looked back on, `log.class_window`.
            aliases: Answer -> label that it counts as.
        """
        self._steps: deque[Counter[tuple[str, str]]] = deque(maxlen=num_steps)
        self._aliases = aliases

    def observe(self, drawn: Sequence[ScoredGroup]) -> dict[str, float]:
        """Take note of a step's groups, and return `classes/*` of the window.

        Returns:
            As docs/metrics.md says, for the labels that clips of the window have.
        """
        counts: Counter[tuple[str, str]] = Counter()
        for item in drawn:
            if item.group.prompt.is_moved:
                continue  # the label may be another one now
            label = canonical_label(item.group.prompt.example.label, self._aliases)
            for completion in item.group.completions:
                counts[label, answer_of(completion.parsed, self._aliases) or ""] += 1
        self._steps.append(counts)
        return class_metrics(sum(self._steps, Counter()))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep, as JSON values."""
        return {"steps": [[[*pair, n] for pair, n in counts.items()] for counts in self._steps]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint; older ones have none."""
        self._steps.clear()
        for rows in state.get("steps", []):
            self._steps.append(Counter({(label, answer): n for label, answer, n in rows}))


def class_metrics(counts: Mapping[tuple[str, str], int]) -> dict[str, float]:
    """Return `classes/*` of counted (label, answer) pairs; the answer of a malformed one is "".

    Recall `right / gold`, F1 `2 right / (gold + answered)`, both averaged over the labels that
    were asked for; `answered / gold` of each.
    """
    gold: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    for (label, answer), number in counts.items():
        gold[label] += number
        answered[answer] += number
    labels = sorted(gold)
    right = {label: counts.get((label, label), 0) for label in labels}
    ratios = {label: answered[label] / gold[label] for label in labels}
    recalls = {label: right[label] / gold[label] for label in labels}
    f1 = [2 * right[label] / (gold[label] + answered[label]) for label in labels]
    metrics = {
        "classes/ua": statistics.fmean(recalls.values()),
        "classes/macro_f1": statistics.fmean(f1),
        "classes/given_up": float(sum(ratio < GIVEN_UP for ratio in ratios.values())),
    }
    for label in labels:
        name = label.replace(" ", "_")
        metrics[f"classes/recall_{name}"] = recalls[label]
        metrics[f"classes/answered_{name}"] = ratios[label]
    return metrics
