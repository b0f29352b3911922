#!/usr/bin/env python
"""What the data pipeline takes of a corpus of many rows: seconds and memory, stage by stage.

python benchmarks/annotate_rows.py [--quick] [--rows 20000 200000 1000000] [--stages ...]

Every stage runs in a process of its own, as `launch/annotate.py` runs it: `table` and `folders`
convert a source (`corpus=table`, `corpus=folders`), `corpus` takes a manifest. Clips of 0.1 s are
names for a few files; each row has its own words. Clips are hashed, but not measured, which is a
matter of cores (docs/performance.md): `prosody` has all measurements in its cache, and the stages
after it have drawn ones. The SFT file and the judge's have a tenth of the rows; the task
`comparison`, which alters clips, is left out.

CPU time is that of the stage and its processes. A million rows take some 7 GB of disk.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

# Instead of this folder, whose modules are named like our packages; workers inherit it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from annotate.measurements import measurement_key
from annotate.pipeline import Pipeline
from annotate.stages import Files
from benchmarks.options import Option, parse_options
from benchmarks.timing import print_machine, print_table
from configs.annotate_schema import (
    AnnotateConfig,
    JudgeRowsConfig,
    SourceConfig,
    SplitsConfig,
    TasksConfig,
)
from data.audio import wav_bytes
from data.files import iterate_rows, write_rows
from data.prosody.levels import INTONATIONS, LEVELS
from data.prosody.measure import VERSION, Prosody
from data.prosody.stress import read_words

LABELS = ("neutral", "happy", "sad", "angry")
SHARES = {"emotion": 2.0, "pitch": 1.0, "energy": 1.0, "rate": 1.0, "asr": 1.0, "text": 1.0}
ROWS_A_FILE = 10_000
"""Names that a file gets: file systems allow 65,000."""
ROWS_A_FOLDER = 1_000
CLIPS = r"(?P<session>\d+)/\d{4}(?P<speaker>\d\d)(?P<label>\d)"
"""What the stage `folders` takes from the path of a clip."""
STAGES: dict[str, Callable[[Pipeline], None]] = {
    "table": Pipeline.write_corpus,
    "folders": Pipeline.write_corpus,
    "corpus": Pipeline.write_corpus,
    "prosody": Pipeline.write_prosody,
    "reasoning": Pipeline.write_reasoning,
    "sft": Pipeline.write_sft,
    "probes": lambda pipeline: pipeline.write_probes("energy"),
    "judge": Pipeline.write_judge,
}

OPTIONS = {
    "rows": Option((20_000, 200_000, 1_000_000), "rows of the corpora", quick=(500, 1_000)),
    "stages": Option(tuple(STAGES), "stages that are run, in this order"),
    "workers": Option(2, "the pipeline's `workers`"),
    "folder": Option("", "where the corpora lie; by default a temporary folder"),
    "stage": Option("", "run one stage in the folder, in this process"),
}


def drawn_rows(num_rows: int) -> Iterator[dict[str, Any]]:
    """Yield rows of a manifest without prosody: 400 speakers, words of their own."""
    rng = np.random.default_rng(0)
    syllables = [a + b for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u")]
    for number in range(num_rows):
        drawn = [syllables[n] for n in rng.integers(len(syllables), size=14)]
        words = [one + other for one, other in zip(drawn[::2], drawn[1::2], strict=True)]
        yield {
            "id": f"clip-{number:07d}",
            "audio": f"audio/{number // ROWS_A_FOLDER:04d}/{number:07d}.wav",
            "label": LABELS[number % len(LABELS)],
            "speaker": f"speaker-{number % 400}",
            "text": " ".join(words),
            "dataset": "drawn",
        }


def drawn_prosody(rng: np.random.Generator) -> dict[str, Any]:
    """Return levels and distances as `data.prosody.levels.describe` writes them."""
    facts: dict[str, Any] = {}
    distances = rng.uniform(0, 2, 10).round(3).tolist()
    for name, levels in LEVELS.items():
        index = int(rng.integers(3))
        facts[name] = levels[index]
        facts[f"{name}_to_below"] = distances.pop() if index else None
        facts[f"{name}_to_above"] = distances.pop() if index < 2 else None
    facts["intonation"] = INTONATIONS[int(rng.integers(4))]
    for name in INTONATIONS:
        facts[f"intonation_to_{name}"] = None if name == facts["intonation"] else distances.pop()
    return facts | {"f0_median_hz": 180.0, "energy_dbfs": -24.5, "nuclei_per_s": 4.1}


def write_clips(folder: Path, num_rows: int) -> None:
    """Write a manifest, the same as a table, and their clips."""
    clip = wav_bytes(0.1 * np.random.default_rng(0).standard_normal(1_600))
    write_rows(folder / "drawn.jsonl", drawn_rows(num_rows))
    with (folder / "drawn.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["id", "audio", "label", "speaker", "text", "dataset"])
        table.writeheader()
        table.writerows(iterate_rows(folder / "drawn.jsonl"))
    for number, row in enumerate(iterate_rows(folder / "drawn.jsonl")):
        source, path = folder / f"{number // ROWS_A_FILE}.wav", folder / row["audio"]
        if not number % ROWS_A_FILE:
            source.write_bytes(clip)
        if not number % ROWS_A_FOLDER:
            path.parent.mkdir(parents=True)
        os.link(source, path)


def write_measured(files: Files) -> None:
    """Write the rows of the corpus with prosody, as if they had been measured."""
    rng = np.random.default_rng(1)
    rows = iterate_rows(files.corpus)
    write_rows(files.prosody, ({**row, "prosody": drawn_prosody(rng)} for row in rows))


def write_cached(folder: Path, files: Files) -> None:
    """Write rows whose words differ, and what a run that was stopped had measured: all of them."""
    content = (folder / "0.wav").read_bytes()
    rng = np.random.default_rng(2)
    names = [field.name for field in fields(Prosody)]
    unknown = {"contour": None, "letters_per_s": None, "stressed_words": None}

    def rows() -> Iterator[dict[str, Any]]:
        for row in iterate_rows(folder / "drawn.jsonl"):
            word = {"word": f"{row['text'].split()[0]}-{row['id']}", "start_s": 0.0, "end_s": 0.1}
            yield {**row, "words": [word]}

    def entries() -> Iterator[dict[str, Any]]:
        for row in iterate_rows(files.corpus):
            key = measurement_key(content, read_words(row["words"]))
            measured = dict(zip(names, rng.uniform(1, 9, len(names)).tolist(), strict=True))
            yield {"sha256": key, "version": VERSION, "prosody": measured | unknown}

    write_rows(files.corpus, rows())
    write_rows(files.prosody.with_name(f"{files.prosody.name}.cache.jsonl"), entries())


def files_of(stage: str, folder: Path) -> Files:
    """Return where a stage writes: those that others need nothing of, apart."""
    return Files(folder / stage if stage in ("table", "folders", "prosody") else folder)


def run_stage(stage: str, folder: Path, num_workers: int) -> dict[str, float]:
    """Run a stage and return its seconds, and the largest memory of this process in GB."""
    manifest = folder / "drawn.jsonl"
    with manifest.open("rb") as file:
        num_rows = sum(1 for _ in file)
    config = AnnotateConfig(
        manifest=str(manifest),
        root=str(folder),
        workers=num_workers,
        splits=SplitsConfig(by="speaker", allow=["sha256", "session"]),
        tasks=TasksConfig(num_rows=num_rows // 10, shares=SHARES, num_probes=500),
        judge=JudgeRowsConfig(num_rows=num_rows // 10, num_test_rows=100),
    )
    if stage in ("table", "folders"):
        config.corpus, config.manifest, config.labels = stage, "", "own"
        config.source = SourceConfig(name="drawn", files=[str(folder / "drawn.csv")])
    if stage == "folders":
        config.root, config.source = str(folder / "audio"), SourceConfig(pattern=CLIPS)
    start, started = time.perf_counter(), sum(os.times()[:4])
    STAGES[stage](Pipeline(config, files_of(stage, folder)))
    seconds, cpu = time.perf_counter() - start, sum(os.times()[:4]) - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"rows": num_rows, "seconds": seconds, "cpu": cpu, "gb": peak}


def in_new_process(stage: str, folder: Path, num_workers: int) -> dict[str, float]:
    """Run a stage in a process of its own, after what it needs is there."""
    files = files_of(stage, folder)
    files.folder.mkdir(exist_ok=True)
    if stage == "prosody":
        write_cached(folder, files)
    elif STAGES[stage] is not Pipeline.write_corpus and not files.prosody.exists():
        write_measured(files)
    command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
    command += ["--workers", str(num_workers)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


parse = partial(parse_options, __doc__, OPTIONS, takes_settings=False)


def main() -> None:
    """Measure and print."""
    parsed = parse()
    if parsed.stage:
        print(json.dumps(run_stage(parsed.stage, Path(parsed.folder), parsed.workers)))
        return
    print_machine()
    lines: list[list[str]] = []
    with tempfile.TemporaryDirectory(dir=parsed.folder or None) as temporary:
        for num_rows in parsed.rows:
            folder = Path(temporary, str(num_rows))
            folder.mkdir()
            start = time.perf_counter()
            write_clips(folder, num_rows)
            print(f"clips written in {time.perf_counter() - start:.1f} s", file=sys.stderr)
            for stage in parsed.stages:
                figures = in_new_process(stage, folder, parsed.workers)
                seconds = figures["seconds"]
                line = [stage, f"{num_rows:,}", f"{seconds:.1f}", f"{num_rows / seconds:,.0f}"]
                each = f"{1e6 * figures['cpu'] / num_rows:,.0f}"
                lines.append([*line, each, f"{figures['gb']:.2f}"])
                print(*lines[-1], file=sys.stderr, flush=True)
            shutil.rmtree(folder)
    print_table(["stage", "rows", "seconds", "rows/s", "CPU us a row", "GB"], lines)


if __name__ == "__main__":
    main()
