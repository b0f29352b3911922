"""What of a judge's score is owed to the clip: the same texts beside other clips of their label.

A text that recites what is typical of its label scores as much there, and so does every text where
the judge does not look at the clip.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from msgspec import structs

from data.records import Group, RewardTerms


def beside_other_clips(groups: Iterable[Group]) -> list[Group]:
    """Return groups that have kept their texts and ids, each with another clip of its label.

    By id in a circle: a clip's texts get the next one. Clips alone with their label are left out.
    """
    by_label: dict[str, list[Group]] = defaultdict(list)
    for group in sorted(groups, key=lambda group: group.prompt.example.id):
        by_label[group.prompt.example.label].append(group)
    moved: list[Group] = []
    for same in by_label.values():
        for group, other in zip(same, [*same[1:], same[0]], strict=True):
            if other is not group:
                example = structs.replace(other.prompt.example, id=group.prompt.example.id)
                moved.append(replace(group, prompt=replace(other.prompt, example=example)))
    return moved


def other_clip_metrics(
    prefix: str,
    judged: Sequence[str],
    scores: Mapping[str, RewardTerms],
    other: Mapping[str, RewardTerms],
) -> dict[str, float]:
    """Return `PREFIX/NAME_other_clip_mean` and `..._gain`, over texts that were scored twice.

    Args:
        prefix: Such as `eval`.
        judged: Names of the judged terms.
        scores: Id -> scores beside the clip that was heard.
        other: Id -> scores beside another one; some ids may lack.
    """
    metrics: dict[str, float] = {}
    for name in judged:
        pairs = [
            (here, there)
            for id, terms in other.items()
            for here, there in zip(scores[id].values[name], terms.values[name], strict=True)
            if here is not None and there is not None
        ]
        if pairs:
            metrics[f"{prefix}/{name}_other_clip_mean"] = statistics.fmean(b for _, b in pairs)
            metrics[f"{prefix}/{name}_other_clip_gain"] = statistics.fmean(a - b for a, b in pairs)
    return metrics
