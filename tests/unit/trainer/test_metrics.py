"""Metrics of a step, the files they go to, and their documentation."""

from __future__ import annotations

import json
import math
import re
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs.schema import RewardTermConfig, TermScheduleConfig
from data.records import (
    Completion,
    Example,
    Group,
    GroupSample,
    Prompt,
    RewardTerms,
    ScoredGroup,
)
from evaluation.statistics import classification_report
from rewards.combine import CombineRules
from rewards.schedule import Schedule
from trainer.learner_spec import accumulate
from trainer.metrics import rollout_metrics, sample_rows
from trainer.metrics_writer import MetricsWriter
from trainer.progress import duration, progress_line
from trainer.run_folder import RunFolder

GOOD = "<think>loud</think><answer>Angry.</answer>"
WRONG = "<think>soft</think><answer>sad</answer>"
RULES = CombineRules(judged=frozenset({"reasoning"}))


def judged(score: float, **more: float) -> dict[str, object]:
    """Details of a judged completion."""
    return {"scores": {"factual_alignment": score}, "missing": "", "latency_s": 0.2, **more}


def make_group(
    id: str, texts: list[str], num_tokens: list[int], prompt_tokens: int, index: int = 0
) -> Group:
    example = Example(id, f"wav/{id}.wav", "angry", "Which?", ("angry", "sad"))
    prompt = Prompt(example, "...", np.arange(prompt_tokens), None, 0)
    completions = tuple(
        Completion(
            np.arange(count),
            np.zeros(count, np.float32),
            text,
            "length" if count == 9 else "stop",
            4,
        )
        for text, count in zip(texts, num_tokens, strict=True)
    )
    return Group(prompt, completions, index)


def two_groups() -> list[ScoredGroup]:
    first = ScoredGroup(
        make_group("a", [GOOD, WRONG], [4, 6], 10),
        RewardTerms(
            {"format": (1.0, 1.0), "accuracy": (1.0, 0.0), "reasoning": (0.8, 0.4)},
            {"reasoning": (judged(4.0, calls=2, cached=True), judged(2.0, calls=1, cached=False))},
        ),
        {"format": 0.3, "accuracy": 1.0, "reasoning": 0.5},
        0.5,
        (1.5, 0.4),
    )
    second = ScoredGroup(
        make_group("b", ["loud", "loud"], [9, 5], 20, index=1),
        RewardTerms(
            {"format": (0.0, 0.0), "accuracy": (0.0, 0.0), "reasoning": (None, None)},
            {"reasoning": ({"malformed": True}, {"malformed": True})},
        ),
        {"format": 0.3, "accuracy": 1.0, "reasoning": 0.0},
        1.0,
        (0.0, 0.0),
    )
    return [first, second]


def test_rollout_metrics_by_hand() -> None:
    metrics = rollout_metrics(two_groups(), 1, RULES)
    assert metrics == pytest.approx(
        {
            "rollout/accuracy": 0.25,
            "rollout/format_frac": 0.5,
            "rollout/completion_tokens_mean": 6.0,
            "rollout/completion_tokens_max": 9.0,
            "rollout/truncated_frac": 0.25,
            "rollout/prompt_tokens_mean": 15.0,
            "reward/mean": 0.475,
            # Squares: 2.25 + 0.16; mean 0.6025; minus 0.475^2 = 0.376875.
            "reward/std": 0.376875**0.5,
            "reward/format_mean": 0.5,
            "reward/format_std": 0.5,
            "reward/format_coverage": 1.0,
            "reward/format_weight": 0.3,
            "reward/accuracy_mean": 0.25,
            "reward/accuracy_std": 0.1875**0.5,
            "reward/accuracy_coverage": 1.0,
            "reward/accuracy_weight": 1.0,
            "reward/reasoning_mean": 0.6,
            "reward/reasoning_std": 0.2,
            "reward/reasoning_coverage": 0.5,
            "reward/reasoning_weight": 0.25,
            "reward/format_mean_angry": 0.5,
            "reward/accuracy_mean_angry": 0.25,
            "reward/reasoning_mean_angry": 0.6,
            "judge/reasoning_factual_alignment": 3.0,
            "judge/reasoning_latency_s": 0.2,
            "judge/reasoning_latency_max_s": 0.2,
            "judge/reasoning_calls": 3.0,
            "judge/reasoning_cached_frac": 0.5,
            "judge/reasoning_missing_frac": 0.0,
            "judge/reasoning_right_mean": 0.8,
            "judge/reasoning_wrong_mean": 0.4,
            "judge/reasoning_right_wrong_gap": 0.4,
            "judge/reasoning_proxy_gap": 0.1,
            # Of the two groups, the judged term counted in the first alone.
            "trust/applied_frac": 0.5,
            "trust/mean": 0.5,
            "trust/min": 0.5,
            "trust/std": 0.0,
            "trust/below_one_frac": 1.0,
            # Of 0.8 and 0.4 either may be the right one: 1, or exp(-0.4).
            "trust/null_mean": (1 + math.exp(-0.4)) / 2,
            "trust/null_below_one_frac": 0.5,
            "advantage/flat_frac": 0.5,
        }
    )


def test_the_share_of_the_credit_that_a_judge_gives_out() -> None:
    """Rewards 1.4 and 0.2: half a point of 1.2 each, of which the judge made 0.2. In the second
    group the judge was left out, the third is flat: the mean of 1/6 and 0."""
    first, second = two_groups()
    filled = {"accuracy": (1.0, 0.0), "reasoning": (0.8, 0.4)}
    factors = {"accuracy": 1.0, "reasoning": 0.5}
    counts = replace(first, rewards=(1.4, 0.2), filled=filled, factors=factors)
    left_out = replace(
        second, rewards=(1.0, 0.0), filled={"accuracy": (1.0, 0.0)}, factors={"accuracy": 1.0}
    )
    # What tells its rewards apart is rounding: it is flat as well.
    rounded = replace(counts, rewards=(0.3, 0.1 + 0.2), filled={"reasoning": (0.8, 0.4)})
    found = rollout_metrics([counts, left_out, second, rounded], 2, RULES)
    assert found["judge/reasoning_advantage_share"] == pytest.approx(1 / 12)
    against = replace(counts, rewards=(1.2, 0.4), filled={**filled, "reasoning": (0.4, 0.8)})
    assert rollout_metrics([against], 1, RULES)["judge/reasoning_advantage_share"] == pytest.approx(
        -1 / 4
    )


def test_a_term_without_any_score_has_a_coverage_but_no_mean() -> None:
    metrics = rollout_metrics(two_groups()[1:], 0, RULES)
    assert metrics["reward/reasoning_coverage"] == 0.0
    assert metrics["reward/reasoning_weight"] == 0.0
    assert "reward/reasoning_mean" not in metrics and "reward/reasoning_std" not in metrics
    assert metrics["advantage/flat_frac"] == 1.0


def test_sample_rows_hold_the_contract_fields_and_recomputable_rewards() -> None:
    scored = two_groups()
    samples = [
        GroupSample(scored[0].group, np.array([0.5, -0.5], np.float32), np.array([True, True]))
    ]
    rows = sample_rows(12, scored, samples, {})
    assert rows[0] == {
        "id": "a",
        "group": 0,
        "step": 12,
        "audio": "wav/a.wav",
        "label": "angry",
        "text": GOOD,
        "answer": "angry",
        "correct": True,
        "terms": {"format": 1.0, "accuracy": 1.0, "reasoning": 0.8},
        "details": {"reasoning": judged(4.0, calls=2, cached=True)},
        "trust": 0.5,
        "weights": {"format": 0.3, "accuracy": 1.0, "reasoning": 0.5},
        "reward": 1.5,
        "advantage": 0.5,
        "finish_reason": "stop",
        "policy_version": 4,
    }
    assert [(row["id"], row["group"]) for row in rows] == [("a", 0), ("a", 0), ("b", 1), ("b", 1)]
    assert [row["advantage"] for row in rows] == [0.5, -0.5, 0.0, 0.0]
    assert [row["answer"] for row in rows] == ["angry", "sad", None, None]
    assert [row["correct"] for row in rows] == [True, False, False, False]
    assert rows[2]["terms"] == {"format": 0.0, "accuracy": 0.0, "reasoning": None}
    assert rows[2]["finish_reason"] == "length"
    for row in rows:
        factors = {**row["weights"], "reasoning": row["weights"]["reasoning"] * row["trust"]}
        total = sum(factors[k] * v for k, v in row["terms"].items() if v is not None)
        assert row["reward"] == pytest.approx(total)


def test_an_alias_counts_as_its_label_in_samples() -> None:
    group = make_group("a", ["<think>x</think><answer>furious</answer>"], [3], 2)
    scored = ScoredGroup(group, RewardTerms({}), {}, 1.0, (0.0,))
    (row,) = sample_rows(1, [scored], [], {"furious": "angry"})
    assert (row["answer"], row["correct"]) == ("angry", True)


def opened(root: Path) -> RunFolder:
    folder = RunFolder(root)
    folder.open("seed: 1\n", lambda old: [])
    return folder


def test_rows_are_appended_sorted_and_flushed(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    writer = MetricsWriter(folder, trackers=None, first_step=1)
    writer.write(1, {"time/step_s": np.float32(0.5), "reward/mean": 1})
    assert folder.metrics_path.read_text() == (
        '{"step": 1, "reward/mean": 1.0, "time/step_s": 0.5}\n'
    )
    again = MetricsWriter(folder, trackers=None, first_step=2)
    again.write(2, {"reward/mean": 2.0})
    assert [json.loads(line)["step"] for line in folder.metrics_path.open()] == [1, 2]
    assert [start["first_step"] for start in folder.starts()] == [1, 2]
    assert not folder.tb_dir.exists()


def test_sample_files(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    writer = MetricsWriter(folder, trackers=None, first_step=1)
    writer.write_samples(10, [{"text": "line\u2028one\n", "terms": {"x": None}}, {"text": "b"}])
    lines = (tmp_path / "samples" / "step_000010.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"text": "line\u2028one\n", "terms": {"x": None}},
        {"text": "b"},
    ]
    writer.write_samples(11, [{"reward": float("nan"), "details": {"x": [float("inf"), 1.0]}}])
    (line,) = (tmp_path / "samples" / "step_000011.jsonl").read_text().splitlines()
    assert json.loads(line) == {"reward": None, "details": {"x": [None, 1.0]}}


def test_what_is_not_finite_is_named_and_the_rest_written(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    writer = MetricsWriter(folder, trackers=None, first_step=1)
    bad = {"optim/grad_norm": float("inf"), "policy/kl": float("nan"), "x/y": -float("inf")}
    writer.write(1, {"reward/mean": 0.5, **bad})
    (row,) = [json.loads(line) for line in folder.metrics_path.open()]
    assert row == {
        "step": 1,
        "reward/mean": 0.5,
        "log/not_finite": 3.0,
        "not_finite": {"optim/grad_norm": "inf", "policy/kl": "nan", "x/y": "-inf"},
    }
    assert folder.rows() == [row] and folder.last_step() == 1


def test_a_nan_among_maxima_does_not_vanish() -> None:
    for values in ([math.nan, 1.0], [1.0, math.nan]):
        totals: dict[str, float] = {}
        for value in values:
            accumulate(totals, {"policy/logprob_gap_max": value})
        assert math.isnan(totals["policy/logprob_gap_max"])


def test_the_status_follows_the_steps(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    folder.write_status("running", 0, "", "python launch/rl.py")
    writer = MetricsWriter(folder, trackers=None, first_step=0)
    for step in range(3):
        writer.write(step, {"x": 1.0})
        status = folder.read_status()
        assert (status["state"], status["step"]) == ("running", step)
        assert status["resume_cmd"] == "python launch/rl.py"


def test_a_full_disk_names_the_metrics_file(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    writer = MetricsWriter(folder, trackers=None, first_step=1)
    writer.write(1, {"x": 1.0})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, limits[1]))
    try:
        with pytest.raises(OSError, match=r"metrics\.jsonl: File too large: the disk is full"):
            writer.write(2, {"x": 1.0})
        with pytest.raises(OSError, match=r"step_000002\.jsonl: File too large: the disk is full"):
            writer.write_samples(2, [{"text": "x" * 100}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def documented_keys(text: str) -> list[re.Pattern[str]]:
    """Return a pattern per table row; NAME and LABEL stand for any word."""
    keys = re.findall(r"^\| `([a-z_]+/[A-Za-z0-9_]+)` \|", text, flags=re.MULTILINE)
    return [re.compile(re.sub("NAME|LABEL|DIMENSION|FACT", "[a-z_]+", key)) for key in keys]


def test_every_computed_key_is_documented_once() -> None:
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    patterns = documented_keys(text)
    report = classification_report(["contempt or disgust"], [None], ["contempt or disgust"])
    computed = {**rollout_metrics(two_groups(), 1, RULES), **report.to_metrics()}
    course = TermScheduleConfig(kind="gate", threshold=0.0, window=1, flatness=1.0, min_steps=0)
    schedule = Schedule([RewardTermConfig(name="reasoning", schedule=course)], "accuracy")
    for _ in range(2):
        schedule.observe(two_groups())
    computed |= schedule.metrics()
    assert {"gate/reasoning_opened_at", "judge/reasoning_right_wrong_gap"} <= computed.keys()
    for key in computed:
        assert any(pattern.fullmatch(key) for pattern in patterns), key
    sources = [pattern.pattern for pattern in patterns]
    assert len(sources) == len(set(sources))
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == len(patterns)
    for row in rows:
        cells = re.split(r"(?<!\\)\|", row)[1:-1]
        assert len(cells) == 4 and all(cell.strip() for cell in cells), row


def test_progress_line() -> None:
    line = progress_line(
        12,
        3000,
        {
            "reward/mean": 0.81234,
            "rollout/accuracy": 0.5,
            "policy/kl": 0.00123,
            "time/rollout_s": 1.234,
            "time/update_s": 0.8,
            "time/step_s": 2.5,
            "perf/completion_tokens_per_s": 6543.2,
        },
    )
    assert line == (
        "step   12/3000  reward 0.8123  acc 0.5  kl 0.00123  rollout 1.23s update 0.80s  "
        "6543 tok/s  2.50s/step  left 2h04m"
    )
    assert progress_line(1, 2, {}) == "step 1/2"


def test_durations() -> None:
    assert [duration(s) for s in (0, 59.4, 61, 3599.6, 90000)] == [
        "0s",
        "59s",
        "1m01s",
        "1h00m",
        "1d01h",
    ]
