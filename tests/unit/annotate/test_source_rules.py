"""What sources may hold, what is said of it, and what is refused."""

from __future__ import annotations

import json
import logging
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from annotate.pipeline import run_pipeline
from annotate.sources.read import SOURCES
from configs.annotate_schema import AnnotateConfig, SourceConfig, SplitsConfig
from configs.errors import UserError
from tests.unit.source_files import (
    LABELS,
    Row,
    convert,
    facts,
    hf_metadata,
    json_lines,
    recording,
    supervision,
    table,
    write_wav,
)


def test_class_numbers_without_a_name_and_damaged_parquet_are_refused(tmp_path: Path):
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
    with pytest.raises(UserError, match="no field 'feel'"):
        one(tmp_path, "a.wav,1,sad,x", names=names, columns={"feel": "mood"})


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
    assert "labels 'Bored' and 'bored' differ only in case" in caplog.text
    with pytest.raises(UserError, match=r"does not know 'Bored' \(1 clips, such as 'a.wav'\),"):
        convert("table", tmp_path, tmp_path / "o", labels="nine")
    one(tmp_path, "a.wav,Angyr", "b.wav,sad")
    with pytest.raises(UserError, match=r"'Angyr' .1 clips, .*, did you mean 'angry'"):
        convert("table", tmp_path, tmp_path / "o2", labels="nine")


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
    with pytest.raises(UserError, match=r"splits.allow=\[unknown_speaker\] if it is meant"):
        run_pipeline(config)
    config = replace(config, splits=SplitsConfig(allow=["unknown_speaker"]))
    assert run_pipeline(config)
    rows = [json.loads(line) for line in (tmp_path / "out/manifest.jsonl").open()]
    assert {row["split"] for row in rows} == {"train", "eval", "test"}
    assert all((tmp_path / "out/clips" / row["audio"]).is_file() for row in rows)
    assert all(row["prosody"]["duration_s"] == 1.0 for row in rows)
    assert "drawn clip by clip" in caplog.text
    out = tmp_path / "out"
    use = f"for a run: data.manifest={out}/manifest.jsonl data.audio_root={out}/clips"
    assert caplog.messages[-1] == use
    caplog.clear()
    assert run_pipeline(config)
    assert "manifest.jsonl: done before" in caplog.text


def test_settings_that_nothing_would_read_are_refused(tmp_path: Path):
    for corpus, message in (("ravdess", r"source\.\* is for"), ("tables", "is not known; choose")):
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


def test_clips_in_no_folder_are_told_what_reads_their_names(tmp_path: Path):
    write_wav(tmp_path / "anna_sad_1.wav")
    with pytest.raises(UserError, match=r"lies in no folder of a label; source.pattern reads"):
        convert("folders", tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match=r"does not fit \(\?P<label>x\)"):
        convert("folders", tmp_path, tmp_path / "out", pattern="(?P<label>x)")
    flat = "(?P<speaker>[^_]+)_(?P<label>[^_]+)_.*"
    (row,) = convert("folders", tmp_path, tmp_path / "out", pattern=flat)
    assert (row["label"], row["speaker"]) == ("sad", "mine/anna")
