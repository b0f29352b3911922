"""Precision and recall of the claims parser on hand-labelled sentences.

`python -m tests.unit.data.prosody.claims_set` prints the table of docs/claims.md. How the sentences
are labelled stands in tests/data/claims_key.md.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.prosody.claims import find_claims
from evaluation.statistics import mean_share_interval

HALVES = ("tuned", "untouched")
_DATA = Path(__file__).parents[3] / "data"


@dataclass(frozen=True, slots=True)
class Score:
    """How claims that were found agree with those that were expected."""

    hits: int
    found: int
    expected: int

    @property
    def precision(self) -> float:
        """Share of the found claims that were expected; 1 if none was found."""
        return self.hits / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of the expected claims that were found; 1 if none was expected."""
        return self.hits / self.expected if self.expected else 1.0


def sentences(name: str = "claims") -> list[dict[str, Any]]:
    """Return the set, or that of `claims_strangers`, where each row has its `writer` too.

    Its rows have `text`, `claims`, `kind` and `half`; those of `claims_kinds` no half.
    """
    lines = (_DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def read(text: str) -> Counter[str]:
    """Return the parser's claims as the set writes them, `!pitch high` and `rate fast|normal`."""
    return Counter(
        f"{'!' if claim.negated else ''}{claim.attribute} {'|'.join(sorted(claim.levels))}"
        for claim in find_claims(text)
    )


def score(rows: Iterable[Mapping[str, Any]]) -> Score:
    """Return the score over all claims of some sentences; one that is repeated counts once."""
    hits = found = expected = 0
    for row in rows:
        claims, wanted = set(read(row["text"])), set(row["claims"])
        hits += len(claims & wanted)
        found += len(claims)
        expected += len(wanted)
    return Score(hits, found, expected)


def table(name: str = "claims", by: str = "kind") -> Iterator[str]:
    """Yield the lines of a Markdown table by kind (or writer) and half; empty without sentences."""
    rows = sentences(name)
    yield f"| {by} | sentences | claims | precision tuned | untouched | recall tuned | untouched |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for value in [*dict.fromkeys(row[by] for row in rows), "all"]:
        chosen = [row for row in rows if value in (row[by], "all")]
        halves = [score(row for row in chosen if row["half"] == half) for half in HALVES]
        tuned, untouched = halves
        cells = [
            f"{tuned.precision:.2f}" if tuned.expected else "",
            _share(untouched.hits, untouched.found),
            f"{tuned.recall:.2f}" if tuned.expected else "",
            _share(untouched.hits, untouched.expected),
        ]
        num_claims = sum(s.expected for s in halves)
        yield f"| {value} | {len(chosen)} | {num_claims} | {' | '.join(cells)} |"


def _share(hits: int, num: int) -> str:
    """Return a share with its 95 % interval (Wilson's, over claims) and number; empty without."""
    if not num:
        return ""
    ends = mean_share_interval([(hits, num)])
    return f"{hits / num:.2f} ({ends.low:.2f} to {ends.high:.2f}, {num})"


def milliseconds() -> float:
    """Return the time that one sentence takes, in ms: the best of five passes over the set."""
    texts = [row["text"] for row in sentences()]
    passes: list[float] = []
    for _ in range(5):
        start = time.perf_counter()
        for text in texts:
            find_claims(text)
        passes.append(time.perf_counter() - start)
    return 1000 * min(passes) / len(texts)


if __name__ == "__main__":
    print("\n".join([*table(), "", *table("claims_strangers", "writer")]))
    print(f"{milliseconds():.3f} ms per sentence")
    if "errors" in sys.argv:  # of the tuned half alone
        for row in sentences():
            wrong = read(row["text"]), Counter(row["claims"])
            if row["half"] == "tuned" and wrong[0] != wrong[1]:
                print(row["kind"], "|", row["text"])
                print("    extra", list(wrong[0] - wrong[1]), "missed", list(wrong[1] - wrong[0]))
