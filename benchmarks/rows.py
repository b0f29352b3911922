#!/usr/bin/env python
"""What a run does with its manifest before the first step: seconds and memory by number of rows.

python benchmarks/rows.py [--quick] [--rows 8000 16000 32000 64000] [--workers 2] [--out FILE]

Rows have the fields that the demo's have (2 kB), each a clip of its own of 0.1 s: a name for one of
a few files. Every size is measured in a process of its own, which imports neither torch nor vLLM.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
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

from benchmarks.options import Option, parse_options
from benchmarks.timing import print_machine, print_table
from data.audio import wav_bytes
from data.headers import read_headers
from data.loader import manifest_digest
from data.manifest import clips_of, read_manifest
from data.prosody.measure import Prosody

LABELS = ("neutral", "happy", "sad", "angry")
ROWS_A_FILE = 10_000
"""Names that a file gets: file systems allow 65,000."""
PARTS = ("load", "headers", "digest", "order", "clips")

OPTIONS = {
    "rows": Option((8_000, 16_000, 32_000, 64_000), "rows of the manifests", quick=(500, 1_000)),
    "workers": Option(2, "data.num_workers"),
    "out": Option("", "write the figures to this JSON Lines file as well"),
    "folder": Option("", "where the clips lie; by default a temporary folder"),
    "measure": Option(False, "measure what lies in the folder, in this process"),
}


def rows_like_the_demos(num_rows: int) -> Iterator[dict[str, Any]]:
    """Yield rows with the fields of the demo's manifest; numbers are drawn."""
    draw = np.random.default_rng(0)
    names = [field.name for field in fields(Prosody)]
    for number in range(num_rows):
        numbers = [round(float(value), 3) for value in 100 * draw.standard_normal(2 * len(names))]
        words = f"the number of this row is {number}".split()
        yield {
            "id": f"train-{number:07d}",
            "audio": f"audio/{number // 1000:04d}/{number:07d}.wav",
            "label": LABELS[number % len(LABELS)],
            "speaker": f"speaker-{number % 40}",
            "split": "train" if number % 10 else "eval",
            "text": " ".join(words),
            "words": [
                {"word": word, "start_s": start, "end_s": start + 0.1}
                for word, start in zip(words, numbers, strict=False)
            ],
            "dataset": "synthetic",
            "reasoning": f"The pitch is high and the voice has {numbers[0]} of everything else.",
            "prosody": {"pitch": "high", "energy": "low", "rate": "normal", "intonation": "flat"}
            | dict(zip(names, numbers, strict=False))
            | {f"{name}_to": value for name, value in zip(names, reversed(numbers), strict=False)},
        }


def write_corpus(folder: Path, num_rows: int) -> None:
    """Write a manifest and its clips."""
    clip = wav_bytes(0.1 * np.random.default_rng(0).standard_normal(1_600))
    with (folder / "manifest.jsonl").open("w", encoding="utf-8") as manifest:
        for number, row in enumerate(rows_like_the_demos(num_rows)):
            manifest.write(json.dumps(row) + "\n")
            source = folder / f"{number // ROWS_A_FILE}.wav"
            if not number % ROWS_A_FILE:
                source.write_bytes(clip)
            path = folder / row["audio"]
            if not number % 1000:
                path.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, path)


def peak_gb(whose: int) -> float:
    """Return the largest memory of this process, or of the largest of its children that ended."""
    return resource.getrusage(whose).ru_maxrss * 1024 / 1e9


def measure(folder: Path, num_workers: int) -> dict[str, float]:
    """Return the seconds of each part, and the largest memory in GB."""
    seconds: dict[str, float] = {}
    manifest = folder / "manifest.jsonl"

    def part(name: str, function: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = function()
        seconds[f"{name}_s"] = time.perf_counter() - start
        return result

    rows = part(
        "load",
        lambda: read_manifest(
            manifest,
            audio_root=folder,
            choices=LABELS,
            question_template="Which emotion? {choices}.",
            num_workers=num_workers,
        ),
    )
    headers = part(
        "headers",
        lambda: read_headers(
            rows, folder, min_duration_s=0.05, max_duration_s=30, num_workers=num_workers
        ),
    )
    part("digest", lambda: manifest_digest(rows))
    part("order", lambda: np.random.default_rng([0, 0]).permutation(len(rows)))
    part("clips", lambda: sum(1 for _ in clips_of(manifest)))
    if len(headers) != len(rows) or any(isinstance(header, str) for header in headers.values()):
        raise RuntimeError("a clip was refused")
    memory = {
        "gb": peak_gb(resource.RUSAGE_SELF),
        "worker_gb": peak_gb(resource.RUSAGE_CHILDREN),
        "manifest_gb": manifest.stat().st_size / 1e9,
    }
    return seconds | memory | {"rows": len(rows)}


def in_new_process(num_rows: int, parsed: argparse.Namespace) -> dict[str, float]:
    """Make a corpus and measure it; a folder that is named keeps its corpus."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(parsed.folder or temporary)
        if not (folder / "manifest.jsonl").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_corpus(folder, num_rows)
        command = [sys.executable, __file__, "--measure", "--folder", str(folder)]
        command += ["--workers", str(parsed.workers)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout)


parse = partial(parse_options, __doc__, OPTIONS, takes_settings=False)


def main() -> None:
    """Measure and print."""
    parsed = parse()
    if parsed.measure:
        print(json.dumps(measure(Path(parsed.folder), parsed.workers)))
        return
    print_machine()
    results = [in_new_process(num_rows, parsed) for num_rows in parsed.rows]
    if parsed.out:
        Path(parsed.out).write_text("".join(json.dumps(row) + "\n" for row in results), "utf-8")
    header = ["rows", "manifest GB", *(f"{name} s" for name in PARTS), "GB", "GB of a worker"]
    print_table(
        header,
        [
            [
                f"{row['rows']:,}",
                f"{row['manifest_gb']:.2f}",
                *(f"{row[f'{name}_s']:.2f}" for name in PARTS),
                f"{row['gb']:.2f}",
                f"{row['worker_gb']:.2f}",
            ]
            for row in results
        ],
    )


if __name__ == "__main__":
    main()
