"""Scores by the rules of benchmarks: worked examples in which the rules differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from configs.errors import UserError
from data.files import write_rows
from data.manifest import read_manifest
from data.options import with_options
from data.records import Completion, Example, Group, Prompt
from evaluation.answer_reader import AnswerReader
from evaluation.answers import answer_row
from evaluation.benchmark_rules import RULES, check_rules, mmau, mmsu
from evaluation.folds import fold_means, fold_table
from evaluation.official import PUBLISHED, official_summary
from evaluation.page import evaluation_page
from evaluation.summary import AnsweredSet, summary_of_sets

CHOICES = ("Anger", "Very sad", "Very happy")


@pytest.mark.parametrize(
    ("prediction", "by_mmau", "by_mmsu"),
    [
        # The words of the answer, wherever they are; the first character is no letter of an option.
        ("she is very sad", True, None),
        ("Very sad", True, None),
        # `very` is a word of the answer too, and forbids nothing; `happy` does.
        ("very sad, not happy", False, None),
        ("B", False, True),
        ("(B) Very sad", True, None),
        ("B. Very sad", True, True),
        ("The answer is B.", False, True),
        # The first character counts, whatever follows it.
        ("Anger", False, False),
        ("C", False, False),
        ("Because she is very sad", True, True),
        ("D", False, False),
        ("sad", False, None),
        ("", False, None),
        ("None", False, None),
        ("\nB\n", False, True),
        ("b", False, None),
    ],
)
def test_the_rules(prediction: str, by_mmau: bool, by_mmsu: bool | None):
    assert mmau(prediction, "Very sad", CHOICES) is by_mmau
    assert mmsu(prediction, "Very sad", CHOICES) is by_mmsu


def example(name: str, rule: str | None, **groups: str) -> Example:
    return Example(
        id=name,
        audio="a.wav",
        label="Very sad",
        question=with_options("How is she?", CHOICES),
        choices=CHOICES,
        target="<answer>Very sad</answer>",
        scoring=None if rule is None else {"rule": rule, **groups},
    )


def row_of(asked: Example, text: str) -> dict[str, object]:
    tokens = np.array([1])
    prompt = Prompt(asked, "", tokens, None, 0)
    completion = Completion(tokens, np.zeros(1, np.float32), text, "stop", 0)
    return answer_row(Group(prompt, (completion,)), AnswerReader.of(CHOICES, {}))


@pytest.mark.parametrize(
    ("text", "answer", "prediction"),
    [
        ("<think>Very happy?</think><answer>(B)</answer>", "Very sad", "(B)"),
        ("<answer>B) very sad</answer>", "Very sad", "B) very sad"),
        ("<answer>A) very sad</answer>", None, "A) very sad"),
        ("very sad", None, "very sad"),
    ],
)
def test_a_row_has_our_answer_and_what_the_rule_was_given(text: str, answer: str, prediction: str):
    row = row_of(example("1", "mmau"), text)
    assert (row["answer"], row["prediction"]) == (answer, prediction)
    assert row["correct"] is (answer == "Very sad")
    # The reasoning names another choice, but only the answer is scored.
    assert row["official"] is mmau(prediction, "Very sad", CHOICES)
    assert "official" not in row_of(example("1", None), text)


def test_summary_and_page_have_both_scores_by_group():
    told = {"easy": ["B", "B. very sad"], "hard": ["very sad", "A"]}
    rows = [
        row_of(example(f"{level}{i}", "mmsu", difficulty=level), f"<answer>{text}</answer>")
        for level, texts in told.items()
        for i, text in enumerate(texts)
    ]
    (found,) = official_summary(rows)
    assert found["overall"]["accuracy"] == pytest.approx(2 / 3)
    assert (found["overall"]["counted"], found["overall"]["left_out"]) == (3, 1)
    assert found["overall"]["ours"] == 3 / 4
    hard = found["groups"]["difficulty"]["hard"]
    assert (hard["accuracy"], hard["counted"], hard["ours"]) == (0, 1, 0.5)
    assert hard["ours_interval"]["low"] <= 0.5 <= hard["ours_interval"]["high"]
    assert official_summary([{"correct": True}]) == []
    summary = summary_of_sets([AnsweredSet("MMSU", True, True, CHOICES, rows)], seed=0)
    page = page_of(summary)
    assert "### Scored as mmsu scores" in page
    assert "| difficulty: hard | 0.0 % [0.0, 79.3] | 1 | 1 | 50.0 %" in page


def test_a_judged_benchmark_says_so_and_stands_beside_published_scores():
    rows = [row_of(example("1", "audiobench_meld"), "<answer>very sad</answer>")]
    summary = summary_of_sets([AnsweredSet("MELD", True, True, CHOICES, rows)], seed=0)
    numbers = summary["sets"]["MELD"]["official"][0]["overall"]
    assert (numbers["accuracy"], numbers["counted"], numbers["ours"]) == (None, 0, 1.0)
    page = page_of(summary)
    assert "is not computed here" in page
    assert "| Qwen-Audio-Chat | 50.57 % |" in page
    assert "| this one, our reader | 100.0 %" in page
    assert PUBLISHED["audiobench_meld"]["source"] in page


def page_of(summary: dict[str, object]) -> str:
    more = {"model": "m", "mode": "reasoned", "judges": {}, "latency": None}
    return evaluation_page({**summary, **more, "samples": 0, "temperature": 1.0})


def test_rows_bring_their_rule_and_an_unknown_one_is_refused(tmp_path: Path):
    (tmp_path / "a.wav").touch()
    row = {
        "id": "1",
        "audio": "a.wav",
        "label": "b",
        "choices": ["a", "b"],
        "target": "<answer>b</answer>",
    }

    def read(scoring: object) -> list[Example]:
        write_rows(tmp_path / "m.jsonl", [{**row, "scoring": scoring}])
        return list(
            read_manifest(
                tmp_path / "m.jsonl", audio_root=tmp_path, choices=["x"], question_template="?"
            )
        )

    (found,) = read({"rule": "mmau", "difficulty": "easy"})
    assert found.scoring == {"rule": "mmau", "difficulty": "easy"}
    check_rules("m.jsonl", [found])
    with pytest.raises(
        UserError, match=f"m.jsonl: row '1' .* 'bleu'; known are {', '.join(RULES)}"
    ):
        check_rules("m.jsonl", read({"rule": "bleu"}))
    for wrong in ("mmau", {"difficulty": "easy"}, {"rule": 1}):
        with pytest.raises(UserError, match="'scoring' is"):
            read(wrong)


def fold(folder: Path, told: list[tuple[str, str, str | None]], corpus: str = "emodb") -> Path:
    rows = [
        {
            "id": name,
            "benchmark": None,
            "dataset": corpus,
            "label": label,
            "answer": answer,
            "correct": label == answer,
        }
        for name, label, answer in told
    ]
    (folder / "evaluation").mkdir(parents=True)
    (folder / "evaluation" / "summary.json").write_text(json.dumps({"sets": {}}))
    write_rows(folder / "evaluation" / "answers.jsonl", rows)
    return folder


def test_means_over_folds_count_each_fold_alike(tmp_path: Path):
    one = fold(tmp_path / "1", [("a", "sad", "sad"), ("b", "sad", "sad"), ("c", "joy", "sad")])
    two = fold(tmp_path / "2", [("d", "joy", "Joy"), ("e", "sad", None)])
    (means,) = fold_means([one, two]).values()
    assert (means["folds"], means["clips"]) == (2, 5)
    # Over all clips 3 of 5 are right; the folds have 2/3 and 1/2.
    mean, deviation = means["numbers"]["accuracy"]
    assert mean == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert deviation == pytest.approx((2 / 3 - 1 / 2) / 2**0.5)
    assert means["numbers"]["ua"][0] == pytest.approx((1 / 2 + 1 / 2) / 2)
    table = fold_table([one, two])
    assert "| emodb | 2 | 5 | 58.33 (11.79) | 50.00 (0.00) |" in table
    assert "| emodb | 1 | 3 | 66.67 (-) |" in fold_table([one])
    # Beside what EmoBox's leaderboard has for the corpus: WA of three models.
    assert "| macro F1 | Whisper large v3 | WavLM large | HuBERT large |" in table
    assert " | 92.43 | 92.67 | 90.26 |\n" in table
    assert "published, WA, mean over the folds" in table
    others = fold(tmp_path / "4", [("f", "joy", "joy")], corpus="mine")
    assert "Whisper" not in fold_table([others])
    assert " | - | - | - |\n" in fold_table([one, others])
    same = fold(tmp_path / "3", [("a", "sad", "sad")])
    with pytest.raises(UserError, match="both were tested on a; "):
        fold_table([one, same])
