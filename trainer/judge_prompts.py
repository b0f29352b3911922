"""Judge training as groups: a message once, and after it the answers that its scores call for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.schema import DataConfig
from data.audio import AudioError
from data.features import num_audio_tokens
from data.prompts import PromptBuilder, PromptError
from data.records import (
    ClipFeatures,
    Completion,
    Example,
    FloatArray,
    Group,
    GroupSample,
    IntArray,
    Prompt,
)
from rewards.judges.base import DIMENSIONS, HIGHEST, JudgeError
from rewards.judges.local import JudgeText, expected_score
from rewards.judges.prompt import SCORES, JudgePrompt
from trainer.learner_group import LearnerGroup


class JudgePrompts(PromptBuilder):
    """Judge rows as tokens: those that `LocalJudge` sends, and those that it reads.

    The prompt of an example is the message about its `reasoning`. With `scoring: digits` a judge
    continues the begun answer of a dimension by one digit, with `json` it writes all four scores;
    both are trained.
    """

    def __init__(
        self, checkpoint_path: str | Path, config: DataConfig, prompt_file: str = ""
    ) -> None:
        """Load the processor of a checkpoint folder; nothing of the config is in a message.

        Raises:
            ValueError: An unusable checkpoint or template, by its own class.
        """
        super().__init__(checkpoint_path, config)
        self._message = JudgeText(str(checkpoint_path), JudgePrompt(prompt_file))
        answer_starts, digits = self._message.answer_tokens()
        self._digits = [
            [np.array([*tokens, digit], np.int64) for digit in digits] for tokens in answer_starts
        ]

    def build(
        self,
        example: Example,
        features: Any,
        num_frames: int,
        beside: Sequence[ClipFeatures] = (),
    ) -> Prompt:
        """Return the message about an example's reasoning.

        Raises:
            PromptError: Question, choices or transcript hold a control token.
            AudioError: The clip is too short for the audio encoder.
        """
        assert not beside  # `rewards.judges.rows` refuses several clips
        bare = Prompt(example, "", np.zeros(0, np.int64), features, num_frames)
        try:
            head, rest = self._message.tokens(bare, example.reasoning or "")
        except JudgeError as error:
            raise PromptError(f"the message about {example.id!r}: {error}; mend the row") from error
        try:
            clip = head[-1:] * num_audio_tokens(num_frames)
        except ValueError as error:
            raise AudioError(f"{example.audio}: {error}; raise data.min_duration_s") from error
        return Prompt(example, "", np.array([*head[:-1], *clip, *rest]), features, num_frames)

    def training_sample(self, prompt: Prompt, scores: Mapping[str, float]) -> GroupSample:
        """Return the answers that a judge is to give, weighted.

        Per dimension one digit, or for a score between two digits both, so weighted that their
        mean is the score; and the JSON of rounded scores with the end token, whose weight is 1.

        Args:
            scores: Dimension -> score in [1, 5].
        """
        weighted = self._weighted_digits(scores)
        answers = [*(tokens for tokens, _ in weighted), self._reply(scores)]
        weights = np.array([*(weight for _, weight in weighted), 1.0], np.float32)
        return GroupSample(_group(prompt, answers), weights, np.ones(len(answers), np.bool_))

    def num_answer_tokens(self, scores: Mapping[str, float]) -> int:
        """Return the tokens of all answers of `training_sample` together."""
        digits = sum(len(tokens) for tokens, _ in self._weighted_digits(scores))
        return digits + len(self._reply(scores))

    def _weighted_digits(self, scores: Mapping[str, float]) -> list[tuple[IntArray, float]]:
        return [
            (self._digits[place][digit - 1], weight)
            for place, name in enumerate(DIMENSIONS)
            for digit, weight in digit_weights(scores[name]).items()
        ]

    def _reply(self, scores: Mapping[str, float]) -> IntArray:
        return np.array([*self._message.continuation(reply_text(scores)), self.end_token_id])

    def digit_group(self, prompt: Prompt) -> Group:
        """Return a message with all digits of all dimensions, in order, as its completions."""
        return _group(prompt, [tokens for digits in self._digits for tokens in digits])


def _group(prompt: Prompt, answers: Sequence[IntArray]) -> Group:
    """Return answers as the completions of a prompt."""
    return Group(prompt, tuple(map(Completion.unsampled, answers)))


def digit_weights(score: float) -> dict[int, float]:
    """Return digit -> weight > 0, summing to 1, whose mean is the score.

    Args:
        score: In [1, 5]; 2.25 gives 2 a weight of 0.75 and 3 one of 0.25.
    """
    low = min(math.floor(score), int(HIGHEST) - 1)
    upper = score - low
    return {digit: w for digit, w in ((low, 1.0 - upper), (low + 1, upper)) if w > 0}


def reply_text(scores: Mapping[str, float]) -> str:
    """Return the JSON that a judge writes for scores, each rounded to a digit, halves upwards."""
    pairs = (f'"{name}":{math.floor(scores[name] + 0.5)}' for name in DIMENSIONS)
    return "{" + ",".join(pairs) + "}"


def read_digits(logprobs: Sequence[FloatArray]) -> dict[str, float]:
    """Return dimension -> expected score, as `LocalJudge` reads it.

    Args:
        logprobs: Of the completions of a `digit_group`, in order; [C] nats each.
    """
    last = np.array([values[-1] for values in logprobs], np.float64)
    rows = last.reshape(len(DIMENSIONS), len(SCORES))
    return {
        name: expected_score(row.tolist())[0] for name, row in zip(DIMENSIONS, rows, strict=True)
    }


def learner_scores(
    learner: LearnerGroup, prompts: Sequence[Prompt], builder: JudgePrompts
) -> list[dict[str, float]]:
    """Return the scores that the learner's weights give each message."""
    logprobs_of = learner.logprobs([builder.digit_group(prompt) for prompt in prompts])
    return [read_digits(logprobs) for logprobs in logprobs_of]
