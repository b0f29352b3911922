"""The same clips as every kind of source describes them."""

from __future__ import annotations

import gzip
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np

from annotate.corpora.convert import convert_clips
from annotate.sources.read import read_source, source_labels
from configs.annotate_schema import AnnotateConfig, SourceConfig

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


def hf_metadata(**features: Any) -> dict[bytes, bytes]:
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
