"""Numbers of a calibration, worked by hand or against scipy and scikit-learn."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from configs.errors import UserError
from evaluation.calibration.page import calibration_page
from evaluation.calibration.statistics import (
    agree,
    agreement,
    auc,
    calibration_error,
    curve,
    drift,
    group_bias,
    kendall,
    length_bias,
    partial_spearman,
    quadratic_kappa,
    rank_correlations,
    rank_intervals,
    rater_ceiling,
    robustness,
    rounded,
    spearman,
    spread,
)
from evaluation.calibration.summary import (
    accuracy_summary,
    calibration_summary,
    drift_summary,
    human_summary,
    read_ratings,
)
from rewards.judges.base import DIMENSIONS

NAMES: list[str] = list(DIMENSIONS)
RNG = np.random.default_rng(0)
GOLD = RNG.integers(1, 6, 200).astype(float)
JUDGED = np.clip(GOLD + RNG.normal(0, 1, 200), 1, 5)


def test_ranks_are_scipys():
    assert spearman(JUDGED, GOLD) == pytest.approx(stats.spearmanr(JUDGED, GOLD)[0])
    assert kendall(JUDGED, GOLD) == pytest.approx(stats.kendalltau(JUDGED, GOLD)[0])


def test_ranks_by_hand():
    # Ranks 1 2 3 4 against 2 1 4 3: 1 - 6 * 4 / (4 * 15) = 0.6; 4 of 6 pairs agree, 2 do not.
    x, y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 1.0, 4.0, 3.0])
    assert spearman(x, y) == pytest.approx(0.6)
    assert kendall(x, y) == pytest.approx(1 / 3)


def test_what_is_undefined_is_none():
    flat, rising = np.full(5, 3.0), np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert spearman(flat, rising) is None and kendall(rising, flat) is None
    assert quadratic_kappa(flat, flat) is None
    assert auc([1.0, 2.0], [True, True]) is None
    assert auc([], []) is None
    assert rank_intervals(flat.tolist(), rising.tolist(), list("abcde"), seed=0) == {}


def test_kappa_is_scikit_learns():
    expected = cohen_kappa_score(rounded(JUDGED), rounded(GOLD), weights="quadratic")
    assert quadratic_kappa(JUDGED, GOLD) == pytest.approx(expected)
    assert quadratic_kappa(GOLD, GOLD) == 1.0
    # Digits that do not occur count in the distances: O = (9 + 1) / 2; E = (9 + 0 + 4 + 1) / 4.
    assert quadratic_kappa(np.array([1.0, 2.0]), np.array([4.0, 1.0])) == pytest.approx(-3 / 7)
    # 1 for 5 and 5 for 1: O = 16; E = 8, half of the pairs being 4 apart.
    assert quadratic_kappa(np.array([1.0, 5.0]), np.array([5.0, 1.0])) == pytest.approx(-1.0)


def test_halves_are_rounded_upwards():
    assert rounded(np.array([1.0, 1.49, 1.5, 2.5, 4.5, 5.0])).tolist() == [1, 1, 2, 3, 5, 5]


def test_agreement_by_hand():
    found = agree([2.0, 3.0, 5.0], [1.0, 3.5, 4.0])
    assert (found.num, found.mae, found.bias) == (3, pytest.approx(2.5 / 3), pytest.approx(0.5))
    assert found.spearman == pytest.approx(1.0)
    assert found.metrics() == {"spearman": found.spearman, "mae": found.mae}
    assert agree([3.0, 3.0], [1.0, 5.0]).metrics() == {"mae": 2.0}


def test_agreement_is_by_dimension():
    judged = [dict.fromkeys(NAMES, 1.0), dict.fromkeys(NAMES, 2.0)]
    gold = [dict.fromkeys(NAMES, 3.0), {**dict.fromkeys(NAMES, 4.0), NAMES[0]: 1.0}]
    found = agreement(judged, gold)
    assert list(found) == list(NAMES)
    assert found[NAMES[0]].spearman == pytest.approx(-1.0)
    assert found[NAMES[1]].spearman == pytest.approx(1.0)
    assert list(agreement([{NAMES[2]: 1.0}], gold[:1])) == [NAMES[2]]


def test_an_interval_holds_its_number_and_narrows_with_more_texts():
    value = spearman(JUDGED, GOLD)
    clips = [str(i) for i in range(200)]
    whole = rank_intervals(JUDGED.tolist(), GOLD.tolist(), clips, seed=0)["spearman"]
    assert value is not None and whole.low < value < whole.high
    few = rank_intervals(JUDGED[:40].tolist(), GOLD[:40].tolist(), clips[:40], seed=0)["spearman"]
    assert few.high - few.low > 1.5 * (whole.high - whole.low)
    # Fisher's z gives about the same width.
    width = 2 * 1.96 * (1 - value**2) / math.sqrt(197)
    assert whole.high - whole.low == pytest.approx(width, rel=0.3)


def test_texts_of_a_clip_are_drawn_together():
    """Ten copies of each text tell no more than the text."""
    x, y = JUDGED[:40].repeat(10), GOLD[:40].repeat(10)
    clips = [str(i // 10) for i in range(400)]
    each = [str(i) for i in range(400)]
    together, apart = (
        rank_intervals(x.tolist(), y.tolist(), names, seed=0)["spearman"] for names in (clips, each)
    )
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_correlations_of_counts_are_those_of_the_repeated_pairs():
    x, y = np.round(JUDGED[:60], 1), GOLD[:60]  # with ties in both
    counts = np.random.default_rng(1).multinomial(60, np.full(60, 1 / 60), size=20)
    values = rank_correlations(x, y, counts)
    for place, times in enumerate(counts):
        repeated = x.repeat(times), y.repeat(times)
        assert values["spearman"][place] == pytest.approx(spearman(*repeated))
        assert values["kendall"][place] == pytest.approx(kendall(*repeated))
    nothing = rank_correlations(np.ones(60), y, counts)
    assert np.isnan(nothing["spearman"]).all() and np.isnan(nothing["kendall"]).all()


def test_calibration_error_by_hand():
    # Bins of half a point: {1.1, 1.3} are called 1.2 and are 2; {4.0} and {4.9, 5.0}.
    judged, gold = [1.1, 1.3, 4.0, 4.9, 5.0], [1.0, 3.0, 4.0, 5.0, 4.0]
    assert [one["num"] for one in curve(judged, gold)] == [2, 1, 2]
    assert curve(judged, gold)[0] == {"judged": pytest.approx(1.2), "gold": 2.0, "num": 2.0}
    expected = (2 * 0.8 + 1 * 0.0 + 2 * 0.45) / 5
    assert calibration_error(judged, gold) == pytest.approx(expected)
    assert calibration_error(gold, gold) == 0.0
    # Saying the mean is calibrated, and useless: spread and rank tell.
    assert calibration_error([3.0, 3.0], [1.0, 5.0]) == 0.0


def test_spread_by_hand():
    assert spread([1.0, 1.0, 3.0, 4.6]) == {
        "std": pytest.approx(np.std([1.0, 1.0, 3.0, 4.6])),
        "shares": {"1": 0.5, "2": 0.0, "3": 0.25, "4": 0.0, "5": 0.25},
    }


def test_length_bias_by_hand():
    words = [10, 20, 30, 40]
    found = length_bias([1.0, 2.0, 3.0, 4.0], [3.0, 3.0, 3.0, 3.0], words)
    assert found == {"error": pytest.approx(1.0), "partial": pytest.approx(1.0)}
    # The known score explains all of it.
    found = length_bias([1.0, 2.0, 4.0, 3.0], [1.0, 2.0, 4.0, 3.0], words)
    assert found["error"] is None and found["partial"] is None


def test_partial_correlation_is_that_of_residuals():
    x, y, z = RNG.normal(size=(3, 300))
    x, y = stats.rankdata(x + z), stats.rankdata(y + z)
    ranks = stats.rankdata(z)
    residuals = [v - np.polyval(np.polyfit(ranks, v, 1), ranks) for v in (x, y)]
    expected = np.corrcoef(*residuals)[0, 1]
    assert partial_spearman(x, y, z) == pytest.approx(expected)


def test_bias_by_group():
    found = group_bias([2.0, 3.0, 5.0], [1.0, 4.0, 4.0], ["b", "a", "b"])
    assert found == {"a": -1.0, "b": 1.0}


def test_auc_is_scikit_learns():
    right = JUDGED + RNG.normal(0, 1, 200) > 3
    ties = np.round(JUDGED)
    assert auc(ties.tolist(), right.tolist()) == pytest.approx(roc_auc_score(right, ties))
    assert auc([1.0, 2.0, 3.0], [False, True, True]) == 1.0
    assert auc([2.0, 2.0], [False, True]) == 0.5


def test_drift_by_hand():
    found = drift([1.0, 2.0, 3.0, 4.0], [1.5, 2.1, 3.0, 3.0])
    assert found == {
        "shift": pytest.approx(-0.1),
        "mean_change": pytest.approx(0.4),
        "spearman": pytest.approx(stats.spearmanr([1, 2, 3, 4], [1.5, 2.1, 3, 3])[0]),
        "moved": 0.5,
    }


def test_robustness_by_hand():
    found = robustness({1: [0.4, 0.6], 2: [-3.0, 2.0], 7: [0.9]})
    assert found == {
        "num": 3,
        "raised_frac": pytest.approx(2 / 3),
        "mean_rise": pytest.approx(0.3),
        "largest": 2.0,
        "payload": 7,
        "rise": 0.9,
    }


def test_a_rater_is_compared_with_the_mean_of_the_others():
    ceiling, several = rater_ceiling([[1.0, 2.0, 3.0], [4.0], [5.0, 4.0]])
    assert several == 2 and ceiling is not None and ceiling.num == 5
    # |1 - 2.5|, |2 - 2|, |3 - 1.5|, |5 - 4|, |4 - 5|
    assert ceiling.mae == pytest.approx((1.5 + 0 + 1.5 + 1 + 1) / 5)
    assert rater_ceiling([[1.0], [2.0]]) == (None, 0)


# Summaries.


def line(row: str, kind: str, score: float | None, payload: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{row}/{kind}/{payload}",
        "row": row,
        "kind": kind,
        "payload": payload,
        "clip": row,
        "text_sha256": f"{row}{kind}",
        "scores": None if score is None else dict.fromkeys(NAMES, score),
        "missing": "timeout" if score is None else "",
        **more,
    }


def held_out(row: str, score: float | None, gold: float, words: int = 10) -> dict[str, Any]:
    known = dict.fromkeys(NAMES, gold)
    return line(row, "held_out", score, gold=known, num_words=words)


LINES = [
    held_out("a", 1.5, 1.0, 10),
    held_out("b", 3.0, 3.0, 30),
    held_out("c", 4.0, 5.0, 20),
    held_out("d", None, 5.0),
    line("a", "lower", 1.0),
    line("b", "lower", 3.1),
    line("d", "lower", 2.0),  # its own text has no score
    line("a", "filler", 2.0),
    line("a", "nothing", 1.0),
    line("a", "bare", 1.25, 1),
    line("a", "bare", 3.0, 2),
    line("a", "bare", None, 3),
    line("a", "padded", 1.5, 1),
    line("a", "padded", 2.5, 2),
    line("b", "padded", 3.2, 2),
]


def test_a_summary_by_hand():
    found = calibration_summary(LINES, seed=0, resamples=20)
    assert found["num"] == 3 and found["missing"] == {"timeout": 2}
    one = found["dimensions"]["caption_completeness"]
    assert one["spearman"] == pytest.approx(1.0) and one["mae"] == pytest.approx(0.5)
    assert one["bias"] == pytest.approx(-0.5 / 3)
    assert one["gold"]["shares"] == pytest.approx(
        {"1": 1 / 3, "2": 0.0, "3": 1 / 3, "4": 0.0, "5": 1 / 3}
    )
    # Errors 0.5, 0, -1 against 10, 30, 20 words: ranks 3 2 1 and 1 3 2.
    assert one["length"]["error"] == pytest.approx(-0.5)
    assert one["by_fluency"] == {"1": 0.5, "3": 0.0, "5": -1.0}
    assert found["dimensions"]["fluency_and_structural_clarity"]["by_fluency"] == {}
    assert found["style"]["lower"]["factual_alignment"] == pytest.approx((-0.5 + 0.1) / 2)
    assert found["style"]["filler"]["factual_alignment"] == pytest.approx(0.5)
    assert found["attacks"]["bare"] == {
        "num": 2,
        "raised_frac": 0.5,
        "mean_rise": pytest.approx(1.125),
        "largest": 2.0,
        "payload": 2,
        "rise": 2.0,
    }
    # The second: +1.0 and +0.2.
    assert found["attacks"]["padded"]["rise"] == pytest.approx(0.6)
    assert found["attacks"]["padded"]["largest"] == pytest.approx(1.0)


def test_a_judge_that_scored_nothing_is_refused():
    with pytest.raises(UserError, match=r"no held-out text was scored.*timeout"):
        calibration_summary([held_out("a", None, 1.0)], seed=0)


def test_drift_is_of_the_same_texts():
    after = [held_out("a", 2.5, 1.0), held_out("c", 4.0, 5.0), held_out("e", 1.0, 1.0)]
    found = drift_summary(LINES, after)
    assert found["num"] == 2
    assert found["dimensions"]["factual_alignment"]["shift"] == pytest.approx(0.5)
    with pytest.raises(UserError, match="share no scored text"):
        drift_summary(LINES, after[2:])
    with pytest.raises(UserError, match="1 texts are not the ones"):
        drift_summary(LINES, [{**after[0], "text_sha256": "other"}])


def test_agreement_with_accuracy_by_hand():
    def said(group: str, score: float | None, correct: bool) -> dict[str, Any]:
        scores = None if score is None else dict.fromkeys(NAMES, score)
        return {"group": group, "correct": correct, "scores": scores}

    rows = [
        said("1", 4.0, True),
        said("1", 2.0, False),
        said("2", 1.0, True),
        said("2", 3.0, False),
        said("2", 1.0, False),
        said("3", 5.0, True),
        said("3", None, False),
    ]
    found = accuracy_summary(rows)
    assert found["num"] == 6 and found["groups"] == 2
    assert found["right"] == pytest.approx(10 / 3) and found["wrong"] == pytest.approx(2.0)
    # Pairs: 4 and 5 beat 2, 3, 1; 1 ties with one. 6.5 of 9. Within: 1 and 0.25.
    assert found["auc"] == pytest.approx(6.5 / 9)
    assert found["within"] == pytest.approx(0.625)
    assert accuracy_summary([said("1", 4.0, True)])["wrong"] is None


def ratings_file(folder: Path, text: str) -> Path:
    path = folder / "human.csv"
    path.write_text(text, encoding="utf-8")
    return path


HEADER = ",".join(["id", "rater", *NAMES])


def test_people_against_the_judge_and_each_other(tmp_path: Path):
    path = ratings_file(
        tmp_path,
        f"{HEADER}\na,x,1,1,1,1\na,y,2,2,2,2\nb,x,3,3,3,3\nc,x,4,4,4,4\nz,x,5,5,5,5\n",
    )
    found = human_summary(LINES, read_ratings(path))
    assert found["num"] == 3
    one = found["dimensions"]["factual_alignment"]
    # Mean ratings 1.5, 3, 4; the judge says 1.5, 3, 4; the file 1, 3, 5.
    assert one["judge"]["mae"] == 0.0 and one["judge"]["spearman"] == pytest.approx(1.0)
    assert one["prescribed"]["mae"] == pytest.approx(0.5)
    assert one["rater"]["mae"] == 1.0 and one["several"] == 1
    with pytest.raises(UserError, match="no id of the ratings"):
        human_summary(LINES, {"q": [dict.fromkeys(NAMES, 1.0)]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,factual_alignment\na,1\n", "has no column interpretative_quality"),
        (f"{HEADER}\na,x,1,1,1,6\n", r"human.csv:2: fluency_\w+ is '6'; allowed is a number"),
        (f"{HEADER}\na,x,1,1,1,good\n", "is 'good'"),
        (f"{HEADER}\na,x,1,1,1\n", "is None"),
    ],
)
def test_bad_ratings_are_named(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError, match=message):
        read_ratings(ratings_file(tmp_path, text))
    with pytest.raises(UserError, match="cannot be read"):
        read_ratings(tmp_path / "none.csv")


def test_the_page_shows_all_parts(tmp_path: Path):
    path = ratings_file(tmp_path, f"{HEADER}\na,x,1,1,1,1\nb,x,3,3,3,3\n")
    summary = {"first": calibration_summary(LINES, seed=0, resamples=20)}
    short = calibration_page(summary)
    assert "## Drift" not in short and "## People" not in short
    summary["second"] = {
        **calibration_summary(LINES, seed=0, resamples=20),
        "human": human_summary(LINES, read_ratings(path)),
        "drift": drift_summary(LINES, LINES),
        "accuracy": accuracy_summary([{"group": "1", "correct": True, "scores": {"a": 2.0}}]),
    }
    page = calibration_page(summary)
    assert "| `second` | 1.00 " in page.split("## factual_alignment")[1]
    assert "| `first`, bare | 2 | 50 % | +1.12 | +2.00 (line 2) | +2.00 |" in page
    assert "| `second` | 1 | 2.00 | - | - | - | 0 |" in page
    assert "| factual_alignment, `second` | 2 | 1.00 |" in page
    for heading in ("Biases", "Injections", "Agreement with accuracy", "Drift", "People"):
        assert f"## {heading}" in page
    widths = {line.count("|") for line in page.split("## Biases")[1].splitlines() if "|" in line}
    assert widths and all(line.startswith("|") for line in page.splitlines() if "| " in line)
