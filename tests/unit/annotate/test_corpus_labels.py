"""Label maps: every corpus has both, merges are told, and what is unknown is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.corpora.convert import build_rows, describe_conversion, load_label_map
from annotate.corpora.table import CORPORA
from annotate.inspect.leaks import KINDS
from configs.errors import UserError
from configs.schema import NINE_LABELS
from tests.unit.annotate.test_corpus_ravdess import build


@pytest.mark.parametrize("corpus", CORPORA)
def test_both_maps_of_every_corpus(corpus: str):
    nine, own = load_label_map(corpus, "nine"), load_label_map(corpus, "own")
    assert set(nine.choices) <= set(NINE_LABELS)
    # Both maps account for the same raw labels.
    assert nine.targets.keys() | nine.drop.keys() == own.targets.keys() | own.drop.keys()


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_table(corpus: str):
    entry = CORPORA[corpus]
    assert entry.split in ("official", "session", "speaker")
    assert set(entry.overlaps) <= set(KINDS)
    assert list(CORPORA) == sorted(CORPORA)


def test_merges_and_drops_are_told(tmp_path: Path):
    build(tmp_path)
    labels = tmp_path / "mine.yaml"
    labels.write_text(
        "labels: {neutral: calm, calm: calm, happy: happy, sad: sad, angry: angry}\n"
        "drop: {surprised: not asked for, disgust: rare, fearful: rare}\n"
    )
    found = build_rows("ravdess", tmp_path, labels=str(labels), num_workers=1)
    assert [row["label"] for row in found.rows] == ["calm", "angry"]
    assert describe_conversion(found) == [
        "merged: neutral + calm -> calm",
        "dropped: 1 clips labelled 'disgust': rare",
        "dropped: 1 clips labelled 'surprised': not asked for",
    ]


def test_a_label_that_no_map_knows_is_counted_and_refused(tmp_path: Path):
    build(tmp_path)
    labels = tmp_path / "mine.yaml"
    labels.write_text("labels: {calm: calm, angry: angry}\ndrop: {disgust: rare}\n")
    with pytest.raises(
        UserError, match=r"does not know 'surprised' \(1 clips, such as '.*\.wav'\)"
    ):
        build_rows("ravdess", tmp_path, labels=str(labels), num_workers=1)
    labels.write_text("labels: {calm: calm}\ndrop: {calm: rare}\n")
    with pytest.raises(UserError, match="both mapped and dropped: calm"):
        load_label_map("ravdess", str(labels))
    for text in ("labels: [calm]", "calm: calm", "labels: {calm: 1}"):
        labels.write_text(text)
        with pytest.raises(UserError, match="expected `labels"):
            load_label_map("ravdess", str(labels))


def test_a_clip_that_cannot_be_read_is_named(tmp_path: Path):
    build(tmp_path)
    (tmp_path / "Actor_13/03-01-07-01-01-02-13.wav").write_bytes(b"")
    found = build_rows("ravdess", tmp_path, labels="nine", num_workers=2)
    assert len(found.rows) == 3
    assert [error["id"] for error in found.failed] == ["03-01-07-01-01-02-13"]
    assert "is empty" in found.failed[0]["reason"]
    with pytest.raises(UserError, match="corpus 'ravdes' is not known"):
        build_rows("ravdes", tmp_path, labels="nine", num_workers=1)
