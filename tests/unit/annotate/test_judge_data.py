"""Training data for a judge: the scores of a text are what the text deserves."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotate.cot.lexicon import find_mentions, without_quotes
from annotate.cot.template import ENDINGS
from annotate.judge_data import (
    BARE,
    DIMENSIONS,
    FILLERS,
    NOUNS,
    OPEN_ENDINGS,
    REASONS,
    balanced,
    from_runs,
    prescribed,
)
from configs.errors import UserError
from configs.schema import NINE_LABELS
from data.records import Completion, Example, Group, Prompt, RewardTerms, ScoredGroup
from rewards.judges import base
from rewards.judges.base import JudgeContext
from rewards.judges.measured import MeasuredJudge
from tests.unit.make_rows import ATTRIBUTES, draw_rows
from trainer.metrics import sample_rows
from trainer.metrics_writer import MetricsWriter
from trainer.run_folder import RunFolder

ROWS = draw_rows(300, seed=9, nearest=0.0, missing=0.2)
TEXTS = prescribed(ROWS, 900, seed=1)
"""Borderline levels included."""


def prompt_of(row: dict[str, Any]) -> Prompt:
    example = Example("a", "a.wav", row["label"], "?", tuple(NINE_LABELS), prosody=row["prosody"])
    return Prompt(example, "", np.zeros(0, dtype=np.int64), None, 0)


def last_words(row: dict[str, Any]) -> list[str]:
    """The words of a text's conclusion."""
    lines = without_quotes(row["reasoning"]).lower().replace("\n", ". ").rstrip(". ")
    return re.sub("[,:]", "", lines.rpartition(". ")[2]).split()


def test_the_dimensions_are_those_of_the_judges():
    assert DIMENSIONS == base.DIMENSIONS


def test_facts_and_coverage_are_what_a_measuring_judge_finds():
    """With m of n attributes told, k of them truly, its coverage is k/n = k/m x m/n: to it what is
    told falsely is not told."""
    judge = MeasuredJudge(JudgeContext("clips"), margin=0.25)
    for row in TEXTS:
        (found,) = judge.judge(prompt_of(row), [without_quotes(row["reasoning"])])
        facts, told = (
            (row["scores"][name] - 1) / 4 for name in ("factual_alignment", "caption_completeness")
        )
        assert found.scores["factual_alignment"] == pytest.approx(1 + 4 * facts), row["reasoning"]
        assert found.scores["caption_completeness"] == pytest.approx(1 + 4 * facts * told)


def test_scores_by_hand():
    """Of two measured attributes: one told, so 3 for coverage; true or false, so 5 or 1. None told:
    1 and 1."""
    prosody = {"pitch": "low", "pitch_to_above": 1.0, "energy": "high", "energy_to_below": 1.0}
    row = {"id": "a", "audio": "a.wav", "label": "sad", "prosody": prosody}
    seen = Counter()
    for text in prescribed([row], 200, seed=0):
        facts = text["scores"]["factual_alignment"], text["scores"]["caption_completeness"]
        seen[facts] += 1
    assert 6 < seen.pop((1.0, 1.0)) < 30
    assert seen.keys() == {(1.0, 3.0), (5.0, 3.0), (1.0, 5.0), (3.0, 5.0), (5.0, 5.0)}
    assert all(20 < n < 80 for n in seen.values())


def test_texts_without_claims_and_sentences_without_content():
    empty = [row for row in TEXTS if row["scores"]["caption_completeness"] == 1.0]
    assert 40 < len(empty) < 115  # a twelfth of 900
    for row in empty:
        assert row["scores"]["factual_alignment"] == row["scores"]["interpretative_quality"] == 1.0
        assert sum(filler[:-1].lower() in row["reasoning"].lower() for filler in FILLERS) == 1
    fillers = Counter(
        sum(filler[:-1].lower() in row["reasoning"].lower() for filler in FILLERS)
        for row in TEXTS
        if row["scores"]["caption_completeness"] > 1.0
    )
    assert fillers.keys() == {0, 1} and 150 < fillers[1] < 265  # a quarter of 825


def test_what_is_hardly_false_is_not_told_falsely():
    """Between two cuts that are both near, every other level is half true."""
    near = {"pitch": "normal", "pitch_to_below": 0.2, "pitch_to_above": 0.25}
    far = {"energy": "low", "energy_to_above": 0.9}
    row = {"id": "a", "audio": "a.wav", "label": "sad", "prosody": {**near, **far}}
    scores = {text["scores"]["factual_alignment"] for text in prescribed([row], 100, seed=0)}
    assert scores == {1.0, 3.0, 5.0}
    for text in prescribed([row], 100, seed=0):
        assert "the pitch is high" not in text["reasoning"].lower()
        if "pitch" not in text["reasoning"]:
            continue
        assert text["scores"]["factual_alignment"] > 1.0 or "energy" in text["reasoning"].lower()


def test_conclusions_are_of_their_level():
    bare = [{word for word in way.lower().replace(".", "").split() if "{" not in word}
            for way in BARE]  # fmt: skip
    linked = [{word for word in way.lower().replace(",", "").split() if "{" not in word}
              for way in ENDINGS]  # fmt: skip
    nouns = {noun.removeprefix("the ") for noun in NOUNS.values()}
    levels = Counter()
    for row in TEXTS:
        level = int(row["scores"]["interpretative_quality"])
        levels[level] += 1
        named = {mention.label for mention in find_mentions(row["reasoning"], NINE_LABELS)}
        if level == 1:
            assert not named
        elif level == 2:
            assert len(named) == 1 and row["label"] not in named
        else:
            assert named == {row["label"]}, row["reasoning"]
        words = set(last_words(row))
        assert (len(words & nouns) == 2) == (level == 5)
        assert any(way <= words for way in linked) == (level == 4)
        assert (level in (2, 3)) <= any(way <= words for way in bare)
    assert levels.keys() == {1, 2, 3, 4, 5}


FRAMES = [
    re.sub(r"\\{\w+\\}", ".+", re.escape(re.sub("[.,:]", "", frame).lower()))
    for frame in (*ENDINGS, *BARE, *REASONS, *OPEN_ENDINGS)
]


def is_in_order(row: dict[str, Any]) -> bool:
    """Whether the last sentence reads as it was written, words said twice aside."""
    words = last_words(row)
    once = [word for word, after in pairwise([*words, ""]) if word != after]
    return any(re.fullmatch(frame, " ".join(once)) for frame in FRAMES)


def test_every_fluency_can_be_told_from_the_others():
    in_order = Counter()
    for row in TEXTS:
        level = int(row["scores"]["fluency_and_structural_clarity"])
        bare = without_quotes(row["reasoning"])
        assert (bare == bare.lower()) == (level in (1, 4))
        assert ("." not in bare) == ("\n" in bare) == (level == 1)
        num_doubled = sum(one == other for one, other in pairwise(last_words(row)))
        if level >= 3:  # a shuffling may bring "is" beside "is"
            assert (num_doubled > 0) == (level == 3)
        in_order[level, is_in_order(row)] += 1
    assert not any(in_order[level, False] for level in (3, 4, 5))
    # "It is disgust or contempt" is all right after all.
    assert in_order[1, True] + in_order[2, True] <= 5


def test_a_shuffled_sentence_is_never_left_as_it_was():
    prosody = {"pitch": "low", "energy": "high"}
    row = {"id": "a", "audio": "a.wav", "label": "fear", "prosody": prosody}
    found = 0
    for text in prescribed([row], 400, seed=0):
        if text["scores"]["fluency_and_structural_clarity"] <= 2:
            found += 1
            assert not text["reasoning"].lower().rstrip(".").endswith("it is fear")
    assert found > 100


def test_levels_are_spread_evenly():
    texts = prescribed(draw_rows(200, seed=4, missing=0.0), 2_000, seed=3)
    by_name = {name: Counter(row["scores"][name] for row in texts) for name in DIMENSIONS}
    # Four attributes: 1 to 4 are told, each as often, 458; none in a twelfth of the texts, 167.
    assert 130 < by_name["caption_completeness"].pop(1) < 205
    assert by_name["caption_completeness"].keys() == {2, 3, 4, 5}
    assert all(400 < n < 520 for n in by_name["caption_completeness"].values())
    assert all(340 < n < 460 for n in by_name["fluency_and_structural_clarity"].values())
    # A fifth each, and where only one is told, a quarter each and none at 5: 0.2125, 0.15; all of
    # that for eleven of twelve, and 1 where nothing is told.
    quality = by_name["interpretative_quality"]
    assert 490 < quality[1] < 625
    assert all(330 < quality[level] < 450 for level in (2, 3, 4))
    assert 220 < quality[5] < 330
    # Of m that are told, 0 to m are true, each as often.
    facts: dict[float, Counter[float]] = defaultdict(Counter)
    for row in texts:
        facts[row["scores"]["caption_completeness"]][row["scores"]["factual_alignment"]] += 1
    for told, coverage in enumerate((2.0, 3.0, 4.0, 5.0), start=1):
        counts = facts[coverage]
        assert set(counts) == {1 + 4 * k / told for k in range(told + 1)}
        expected = counts.total() / (told + 1)
        assert all(0.7 * expected < n < 1.35 * expected for n in counts.values())


def test_rows_of_prescribed_texts():
    texts = prescribed(ROWS, 900, seed=1)
    assert texts == TEXTS
    assert prescribed(ROWS, 900, seed=2) != TEXTS
    held_out = prescribed(ROWS, 900, seed=1, name="held_out")
    assert held_out[7] == {**TEXTS[7], "id": "held_out/000007"}
    assert len({row["id"] for row in texts}) == len(texts) == 900
    usable = [r for r in ROWS if sum(r["prosody"][name] is not None for name in ATTRIBUTES) >= 2]
    clips = Counter(row["clip"] for row in texts)
    assert clips.keys() == {row["id"] for row in usable}
    assert max(clips.values()) - min(clips.values()) <= 1
    first = next(row for row in ROWS if row["id"] == texts[0]["clip"])
    assert {key: texts[0][key] for key in ("audio", "label", "text", "split", "prosody")} == {
        key: first[key] for key in ("audio", "label", "text", "split", "prosody")
    }
    with pytest.raises(UserError, match="annotate the manifest first"):
        prescribed([{**ROWS[0], "prosody": None}], 3, seed=0)


def scored_group(texts: list[str], scores: list[dict[str, float | None] | None]) -> ScoredGroup:
    tokens, nats = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.float32)
    completions = tuple(Completion(tokens, nats, text, "stop", 3) for text in texts)
    group = Group(Prompt(Example(**EXAMPLE), "", tokens, None, 0), completions)
    values = tuple(None if one is None else 0.6 for one in scores)
    details = tuple({} if one is None else {"scores": one, "missing": ""} for one in scores)
    terms = RewardTerms({"reasoning": values}, {"reasoning": details})
    return ScoredGroup(group, terms, {"reasoning": 0.5}, 1.0, (0.0,) * len(texts))


EXAMPLE: dict[str, Any] = {
    "id": "clip-0",
    "audio": "clip-0.wav",
    "label": "sad",
    "question": "?",
    "choices": tuple(NINE_LABELS),
}
FOURS = dict.fromkeys(DIMENSIONS, 4)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with one step of samples, written as the trainer writes them."""
    texts = [
        "<think> Low pitch. </think><answer>sad</answer>",
        "<think>Slow.</think><answer>angry</answer>",
        "<think></think><answer>sad</answer>",
        "no tags",
        "<think>Not judged.</think><answer>sad</answer>",
        "<think>Half judged.</think><answer>sad</answer>",
    ]
    half = {**FOURS, "caption_completeness": None}
    scores = [FOURS, {**FOURS, "factual_alignment": 1.5}, FOURS, FOURS, None, half]
    folder = RunFolder(tmp_path / "rl")
    folder.samples_dir.mkdir(parents=True)
    writer = MetricsWriter(folder, trackers=None, first_step=7)
    writer.write_samples(7, sample_rows(7, [scored_group(texts, scores)], [], {}))
    return tmp_path / "rl"


def test_scored_completions_of_a_run(run: Path):
    row = {**ROWS[0], "id": "clip-0", "label": "sad"}
    found = list(from_runs([run], {"clip-0": row}, "reasoning"))
    assert [(one["reasoning"], one["scores"]["factual_alignment"]) for one in found] == [
        ("Low pitch.", 4.0),
        ("Slow.", 1.5),
    ]
    for one in found:
        assert one["id"].startswith("on_policy/") and one["clip"] == "clip-0"
        assert one["prosody"] == ROWS[0]["prosody"] and one["label"] == "sad"
        assert set(one["scores"]) == set(DIMENSIONS)
    assert found[0]["id"] != found[1]["id"]
    assert found == list(from_runs([run], {"clip-0": row}, "reasoning"))


@pytest.mark.parametrize(
    ("rows", "term", "message"),
    [
        ({"clip-1": ROWS[1]}, "reasoning", "no sample has all four scores"),
        ({"clip-0": ROWS[0]}, "humor", "of the term 'humor'"),
    ],
)
def test_a_run_without_scores_for_these_clips(run: Path, rows: Any, term: str, message: str):
    with pytest.raises(UserError, match=f"rl: .*{message}"):
        list(from_runs([run], rows, term))


def test_a_folder_without_samples(tmp_path: Path):
    with pytest.raises(UserError, match=r"no samples/\*\.jsonl; set log\.samples_every"):
        list(from_runs([tmp_path], {}, "reasoning"))


def judged(mean: float, number: int) -> dict[str, Any]:
    return {"id": f"{mean}-{number}", "scores": dict.fromkeys(DIMENSIONS, mean)}


@pytest.mark.parametrize(
    ("sizes", "num_rows", "expected"),
    [
        # A third each.
        ({1.0: 9, 3.0: 9, 5.0: 9}, 9, {1.0: 3, 3.0: 3, 5.0: 3}),
        # 2 of the first bin; the 10 that are left are shared by the other two.
        ({1.0: 2, 3.0: 9, 5.0: 9}, 12, {1.0: 2, 3.0: 5, 5.0: 5}),
        # 2 and 3; the third gives the remaining 7.
        ({1.0: 2, 3.0: 3, 5.0: 9}, 12, {1.0: 2, 3.0: 3, 5.0: 7}),
        ({1.0: 2, 3.0: 3, 5.0: 4}, 100, {1.0: 2, 3.0: 3, 5.0: 4}),
        # 10 rows of 3 bins: the odd one comes from the last.
        ({1.0: 9, 3.0: 9, 5.0: 10}, 10, {1.0: 3, 3.0: 3, 5.0: 4}),
        # 4.6 and 5 are of one bin, the highest; 1.39 is of the lowest, 1.41 is not.
        ({4.6: 5, 5.0: 5, 1.39: 5, 1.0: 5, 1.41: 10}, 9, None),
    ],
)
def test_bins_give_equal_shares(sizes: dict[float, int], num_rows: int, expected: Any):
    rows = [judged(mean, number) for mean, size in sizes.items() for number in range(size)]
    chosen = balanced(rows, num_rows, seed=0)
    counts = Counter(row["scores"]["factual_alignment"] for row in chosen)
    if expected is not None:
        assert counts == expected
    else:
        assert counts[4.6] + counts[5.0] == counts[1.39] + counts[1.0] == counts[1.41] == 3
    assert len({row["id"] for row in chosen}) == len(chosen)
    assert chosen == sorted(chosen, key=lambda row: row["id"])


def test_a_seed_draws_within_a_bin():
    rows = [judged(3.0, number) for number in range(50)]
    chosen = balanced(rows, 10, seed=0)
    assert chosen == balanced(rows, 10, seed=0)
    assert chosen != balanced(rows, 10, seed=1)
    assert balanced([], 5, seed=0) == []


def test_a_balanced_file_is_flatter_than_what_it_was_drawn_from():
    def spread(rows: list[dict[str, Any]]) -> float:
        means = [sum(row["scores"].values()) / 4 for row in rows]
        counts = np.histogram(means, bins=10, range=(1, 5))[0] / len(rows)
        return float(counts.std())

    texts = prescribed(ROWS, 2_000, seed=0)
    assert spread(balanced(texts, 500, seed=0)) < 0.6 * spread(texts)
