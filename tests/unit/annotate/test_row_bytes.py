"""What a row holds in memory while a source is converted, measured or looked at: some numbers."""

from __future__ import annotations

import gc
import os
import random
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from annotate.inspect.commands import COMMANDS
from annotate.measurements import measurement_key
from annotate.pipeline import Pipeline
from annotate.stages import Files
from configs.annotate_schema import AnnotateConfig, SourceConfig, SplitsConfig
from configs.schema import RunConfig
from data import manifest, stored, workers
from data.files import write_rows
from data.prosody.measure import VERSION
from data.prosody.stress import read_words
from data.workers import worker_pool
from tests.unit.annotate.test_stored_conversion import (
    SOURCES,
    drawn_measurements,
    write_alignments,
)
from tests.unit.make_rows import draw_rows
from tests.unit.source_files import Row, facts, write_wav


def link_clips(root: Path, num_rows: int) -> list[Row]:
    """Describe as many clips, which are names of one file."""
    write_wav(root / "a.wav")
    rows = [facts(number) for number in range(num_rows)]
    for row in rows:
        (root / row["audio"]).parent.mkdir(parents=True, exist_ok=True)
        os.link(root / "a.wav", root / row["audio"])
    (root / "a.wav").unlink()
    return rows


Run = Callable[[], object]


def conversion(name: str, folder: Path, num_rows: int) -> Run:
    """Return what converts a source of as many rows."""
    root, tables, files = folder / "clips", folder / "tables", Files(folder / "out")
    for path in (tables, files.folder):
        path.mkdir(parents=True)
    kind, write = SOURCES[name]
    rows = link_clips(root, num_rows)
    config = AnnotateConfig(
        corpus=kind,
        root=str(root),
        labels="own",
        workers=1,
        source=SourceConfig(name="mine", files=list(map(str, write(root, rows, tables)))),
        splits=SplitsConfig(allow=["transcript", "unknown_speaker", "sha256"]),
    )
    if name == "csv":
        write_alignments(rows, folder / "words")
        config.alignments = str(folder / "words")

    def run() -> None:
        files.facts.unlink(missing_ok=True)
        Pipeline(config, files).write_corpus()

    return run


def measuring(folder: Path, num_rows: int) -> Run:
    """Return what writes the prosody of as many clips, all of them in the cache."""
    root, files, draw = folder / "clips", Files(folder / "out"), random.Random(1)
    files.folder.mkdir(parents=True)
    rows, entries = link_clips(root, num_rows), list[Row]()
    content = (root / rows[0]["audio"]).read_bytes()
    for row in rows:
        row["words"] = [{"word": row["id"], "start_s": 0.0, "end_s": 0.1}]
        key = measurement_key(content, read_words(row["words"]))
        entries.append({"sha256": key, "version": VERSION, "prosody": drawn_measurements(draw)})
    write_rows(files.corpus, rows)
    write_rows(files.prosody.with_name("prosody.jsonl.cache.jsonl"), entries)
    config = AnnotateConfig(manifest="drawn", root=str(root), workers=1, min_duration_s=0.05)
    return Pipeline(config, files).write_prosody


def checking(folder: Path, num_rows: int) -> Run:
    """Return what looks at as many clips of different content."""
    for number, row in enumerate(rows := draw_rows(num_rows, seed=5)):
        write_wav(folder / row["audio"], number)
        row["label"] = "sad"
    write_rows(folder / "m.jsonl", rows)
    config = RunConfig()
    config.data.manifest, config.data.audio_root = str(folder / "m.jsonl"), str(folder)
    return partial(COMMANDS["check"].run, config, output=None, workers=1)


MAKES: dict[str, Callable[[Path, int], Run]] = {
    **{name: partial(conversion, name) for name in ("csv", "folders", "parquet")},
    "prosody": measuring,
    "check": checking,
}


def peak_of(run: Run) -> int:
    """Bytes that are held at most, beyond what is there before."""
    gc.collect()
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def growth_per_row(folder: Path, name: str, few: int = 100, many: int = 400) -> float:
    """Bytes by which the peak grows with each row; in a process without other caches."""
    stored.COLUMN_PART, stored.FRESH_HASHES, stored.BLOCK_BYTES = 50, 64, 2**10
    manifest.PART_BYTES = 2**12
    workers.LOT_ITEMS = 2  # a thread that lags leaves more rows under way
    runs = {number: MAKES[name](folder / str(number), number) for number in (few, many)}
    gc.freeze()
    gc.set_threshold(700, 3, 3)  # what waits to be collected is not held by anybody
    peaks = [peak_of(runs[number]) for number in (many, few, many)]  # the first fills caches
    return (peaks[2] - peaks[1]) / (many - few)


ROW_BYTES = 150
"""Clips of a source took 800 before, measurements and a look at clips 2,000 and more."""


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKES)
def test_a_row_takes_hashes_and_numbers(tmp_path: Path, name: str):
    with worker_pool(1) as pool:
        assert pool.submit(growth_per_row, tmp_path, name).result() < ROW_BYTES
