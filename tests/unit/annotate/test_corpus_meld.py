"""MELD as it is distributed, and every way its folder can be wrong."""

import pytest

from annotate.corpora.convert import load_label_map
from annotate.corpora.meld import EMOTIONS, read_meld
from configs.errors import UserError
from tests.unit.corpus_files import check_golden, write_clip, write_lines

HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,"
    "StartTime,EndTime"
)
# Number, text, speaker, emotion, dialogue, utterance. The first is as in the archive: an
# apostrophe of Windows-1252 read as Latin-1.
ROWS = {
    "train": [
        (1, '"That\x92s my place, I think."', "Chandler", "neutral", 0, 0),
        (2, "You liked it?", "The Waiter", "surprise", 0, 1),
        (1227, "It is a little fast.", "Ross", "neutral", 125, 3),  # its video is broken
        (1228, "No!", "Rachel", "anger", 125, 4),
    ],
    "dev": [
        (1, '"Oh, he""s lost it."', "Phoebe", "sadness", 0, 0),
        (1153, "Did they tell you?", "Phoebe", "neutral", 110, 7),  # not in the archive
    ],
    "test": [
        (1, "Why do all of them\u2026", "Mark", "fear", 0, 0),
        (2, "Ew.", "Monica", "disgust", 0, 1),
        (3, "Great!", "Joey", "joy", 1, 0),
    ],
}
FOLDERS = {
    "train": "train/train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
TABLES = {
    "train": "train/train_sent_emo.csv",
    "dev": "dev_sent_emo.csv",
    "test": "test_sent_emo.csv",
}
WITHOUT_CLIP = {("train", 125, 3), ("dev", 110, 7)}


def build(root):
    hz = 110
    for split, rows in ROWS.items():
        lines = [
            f'{number},{text},{speaker},{emotion},neutral,{dialogue},{utterance},4,18,"0:02","0:03"'
            for number, text, speaker, emotion, dialogue, utterance in rows
        ]
        write_lines(root / TABLES[split], [HEADER, *lines])
        for *_, dialogue, utterance in rows:
            if (split, dialogue, utterance) not in WITHOUT_CLIP:
                hz += 1
                write_clip(root / f"{FOLDERS[split]}/dia{dialogue}_utt{utterance}.wav", hz=hz)
    # Clips that are in the archive but in no table.
    write_clip(root / "dev_splits_complete/dia66_utt9.wav", hz=90)
    write_clip(root / "output_repeated_splits_test/final_videos_testdia0_utt0.wav", hz=91)


def test_golden(tmp_path):
    rows = check_golden("meld", tmp_path, build)
    assert [(row["id"], row["split"], row["label"]) for row in rows] == [
        ("meld/dev/dia0_utt0", "eval", "sad"),
        ("meld/test/dia0_utt0", "test", "fear"),
        ("meld/test/dia0_utt1", "test", "disgust"),
        ("meld/test/dia1_utt0", "test", "happy"),
        ("meld/train/dia0_utt0", "train", "neutral"),
        ("meld/train/dia0_utt1", "train", "surprise"),
        ("meld/train/dia125_utt4", "train", "angry"),
    ]
    by_id = {row["id"]: row for row in rows}
    assert by_id["meld/train/dia0_utt0"]["text"] == "That\u2019s my place, I think."
    assert by_id["meld/dev/dia0_utt0"]["text"] == 'Oh, he"s lost it.'
    assert by_id["meld/test/dia0_utt0"]["text"] == "Why do all of them\u2026"
    assert by_id["meld/train/dia0_utt1"]["speaker"] == "meld/The Waiter"
    # The same dialogue number in two splits is not the same dialogue.
    assert by_id["meld/dev/dia0_utt0"]["session"] == "meld/dev/dia0"
    assert by_id["meld/test/dia0_utt1"]["session"] == "meld/test/dia0"


def test_a_clip_that_someone_mended_is_read(tmp_path):
    build(tmp_path)
    write_clip(tmp_path / "train/train_splits/dia125_utt3.wav", hz=300)
    assert "train/dia125_utt3" in {clip.id for clip in read_meld(tmp_path)}


def test_videos_alone_are_answered_with_the_command(tmp_path):
    build(tmp_path)
    folder = tmp_path / "output_repeated_splits_test"
    for path in folder.glob("*.wav"):
        path.rename(path.with_suffix(".mp4"))
    with pytest.raises(UserError) as caught:
        read_meld(tmp_path)
    assert "1 problem(s) as MELD" in str(caught.value)
    assert (
        f"{folder}: videos, but no WAV files; run: cd {folder} && for f in dia*.mp4; do "
        'ffmpeg -nostdin -i "$f" -vn -ac 1 -ar 16000 "${f%.mp4}.wav"; done'
    ) in str(caught.value)


def test_single_missing_clips_are_all_listed(tmp_path):
    build(tmp_path)
    folder = tmp_path / "train/train_splits"
    (folder / "dia0_utt0.wav").unlink()
    (folder / "dia0_utt1.wav").rename(folder / "dia0_utt1.mp4")
    with pytest.raises(UserError) as caught:
        read_meld(tmp_path)
    message = str(caught.value)
    assert "2 problem(s) as MELD" in message
    assert f"train_sent_emo.csv:2: no {folder}/dia0_utt0.wav and no video of it" in message
    assert (
        f"train_sent_emo.csv:3: no {folder}/dia0_utt1.wav; run: ffmpeg -nostdin -i "
        f"{folder}/dia0_utt1.mp4 -vn -ac 1 -ar 16000 {folder}/dia0_utt1.wav"
    ) in message


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["Utterance,Speaker,Emotion", "Hi.,Joey,joy"], "no column Dialogue_ID, Utterance_ID"),
        ([HEADER, "1,Hi.,Joey,bored,neutral,0,0"], r"dev_sent_emo\.csv:2: expected .*bored"),
        ([HEADER, "1,Hi.,Joey,joy"], r"dev_sent_emo\.csv:2: expected Utterance, Speaker"),
        ([], "is empty"),
    ],
)
def test_another_table(tmp_path, lines, said):
    build(tmp_path)
    write_lines(tmp_path / "dev_sent_emo.csv", lines)
    with pytest.raises(UserError, match=said):
        read_meld(tmp_path)


def test_a_table_in_another_encoding(tmp_path):
    build(tmp_path)
    (tmp_path / "dev_sent_emo.csv").write_bytes(f"{HEADER}\n1,\x81\x92s".encode("latin-1"))
    with pytest.raises(UserError, match=r"dev_sent_emo\.csv:2: the file is not in UTF-8"):
        read_meld(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("test_sent_emo.csv", r"test_sent_emo\.csv: no such file"),
        ("train/train_sent_emo.csv", r"train_sent_emo\.csv: no such file"),
        ("dev_splits_complete", "dev_splits_complete: no such folder"),
    ],
)
def test_missing_parts_are_named(tmp_path, name, said):
    build(tmp_path)
    (tmp_path / name).rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=said):
        read_meld(tmp_path)


@pytest.mark.parametrize("name", ["nine", "own"])
def test_every_label_is_mapped(name):
    assert load_label_map("meld", name).targets.keys() == set(EMOTIONS)
