"""The contract of a judge: reasoning in, four scores or a reason for their absence out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, cast

from data.records import Prompt
from rewards.base import find_class

DIMENSIONS = (
    "factual_alignment",
    "interpretative_quality",
    "caption_completeness",
    "fluency_and_structural_clarity",
)
"""What reasoning is judged by, 1 to 5 each. Source: EmotionThinker, keys of its reward model."""

LOWEST, HIGHEST = 1.0, 5.0
"""Range of a score. The reward divides by 5, so it lies in [0.2, 1]."""


NO_CLIP = "no clip"
"""Why a judge that hears the clip has no scores for a row without one."""

NOT_APPLICABLE: Mapping[str, Any] = MappingProxyType({"not_applicable": True})
"""Details of a judgement that a row without a clip cannot have: nothing has failed."""

UNREADABLE: Mapping[str, Any] = MappingProxyType({"unreadable": LOWEST / HIGHEST})
"""Details of a judgement that is missing because of how the text is written: its policy chose so,
and `rewards.combine` gives it the lowest reward that there is instead of the group's mean."""


class JudgeError(ValueError):
    """A judge that cannot be built or answered nonsense; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class JudgeContext:
    """What a judge may know of the run it serves."""

    audio_root: str
    """Folder that `Example.audio` is relative to."""
    device: str = "cpu"
    """Where the run computes: `cpu` or `cuda`."""
    packages: Sequence[str] = ("rewards",)
    """Top-level packages that judges may be loaded from."""
    follow_links: bool = False
    """Whether links below `audio_root` may lead out of it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge says of one completion's reasoning."""

    scores: Mapping[str, float | None]
    """Dimension -> score in [1, 5], for exactly the judge's `dimensions`; None = not scored."""
    missing: str = ""
    """Why scores are missing, in a few words that can be counted (`timeout`, `http 429`, `not
    json`); empty if none is."""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON facts for logs and metrics. Known to the metrics, all optional: `latency_s`, `calls`,
    `prompt_tokens`, `completion_tokens`, `cached` (bool)."""


def unscored(reason: str, details: Mapping[str, Any] | None = None) -> Judgement:
    """Return a judgement without scores, which says why they are missing."""
    return Judgement(dict.fromkeys(DIMENSIONS), reason, details or {})


class Judge(Protocol):
    """Scores reasoning; built once per reward worker as `Class(context, **judge_options)`.

    A judge whose attribute `broken` is true after it was asked is built again in another process,
    and asked again; it may have none.

    `default_weights` (dimension -> weight) counts where a run gives no weights; a judge without it
    has its dimensions weighed equally.

    `judge` may be called from several threads at a time, up to the term's `concurrency`. It never
    raises for what a server or model does: a failure is a `Judgement` without scores.
    """

    dimensions: tuple[str, ...]
    """Those of `DIMENSIONS` that this judge answers."""

    def judge(self, prompt: Prompt, reasonings: Sequence[str]) -> list[Judgement]:
        """Judge the reasoning of a group's well-formed completions.

        Args:
            prompt: What was asked; `prompt.features` is the [M, F] array of the clip that the row
                is about, of no frames if there is none. Other clips of the prompt are not sent.
            reasonings: R bodies of think blocks, as the policy wrote them: foreign text. Nothing
                else of a completion reaches a judge.

        Returns:
            R judgements, in order.
        """
        ...

    def close(self) -> None:
        """Free what the judge holds."""
        ...


def load_judge(target: str, options: Mapping[str, Any], context: JudgeContext) -> Judge:
    """Return a new judge.

    Args:
        target: "module:Class", such as "rewards.judges.measured:MeasuredJudge".
        options: Keyword arguments of the class besides the context.
        context: What it may know of the run.

    Raises:
        JudgeError: The target is malformed, outside the packages, cannot be imported, is no judge,
            or does not take the options.
    """
    kind = find_class("judge", target, context.packages, "judge", JudgeError)
    try:
        inspect.signature(kind).bind(context, **options)
    except TypeError as error:
        raise JudgeError(
            f"judge {target!r}: judge_options {sorted(options)} do not fit "
            f"{kind.__name__}{inspect.signature(kind)}: {error}"
        ) from error
    return cast(Judge, kind(context, **options))
