"""The reward terms of a run: their classes and judges, and what these are built with."""

from __future__ import annotations

from collections.abc import Iterator

from configs.schema import RunConfig
from launch.preflight import Problem
from launch.preflight.plugins import Plugin, faults
from rewards.base import REASONING_TARGET, with_run_options


def check_rewards(config: RunConfig, *, learns: bool = True) -> Iterator[Problem]:
    """Yield classes of rewards and judges that cannot be used, or do not take their options.

    Args:
        config: The run.
        learns: As `preflight`; an evaluation builds the judged terms alone, if it asks them.
    """
    if config.loss.kind != "policy":
        return
    plugins: dict[str, Plugin] = {}
    for index, term in enumerate(with_run_options(config)):
        if not learns and not (term.judged and config.eval.judged):
            continue
        key = f"rewards.terms.{index}"
        plugins[f"{key}.target: {term.target}"] = Plugin(term.target, "score", [*term.options])
        judge = term.options.get("judge")
        if term.target == REASONING_TARGET and isinstance(judge, str):
            options = [*term.options.get("judge_options", {})]
            plugins[f"{key}.options.judge: {judge}"] = Plugin(judge, "judge", options, 1)
    for what, problem in zip(plugins, faults(list(plugins.values())), strict=True):
        if problem:
            yield Problem("error", f"{what}: {problem}", "correct the name or its options")
