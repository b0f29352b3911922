"""The reward terms of a run: their classes and judges, and what these are built with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from configs.loss_schema import LOSS_INPUTS
from configs.reward_schema import ADAPTERS
from configs.schema import RewardTermConfig, RunConfig
from configs.secrets import variables_named_in
from launch.preflight import Problem, in_ray_job, joins_cluster
from launch.preflight.plugins import Plugin, faults
from rewards import adapters
from rewards.base import REASONING_TARGET, with_run_options
from rewards.foreign_reward import NAME_A_FIELD


def check_rewards(config: RunConfig, *, learns: bool = True) -> Iterator[Problem]:
    """Yield classes of rewards and judges that cannot be used, and keys that are not set.

    A class may not be found, not be one, or not take its options.

    Args:
        config: The run.
        learns: As `preflight`; an evaluation builds the judged terms alone, if it asks them.
    """
    if config.loss.kind != "policy":
        return
    plugins: dict[str, Plugin] = {}
    variables: dict[str, str] = {}
    for index, term in enumerate(with_run_options(config)):
        if not learns and not (term.judged and config.eval.judged):
            continue
        key = f"rewards.terms.{index}"
        plugins[f"{key}.target: {term.target}"] = Plugin(term.target, "score", [*term.options])
        variables |= dict.fromkeys(variables_named_in(term.options), key)
        if term.target.startswith(ADAPTERS):
            yield from _outside_packages(config, key, term)
            plugins |= _adapted(key, term)
        judge = term.options.get("judge")
        if term.target == REASONING_TARGET and isinstance(judge, str):
            options = [*term.options.get("judge_options", {})]
            plugins[f"{key}.options.judge: {judge}"] = Plugin(judge, "judge", options, 1)
    loss = config.loss.policy
    if ":" in loss and learns:
        plugins[f"loss.policy: {loss}"] = Plugin(loss, "", LOSS_INPUTS, is_function=True)
    for what, problem in zip(plugins, faults(list(plugins.values())), strict=True):
        if problem:
            remedy = NAME_A_FIELD if ".function: " in what else "correct the name or its options"
            yield Problem("error", f"{what}: {problem}", remedy)
    for name, key in variables.items():
        # On a cluster it is the nodes of the workers that must have it.
        if not (os.environ.get(name) or joins_cluster() or in_ray_job()):
            yield Problem(
                "error",
                f"{key}.options: the environment variable {name} is not set",
                f"export {name}=... with the key",
            )


def _adapted(key: str, term: RewardTermConfig) -> dict[str, Plugin]:
    """Return what is to be checked of the function behind an adapter; nothing if it names none."""
    function = term.options.get("function")
    adapter = getattr(adapters, term.target.removeprefix(ADAPTERS), None)
    if not isinstance(function, str) or adapter is None:
        return {}
    columns: Any = term.options.get("columns", {})
    arguments: Any = term.options.get("arguments", {})
    plugin = Plugin(function, "", adapter.given(columns, arguments), is_function=True)
    if adapter is adapters.SwiftReward:
        plugin = Plugin(function, "__call__", [*arguments])
    return {f"{key}.options.function: {function}": plugin}


def _outside_packages(config: RunConfig, key: str, term: RewardTermConfig) -> Iterator[Problem]:
    function = str(term.options.get("function", ""))
    package = function.partition(":")[0].partition(".")[0]
    if function and package not in config.rewards.packages:
        yield Problem(
            "error",
            f"{key}.options.function: {function} is outside rewards.packages: "
            f"{', '.join(config.rewards.packages)}",
            f"add {package} there if you trust its code",
        )
