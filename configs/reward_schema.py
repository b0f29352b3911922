"""The schema of the rewards: terms, their courses over a run, and how far a judge is trusted."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from configs.section import Section

ADAPTERS = "rewards.adapters:"
"""What the targets of rewards of other trainers begin with."""

COUNTERFACTUAL_TARGET = "rewards.counterfactual:CounterfactualReward"
"""The reward that pays claims which follow a moved clip."""


@dataclass
class TermScheduleConfig(Section):
    """Course of a term over the run: a factor in [0, 1] on its weight."""

    kind: Literal["constant", "linear", "cosine", "exponential", "gate"] = "constant"
    """`constant`: 1 throughout; `linear`, `cosine`: from `start_frac` to `end_frac` over
    `num_steps`; `exponential`: towards `end_frac` with time constant `num_steps`; `gate`: 0 until
    the accuracy of the rollouts has settled above `threshold`, then open for good."""
    begin_step: int = Field(default=0, ge=0)
    """Steps before a linear, cosine or exponential course begins."""
    num_steps: int = Field(default=1000, ge=1)
    """Length of a linear or cosine course, time constant of an exponential one, in steps."""
    start_frac: float = Field(default=1.0, ge=0, le=1)
    """Factor up to `begin_step`, of the three courses."""
    end_frac: float = Field(default=0.0, ge=0, le=1)
    """Factor at the end of the three courses."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Gate: moving average of the rollouts' accuracy that must be reached."""
    ema_decay: float = Field(default=0.9, ge=0, le=0.999)
    """Gate: share that the moving average keeps at each step."""
    window: int = Field(default=20, ge=1)
    """Gate: steps over which the moving average must be flat."""
    flatness: float = Field(default=0.02, ge=0, le=1)
    """Gate: largest difference between two moving averages within the window; 1 = any."""
    min_steps: int = Field(default=50, ge=0)
    """Gate: steps before which it stays closed."""
    ramp_steps: int = Field(default=0, ge=0)
    """Gate: steps over which the factor rises linearly to 1 once it opened; 0 = at once."""


@dataclass
class RewardTermConfig(Section):
    """One reward term."""

    name: str = ""
    """Key of the term in metrics and sample files."""
    target: str = ""
    """`module:Class` of the reward, such as `rewards.format:FormatReward`."""
    weight: float = Field(default=1.0, ge=0)
    """Factor of the term in the reward; 0 = not computed in training."""
    schedule: TermScheduleConfig = Field(default_factory=TermScheduleConfig)
    judged: bool = False
    """The term is a judge's opinion: the rules of `rewards.trust` apply to it, and malformed
    completions are not scored."""
    shadow: bool = False
    """Compute the term for the logs even while its weight is 0."""
    workers: int = Field(default=1, ge=1)
    """Ray actors that score groups in parallel."""
    concurrency: int = Field(default=1, ge=1)
    """Groups that one worker scores at a time, each in a thread; for rewards that wait."""
    gpus: float = Field(default=0.0, ge=0)
    """GPUs of each worker, for a judge that runs in it."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Longest time for one group's scores."""
    on_error: Literal["missing", "stop"] = "missing"
    """What follows when the reward raises, hangs, dies or returns something that is no score:
    `missing` leaves the group unscored by this term, counts it and names it in the log; `stop` ends
    the run."""
    options: dict[str, Any] = Field(default={})
    """Keyword arguments of the class."""


@dataclass
class TrustConfig(Section):
    """How far a judged term is trusted, group by group."""

    enabled: bool = True
    """Damp the term by exp(mean over right - mean over wrong completions) where the judge prefers
    the wrong ones; off = factor 1."""
    one_sided: Literal["drop_reasoning", "tau_one", "skip_group"] = "drop_reasoning"
    """A group without a judged right or without a judged wrong completion, where trust cannot be
    estimated: leave the term out, take it with trust 1, or train on nothing of the group."""
    min_judged: float = Field(default=0.5, gt=0, le=1)
    """Share of a group's completions that a term must have scored (of the well-formed ones, for a
    judged term); below, the group falls back to its other terms."""


@dataclass
class RewardsConfig(Section):
    """What makes a completion good."""

    terms: list[RewardTermConfig] = field(
        default_factory=lambda: [
            RewardTermConfig(name="format", target="rewards.format:FormatReward", weight=0.3),
            RewardTermConfig(name="accuracy", target="rewards.accuracy:AccuracyReward", weight=1.0),
        ]
    )
    """The reward is the weighted sum of these terms."""
    outcome: str = "accuracy"
    """Term that tells right completions (above 0.5) from wrong ones, for trust and gates."""
    trust: TrustConfig = Field(default_factory=TrustConfig)
    max_missing_frac: float = Field(default=0.5, ge=0, le=1)
    """Share of a step's scores of one term in use that may be missing; above, `on_missing`."""
    on_missing: Literal["skip_step", "stop", "continue"] = "skip_step"
    """A step with too many missing scores: `skip_step` makes no update, `stop` ends the run,
    `continue` trains on what is left."""
    packages: list[str] = Field(default=["rewards"])
    """Top-level packages that a `target`, or a `loss.policy` of your own, may come from."""
    aliases: dict[str, str] = Field(default={})
    """Answers that count as a label, such as `disgust: contempt or disgust`; for rewards and
    evaluation."""
