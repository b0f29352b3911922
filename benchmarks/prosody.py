#!/usr/bin/env python
"""What measuring prosody costs: clips a second, times real time, by workers and over Ray.

python benchmarks/prosody.py [--quick] [--clips 1200] [--rounds 3] [--workers 2]

A corpus of the demo's speech is made and measured as `launch/annotate.py` does it, cache and files
included, with one worker, with several, and over a Ray of as many CPUs on this machine, in turns.
The profile is of one process.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

# Instead of this folder, whose modules are named like our packages.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import ray

from annotate.measurements import annotate
from benchmarks.options import Option, parse_options
from benchmarks.timing import in_turns, print_machine, print_table, spread, timed
from configs.schema import NINE_LABELS
from data.audio import probe, read_audio
from data.manifest import read_manifest
from data.prosody.measure import measure
from data.records import Example
from data.workers import WorkerMap, worker_map
from demo.corpus import build_corpus
from launch.ray_map import ray_map

SHOWN = 8
"""Functions of the profile that are printed."""

OPTIONS = {
    "clips": Option(1200, "clips of the corpus", quick=40),
    "rounds": Option(3, "rounds, each way in turn", quick=1),
    "workers": Option(2, "compared with one"),
}


def measured(
    examples: list[Example],
    corpus: Path,
    folder: Path,
    num_workers: int,
    clip_map: WorkerMap = worker_map,
) -> Callable[[], float]:
    """Return a timed annotation of a corpus into a new file, nothing cached."""

    def run() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            annotate(
                corpus / "manifest.jsonl",
                examples,
                Path(fresh) / "prosody.jsonl",
                audio_root=corpus,
                min_duration_s=0.1,
                max_duration_s=30.0,
                num_workers=num_workers,
                clip_map=clip_map,
            )

    return timed(run)


def print_profile(examples: list[Example], corpus: Path) -> None:
    """Print where the time of one process goes, by the time within each function."""
    profile = cProfile.Profile()
    profile.enable()
    for example in examples:
        path = corpus / example.audio
        measure(read_audio(path, min_duration_s=0.1, max_duration_s=30.0), example.transcript)
    profile.disable()
    stats = pstats.Stats(profile).get_stats_profile()
    total = sum(entry.tottime for entry in stats.func_profiles.values())
    ranked = sorted(stats.func_profiles.items(), key=lambda pair: -pair[1].tottime)[:SHOWN]
    print_table(
        ["function", "share of the time", "ms per clip"],
        [
            [name, f"{entry.tottime / total:.1%}", f"{1000 * entry.tottime / len(examples):.2f}"]
            for name, entry in ranked
        ],
    )


def main() -> None:
    """Make the corpus, measure it, print the tables."""
    options = parse_options(__doc__, OPTIONS, takes_settings=False)
    num_clips, num_rounds = options.clips, options.rounds
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        manifest = build_corpus(
            corpus, num_train=num_clips, num_eval=0, num_test=0, num_cold_start=0, seed=0
        )
        examples = read_manifest(
            manifest, audio_root=corpus, choices=NINE_LABELS, question_template=""
        )
        duration_s = sum(probe(corpus / example.audio).duration_s for example in examples)
        way = partial(measured, examples, corpus, Path(folder))
        ways = {f"{n} worker{'s' if n > 1 else ''}": way(n) for n in (1, options.workers)}
        ray.init(
            "local",
            num_cpus=options.workers,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": sys.path[0]}},
        )
        ways[f"Ray, {options.workers} CPUs"] = way(options.workers, ray_map)
        seconds = in_turns(ways, num_rounds)
        one = seconds["1 worker"]
        print_table(
            ["way", "clips/s", "x real time", "speed against one worker"],
            [
                [
                    name,
                    spread([num_clips / value for value in values], digits=0),
                    spread([duration_s / value for value in values], digits=0),
                    spread([a / b for a, b in zip(one, values, strict=True)], digits=2),
                ]
                for name, values in seconds.items()
            ],
        )
        print_profile(examples, corpus)


if __name__ == "__main__":
    main()
