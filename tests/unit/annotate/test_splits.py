"""Splits that never part a speaker or session, and refusals that say what to do."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import annotate.splits as splits_module
from configs.errors import UserError
from tests.unit.make_rows import assign_splits

Row = dict[str, Any]


def rows_of(sizes: dict[str, int], labels: str = "ab", **fields: Any) -> list[Row]:
    """Return `sizes[speaker]` rows of each speaker, whose labels take turns."""
    return [
        {
            "id": f"{speaker}-{n}",
            "speaker": speaker,
            "session": speaker[0],
            "label": labels[n % len(labels)],
            **fields,
        }
        for speaker, size in sizes.items()
        for n in range(size)
    ]


def where(rows: list[Row], by: str = "speaker") -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row[by], set()).add(row["split"])
    return found


def refused(rows: list[Row], **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        assign_splits(rows, **options)
    return str(caught.value)


def test_named_groups_go_where_they_are_named_and_the_rest_trains():
    rows = rows_of({"a1": 4, "a2": 4, "b1": 4, "c1": 4})
    found = assign_splits(rows, by="session", test=["b"], eval_=["c"])
    assert where(found) == {"a1": {"train"}, "a2": {"train"}, "b1": {"test"}, "c1": {"eval"}}
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert all("split" not in row for row in rows)


def test_a_split_with_named_groups_gets_no_drawn_ones():
    rows = rows_of({f"s{n}": 10 for n in range(10)})
    found = assign_splits(rows, by="speaker", test=["s3"], test_frac=0.5, eval_frac=0.2)
    counts = Counter(row["split"] for row in found)
    assert counts == {"train": 70, "eval": 20, "test": 10}
    assert where(found)["s3"] == {"test"}


def test_shares_of_clips_not_of_groups_come_close_to_the_fractions():
    # 200 clips, half of them in one session: the only way to 25 % and 10 % leaves it to train.
    sizes = {"a": 100, "b": 20, "c": 30, "d": 20, "e": 30}
    for seed in range(5):
        found = assign_splits(
            rows_of(sizes), by="speaker", test_frac=0.25, eval_frac=0.1, seed=seed
        )
        assert Counter(row["split"] for row in found) == {"train": 130, "test": 50, "eval": 20}
    found = assign_splits(rows_of(sizes), by="speaker", test_frac=0.25, eval_frac=0)
    assert Counter(row["split"] for row in found) == {"train": 150, "test": 50}


def test_every_label_gets_into_every_split_if_it_can():
    # Three of twelve speakers have the rare label, one for each split.
    rows = [row | {"label": "common"} for row in rows_of({f"s{n:02}": 5 for n in range(12)})]
    for speaker in ("s02", "s07", "s11"):
        next(row for row in rows if row["speaker"] == speaker)["label"] = "rare"
    for seed in range(10):
        found = assign_splits(rows, by="speaker", test_frac=0.25, eval_frac=0.25, seed=seed)
        rare = {row["split"] for row in found if row["label"] == "rare"}
        assert rare == {"train", "eval", "test"}
        counts = Counter(row["split"] for row in found)
        assert counts == {"train": 30, "eval": 15, "test": 15}


def test_the_split_depends_on_the_seed_and_not_on_the_order():
    rows = rows_of({f"s{n}": 3 + n % 4 for n in range(12)})
    mixed = random.Random(1).sample(rows, len(rows))
    found = [where(assign_splits(rows, by="speaker", seed=seed)) for seed in (0, 1, 2)]
    assert where(assign_splits(mixed, by="speaker", seed=0)) == found[0]
    assert not found[0] == found[1] == found[2]


@settings(max_examples=60, database=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=3, max_size=25),
    by=st.sampled_from(["speaker", "session"]),
    fractions=st.tuples(st.floats(0.01, 0.5), st.floats(0.01, 0.45)),
    seed=st.integers(0, 1000),
)
def test_no_group_is_ever_parted(
    sizes: list[int], by: Literal["speaker", "session"], fractions: tuple[float, float], seed: int
):
    rows = rows_of({f"{'abcdefg'[n % 7]}{n}": size for n, size in enumerate(sizes)}, "abc")
    found = assign_splits(rows, by=by, test_frac=fractions[0], eval_frac=fractions[1], seed=seed)
    assert all(len(splits) == 1 for splits in where(found, by).values())
    assert {row["split"] for row in found} == {"train", "eval", "test"}
    assert [{**row, "split": None} for row in found] == [{**row, "split": None} for row in rows]


def test_the_official_split_is_kept_or_refused():
    rows = rows_of({"a": 2}, split="train")
    rows[1]["split"] = "test"
    assert assign_splits(rows, by="official") == rows
    assert "'a' is named" in refused(rows, by="official", test=["a"])
    rows[1]["split"] = "dev"
    assert "split 'dev' is none of train, eval, test" in refused(rows, by="official")
    del rows[1]["split"]
    assert "1 of 2 rows have no official split" in refused(rows, by="official")


def test_unknown_names_come_with_near_ones():
    rows = rows_of({"ravdess/01": 2, "ravdess/02": 2, "ravdess/12": 2})
    message = refused(rows, by="speaker", test=["02"])
    assert "'02', named for test; did you mean 'ravdess/02'?" in message
    assert "did you mean 'ravdess/12'" in refused(rows, by="speaker", eval_=["ravdes/12"])
    assert "there are: ravdess/01, ravdess/02, ravdess/12" in refused(
        rows, by="speaker", test=["zz"]
    )
    both = refused(rows, by="speaker", test=["ravdess/01"], eval_=["ravdess/01"])
    assert "both test and eval" in both


def test_what_cannot_be_split_is_refused_with_a_way_out():
    rows = rows_of({"a": 3, "b": 3})
    assert "no rows" in refused([], by="speaker")
    few = refused(rows, by="speaker")
    assert "2 speakers are left to be divided and test, eval, train need at least one each" in few
    assert "1 speakers are left to be divided and eval, train need" in refused(
        rows, by="speaker", test=["a"]
    )
    assert "0 speakers" in refused(rows, by="speaker", test=["a"], eval_=["b"])
    assert "stay below 1" in refused(rows, by="speaker", test_frac=0.6, eval_frac=0.4)
    assert "must not be negative" in refused(rows, by="speaker", test_frac=-0.1)
    assert "choose from: official" in refused(rows, by="sex")
    rows[1]["speaker"] = None
    del rows[4]["speaker"]
    message = refused(rows, by="speaker")
    assert "2 of 6 rows have no speaker" in message and "split by session" in message


def test_a_draw_that_cannot_be_bettered_ends_the_search(monkeypatch: pytest.MonkeyPatch):
    num_draws = 0
    draw = splits_module._draw

    def counted(*arguments: Any) -> dict[str, list[int]]:
        nonlocal num_draws
        num_draws += 1
        return draw(*arguments)

    rows = rows_of({"a": 300})
    monkeypatch.setattr(splits_module, "_draw", counted)
    found = assign_splits(rows, by="id", seed=3)
    assert num_draws < splits_module.NUM_DRAWS / 10
    # All draws, the best of them: the same rows.
    monkeypatch.setattr(splits_module, "_least_badness", lambda *_: (-1, 0.0))
    num_draws = 0
    assert assign_splits(rows, by="id", seed=3) == found
    assert num_draws == splits_module.NUM_DRAWS
