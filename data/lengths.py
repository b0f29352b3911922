"""Whether a row fits: its tokens against the room that the run gives them, when rows are read."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from configs.schema import RunConfig
from data.audio import SAMPLE_RATE_HZ, AudioError, AudioInfo
from data.checkpoint import model_length
from data.features import HOP_SAMPLES, MIN_FRAMES, num_audio_tokens
from data.prompts import PromptBuilder, PromptError, target_text
from data.records import ClipFeatures, Example

logger = logging.getLogger(__name__)


class LengthCheck:
    """Says what is wrong with the texts and the length of a row, by the checkpoint's tokenizer.

    A clip's share follows from its header. Questions that many rows share are tokenized once.
    """

    def __init__(
        self,
        builder: PromptBuilder,
        room: int,
        limit: str,
        fix: str,
        *,
        stretch: float = 1.0,
        answer_tokens: Callable[[Example, int], int] | None = None,
        key: Callable[[Example], Hashable] = lambda row: (
            row.question,
            row.choices,
            len(row.clips),
        ),
    ) -> None:
        """Make a check.

        Args:
            builder: Makes the prompts of the run.
            room: Most tokens of a prompt, and of the answers that are trained on.
            limit: What makes the room, and a verb: "KEY allows".
            fix: What to do about a row that is longer.
            stretch: Factor by which the run may make `example.audio` longer.
            answer_tokens: Example, room that is left -> tokens of its answers, or any number within
                the room if they surely fit; None if the policy writes them. It raises PromptError
                for a row without a usable answer.
            key: Example -> what its prompt depends on, but for the length of the clips and the
                turns, which hardly two rows share.
        """
        self._builder = builder
        self._room = room
        self._limit = limit
        self._fix = fix
        self._stretch = stretch
        self._answer_tokens = answer_tokens
        self._key = key
        self._around: dict[Hashable, int] = {}

    def __call__(self, example: Example, headers: Sequence[AudioInfo]) -> str:
        """Return what is wrong with a row and what to do; empty if it fits.

        Args:
            headers: Of its clips.
        """
        around = self._tokens_around_clips(example)
        if isinstance(around, str):
            return around
        target = len(example.earlier) if example.audio else -1
        clip = sum(
            _clip_tokens(header, self._stretch if place == target else 1.0)
            for place, header in enumerate(headers)
        )
        try:
            answer = (
                self._answer_tokens(example, self._room - around - clip)
                if self._answer_tokens
                else 0
            )
        except PromptError as error:
            return str(error)
        total = around + clip + answer
        if total <= self._room:
            return ""
        what = "clip" if len(headers) < 2 else f"{len(headers)} clips"
        parts = {"texts of the prompt": around, what: clip, "answer": answer}
        listed = ", ".join(f"{name} {n}" for name, n in parts.items() if n)
        return f"takes {total} tokens ({listed}), and {self._limit} {self._room}; {self._fix}"

    def _tokens_around_clips(self, example: Example) -> int | str:
        """Return the tokens of a prompt without its clips, or why there is none."""
        if example.turns:
            return self._count_around_clips(example)
        key = self._key(example)
        if key not in self._around:
            around = self._count_around_clips(example)
            if isinstance(around, str):
                # Not remembered: the message names this example.
                return around
            self._around[key] = around
        return self._around[key]

    def _count_around_clips(self, example: Example) -> int | str:
        shortest = ClipFeatures(None, MIN_FRAMES, 0)
        frames = MIN_FRAMES if example.audio else 0
        beside = [shortest] * len(example.others)
        try:
            prompt = self._builder.build(example, None, frames, beside)
        except (PromptError, AudioError) as error:
            return str(error)
        return len(prompt.token_ids) - len(example.clips)


def _clip_tokens(header: AudioInfo, stretch: float) -> int:
    num_samples = round(header.num_samples * SAMPLE_RATE_HZ * stretch / header.sample_rate)
    return num_audio_tokens(max(MIN_FRAMES, -(-num_samples // HOP_SAMPLES)))


def policy_lengths(config: RunConfig) -> LengthCheck:
    """Return the check of rows that engines answer.

    Raises:
        PromptError: The checkpoint's processor cannot be used.
    """
    rollout = config.rollout
    return LengthCheck(
        PromptBuilder(config.model.path, config.data),
        rollout.max_model_len - rollout.max_completion_tokens,
        "rollout.max_model_len less rollout.max_completion_tokens leaves",
        "shorten the question or the clip, or raise rollout.max_model_len",
        stretch=rollout.counterfactual.max_stretch,
    )


def sft_lengths(config: RunConfig) -> LengthCheck:
    """Return the check of rows with reference answers; raises as `policy_lengths`."""
    builder = PromptBuilder(config.model.path, config.data)

    def answer_tokens(row: Example, room: int) -> int:
        text = target_text(row)
        # A token is at least one byte of the text as the tokenizer sees it, and one is the end.
        if (most := len(unicodedata.normalize("NFC", text).encode()) + 1) <= room:
            builder.check_answer(text)
            return most
        return len(builder.encode_target(text))

    return supervised_lengths(config, builder, answer_tokens)


def supervised_lengths(
    config: RunConfig,
    builder: PromptBuilder,
    answer_tokens: Callable[[Example, int], int],
    **more: Any,
) -> LengthCheck:
    """Return the check of rows whose answers are trained on: what one packed row may hold."""
    budget, longest = config.learner.tokens_per_microbatch, model_length(config.model.path)
    limit, fix = "learner.tokens_per_microbatch allows", "shorten the row, or raise the budget"
    if longest is not None and longest < budget:
        budget, limit, fix = longest, "the checkpoint's positions allow", "shorten the row"
    return LengthCheck(builder, budget, limit, fix, answer_tokens=answer_tokens, **more)


def warn_of_cut_answers(config: RunConfig, rows: Sequence[Example]) -> None:
    """Warn if engines would cut what the policy learns to write; looks at 1,000 rows or more."""
    builder = PromptBuilder(config.model.path, config.data)
    some = rows[:: max(1, len(rows) // 1_000)]
    lengths = [len(builder.encode_target(target_text(row))) for row in some]
    room = config.rollout.max_completion_tokens
    if num := sum(length > room for length in lengths):
        logger.warning(
            f"{num} of {len(lengths)} reference answers are longer than "
            f"rollout.max_completion_tokens={room}, at which RL and evaluation cut what was learnt "
            f"from them; the longest has {max(lengths)} tokens"
        )
