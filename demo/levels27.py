"""A task whose answer is what the reasoning says: 27 labels of pitch, energy and rate.

Run `python -m demo.levels27 FOLDER` to build its corpus into FOLDER/corpus27. Chance is 1 in 27, so
most groups of completions begin all wrong, where accuracy teaches nothing; whoever has two of the
three levels right reasons better than whoever has one, which a judge that measures can tell.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

from data.files import write_atomically
from demo.corpus import build_corpus
from demo.designs import TRIPLETS, Style
from demo.material import annotate_manifest
from demo.texts import ENERGY_LEVELS, PITCH_LEVELS, RATE_LEVELS

PITCHES = dict(zip(PITCH_LEVELS, (-18.0, 2.0, 24.0), strict=True))
ENERGIES_DB = dict(zip(ENERGY_LEVELS, (-7.0, 0.0, 7.0), strict=True))
RATES = dict(zip(RATE_LEVELS, (0.77, 1.0, 1.28), strict=True))
"""Means of the levels, in the units of `demo.designs.Style`."""


def label_of(levels: Mapping[str, str]) -> str:
    """Return the label of a clip with these levels."""
    return f"{levels['pitch']} pitch, {levels['energy']} energy, {levels['rate']} rate"


STYLES27 = {
    label_of({"pitch": pitch, "energy": energy, "rate": rate}): Style(
        RATES[rate], PITCHES[pitch], 45, ENERGIES_DB[energy], (0.0, 0.1), 0.0
    )
    for pitch, energy, rate in product(PITCHES, ENERGIES_DB, RATES)
}
"""The 27 labels: all that is not named is the same."""


def prepare27(
    root: Path,
    *,
    num_train: int = 1080,
    num_eval: int = 189,
    num_test: int = 540,
    num_cold_start: int = 297,
    seed: int = 0,
) -> Path:
    """Build `root/corpus27` if it is absent, and return it; complete or not at all.

    A label names the levels that the clip was drawn with, whatever its style tends to; `prosody` is
    measured from the clip.
    """
    folder = root / "corpus27"
    if folder.exists():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as unfinished:
        corpus = Path(unfinished) / "corpus"
        manifest = build_corpus(
            corpus,
            num_train=num_train,
            num_eval=num_eval,
            num_test=num_test,
            num_cold_start=num_cold_start,
            seed=seed,
            design=replace(TRIPLETS, styles=STYLES27),
        )
        rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
        for row in rows:
            row["label"] = label_of(row["settings"]["levels"])
        write_atomically(manifest, "".join(json.dumps(row) + "\n" for row in rows))
        annotate_manifest(manifest, corpus, choices=list(STYLES27))
        os.rename(corpus, folder)
    return folder


def main() -> None:
    """Build the corpus into the folder given on the command line."""
    parser = argparse.ArgumentParser(description="Build the corpus of the task with 27 labels.")
    parser.add_argument("root", type=Path, help="folder to build into")
    print(prepare27(parser.parse_args().root))


if __name__ == "__main__":
    main()
