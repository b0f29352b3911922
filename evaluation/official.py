"""A benchmark's own scores over its rows, by the groups that it reports, beside published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from data.files import Row
from evaluation.benchmark_rules import RULES
from evaluation.statistics import share_interval


def _checked(published: Mapping[str, Any]) -> Mapping[str, Any]:
    for rule, table in published.items():
        assert rule in RULES or rule == "emobox", rule
        assert set(table) == {"metric", "source", "figures"}, rule
        assert table["source"].startswith("https://"), rule
        parts = table["figures"].values() if rule == "emobox" else [table["figures"]]
        assert all(0 <= score <= 100 for part in parts for score in part.values()), rule
    return published


PUBLISHED: Mapping[str, Any] = _checked(
    yaml.safe_load(Path(__file__).with_name("published.yaml").read_text(encoding="utf-8"))
)
"""Rule -> `metric`, `source` and `figures` (model -> score in %) that others published; figures of
`emobox` are corpus -> model -> score."""


def official_summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return what the rules of the rows' benchmarks give, one entry a rule; empty without any.

    Args:
        rows: Answers: `scoring`, `official` (None = in no count) and `correct` (our reader).

    Returns:
        `rule`, `says`, `overall` and `groups` (name -> value -> numbers), and `published` or None.
        Numbers: `accuracy` with its `interval` over the `counted` rows (None without any),
        `left_out`, and `ours` with `ours_interval` over all rows.
    """
    by_rule: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("scoring"):
            by_rule.setdefault(row["scoring"]["rule"], []).append(row)
    return [
        {
            "rule": rule,
            "says": RULES[rule].says,
            "overall": _numbers(part),
            "groups": {
                name: {
                    value: _numbers([r for r in part if r["scoring"].get(name) == value])
                    for value in sorted({r["scoring"][name] for r in part if name in r["scoring"]})
                }
                for name in dict.fromkeys(key for row in part for key in row["scoring"])
                if name != "rule"
            },
            "published": PUBLISHED.get(rule),
        }
        for rule, part in by_rule.items()
    ]


def _numbers(rows: Sequence[Row]) -> dict[str, Any]:
    counted = [row["official"] for row in rows if row["official"] is not None]
    ours = [row["correct"] for row in rows]
    return {
        "accuracy": sum(counted) / len(counted) if counted else None,
        "interval": asdict(share_interval(counted)) if counted else None,
        "counted": len(counted),
        "left_out": len(rows) - len(counted),
        "ours": sum(ours) / len(ours),
        "ours_interval": asdict(share_interval(ours)),
    }
