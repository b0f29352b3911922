"""Five corpora that a file describes, in their real names: counts, facts, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from annotate.corpora.cmu_mosei import EMOTIONS, dominant
from annotate.corpora.convert import build_rows
from annotate.corpora.dusha import majority
from annotate.corpora.table import CORPORA
from annotate.inspect.leaks import find_leaks
from configs.errors import UserError
from tests.unit.corpus_files import write_clip, write_lines

IMPROV = [
    ("S01A-F01-R-FM01", "A"),
    ("S01A-M01-S-FM01", "N"),
    ("S20H-F06-T-FF02", "H"),
    ("S02N-M03-P-MF10", "X"),
]


def build_msp_improv(root: Path) -> None:
    lines = []
    for index, (name, label) in enumerate(IMPROV):
        lines += [f"UTD-IMPROV-{name}.avi; {label}; A:2.600000; V:3.000000; D:3.2 ; N:4.0;"]
        lines += [f"        rater{index}; {label}; A:2.000000;", ""]
        session, scene, style = name[7], name[:4], name[9]
        folder = root / f"Audio/session{session}/{scene}/{style}"
        write_clip(folder / f"MSP-IMPROV-{name}.wav", hz=120 + index)
    write_lines(root / "Evalution.txt", lines)
    write_lines(
        root / "All_human_transcriptions/UTD-IMPROV-S01A-F01-R-FM01.txt", ["How can I not?"]
    )
    write_clip(root / "Audio/session1/S01A/S/MSP-IMPROV-S01A-F01-S-FM09.wav", hz=300)


MOSEI = [
    ("-3g5yACwYnA", "82.753", "100.555", (0.67, 0, 0, 0, 0, 0)),
    ("-3g5yACwYnA", "119.919", "125.299", (0, 0, 0, 0, 0, 0)),
    ("--qXJuDtHPw", "23.199", "30.325", (0.33, 0.33, 0, 0, 0, 0)),
    ("-6rXp3zJ3kc", "0.5", "4", (0, 0, 1, 0, 2.0, 0)),
    ("-6rXp3zJ3kc", "4", "6", (0, 0, 1, 0, 2.0, 0)),  # no sound
]


def build_cmu_mosei(root: Path) -> None:
    head = ",".join(("video", "start_time", "end_time", "sentiment", *EMOTIONS))
    rows = [",".join([v, s, e, "1", *map(str, scores)]) for v, s, e, scores in MOSEI]
    write_lines(root / "Labels/mine.csv", [head, *rows])
    words = root / "Transcript/Segmented/Combined"
    write_lines(words / "-3g5yACwYnA.txt", [
        "-3g5yACwYnA___0___82.7529___100.555___Key is part of the people",
        "-3g5yACwYnA___1___119.919___125.299___Thank you.",
    ])  # fmt: skip
    write_lines(words / "--qXJuDtHPw.txt", ["--qXJuDtHPw___5___23.199___30.325___I see"])
    write_lines(words / "-6rXp3zJ3kc.txt", [
        "-6rXp3zJ3kc___0___0.5___4.0___So", "-6rXp3zJ3kc___1___4.0___6.0___Then",
    ])  # fmt: skip
    audio = root / "Audio/Segmented_Audio"
    for index, name in enumerate((
        "train/-3g5yACwYnA_0", "train/-3g5yACwYnA_1", "dev/--qXJuDtHPw_5", "test/-6rXp3zJ3kc_0",
    )):  # fmt: skip
        write_clip(audio / f"{name}.wav", hz=130 + index)


def said(speaker: str, emotion: str) -> dict[str, Any]:
    votes = {"EmoAnnotator1": {}, "final_mul_emo": [emotion], "final_main_emo": emotion}
    return {"Speaker": speaker, "Text": "好 吧", "StartTime": "00:01:02", "EmoAnnotation": votes}


def build_m3ed(root: Path) -> None:
    annotations: dict[str, Any] = {}
    people = {"A": {"Name": "安迪", "Gender": "Female"}, "B": {"Name": "老谭", "Gender": "Male"}}
    parts = {"huanlesong": "train", "nishiwodeyan": "val", "luohunshidai": "test"}
    for index, (series, split) in enumerate(parts.items()):
        write_lines(root / f"splitInfo/movie_list_{split}.txt", [series])
        dialog = {f"{series}_1_1": said("A", "Neutral"), f"{series}_1_2": said("B", "Anger")}
        annotations[series] = {f"{series}_1": {"SpeakerInfo": people, "Dialog": dialog}}
        for who, number in (("A", 1), ("B", 2)):
            path = root / f"modality_speech/{who}_{series}_1_{number}.wav"
            write_clip(path, hz=140 + 10 * index + number)
    (root / "annotation.json").write_text(json.dumps(annotations), encoding="utf-8")


def build_dailytalk(root: Path) -> None:
    emotions = {"0": "no emotion", "1": "happiness", "2": "none"}
    turns = {
        t: {"speaker": int(t) % 2, "text": f"turn {t}", "emotion": e, "act": "inform"}
        for t, e in emotions.items()
    }
    write_lines(root / "metadata.json", [json.dumps({"23": turns, "4": {"0": turns["0"]}})])
    for turn in emotions:
        stem = root / f"data/23/{turn}_{int(turn) % 2}_d23"
        write_clip(stem.with_suffix(".wav"), hz=150 + int(turn))
        write_lines(stem.with_suffix(".txt"), [f"written {turn}."])


def vote(name: str, emotion: str, **more: str) -> str:
    row = {
        "hash_id": name,
        "audio_path": f"wavs/{name}.wav",
        "duration": "3.1",
        "annotator_emo": emotion,
        "golden_emo": "",
        "speaker_text": "привет",
        "speaker_emo": "positive",
        "source_id": f"s{name[0]}",
        "annotator_id": "9",
    }
    return json.dumps(row | more)


def build_dusha(root: Path) -> None:
    train = [vote("a1", "positive"), vote("a1", "positive"), vote("a1", "sad"), vote("a2", "angry")]
    train += [vote("a2", "other"), vote("b3", "other"), vote("g", "sad", golden_emo="sad")]
    write_lines(root / "crowd_train/raw_crowd_train.jsonl", train)
    write_lines(root / "crowd_test/raw_crowd_test.jsonl", [vote("c4", "neutral", source_id="")])
    write_lines(root / "podcast_train/raw_podcast_train.jsonl", [vote("p", "sad")])
    for index, name in enumerate(("a1", "a2", "b3", "g")):
        write_clip(root / f"crowd_train/wavs/{name}.wav", hz=160 + index)
    write_clip(root / "crowd_test/wavs/c4.wav", hz=170)


BUILD = {
    "cmu_mosei": build_cmu_mosei,
    "dailytalk": build_dailytalk,
    "dusha": build_dusha,
    "m3ed": build_m3ed,
    "msp_improv": build_msp_improv,
}
# Corpus -> rows, speakers, women's rows, rows with a text, splits, labels of `own`.
COUNTS = {
    "cmu_mosei": (3, 0, 0, 3, {"train": 2, "test": 1}, {"happy": 1, "neutral": 1, "disgust": 1}),
    "dailytalk": (3, 2, 0, 3, {None: 3}, {"neutral": 2, "happy": 1}),
    "dusha": (2, 1, 0, 2, {"train": 1, "test": 1}, {"positive": 1, "neutral": 1}),
    "m3ed": (6, 6, 3, 6, {"train": 2, "eval": 2, "test": 2}, {"neutral": 3, "angry": 3}),
    "msp_improv": (3, 3, 2, 1, {None: 3}, {"angry": 1, "neutral": 1, "happy": 1}),
}


def read(corpus: str, root: Path) -> list[dict[str, Any]]:
    return build_rows(corpus, root, labels="own", num_workers=1).rows


@pytest.mark.parametrize("corpus", BUILD)
def test_counts(corpus: str, tmp_path: Path):
    BUILD[corpus](tmp_path)
    rows = read(corpus, tmp_path)
    assert (
        len(rows),
        len({row["speaker"] for row in rows if "speaker" in row}),
        sum(row.get("sex") == "female" for row in rows),
        sum("text" in row for row in rows),
        dict(Counter(row.get("split") for row in rows)),
        dict(Counter(row["label"] for row in rows)),
    ) == COUNTS[corpus]
    leaks = {leak.kind: leak.num_rows for leak in find_leaks(rows)}
    leaks.pop("transcript", None)
    # Rows without a speaker, of a corpus that has two splits.
    assert leaks == {"cmu_mosei": {"unknown_speaker": 3}, "dusha": {"unknown_speaker": 1}}.get(
        corpus, {}
    )


def test_facts(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for corpus, build in BUILD.items():
        build(tmp_path / corpus)
    rows = {row["id"]: row for corpus in BUILD for row in read(corpus, tmp_path / corpus)}
    first = rows["msp_improv/MSP-IMPROV-S01A-F01-R-FM01"]
    assert (first["speaker"], first["session"], first["style"], first["text"]) == (
        "msp_improv/F01", "msp_improv/Ses01", "read", "How can I not?",
    )  # fmt: skip
    assert (first["arousal"], first["naturalness"]) == (2.6, 4.0)
    assert rows["cmu_mosei/-3g5yACwYnA_0"]["session"] == "cmu_mosei/-3g5yACwYnA"
    assert rows["m3ed/huanlesong_1_2"]["speaker"] == "m3ed/huanlesong_老谭"
    assert rows["dailytalk/1_1_d23"]["text"] == "written 1."
    assert rows["dusha/crowd_train-a1"]["votes"] == {"positive": 2, "sad": 1}
    for line in (
        "1: clips that Evalution.txt does not name",
        "1: scored sentences without sound",
        "1: turns without a clip",
        "1: parts without sound",
        "1: clips that checked the raters",
    ):
        assert f"left out: {line}" in caplog.text


def test_the_label_of_scores_and_votes():
    assert dominant({"happy": 0, "sad": 0}) == "none"
    assert dominant({"happy": 1, "sad": 1}) == "several"
    assert dominant({"happy": 0.33, "sad": 0.67}) == "sad"
    assert majority({"sad": 2, "angry": 1}) == "sad"
    assert majority({"sad": 1, "angry": 1}) == "no agreement"


def test_the_released_aggregation_of_dusha_comes_first(tmp_path: Path):
    build_dusha(tmp_path)
    table = tmp_path / "processed_dataset_090/aggregated_dataset/crowd_train.jsonl"
    write_lines(table, [json.dumps({"hash_id": "a2", "emotion": "angry"})])
    rows = {row["id"]: row for row in read("dusha", tmp_path)}
    assert set(rows) == {"dusha/crowd_train-a2", "dusha/crowd_test-c4"}
    assert rows["dusha/crowd_train-a2"]["label"] == "angry"


def test_dusha_in_tsv_gives_the_same_rows(tmp_path: Path):
    build_dusha(tmp_path)
    before = read("dusha", tmp_path)
    for path in sorted(tmp_path.glob("crowd_*/*.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        write_lines(
            path.with_suffix(".tsv"), ["\t".join(r) for r in (rows[0], *map(dict.values, rows))]
        )
        path.unlink()
    assert read("dusha", tmp_path) == before


def replaced(path: str, old: str, new: str):
    def change(root: Path) -> None:
        file = root / path
        file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    return change


def removed(path: str):
    return lambda root: (root / path).unlink()


IMPROV_CLIP = "Audio/session1/S01A/R/MSP-IMPROV-S01A-F01-R-FM01.wav"


@pytest.mark.parametrize(
    ("corpus", "change", "message"),
    [
        ("msp_improv", removed(IMPROV_CLIP), r"Evalution.txt:1: no clip MSP-IMPROV-S01A-F01-R"),
        ("msp_improv", replaced("Evalution.txt", "; A; ", "; Q; "), r"Evalution.txt:1: no turn"),
        ("msp_improv", removed("Evalution.txt"), r"Evalution.txt: no such file"),
        ("cmu_mosei", replaced("Labels/mine.csv", "0.67", "-1"), r"mine.csv:2: happy is '-1'"),
        ("cmu_mosei", replaced("Labels/mine.csv", "82.753", "81"), r"csv:2: no sentence from 81"),
        ("cmu_mosei", replaced("Labels/mine.csv", "fear", "dread"), r"csv:1: has no column fear"),
        ("cmu_mosei", removed("Transcript/Segmented/Combined/--qXJuDtHPw.txt"), "no transcript"),
        ("m3ed", removed("modality_speech/A_huanlesong_1_1.wav"), "huanlesong_1_1: no clip in"),
        ("m3ed", replaced("splitInfo/movie_list_val.txt", "nishi", "x"), "in no splitInfo/movie"),
        ("m3ed", replaced("annotation.json", "final_main_emo", "x"), "not as released"),
        ("dailytalk", replaced("metadata.json", '"speaker": 1', '"speaker": 0'), "for speaker 1"),
        ("dailytalk", replaced("metadata.json", '"emotion"', '"x"'), "no dialogue 23"),
        ("dusha", removed("crowd_train/wavs/a1.wav"), r"jsonl:1: no clip \S+a1.wav"),
        ("dusha", replaced("crowd_test/raw_crowd_test.jsonl", "source_id", "x"), "no 'source_id'"),
    ],
)  # fmt: skip
def test_what_is_refused(corpus: str, change: Any, message: str, tmp_path: Path):
    BUILD[corpus](tmp_path)
    change(tmp_path)
    with pytest.raises(UserError, match=message):
        CORPORA[corpus].read(tmp_path)


@pytest.mark.parametrize("corpus", BUILD)
def test_a_root_one_folder_too_high(corpus: str, tmp_path: Path):
    BUILD[corpus](tmp_path / "release")
    with pytest.raises(UserError, match=r"give root=\S*release"):
        CORPORA[corpus].read(tmp_path)
