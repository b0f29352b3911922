"""An evaluation as metrics: greedy answers, and what the judges say of their reasoning."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from configs.schema import RewardTermConfig, RunConfig
from data.records import Example, Group, Prompt, RewardTerms
from evaluation.answers import evaluate
from rewards.pool import RewardPool
from rollout.pool import EnginePool
from trainer.reward_metrics import judged_evaluation

logger = logging.getLogger(__name__)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """Greedy results."""

    metrics: dict[str, float]
    """`PREFIX/name` -> value."""
    rows: list[Row]
    """One per prompt, in order: `evaluation.answers.answer_row`, with speaker, dataset, and the
    judged terms' values if they were asked for."""


class Evaluator:
    """Evaluates the weights that the engines serve."""

    def __init__(
        self,
        config: RunConfig,
        engines: EnginePool,
        rewards: RewardPool,
        build_prompt: Callable[[Example], Prompt],
    ) -> None:
        """Keep the parts.

        Args:
            config: The run; labels, aliases, and whether judges are asked.
            engines: Started.
            rewards: Holds all terms of the run.
            build_prompt: Example -> prompt, features as references.
        """
        self._config = config
        self._engines = engines
        self._rewards = rewards
        self._build_prompt = build_prompt
        self.answered: dict[str, Answered] = {}
        """Prefix -> its newest results."""

    def __call__(self, prefix: str, examples: Sequence[Example]) -> dict[str, float]:
        """Return greedy results on a fixed set, as metrics `PREFIX/...`; nothing for an empty set.

        With `eval.judged`, the judged terms score the answers too, whatever their weight is.
        """
        if not examples:
            return {}
        config = self._config
        prompts = [self._build_prompt(example) for example in examples]
        found = evaluate(self._engines, prompts, config.data.choices, config.rewards.aliases)
        report = found.report
        logger.info(
            f"{prefix}: {report.num_examples} clips, accuracy {report.accuracy:.3f}, "
            f"UA {report.ua:.3f}"
        )
        metrics = report.to_metrics(prefix)
        rows = [row | who(example) for row, example in zip(found.rows, examples, strict=True)]
        judged = [term.name for term in config.rewards.terms if term.judged]
        if config.eval.judged and judged:
            terms = ask_judges(self._rewards, config.rewards.terms, found.groups)
            metrics |= judged_evaluation(prefix, judged, list(terms.values()))
            rows = [row | opinions(terms[row["id"]], judged) for row in rows]
        self.answered[prefix] = Answered(metrics, rows)
        return metrics


def ask_judges(
    rewards: RewardPool, terms: Sequence[RewardTermConfig], groups: Sequence[Group]
) -> dict[str, RewardTerms]:
    """Return example id -> scores of the judged terms, whatever their weight is.

    Args:
        rewards: Holds exactly these terms.
        terms: Those that are not judged are not computed.
        groups: Of different examples.
    """
    weights = {term.name: float(term.judged) for term in terms}
    return {group.prompt.example.id: found for group, found in rewards.score(groups, weights)}


def opinions(terms: RewardTerms, judged: Sequence[str]) -> Row:
    """Return what judges say of one answer, as part of its row.

    Returns:
        `terms` (name -> value in [0, 1] or None) and `scores` (name -> dimension -> 1 to 5 or
        None; a malformed answer has none).
    """
    details = {name: terms.details[name][0] for name in judged}
    return {
        "terms": {name: terms.values[name][0] for name in judged},
        "scores": {name: dict(details[name].get("scores", {})) for name in judged},
    }


def who(example: Example) -> Row:
    """Return speaker and dataset of an example, as part of its row."""
    return {"speaker": example.speaker, "dataset": example.dataset}
