"""Rules for settings that name a metric or a reward term which a run must have."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from configs.schema import RunConfig

CLOSED = {
    "rollout": "accuracy format_frac completion_tokens_mean completion_tokens_max truncated_frac "
    "prompt_tokens_mean staleness_mean staleness_max left_out_prompts",
    "policy": "loss kl entropy ratio_mean clip_frac logprob_gap logprob_gap_max "
    "importance_weight_mean",
    "advantage": "flat_frac",
    "refill": "rounds groups_sampled groups_replaced groups_used",
    "classes": "ua macro_f1 given_up",
    "eval": "accuracy ua macro_f1 format_frac skipped_clips",
    "optim": "grad_norm lr nonfinite skipped",
}
"""Metrics of an RL run by family, where these are all; some have one per label besides."""

PER_LABEL = {"classes": ("recall", "answered"), "eval": ("recall",)}

PER_TERM = ("reward", "extra", "judge", "gate", "schedule")
"""Families whose metrics begin with the name of a term, but for the two of the reward itself."""

OPEN = ("trust", "time", "perf", "data")


def check_metrics(config: RunConfig) -> Iterator[str]:
    """Yield one line per setting that names what the run will never have; see `check_rules`."""
    watched = config.early_stop.metric
    yield from _best_checkpoint(config)
    if config.loss.kind == "sft":
        if watched:
            yield f"early_stop.metric: found {watched!r}; needs loss.kind: policy (an RL run)"
        return
    for key, metric in (
        ("early_stop.metric", watched),
        ("checkpoint.best_metric", config.checkpoint.best_metric),
    ):
        if metric:
            yield from _missing(config, key, metric)
    if watched.startswith("eval/") and not config.eval.every_steps:
        yield f"early_stop.metric: found {watched!r}, but eval.every_steps is 0: it never comes"
    names, by = [term.name for term in config.rewards.terms], config.advantage.refill_by
    if by and by not in names:
        yield f"advantage.refill_by: no term is named {by!r}; there are {', '.join(names)}"
    if by and not config.advantage.refill_rounds:
        yield "advantage.refill_by: needs advantage.refill_rounds of 1 or more; 0 refills nothing"


def _best_checkpoint(config: RunConfig) -> Iterator[str]:
    metric, every = config.checkpoint.best_metric, config.checkpoint.every_steps
    if metric.startswith("eval/") and config.loss.kind == "policy" and every:
        period = config.eval.every_steps
        if not period or every % period:
            yield (
                f"checkpoint.best_metric: found {metric!r}, with checkpoint.every_steps={every} "
                f"and eval.every_steps={period}; a checkpoint needs an evaluation of its own step, "
                "so that the first must be a multiple of the second"
            )


def _missing(config: RunConfig, key: str, metric: str) -> Iterator[str]:
    """Yield that no step of an RL run ever has a metric, where that is sure."""
    family, _, name = metric.partition("/")
    terms = [term.name for term in config.rewards.terms]
    labels = [label.replace(" ", "_") for label in config.data.choices]
    of_term = any(name == term or name.startswith(f"{term}_") for term in terms)
    if family in PER_TERM:
        if not of_term and metric not in ("reward/mean", "reward/std"):
            yield f"{key}: found {metric!r}, but the reward terms are {', '.join(terms)}"
        return
    if family in OPEN and re.fullmatch(r"\w+", name):
        return
    if family == "eval" and config.eval.judged and of_term:
        return
    everything = [f"{kind}/{word}" for kind, words in CLOSED.items() for word in words.split()]
    everything += [
        f"{kind}/{word}_{label}"
        for kind, words in PER_LABEL.items()
        for word in words
        for label in labels
    ]
    if metric not in everything:
        near = difflib.get_close_matches(metric, everything, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        yield f"{key}: no step has a metric {metric!r}{hint} (docs/metrics.md has all)"
    elif family == "refill" and not config.advantage.refill_rounds:
        yield f"{key}: found {metric!r}, but advantage.refill_rounds is 0"
