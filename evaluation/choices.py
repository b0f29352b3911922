"""Which of its choices a policy finds likeliest: multiple-choice questions without an engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.manifest import answer
from data.prompts import PromptBuilder
from data.records import Completion, Group, Prompt
from evaluation.statistics import classification_report
from trainer.learner_group import LearnerGroup


def choice_group(prompt: Prompt, builder: PromptBuilder) -> Group:
    """Return a prompt with one completion per choice: the bare answer in its tags."""
    texts = [answer(choice) for choice in prompt.example.choices]
    tokens = [builder.encode_target(text) for text in texts]
    return Group(
        prompt,
        tuple(
            Completion(ids, np.zeros(len(ids), np.float32), text, "stop", policy_version=0)
            for ids, text in zip(tokens, texts, strict=True)
        ),
    )


def likeliest_choices(
    learner: LearnerGroup, prompts: Sequence[Prompt], builder: PromptBuilder
) -> list[str]:
    """Return the choice of each prompt whose answer has the highest probability as a whole.

    Prompt and clip are computed once for all choices of a question.
    """
    scores = learner.logprobs([choice_group(prompt, builder) for prompt in prompts])
    return [
        prompt.example.choices[int(np.argmax([values.sum() for values in logprobs]))]
        for prompt, logprobs in zip(prompts, scores, strict=True)
    ]


def choice_metrics(
    name: str, learner: LearnerGroup, prompts: Sequence[Prompt], builder: PromptBuilder
) -> dict[str, float]:
    """Return `probe/NAME_accuracy` and `probe/NAME_ua` of a benchmark; see docs/metrics.md."""
    answers = likeliest_choices(learner, prompts, builder)
    choices = dict.fromkeys(c for prompt in prompts for c in prompt.example.choices)
    labels = [prompt.example.label for prompt in prompts]
    report = classification_report(labels, answers, list(choices))
    return {f"probe/{name}_accuracy": report.accuracy, f"probe/{name}_ua": report.ua}
