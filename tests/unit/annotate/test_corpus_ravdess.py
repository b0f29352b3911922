"""RAVDESS as it is distributed, and every way its folder can be wrong."""

import pytest

from annotate.corpora.named import NAMED
from configs.errors import UserError
from tests.unit.corpus_files import check_golden, write_clip

read_ravdess = NAMED["ravdess"].read


def build(root):
    names = (
        "Actor_01/03-01-05-02-01-01-01",
        "Actor_01/03-01-02-01-02-02-01",
        "Actor_02/03-01-08-01-02-01-02",
        "Actor_02/03-02-03-01-02-01-02",  # a song: left out
        "Actor_13/03-01-07-01-01-02-13",
    )
    for index, name in enumerate(names):
        write_clip(root / f"{name}.wav", hz=110 + index, rate_hz=48000)


def test_golden(tmp_path):
    rows = check_golden("ravdess", tmp_path, build)
    assert [row["id"] for row in rows] == [
        "ravdess/03-01-02-01-02-02-01",
        "ravdess/03-01-05-02-01-01-01",
        "ravdess/03-01-07-01-01-02-13",
        "ravdess/03-01-08-01-02-01-02",
    ]
    first = rows[0]
    assert (first["raw_label"], first["label"]) == ("calm", "calm")
    assert (first["speaker"], first["sex"], first["sample_rate"]) == ("ravdess/01", "male", 48000)
    assert first["text"] == "Dogs are sitting by the door."


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Actor_01/happy_01.wav", "not a RAVDESS name"),
        ("Actor_01/03-01-09-01-01-01-01.wav", "not a RAVDESS name"),
        ("Actor_01/03-01-05-01-01-01-02.wav", "move it to Actor_02"),
    ],
)
def test_wrong_names_are_all_listed(tmp_path, name, said):
    build(tmp_path)
    write_clip(tmp_path / name, hz=200)
    with pytest.raises(UserError, match=said):
        read_ravdess(tmp_path)


def test_other_folders(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_ravdess(tmp_path / "nothing")
    with pytest.raises(UserError, match="holds no clip of RAVDESS"):
        read_ravdess(tmp_path)


def test_the_same_clip_in_two_folders(tmp_path):
    build(tmp_path)
    write_clip(tmp_path / "copy/Actor_01/03-01-05-02-01-01-01.wav", hz=110)
    with pytest.raises(
        UserError, match=r"copy/Actor_01/03-01-05-02-01-01-01\.wav are the same utterance"
    ):
        read_ravdess(tmp_path)
