"""The design `TRIPLETS` cannot be solved without listening to pitch, and can be with it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from demo.corpus import SPLITS, draw_delivery, speakers
from demo.designs import TRIPLETS

CUES = {
    "energy and length": ("energy_db", "length_s"),
    "all but pitch": ("energy_db", "length_s", "rate", "breath"),
    "all": ("energy_db", "length_s", "rate", "breath", "pitch", "liveliness", "rises"),
}
"""What a forest sees -> the settings of a clip: what a perfect ear would measure."""


def draw(num_of_label: int, seed: int) -> tuple[list[dict[str, float]], list[str]]:
    rng = np.random.default_rng(seed)
    labels = [label for label in TRIPLETS.styles for _ in range(num_of_label)]
    clips = []
    for label in labels:
        delivery = draw_delivery(TRIPLETS.styles[label], rng, TRIPLETS)
        letters = len(TRIPLETS.sentences[rng.integers(len(TRIPLETS.sentences))].replace(" ", ""))
        # As the synthesizer speaks: 16 letters a second, and 0.1 to 0.8 s around them.
        length_s = letters / (16 * delivery.rate) + rng.uniform(0.05, 0.4, 2).sum()
        clips.append(
            {name: float(getattr(delivery, name, length_s)) for name in CUES["all"]},
        )
    return clips, labels


@pytest.fixture(scope="module")
def accuracy() -> dict[str, float]:
    (train, train_labels), (test, test_labels) = draw(100, seed=0), draw(100, seed=1)
    found = {}
    for name, keys in CUES.items():
        forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=0)
        forest.fit([[clip[key] for key in keys] for clip in train], train_labels)
        predicted = forest.predict([[clip[key] for key in keys] for clip in test])
        found[name] = float(np.mean(predicted == np.array(test_labels)))
    return found


def test_loudness_and_length_are_not_enough(accuracy: dict[str, float]):
    assert 1 / 9 < accuracy["energy and length"] < 0.4


def test_nothing_but_pitch_is_enough(accuracy: dict[str, float]):
    """Three groups of three; only in one of them does breath tell a label."""
    assert 1 / 3 < accuracy["all but pitch"] < 0.55


def test_all_cues_are(accuracy: dict[str, float]):
    assert accuracy["all"] > 0.9


def test_three_labels_each_share_energy_and_rate():
    groups: dict[tuple[float, float], list[str]] = {}
    for label, style in TRIPLETS.styles.items():
        groups.setdefault((style.rate, style.energy_db), []).append(label)
    assert sorted(map(len, groups.values())) == [3, 3, 3]
    # Rate and energy go together: one of them says no more than the other.
    assert len({rate for rate, _ in groups}) == len({energy for _, energy in groups}) == 3


def test_length_says_little_of_rate():
    letters = [len(sentence.replace(" ", "")) for sentence in TRIPLETS.sentences]
    rates = [style.rate for style in TRIPLETS.styles.values()]
    assert max(letters) / min(letters) > 2 > max(rates) / min(rates)


def test_every_split_has_voices_of_both_sexes_that_no_other_has():
    voices = [{speaker.voice for speaker in speakers(split, TRIPLETS)} for split in SPLITS]
    assert sum(map(len, voices)) == len(set.union(*voices))
    for cast in voices:
        sexes = [voice.split("+")[1][0] for voice in cast]
        assert sexes.count("m") >= 4 and sexes.count("f") >= 4
