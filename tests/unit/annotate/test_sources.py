"""The same clips through every kind of source, and what each refuses."""

from __future__ import annotations

import gzip
import json
import logging
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotate.corpora.convert import convert_clips
from annotate.pipeline import run_pipeline
from annotate.sources.read import SOURCES, read_source, source_labels
from configs.annotate_schema import AnnotateConfig, SourceConfig
from configs.errors import UserError

LABELS = ("angry", "happy", "neutral", "sad")
Row = dict[str, Any]


def write_wav(path: Path, number: int = 0, *, num_samples: int = 1_600, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = (np.arange(num_samples * channels) * (number + 7) % 20_011 - 10_000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())


def facts(number: int) -> Row:
    """Describe a clip of the corpus that all sources hold."""
    speaker = number % 10
    row = {
        "split": "test" if speaker < 2 else "train",
        "label": LABELS[number % 4],
        "speaker": f"s{speaker}",
        "sex": "female" if speaker % 2 else "male",
        "text": f"sentence, {number % 7}",
    }
    row["id"] = "{split}/{label}/{speaker}_{sex}_".format(**row) + f"{number:04d}"
    return row | {"audio": f"{row['id']}.wav"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    root = tmp_path_factory.mktemp("clips")
    rows = [facts(number) for number in range(500)]
    for number, row in enumerate(rows):
        write_wav(root / row["audio"], number)
    return root, rows


def convert(kind: str, root: Path, output: Path, labels: str = "own", **source: Any) -> list[Row]:
    config = AnnotateConfig(
        corpus=kind, root=str(root), source=SourceConfig(**{"name": "mine", **source})
    )
    found = read_source(config, output)
    label_map = source_labels(labels, (), found.clips)
    return convert_clips(
        found.name, found.root, found.clips, label_map, labels=labels, num_workers=1
    ).rows


def table(path: Path, names: str, lines: list[str], encoding: str = "utf-8") -> Path:
    path.write_bytes("\r\n".join([names, *lines, ""]).encode(encoding))
    return path


def json_lines(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_csv(root: Path, rows: list[Row], folder: Path) -> list[Path]:
    lines = ['{audio},{label},{speaker},"{text}",{split},{sex}'.format(**row) for row in rows]
    return [table(folder / "a.csv", "path,emotion,speaker_id,sentence,subset,gender", lines)]


def write_tsv(root: Path, rows: list[Row], folder: Path) -> list[Path]:
    lines = [
        f"C:\\mine\\{row['audio']}".replace("/", "\\")
        + "\t{label}\t{speaker}\t{text}\t{split}\t{sex}".format(**row)
        for row in rows
    ]
    names = "File Name\tEmotion\tSpeaker\tTranscript\tSplit\tGender"
    return [table(folder / "a.tsv", names, lines, "utf-16")]


def write_json(root: Path, rows: list[Row], folder: Path) -> list[Path]:
    path = folder / "a.json"
    rows = [row | {"audio": str(root / row["audio"]), "sex": row["sex"][0].upper()} for row in rows]
    path.write_text(json.dumps(rows))
    return [path]


def write_jsonl(root: Path, rows: list[Row], folder: Path) -> list[Path]:
    # Of another machine.
    moved = [row | {"audio": f"/home/them/data/{row['audio']}"} for row in rows]
    return [json_lines(folder / "a.jsonl", moved)]


def write_swift(root: Path, rows: list[Row], folder: Path) -> list[Path]:
    chats = [
        {
            "messages": [
                {"role": "user", "content": "<audio>Which emotion?"},
                {"role": "assistant", "content": row["label"].capitalize() + "."}
                if number % 2
                else {"role": "assistant", "content": f"<answer>{row['label']}</answer>"},
            ],
            "audios": [row["audio"]],
            **{key: row[key] for key in ("speaker", "text", "split", "sex")},
        }
        for number, row in enumerate(rows)
    ]
    for chat in chats:
        chat["messages"][1]["content"] = chat["messages"][1]["content"].lower()
    return [json_lines(folder / "a.jsonl", chats)]


def write_llama_factory(root: Path, rows: list[Row], folder: Path) -> list[Path]:
    chats = [
        {
            **{key: row[key] for key in ("speaker", "text", "split", "sex")},
            "audios": [str(root / row["audio"])],
            **(
                {"instruction": "<audio>Which?", "input": "", "output": row["label"]}
                if number % 2
                else {
                    "conversations": [
                        {"from": "human", "value": "<audio>Which?"},
                        {"from": "gpt", "value": row["label"]},
                    ]
                }
            ),
        }
        for number, row in enumerate(rows)
    ]
    path = folder / "a.json"
    path.write_text(json.dumps(chats))
    return [path]


def write_kaldi(root: Path, rows: list[Row], folder: Path) -> list[Path]:
    for split in ("train", "test"):
        part = [row for row in rows if row["split"] == split]
        (folder / split).mkdir()
        for name, line in {
            "wav.scp": f"{{id}} {root}/{{audio}}",
            "utt2spk": "{id} {speaker}",
            "text": "{id} {text}",
            "utt2emo": "{id} {label}",
            "segments": "{id} {id} 0.00 0.10",
        }.items():
            text = "".join(line.format(**row) + "\n" for row in part)
            (folder / split / name).write_text(text)
        sexes = {row["speaker"]: row["sex"][0] for row in part}
        lines = [f"{speaker} {sex}\n" for speaker, sex in sexes.items()]
        (folder / split / "spk2gender").write_text("".join(lines))
    return [folder / "train", folder / "test"]


def recording(root: Path, row: Row, **more: Any) -> Row:
    source = {"type": "file", "channels": [0], "source": str(root / row["audio"])}
    times = {"sampling_rate": 16_000, "num_samples": 1_600, "duration": 0.1, "channel_ids": [0]}
    return {"id": row["id"], "sources": [source], **times, **more}


def supervision(row: Row, start: float = 0.0) -> Row:
    return {
        **{"id": row["id"], "recording_id": row["id"], "start": start, "duration": 0.1},
        **{"channel": 0, "text": row["text"], "speaker": row["speaker"], "gender": row["sex"]},
        "custom": {"emotion": row["label"], "split": row["split"]},
    }


def write_lhotse(root: Path, rows: list[Row], folder: Path) -> list[Path]:
    paths = [folder / "a_recordings.jsonl.gz", folder / "a_supervisions.jsonl.gz"]
    kinds = [[recording(root, row) for row in rows], [supervision(row) for row in rows]]
    for path, lines in zip(paths, kinds, strict=True):
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    return paths


def write_cuts(root: Path, rows: list[Row], folder: Path) -> list[Path]:
    cuts = [
        {
            **{"id": row["id"], "start": 0.0, "duration": 0.1, "channel": 0, "type": "MonoCut"},
            "supervisions": [supervision(row)],
            "recording": recording(root, row),
        }
        for row in rows
    ]
    return [json_lines(folder / "a_cuts.jsonl", cuts)]


WRITERS = {
    "csv": ("table", write_csv),
    "tsv": ("table", write_tsv),
    "json": ("table", write_json),
    "jsonl": ("table", write_jsonl),
    "swift": ("chat", write_swift),
    "llama_factory": ("chat", write_llama_factory),
    "kaldi": ("kaldi", write_kaldi),
    "lhotse": ("lhotse", write_lhotse),
    "cuts": ("lhotse", write_cuts),
}


def expected(root: Path, rows: list[Row], output: Path) -> list[Row]:
    output = output / "expected"
    output.mkdir()
    files = write_csv(root, rows, output)
    return convert("table", root, output / "clips", files=[str(path) for path in files])


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_clips_give_the_same_rows(
    name: str, corpus: tuple[Path, list[Row]], tmp_path: Path
):
    root, rows = corpus
    kind, write = WRITERS[name]
    files = [str(path) for path in write(root, rows, tmp_path)]
    converted = convert(kind, root, tmp_path / "clips", files=files)
    assert converted == expected(root, rows, tmp_path)
    assert not (tmp_path / "clips").exists()
    first = next(row for row in converted if row["id"] == "mine/" + rows[0]["id"])
    wanted = {key: rows[0][key] for key in ("audio", "label", "split", "sex", "text")}
    assert wanted.items() <= first.items()
    assert first["speaker"] == "mine/s0" and first["duration_s"] == 0.1
    assert len(converted) == 500


def test_folders_give_the_same_rows_but_for_the_words(
    corpus: tuple[Path, list[Row]], tmp_path: Path
):
    root, rows = corpus
    pattern = r"(?P<split>\w+)/(?P<label>\w+)/(?P<speaker>s\d)_(?P<sex>[a-z]+)_\d+"
    converted = convert("folders", root, tmp_path / "clips", pattern=pattern)
    wanted = expected(root, rows, tmp_path)
    assert converted == [{k: v for k, v in row.items() if k != "text"} for row in wanted]
    bare = convert("folders", root, tmp_path / "clips")
    drop = ("text", "speaker", "sex")
    assert bare == [{k: v for k, v in row.items() if k not in drop} for row in wanted]


def hf_metadata(**features: Any) -> dict[bytes, bytes]:
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def hf_table(root: Path, rows: list[Row], *, held: bool) -> Any:
    pyarrow = pytest.importorskip("pyarrow")
    audio = [
        {"bytes": (root / row["audio"]).read_bytes(), "path": row["audio"]}
        if held
        else {"bytes": None, "path": row["audio"]}
        for row in rows
    ]
    made = pyarrow.table(
        {
            "sound": pyarrow.array(
                audio, pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
            ),
            "label": [LABELS.index(row["label"]) for row in rows],
            **{key: [row[key] for row in rows] for key in ("speaker", "sex", "text")},
        }
    )
    kinds = {"sound": {"_type": "Audio"}, "label": {"_type": "ClassLabel", "names": LABELS}}
    return made.replace_schema_metadata(hf_metadata(**kinds))


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("layout", ["snapshot", "save_to_disk"])
def test_hugging_face_gives_the_same_rows(
    layout: str, held: bool, corpus: tuple[Path, list[Row]], tmp_path: Path
):
    root, rows = corpus
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "set" if held else root
    where = tmp_path / "set"
    for split in ("train", "test"):
        made = hf_table(root, [row for row in rows if row["split"] == split], held=held)
        if layout == "snapshot":
            path = where / "snapshots" / "0a1b" / "data" / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(made, path)
            continue
        (where / split).mkdir(parents=True)
        path = where / split / "data-00000-of-00001.arrow"
        with pyarrow.ipc.new_stream(str(path), made.schema) as stream:
            stream.write_table(made)
        state = {"_data_files": [{"filename": path.name}]}
        (where / split / "state.json").write_text(json.dumps(state))
        (where / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    files = [] if held else [str(where)]
    converted = convert("hf", folder, tmp_path / "clips", files=files)
    assert (tmp_path / "clips").exists() == held
    assert converted == expected(root, rows, tmp_path)


def test_an_audio_folder_and_a_plain_parquet_file(corpus: tuple[Path, list[Row]], tmp_path: Path):
    root, rows = corpus
    parquet = pytest.importorskip("pyarrow.parquet")
    shutil.copytree(root, tmp_path / "set")
    for split in ("train", "test"):
        part = [row for row in rows if row["split"] == split]
        names = "file_name,label,speaker,text,sex"
        lines = [
            '{},{label},{speaker},"{text}",{sex}'.format(row["audio"].partition("/")[2], **row)
            for row in part
        ]
        table(tmp_path / "set" / split / "metadata.csv", names, lines)
    wanted = expected(root, rows, tmp_path)
    assert convert("hf", tmp_path / "set", tmp_path / "clips") == wanted
    parquet.write_table(hf_table(root, rows, held=True), tmp_path / "all.parquet")
    (tmp_path / "empty").mkdir()
    converted = convert(
        "table", tmp_path / "empty", tmp_path / "clips", files=[str(tmp_path / "all.parquet")]
    )
    assert converted == [{k: v for k, v in row.items() if k != "split"} for row in wanted]


def test_class_numbers_without_a_name_and_damaged_parquet_are_refused(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    made = pyarrow.table({"audio": ["a.wav"], "label": [7]})
    kinds = {"label": {"_type": "ClassLabel", "names": ["sad"]}}
    path = tmp_path / "a.parquet"
    parquet.write_table(made.replace_schema_metadata(hf_metadata(**kinds)), path)
    write_wav(tmp_path / "a.wav")
    with pytest.raises(UserError, match=r"a.parquet:1: label 7 is none of the 1 classes"):
        convert("table", tmp_path, tmp_path / "clips")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="is no readable parquet file"):
        convert("table", tmp_path, tmp_path / "clips")


def one(tmp_path: Path, *lines: str, names: str = "path,emotion", **source: Any) -> list[Row]:
    """Convert a table beside two clips."""
    write_wav(tmp_path / "a.wav")
    write_wav(tmp_path / "b.wav", 1)
    table(tmp_path / "t.csv", names, list(lines))
    return convert("table", tmp_path, tmp_path / "out", **source)


def test_integer_ids_and_labels_are_texts(tmp_path: Path):
    rows = one(tmp_path, "a.wav,0,17", "b.wav,1,18", names="path,label,id")
    assert [(row["id"], row["label"]) for row in rows] == [("mine/17", "0"), ("mine/18", "1")]
    (tmp_path / "t.csv").unlink()
    json_lines(tmp_path / "t.jsonl", [{"path": "a.wav", "label": 3.0, "speaker": 12, "id": 5}])
    (row,) = convert("table", tmp_path, tmp_path / "out")
    assert (row["id"], row["label"], row["speaker"]) == ("mine/5", "3", "mine/12")


def test_what_is_taken_for_what_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    rows = one(
        tmp_path, "a.wav;sad;f;;x", "b.wav;sad;;nan;y", names="path;emotion;gender;speaker;mood"
    )
    assert [row.get("sex") for row in rows] == ["female", None]
    assert "fields are parted by ';'" in caplog.text
    assert "columns: audio = 'path', label = 'emotion', speaker = 'speaker', sex" in caplog.text
    assert "columns that are not used: 'mood'" in caplog.text
    assert "sex: 1 of 2 clips" in caplog.text
    assert "no clip has a speaker or a text" in caplog.text


@pytest.mark.parametrize(
    ("names", "lines", "message"),
    [
        ("path,mood", ["a.wav,sad"], "no column is known to be the label; .*columns={label: COL"),
        ("path,label,emotion", ["a.wav,1,sad"], "'label' and 'emotion' may both be the label"),
        ("path,emotion", ["c.wav,sad"], r"t.csv:2: 'c.wav': no such file .*missing=skip"),
        ("path,emotion", ["a.wav,sad", "b.wav,"], "t.csv:3: has no label; source.missing=skip"),
        ("path,emotion", ["../a.wav,sad"], "t.csv:2: '../a.wav'.*no such file"),
        ("path,emotion", ["https://x.org/a.wav,sad"], "is an address; download"),
        ("path,emotion", ["a.wav,sad", "a.wav,sad"], "are the same utterance"),
        ("path,emotion,split", ["a.wav,sad,fold1"], "its split 'fold1' is not known"),
        ("path,emotion,gender", ["a.wav,sad,2"], "its sex '2' is not known"),
        ("path,emotion,start", ["a.wav,sad,00:01"], "its start is '00:01'; a time in seconds"),
        ("path,emotion,start,end", ["a.wav,sad,0,0.2"], "goes from 0 to 0.2 s, .*lasts 0.100"),
    ],
)
def test_what_a_table_may_not_hold(names: str, lines: list[str], message: str, tmp_path: Path):
    with pytest.raises(UserError, match=message):
        one(tmp_path, *lines, names=names)


def test_a_path_out_of_the_root_is_refused(tmp_path: Path):
    write_wav(tmp_path / "c.wav")
    (tmp_path / "root").mkdir()
    for path in ("../c.wav", str(tmp_path / "c.wav")):
        with pytest.raises(UserError, match=r"root above it"):
            one(tmp_path / "root", f"{path},sad")


def test_names_without_extension_and_in_other_forms(tmp_path: Path):
    write_wav(tmp_path / "re\u0301.WAV", 2)
    rows = one(tmp_path, "a,sad", "r\u00e9.wav,sad")
    assert [row["audio"] for row in rows] == ["a.wav", "re\u0301.WAV"]
    write_wav(tmp_path / "a.flac")
    with pytest.raises(UserError, match="'a': no such file"):
        one(tmp_path, "a,sad")


def test_paths_of_another_machine_have_one_start(tmp_path: Path):
    write_wav(tmp_path / "x" / "c.wav")
    with pytest.raises(UserError, match=r"'/other/x/c.wav': no such file"):
        one(tmp_path, "/home/them/a.wav,sad", "/other/x/c.wav,sad")


def test_missing_clips_can_be_skipped_and_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    rows = one(tmp_path, "a.wav,sad", "c.wav,sad", "b.wav,", missing="skip")
    assert [row["audio"] for row in rows] == ["a.wav"]
    assert "left out: 1: rows whose clip is not there" in caplog.text
    assert "left out: 1: rows without a label" in caplog.text


def test_columns_are_named_and_ignored(tmp_path: Path):
    names = "path,emotion,mood,split"
    columns = {"label": "mood", "split": ""}
    (row,) = one(tmp_path, "a.wav,1,sad,fold1", names=names, columns=columns)
    assert row["label"] == "sad" and "split" not in row
    with pytest.raises(UserError, match=r"has no column 'feeling'"):
        one(tmp_path, "a.wav,1,sad,x", names=names, columns={"label": "feeling"})
    with pytest.raises(UserError, match="no field 'lable'"):
        one(tmp_path, "a.wav,1,sad,x", names=names, columns={"lable": "mood"})


def test_splits_follow_from_the_names_of_tables(tmp_path: Path):
    write_wav(tmp_path / "a.wav")
    write_wav(tmp_path / "b.wav", 1)
    table(tmp_path / "train.csv", "path,emotion", ["a.wav,sad"])
    table(tmp_path / "valid.csv", "path,emotion", ["b.wav,sad"])
    rows = convert("table", tmp_path, tmp_path / "out")
    assert [row["split"] for row in rows] == ["train", "eval"]
    table(tmp_path / "more.csv", "path,emotion", ["b.wav,sad"])
    with pytest.raises(UserError, match=r"holds more.csv, train.csv, valid.csv; say which"):
        convert("table", tmp_path, tmp_path / "out")


def test_labels_are_mapped_kept_or_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    one(tmp_path, "a.wav,Anger", "b.wav,angry")
    assert [row["label"] for row in convert("table", tmp_path, tmp_path / "o", labels="nine")] == [
        *("angry", "angry")
    ]
    one(tmp_path, "a.wav,Bored", "b.wav,bored")
    assert "labels 'Bored' and 'bored' are two classes" in caplog.text
    with pytest.raises(UserError, match=r"labels=nine does not know 'Bored' \(1 clips\)"):
        convert("table", tmp_path, tmp_path / "o", labels="nine")


def read_samples(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def test_parts_of_recordings_are_written_sample_by_sample(tmp_path: Path):
    write_wav(tmp_path / "long.wav", 3, num_samples=16_000)
    write_wav(tmp_path / "a.wav")
    table(
        tmp_path / "t.csv",
        "path,emotion,start,end",
        ["long.wav,sad,0.25,0.5", "long.wav,happy,0.5,", "a.wav,sad,,"],
    )
    rows = convert("table", tmp_path, tmp_path / "out")
    assert [row["audio"] for row in rows] == [
        *("a.wav", "long_0000250_0000500.wav", "long_0000500_0001000.wav")
    ]
    whole = read_samples(tmp_path / "long.wav")
    assert np.array_equal(read_samples(tmp_path / "out" / rows[1]["audio"]), whole[4_000:8_000])
    assert np.array_equal(read_samples(tmp_path / "out" / rows[2]["audio"]), whole[8_000:])
    # A folder that an earlier source wrote is not taken for that of another.
    table(tmp_path / "t.csv", "path,emotion", ["a.wav,sad"])
    with pytest.raises(UserError, match="clips of another source"):
        convert("table", tmp_path, tmp_path / "out")


def test_the_pipeline_reads_written_clips_and_splits_by_what_there_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    root = tmp_path / "root"
    write_wav(root / "long.wav", 3, num_samples=16_000 * 6)
    lines = [f"long.wav,{LABELS[i % 2]},{i}.0,{i + 1}.0" for i in range(6)]
    table(root / "t.csv", "path,emotion,start,end", lines)
    config = AnnotateConfig(corpus="table", root=str(root), output=str(tmp_path / "out"))
    assert run_pipeline(config)
    rows = [json.loads(line) for line in (tmp_path / "out/manifest.jsonl").open()]
    assert {row["split"] for row in rows} == {"train", "eval", "test"}
    assert all((tmp_path / "out/clips" / row["audio"]).is_file() for row in rows)
    assert all(row["prosody"]["duration_s"] == 1.0 for row in rows)
    assert "drawn clip by clip" in caplog.text
    caplog.clear()
    assert run_pipeline(config)
    assert "manifest.jsonl: done before" in caplog.text


def test_settings_that_nothing_would_read_are_refused(tmp_path: Path):
    for corpus, message in (("ravdess", r"source\.\* is for"), ("tabel", "is not known; choose")):
        source = SourceConfig(missing="skip") if corpus == "ravdess" else SourceConfig()
        with pytest.raises(UserError, match=message):
            run_pipeline(AnnotateConfig(corpus=corpus, root=str(tmp_path), source=source))
    config = AnnotateConfig(corpus="folders", root=str(tmp_path), output=str(tmp_path / "out"))
    with pytest.raises(UserError, match="lies in the root"):
        run_pipeline(config, dry_run=True)


def kaldi(folder: Path, **files: str) -> list[Row]:
    write_wav(folder / "a.wav")
    write_wav(folder / "two.wav", channels=2)
    for name, text in {"utt2emo": "u1 sad\n", **files}.items():
        (folder / name.replace("wav_scp", "wav.scp")).write_text(text)
    return convert("kaldi", folder, folder / "out")


def test_what_kaldi_folders_may_not_hold(tmp_path: Path):
    with pytest.raises(UserError, match=r"wav.scp:1: u1 is made by a command; commands are not"):
        kaldi(tmp_path, wav_scp="u1 sox a.wav -t wav - |\n")
    with pytest.raises(UserError, match=r"wav.scp:2: u1 is there twice"):
        kaldi(tmp_path, wav_scp="u1 a.wav\nu1 a.wav\n")
    channels = {"wav_scp": "u1 two.wav\n", "reco2file_and_channel": "u1 two B\n"}
    with pytest.raises(UserError, match=r"is channel B of .*two.wav, which has 2"):
        kaldi(tmp_path, **channels)


def test_what_lhotse_manifests_may_not_hold(tmp_path: Path):
    row = facts(0) | {"audio": "a.wav"}
    write_wav(tmp_path / "a.wav")

    def refused(message: str, **more: Any) -> None:
        json_lines(tmp_path / "x_recordings.jsonl", [recording(tmp_path, row, **more)])
        json_lines(tmp_path / "x_supervisions.jsonl", [supervision(row)])
        with pytest.raises(UserError, match=message):
            convert("lhotse", tmp_path, tmp_path / "out")

    refused("is made of command", sources=[{"type": "command", "source": "sox", "channels": [0]}])
    refused("is transformed", transforms=[{"name": "Speed"}])
    refused("recording .* is in none of", id="other")
    two = [{"type": "file", "source": str(tmp_path / "two.wav"), "channels": [0, 1]}]
    write_wav(tmp_path / "two.wav", channels=2)
    refused("is channel 0 of", sources=two, channel_ids=[0, 1])


def test_replies_of_chats(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_wav(tmp_path / "a.wav")

    def read(reply: str, **source: Any) -> Row:
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": reply}]
        several = {"messages": turns, "audios": ["a.wav", "b.wav"]}
        json_lines(tmp_path / "c.jsonl", [{"messages": turns, "audios": ["a.wav"]}, several])
        return convert("chat", tmp_path, tmp_path / "out", **source)[0]

    row = read("<think>The pitch is low.</think><answer>sad</answer>")
    assert (row["label"], row["reasoning"]) == ("sad", "The pitch is low.")
    assert "left out: 1: rows with no clip, or with several" in caplog.text
    long = "From the low pitch I hear that the emotion is sad, in my view."
    with pytest.raises(UserError, match=r"c.jsonl:1: no label is known of the reply"):
        read(long)
    assert read(long, pattern=r"emotion is (?P<label>\w+)")["label"] == "sad"


def test_every_source_says_what_an_empty_root_lacks(tmp_path: Path):
    for kind in SOURCES:
        with pytest.raises(UserError, match=str(tmp_path)):
            convert(kind, tmp_path, tmp_path / "out")
