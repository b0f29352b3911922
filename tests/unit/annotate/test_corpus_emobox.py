"""EmoBox's manifests over some of its corpora, and every way the folder can be wrong."""

import json

import pytest

from annotate.corpora.convert import build_rows
from annotate.corpora.emobox import read_emobox
from configs.errors import UserError
from tests.unit.corpus_files import check_golden, write_clip, write_lines

IEMOCAP = "downloads/iemocap/Session{0}/sentences/wav/Ses0{0}F_impro04/Ses0{0}F_impro04_F000.wav"


def row(dataset, key, wav, emo, **more):
    return {
        "key": f"{dataset}-{key}",
        "dataset": dataset,
        "wav": wav,
        "type": "raw",
        "sample_rate": 16000,
        "num_frame": 6400.0,
        "task": "category",
        "length": 0.4,
        "emo": emo,
        "channel": 1,
        **more,
    }


IEMOCAP_ROWS = [
    row("iemocap", f"Ses0{n}F_impro04_F000", IEMOCAP.format(n), emo)
    for n, emo in ((1, "neu"), (2, "exc"))
]
MELD_ROWS = [
    row("meld", f"dia0_utt{n}-{split}", f"downloads/meld/{split}/dia0_utt{n}.mp4", "joy")
    for n, split in ((0, "train"), (1, "dev"), (2, "test"))
]
POLISH_ROW = row("polish", "m3.s_trzymaj_5", "downloads/polish/m3.s_trzymaj_5.wav", "s")
EMOVO_ROW = row("emovo", "gio-f2-b2", "downloads/emovo/f2/gio-f2-b2.wav", "gio")


def write_rows(root, dataset, fold, split, rows):
    path = root / f"data/{dataset}/fold_{fold}/{dataset}_{split}_fold_{fold}.jsonl"
    write_lines(path, [json.dumps(each) for each in rows])


def build(root):
    for fold, (test, train) in ((1, IEMOCAP_ROWS), (2, IEMOCAP_ROWS[::-1])):
        write_rows(root, "iemocap", fold, "train", [train])
        write_rows(root, "iemocap", fold, "test", [test])
    for split, each in zip(("train", "valid", "test"), MELD_ROWS, strict=True):
        write_rows(root, "meld", 1, split, [each])
        (root / each["wav"]).parent.mkdir(parents=True, exist_ok=True)
        (root / each["wav"]).write_bytes(b"\0\0\0\x20ftypmp42")
    for each in (POLISH_ROW, EMOVO_ROW):
        write_rows(root, each["dataset"], 1, "train", [each])
        write_rows(root, each["dataset"], 1, "test", [])
    maps = {
        "iemocap": {"neu": "Neutral", "hap": "Happy", "exc": "Happy"},
        "meld": {"neutral": "Neutral", "joy": "Happy"},
        "polish": {"a": "Angry", "n": "Neutral", "s": "Fear"},
        "savee": {"sa": "Sad"},  # not downloaded: not read
    }
    for name, label_map in maps.items():
        write_lines(root / f"data/{name}/label_map.json", [json.dumps(label_map)])
    for index, each in enumerate((*IEMOCAP_ROWS, *MELD_ROWS, POLISH_ROW, EMOVO_ROW)):
        write_clip((root / each["wav"]).with_suffix(".wav"), hz=170 + index)


def test_golden(tmp_path):
    rows = check_golden("emobox", tmp_path, build)
    facts = [(r["dataset"], r["emo"], r["label"], r["split"], r.get("fold")) for r in rows]
    assert facts == [
        ("emovo", "gio", "happy", "train", None),
        ("iemocap", "neu", "neutral", "test", 1),
        ("iemocap", "exc", "happy", "train", 2),
        ("meld", "joy", "happy", "train", None),
        ("meld", "joy", "happy", "eval", None),
        ("meld", "joy", "happy", "test", 1),
        ("polish", "s", "fear", "train", None),
    ]
    assert [each["lang"] for each in rows] == ["it", "en", "en", "en", "en", "en", "pl"]
    assert rows[1]["id"] == "emobox/iemocap-Ses01F_impro04_F000"
    assert rows[3]["audio"] == "downloads/meld/train/dia0_utt0.wav"


def test_an_unknown_code_is_refused_by_the_label_map(tmp_path):
    build(tmp_path)
    write_lines(tmp_path / "data/polish/label_map.json", ["{}"])
    with pytest.raises(UserError, match=r"does not know 's' \(1 clips, such as '.*wav'\)"):
        build_rows("emobox", tmp_path, labels="own", num_workers=1)


def test_missing_clips_are_never_left_out(tmp_path):
    build(tmp_path)
    (tmp_path / POLISH_ROW["wav"]).unlink()
    said = r"polish_train_fold_1.jsonl:1: no clip \S+/m3.s_trzymaj_5.wav; complete the corpus"
    with pytest.raises(UserError, match=said):
        read_emobox(tmp_path)


def test_a_video_alone_asks_for_ffmpeg(tmp_path):
    build(tmp_path)
    (tmp_path / "downloads/meld/dev/dia0_utt1.wav").unlink()
    said = r"run: ffmpeg -i '\S+/dev/dia0_utt1.mp4' -vn '\S+/dev/dia0_utt1.wav'"
    with pytest.raises(UserError, match=said):
        read_emobox(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"emo": None}, "jsonl:1: emo is None; expected a text"),
        ({"wav": 3}, "jsonl:1: wav is 3; expected a text"),
        ({"start_time": 0.0, "end_time": 4.4}, "polish: 1 rows are parts of longer files"),
    ],
)
def test_wrong_rows(tmp_path, change, said):
    build(tmp_path)
    write_rows(tmp_path, "polish", 1, "train", [{**POLISH_ROW, **change}])
    with pytest.raises(UserError, match=said):
        read_emobox(tmp_path)


def test_wrong_keys_and_missing_folds(tmp_path):
    build(tmp_path)
    write_rows(tmp_path, "polish", 1, "test", [{"key": 3}])
    with pytest.raises(UserError, match=r"polish_test_fold_1.jsonl:1: key is 3"):
        read_emobox(tmp_path)
    (tmp_path / "data/polish/fold_1/polish_test_fold_1.jsonl").unlink()
    with pytest.raises(UserError, match=r"polish_test_fold_1.jsonl: cannot be read"):
        read_emobox(tmp_path)


def test_other_folders(tmp_path):
    with pytest.raises(UserError, match="data: no such folder"):
        read_emobox(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match="downloads: no such folder"):
        read_emobox(tmp_path)
    (tmp_path / "downloads").mkdir()
    with pytest.raises(UserError, match="holds no clip of EmoBox"):
        read_emobox(tmp_path)
    (tmp_path / "downloads/IEMOCAP").mkdir()
    with pytest.raises(UserError, match="EmoBox has no data/NAME/fold_1 for IEMOCAP"):
        read_emobox(tmp_path)
