"""A reward as ms-swift reads it: `--external_plugins FILE --reward_funcs label_match`."""

from swift.plugin import ORM, orms


class LabelMatch(ORM):
    """1 where the solution's text occurs in the answer."""

    def __call__(self, completions, solution, **kwargs) -> list[float]:
        """Return one number per completion."""
        return [
            1.0 if label.lower() in text.rpartition("<answer>")[2].lower() else 0.0
            for text, label in zip(completions, solution, strict=True)
        ]


orms["label_match"] = LabelMatch
