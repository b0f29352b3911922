"""Rules for code that a configuration names: how a target looks, and which packages it is from."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from configs.loss_schema import POLICY_LOSSES
from configs.schema import RunConfig

TARGET_PATTERN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""`module:Class`, or `module:function`."""


def check_targets(config: RunConfig) -> Iterator[str]:
    """Yield one line per reward, judge or loss whose name is none or outside `rewards.packages`."""
    packages = config.rewards.packages
    for index, term in enumerate(config.rewards.terms):
        yield from _target(f"rewards.terms.{index}.target", term.target, "Class", packages)
    judge, loss = config.judge.target, config.loss.policy
    if judge and not TARGET_PATTERN.fullmatch(judge):
        yield f"judge.target: found {judge!r}; allowed is module:Class"
    if ":" in loss:
        yield from _target("loss.policy", loss, "function", packages)
    elif loss not in POLICY_LOSSES:
        near = difflib.get_close_matches(loss, POLICY_LOSSES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        names = ", ".join(POLICY_LOSSES)
        yield f"loss.policy: found {loss!r}; {hint}allowed is {names}, or module:function"


def _target(key: str, target: str, kind: str, packages: list[str]) -> Iterator[str]:
    if not TARGET_PATTERN.fullmatch(target):
        yield f"{key}: found {target!r}; allowed is module:{kind}"
    elif re.split("[.:]", target)[0] not in packages:
        yield (
            f"{key}: {target} is outside rewards.packages: {', '.join(packages)}; add its "
            "top-level package there if you trust it"
        )
