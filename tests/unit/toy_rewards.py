"""Reward plug-ins that behave, and ones that do not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from data.records import Group
from rewards.base import Scores

NOT_A_CLASS = 1


class Constant:
    """The same value for every completion, after a pause."""

    def __init__(self, value: float = 0.5, pause_s: float = 0.0) -> None:
        self._value = value
        self._pause_s = pause_s

    def score(self, group: Group) -> Scores:
        time.sleep(self._pause_s)
        assert group.prompt.features is None
        return Scores((self._value,) * len(group.completions))


class Spoken:
    """What the completion's text says: a number, `none`, `wait`, `raise`, `hang` or `die`."""

    def score(self, group: Group) -> Scores:
        texts = [completion.text for completion in group.completions]
        if "raise" in texts:
            raise KeyError("no such prosody")
        if "hang" in texts:
            time.sleep(600)
        if "wait" in texts:
            time.sleep(1.0)
            return Scores((1.0,) * len(texts))
        if "die" in texts:
            os._exit(1)
        return Scores(tuple(None if text == "none" else float(text) for text in texts))


class Short:
    """One score too few."""

    def score(self, group: Group) -> Scores:
        return Scores((1.0,) * (len(group.completions) - 1))


class Loud:
    """The largest feature of the clip."""

    needs_features = True

    def score(self, group: Group) -> Scores:
        loudest = np.max(group.prompt.features)
        shape = list(group.prompt.features.shape)
        return Scores(
            (loudest,) * len(group.completions), ({"shape": shape},) * len(group.completions)
        )


class Gated:
    """Waits for a file to appear, so that a test decides when it is done."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def score(self, group: Group) -> Scores:
        id = group.prompt.example.id
        (self._folder / f"{id}.begun").touch()
        while not (self._folder / f"{id}.go").exists():
            time.sleep(0.005)
        return Scores((1.0,) * len(group.completions))


class Broken:
    """Cannot be built."""

    def __init__(self) -> None:
        raise OSError("judge.bin is missing")

    def score(self, group: Group) -> Scores:
        raise NotImplementedError


class NoScore:
    """Has no score method."""
