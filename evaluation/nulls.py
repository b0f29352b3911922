"""What can be had without listening: baselines beside which an accuracy and a fact have to stand.

All are trained on the training rows and tested on the clips of the evaluation. A clip without a
measurement is left out of what needs it, and counted; it is never zero.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from configs.schema import RunConfig
from data.files import Row
from data.prosody.claims import ATTRIBUTES, MARGIN, find_claims, truth_of
from data.records import Example
from data.splits import training_rows
from evaluation.summary import AnsweredSet
from evaluation.test_sets import QuestionSet
from rewards.judges.base import HIGHEST, LOWEST
from rewards.judges.worth import worths_of

LOUDNESS_LENGTH = ("energy_dbfs", "duration_s")
WITHOUT_F0 = (
    *LOUDNESS_LENGTH,
    "speech_s",
    "pause_frac",
    "num_pauses",
    "energy_change_db",
    "noise_dbfs",
    "snr_db",
    "voiced_frac",
    "nuclei_per_s",
    "spoken_nuclei_per_s",
    "letters_per_s",
)
MEASURED = (
    *WITHOUT_F0,
    "f0_median_hz",
    "f0_p5_hz",
    "f0_p95_hz",
    "f0_range_st",
    "f0_std_st",
    "f0_slope_st_per_s",
    "f0_end_st",
    "f0_change_st",
)
NULLS = {
    "majority": "most frequent label",
    "loudness_length": "loudness and length",
    "without_f0": "all but F0",
    "measured": "all measurements",
}
"""Baseline -> its name for people."""

FORESTS: Mapping[str, Sequence[str]] = {
    "loudness_length": LOUDNESS_LENGTH,
    "without_f0": WITHOUT_F0,
    "measured": MEASURED,
}
"""Baseline -> the measurements (`data.prosody.measure.Prosody`) that its forest sees."""

NUM_TREES, MIN_LEAF = 200, 3
MAX_TRAIN = 5_000
"""Training clips of a forest; of more, evenly spaced ones. A forest of 1,000 takes about 1 s."""

MIN_SPEAKER = 5
"""Clips of a speaker from which his median is known."""

Values = NDArray[np.float64]


def null_baselines(
    answers: Sequence[Row], tested: Iterable[Example], train: Iterable[Example], *, seed: int
) -> dict[str, Any] | None:
    """Return what needs no listening, or none to pitch, on the clips of an evaluation.

    Args:
        answers: Rows of the evaluation: `id`, `label`, `answer`.
        tested: Their examples, with measured prosody where known; others may be among them.
        train: Training rows. For a probe those of its task; where there are none, the measured
            levels of the others.
        seed: Of the forests.

    Returns:
        None without training rows or answers. `train` and `examples` (numbers of clips);
        `majority`: accuracy of the most frequent training label; accuracy of a random forest on
        each of `FORESTS`, each value as it is and relative to the speaker's median, with
        `forest_train` and `forest_examples` (clips with measurements). Of labels that are emotions
        also `levels` (attribute -> share of the clips whose level is the typical one of their gold
        label) and `facts` (`gold`, `answer`: what the measured judge gives, 1 to 5, to reciting the
        typical levels of that label). Each is None where it cannot be computed.
    """
    by_id = {example.id: example for example in tested}
    pairs = [(row, by_id[row["id"]]) for row in answers if row["id"] in by_id]
    task = pairs[0][1].task if pairs and pairs[0][1].target is not None else None
    labelled = _labelled(list(train), task)
    if not labelled or not pairs:
        return None
    majority = Counter(label for _, label in labelled).most_common(1)[0][0]
    is_emotion = all(example.target is None for _, example in pairs)
    return {
        "train": len(labelled),
        "examples": len(pairs),
        "majority": float(np.mean([row["label"] == majority for row, _ in pairs])),
        **_forests(labelled, [(example, row["label"]) for row, example in pairs], seed),
        **(_recitals(typical_levels(labelled), pairs) if is_emotion else {}),
    }


def with_nulls(
    sets: Iterable[AnsweredSet], question_sets: Iterable[QuestionSet], config: RunConfig
) -> list[AnsweredSet]:
    """Return answered sets with their null baselines, as far as the run has training rows.

    Args:
        sets: Answers to `question_sets`, in their order.
        question_sets: What was asked.
        config: The run.
    """
    train = training_rows(config)
    return [
        replace(one, nulls=null_baselines(one.rows, of.examples, train, seed=config.seed))
        for one, of in zip(sets, question_sets, strict=True)
    ]


def _labelled(train: Sequence[Example], task: str | None) -> list[tuple[Example, str]]:
    """Return the training rows with what they teach about a task; None = the emotion."""
    emotions = [example for example in train if example.target is None]
    if task is None:
        return [(example, example.label) for example in emotions]
    same = [(example, example.label) for example in train if example.task == task]
    levels = [(example, (example.prosody or {}).get(task)) for example in emotions]
    return same or [(example, level) for example, level in levels if isinstance(level, str)]


def typical_levels(labelled: Iterable[tuple[Example, str]]) -> dict[str, dict[str, str]]:
    """Return label -> attribute -> its most frequent measured level; without unmeasured ones."""
    counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for example, label in labelled:
        for name in ATTRIBUTES:
            level = (example.prosody or {}).get(name)
            if level is not None:
                counts[label][name][level] += 1
    return {
        label: {name: levels.most_common(1)[0][0] for name, levels in by_name.items()}
        for label, by_name in counts.items()
    }


def recital_facts(levels: Mapping[str, str], prosody: Mapping[str, Any]) -> float | None:
    """Return the factual alignment, 1 to 5, of a text that recites levels, whatever the clip.

    As `rewards.judges.measured` scores it; None if none of what is told was measured.
    """
    claims = find_claims(", ".join(f"the {name} is {level}" for name, level in levels.items()))
    worths = worths_of(claims, [truth_of(claim, prosody, MARGIN) for claim in claims], {})
    if not worths:
        return None
    return LOWEST + (HIGHEST - LOWEST) * float(np.mean(list(worths.values())))


def _recitals(
    typical: Mapping[str, Mapping[str, str]], pairs: Sequence[tuple[Row, Example]]
) -> dict[str, Any]:
    measured = [(row, example.prosody) for row, example in pairs if example.prosody]
    right: dict[str, list[bool]] = defaultdict(list)
    for row, prosody in measured:
        for name, level in typical.get(row["label"], {}).items():
            if prosody.get(name) is not None:
                right[name].append(prosody[name] == level)
    facts = {
        name: [
            fact
            for row, prosody in measured
            if (fact := recital_facts(typical.get(row[key] or "", {}), prosody)) is not None
        ]
        for name, key in (("gold", "label"), ("answer", "answer"))
    }
    return {
        "levels": {name: float(np.mean(right[name])) for name in ATTRIBUTES if right[name]},
        "facts": {name: float(np.mean(v)) if v else None for name, v in facts.items()},
    }


def _forests(
    basis: Sequence[tuple[Example, str]], cases: Sequence[tuple[Example, str]], seed: int
) -> dict[str, float | int | None]:
    """Return the accuracy of each forest, and on how many clips it was trained and tested."""
    fitted, tested = (
        [(example, label) for example, label in rows if example.prosody] for rows in (basis, cases)
    )
    fitted = fitted[:: -(-len(fitted) // MAX_TRAIN)] if fitted else []
    sizes = {"forest_train": len(fitted), "forest_examples": len(tested)}
    labels = [label for _, label in fitted]
    if not tested or len(set(labels)) < 2:
        return {**dict.fromkeys(FORESTS), **sizes}
    accuracies: dict[str, float | int | None] = {}
    for name, keys in FORESTS.items():
        train, test = (_features([e for e, _ in rows], keys) for rows in (fitted, tested))
        seen = ~np.isnan(train).all(axis=0)
        if not seen.any():
            accuracies[name] = None
            continue
        forest = RandomForestClassifier(NUM_TREES, min_samples_leaf=MIN_LEAF, random_state=seed)
        predicted = forest.fit(train[:, seen], labels).predict(test[:, seen])
        accuracies[name] = float(np.mean(predicted == np.array([label for _, label in tested])))
    return {**accuracies, **sizes}


def _features(examples: Sequence[Example], keys: Sequence[str]) -> Values:
    """Return [N, 2 K] measurements, as they are and minus the speaker's median; NaN if missing."""
    values = np.array(
        [
            [np.nan if (value := (e.prosody or {}).get(key)) is None else value for key in keys]
            for e in examples
        ],
        dtype=np.float64,
    )
    relative = np.full_like(values, np.nan)
    speakers = np.array([e.speaker or "" for e in examples])
    for speaker in set(speakers.tolist()) - {""}:
        places = np.flatnonzero(speakers == speaker)
        for column in range(len(keys)):
            there = values[places, column][~np.isnan(values[places, column])]
            if len(there) >= MIN_SPEAKER:
                relative[places, column] = values[places, column] - np.median(there)
    return np.hstack([values, relative])
