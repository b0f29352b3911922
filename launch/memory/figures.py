"""What an estimate of memory is made of: figures with their basis, per role of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

GB = 1e9
"""Memory is given in GB of 10^9 bytes, as GPUs are sold."""

Basis = Literal["exact", "formula", "guess"]
"""How a figure was found: counted from the checkpoint and the configuration; by a formula that was
checked against measurements (docs/memory.md); or a round number from experience."""

Phase = Literal["always", "mask", "head", "backward", "step"]
"""When the memory is taken: for the whole run, while the masks of an update are made, while a row's
tokens are scored, during the backward pass through the layers, or in the optimizer's step."""

UPDATE: tuple[Phase, ...] = ("mask", "head", "backward", "step")
"""All of an update."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One part of a role's memory."""

    name: str
    num_bytes: int
    basis: Basis
    phases: tuple[Phase, ...] = ("always",)


@dataclass(frozen=True, slots=True)
class RoleMemory:
    """The memory of one process of a role, on its GPU, or on the host for a run on the CPU."""

    name: str
    """Such as `learner rank`."""
    count: int
    """Processes of the role."""
    gpus: int
    """GPUs of one process; the figures are those of one of them."""
    figures: tuple[Figure, ...]
    host: tuple[Figure, ...] = ()
    """What it takes on the host besides."""
    asleep: tuple[Figure, ...] = ()
    """What stays on a shared GPU while it is another role's turn."""
    note: str = ""

    def total(self, phase: Phase = "always") -> int:
        """Return the bytes of all figures that are taken in a phase, or always."""
        return total([f for f in self.figures if "always" in f.phases or phase in f.phases])

    @property
    def backward(self) -> int:
        """Peak of forward and backward passes, in bytes; of an engine, its only one."""
        return max(self.total("mask"), self.total("head"), self.total("backward"))

    @property
    def step(self) -> int:
        """Peak of the optimizer's step, in bytes."""
        return self.total("step")

    @property
    def peak(self) -> int:
        """Largest of all peaks, in bytes."""
        return max(self.backward, self.step)


def total(figures: Sequence[Figure]) -> int:
    """Return the bytes of figures together."""
    return sum(figure.num_bytes for figure in figures)
