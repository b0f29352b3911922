"""The gate before step 1: the engine's log-probabilities must be the learner's.

Whatever makes the two disagree (other audio features, other placeholders, stale weights or caches)
would train the policy on wrong numbers without any visible error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from configs.schema import ParityConfig
from data.records import Group, Prompt
from rollout.pool import EnginePool, ordered
from trainer.learner_group import LearnerGroup


class ParityError(RuntimeError):
    """Engine and learner disagree; training would be wrong."""


class ParityReport(NamedTuple):
    """How far engine and learner are apart on sampled tokens."""

    max_gap: float
    """Largest |learner - engine| of one token, nats."""
    mean_gap: float
    """Mean of the same, nats."""
    p99_gap: float
    """99th percentile of the same, nats."""
    correlation: float
    """Pearson correlation of the two log-probs over all tokens; 1 if there is no spread."""
    worst_id: str
    """Example of the largest gap."""

    def to_metrics(self) -> dict[str, float]:
        """Return the `parity/...` metrics."""
        return {
            "parity/max_gap": self.max_gap,
            "parity/mean_gap": self.mean_gap,
            "parity/p99_gap": self.p99_gap,
            "parity/correlation": self.correlation,
        }


def measure_parity(
    engines: EnginePool, learner: LearnerGroup, prompts: Sequence[Prompt], *, seed: int = 0
) -> ParityReport:
    """Sample two completions per prompt and score the same tokens with the learner.

    Args:
        engines: at the learner's weights.
    """
    sampled = engines.generate(prompts, num_completions=2, seed=seed)
    groups = ordered(sampled, prompts, may_lack=True)
    return compare(groups, learner.logprobs(groups))


def compare(groups: Sequence[Group], logprobs: Sequence[Sequence[np.ndarray]]) -> ParityReport:
    """Compare the engine's log-probs in `groups` with the learner's, [C] nats per completion."""
    engine = [np.concatenate([c.rollout_logprobs for c in group.completions]) for group in groups]
    learner = [np.concatenate(values) for values in logprobs]
    worst = [float(np.abs(a - b).max()) for a, b in zip(engine, learner, strict=True)]
    ours, theirs = np.concatenate(learner), np.concatenate(engine)
    spread = min(ours.std(), theirs.std())
    gaps = np.abs(ours - theirs)
    return ParityReport(
        max_gap=max(worst),
        mean_gap=float(gaps.mean()),
        p99_gap=float(np.percentile(gaps, 99)),
        correlation=float(np.corrcoef(ours, theirs)[0, 1]) if spread > 0 else 1.0,
        worst_id=groups[int(np.argmax(worst))].prompt.example.id,
    )


def check_parity(report: ParityReport, config: ParityConfig) -> None:
    """Refuse to train when the gap is too large.

    Raises:
        ParityError: a threshold is passed; names the worst clip.
    """
    limits = {
        "max_gap": report.max_gap <= config.max_gap,
        "mean_gap": report.mean_gap <= config.mean_gap,
        "p99_gap": report.p99_gap <= config.p99_gap,
        "min_correlation": report.correlation >= config.min_correlation,
    }
    failed = ", ".join(f"parity.{name}" for name, holds in limits.items() if not holds)
    if failed:
        raise ParityError(
            f"engine and learner disagree: log-prob gap max {report.max_gap:.2e} (allowed "
            f"{config.max_gap:.1e}), mean {report.mean_gap:.2e} ({config.mean_gap:.1e}), 99th "
            f"percentile {report.p99_gap:.2e} ({config.p99_gap:.1e}), correlation "
            f"{report.correlation:.4f} (at least {config.min_correlation:g}); worst clip: "
            f"{report.worst_id}. The two see other weights, features or tokens; in bfloat16 the "
            f"thresholds must be wider ({failed})"
        )
