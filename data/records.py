"""The records that pass between the stages; each stage returns a new one.

    Example -> Prompt -> Group[Completion] -> ScoredGroup(RewardTerms) -> GroupSample -> Microbatch

Axis letters, used in every docstring of the project:

    P prompts per step      G completions per prompt    B sequences       T tokens of a packed row
    C completion tokens     L prompt tokens             V vocabulary      N tokens that carry a loss
    S audio samples         F feature frames            M mel bins (128)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from data.parsing import ParsedOutput, parse_output

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


class Turn(msgspec.Struct, frozen=True, gc=False):
    """A message of the dialogue before the question."""

    role: str
    """`user` or `assistant`."""
    text: str
    """Empty where there is nothing but a clip."""
    audio: str = ""
    """Path of the clip that comes before the text, relative to the audio root; empty for none."""


class Example(msgspec.Struct, frozen=True, gc=False):
    """One line of a manifest.

    A struct, since a run may have a million: it is made and sent in a third of a dataclass's time.
    """

    id: str
    """Unique in its manifest."""
    audio: str
    """Path of the clip that the row is about, relative to the audio root; empty for none."""
    label: str
    """Gold answer; one of `choices` unless the row has a `target`."""
    question: str
    """What the policy is asked about the clip."""
    choices: tuple[str, ...]
    """The labels that the question offers, in the order they are shown."""
    transcript: str | None = None
    """What is said in the clip, where known."""
    prosody: Mapping[str, Any] | None = None
    """Measured prosody, as the annotation step writes it."""
    reasoning: str | None = None
    """Reference reasoning, for supervised fine-tuning."""
    target: str | None = None
    """The whole answer of a task that is not the emotion, for supervised fine-tuning."""
    task: str | None = None
    """Name of that task, such as `pitch`."""
    speaker: str | None = None
    split: str | None = None
    dataset: str | None = None
    scoring: Mapping[str, str] | None = None
    """Of a row of a public benchmark: its `rule` (`evaluation.benchmark_rules`), and name -> value
    of the groups that it reports."""
    turns: tuple[Turn, ...] = ()
    """The dialogue before the question."""
    before: tuple[str, ...] = ()
    """Clips with the question, before `audio`."""
    after: tuple[str, ...] = ()
    """Clips with the question, behind `audio`."""

    @property
    def earlier(self) -> tuple[str, ...]:
        """The clips that come before `audio`: of the turns, then of the question."""
        if not self.turns:  # of a million rows, most
            return self.before
        return (*(turn.audio for turn in self.turns if turn.audio), *self.before)

    @property
    def others(self) -> tuple[str, ...]:
        """All clips but `audio`, in the order of the prompt."""
        return (*self.earlier, *self.after)

    @property
    def clips(self) -> tuple[str, ...]:
        """All clips, in the order of the prompt."""
        return (*self.earlier, *((self.audio,) if self.audio else ()), *self.after)


@dataclass(frozen=True, slots=True)
class ClipFeatures:
    """The features of one clip."""

    value: Any
    """[M, F] float32 log-mel features, or a reference to them: one copy per node."""
    num_frames: int
    """F, in 10 ms frames."""
    num_bytes: int
    """Size of the array."""

    @classmethod
    def of(cls, features: FloatArray, publish: Callable[[FloatArray], Any]) -> ClipFeatures:
        """Publish [M, F] float32 features."""
        return cls(publish(features), features.shape[1], features.nbytes)


@dataclass(frozen=True, slots=True)
class Move:
    """What one half of a counterfactual pair hears of its clip; see `data.counterfactual`."""

    attribute: str
    """What is moved in one of the halves: `pitch`, `energy` or `rate`."""
    direction: int
    """Of this half's clip: +1 = up, -1 = down, 0 = as it is (through the vocoder too)."""
    size: float
    """Semitones, dB, or factor of the speed."""
    clean: bool
    """Whether the clip, measured, moves as it should and in nothing else, either way."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """An example as the models see it."""

    example: Example
    text: str
    """The chat-formatted prompt with one placeholder per clip, as the engine takes it."""
    token_ids: IntArray
    """[L] the same prompt tokenized, placeholders expanded to one token per audio embedding."""
    features: Any
    """[M, F] float32 log-mel features of `example.audio`, or a reference to them: one copy per
    node. F is 0 where there is no such clip."""
    num_frames: int
    """F of all clips together, in 10 ms frames."""
    beside: tuple[ClipFeatures, ...] = ()
    """The features of `example.others`."""
    move: Move | None = None
    """Of one half of a counterfactual pair."""
    counterpart: Prompt | None = None
    """The pair's moved half, where this is the one with the clip as it is; sampled as a prompt of
    its own (`trainer.pairs`)."""

    @property
    def is_moved(self) -> bool:
        """Whether its clip is another one than the example's label and measurements are about."""
        return self.move is not None and self.move.direction != 0

    @property
    def clips(self) -> tuple[Any, ...]:
        """`features` and those of the other clips, in the order of the prompt."""
        place, values = len(self.example.earlier), [clip.value for clip in self.beside]
        return (*values[:place], self.features, *values[place:])

    def with_clips(self, values: Sequence[Any]) -> Prompt:
        """Return the prompt with other `clips`, such as the arrays that references lead to."""
        place, others = len(self.example.earlier), list(values)
        features = others.pop(place)
        pairs = zip(self.beside, others, strict=True)
        beside = tuple(replace(clip, value=value) for clip, value in pairs)
        return replace(self, features=features, beside=beside)


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer to a prompt."""

    token_ids: IntArray
    """[C] sampled tokens, the end token included when the model wrote one."""
    rollout_logprobs: FloatArray
    """[C] log-probability in nats of each token when it was sampled, by the engine."""
    text: str
    """The decoded tokens without the final end token; other special tokens stay visible."""
    finish_reason: str
    """`stop` (end token) or `length` (cut at the token limit)."""
    policy_version: int
    """Version of the weights that sampled it: the number of updates before it."""
    allow_truncated: bool = False
    """`rollout.allow_truncated`: one that is whole may have been cut after its answer."""
    parsed: ParsedOutput = field(init=False, compare=False, repr=False)
    """The text taken apart, once."""

    def __post_init__(self) -> None:
        """Parse the text where the completion is made: in the engine's process, for all readers."""
        object.__setattr__(self, "parsed", parse_output(self.text, truncated=self.counts_as_cut))

    @property
    def counts_as_cut(self) -> bool:
        """Whether it did not end by itself, where it has to."""
        return self.finish_reason == "length" and not self.allow_truncated

    @classmethod
    def unsampled(cls, token_ids: IntArray, text: str = "") -> Completion:
        """Return an answer that no policy gave, such as a reference answer."""
        return cls(token_ids, np.zeros(len(token_ids), np.float32), text, "stop", policy_version=0)


@dataclass(frozen=True, slots=True)
class Group:
    """A prompt and its G completions: the unit of rewards, advantages and packing."""

    prompt: Prompt
    completions: tuple[Completion, ...]
    index: int = 0
    """Place of the prompt among those that were sampled together, such as those of a step."""
    others: tuple[Completion, ...] = ()
    """Of one half of a counterfactual pair: the completions of the other, for rewards to compare
    with."""


@dataclass(frozen=True, slots=True)
class RewardTerms:
    """Raw scores of one group, unweighted."""

    values: Mapping[str, tuple[float | None, ...]]
    """Term name -> [G] values, in [0, 1] unless the reward has other limits; None means not scored,
    which is never the same as 0."""
    details: Mapping[str, tuple[Mapping[str, Any], ...]] = field(
        default_factory=dict[str, tuple[Mapping[str, Any], ...]]
    )
    """Term name -> [G] free-form facts for the logs."""


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A group with the reward of each completion and everything that went into it."""

    group: Group
    terms: RewardTerms
    weights: Mapping[str, float]
    """Weight of each term that was applied to this group."""
    trust: float
    """Factor in (0, 1] that was applied to the reasoning term."""
    rewards: tuple[float, ...]
    """[G] weighted sums."""
    filled: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    """Term name -> [G] raw values with those not scored filled in; only terms that were applied."""
    factors: Mapping[str, float] = field(default_factory=dict[str, float])
    """Weight times trust of each term in `filled`: `rewards_i = sum_k factors_k filled_ki`."""


@dataclass(frozen=True, slots=True)
class GroupSample:
    """A group as the learner takes it."""

    group: Group
    advantages: FloatArray
    """[G] credit of each completion."""
    loss_mask: BoolArray
    """[G] False where a completion is context only and carries no loss."""


@dataclass(frozen=True, slots=True)
class Microbatch:
    """Whole groups packed into one row: each prompt with its clips once, then its completions.

    A token sees its own segment and, if it belongs to a completion, the prompt of its group,
    always causally.
    """

    input_ids: IntArray
    """[T] tokens of all groups, one after another."""
    positions: IntArray
    """[3, T] rotary positions; every completion continues at its own prompt's end. Audio-only
    prompts have equal positions on the three axes (time, height, width)."""
    group_ids: IntArray
    """[T] index of the group in this row."""
    segment_ids: IntArray
    """[T] 0 for the prompt, i + 1 for completion i of the group."""
    source: IntArray
    """[N] row position whose hidden state predicts each completion token."""
    target: IntArray
    """[N] the completion tokens predicted there, over all completions in order."""
    completion_ids: IntArray
    """[N] which completion of this row (0-based over all groups) each target belongs to."""
    rollout_logprobs: FloatArray
    """[N] nats."""
    advantages: FloatArray
    """[N] advantage of the token's completion."""
    loss_weights: FloatArray
    """[N] weight of each token in the step's loss; the weights of one optimizer update sum to 1
    over all rows and ranks (padding rows weigh nothing)."""
    features: tuple[Any, ...]
    """[M, F] float32 arrays (or references): `Prompt.clips` of all groups, in order."""
