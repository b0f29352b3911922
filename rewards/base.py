"""The contract of a reward term: how it is named, loaded, and checked."""

from __future__ import annotations

import importlib
import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Protocol, SupportsFloat, cast

from configs.reward_schema import ADAPTERS, RewardTermConfig
from configs.schema import RunConfig
from configs.secrets import all_without_secrets
from data.records import Group
from rewards.foreign import Failure, attempt

ACCURACY_TARGET = "rewards.accuracy:AccuracyReward"
REASONING_TARGET = "rewards.reasoning:ReasoningReward"
LENGTH_TARGET = "rewards.length:OverlongPenalty"

CALIBRATED_TERM = "judge"
"""Name of the one term of a calibration."""


class RewardError(ValueError):
    """A reward plug-in could not be loaded, failed, or returned something that is not a score."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a reward term says about one group."""

    values: tuple[float | None, ...]
    """[G] in the reward's limits, [0, 1] unless it says otherwise; None where the completion was
    not scored, which is never the same as 0."""
    details: tuple[Mapping[str, Any], ...] = ()
    """[G] JSON facts for the logs; may be left empty. Numbers below the key `metrics` become
    metrics of the step, as means; `not_applicable` says that a missing score is no failure."""

    @classmethod
    def not_applicable(cls, num: int) -> Scores:
        """Return the scores of completions of which a term has nothing to say."""
        return cls((None,) * num, ({"not_applicable": True},) * num)


class Reward(Protocol):
    """A reward term: built with keyword options from the config, then asked for a group at a time.

    Weight, schedule and trust are applied elsewhere and never reach it. A class that reads the clip
    says `needs_features = True` in its body; to others the clip is not sent. One whose values may
    lie outside [0, 1] has `limits = (lowest, highest)`; a judged term may not. One that goes
    neither by the label nor by measurements of the clip says `scores_moved = True`; others are not
    asked about the half of a counterfactual pair whose clip was moved.
    """

    def score(self, group: Group) -> Scores:
        """Return raw scores of the group's completions, in their order.

        Args:
            group: A prompt and its G completions; `group.prompt.features` is the [M, F] array of
                the clip that the row is about if the class has `needs_features = True`, and None
                otherwise. Other clips of the prompt are not sent.

        Returns:
            G values in the limits or None, and G details or none at all.
        """
        ...


def reward_class(target: str, packages: Sequence[str]) -> type[Reward]:
    """Return the class that a dotted target names, imported only after the allow-list was checked.

    Args:
        target: "module:Name", for example "my_rewards.humor:HumorReward".
        packages: Top-level packages that rewards may be loaded from.

    Raises:
        RewardError: The target is malformed, outside the allow-list, cannot be imported, or is not
            a class with a callable `score`.
    """
    return cast(type[Reward], find_class("reward target", target, packages, "score", RewardError))


def find_class(
    what: str, target: str, packages: Sequence[str], method: str, error: type[ValueError]
) -> type:
    """Return a plug-in's class, imported only after the allow-list was checked.

    Args:
        what: What it is, for messages.
        target: "module:Name".
        packages: Top-level packages that it may come from.
        method: Name of a method that the class must have.
        error: What is raised.

    Raises:
        ValueError: Of class `error`: the target is malformed, outside the allow-list, cannot be
            imported, or is not a class with this method.
    """
    module, name = _imported(what, target, packages, error)
    kind = getattr(module, name, None)
    if not inspect.isclass(kind) or not callable(getattr(kind, method, None)):
        raise error(
            f"{what} {target!r}: {module.__name__} has no class {name} with a {method} method"
        )
    return kind


def find_function(what: str, target: str, packages: Sequence[str]) -> Callable[..., Any]:
    """Return the function (or anything that can be called) that a dotted target names.

    Args:
        what: What it is, for messages.
        target: "module:name".
        packages: Top-level packages that it may come from.

    Raises:
        RewardError: The target is malformed, outside the allow-list, cannot be imported, or cannot
            be called.
    """
    module, name = _imported(what, target, packages, RewardError)
    function = getattr(module, name, None)
    if not callable(function):
        raise RewardError(f"{what} {target!r}: {module.__name__} has no function {name}")
    return function


def where_packages_lie(package: str, reason: str) -> str:
    """Return the end of a message about a package that is not there; nothing of another reason."""
    if f"No module named {package!r}" not in reason:
        return ""
    return "; a package lies beside rewards/ or is installed, the working folder does not count"


def _imported(
    what: str, target: str, packages: Sequence[str], error: type[ValueError]
) -> tuple[ModuleType, str]:
    """Return the module of a target and the name behind it, once the allow-list was checked."""
    module_name, _, name = target.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), name]):
        raise error(f"{what} {target!r}: expected 'module:ClassName'")
    package = module_name.split(".")[0]
    if package not in packages:
        raise error(
            f"{what} {target!r}: package {package!r} is not in rewards.packages "
            f"({', '.join(packages) or 'empty'}); add it there if you trust its code"
        )
    module = attempt(lambda: importlib.import_module(module_name))
    if isinstance(module, Failure):
        where = where_packages_lie(package, module.reason)
        raise error(f"{what} {target!r}: cannot import it: {module.reason}{where}")
    return module, name


def load_reward(target: str, options: Mapping[str, Any], allowed_packages: Sequence[str]) -> Reward:
    """Return a new instance of the reward class that `target` names.

    Args:
        target: "module:Name".
        options: Keyword arguments of the class.
        allowed_packages: The config's `rewards.packages`.

    Raises:
        RewardError: As `reward_class`, or the class does not take these options.
    """
    kind = reward_class(target, allowed_packages)
    try:
        inspect.signature(kind).bind(**options)
    except TypeError as error:
        raise RewardError(
            f"reward target {target!r}: options {sorted(options)} do not fit "
            f"{kind.__name__}{inspect.signature(kind)}: {error}"
        ) from error
    return kind(**options)


def reads_features(kind: type[Reward]) -> bool:
    """Return whether a reward class asks for the clip's features (False unless it says so)."""
    return bool(getattr(kind, "needs_features", False))


def scores_moved(kind: type[Reward]) -> bool:
    """Return whether a reward class is asked about moved clips (False unless it says so)."""
    return bool(getattr(kind, "scores_moved", False))


def limits_of(reward: Reward) -> tuple[float, float]:
    """Return the lowest and highest value that a reward may give: 0 and 1 unless it says so."""
    low, high = getattr(reward, "limits", (0.0, 1.0))
    return float(low), float(high)


def validate_scores(
    name: str, group: Group, scores: Scores, limits: tuple[float, float] = (0.0, 1.0)
) -> Scores:
    """Return the scores as plain Python values, or refuse them.

    Bools and scalars of numpy or torch become floats. Missing details become empty ones, and keys
    in them are hidden.

    Args:
        name: Name of the reward term, for the message.
        group: The group that was scored.
        scores: What the plug-in returned.
        limits: Lowest and highest value that is one; infinite for any finite number.

    Returns:
        Scores with exactly G floats in the limits or None, and exactly G details.

    Raises:
        RewardError: Not a `Scores`, not G values or details, a value that is no number, not finite
            or outside the limits, or details that are not JSON.
    """
    where = f"reward {name!r}, example {group.prompt.example.id!r}"
    if not isinstance(scores, Scores):
        raise RewardError(
            f"{where}: score() returned {type(scores).__name__}, expected rewards.base.Scores"
        )
    num = len(group.completions)
    try:
        raw = tuple(scores.values)
    except TypeError as error:
        raise RewardError(f"{where}: values are {scores.values!r}, expected {num}") from error
    if len(raw) != num:
        raise RewardError(f"{where}: {len(raw)} values for {num} completions")
    values = tuple(_plain_value(where, i, value, limits) for i, value in enumerate(raw))
    try:
        details = tuple(dict(detail) for detail in scores.details)
        # What comes back is plain: the driver may not know the classes of the plug-in.
        plain = json.loads(json.dumps(details, allow_nan=False))
        details = tuple(all_without_secrets(plain))
    except (TypeError, ValueError) as error:
        raise RewardError(f"{where}: details are not JSON objects: {error}") from error
    for detail in details:
        metrics = detail.get("metrics", {})
        if not isinstance(metrics, dict) or not all(
            isinstance(number, int | float) for number in metrics.values()
        ):
            raise RewardError(f"{where}: details hold {metrics!r} as metrics, expected numbers")
    if len(details) not in (0, num):
        raise RewardError(f"{where}: {len(details)} details for {num} completions")
    return Scores(values, details or ({},) * num)


def _plain_value(
    where: str, index: int, value: object, limits: tuple[float, float]
) -> float | None:
    if value is None:
        return None
    low, high = limits
    what = f"{where}: value {index} is {value!r}"
    if not isinstance(value, SupportsFloat):
        raise RewardError(f"{what}, expected a number in [{low:g}, {high:g}] or None")
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RewardError(f"{what}, expected a number in [{low:g}, {high:g}] or None") from error
    if not math.isfinite(number) or not low <= number <= high:
        raise RewardError(
            f"{what}, outside [{low:g}, {high:g}]; return None for a completion left unscored"
        )
    return number


def with_run_options(config: RunConfig) -> list[RewardTermConfig]:
    """Return the reward terms with what some of our own classes need to know of the run.

    The accuracy term gets the label aliases, the reasoning term the context of its judge, the
    length penalty the limit of the rollouts, rewards of other trainers where they may come from.
    """
    of_run: dict[str, dict[str, Any]] = {
        ACCURACY_TARGET: {"aliases": dict(config.rewards.aliases)},
        REASONING_TARGET: {"context": judge_context(config)},
        LENGTH_TARGET: {"max_tokens": config.rollout.max_completion_tokens},
    }
    adapted = {"packages": list(config.rewards.packages), "num_steps": config.train.num_steps}
    of_run |= {t.target: adapted for t in config.rewards.terms if t.target.startswith(ADAPTERS)}
    return [
        replace(term, options=of_run.get(term.target, {}) | term.options)
        for term in config.rewards.terms
    ]


def judge_context(config: RunConfig) -> dict[str, Any]:
    """Return the fields of `rewards.judges.base.JudgeContext` that a run fills in."""
    return {
        "audio_root": config.data.audio_root,
        "device": config.device,
        "packages": list(config.rewards.packages),
        "follow_links": config.data.follow_links,
    }
