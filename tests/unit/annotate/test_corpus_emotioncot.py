"""EmotionCoT's annotations over clips of their corpora, and every way the folder can be wrong."""

import json

import pytest

from annotate.corpora.emotioncot import read_emotioncot, strip_tags
from configs.errors import UserError
from tests.unit.corpus_files import check_golden, write_clip, write_lines

RELEASED = (
    {
        "audio_path": "IEMOCAP/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M003.wav",
        "transcription": "I told you so.",
        "emotion": "angry",
        "pitch_level": "high",
        "energy_level": "high",
        "speed_level": "fast",
        "stressed_words": ["told"],
        "intonation": "falling",
        "gender": "Male",
        "age_level": "Young Adult",
        "cot_analysis": "The pitch is high and falls at the end, as in a reproach.",
    },
    {
        "audio_path": "MELD/train/dia0_utt0.wav",
        "transcription": "Oh.",
        "emotion": "Surprise",
        "pitch_level": None,
        "gender": "Child",
        "cot_analysis": "",
    },
)
AUGMENTED = (
    {
        "audio_path": "ears/p002/emo_sadness_freeform.wav",
        "text": "I really miss her.",
        "gt": "sadness",
        "dataset": "ears",
        "gender_new": "Female",
        "age_group": "Middle-aged",
        "contour_shape": "level",
        "stress": ["miss"],
        "reasoning": "<think>\nIt is slow and low.\n</think><answer>sad</answer>",
    },
)


def build(root):
    write_lines(root / "emotioncot.jsonl", [json.dumps(row) for row in RELEASED])
    write_lines(root / "augmented.json", [json.dumps(AUGMENTED)])
    write_lines(root / "augmented.errors.jsonl", ["no JSON"])
    for index, row in enumerate((*RELEASED, *AUGMENTED)):
        write_clip(root / row["audio_path"], hz=160 + index)


def test_golden(tmp_path):
    rows = check_golden("emotioncot", tmp_path, build)
    assert [(row["label"], row["raw_label"]) for row in rows] == [
        ("angry", "angry"),
        ("surprise", "surprise"),
        ("sad", "sadness"),
    ]
    assert [row.get("reasoning") for row in rows] == [
        "The pitch is high and falls at the end, as in a reproach.",
        None,
        "It is slow and low.",
    ]
    assert [row.get("speaker") for row in rows] == [
        "emotioncot/Ses01M",  # of the dialogue that the woman of session 1 leads
        None,
        "emotioncot/p002",
    ]
    assert [row.get("sex") for row in rows] == ["male", None, "female"]
    assert [row.get("intonation") for row in rows] == ["falling", None, "level"]
    assert [row.get("stressed_words") for row in rows] == [["told"], None, ["miss"]]
    assert [row["dataset"] for row in rows] == ["emotioncot", "emotioncot", "ears"]
    assert rows[2]["age_level"] == "Middle-aged"
    assert rows[2]["id"] == "emotioncot/ears/p002/emo_sadness_freeform"


@pytest.mark.parametrize(
    ("reasoning", "alone"),
    [
        ("It is low.", "It is low."),
        ("<think>It is low.</think> <answer>sad</answer>", "It is low."),
        ("<THINK>It is low.", "It is low."),
        ("It is low. <answer>sad", "It is low."),
        ("It is low.</think><answer>sad</answer>", "It is low."),
        ("<think></think><answer>sad</answer>", ""),
    ],
)
def test_tags_and_answer_are_stripped(reasoning, alone):
    assert strip_tags(reasoning) == alone


def test_an_expresso_clip_tells_its_speaker(tmp_path):
    row = {"audio_path": "e/ex03_happy_00012.wav", "label": "happy", "transcript": "Yes."}
    write_lines(tmp_path / "a.jsonl", [json.dumps(row)])
    write_clip(tmp_path / "e/ex03_happy_00012.wav", hz=200)
    assert [(c.speaker, c.text) for c in read_emotioncot(tmp_path)] == [("ex03", "Yes.")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"emotion": "sad"}, "a.jsonl:2: audio is None; expected a text in audio_path or audio"),
        ({"audio_path": "x.wav", "emotion": 3}, "emotion is 3; expected a text in emotion or gt"),
        ({"audio_path": "x.wav", "gt": "sad", "text": 3}, "text is 3; expected a text"),
        ({"audio_path": "/x.wav", "gt": "sad"}, "audio /x.wav leaves"),
        ({"audio_path": "../x.wav", "gt": "sad"}, "audio ../x.wav leaves"),
        ({"audio_path": "x.wav", "gt": "sad"}, r"no clip \S+/x.wav; get the corpus"),
        ([], "a.jsonl:2: is a JSON list; a row is an object"),
    ],
)
def test_wrong_rows(tmp_path, row, said):
    write_lines(tmp_path / "a.jsonl", [json.dumps(RELEASED[1]), json.dumps(row)])
    write_clip(tmp_path / RELEASED[1]["audio_path"], hz=200)
    with pytest.raises(UserError, match=said):
        read_emotioncot(tmp_path)


def test_one_clip_in_two_files(tmp_path):
    build(tmp_path)
    write_lines(tmp_path / "more.jsonl", [json.dumps(AUGMENTED[0])])
    with pytest.raises(UserError, match=r"emo_sadness_freeform\.wav are the same utterance"):
        read_emotioncot(tmp_path)


def test_other_folders(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_emotioncot(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no .jsonl or .json file"):
        read_emotioncot(tmp_path)
    write_lines(tmp_path / "a.jsonl", [])
    with pytest.raises(UserError, match="holds no clip of EmotionCoT"):
        read_emotioncot(tmp_path)
    write_lines(tmp_path / "a.jsonl", ["{}", "{"])
    with pytest.raises(UserError, match=r"a.jsonl:2: is not JSON"):
        read_emotioncot(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(b"{\xff\xfe")
    with pytest.raises(UserError, match=r"a.jsonl:1: the file is not in UTF-8"):
        read_emotioncot(tmp_path)
    (tmp_path / "a.jsonl").unlink()
    write_lines(tmp_path / "a.json", ["{}"])
    with pytest.raises(UserError, match=r"a.json: holds a JSON dict, not a list of rows"):
        read_emotioncot(tmp_path)
