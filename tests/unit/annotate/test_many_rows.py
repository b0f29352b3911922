"""Stages on rows that stay on disk: the same files as ever, memory that hardly grows."""

from __future__ import annotations

import gc
import hashlib
import itertools
import json
import random
import tracemalloc
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotate.corpora import facts
from annotate.cot import duplicates
from annotate.cot.duplicates import Duplicates
from annotate.cot.filters import WORD
from annotate.pipeline import Pipeline
from annotate.sources import tables
from annotate.stages import Files
from configs.annotate_schema import AnnotateConfig, JudgeRowsConfig, SplitsConfig, TasksConfig
from data import stored
from data.files import read_rows, write_rows
from data.stored import HashMap, RowsById, StoredRows, text_column, text_hash
from data.workers import worker_pool
from tests.unit.make_rows import draw_rows

SHARES = {"emotion": 2.0, "pitch": 1.0, "energy": 1.0, "asr": 1.0, "text": 1.0}


def pipeline(folder: Path, num_rows: int) -> Pipeline:
    """A pipeline whose rows are measured; their words are their own."""
    rows = draw_rows(num_rows, seed=5)
    for number, row in enumerate(rows):
        row["speaker"] = f"speaker-{number % 40}"
        row["text"] = f"{row['text']} {' '.join(str(number).translate(str.maketrans(NAMES)))}"
        row["split"] = "test" if number % 5 == 0 else "train"
    (folder / "out").mkdir(parents=True)
    files = Files(folder / "out")
    write_rows(files.prosody, rows)
    config = AnnotateConfig(
        manifest="drawn",
        root=str(folder),
        workers=1,
        splits=SplitsConfig(by="speaker", allow=["transcript"]),
        tasks=TasksConfig(num_rows=200, shares=SHARES, num_probes=50),
        judge=JudgeRowsConfig(num_rows=200, num_test_rows=50),
    )
    config.reasoning.review = 0
    return Pipeline(config, files)


NAMES = dict(zip("0123456789", "abcdefghij", strict=True))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def test_the_files_are_those_of_the_stages_that_held_all_rows(tmp_path: Path):
    """The digests were written by the stages as they were before rows stayed on disk.

    Probes had no measurements then.
    """
    made = pipeline(tmp_path, 400)
    made.write_reasoning()
    made.write_sft()
    made.write_probes("energy")
    made.write_judge()
    files = made.files
    probes = read_rows(files.probe("energy"))
    assert all(row.pop("prosody")["energy"] == row["label"] for row in probes)
    write_rows(files.probe("energy"), probes)
    paths = (files.manifest, files.journal, files.sft, files.probe("energy"), files.judge)
    assert [digest(path) for path in paths] == GOLDEN


GOLDEN = ["02dbd2f0007e", "545ee69ceed5", "81bdb62c1541", "720513dce6a1", "66082163a50f"]


def growth_per_row(folder: Path, stage: str, few: int = 200, many: int = 800) -> float:
    """Bytes by which the peak of a stage grows with each row; in a process without other caches."""
    duplicates.FIRST_TEXTS, duplicates.FRESH_RUNS = 50, 100
    made = {number: pipeline(folder / str(number), number) for number in (few, many)}
    for each in made.values():
        if stage != "write_reasoning":
            write_rows(each.files.manifest, read_rows(each.files.prosody))
            each.config.tasks.shares = {"pitch": 1.0, "asr": 1.0}
    peaks: list[int] = []
    gc.freeze()
    gc.set_threshold(200, 2, 2)  # what waits to be collected is not held by anybody
    for num_rows in (many, few, many):  # the first round fills caches
        gc.collect()
        made[num_rows].files.journal.unlink(missing_ok=True)
        tracemalloc.start()
        getattr(made[num_rows], stage)()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return (peaks[2] - peaks[1]) / (many - few)


ROW_BYTES = 200
"""A row of the test is 700 bytes on disk and 2,000 as Python objects."""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["write_reasoning", "write_sft", "write_judge"])
def test_a_row_takes_hashes_and_numbers(tmp_path: Path, stage: str):
    with worker_pool(1) as pool:
        assert pool.submit(growth_per_row, tmp_path, stage).result() < ROW_BYTES


def test_duplicates_are_those_of_comparing_every_pair(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(duplicates, "FIRST_TEXTS", 60)
    monkeypatch.setattr(duplicates, "FRESH_RUNS", 50)
    draw = random.Random(2)
    texts: list[str] = []
    for _ in range(400):
        words = draw.choice(texts).split() if texts and draw.random() < 0.7 else []
        words = words or [draw.choice("abcdefgh") * 2 for _ in range(draw.randint(1, 40))]
        for _ in range(draw.choice([0, 1, 1, 4])):
            words[draw.randrange(len(words))] = draw.choice("ijkl")
        texts.append(" ".join(words))
    kept = Duplicates(texts.__getitem__, 0.7)
    runs: dict[int, set[tuple[str, ...]]] = {}
    num_copies = 0
    for name, text in enumerate(texts):
        words = WORD.findall(text)
        own = {tuple(words[i : i + 4]) for i in range(max(1, len(words) - 3))}
        alike = (n for n, held in runs.items() if len(own & held) >= 0.7 * len(own | held))
        first = next(alike, None)
        assert kept.find(text) == first
        num_copies += first is not None
        if first is None:
            kept.keep(name, text)
            runs[name] = own
    assert 100 < num_copies < 300


def test_a_stopped_conversion_reads_no_clip_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = [tmp_path / f"{n}.wav" for n in range(200)]
    for path in paths:
        path.write_text(path.name)
    read: list[str] = []

    def read_facts(path: Path) -> dict[str, Any] | str:
        read.append(path.name)
        return "is bad" if path.name == "7.wav" else {"sha256": path.read_text()}

    monkeypatch.setattr(facts, "file_facts", read_facts)
    journal = tmp_path / "facts.jsonl"
    first = list(itertools.islice(facts.facts_of(iter(paths), journal, 1), 100))
    assert len(read) < 200
    read.clear()
    paths[3].write_text("changed, and longer")
    every = list(facts.facts_of(paths, journal, 1))
    assert every[:3] == first[:3] and every[7] == "is bad"
    assert every[3] == {"sha256": "changed, and longer"}
    assert {"3.wav", "7.wav"} <= set(read) and not {"0.wav", "99.wav"} & set(read)
    read.clear()
    assert list(facts.facts_of(paths, journal, 2)) == every
    assert read == ["7.wav"]


def test_stored_rows_are_those_of_the_file(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    rows = [{"id": name, "n": number} for number, name in enumerate(["b", "a", "\u00e9", "c"])]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\ufeff" + "\n\n".join(lines), encoding="utf-8")
    kept = StoredRows.of(path)
    write_rows(path, [])  # another file of this name
    assert list(StoredRows.spooled(kept, tmp_path)) == list(kept) == rows
    assert (kept[1], kept[-1], kept[1:3]) == (rows[1], rows[3], rows[1:3])
    with pytest.raises(IndexError):
        kept[4]
    odd = kept.where(lambda row: row["n"] % 2 == 1).changed(lambda row: {**row, "new": True})
    assert list(odd.chosen(np.array([1, 0]))) == [rows[3] | {"new": True}, rows[1] | {"new": True}]
    by_id = RowsById(kept)
    assert by_id["\u00e9"] == rows[2] and by_id.get("d") is None
    assert "".join(by_id) == "ba\u00e9c"
    column = text_column(row["id"] for row in kept)
    assert np.argsort(column).tolist() == [1, 0, 3, 2]


def test_hashes_have_the_number_that_came_last(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stored, "FRESH_HASHES", 7)
    draw, found, wanted = random.Random(6), HashMap(), dict[int, int]()
    for number in range(500):
        key = text_hash(str(draw.randrange(200)))
        assert found.get(key) == wanted.get(key)
        found.put(key, number)
        wanted[key] = number
    assert [found.get(key) for key in wanted] == list(wanted.values())
    assert set(found.hashes().tolist()) == set(wanted)
    assert text_hash("a") == 0x40F89E395B66422F


@pytest.mark.parametrize("part", [1, 2, 5, 100])
def test_a_json_list_is_read_part_by_part(part: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "PART", part)
    items = [{"a": "]}, {"}, [1e-7, -2.5, 12345], '\u00e9\\"', None, [], {}, 31]
    for text in (json.dumps(items), f" {json.dumps(items, indent=1)}\n"):
        assert list(tables.list_items(StringIO(text))) == items
    assert list(tables.list_items(StringIO("[]"))) == []
    for text in ("", "[", "[1", "[1,]", "[1 2]", "[1]]", "[,1]", "{}", '["a', "[1] 2"):
        with pytest.raises(ValueError):
            list(tables.list_items(StringIO(text)))
