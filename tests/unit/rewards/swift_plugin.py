"""A plug-in of ms-swift, which need not be installed."""

from swift.plugin import AsyncORM, ORM, orms  # isort: skip


class Match(ORM):
    def __init__(self, bonus: float = 0.0):
        self.bonus = bonus

    def __call__(self, completions, solution, **kwargs) -> list[float]:
        assert kwargs["messages"][0][-1] == {"role": "assistant", "content": completions[0]}
        found = zip(completions, solution, strict=True)
        return [float(s in c) + self.bonus for c, s in found]


class Asks(AsyncORM):
    async def __call__(self, completions, **kwargs) -> list[float]:
        return [0.5] * len(completions)


class NoCall(ORM):
    pass


orms["match"] = Match
