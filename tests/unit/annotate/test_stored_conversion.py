"""Conversions and measurements whose rows stay on disk: the files and words of before, bounded."""

from __future__ import annotations

import hashlib
import json
import logging
import random
from contextlib import redirect_stdout
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from annotate.pipeline import Pipeline
from annotate.stages import Files
from configs.annotate_schema import AnnotateConfig, SourceConfig, SplitsConfig
from configs.errors import UserError
from data.files import write_rows
from data.prosody.measure import VERSION, Prosody
from data.prosody.stress import read_words
from launch import dataset
from tests.unit.corpus_files import write_clip
from tests.unit.make_rows import draw_rows
from tests.unit.source_files import LABELS, WRITERS, Row, facts, table, write_wav

NUM_ROWS = 48


def write_corpus(root: Path, *, is_read: bool) -> list[Row]:
    """Clips in an order that is not that of their ids: one is absent, and one no sound at all.

    The latter is refused where a source `is_read` for its parts.
    """
    rows = [facts(number * 29 % NUM_ROWS) for number in range(NUM_ROWS)]
    for number, row in enumerate(rows):
        write_wav(root / row["audio"], number)
    if not is_read:
        (root / rows[7]["audio"]).write_bytes(b"RIFF, but no more")
    (root / rows[9]["audio"]).rename(root / "elsewhere.wav")
    return rows


def write_parquet(root: Path, rows: list[Row], folder: Path) -> list[Path]:
    """A table that holds its clips itself; two have one name."""
    there = [row for row in rows if (root / row["audio"]).is_file()]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    held = [{"bytes": (root / r["audio"]).read_bytes(), "path": r["audio"]} for r in there]
    held[5]["path"], held[6]["path"] = None, held[0]["path"]
    names = ("label", "speaker", "sex", "text", "split")
    columns = {name: [row[name] for row in there] for name in names}
    parquet.write_table(pyarrow.table({"audio": pyarrow.array(held, kind), **columns}),
                        folder / "a.parquet")  # fmt: skip
    return [folder / "a.parquet"]


def write_parts(root: Path, rows: list[Row], folder: Path) -> list[Path]:
    """A table of parts of the clips, and of whole ones."""
    lines = [{**row, "start": 0.02 * (n % 3), "id": None} for n, row in enumerate(rows)]
    write_rows(folder / "parts.jsonl", lines)
    return [folder / "parts.jsonl"]


def write_folders(root: Path, rows: list[Row], folder: Path) -> list[Path]:
    """Nothing beside the clips; one that is in no folder of a label is left out."""
    return []


def write_faults(root: Path, rows: list[Row], folder: Path) -> list[Path]:
    """A table with clips of one id, and with cells that nothing is known of."""
    lines = ["a.wav,sad,x,", "b.wav,sad,x,", "c.wav,sad,y,", "d.wav,sad,,", "a.wav,sad,z,"]
    lines += ["e.wav,sad,x,", "a.wav,sad,w,", "more/f.wav,sad,v,maybe"]
    write_wav(root / "more/f.wav")
    for number, name in enumerate("abcde"):
        write_wav(root / f"{name}.wav", number)
    (root / "copy").mkdir()
    for path in sorted(root.glob("?.wav")):
        (root / "copy" / path.name).write_bytes(path.read_bytes())
        lines.append(f"copy/{path.name},sad,copy of {path.name},")
    return [table(folder / "faults.csv", "path,emotion,id,gender", lines)]


SOURCES = WRITERS | {
    "faults": ("table", write_faults),
    "folders": ("folders", write_folders),
    "parquet": ("table", write_parquet),
    "parts": ("table", write_parts),
}


def digest_of(said: list[str], folder: Path, paths: list[Path]) -> str:
    """Hash files and messages, wherever their folder is."""
    whole = "\n".join(said).replace(str(folder), "FOLDER").encode()
    for path in paths:
        whole += path.name.encode() + (path.read_bytes() if path.exists() else b"")
    return hashlib.sha256(whole.replace(str(folder).encode(), b"FOLDER")).hexdigest()[:12]


class Said(logging.Handler):
    """Collects the messages of a block."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> list[str]:
        logging.getLogger().addHandler(self)
        logging.getLogger().setLevel(logging.INFO)
        return self.lines

    def __exit__(self, *error: object) -> None:
        logging.getLogger().removeHandler(self)


GRID = """File type = "ooTextFile"
Object class = "TextGrid"

0 0.1 <exists> 1 "IntervalTier" "words" 0 0.1 2 0 0.05 "sentence" 0.05 0.1 "{}"
"""


def write_alignments(rows: list[Row], folder: Path) -> None:
    """Words of some clips: a file of each, or lines of one file that are not together."""
    folder.mkdir()
    lines: list[str] = []
    for number, row in enumerate(rows):
        last = row["text"].split()[1]
        if number % 4 == 0:
            (folder / row["id"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{row['id']}.TextGrid").write_text(GRID.format(last))
        elif number % 4 == 1:
            lines.insert(0, f"{row['id']} 1 0.01 0.03 sentence")
            lines.append(f"{row['id']} 1 0.04 0.04 {last if number % 3 else 'other'}")
    (folder / "some.ctm").write_text("\n".join(lines))


def converted(name: str, folder: Path, *, aligned: bool = False) -> str:
    """Convert a source, and say what came of it."""
    root, tables, output = folder / "clips", folder / "tables", folder / "out"
    for each in (root, tables, output):
        each.mkdir(parents=True)
    kind, write = SOURCES[name]
    rows = write_corpus(root, is_read=kind in ("kaldi", "lhotse") or name == "parts")
    if kind != "chat":
        rows[11] = rows[11] | {"label": ""}
    paths = write(root, rows, tables)
    config = AnnotateConfig(
        corpus=kind,
        root=str(root),
        labels="own",
        workers=2,
        source=SourceConfig(name="mine", files=list(map(str, paths)), missing="skip"),
        splits=SplitsConfig(allow=["transcript", "unknown_speaker"]),
    )
    if aligned:
        write_alignments(rows, folder / "words")
        config.alignments = str(folder / "words")
    files = Files(output)
    with Said() as said:
        try:
            Pipeline(config, files).write_corpus()
        except UserError as error:
            said.append(f"{error}")
    errors = files.corpus.with_name("corpus.jsonl.errors.jsonl")
    clips = sorted(path for path in files.clips.rglob("*") if path.is_file())
    return digest_of(said, folder, [files.corpus, errors, *clips])


GOLDEN = {
    "csv": "cebcee6441df",
    "tsv": "d2fa156c5891",
    "json": "cfe2f05278ba",
    "jsonl": "4bc4cfa7a735",
    "swift": "1e233568abf7",
    "llama_factory": "6676c7900572",
    "kaldi": "b5446d1703cb",
    "lhotse": "15c164340483",
    "cuts": "5707f06c3876",
    "faults": "f76977a032c5",
    "folders": "298ac8c85493",
    "parquet": "4da9f65dd06a",
    "parts": "1bf11bbccd13",
    "ravdess": "f9c68610da03",
    "prosody": "103067b78555",
    "aligned": "c69ba2733643",
    "check": "069841872c5f",
    "leaks": "d20741055378",
    "stats": "d0a0d65ec3d4",
}


@pytest.mark.parametrize("name", SOURCES)
def test_sources_give_the_files_and_messages_of_before(name: str, tmp_path: Path):
    """The digests were written by the code that held all clips in memory."""
    assert converted(name, tmp_path) == GOLDEN[name]


def test_alignments_give_the_file_and_messages_of_before(tmp_path: Path):
    assert converted("csv", tmp_path, aligned=True) == GOLDEN["aligned"]


def converted_ravdess(folder: Path) -> str:
    """Convert a corpus that has a reader, with a song and a stray file that are left out."""
    root, files = folder / "clips", Files(folder / "out")
    files.folder.mkdir(parents=True)
    for actor in (2, 1, 13, 14):
        for emotion in ("05", "02", "07"):
            name = f"03-01-{emotion}-02-01-01-{actor:02d}"
            write_clip(root / f"Actor_{actor:02d}/{name}.wav", hz=100 + actor + int(emotion))
    write_clip(root / "Actor_01/03-02-05-02-01-01-01.wav", hz=99)
    (root / "Actor_01/note.mp4").write_bytes(b"")
    config = AnnotateConfig(corpus="ravdess", root=str(root), workers=1)
    with Said() as said:
        Pipeline(config, files).write_corpus()
    return digest_of(said, folder, [files.corpus])


def test_a_named_corpus_gives_the_file_and_messages_of_before(tmp_path: Path):
    assert converted_ravdess(tmp_path) == GOLDEN["ravdess"]


def drawn_measurements(draw: random.Random) -> dict[str, Any]:
    """What the cache holds of one clip."""
    measured = {each.name: draw.uniform(1, 9) for each in fields(Prosody)}
    whole = ("num_pauses", "voiced_frames")
    measured |= {name: draw.randint(0, 30) for name in whole}
    measured |= {"contour": None, "letters_per_s": None, "stressed_words": None}
    return measured | {"f0_median_hz": None if draw.random() < 0.2 else draw.uniform(80, 300)}


def measured(folder: Path) -> str:
    """Write the prosody of clips whose measurements are in the cache, and say what came of it."""
    root, files = folder / "clips", Files(folder / "out")
    files.folder.mkdir(parents=True)
    draw, rows = random.Random(3), []
    for number in range(120):
        name = f"{number:03d}.wav"
        write_wav(root / name, number if number != 50 else 49)  # two files of one content
        row = {"id": f"c{number}", "audio": name, "label": LABELS[number % 4], "dataset": "d"}
        row |= {"text": "we go"} if number % 5 else {}
        row |= {"speaker": f"s{min(number // 22, number % 7)}"} if number % 9 else {}
        row |= {"sex": ("female", "male")[number % 2]} if number % 4 else {}
        rows.append(row)
    words = [{"word": "so", "start_s": 0.0, "end_s": 0.1}]
    rows[20]["words"] = words
    rows[30]["audio"] = rows[31]["audio"]  # a clip of two rows
    rows[31]["words"] = words  # the last of them says which words it has
    write_rows(files.corpus, rows)
    cache = files.prosody.with_name("prosody.jsonl.cache.jsonl")
    entries: list[Row] = []
    for number in range(120):
        key = hashlib.sha256((root / f"{number:03d}.wav").read_bytes()).hexdigest()
        if number in (20, 31):
            key += "-" + hashlib.sha256(repr(read_words(words)).encode()).hexdigest()[:16]
        facts = drawn_measurements(draw)
        facts["stressed_words"] = ["so"] if "-" in key else None
        entries.append({"sha256": key, "version": VERSION, "prosody": facts})
    (root / "040.wav").write_bytes(b"RIFF, but no more")
    entries.insert(3, entries[5] | {"version": VERSION - 1})
    write_rows(cache, entries)
    cache.write_bytes(cache.read_bytes() + b'{"sha256": "cut o')
    config = AnnotateConfig(manifest="drawn", root=str(root), workers=1, min_duration_s=0.05)
    with Said() as said:
        Pipeline(config, files).write_prosody()
    errors = files.prosody.with_name("prosody.jsonl.errors.jsonl")
    return digest_of(said, folder, [files.prosody, errors, cache])


def test_prosody_gives_the_files_and_messages_of_before(tmp_path: Path):
    assert measured(tmp_path) == GOLDEN["prosody"]


def looked_at(command: str, folder: Path) -> str:
    """Look at a corpus by a command, and say what it printed and wrote."""
    draw, rows = random.Random(4), draw_rows(150, seed=7)
    for number, row in enumerate(rows):
        path = folder / row["audio"]
        write_wav(path, number if number % 40 else 1)  # four files of one content
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        row |= {"label": LABELS[number % 3], "duration_s": 0.1 + 0.2 * (number == 9)}
        row |= {"split": ("train", "test", "mine")[number % 7 % 3]} if number % 11 else {}
        row |= {"speaker": f"s{number // 9}"} if number % 13 else {}
        row |= {"sha256": sha256} if number % 2 else {}
        row["prosody"] |= {"f0_median_hz": draw.uniform(80, 300) if number % 4 else None}
        row["prosody"] |= {"energy_dbfs": draw.uniform(-50, 0), "nuclei_per_s": 4}
        row["prosody"] = row["prosody"] if number % 10 else None
    rows[20]["audio"] = rows[21]["audio"]
    if command == "check":
        rows[22]["sha256"] = "0" * 64
        (folder / rows[23]["audio"]).write_bytes(b"RIFF, but no more")
    write_rows(folder / "m.jsonl", rows)
    config = folder / "run.yaml"
    data = {"manifest": str(folder / "m.jsonl"), "audio_root": str(folder), "choices": [*LABELS]}
    config.write_text(json.dumps({"data": data}))
    more = {"stats": ("--figure", "figure.svg")}.get(command, ("--output", "found.jsonl"))
    with redirect_stdout(StringIO()) as said:
        code = dataset.main([command, "--config", str(config), more[0], str(folder / more[1])])
    return digest_of([f"{code}", said.getvalue()], folder, [folder / "found.jsonl"])


@pytest.mark.parametrize("command", ["check", "leaks", "stats"])
def test_a_look_at_a_corpus_says_what_it_said(command: str, tmp_path: Path):
    assert looked_at(command, tmp_path) == GOLDEN[command]
