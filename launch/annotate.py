#!/usr/bin/env python
"""Measure the prosody of a corpus and write it into a new manifest.

python launch/annotate.py --config FILE [key=value ...] [--output FILE] [--workers N]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

# The repository comes first on the path: its package names are common words.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.load import ConfigError, load_config
from configs.schema import DataConfig
from data.annotation import Outcome, annotate
from data.manifest import ManifestError, read_manifest

EXIT_DONE, EXIT_CONFIG, EXIT_FAILED = 0, 2, 4


def annotate_corpus(data: DataConfig, output: Path, num_workers: int) -> Outcome:
    """Annotate the manifest of a run's configuration, with progress on standard output.

    Args:
        data: says where the manifest and the clips are and which clips are too short or long.
        output: manifest to write.
        num_workers: processes.

    Raises:
        ManifestError: the manifest cannot be used.
    """
    examples = read_manifest(
        data.manifest,
        audio_root=data.audio_root,
        choices=data.choices,
        question_template=data.question,
    )
    return annotate(
        Path(data.manifest),
        examples,
        output,
        audio_root=Path(data.audio_root),
        min_duration_s=data.min_duration_s,
        max_duration_s=data.max_duration_s,
        num_workers=num_workers,
        log=lambda line: print(line, flush=True),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments without the program name; None = those of this process.

    Returns:
        The exit code: 0 done, 2 configuration or manifest, 4 failed or not one clip measured.
    """
    parser = argparse.ArgumentParser(description="Measure the prosody of a corpus.")
    parser.add_argument("--config", required=True, metavar="FILE", help="YAML file of the run")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="dotted settings over the file, such as data.manifest=mine.jsonl",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="manifest to write; manifest.prosody.jsonl beside manifest.jsonl unless given",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="processes; as many as there are cores unless given",
    )
    arguments = parser.parse_intermixed_args(argv)
    if arguments.workers < 1:
        parser.error(f"--workers is {arguments.workers}, needs at least 1")
    try:
        data = load_config(arguments.config, arguments.overrides).data
        manifest = Path(data.manifest)
        output = arguments.output or manifest.with_name(f"{manifest.stem}.prosody.jsonl")
        outcome = annotate_corpus(data, output, arguments.workers)
    except (ConfigError, ManifestError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    except (OSError, BrokenProcessPool) as error:
        print(f"error: {error}; run the same command again to go on", file=sys.stderr)
        return EXIT_FAILED
    print(f"{output}: {outcome.num_clips} rows, {outcome.num_measured} clips measured now")
    if outcome.num_failed:
        print(f"{outcome.num_failed} rows without prosody: see {output}.errors.jsonl")
    return EXIT_FAILED if outcome.num_failed == outcome.num_clips else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
