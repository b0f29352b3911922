"""The schema of the rewards: terms, their courses over a run, and how far a judge is trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from configs.knob import knob


@dataclass
class TermScheduleConfig:
    """Course of a term over the run: a factor in [0, 1] on its weight."""

    kind: str = knob("constant", choices=["constant", "linear", "cosine", "exponential", "gate"])
    """`constant`: 1 throughout; `linear`, `cosine`: from `start_frac` to `end_frac` over
    `num_steps`; `exponential`: towards `end_frac` with time constant `num_steps`; `gate`: 0 until
    the accuracy of the rollouts has settled above `threshold`, then open for good."""
    begin_step: int = knob(0, ge=0)
    """Steps before a linear, cosine or exponential course begins."""
    num_steps: int = knob(1000, ge=1)
    """Length of a linear or cosine course, time constant of an exponential one, in steps."""
    start_frac: float = knob(1.0, ge=0, le=1)
    """Factor up to `begin_step`, of the three courses."""
    end_frac: float = knob(0.0, ge=0, le=1)
    """Factor at the end of the three courses."""
    threshold: float = knob(0.5, ge=0, le=1)
    """Gate: moving average of the rollouts' accuracy that must be reached."""
    ema_decay: float = knob(0.9, ge=0, le=0.999)
    """Gate: share that the moving average keeps at each step."""
    window: int = knob(20, ge=1)
    """Gate: steps over which the moving average must be flat."""
    flatness: float = knob(0.02, ge=0, le=1)
    """Gate: largest difference between two moving averages within the window; 1 = any."""
    min_steps: int = knob(50, ge=0)
    """Gate: steps before which it stays closed."""
    ramp_steps: int = knob(0, ge=0)
    """Gate: steps over which the factor rises linearly to 1 once it opened; 0 = at once."""


@dataclass
class RewardTermConfig:
    """One reward term."""

    name: str = ""
    """Key of the term in metrics and sample files."""
    target: str = ""
    """`module:Class` of the reward, such as `rewards.format:FormatReward`."""
    weight: float = knob(1.0, ge=0)
    """Factor of the term in the reward; 0 = not computed in training."""
    schedule: TermScheduleConfig = field(default_factory=TermScheduleConfig)
    judged: bool = False
    """The term is a judge's opinion: the rules of `rewards.trust` apply to it, and malformed
    completions are not scored."""
    shadow: bool = False
    """Compute the term for the logs even while its weight is 0."""
    workers: int = knob(1, ge=1)
    """Ray actors that score groups in parallel."""
    concurrency: int = knob(1, ge=1)
    """Groups that one worker scores at a time, each in a thread; for rewards that wait."""
    gpus: float = knob(0.0, ge=0)
    """GPUs of each worker, for a judge that runs in it."""
    timeout_s: float = knob(60.0, gt=0)
    """Longest time for one group's scores."""
    on_error: str = knob("missing", choices=["missing", "stop"])
    """What follows when the reward raises, hangs, dies or returns something that is no score:
    `missing` leaves the group unscored by this term, counts it and names it in the log; `stop` ends
    the run."""
    options: dict[str, Any] = knob({})
    """Keyword arguments of the class."""


@dataclass
class TrustConfig:
    """How far a judged term is trusted, group by group."""

    enabled: bool = True
    """Damp the term by exp(mean over right - mean over wrong completions) where the judge prefers
    the wrong ones; off = factor 1."""
    one_sided: str = knob("drop_reasoning", choices=["drop_reasoning", "tau_one", "skip_group"])
    """A group without a judged right or without a judged wrong completion, where trust cannot be
    estimated: leave the term out, take it with trust 1, or train on nothing of the group."""
    min_judged: float = knob(0.5, gt=0, le=1)
    """Share of a group's completions that a term must have scored (of the well-formed ones, for a
    judged term); below, the group falls back to its other terms."""


@dataclass
class RewardsConfig:
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
    trust: TrustConfig = field(default_factory=TrustConfig)
    max_missing_frac: float = knob(0.5, ge=0, le=1)
    """Share of a step's scores of one term in use that may be missing; above, `on_missing`."""
    on_missing: str = knob("skip_step", choices=["skip_step", "stop", "continue"])
    """A step with too many missing scores: `skip_step` makes no update, `stop` ends the run,
    `continue` trains on what is left."""
    packages: list[str] = knob(["rewards"])
    """Top-level packages that a `target` may come from."""
    aliases: dict[str, str] = knob({})
    """Answers that count as a label, such as `disgust: contempt or disgust`; for rewards and
    evaluation."""
