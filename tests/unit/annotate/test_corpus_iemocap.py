"""IEMOCAP as it is distributed, and every way its folder can be wrong."""

import shutil

import pytest

from annotate.corpora.convert import build_rows, load_label_map
from annotate.corpora.iemocap import EMOTIONS, read_iemocap
from configs.errors import UserError
from tests.unit.corpus_files import check_golden, write_clip, write_lines

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"
TURNS = {
    "Ses01F_impro01": [
        ("F000", "neu", "[2.5000, 2.5000, 2.5000]", "Excuse me."),
        ("M000", "fru", "[2.0000, 3.0000, 3.5000]", "Do you have your forms?"),
        ("F001", "xxx", "[2.5000, 2.5000, 2.5000]", "Yeah."),
        ("M001", "ang", "[1.5000, 4.0000, 4.5000]", "Let me see them."),
    ],
    "Ses02M_script01_1": [
        ("F000", "sad", "[2.0000, 2.0000, 2.5000]", "I know."),
        ("M000", "exc", "[4.0000, 4.0000, 3.0000]", "Then let us go."),
    ],
    "Ses03F_impro05a": [("F000", "hap", "[4.5000, 3.5000, 3.0000]", "That is great.")],
    "Ses04M_script03_2": [
        ("M000", "sur", "[3.5000, 4.0000, 3.0000]", "What?"),
        ("F000", "oth", "[3.0000, 3.0000, 3.0000]", "Well."),
    ],
    "Ses05F_impro03": [
        ("M000", "dis", "[2.0000, 2.5000, 3.0000]", "Ugh."),
        ("F000", "fea", "[2.0000, 3.5000, 2.0000]", "I am afraid."),
    ],
}


def build(root):
    hz = 110
    for dialogue, turns in TURNS.items():
        session = root / f"Session{dialogue[4]}"
        labels, words = [HEADER, ""], []
        for index, (turn, label, means, text) in enumerate(turns):
            name = f"{dialogue}_{turn}"
            labels += [
                f"[{index}.2901 - {index + 1}.2357]\t{name}\t{label}\t{means}",
                "C-E2:\tNeutral;\t()",
                "A-E3:\tval 3; act 2; dom  2;\t(na\xefve)",
                "",
            ]
            words.append(f"{name} [00{index}.2901-00{index + 1}.2357]: {text}")
            hz += 1
            write_clip(session / f"sentences/wav/{dialogue}/{name}.wav", hz=hz)
        words += [f"{dialogue}_MXX0 [009.0000-009.5000]: Mm.", "M: [LAUGHTER]"]
        folder = session / "dialog"
        labels_path = folder / f"EmoEvaluation/{dialogue}.txt"
        write_lines(labels_path, [])
        labels_path.write_bytes("\n".join(labels).encode("latin-1"))
        write_lines(folder / f"transcriptions/{dialogue}.txt", words)
        # Left by macOS in the archive itself, beside the real files.
        (folder / f"EmoEvaluation/._{dialogue}.txt").write_bytes(b"\x00\x05\x16\x07")
        write_lines(folder / f"EmoEvaluation/Categorical/{dialogue}_e1_cat.txt", ["not read"])


def test_golden(tmp_path):
    rows = check_golden("iemocap", tmp_path, build)
    assert [(row["id"], row["raw_label"], row["label"]) for row in rows] == [
        ("iemocap/Ses01F_impro01_F000", "neu", "neutral"),
        ("iemocap/Ses01F_impro01_M001", "ang", "angry"),
        ("iemocap/Ses02M_script01_1_F000", "sad", "sad"),
        ("iemocap/Ses02M_script01_1_M000", "exc", "happy"),
        ("iemocap/Ses03F_impro05a_F000", "hap", "happy"),
    ]
    angry, sad = rows[1], rows[2]
    assert (angry["speaker"], angry["sex"], angry["session"]) == (
        "iemocap/Ses01M",
        "male",
        "iemocap/Ses01",
    )
    assert (sad["speaker"], sad["sex"], sad["style"]) == ("iemocap/Ses02F", "female", "scripted")
    assert (angry["style"], angry["text"]) == ("improvised", "Let me see them.")
    assert (angry["valence"], angry["activation"], angry["dominance"]) == (1.5, 4.0, 4.5)


def test_nine_labels_keep_the_rare_ones(tmp_path):
    build(tmp_path)
    found = build_rows("iemocap", tmp_path, labels="nine", num_workers=1)
    labels = {row["raw_label"]: row["label"] for row in found.rows}
    assert labels["dis"] == "contempt or disgust"
    assert (labels["sur"], labels["fea"]) == ("surprise", "fear")
    assert found.dropped == {"fru": 1, "oth": 1, "xxx": 1}


@pytest.mark.parametrize("name", ["nine", "own"])
def test_every_label_is_mapped_or_dropped(name):
    labels = load_label_map("iemocap", name)
    assert labels.targets.keys() | labels.drop.keys() == set(EMOTIONS)
    assert labels.merges == {"happy": ("hap", "exc")}


def test_a_turn_without_its_line_in_the_transcription_has_no_text(tmp_path):
    build(tmp_path)
    write_lines(tmp_path / "Session3/dialog/transcriptions/Ses03F_impro05a.txt", ["M: [LAUGHTER]"])
    texts = {clip.id: clip.text for clip in read_iemocap(tmp_path)}
    assert texts["Ses03F_impro05a_F000"] is None
    assert texts["Ses01F_impro01_F000"] == "Excuse me."


@pytest.mark.parametrize(
    "line",
    [
        "[1.0 - 2.0]\tSes03F_impro05a_F001\tbored\t[2.5000, 2.5000, 2.5000]",
        "[1.0 - 2.0]\tSes03F_impro06_F001\tneu\t[2.5000, 2.5000, 2.5000]",
        "[1.0 - 2.0]\tSes03F_impro05a\tneu\t[2.5000, 2.5000, 2.5000]",
        "[1.0 - 2.0]\tSes03F_impro05a_F001\tneu",
    ],
)
def test_a_line_that_is_no_turn_is_named(tmp_path, line):
    build(tmp_path)
    write_lines(tmp_path / "Session3/dialog/EmoEvaluation/Ses03F_impro05a.txt", [HEADER, line])
    with pytest.raises(UserError, match=r"Ses03F_impro05a\.txt:2: not a turn of Ses03F_impro05a"):
        read_iemocap(tmp_path)


def test_missing_files_are_all_listed(tmp_path):
    build(tmp_path)
    (tmp_path / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F001.wav").unlink()
    (tmp_path / "Session5/dialog/transcriptions/Ses05F_impro03.txt").unlink()
    with pytest.raises(UserError) as caught:
        read_iemocap(tmp_path)
    message = str(caught.value)
    assert "2 problem(s) as IEMOCAP" in message
    assert "Ses01F_impro01.txt:11: no " in message
    assert "Ses05F_impro03.txt: no such file; each dialogue has its transcription" in message


@pytest.mark.parametrize(
    "folder",
    ["Session5", "Session2/dialog/EmoEvaluation", "Session2/dialog/transcriptions",
     "Session4/sentences/wav"],
)  # fmt: skip
def test_a_missing_folder_is_named(tmp_path, folder):
    build(tmp_path)
    shutil.rmtree(tmp_path / folder)
    with pytest.raises(UserError, match=rf"{folder}.*: no such folder"):
        read_iemocap(tmp_path)


def test_no_labels_at_all(tmp_path):
    build(tmp_path)
    for path in tmp_path.glob("Session*/dialog/EmoEvaluation/Ses*.txt"):
        path.unlink()
    with pytest.raises(UserError, match="holds no clip of IEMOCAP"):
        read_iemocap(tmp_path)
