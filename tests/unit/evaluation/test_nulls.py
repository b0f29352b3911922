"""What needs no listening, with worked numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from data.records import Example
from evaluation.nulls import null_baselines, recital_facts, typical_levels


def example(name: str, label: str, prosody: dict[str, Any] | None, **more: Any) -> Example:
    facts = {"question": "Which?", "choices": ("sad", "angry"), **more}
    return Example(name, f"{name}.wav", label, prosody=prosody, **facts)


def row(of: Example, answer: str | None) -> dict[str, Any]:
    return {"id": of.id, "label": of.label, "answer": answer}


LOW = {"pitch": "low", "energy": "low", "rate": "slow", "intonation": "flat"}
HIGH = {"pitch": "high", "energy": "high", "rate": "fast", "intonation": None}


def test_typical_levels_count_what_was_measured():
    known = [
        example("a", "sad", LOW),
        example("b", "sad", LOW),
        example("c", "sad", HIGH),
        example("d", "angry", {**HIGH, "pitch": None}),
        example("e", "angry", None),
    ]
    assert typical_levels((one, one.label) for one in known) == {
        "sad": LOW,
        "angry": {"energy": "high", "rate": "fast"},
    }


def test_a_recital_is_paid_as_the_measured_judge_pays():
    clear = {f"{name}_to_{side}": 2.0 for name in LOW for side in ("below", "above")}
    assert recital_facts(LOW, LOW | clear) == 5.0
    # Three told of a clip that was measured in three: one of them right.
    assert recital_facts(LOW, HIGH | clear | {"rate": "slow"}) == pytest.approx(1 + 4 / 3)
    assert recital_facts(LOW, dict.fromkeys(LOW)) is None
    assert recital_facts({}, LOW) is None


def test_recitals_and_the_most_frequent_label():
    train = [example(f"t{n}", "sad", LOW) for n in range(3)]
    train += [example(f"u{n}", "angry", HIGH) for n in range(2)]
    clear = {f"{name}_to_{side}": 2.0 for name in LOW for side in ("below", "above")}
    tested = [
        example("a", "sad", LOW | clear),
        example("b", "angry", LOW | clear),
        example("c", "angry", HIGH | clear),
        example("d", "angry", None),
    ]
    answers = [row(tested[0], "sad"), row(tested[1], "sad"), *(row(e, None) for e in tested[2:])]
    found = null_baselines(answers, tested, train, seed=0)
    assert found is not None
    assert (found["train"], found["examples"], found["majority"]) == (5, 4, 1 / 4)
    # Of three measured clips, b is not as the angry ones are; the intonation is known of a alone,
    # since no angry clip of the training has one.
    assert found["levels"] == {"pitch": 2 / 3, "energy": 2 / 3, "rate": 2 / 3, "intonation": 1.0}
    assert found["facts"] == {"gold": pytest.approx((5 + 1 + 5) / 3), "answer": 5.0}
    # None of the measurements that a forest sees was taken.
    assert found["measured"] is found["without_f0"] is found["loudness_length"] is None


def drawn(split: str, num: int, seed: int) -> list[Example]:
    """Two labels that differ in F0 alone, by speakers whose usual F0 differ more."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(num):
        label = ("sad", "angry")[n % 2]
        usual = (100.0, 250.0)[n // 2 % 2]
        prosody = {
            "f0_median_hz": usual * (0.9, 1.1)[n % 2] + rng.normal(0, 2),
            "energy_dbfs": rng.normal(-20, 3),
            "duration_s": rng.uniform(1, 2),
        }
        speaker = f"{split}-{n // 2 % 2}"
        found.append(example(f"{split}{n}", label, prosody, speaker=speaker))
    return found


@pytest.mark.slow
def test_forests_see_what_they_may():
    train, tested = drawn("train", 120, 0), drawn("test", 80, 1)
    answers = [row(one, None) for one in tested]
    found = null_baselines(answers, tested, train, seed=0)
    assert found is not None and found["measured"] == 1.0
    assert 0.3 < found["without_f0"] < 0.7 and 0.3 < found["loudness_length"] < 0.7
    assert null_baselines(answers, tested, train, seed=0) == found
    blind = [example(one.id, one.label, None) for one in tested[:20]]
    some = null_baselines(answers, [*blind, *tested[20:]], train, seed=0)
    assert some is not None
    assert (some["examples"], some["forest_examples"], some["forest_train"]) == (80, 60, 120)


def test_nothing_is_said_without_training_rows_or_answers():
    tested = drawn("test", 4, 0)
    assert null_baselines([row(tested[0], None)], tested, [], seed=0) is None
    assert null_baselines([], tested, tested, seed=0) is None


def test_a_probe_learns_from_the_measured_levels():
    train = [
        example(f"t{n}", "sad", {"pitch": level}) for n, level in enumerate(("low", "high", "high"))
    ]
    facts = {"task": "pitch", "target": "<answer>high</answer>"}
    tested = [example("a", "high", LOW, **facts), example("b", "low", LOW, **facts)]
    answers = [row(one, None) for one in tested]
    found = null_baselines(answers, tested, train, seed=0)
    assert found is not None
    assert (found["train"], found["majority"]) == (3, 1 / 2)
    assert "facts" not in found
    own = [example("t", "low", LOW, **facts)]
    learned = null_baselines(answers, tested, [*train, *own], seed=0)
    assert learned is not None and learned["train"] == 1
