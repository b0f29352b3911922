"""What a step is worth writing down: its numbers and its samples.

Every key that is computed here has a row in docs/metrics.md.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from data.records import GroupSample, ScoredGroup
from rewards.accuracy import answer_of, is_correct
from rewards.combine import CombineRules
from trainer.reward_metrics import reward_metrics


def rollout_metrics(
    scored: Sequence[ScoredGroup], num_samples: int, rules: CombineRules
) -> dict[str, float]:
    """Return the metrics of a step that follow from its scored groups alone.

    Args:
        scored: the groups of the step, at least one.
        num_samples: groups that are not flat.
        rules: which terms are judged, and which one tells right from wrong.

    Returns:
        Key -> value for the keys `rollout/*`, `reward/*`, `judge/*`, `trust/*` and
        `advantage/flat_frac` of docs/metrics.md.
    """
    assert scored and 0 <= num_samples <= len(scored)
    completions = [c for item in scored for c in item.group.completions]
    num_tokens = [len(c.token_ids) for c in completions]
    metrics = {
        "rollout/format_frac": statistics.fmean(c.parsed.well_formed for c in completions),
        "rollout/completion_tokens_mean": statistics.fmean(num_tokens),
        "rollout/completion_tokens_max": float(max(num_tokens)),
        "rollout/truncated_frac": statistics.fmean(
            c.finish_reason == "length" for c in completions
        ),
        "rollout/prompt_tokens_mean": statistics.fmean(
            len(item.group.prompt.token_ids) for item in scored
        ),
    }
    metrics |= reward_metrics(scored, rules)
    if f"reward/{rules.outcome}_mean" in metrics:
        metrics["rollout/accuracy"] = metrics[f"reward/{rules.outcome}_mean"]
    metrics["advantage/flat_frac"] = 1 - num_samples / len(scored)
    return metrics


def staleness(scored: Sequence[ScoredGroup], version: int) -> dict[str, float]:
    """Return by how many updates the weights that sampled a step are older than those it updates.

    Args:
        version: updates before the step's own.
    """
    behind = [version - c.policy_version for item in scored for c in item.group.completions]
    return {
        "rollout/staleness_mean": statistics.fmean(behind),
        "rollout/staleness_max": float(max(behind)),
    }


def throughput(scored: Sequence[ScoredGroup], sampling_s: float) -> dict[str, float]:
    """Return how long a step was sampled, and completions and completion tokens per second of it.

    Args:
        sampling_s: from the first request of the step to its last completion, in seconds.
    """
    completions = [completion for item in scored for completion in item.group.completions]
    num_tokens = sum(len(completion.token_ids) for completion in completions)
    return {
        "time/sampling_s": sampling_s,
        "perf/completions_per_s": len(completions) / sampling_s,
        "perf/completion_tokens_per_s": num_tokens / sampling_s,
    }


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
        samples: groups with their advantages. A flat group has advantage 0, dropped or not.
        aliases: answer -> label it counts as.

    Returns:
        Rows with id, group, step, audio, clips (all of the prompt, where there are others than
        that), label, text, answer (None = unreadable), correct (None of a moved clip, whose label
        may be another), terms (raw values, None = not scored), details (what a term says of its
        value), trust, weights, reward, advantage, finish_reason and policy_version; of
        counterfactual pairs also move.
    """
    advantages = {sample.group.index: sample.advantages for sample in samples}
    assert len(advantages) == len(samples), "two groups of a step have the same index"
    rows: list[dict[str, Any]] = []
    for position, item in enumerate(scored):
        prompt = item.group.prompt
        example = prompt.example
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
                    **({"clips": list(example.clips)} if example.others else {}),
                    "label": example.label,
                    "text": completion.text,
                    "answer": answer_of(completion.parsed, aliases),
                    "correct": None
                    if prompt.is_moved
                    else is_correct(completion.parsed, example.label, aliases),
                    "terms": {n: None if v is None else v[i] for n, v in values.items()},
                    "details": {
                        name: dict(details[i])
                        for name, details in item.terms.details.items()
                        if details and details[i]
                    },
                    "trust": item.trust,
                    "weights": {name: item.weights.get(name, 0.0) for name in names},
                    "reward": item.rewards[i],
                    "advantage": 0.0 if credit is None else float(credit[i]),
                    "finish_reason": completion.finish_reason,
                    "policy_version": completion.policy_version,
                    **({"move": asdict(prompt.move)} if prompt.move else {}),
                }
            )
    return rows
