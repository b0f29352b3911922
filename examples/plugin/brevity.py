"""A reward of your own: it sees the whole group and the clip's features."""

from data.records import Group
from rewards.base import Scores


class BrevityReward:
    """1 for the shortest completion of a group down to 0 for its longest; loud clips only."""

    needs_features = True  # else `group.prompt.features` is None and the clip is not sent

    def __init__(self, loud_above: float = 0.0) -> None:
        """Keep the loudness above which a clip counts, as mean of its log-mel features."""
        self.loud_above = loud_above

    def score(self, group: Group) -> Scores:
        """Return one value in [0, 1] per completion; None = not scored, which is never 0."""
        loudness = float(group.prompt.features.mean())  # [128 mel bins, F frames of 10 ms]
        lengths = [len(completion.token_ids) for completion in group.completions]
        span = max(lengths) - min(lengths)
        values = [1.0 - (n - min(lengths)) / span if span else 1.0 for n in lengths]
        scored = loudness > self.loud_above
        return Scores(
            values=tuple(value if scored else None for value in values),
            details=({"loudness": loudness},) * len(values),  # goes to the sample files
        )
