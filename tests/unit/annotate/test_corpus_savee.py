"""SAVEE as it is distributed, and every way its folder can be wrong."""

import pytest

from annotate.corpora.convert import load_label_map
from annotate.corpora.named import NAMED
from configs.errors import UserError
from tests.unit.corpus_files import check_golden, write_clip

EMOTIONS = NAMED["savee"].values["label"]
read_savee = NAMED["savee"].read

NAMES = ("DC/a01", "DC/sa15", "DC/su03", "JE/n30", "JK/d09", "KL/f02", "KL/h11")


def build(root):
    for index, name in enumerate(NAMES):
        write_clip(root / f"AudioData/{name}.wav", hz=110 + index, rate_hz=44100)


def test_golden(tmp_path):
    rows = check_golden("savee", tmp_path, build)
    labels = {row["id"]: (row["raw_label"], row["label"]) for row in rows}
    assert labels == {
        "savee/DC_a01": ("anger", "angry"),
        "savee/DC_sa15": ("sadness", "sad"),
        "savee/DC_su03": ("surprise", "surprise"),
        "savee/JE_n30": ("neutral", "neutral"),
        "savee/JK_d09": ("disgust", "disgust"),
        "savee/KL_f02": ("fear", "fear"),
        "savee/KL_h11": ("happiness", "happy"),
    }
    assert (rows[0]["speaker"], rows[0]["sex"], rows[0]["sample_rate"]) == (
        "savee/DC",
        "male",
        44100,
    )
    assert "text" not in rows[0]


def test_the_copy_in_one_folder_has_the_same_clips(tmp_path):
    build(tmp_path / "official")
    for index, name in enumerate(NAMES):
        write_clip(tmp_path / "flat/ALL" / f"{name.replace('/', '_')}.wav", hz=110 + index)
    write_clip(tmp_path / "flat/ALL/._DC_a01.wav", hz=110)
    facts = [
        [(clip.id, clip.raw_label, clip.speaker) for clip in read_savee(tmp_path / folder)]
        for folder in ("official", "flat")
    ]
    assert facts[0] == facts[1]
    assert len(facts[0]) == 7


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("DC/s01.wav", "not a SAVEE name"),
        ("DC/a1.wav", "not a SAVEE name"),
        ("a02.wav", "speaker 'AudioData' is not one of DC, JE, JK, KL"),
        ("DC/XX_a02.wav", "speaker 'XX' is not one of"),
        ("AudioData/DC/a01.wav", r"AudioData/DC/a01\.wav are the same utterance; remove one"),
    ],
)
def test_wrong_names(tmp_path, name, said):
    build(tmp_path)
    write_clip(tmp_path / "AudioData" / name, hz=200)
    with pytest.raises(UserError, match=said):
        read_savee(tmp_path)


def test_other_folders(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_savee(tmp_path / "nothing")
    with pytest.raises(UserError, match="holds no clip of SAVEE"):
        read_savee(tmp_path)


@pytest.mark.parametrize("name", ["nine", "own"])
def test_every_label_is_mapped(name):
    assert load_label_map("savee", name).targets.keys() == set(EMOTIONS.values())
