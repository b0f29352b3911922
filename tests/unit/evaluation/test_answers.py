"""Evaluation numbers, against worked examples and scikit-learn."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from data.records import Completion, Example, Group, Prompt
from evaluation.answer_reader import AnswerReader
from evaluation.answers import Answers, evaluate
from evaluation.statistics import classification_report
from evaluation.summary import evaluation_summary

SCORES = {"precision": precision_score, "recall": recall_score, "f1": f1_score}

CHOICES = ("neutral", "happy", "contempt or disgust")


def test_worked_numbers() -> None:
    labels = ["neutral"] * 4 + ["happy"] * 2
    answers = ["neutral", "neutral", "neutral", "happy", "happy", None]
    report = classification_report(labels, answers, CHOICES)
    assert report.num_examples == 6
    assert report.accuracy == pytest.approx(4 / 6)
    assert report.ua == pytest.approx((3 / 4 + 1 / 2) / 2)
    # F1: neutral 2*3 / (4 + 3), happy 2*1 / (2 + 2); the third class has no examples.
    assert report.macro_f1 == pytest.approx((6 / 7 + 1 / 2) / 2)
    assert report.format_frac == pytest.approx(5 / 6)
    recalls = {name: numbers["recall"] for name, numbers in report.classes.items()}
    assert recalls == {"neutral": 0.75, "happy": 0.5, "contempt or disgust": None}
    assert report.confusion.tolist() == [[3, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]


def test_an_answer_that_is_no_choice_is_readable_but_wrong() -> None:
    report = classification_report(["happy", "happy"], ["joyful", "happy"], CHOICES)
    assert (report.accuracy, report.format_frac) == (0.5, 1.0)
    assert report.confusion[1].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("seed", range(20))
def test_equal_to_scikit_learn(seed: int) -> None:
    chooser = random.Random(seed)
    choices = [f"class {number}" for number in range(chooser.randint(2, 6))]
    gold = choices[: chooser.randint(1, len(choices))]
    labels = [chooser.choice(gold) for _ in range(40)]
    answers = [chooser.choice([label, *choices, None, "other"]) for label in labels]
    report = classification_report(labels, answers, choices)

    as_text = [answer or "none" for answer in answers]
    present = sorted(set(labels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert report.accuracy == pytest.approx(accuracy_score(labels, as_text))
        assert report.ua == pytest.approx(balanced_accuracy_score(labels, as_text))
        assert report.macro_f1 == pytest.approx(
            f1_score(labels, as_text, labels=present, average="macro", zero_division=0)
        )
        recalls = recall_score(labels, as_text, labels=present, average=None)
        matrix = confusion_matrix(labels, as_text, labels=[*choices, "none", "other"])
        by_class = {
            name: score(labels, as_text, labels=choices, average=None, zero_division=0)
            for name, score in SCORES.items()
        }
    assert [report.classes[label]["recall"] for label in present] == pytest.approx(recalls)
    size = len(choices)
    assert report.confusion[:, :size].tolist() == matrix[:size, :size].tolist()
    assert report.confusion[:, size].tolist() == matrix[:size, size:].sum(axis=1).tolist()

    rows = [{"label": gold, "answer": answer} for gold, answer in zip(labels, answers, strict=True)]
    classes = evaluation_summary(rows, choices, seed=0)["classes"]
    for place, name in enumerate(choices):
        found = classes[name]
        assert found["examples"] == labels.count(name)
        # Where scikit-learn falls back on zero, there is nothing to divide by: undefined.
        assert (found["precision"] is None) == (name not in answers)
        assert (found["recall"] is None) == (name not in labels)
        for key, expected in by_class.items():
            assert (found[key] or 0) == pytest.approx(expected[place]), (name, key)


def test_metric_keys_carry_the_prefix_and_no_blanks() -> None:
    report = classification_report(["contempt or disgust"], ["happy"], CHOICES)
    assert report.to_metrics("test_after") == {
        "test_after/accuracy": 0.0,
        "test_after/ua": 0.0,
        "test_after/macro_f1": 0.0,
        "test_after/format_frac": 1.0,
        "test_after/recall_contempt_or_disgust": 0.0,
    }


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"\['bored'\] are not among"):
        classification_report(["bored"], [None], CHOICES)
    with pytest.raises(ValueError, match="0 labels and 0 answers"):
        classification_report([], [], CHOICES)
    with pytest.raises(ValueError, match="2 labels and 1 answers"):
        classification_report(["happy", "happy"], [None], CHOICES)


def make_prompt(id: str, label: str, target: str | None = None) -> Prompt:
    example = Example(id, f"{id}.wav", label, "Which?", CHOICES, target=target)
    return Prompt(example, "...", np.arange(3), None, 0)


class ScriptedEngines:
    """Answers each prompt from a table, last prompt first, as a pool may."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts

    def generate(
        self, prompts: Sequence[Prompt], *, greedy: bool, num_completions: int
    ) -> Iterator[Group]:
        assert greedy and num_completions == 1
        for prompt in reversed(prompts):
            if prompt.example.id in self.texts:
                text = self.texts[prompt.example.id]
                yield Group(
                    prompt,
                    (Completion(np.array([5]), np.zeros(1, np.float32), text, "stop", 3),),
                )


def answer(
    texts: dict[str, str],
    prompts: Sequence[Prompt],
    aliases: Mapping[str, str] | None = None,
    *,
    prefilled: bool = False,
) -> Answers:
    reader = AnswerReader.of(CHOICES, aliases or {}, prefilled=prefilled)
    return evaluate(ScriptedEngines(texts), prompts, reader)


def test_evaluate_reads_answers_with_aliases_and_keeps_the_order() -> None:
    prompts = [make_prompt("a", "contempt or disgust"), make_prompt("b", "happy")]
    prompts.append(make_prompt("c", "neutral"))
    texts = {
        "a": "<think>low</think><answer>Disgust.</answer>",
        "b": "happy",
        "c": "<think>flat</think><answer>bored</answer>",
    }
    found = answer(texts, prompts, {"disgust": "contempt or disgust"})
    report, rows = found.report, found.rows
    assert [group.prompt.example.id for group in found.groups] == ["a", "b", "c"]
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert [row["answer"] for row in rows] == ["contempt or disgust", None, "bored"]
    assert [row["correct"] for row in rows] == [True, False, False]
    assert rows[0] == {
        "id": "a",
        "audio": "a.wav",
        "label": "contempt or disgust",
        "text": "<think>low</think><answer>Disgust.</answer>",
        "answer": "contempt or disgust",
        "correct": True,
        "finish_reason": "stop",
        "policy_version": 3,
        "prompt_tokens": 3,
        "completion_tokens": 1,
    }
    assert report.accuracy == pytest.approx(1 / 3)
    assert report.format_frac == pytest.approx(2 / 3)


def test_a_probe_is_answered_without_reasoning() -> None:
    prompts = [make_prompt("a", "happy", "<answer>happy</answer>"), make_prompt("b", "happy")]
    texts = {"a": "<answer>happy</answer>", "b": "<answer>happy</answer>"}
    found = answer(texts, prompts)
    assert [row["answer"] for row in found.rows] == ["happy", None]


def test_evaluate_reads_prefilled_answers() -> None:
    texts = {"a": "Happy</answer>", "b": "<think>x</think><answer>happy</answer>"}
    prompts = [make_prompt("a", "happy"), make_prompt("b", "happy")]
    found = answer(texts, prompts, prefilled=True)
    assert [row["answer"] for row in found.rows] == ["happy", None]
    assert found.rows[0]["text"] == found.groups[0].completions[0].text == "<answer>Happy</answer>"


def test_a_clip_that_no_engine_can_answer_is_left_out_of_an_evaluation_that_may_lack_it() -> None:
    prompts = [make_prompt(name, "happy") for name in ("a", "b", "c")]
    engines = ScriptedEngines(
        {
            "a": "<think>low</think><answer>happy</answer>",
            "c": "<think>flat</think><answer>neutral</answer>",
        }
    )
    answers = evaluate(engines, prompts, AnswerReader.of(CHOICES, {}), may_lack=True)
    assert [row["id"] for row in answers.rows] == ["a", "c"]
    assert answers.report.num_examples == 2 and answers.report.accuracy == 0.5


def test_evaluate_refuses_missing_groups_and_choices_that_mean_the_same() -> None:
    prompts = [make_prompt("a", "happy"), make_prompt("b", "happy")]
    with pytest.raises(ValueError, match=r"2 prompts gave 1 different groups; without one: b$"):
        answer({"a": "x"}, prompts)
    with pytest.raises(ValueError, match="count as the same answer"):
        AnswerReader.of(("happy", "Happy "), {})
