"""Dynamic sampling: other prompts in the place of those whose groups tell nothing apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from configs.schema import AdvantageConfig
from data.loader import PromptLoader
from data.records import Prompt, ScoredGroup


@dataclass(frozen=True)
class Refilled:
    """A step's groups after its refill."""

    groups: Sequence[ScoredGroup]
    """As many as were drawn; one that came later has the place and index of the one it replaces."""
    metrics: Mapping[str, float]
    """`refill/*` of docs/metrics.md."""


class Refill:
    """Replaces flat groups by those of further prompts, for some rounds; the size of a step stays.

    The further prompts come from an order of their own over the same rows. So a step draws the same
    prompts as without refill, those of steps ahead included, and their place in the data does not
    depend on how many groups were flat.

    Source: DAPO (arXiv 2503.14476), section 3.2, which samples until the batch is full; here a
    round draws as many prompts as are missing, and the budget is a number of rounds.
    """

    def __init__(self, config: AdvantageConfig, loader: PromptLoader) -> None:
        """Fill up to `advantage.refill_rounds` times from a loader that nobody else draws from."""
        self._config = config
        self._loader = loader

    def fill(
        self,
        drawn: Sequence[ScoredGroup],
        sample: Callable[[Sequence[Prompt], int], Sequence[ScoredGroup]],
    ) -> Refilled:
        """Replace flat groups until none is left or the rounds are spent; the rest stays flat.

        Args:
            drawn: The step's groups, in the order of its prompts.
            sample: (prompts, number of the round from 1) -> their scored groups; may lack some.
        """
        groups = list(drawn)
        flat = [place for place, item in enumerate(groups) if is_flat(item, self._config)]
        num_sampled, num_rounds, num_flat = len(groups), 0, len(flat)
        while flat and num_rounds < self._config.refill_rounds:
            num_rounds += 1
            more = sample(self._loader.next_batch(len(flat)), num_rounds)
            num_sampled += len(more)
            for item in more:
                if not is_flat(item, self._config):
                    place = flat.pop(0)
                    group = replace(item.group, index=groups[place].group.index)
                    groups[place] = replace(item, group=group)
        metrics = {
            "refill/rounds": float(num_rounds),
            "refill/groups_sampled": float(num_sampled),
            "refill/groups_replaced": float(num_flat - len(flat)),
            "refill/groups_used": float(len(groups) - len(flat)),
        }
        return Refilled(groups, metrics)

    @property
    def num_skipped(self) -> int:
        """Examples that were left out when their turn came, see `PromptLoader`."""
        return self._loader.num_skipped

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the order of the further prompts, as JSON data."""
        return self._loader.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a saved place; a checkpoint of a run without refill has none.

        Raises:
            CursorError: As `PromptLoader.load_state_dict`.
        """
        if state:
            self._loader.load_state_dict(state)

    def close(self) -> None:
        """Stop the loader's threads."""
        self._loader.close()


def is_flat(item: ScoredGroup, config: AdvantageConfig) -> bool:
    """Return whether a group's rewards are equal, or the scores of the term `refill_by`.

    Equal means within `advantage.tolerance`. Scores that are missing are no scores: a group that
    the term did not score at all is judged by its rewards alone.
    """
    values = item.terms.values.get(config.refill_by, ())
    scores = [value for value in values if value is not None]
    return any(max(v) - min(v) <= config.tolerance for v in (item.rewards, scores) if v)
