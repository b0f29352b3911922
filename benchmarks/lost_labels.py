"""Which labels RL gives up: those that the cold start answers rarely, or seldom first?

`python -m benchmarks.lost_labels COLD_START=AFTER_RL ...`: evaluations of the same clips, the cold
starts with `eval.samples`. Prints each label's share of its clips' sampled answers, that of the
answer it loses most to, the share of its clips where it is the most frequent answer, and without a
right one among the samples (a group that teaches nothing); then the recall after RL, and the rank
correlations of the two over labels, one a seed.
"""

from __future__ import annotations

import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from scipy import stats

from data.files import Row
from evaluation.files import read_answers

HEADS = ("answered", "rival", "first", "all wrong", "greedy")
"""What is known of a label before RL."""


def before_rl(rows: Sequence[Row]) -> tuple[float, ...]:
    """Return the numbers of `HEADS` of a label, from the answers to its clips."""
    label = rows[0]["label"]
    votes = [row["votes"] for row in rows]
    counts = Counter(vote for sampled in votes for vote in sampled)
    total = counts.total()
    right = counts.pop(label, 0) / total
    return (
        right,
        max(counts.values(), default=0) / total,
        statistics.fmean(Counter(v).most_common(1)[0][0] == label for v in votes),
        statistics.fmean(label not in sampled for sampled in votes),
        statistics.fmean(row["correct"] for row in rows),
    )


def main(pairs: Sequence[str]) -> None:
    """Print a line a label and pair of evaluations, then the correlations."""
    correlations: list[list[float]] = []
    print(f"{'':24}{''.join(f'{head:>11}' for head in (*HEADS, 'after RL'))}")
    for pair in pairs:
        cold, after = (read_answers(Path(run)) for run in pair.split("="))
        by_label: dict[str, list[Row]] = defaultdict(list)
        for row in cold:
            by_label[row["label"]].append(row)
        recall = {
            label: statistics.fmean(row["correct"] for row in after if row["label"] == label)
            for label in by_label
        }
        numbers = {label: before_rl(rows) for label, rows in by_label.items()}
        for label, values in numbers.items():
            print(f"{label:24}{''.join(f'{v:11.2f}' for v in (*values, recall[label]))}")
        columns = zip(*numbers.values(), strict=True)
        correlations.append([stats.spearmanr(c, list(recall.values())).statistic for c in columns])
    for head, values in zip(HEADS, zip(*correlations, strict=True), strict=True):
        print(f"{head:24}{' '.join(f'{value:+.2f}' for value in values)}")


if __name__ == "__main__":
    main(sys.argv[1:])
