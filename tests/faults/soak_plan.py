"""Which fault hits a soak after which step: a plan that follows from a seed and a length alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

KINDS = (
    "engine killed",
    "engine frozen",
    "judge answers 503",
    "judge hangs",
    "clip damaged",
    "clip poisoned",
    "SIGTERM",
    "SIGTERM to the group",
    "driver killed",
    "disk full under a checkpoint",
    "disk full under the driver",
)
"""All faults; `tests.faults.soak.Faults` says what each does."""

MAX_FAULTS = 16
"""Of one soak; each end of the driver costs a start, far longer than a step."""

CLIP_LEAD = 3
"""Steps from the damage of a clip to its turn; those before it have their prompts already."""


class Fault(NamedTuple):
    """What happens after a step is done, and until when."""

    step: int
    kind: str
    until: int
    """Step after which a judge is well again or a disk has room; other faults do not heal."""


def checkpoint_period(steps: int) -> int:
    """Return the steps between two checkpoints of a soak."""
    return max(1, steps // 50)


def make_plan(seed: int, steps: int) -> list[Fault]:
    """Return the faults of a soak, in the order of their steps.

    The steps are cut into bands, one fault each at a random place that leaves it room: what heals
    has done so before the next one. A window holds a whole checkpoint. Every kind comes once before
    any comes twice.

    Args:
        seed: another seed, another plan.
        steps: of the run, 12 or more.
    """
    assert steps >= 12, steps
    rng = np.random.Generator(np.random.PCG64([seed, steps]))
    window = checkpoint_period(steps) + 1
    usable = steps - CLIP_LEAD - 1
    count = min(MAX_FAULTS, usable // (window + 1))
    band = usable // count
    order = [*rng.permutation(len(KINDS)), *rng.permutation(len(KINDS))]
    plan: list[Fault] = []
    for number, kind in enumerate(order[:count]):
        step = 1 + number * band + int(rng.integers(band - window))
        plan.append(Fault(step, KINDS[kind], step + window))
    return plan
