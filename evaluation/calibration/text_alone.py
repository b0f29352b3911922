"""What a judge's texts give away by themselves: the scores of a reader without the clip.

A judge that hears is above it; one that is not has read the text's style and nothing of the voice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer

from data.prosody.claims import find_claims
from evaluation.calibration.probes import probes_of
from rewards.judges.rows import JudgeRow

TEXT_ALONE = "the text, without the clip"
"""Its name among the judges of a calibration."""

NUM_TREES, MIN_LEAF = 200, 3
MAX_TRAIN, MAX_WORDS = 5_000, 2_000
"""Training texts (of more, evenly spaced ones) and different tokens, the most frequent; 4,000 texts
of 500 different tokens take about 2 s."""


def text_alone(
    scored: Sequence[dict[str, Any]],
    rows: Sequence[JudgeRow],
    train: Sequence[JudgeRow],
    *,
    seed: int,
) -> list[dict[str, Any]]:
    """Return the lines of `scores.jsonl` as a reader without the clip would score them.

    A random forest on how often a text has each word and each claim, and on its length.

    Args:
        scored: Lines of a judge, at least one of them scored.
        rows: The held-out rows that they are about.
        train: Rows to learn from; those that are held out are not learnt.
        seed: Of the forest.

    Returns:
        The same lines with the forest's scores, of the judge's dimensions; none if there is nothing
        to learn from.
    """
    held_out = {row.example.id for row in rows}
    learnt = [row for row in train if row.example.id not in held_out]
    if not learnt:
        return []
    learnt = learnt[:: -(-len(learnt) // MAX_TRAIN)]
    names = list(next(line["scores"] for line in scored if line["scores"]))
    counter = CountVectorizer(analyzer=_tokens, max_features=MAX_WORDS)
    counts = counter.fit_transform([row.example.reasoning or "" for row in learnt]).toarray()
    targets = np.array([[row.scores[name] for name in names] for row in learnt])
    forest = RandomForestRegressor(
        NUM_TREES,
        min_samples_leaf=MIN_LEAF,
        max_features="sqrt",  # type: ignore[arg-type]
        random_state=seed,
    )
    forest.fit(counts, targets.ravel() if len(names) == 1 else targets)
    texts = {probe.id: probe.reasoning for some in probes_of(rows).values() for probe in some}
    scores = forest.predict(counter.transform([texts[line["id"]] for line in scored]).toarray())
    return [
        {**line, "missing": "", "scores": dict(zip(names, of_line, strict=True))}
        for line, of_line in zip(scored, scores.reshape(len(scored), -1).tolist(), strict=True)
    ]


def _tokens(text: str) -> list[str]:
    """Return the words, one more token for each, so that their number is counted, and claims."""
    words = text.lower().split()
    claims = [f"{c.attribute}: {'not ' * c.negated}{c.level}" for c in find_claims(text)]
    return [*words, *["a word"] * len(words), *claims]
