"""The loop of a run over parts that do nothing, with real files and hooks where faults go in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from configs.schema import (
    CheckpointConfig,
    EvalConfig,
    LogConfig,
    OptimConfig,
    RewardsConfig,
    RewardTermConfig,
    RunConfig,
    TrainConfig,
)
from data.records import Completion, Example, Group, Prompt, RewardTerms
from rewards.combine import CombineRules
from rewards.schedule import Schedule
from trainer.alarms import Alarms
from trainer.checkpoint import CheckpointStore
from trainer.classes import ClassWindow
from trainer.early_stop import EarlyStop
from trainer.loop import Parts, train
from trainer.metrics_writer import MetricsWriter
from trainer.rollouts import Rollouts
from trainer.run_folder import RunFolder
from trainer.saving import Saver
from trainer.stop import StopRequest

TERMS = [RewardTermConfig(name="accuracy", target="rewards.accuracy:AccuracyReward")]
RIGHT, WRONG = "<think>x</think><answer>sad</answer>", "<think>x</think><answer>angry</answer>"


class Loader:
    """Counts batches; a position is all its state."""

    num_skipped = 0

    def __init__(self) -> None:
        self.position = 0

    def next_batch(self) -> list[Prompt]:
        self.position += 1
        example = Example(f"clip-{self.position}", "a.wav", "sad", "Which?", ("angry", "sad"))
        return [Prompt(example, "...", np.arange(5), None, 0)]

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}


class Run:
    """The loop over parts that do nothing, with real files; `at` are hooks by step and place."""

    def __init__(self, root: Path, **sections: Any) -> None:
        self.config = replace(
            RunConfig(
                train=TrainConfig(num_steps=8, prompts_per_step=1),
                checkpoint=CheckpointConfig(every_steps=5, keep_last=9),
                eval=EvalConfig(every_steps=4),
                optim=OptimConfig(lr=1e-3),
                log=LogConfig(samples_every=0, trackers=[]),
                rewards=RewardsConfig(terms=TERMS),
            ),
            **sections,
        )
        self.folder = RunFolder(root)
        self.folder.open("seed: 1\n", lambda old: [])
        self.loader = Loader()
        self.store = CheckpointStore(self.folder.checkpoints_dir, 9)
        self.schedule = Schedule(TERMS, "accuracy")
        self.alarms = Alarms(self.config.log, [])
        self.early_stop = EarlyStop(self.config.early_stop)
        self.stop = StopRequest()
        self.stop.watch(self.folder.stop_path)
        self.at: dict[tuple[str, int], Callable[[], None]] = {}
        self.fired: list[tuple[str, int]] = []
        self.update_metrics: Callable[[int], dict[str, float]] = lambda step: {"optim/skipped": 0.0}
        self.updates = 0
        self.copied = ""
        self.evaluated: list[int] = []

    def hook(self, place: str, step: int) -> None:
        if action := self.at.pop((place, step), None):
            self.fired.append((place, step))
            action()

    def generate(
        self, prompts: Sequence[Prompt], seed: int, num_completions: int
    ) -> Iterator[Group]:
        self.hook("rollout", self.updates + 1)
        for index, prompt in enumerate(prompts):
            texts = (RIGHT, WRONG)
            completions = tuple(
                Completion(np.arange(4), np.zeros(4, np.float32), text, "stop", self.updates)
                for text in texts
            )
            yield Group(prompt, completions, index)

    def score(
        self, groups: Iterator[Group], weights: Mapping[str, float]
    ) -> Iterator[tuple[Group, RewardTerms]]:
        for group in groups:
            self.hook("reward", self.updates + 1)
            yield group, RewardTerms({"accuracy": (1.0, 0.0)})

    def update(self, samples: Sequence[Any], rate: float) -> dict[str, float]:
        self.hook("update", self.updates + 1)
        self.updates += 1
        return self.update_metrics(self.updates)

    def save(self, folder: Path) -> None:
        self.hook("save", self.updates)
        self.copied = str(self.updates)

    def saved_files(self, folder: Path) -> dict[str, int]:
        (folder / "learner.bin").write_text(self.copied)
        self.hook("saving", int(self.copied))
        return {}

    def evaluate(self, prefix: str, examples: Sequence[Example]) -> dict[str, float]:
        if prefix == "eval":
            self.hook("eval", self.updates)
            self.evaluated.append(self.updates)
        return {f"{prefix}/accuracy": 0.5}

    def train(self, step: int = 0, row: dict[str, float] | None = None) -> int:
        nothing = SimpleNamespace(
            generate=self.generate,
            score=self.score,
            update=self.update,
            save=self.save,
            saved_files=self.saved_files,
            sleep=lambda: None,
            send_weights=lambda: self.hook("sync", self.updates),
            take=lambda version, send: send(),
            metrics=dict,
            updating=lambda version: nullcontext(),
            close=lambda: None,
        )
        self.updates = step
        rules = CombineRules.from_config(self.config.rewards)
        loader, stand_in = cast(Any, self.loader), cast(Any, nothing)
        self.rollouts = Rollouts(self.config, loader, stand_in, stand_in, rules, self.schedule)
        parts = Parts(
            rollouts=self.rollouts,
            engines=stand_in,
            rules=rules,
            schedule=self.schedule,
            alarms=self.alarms,
            classes=ClassWindow(20, {}),
            early_stop=self.early_stop,
            learner=cast(Any, nothing),
            writer=MetricsWriter(self.folder, trackers=None, first_step=step),
            saver=Saver(self.config, self.store, cast(Any, nothing), step),
            evaluate=self.evaluate,
            eval_examples=[],
            test_examples=[],
            stop=self.stop,
        )
        return train(self.config, parts, step, row)

    def steps(self) -> list[int]:
        return [row["step"] for row in self.folder.rows()]

    def saved(self) -> tuple[int, dict[str, Any]]:
        newest = self.store.latest()
        assert newest is not None
        assert int((newest.path / "learner.bin").read_text()) == newest.step, "a half step"
        return newest.step, dict(newest.state)
