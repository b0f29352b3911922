"""An evaluation as metrics: greedy answers, and what the judges say of their reasoning."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from configs.schema import RewardTermConfig, RunConfig
from data.loader import usable_in_threads
from data.records import Example, Group, Prompt, RewardTerms
from evaluation.answer_reader import AnswerReader
from evaluation.answers import evaluate
from evaluation.other_clips import beside_other_clips, other_clip_metrics
from evaluation.summary import AnsweredSet
from rewards.pool import RewardPool
from rollout.pool import EnginePool
from trainer.reward_metrics import judged_evaluation

logger = logging.getLogger(__name__)

Row = dict[str, Any]


@dataclass
class Evaluator:
    """Evaluates the weights that the engines serve, in a training run."""

    config: RunConfig
    engines: EnginePool
    """Started."""
    rewards: RewardPool
    """Holds all terms of the run."""
    build_prompt: Callable[[Example], Prompt]
    """Features as references."""
    answered: dict[str, AnsweredSet] = field(default_factory=dict, init=False)
    """Prefix -> its newest results."""

    def __call__(self, prefix: str, examples: Sequence[Example]) -> dict[str, float]:
        """Return greedy results on a fixed set, as metrics `PREFIX/...`; nothing for an empty set.

        Clips that cannot be used are left out and counted, or an error, as `data.bad_clips` says.
        With `eval.judged`, the judged terms score the answers too, whatever their weight is.
        """
        if not examples:
            return {}
        config = self.config
        with ThreadPoolExecutor(config.data.num_workers) as pool:
            bad_clips = config.data.bad_clips
            prompts = usable_in_threads(pool, examples, self.build_prompt, bad_clips)
        choices = config.data.choices
        reader = AnswerReader.of(choices, config.rewards.aliases)
        answers = evaluate(self.engines, prompts, reader, may_lack=True)
        report = answers.report
        logger.info(
            f"{prefix}: {report.num_examples} clips, accuracy {report.accuracy:.3f}, "
            f"UA {report.ua:.3f}"
        )
        metrics = report.to_metrics(prefix)
        metrics[f"{prefix}/skipped_clips"] = len(examples) - len(prompts)
        facts = {"benchmark": None, "probe": False}
        rows = [
            facts | row | example_fields(group.prompt.example)
            for row, group in zip(answers.rows, answers.groups, strict=True)
        ]
        judged = [term.name for term in config.rewards.terms if term.judged]
        if config.eval.judged and judged:
            terms = ask_judges(self.rewards, config.rewards.terms, answers.groups)
            metrics |= judged_evaluation(prefix, judged, list(terms.values()))
            if config.eval.other_clips:
                moved = beside_other_clips(answers.groups)
                others = ask_judges(self.rewards, config.rewards.terms, moved)
                metrics |= other_clip_metrics(prefix, judged, terms, others)
            rows = [row | judge_fields(terms[row["id"]], judged) for row in rows]
        self.answered[prefix] = AnsweredSet(
            name=prefix,
            is_benchmark=False,
            is_probe=False,
            choices=tuple(choices),
            rows=rows,
            metrics={key.partition("/")[2]: value for key, value in metrics.items()},
        )
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
    return {group.prompt.example.id: scores for group, scores in rewards.score(groups, weights)}


def judge_fields(terms: RewardTerms, judged: Sequence[str]) -> Row:
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


def example_fields(example: Example) -> Row:
    """Return speaker and dataset of an example, as part of its row."""
    return {"speaker": example.speaker, "dataset": example.dataset}
