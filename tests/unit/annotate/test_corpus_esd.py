"""ESD as it is distributed, and every way its folder can be wrong."""

import pytest

from annotate.corpora.convert import load_label_map
from annotate.corpora.esd import EMOTIONS, official_split, read_esd
from configs.errors import UserError
from tests.unit.corpus_files import check_golden, write_clip

# Two sentences of a speaker: text, emotion as the transcripts write it.
MANDARIN = {"000001": ("\u6253\u8fdc\u4e00\u770b\u3002", "\u4e2d\u7acb")}
MANDARIN |= {"000401": ("\u4ed6\u4eec\u4e0d\u8d70\u3002", "\u751f\u6c14")}
ENGLISH = {"000021": ("The nine the eggs, I keep.", "Neutral")}
ENGLISH |= {"001401": ("I\u2019d rather not.", "Surprise")}
# The release has these encodings, without saying which file has which.
ENCODINGS = {"0001": "gb18030", "0010": "utf-16", "0011": "utf-8", "0016": "cp1252"}
PLACES = {
    "000001": "Neutral/evaluation",
    "000021": "Neutral/test",
    "000401": "Angry/train",
    "001401": "Surprise/evaluation",
}


def lines_of(speaker):
    rows = MANDARIN if int(speaker) <= 10 else ENGLISH
    return [f"{speaker}_{name}\t{text}\t{emotion}" for name, (text, emotion) in rows.items()]


def write_texts(root, speaker, lines, encoding):
    path = root / speaker / f"{speaker}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\r\n".join([*lines, ""]).encode(encoding))


def build(root):
    for index, (speaker, encoding) in enumerate(ENCODINGS.items()):
        write_texts(root, speaker, lines_of(speaker), encoding)
        for offset, name in enumerate(MANDARIN if int(speaker) <= 10 else ENGLISH):
            write_clip(
                root / f"{speaker}/{PLACES[name]}/{speaker}_{name}.wav", hz=110 + 2 * index + offset
            )
    (root / "ReadMe.txt").write_text("About the corpus.")


def test_golden(tmp_path):
    rows = check_golden("esd", tmp_path, build)
    facts = [(row["id"], row["label"], row["split"], row["sex"], row["lang"]) for row in rows]
    assert facts == [
        ("esd/0001_000001", "neutral", "eval", "female", "zh"),
        ("esd/0001_000401", "angry", "train", "female", "zh"),
        ("esd/0010_000001", "neutral", "eval", "male", "zh"),
        ("esd/0010_000401", "angry", "train", "male", "zh"),
        ("esd/0011_000021", "neutral", "test", "male", "en"),
        ("esd/0011_001401", "surprise", "eval", "male", "en"),
        ("esd/0016_000021", "neutral", "test", "female", "en"),
        ("esd/0016_001401", "surprise", "eval", "female", "en"),
    ]
    assert [row["text"] for row in rows[:4]] == [text for text, _ in MANDARIN.values()] * 2
    assert [row["text"] for row in rows[4:]] == [text for text, _ in ENGLISH.values()] * 2
    assert rows[1]["raw_label"] == "Angry"
    assert rows[1]["speaker"] == "esd/0001"


def test_the_newer_copy_without_split_folders_has_the_same_clips(tmp_path):
    build(tmp_path)
    nested = read_esd(tmp_path)
    for path in list(tmp_path.glob("*/*/*/*.wav")):
        path.rename(path.parents[1] / path.name)
    write_clip(tmp_path / "0001/Angry/._0001_000401.wav", hz=50)
    flat = read_esd(tmp_path)
    facts = [[(c.id, c.split, c.raw_label, c.text) for c in clips] for clips in (nested, flat)]
    assert facts[0] == facts[1]
    assert flat[1].audio == "0001/Angry/0001_000401.wav"


@pytest.mark.parametrize(
    ("number", "split"),
    [
        (1, "eval"), (20, "eval"), (21, "test"), (50, "test"), (51, "train"), (350, "train"),
        (351, "eval"), (1420, "eval"), (1421, "test"), (1451, "train"), (1750, "train"),
    ],
)  # fmt: skip
def test_the_split_follows_from_the_number(number, split):
    assert official_split(f"0011_{number:06d}") == split


def test_a_damaged_line_leaves_its_clip_without_text(tmp_path):
    build(tmp_path)
    whole, other = lines_of("0011")
    write_texts(
        tmp_path, "0011", ["0011_000020 no tabs", whole.rpartition("\t")[0], other], "utf-8"
    )
    texts = {clip.id: clip.text for clip in read_esd(tmp_path)}
    assert texts["0011_000021"] is None
    assert texts["0011_001401"] == "I\u2019d rather not."


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("0011/Angry/train/angry_01.wav", "not an ESD name"),
        ("0011/Angry/train/0012_000401.wav", "named for speaker 0012; move it to 0012"),
        ("0011/Bored/train/0011_000401.wav", "EMOTION one of Angry, Happy"),
        ("0011/0011_000401.wav", "expected it in 0011/EMOTION"),
        ("0011/Angry/dev/0011_000401.wav", "one of train, evaluation, test, not dev"),
        ("0011/Neutral/0011_000021.wav", r"0011_000021\.wav are the same utterance; remove one"),
        ("0021/Angry/0021_000401.wav", "speakers go from 0001 to 0020"),
        ("0012/Angry/0012_000401.wav", r"0012\.txt: no such file"),
    ],
)
def test_wrong_names(tmp_path, name, said):
    build(tmp_path)
    write_clip(tmp_path / name, hz=200)
    with pytest.raises(UserError, match=said):
        read_esd(tmp_path)


def test_unreadable_transcripts(tmp_path):
    build(tmp_path)
    (tmp_path / "0001/0001.txt").write_bytes(b"0001_000001\t\xff\xff\tNeutral\n")
    with pytest.raises(
        UserError, match=r"0001\.txt:1: the file is not in UTF-8 .*tried Unicode, gb18030"
    ):
        read_esd(tmp_path)


def test_other_folders(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_esd(tmp_path / "nothing")
    build(tmp_path / "Emotion Speech Dataset")
    with pytest.raises(UserError, match="holds no clip of ESD"):
        read_esd(tmp_path)


@pytest.mark.parametrize("name", ["nine", "own"])
def test_every_label_is_mapped(name):
    assert load_label_map("esd", name).targets.keys() == set(EMOTIONS)
