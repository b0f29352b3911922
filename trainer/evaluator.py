"""An evaluation as metrics: greedy answers, and what the judges say of their reasoning."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from configs.schema import RunConfig
from data.records import Example, Prompt
from rewards.pool import RewardPool
from rollout.pool import EnginePool
from trainer.console import log
from trainer.evaluate import evaluate
from trainer.reward_metrics import judged_evaluation


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
        config = self._config
        prompts = [self._build_prompt(example) for example in examples]
        found = evaluate(self._engines, prompts, config.data.choices, config.rewards.aliases)
        report = found.report
        log(
            f"{prefix}: {report.num_examples} clips, accuracy {report.accuracy:.3f}, "
            f"UA {report.ua:.3f}"
        )
        metrics = report.to_metrics(prefix)
        judged = [term.name for term in config.rewards.terms if term.judged]
        if config.eval.judged and judged:
            weights = {term.name: float(term.judged) for term in config.rewards.terms}
            terms = [terms for _, terms in self._rewards.score(found.groups, weights)]
            metrics |= judged_evaluation(prefix, judged, terms)
        return metrics
