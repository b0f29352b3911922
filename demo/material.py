"""What the demo needs before it can start: the tiny checkpoint and the corpus.

Run `python -m demo.material FOLDER` to build both.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annotate.measurements import annotate
from configs.schema import NINE_LABELS, DataConfig
from data.manifest import read_manifest
from data.workers import worker_pool
from demo.corpus import build_corpus
from demo.designs import DEMO, DESIGNS, Design


@dataclass(frozen=True, slots=True)
class Material:
    """Where the demo's inputs lie."""

    checkpoint: Path
    """Folder of the untrained policy."""
    corpus: Path
    """Folder that the clips' paths are relative to; holds `manifest.jsonl`."""


def prepare(
    root: Path,
    *,
    num_train: int = 1000,
    num_eval: int = 180,
    num_test: int = 540,
    num_cold_start: int | None = None,
    seed: int = 0,
    design: Design = DEMO,
) -> Material:
    """Build `root/checkpoint` and the design's corpus, each only if its folder is absent.

    The corpus is annotated as any other would be: its `prosody` is measured from the clips.
    Folders appear complete or not at all, so one that exists is taken as it is, whatever sizes and
    seed it was built with; remove it to build it anew.
    """
    material = Material(checkpoint=root / "checkpoint", corpus=root / design.folder)
    root.mkdir(parents=True, exist_ok=True)
    # One beside the other: the corpus keeps one core busy, as espeak's next clip depends on its
    # last.
    with worker_pool(1) as pool:
        checkpoint = None
        if not material.checkpoint.exists():
            checkpoint = pool.submit(_build_checkpoint, material.checkpoint, seed)
        if not material.corpus.exists():
            with tempfile.TemporaryDirectory(dir=root) as unfinished:
                corpus = Path(unfinished) / "corpus"
                manifest = build_corpus(
                    corpus,
                    num_train=num_train,
                    num_eval=num_eval,
                    num_test=num_test,
                    num_cold_start=design.num_cold_start
                    if num_cold_start is None
                    else num_cold_start,
                    seed=seed,
                    design=design,
                )
                annotate_manifest(manifest, corpus)
                corpus.rename(material.corpus)
        if checkpoint is not None:
            checkpoint.result()
    return material


def _build_checkpoint(folder: Path, seed: int) -> None:
    from demo.checkpoint import build_checkpoint  # imports torch: seconds, not for a look

    build_checkpoint(folder, seed=seed)


def annotate_manifest(
    manifest: Path, corpus: Path, choices: Sequence[str] = tuple(NINE_LABELS)
) -> None:
    """Measure the prosody of all clips of a manifest and write it into its rows."""
    data = DataConfig()
    examples = read_manifest(
        manifest, audio_root=corpus, choices=choices, question_template=data.question
    )
    annotate(
        manifest,
        examples,
        manifest,
        audio_root=corpus,
        min_duration_s=data.min_duration_s,
        max_duration_s=data.max_duration_s,
        num_workers=len(os.sched_getaffinity(0)),
    )


def main() -> None:
    """Build both into the folder given on the command line."""
    parser = argparse.ArgumentParser(description="Build the demo's checkpoint and corpus.")
    parser.add_argument("root", type=Path, help="folder to build into")
    parser.add_argument("--design", choices=DESIGNS, default="demo", help="corpus to build")
    parsed = parser.parse_args()
    print(prepare(parsed.root, design=DESIGNS[parsed.design]))


if __name__ == "__main__":
    main()
