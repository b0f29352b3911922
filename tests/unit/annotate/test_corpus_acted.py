"""Six acted corpora in their real names: rows, speakers, sexes and texts, and wrong names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from annotate.corpora.convert import build_rows
from annotate.corpora.table import CORPORA
from configs.errors import UserError
from tests.unit.corpus_files import write_clip, write_lines
from tests.unit.make_rows import assign_splits

CASIA = [
    f"{s}/{e}/{n}" for s in ("wangzhe", "liuchanhg") for e in ("angry", "sad") for n in (201, 250)
]
EMODB = ["wav/03a01Wa", "wav/03b10Na", "wav/08a05Lb", "wav/16b02Ec", "wav/11a07Td", "wav/09b01Aa"]
EMOVDB = [
    *("bea_Amused/amused_1-28_0001", "bea_Angry/anger_169-196_0158"),
    *("jenie_Disgusted/disgust_29-56_0033", "sam_Disgusted/Disgust_1-28_0002"),
    *("josh_Sleepy/sleepiness_1_28_0001", "sam_Neutral/neutral_1-28_0003"),
]
ENTERFACE = [
    *("subject 1/anger/sentence 1/s1_an_1", "subject 3/happiness/sentence 2/s_3_ha_2"),
    *("subject 11/fear/sentence 5/s12_fe_5", "subject 12/fear/sentence 5/s12_fe_5"),
    *("subject 16/surprise/sentence 3/s16_su_3avi", "subject 6/anger/s6_an"),
    "subject 2/anger/sentence 1/s2_an_2",
]
JL = [
    f"Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/{name}"
    for name in ("male2_concerned_6b_1", "female1_angry_15b_2", "female1_excited_7a_2")
]
TESS = [
    "OAF_angry/OAF_back_angry",
    "YAF_pleasant_surprised/YAF_chair_ps",
    "OAF_neutral/OA_bite_neutral",
]
NAMES = {
    "casia": CASIA, "emodb": EMODB, "emovdb": EMOVDB,
    "enterface": ENTERFACE, "jl": JL, "tess": TESS,
}  # fmt: skip


def build(corpus: str, root: Path) -> None:
    for index, name in enumerate(NAMES[corpus]):
        write_clip(root / f"{name}.wav", hz=100 + 3 * index, duration_s=0.2)
    if corpus == "jl":
        write_lines(root / f"{JL[0]}.txt", ["Carl leaps into a jeep."])
    if corpus == "emovdb":
        lines = [f'( arctic_a{n:04d} "Sentence number {n}." )' for n in (1, 2, 3, 33, 158)]
        write_lines(root / "cmuarctic.data", [*lines, '( arctic_b0001 "Another." )'])


def read(corpus: str, root: Path, labels: str = "own") -> list[dict[str, Any]]:
    return build_rows(corpus, root, labels=labels, num_workers=1).rows


# Corpus -> rows, speakers, women's and men's rows, rows with a text, labels.
COUNTS = {
    "casia": (8, 2, 0, 0, 0, {"angry": 4, "sad": 4}),
    "emodb": (6, 5, 3, 3, 6, {"angry": 1, "neutral": 1, "boredom": 1,
              "disgust": 1, "sad": 1, "fear": 1}),
    "emovdb": (6, 4, 3, 3, 6, {"amused": 1, "angry": 1, "disgust": 2, "sleepy": 1, "neutral": 1}),
    "enterface": (6, 6, 0, 0, 0, {"angry": 2, "happy": 1, "fear": 2, "surprise": 1}),
    "jl": (3, 2, 2, 1, 1, {"concerned": 1, "angry": 1, "excited": 1}),
    "tess": (3, 2, 3, 0, 3, {"angry": 1, "surprise": 1, "neutral": 1}),
}  # fmt: skip


@pytest.mark.parametrize("corpus", NAMES)
def test_counts(corpus: str, tmp_path: Path):
    build(corpus, tmp_path)
    rows = read(corpus, tmp_path)
    sexes = Counter(row.get("sex") for row in rows)
    assert (
        len(rows),
        len({row["speaker"] for row in rows}),
        sexes["female"],
        sexes["male"],
        sum("text" in row for row in rows),
        dict(Counter(row["label"] for row in rows)),
    ) == COUNTS[corpus]
    split = assign_splits(rows, by=CORPORA[corpus].split, test_frac=0.3, eval_frac=0)
    parts = {s: {r["speaker"] for r in split if r["split"] == s} for s in ("train", "test")}
    assert parts["train"] and parts["test"] and not parts["train"] & parts["test"]


def test_facts(tmp_path: Path):
    for corpus in NAMES:
        build(corpus, tmp_path / corpus)
    rows = {row["id"]: row for corpus in NAMES for row in read(corpus, tmp_path / corpus)}
    assert rows["emodb/03a01Wa"]["text"] == "Der Lappen liegt auf dem Eisschrank."
    assert rows["emodb/08a05Lb"]["speaker"] == "emodb/08" and rows["emodb/08a05Lb"]["lang"] == "de"
    assert rows["tess/OAF_bite_neutral"]["text"] == "Say the word bite."
    assert rows["emovdb/jenie-disgust-0033"]["text"] == "Sentence number 33."
    assert rows["enterface/s11_fe_5"]["speaker"] == "enterface/11"
    assert rows["enterface/s16_su_3"]["label"] == "surprise"
    assert rows["jl/male2_concerned_6b_1"]["text"] == "Carl leaps into a jeep."
    assert rows["casia/wangzhe-angry-201"]["lang"] == "zh"


def test_what_is_left_out_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    build("enterface", tmp_path)
    CORPORA["enterface"].read(tmp_path)
    assert "left out: 1: recordings of all five sentences in one (subject 6)" in caplog.text


def test_videos_without_sound_ask_for_ffmpeg(tmp_path: Path):
    build("enterface", tmp_path)
    for name in ("subject 9/anger/sentence 1/s9_an_1.AVI", "subject 6/fear/s6_fe.avi"):
        write_lines(tmp_path / name, ["no sound yet"])
    with pytest.raises(UserError, match=r"s9_an_1.AVI: one of 1 videos.*ffmpeg -nostdin"):
        CORPORA["enterface"].read(tmp_path)


@pytest.mark.parametrize(
    ("corpus", "name", "said"),
    [
        ("casia", "nobody/angry/201", "not a CASIA path"),
        ("emodb", "wav/04a01Wa", "not an Emo-DB name"),
        ("emodb", "wav/03a01Xa", "not an Emo-DB name"),
        ("emodb", "wav/03a03Wa", "not an Emo-DB name"),
        ("emovdb", "ann_Angry/anger_1-28_0001", "not an EmoV-DB path"),
        ("emovdb", "sam_Angry/anger_1-28_0560", "cmuarctic.data has no sentence arctic_a0560"),
        ("enterface", "subject 1/anger/sentence 1/s1_xx_1", "not an eNTERFACE'05 path"),
        ("jl", "male1_bored_1a_1", "not a JL-Corpus name"),
        ("tess", "XAF_back_angry", "not a TESS name"),
    ],
)
def test_wrong_names(corpus: str, name: str, said: str, tmp_path: Path):
    build(corpus, tmp_path)
    write_clip(tmp_path / f"{name}.wav", hz=333)
    with pytest.raises(UserError, match=said):
        CORPORA[corpus].read(tmp_path)


@pytest.mark.parametrize("corpus", NAMES)
def test_an_inner_copy_and_other_cases(corpus: str, tmp_path: Path):
    build(corpus, tmp_path)
    first = tmp_path / f"{NAMES[corpus][0]}.wav"
    before = len(CORPORA[corpus].read(tmp_path))
    first.rename(first.with_suffix(".WAV"))
    (first.parent / f"._{first.name}").write_bytes(b"macOS")
    assert len(CORPORA[corpus].read(tmp_path)) == before
    for name in NAMES[corpus]:
        path = next(tmp_path.glob(f"{name.replace('(', '[(]')}.[wW]*"))
        copy = tmp_path / "copy" / path.relative_to(tmp_path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=r"(a copy inside|of the same names|same utterance)"):
        CORPORA[corpus].read(tmp_path)
