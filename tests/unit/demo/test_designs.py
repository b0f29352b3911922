"""Neither the demo's corpus nor `TRIPLETS` is solved without listening to pitch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from configs.schema import NINE_LABELS, DataConfig
from data.manifest import read_manifest
from data.splits import select_split
from demo.corpus import SPLITS, draw_delivery, speakers
from demo.designs import DEMO, LOUDNESS, TRIPLETS, Design
from demo.material import prepare
from evaluation.nulls import null_baselines

CUES = {
    "energy and length": ("energy_db", "length_s"),
    "all but pitch": ("energy_db", "length_s", "rate", "breath"),
    "all": ("energy_db", "length_s", "rate", "breath", "pitch", "liveliness", "rises"),
}
"""What a forest sees -> the settings of a clip: what a perfect ear would measure."""

LISTENING = [DEMO, TRIPLETS]


def draw(design: Design, num_of_label: int, seed: int) -> tuple[list[dict[str, float]], list[str]]:
    rng = np.random.default_rng(seed)
    labels = [label for label in design.styles for _ in range(num_of_label)]
    clips = []
    for label in labels:
        delivery = draw_delivery(design.styles[label], rng, design)
        letters = len(design.sentences[rng.integers(len(design.sentences))].replace(" ", ""))
        # As the synthesizer speaks: 16 letters a second, and 0.1 to 0.8 s around them.
        length_s = letters / (16 * delivery.rate) + rng.uniform(0.05, 0.4, 2).sum()
        clips.append(
            {name: float(getattr(delivery, name, length_s)) for name in CUES["all"]},
        )
    return clips, labels


def accuracies(design: Design) -> dict[str, float]:
    (train, train_labels), (test, test_labels) = draw(design, 100, 0), draw(design, 100, 1)
    right = {}
    for name, keys in CUES.items():
        forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=0)
        forest.fit([[clip[key] for key in keys] for clip in train], train_labels)
        predicted = forest.predict([[clip[key] for key in keys] for clip in test])
        right[name] = float(np.mean(predicted == np.array(test_labels)))
    return right


@pytest.mark.parametrize(("design", "most"), [(DEMO, 0.7), (TRIPLETS, 0.55)])
def test_nothing_but_pitch_is_enough(design: Design, most: float):
    """Three groups of three; breath tells one label of each in the demo's corpus, one in all in
    `TRIPLETS`."""
    right = accuracies(design)
    assert 1 / 9 < right["energy and length"] < 0.4
    assert 1 / 3 < right["all but pitch"] < most
    assert right["all"] > 0.9


@pytest.mark.slow
def test_so_it_is_for_the_clips_as_they_are_measured(tmp_path: Path):
    """The demo's corpus in small: made, annotated, and given to the forests that an
    evaluation prints."""
    sizes = {"num_train": 225, "num_eval": 9, "num_test": 135, "num_cold_start": 9}
    corpus = prepare(tmp_path, **sizes).corpus
    examples = read_manifest(
        corpus / "manifest.jsonl",
        audio_root=corpus,
        choices=NINE_LABELS,
        question_template=DataConfig().question,
    )
    test, train = (select_split(examples, split) for split in ("test", "train"))
    answers = [{"id": one.id, "label": one.label, "answer": one.label} for one in test]
    nulls = null_baselines(answers, test, train, seed=0)
    assert nulls is not None
    assert nulls["loudness_length"] < 0.4 and nulls["without_f0"] < 0.7 < 0.8 < nulls["measured"]


@pytest.mark.parametrize("design", LISTENING)
def test_three_labels_each_share_energy_and_rate(design: Design):
    groups: dict[tuple[float, float], list[str]] = {}
    for label, style in design.styles.items():
        groups.setdefault((style.rate, style.energy_db), []).append(label)
    assert sorted(map(len, groups.values())) == [3, 3, 3]
    # Rate and energy go together: one of them says no more than the other.
    assert len({rate for rate, _ in groups}) == len({energy for _, energy in groups}) == 3


@pytest.mark.parametrize("design", LISTENING)
def test_length_says_little_of_rate(design: Design):
    letters = [len(sentence.replace(" ", "")) for sentence in design.sentences]
    rates = [style.rate for style in design.styles.values()]
    assert max(letters) / min(letters) > 2 > max(rates) / min(rates)


@pytest.mark.parametrize("design", LISTENING)
def test_every_split_has_voices_of_both_sexes_that_no_other_has(design: Design):
    voices = [{speaker.voice for speaker in speakers(split, design)} for split in SPLITS]
    assert sum(map(len, voices)) == len(set.union(*voices))
    for cast in voices:
        sexes = [voice.split("+")[1][0] for voice in cast]
        assert sexes.count("m") >= 4 and sexes.count("f") >= 4


def test_the_corpus_of_the_first_sweeps_is_solved_by_loudness_and_length():
    assert accuracies(LOUDNESS)["energy and length"] > 0.5
