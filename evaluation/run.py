"""Evaluation of a policy: engines and judges, no learner."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from configs.schema import RunConfig
from data.prompts import PromptBuilder, prompt_function
from data.records import Example, Group, Prompt
from evaluation.altered import altered_prompts, with_baselines
from evaluation.answer_reader import aliases_beside, begun_group, begun_prompt
from evaluation.answers import Evaluation, Reading, evaluate
from evaluation.efficiency import latency_metrics, spread, throughput_metrics, token_metrics
from evaluation.evaluator import ask_judges, opinions, who
from evaluation.grounding import control_metrics
from evaluation.self_consistency import vote_metrics, vote_row, votes_of
from evaluation.summary import AnsweredSet
from evaluation.test_sets import QuestionSet
from rewards.pool import RewardPool
from rollout.pool import EnginePool, ordered
from trainer.reward_metrics import judged_evaluation

logger = logging.getLogger(__name__)

Row = dict[str, Any]


def common_root(data: Sequence[QuestionSet]) -> Path:
    """Return the folder that holds the clips of all sets: judges know one audio root."""
    return Path(os.path.commonpath([os.path.abspath(found.data.audio_root) for found in data]))


@dataclass(frozen=True)
class Examined:
    """A test set with its answers, and those to its altered clips."""

    answered: AnsweredSet
    controls: Mapping[str, list[Row]]
    """Name of a control -> rows."""


class Examiner:
    """Asks a policy about sets of clips, one set at a time."""

    def __init__(
        self,
        config: RunConfig,
        builder: PromptBuilder,
        engines: EnginePool,
        judges: RewardPool,
        root: Path,
    ) -> None:
        """Keep the parts.

        Args:
            config: The run.
            builder: Of the policy's checkpoint.
            engines: Started.
            judges: Holds the judged terms if they are asked, else nothing.
            root: What the judges take clips' paths relative to.
        """
        self._config = config
        self._builder = builder
        self._engines = engines
        self._judges = judges
        self._root = root
        self._begun = config.eval.mode == "direct"

    def warm_up(self, questions: QuestionSet) -> None:
        """Answer one clip, so that what an engine does once is in no measurement."""
        self._answer(questions, self._prompts(questions, questions.examples[:1]))
        self._engines.activate(0)  # nothing of it stays in a cache

    def examine(self, questions: QuestionSet) -> Examined:
        """Answer a set: greedily, judged, sampled, and with altered clips, as configured."""
        prompts = self._prompts(questions, questions.examples)
        start = time.perf_counter()
        found = self._answer(questions, prompts)
        elapsed_s = time.perf_counter() - start
        metrics = token_metrics(found.rows) | throughput_metrics(found.rows, elapsed_s)
        rows = [row | self._facts(questions, example) for row, example in _with(found, questions)]
        judged, opinions_by_id = self._judged(questions, found)
        rows = [row | opinions_by_id.get(row["id"], {}) for row in rows]
        sampled, votes_by_id = self._sampled(questions, prompts)
        rows = [row | votes_by_id.get(row["id"], {}) for row in rows]
        controls = self._controls(questions)
        logger.info(
            f"{questions.name}: {len(rows)} clips, accuracy {found.report.accuracy:.3f}, "
            f"UA {found.report.ua:.3f}, {len(rows) / elapsed_s:.1f} clips/s"
        )
        metrics |= judged | sampled | control_metrics(rows, controls)
        answered = AnsweredSet(
            name=questions.name,
            is_benchmark=questions.is_benchmark,
            is_probe=questions.is_probe,
            choices=questions.choices,
            rows=rows,
            metrics=metrics,
        )
        return Examined(answered, controls)

    def latency(self, data: Sequence[QuestionSet]) -> dict[str, Any] | None:
        """Ask about a few clips of all sets one at a time, as if nothing had been asked before.

        None if that is not asked for, or there is no second clip beside one for the warm-up.
        """
        every = [(questions, example) for questions in data for example in questions.examples]
        chosen = spread(every, self._config.eval.latency_clips + 1)
        if not self._config.eval.latency_clips or len(chosen) < 2:
            return None
        prompts = [self._prompts(questions, [example])[0] for questions, example in chosen]
        self._engines.activate(0)
        found = latency_metrics(self._engines, prompts)
        logger.info(f"single requests: median {found['p50_s']:.3f} s, p95 {found['p95_s']:.3f} s")
        return {**found, "device": device_name(self._config)}

    def _answer(self, questions: QuestionSet, prompts: Sequence[Prompt]) -> Evaluation:
        choices, aliases = questions.choices, self._config.rewards.aliases
        return evaluate(
            self._engines, prompts, choices, aliases_beside(choices, aliases), begun=self._begun
        )

    def _prompts(self, questions: QuestionSet, examples: Sequence[Example]) -> list[Prompt]:
        build = prompt_function(self._builder, questions.data, ray.put)
        with ThreadPoolExecutor(questions.data.num_workers) as pool:
            return self._finished(pool.map(build, examples))

    def _finished(self, prompts: Iterator[Prompt]) -> list[Prompt]:
        """Return the prompts as the mode wants them."""
        return [begun_prompt(p, self._builder) if self._begun else p for p in prompts]

    def _facts(self, questions: QuestionSet, example: Example) -> Row:
        benchmark = questions.name if questions.is_benchmark else None
        task = {"task": example.task} if example.task else {}
        return {"benchmark": benchmark, "probe": questions.is_probe, **who(example), **task}

    def _judged(
        self, questions: QuestionSet, found: Evaluation
    ) -> tuple[dict[str, float], dict[str, Row]]:
        """Return metrics of the judges, and what they say of each answer."""
        config = self._config
        names = [term.name for term in config.rewards.terms if term.judged]
        if not (config.eval.judged and names) or self._begun or questions.is_probe:
            return {}, {}
        terms = [term for term in config.rewards.terms if term.judged]
        groups = [self._rooted(group, questions) for group in found.groups]
        by_id = ask_judges(self._judges, terms, groups)
        metrics = judged_evaluation("eval", names, list(by_id.values()))
        return (
            {key.partition("/")[2]: value for key, value in metrics.items()},
            {name: opinions(found, names) for name, found in by_id.items()},
        )

    def _rooted(self, group: Group, questions: QuestionSet) -> Group:
        """Return a group with its clip's path relative to the judges' audio root."""
        example = group.prompt.example
        path = Path(os.path.abspath(questions.data.audio_root)) / example.audio
        here = replace(example, audio=path.relative_to(self._root).as_posix())
        return replace(group, prompt=replace(group.prompt, example=here))

    def _sampled(
        self, questions: QuestionSet, prompts: Sequence[Prompt]
    ) -> tuple[dict[str, float], dict[str, Row]]:
        """Return metrics of the samples, and each clip's votes."""
        config = self._config
        if not config.eval.samples:
            return {}, {}
        aliases = aliases_beside(questions.choices, config.rewards.aliases)
        reading = Reading.of(questions.choices, aliases, begun=self._begun)
        sampled = self._engines.generate(
            prompts, seed=config.seed, num_completions=config.eval.samples
        )
        groups = ordered(sampled, prompts)
        votes = {
            group.prompt.example.id: votes_of(begun_group(group) if self._begun else group, reading)
            for group in groups
        }
        rows = {name: vote_row(found) for name, found in votes.items()}
        return vote_metrics(list(votes.values())), rows

    def _controls(self, questions: QuestionSet) -> dict[str, list[Row]]:
        """Return the answers to altered clips; what judges say of those is not asked."""
        names = with_baselines(self._config.eval.controls)
        rows: dict[str, list[Row]] = {name: [] for name in names}
        chunks = altered_prompts(
            names, questions.examples, self._builder, questions.data, self._config.seed
        )
        for name, prompts in chunks:
            found = self._answer(questions, self._finished(iter(prompts)))
            facts = [self._facts(questions, prompt.example) for prompt in prompts]
            rows[name] += [row | more for row, more in zip(found.rows, facts, strict=True)]
        return rows


def _with(found: Evaluation, questions: QuestionSet) -> Iterator[tuple[Row, Example]]:
    return zip(found.rows, questions.examples, strict=True)


def device_name(config: RunConfig) -> str:
    """Return what answers: the GPU, or the processor with the engine's threads."""
    if config.device == "cuda":
        import torch

        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "a GPU elsewhere"
        return f"{config.rollout.tensor_parallel} x {name}"
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.machine()
    return f"{config.rollout.cpu_threads} threads of {name}"
