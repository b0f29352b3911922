"""The mix: quotas by largest remainder, rows at most once, repeats only where they must be."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from annotate.tasks.mix import describe_mix, mix, quotas
from configs.errors import UserError


def rows(task: str, num: int) -> list[dict[str, Any]]:
    return [{"id": f"{task}/{index}", "task": task} for index in range(num)]


def mixed(*options: Any, seed: int) -> list[dict[str, Any]]:
    return list(mix(*options, seed=seed))


def test_quotas_by_largest_remainder():
    assert quotas({"a": 0.6, "b": 0.2, "c": 0.2}, 10) == {"a": 6, "b": 2, "c": 2}
    # Exactly 3.5, 2.333 and 1.167 of 7: the one row left goes to the remainder 0.5.
    assert quotas({"a": 3, "b": 2, "c": 1}, 7) == {"a": 4, "b": 2, "c": 1}
    # 3.33 each: the first gets the row that is left.
    assert quotas({"a": 1, "b": 1, "c": 1}, 10) == {"a": 4, "b": 3, "c": 3}
    assert quotas({"a": 0, "b": 1e-9}, 5) == {"a": 0, "b": 5}


def test_rows_come_once_while_there_are_enough():
    by_task = {"pitch": rows("pitch", 60), "asr": rows("asr", 20), "text": rows("text", 99)}
    found = mixed(by_task, {"pitch": 0.6, "asr": 0.2, "text": 0.2}, 100, seed=0)
    assert Counter(row["task"] for row in found) == {"pitch": 60, "asr": 20, "text": 20}
    assert len({row["id"] for row in found}) == 100
    # Mixed, not one task after another.
    assert {row["task"] for row in found[:20]} == {"pitch", "asr", "text"}


def test_a_task_that_is_too_small_repeats_evenly_under_new_ids():
    by_task = {"asr": rows("asr", 3), "text": rows("text", 50)}
    shares = {"asr": 8, "text": 2}
    found = mixed(by_task, shares, 10, seed=0)
    ids = [row["id"] for row in found if row["task"] == "asr"]
    assert len(ids) == 8 and len(set(ids)) == 8
    assert sorted(Counter(name.partition("#")[0] for name in ids).values()) == [2, 3, 3]
    assert Counter(name.partition("#")[2] for name in ids) == {"": 3, "2": 3, "3": 2}
    lines = describe_mix(by_task, shares, 10)
    assert lines[0].startswith("asr: 8 of 10 rows (80.0%), 3 to choose from; too few")
    assert "up to 3 times" in lines[0]
    assert lines[1] == "text: 2 of 10 rows (20.0%), 50 to choose from"
    assert by_task["asr"] == rows("asr", 3)


def test_the_seed_draws_and_other_tasks_do_not():
    by_task = {"asr": rows("asr", 50), "text": rows("text", 50)}
    shares = {"asr": 1.0, "text": 1.0}
    assert mixed(by_task, shares, 20, seed=1) == mixed(by_task, shares, 20, seed=1)
    assert mixed(by_task, shares, 20, seed=1) != mixed(by_task, shares, 20, seed=2)
    more = mixed({**by_task, "text": rows("text", 90)}, shares, 20, seed=1)
    drawn = [{row["id"] for row in found if row["task"] == "asr"}
             for found in (more, mixed(by_task, shares, 20, seed=1))]  # fmt: skip
    assert drawn[0] == drawn[1]


def test_what_is_missing_is_said():
    with pytest.raises(UserError, match=r"'stress' has a share of 0.1 and no rows.*aligner"):
        mixed({"asr": rows("asr", 5), "stress": []}, {"asr": 0.9, "stress": 0.1}, 5, seed=0)
    assert len(mixed({"asr": rows("asr", 5)}, {"asr": 1, "stress": 0}, 5, seed=0)) == 5
    with pytest.raises(UserError, match="'asr' is -1"):
        quotas({"asr": -1.0}, 5)
    with pytest.raises(UserError, match="'asr' is nan"):
        quotas({"asr": float("nan")}, 5)
    with pytest.raises(UserError, match="no task has a share"):
        quotas({"asr": 0.0}, 5)
    with pytest.raises(UserError, match="mix of 0 rows"):
        quotas({"asr": 1.0}, 0)
