"""A field of the schema with its allowed range."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import field
from typing import Any


def knob(
    default: Any,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """Return a dataclass field with its allowed range.

    Args:
        default: value when the YAML file says nothing; lists and dicts are copied per config.
        ge: lowest allowed number.
        gt: lowest number, itself excluded.
        le: highest allowed number.
        choices: allowed words.
    """
    limits = {"ge": ge, "gt": gt, "le": le, "choices": choices}
    metadata = {name: limit for name, limit in limits.items() if limit is not None}
    if type(default) in (list, dict):
        return field(default_factory=lambda: copy(default), metadata=metadata)
    return field(default=default, metadata=metadata)
