"""An evaluation as metrics: greedy answers, and what the judges say of their reasoning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from configs.schema import RunConfig
from data.records import Example, Prompt
from rewards.pool import RewardPool
from rollout.pool import EnginePool
from trainer.console import log
from trainer.evaluate import evaluate
from trainer.reward_metrics import judged_evaluation


@dataclass(frozen=True, slots=True)
class Answered:
    """Greedy results."""

    metrics: dict[str, float]
    """`PREFIX/name` -> value."""
    rows: list[dict[str, Any]]
    """One per prompt, in order: those of `trainer.evaluate.Evaluation`, with speaker, dataset, and
    the judged terms' values if they were asked for."""


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
            rewards: Holds the judged terms.
            build_prompt: Example -> prompt, features as references.
        """
        self._config = config
        self._engines = engines
        self._rewards = rewards
        self._build_prompt = build_prompt

    def __call__(self, prefix: str, examples: Sequence[Example]) -> dict[str, float]:
        """Return greedy results on a fixed set, as metrics `PREFIX/...`; nothing for an empty set.

        With `eval.judged`, the judged terms score the answers too, whatever their weight is.
        """
        if not examples:
            return {}
        return self.answer(prefix, [self._build_prompt(example) for example in examples]).metrics

    def answer(self, prefix: str, prompts: Sequence[Prompt]) -> Answered:
        """Return greedy results on prompts, as metrics `PREFIX/...` and as rows.

        Args:
            prefix: Of the keys.
            prompts: At least one.
        """
        config = self._config
        found = evaluate(self._engines, prompts, config.data.choices, config.rewards.aliases)
        report = found.report
        log(
            f"{prefix}: {report.num_examples} clips, accuracy {report.accuracy:.3f}, "
            f"UA {report.ua:.3f}"
        )
        metrics = report.to_metrics(prefix)
        rows = [row | _who(prompt.example) for row, prompt in zip(found.rows, prompts, strict=True)]
        judged = [term.name for term in config.rewards.terms if term.judged]
        if config.eval.judged and judged:
            weights = {term.name: float(term.judged) for term in config.rewards.terms}
            by_id = {
                group.prompt.example.id: terms
                for group, terms in self._rewards.score(found.groups, weights)
            }
            metrics |= judged_evaluation(prefix, judged, list(by_id.values()))
            rows = [
                row | {"terms": {name: by_id[row["id"]].values[name][0] for name in judged}}
                for row in rows
            ]
        return Answered(metrics, rows)


def _who(example: Example) -> dict[str, Any]:
    return {"speaker": example.speaker, "dataset": example.dataset}
