"""EARS as it is distributed, and every way its folder can be wrong."""

import json

import pytest

from annotate.corpora.named import NAMED
from configs.errors import UserError
from tests.unit.corpus_files import check_golden, write_clip, write_lines

read_ears = NAMED["ears"].read

TEXTS = {
    "emo_embarassment_sentences": "I'm so embarrassed. I hope no one saw that.",
    "emo_fear_sentences": "Did you hear that sound?",
    "rainbow_01_whisper": "When the sunlight strikes raindrops in the air.",
    "rainbow_01_loud": "When the sunlight strikes raindrops in the air.",
}
SPEAKERS = {
    "p001": {"age": "36-45", "gender": "male", "native language": "german"},
    "p002": {"age": "46-55", "gender": "female", "native language": "american english"},
    "p003": {"age": "18-25", "gender": "prefer not to answer", "native language": "mandarin"},
}


def build(root):
    write_lines(root / "speaker_statistics.json", [json.dumps(SPEAKERS)])
    write_lines(root / "transcripts.json", [json.dumps(TEXTS)])
    names = (
        "p001/emo_embarassment_sentences",
        "p001/emo_fear_freeform",
        "p002/emo_fear_sentences",
        "p002/rainbow_01_whisper",
        "p002/rainbow_01_loud",
        "p002/freeform_speech_01",
        "p002/vegetative_cough",
        "p003/emo_neutral_freeform",
    )
    for index, name in enumerate(names):
        write_clip(root / f"{name}.wav", hz=140 + index, rate_hz=48000)


def test_golden(tmp_path):
    rows = check_golden("ears", tmp_path, build)
    assert [(row["id"], row["label"]) for row in rows] == [
        ("ears/p001-emo_embarassment_sentences", "embarrassment"),
        ("ears/p001-emo_fear_freeform", "fear"),
        ("ears/p002-emo_fear_sentences", "fear"),
        ("ears/p002-rainbow_01_whisper", "whisper"),
        ("ears/p003-emo_neutral_freeform", "neutral"),
    ]
    assert [row.get("sex") for row in rows] == ["male", "male", "female", "female", None]
    assert [row.get("text") for row in rows] == [
        "I'm so embarrassed. I hope no one saw that.",
        None,
        "Did you hear that sound?",
        "When the sunlight strikes raindrops in the air.",
        None,
    ]
    assert rows[1]["task"] == "freeform"
    assert rows[3]["task"] == "sentences"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("p001/emo_anger", "not an EARS name"),
        ("p001/emo_anger_sentences", "emo_anger_sentences.wav: not in transcripts.json"),
        ("p004/emo_fear_sentences", "p004: not in speaker_statistics.json"),
    ],
)
def test_wrong_names(tmp_path, name, said):
    build(tmp_path)
    write_clip(tmp_path / f"{name}.wav", hz=200)
    with pytest.raises(UserError, match=said):
        read_ears(tmp_path)


def test_other_folders(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_ears(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"speaker_statistics.json: no such file"):
        read_ears(tmp_path)
    write_lines(tmp_path / "speaker_statistics.json", ["[]"])
    write_lines(tmp_path / "transcripts.json", ["{"])
    with pytest.raises(UserError, match="holds a JSON list, not an object"):
        read_ears(tmp_path)
    write_lines(tmp_path / "speaker_statistics.json", ["{}"])
    with pytest.raises(UserError, match=r"transcripts.json: is not JSON"):
        read_ears(tmp_path)
    write_lines(tmp_path / "transcripts.json", ["{}"])
    with pytest.raises(UserError, match="holds no clip of EARS"):
        read_ears(tmp_path)
