"""Expresso as it is distributed, its dialogues cut, and every way its folder can be wrong."""

import pytest

from annotate.corpora.expresso import read_expresso
from configs.errors import UserError
from tests.unit.corpus_files import check_golden, write_clip, write_lines

READ = (
    "ex01/confused/base/ex01_confused_00001",
    "ex03/default/base/ex03_default_emphasis_00010",
    "ex04/whisper/base/ex04_whisper_00100",
)
LEFT_OUT = (
    "read/ex03/default/longform/ex03_default_longform_00001",
    "read/ex02/singing/base/ex02_singing_00001",
    "conversational/ex04-ex02/fearful/ex04-ex02_fearful_002",
)
SEGMENTS = (
    "ex04-ex02/fearful/ex04-ex02_fearful_002_channel1_segment_3.0_9.58",
    "ex04-ex02/fearful/ex04-ex02_fearful_002_channel2_segment_58.0_63.5",
    "ex03-ex02/sad-sympathetic/ex03-ex02_sad-sympathetic_001_channel2_segment_60.25_62.0",
)


def build(root):
    audio = root / "audio_48khz"
    names = (
        *(f"read/{name}" for name in READ),
        *LEFT_OUT,
        *(f"conversational_vad_segmented/{name}" for name in SEGMENTS),
    )
    for index, name in enumerate(names):
        write_clip(audio / f"{name}.wav", hz=150 + index, rate_hz=48000)
    write_lines(
        root / "read_transcriptions.txt",
        [
            "ex01_confused_00001\tWhy would they do that?",
            "ex03_default_emphasis_00010\tHe said *this* one.",
            "ex03_default_longform_00001\tOnce upon a time.",
            "ex04_whisper_00100\tIt is late.",
        ],
    )
    write_lines(
        root / "splits/train.txt",
        [
            "# a line of explanation",
            "ex01_confused_00001",
            "ex03_default_longform_00001\t(32.98s,)",
            "ex04-ex02_fearful_002\t(60.0s,)",
            "ex03-ex02_sad-sympathetic_001\t(60.0s,)",
        ],
    )
    write_lines(
        root / "splits/dev.txt",
        ["ex03_default_emphasis_00010", "ex04-ex02_fearful_002\t(,60.0s)"],
    )
    write_lines(root / "splits/test.txt", ["ex04_whisper_00100"])


def test_golden(tmp_path):
    rows = check_golden("expresso", tmp_path, build)
    assert [(row["speaker"][-4:], row["label"], row.get("split")) for row in rows] == [
        ("ex01", "confused", "train"),
        ("ex02", "sympathetic", "train"),
        ("ex03", "default", "eval"),
        ("ex04", "fearful", "eval"),
        ("ex02", "fearful", None),  # 58.0 to 63.5 s: partly dev, partly train
        ("ex04", "whisper", "test"),
    ]
    assert rows[1]["session"] == "expresso/ex03-ex02_sad-sympathetic_001"
    assert rows[0]["text"] == "Why would they do that?"
    assert [row["sex"] for row in rows] == ["male", "female", "male", "female", "female", "female"]


def test_the_read_part_alone(tmp_path):
    build(tmp_path)
    (tmp_path / "audio_48khz/conversational_vad_segmented").rename(tmp_path / "elsewhere")
    assert [clip.id for clip in read_expresso(tmp_path)] == [
        "ex01_confused_00001",
        "ex03_default_emphasis_00010",
        "ex04_whisper_00100",
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("read/ex01/sad/base/ex01_confused_00001", "not an Expresso name"),
        ("read/ex01/sad/base/sad_1", "not an Expresso name"),
        ("read/ex01/sad/base/ex01_sad_00002", "ex01_sad_00002.wav: not in read_transcriptions.txt"),
        ("conversational_vad_segmented/a/ex01-ex02_fast_001", "not the name of a segment"),
    ],
)
def test_wrong_names(tmp_path, name, said):
    build(tmp_path)
    write_clip(tmp_path / "audio_48khz" / f"{name}.wav", hz=200)
    with pytest.raises(UserError, match=said):
        read_expresso(tmp_path)


def test_a_line_without_a_tab(tmp_path):
    build(tmp_path)
    write_lines(tmp_path / "read_transcriptions.txt", ["ex01_confused_00001 Why?"])
    with pytest.raises(UserError, match=r"read_transcriptions.txt:1: not NAME<tab>TEXT"):
        read_expresso(tmp_path)


@pytest.mark.parametrize("name", ["read_transcriptions.txt", "splits/dev.txt"])
def test_missing_files(tmp_path, name):
    build(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"{name}: no such file"):
        read_expresso(tmp_path)


def test_other_folders(tmp_path):
    with pytest.raises(UserError, match="audio_48khz/read: no such folder"):
        read_expresso(tmp_path)
    build(tmp_path)
    (tmp_path / "audio_48khz").rename(tmp_path / "elsewhere")
    (tmp_path / "audio_48khz/read").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no clip of Expresso"):
        read_expresso(tmp_path)
