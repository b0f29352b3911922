"""Training, evaluation and test rows: whole speakers or sessions, or the corpus's own split."""

from __future__ import annotations

import difflib
import logging
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import UserError
from data.files import Row
from data.records import IntArray
from data.stored import text_column

logger = logging.getLogger(__name__)

SmallArray = NDArray[np.int8]

SPLITS = ("train", "eval", "test")
"""The splits that are made."""

NUM_DRAWS = 100
"""Draws of which the best is kept: first by labels that a split lacks, then by its shares."""

MAX_NAMED = 20
"""Names that one message lists."""


def draw_splits(
    rows: Sequence[Row],
    *,
    by: str,
    test: Sequence[str] = (),
    eval_: Sequence[str] = (),
    test_frac: float = 0.2,
    eval_frac: float = 0.1,
    seed: int = 0,
) -> SmallArray:
    """Return the split of each row, as its place in `SPLITS`.

    The same seed gives the same split, in whatever order the rows come. The rows are read a few
    times; what stays in memory is a few numbers of each.

    Args:
        rows: Rows of a manifest with `label` and, as `by` asks, `split`, `session` or `speaker`.
        by: `official` keeps the rows' own split; otherwise no session, or speaker, is parted, or
            each row (`id`) goes where it falls.
        test: Sessions or speakers of the test split. With any, it gets these and no others.
        eval_: The same for the evaluation split.
        test_frac: Share of all clips, in [0, 1), that the groups drawn for the test split come
            close to; 0 = none is drawn. Not used if `test` names groups.
        eval_frac: The same for the evaluation split.
        seed: Of the draw.

    Raises:
        UserError: No rows, rows without what `by` asks for, an unknown name, fractions that leave
            nothing to train on, or too few groups.
    """
    if not rows:
        raise UserError("there are no rows to split")
    if by == "official":
        _check_official(rows, [*test, *eval_])
        return np.fromiter((SPLITS.index(row["split"]) for row in rows), np.int8, len(rows))
    if by not in ("session", "speaker", "id"):
        raise UserError(f"by is {by!r}; choose from: official, session, speaker, id")
    _check_known(rows, by)
    names, groups = np.unique(text_column(row[by] for row in rows), return_inverse=True)
    labels, labelled = np.unique(text_column(row["label"] for row in rows), return_inverse=True)
    cells = np.bincount(groups * len(labels) + labelled, minlength=len(names) * len(labels))
    counts = cells.reshape(len(names), len(labels))
    splits = np.full(len(names), -1, np.int8)
    for name, split in _named(names, by, {"test": test, "eval": eval_}).items():
        splits[np.searchsorted(names, name.encode())] = SPLITS.index(split)
    shares = {"test": 0.0 if test else test_frac, "eval": 0.0 if eval_ else eval_frac}
    if min(shares.values()) < 0 or sum(shares.values()) >= 1:
        raise UserError(
            f"test_frac {test_frac:g} and eval_frac {eval_frac:g} must not be negative, and "
            "together stay below 1"
        )
    targets = {split: share * len(rows) for split, share in shares.items() if share > 0}
    free = np.flatnonzero(splits < 0)
    for split, places in _drawn(counts[free], by, targets, seed).items():
        splits[free[places]] = SPLITS.index(split)
    return splits[groups]


def usual_split(rows: Sequence[Row]) -> str:
    """Return what rows of a source are split by: what they have, the first of four."""
    by = next(
        (key for key in ("split", "speaker", "session") if any(row.get(key) for row in rows)), "id"
    )
    if by == "id":
        logger.info(
            "no row has a split, speaker or session: drawn clip by clip, so that one voice may be "
            "in two splits; name the column of speakers if there is one"
        )
    return "official" if by == "split" else by


def with_fold(rows: Sequence[Row], fold: int) -> list[dict[str, Any]]:
    """Return new rows, in the same order, whose `split` is as `fold_splits` says."""
    splits = fold_splits(rows, fold)
    return [{**row, "split": SPLITS[place]} for row, place in zip(rows, splits, strict=True)]


def fold_splits(rows: Sequence[Row], fold: int) -> SmallArray:
    """Return the split of each row, as its place in `SPLITS`: one fold is the test split.

    Rows of an official eval split stay there if the fold does not hold them; all others are trained
    on.

    Raises:
        UserError: No row has this fold, or no row is left to train on.
    """
    folds = Counter((row.get("dataset"), row.get("fold")) for row in rows)
    for dataset in sorted({dataset for dataset, _ in folds}, key=str):
        if not folds[dataset, fold]:
            there = sorted({f for name, f in folds if name == dataset and f is not None})
            raise UserError(
                f"splits.fold={fold}: no clip of {dataset} is in it; it has "
                + (f"the folds {', '.join(map(str, there))}" if there else "no folds")
            )
    names = (
        "test" if row.get("fold") == fold else "eval" if row.get("split") == "eval" else "train"
        for row in rows
    )
    splits = np.fromiter(map(SPLITS.index, names), np.int8, len(rows))
    if not (splits == SPLITS.index("train")).any():
        raise UserError(f"splits.fold={fold}: every row is in it, and none is left to train on")
    return splits


def _check_official(rows: Sequence[Row], named: Sequence[str]) -> None:
    if named:
        raise UserError(
            f"{named[0]!r} is named for a split, but the corpus's own split is kept; name groups "
            "with a split by session or speaker"
        )
    missing = sum(not row.get("split") for row in rows)
    if missing:
        raise UserError(
            f"{missing} of {len(rows)} rows have no official split; split by speaker or session"
        )
    other = sorted({str(row["split"]) for row in rows} - set(SPLITS))
    if other:
        raise UserError(f"split {other[0]!r} is none of {', '.join(SPLITS)}; rename it")


def _check_known(rows: Sequence[Row], by: str) -> None:
    missing = sum(not row.get(by) for row in rows)
    if missing:
        other = "session" if by == "speaker" else "speaker"
        raise UserError(
            f"{missing} of {len(rows)} rows have no {by}, and nobody could tell whether they leak: "
            f"add it, leave these rows out, or split by {other}, as the corpus does (official), or "
            "clip by clip (id; then splits.allow=[unknown_speaker])"
        )


def _named(
    column: NDArray[np.bytes_], by: str, names: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Return group -> split of the groups that are named; all groups are in the column, sorted."""
    splits: dict[str, str] = {}
    groups = [name.decode() for name in column.tolist()] if any(names.values()) else []
    for split, wanted in names.items():
        for name in wanted:
            if name not in groups:
                raise UserError(
                    f"no row has {by} {name!r}, named for {split}; {_near(name, groups)}"
                )
            if splits.get(name, split) != split:
                raise UserError(f"{by} {name!r} is named for both test and eval; keep one of them")
            splits[name] = split
    return splits


def _near(name: str, groups: Sequence[str]) -> str:
    # Speakers stand in a manifest as `corpus/speaker`, and people type the second half.
    near = [other for other in groups if other.rpartition("/")[2] == name]
    near = near or difflib.get_close_matches(name, groups, n=3)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    more = f" and {len(groups) - MAX_NAMED} more" if len(groups) > MAX_NAMED else ""
    return f"there are: {', '.join(groups[:MAX_NAMED])}{more}"


def _drawn(
    counts: IntArray, by: str, targets: Mapping[str, float], seed: int
) -> dict[str, list[int]]:
    """Return split -> groups that are not named, by their rows of the counts.

    Args:
        counts: [groups, labels] clips; the groups in the order of their names.
        by: What they are.
        targets: Split -> clips that it comes close to.
        seed: Of the draw.
    """
    if len(counts) < len(targets) + 1:
        wanted = ", ".join([*targets, "train"])
        raise UserError(
            f"{len(counts)} {by}s are left to be divided and {wanted} need at least one each: name "
            "fewer, set the fraction of a split to 0, or split by something finer"
        )
    counts = counts[:, counts.any(axis=0)]  # a label of named groups alone is nobody's lack
    rng = random.Random(seed)
    least = _least_badness(counts, targets)
    best, lowest = _draw(counts, targets, rng), (sys.maxsize, 0.0)
    for number in range(NUM_DRAWS):
        members = _draw(counts, targets, rng) if number else best
        badness = _badness(counts, members, targets)
        if badness < lowest:
            best, lowest = members, badness
        if lowest <= least:
            break  # no later draw can be better, and of equal ones the first is kept
    return best


def _least_badness(counts: IntArray, targets: Mapping[str, float]) -> tuple[int, float]:
    """Return what `_badness` cannot be below, however the groups fall."""
    holders = (counts > 0).sum(axis=0)
    missing = np.maximum(len(targets) + 1 - holders, 0).sum()
    return int(missing), sum(abs(float(round(n)) - n) for n in targets.values())


def _draw(
    counts: IntArray, targets: Mapping[str, float], rng: random.Random
) -> dict[str, list[int]]:
    """Return split -> groups: in a random order, each split takes what brings it closest."""
    order = list(range(len(counts)))
    rng.shuffle(order)
    members: dict[str, list[int]] = {}
    for number, (split, target) in enumerate(targets.items()):
        rest = len(targets) - number  # splits after this one, train among them: one group each
        sizes = counts[order[: len(order) - rest]].sum(axis=1).cumsum()
        end = int(np.abs(sizes - target).argmin()) + 1
        members[split], order = order[:end], order[end:]
    return {**members, "train": order}


def _badness(
    counts: IntArray, members: Mapping[str, Sequence[int]], targets: Mapping[str, float]
) -> tuple[int, float]:
    """Return how many labels the splits lack, and how many clips they are off."""
    totals = {split: counts[list(places)].sum(axis=0) for split, places in members.items()}
    missing = sum(int((total == 0).sum()) for total in totals.values())
    return missing, sum(abs(float(totals[split].sum()) - n) for split, n in targets.items())
