"""What a step is worth writing down: its numbers, its samples, and the files they go to.

Every key that is computed or written here has a row in docs/metrics.md.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from data.files import write_atomically
from data.records import Completion, GroupSample, ScoredGroup
from rewards.accuracy import answer_of, is_correct
from rewards.combine import CombineRules
from trainer.reward_metrics import reward_metrics
from trainer.run_folder import RunFolder
from trainer.tensorboard import EventFile


class MetricsWriter:
    """Appends to metrics.jsonl and TensorBoard, and writes the sample files of a run folder."""

    def __init__(self, folder: RunFolder, tensorboard: bool, first_step: int) -> None:
        """Open the files for appending, and write the start down (starts.jsonl).

        Args:
            folder: an open run folder.
            tensorboard: write TensorBoard event files as well.
            first_step: first step that will be written; TensorBoard hides what an earlier life of
                the run wrote for this step and later ones.
        """
        self._samples_dir = folder.samples_dir
        self._file = folder.metrics_path.open("a", encoding="utf-8")
        self._events = EventFile(folder, first_step) if tensorboard else None
        folder.record_start(first_step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one row: `step`, then the values by key.

        Args:
            step: loop step the values belong to.
            values: key -> finite number, in the unit that docs/metrics.md names.

        Raises:
            ValueError: a value is not finite; the message names its key. Nothing is written.
            OSError: metrics.jsonl cannot be written.
        """
        finite = {key: float(values[key]) for key in sorted(values)}
        for key, value in finite.items():
            if not math.isfinite(value):
                raise ValueError(f"metric {key} at step {step} is {value}; it must be finite")
        try:
            self._file.write(json.dumps({"step": step, **finite}) + "\n")
            self._file.flush()
        except OSError as err:
            raise OSError(err.errno, err.strerror, self._file.name) from err
        if self._events is not None:
            self._events.write(step, finite)

    def write_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write samples/step_NNNNNN.jsonl, one row a line, in one go.

        Args:
            step: loop step the completions were sampled for.
            rows: JSON data without NaN; see `sample_rows`.
        """
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        write_atomically(self._samples_dir / f"step_{step:06d}.jsonl", text)
        if self._events is not None:
            self._events.write_samples(step, rows)

    def close(self) -> None:
        """Finish the files."""
        self._file.close()
        if self._events is not None:
            self._events.close()


def rollout_metrics(
    scored: Sequence[ScoredGroup], num_samples: int, rules: CombineRules
) -> dict[str, float]:
    """Return the metrics of a step that follow from its scored groups alone.

    Args:
        scored: the groups of the step, at least one.
        num_samples: groups that are left after the flat ones were dropped.
        rules: which terms are judged, and which one tells right from wrong.

    Returns:
        Key -> value for the keys `rollout/*`, `reward/*`, `judge/*`, `trust/*` and
        `advantage/flat_frac` of docs/metrics.md.
    """
    assert scored and 0 <= num_samples <= len(scored)
    metrics = _completion_metrics([c for item in scored for c in item.group.completions])
    metrics["rollout/prompt_tokens_mean"] = statistics.fmean(
        len(item.group.prompt.token_ids) for item in scored
    )
    metrics |= reward_metrics(scored, rules)
    if f"reward/{rules.outcome}_mean" in metrics:
        metrics["rollout/accuracy"] = metrics[f"reward/{rules.outcome}_mean"]
    metrics["advantage/flat_frac"] = 1 - num_samples / len(scored)
    return metrics


def sample_rows(
    step: int,
    scored: Sequence[ScoredGroup],
    samples: Sequence[GroupSample],
    aliases: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return one row per completion of a step, as the sample files hold them.

    Args:
        step: loop step.
        scored: all groups of the step; `group` of a row is the position in here.
        samples: groups with their advantages. A group that was dropped as flat has advantage 0.
        aliases: answer -> label it counts as.

    Returns:
        Rows with id, group, step, audio, label, text, answer (None = unreadable), correct, terms
        (raw values, None = not scored), details (what a term says of its value), trust, weights,
        reward, advantage, finish_reason and policy_version.
    """
    advantages = {sample.group.index: sample.advantages for sample in samples}
    assert len(advantages) == len(samples), "two groups of a step have the same index"
    rows: list[dict[str, Any]] = []
    for position, item in enumerate(scored):
        example = item.group.prompt.example
        credit = advantages.get(item.group.index)
        names = list(dict.fromkeys([*item.weights, *item.terms.values]))
        for i, completion in enumerate(item.group.completions):
            values = {name: item.terms.values.get(name) for name in names}
            rows.append(
                {
                    "id": example.id,
                    "group": position,
                    "step": step,
                    "audio": example.audio,
                    "label": example.label,
                    "text": completion.text,
                    "answer": answer_of(completion.parsed, aliases),
                    "correct": is_correct(completion.parsed, example.label, aliases),
                    "terms": {n: None if v is None else v[i] for n, v in values.items()},
                    "details": {
                        name: dict(found[i])
                        for name, found in item.terms.details.items()
                        if found and found[i]
                    },
                    "trust": item.trust,
                    "weights": {name: item.weights.get(name, 0.0) for name in names},
                    "reward": item.rewards[i],
                    "advantage": 0.0 if credit is None else float(credit[i]),
                    "finish_reason": completion.finish_reason,
                    "policy_version": completion.policy_version,
                }
            )
    return rows


def _completion_metrics(completions: Sequence[Completion]) -> dict[str, float]:
    num_tokens = [len(completion.token_ids) for completion in completions]
    return {
        "rollout/format_frac": statistics.fmean(
            completion.parsed.well_formed for completion in completions
        ),
        "rollout/completion_tokens_mean": statistics.fmean(num_tokens),
        "rollout/completion_tokens_max": float(max(num_tokens)),
        "rollout/truncated_frac": statistics.fmean(
            completion.finish_reason == "length" for completion in completions
        ),
    }
