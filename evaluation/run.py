"""Evaluation of a policy: engines and judges, no learner."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import ray
from msgspec import structs

from configs.schema import RunConfig
from data.audio import AudioError
from data.loader import usable_in_threads, usable_prompts
from data.prompts import PromptBuilder, prompt_function
from data.records import Example, Group, Prompt
from evaluation.altered import altered_prompts
from evaluation.answer_reader import (
    AnswerReader,
    aliases_beside,
    prefilled_group,
    prefilled_prompt,
)
from evaluation.answers import Answers, evaluate
from evaluation.controls import CONTROLS, moving, with_baselines
from evaluation.efficiency import (
    evenly_spaced,
    latency_metrics,
    throughput_metrics,
    token_metrics,
)
from evaluation.evaluator import ask_judges, example_fields, judge_fields
from evaluation.faithfulness import claims_of, evaluated, faithfulness_metrics
from evaluation.grounding import control_metrics
from evaluation.other_clips import beside_other_clips, other_clip_metrics
from evaluation.self_consistency import vote_metrics, vote_row, votes_of
from evaluation.shift import Levels, level_shifts, sampled_levels, shift_metrics
from evaluation.summary import AnsweredSet
from evaluation.test_sets import QuestionSet
from rewards.pool import RewardPool
from rollout.pool import EnginePool, ordered
from trainer.reward_metrics import judged_evaluation

logger = logging.getLogger(__name__)

Row = dict[str, Any]


def common_root(sets: Sequence[QuestionSet]) -> Path:
    """Return the folder that holds the clips of all sets: judges know one audio root."""
    roots = [os.path.abspath(questions.data.audio_root) for questions in sets]
    return Path(os.path.commonpath(roots))


@dataclass(frozen=True)
class SetEvaluator:
    """Asks a policy about sets of clips, one set at a time."""

    config: RunConfig
    builder: PromptBuilder
    """Of the policy's checkpoint."""
    engines: EnginePool
    """Started."""
    judges: RewardPool
    """Holds the judged terms if they are asked, else nothing."""
    root: Path
    """What the judges take clips' paths relative to."""

    def warm_up(self, questions: QuestionSet) -> None:
        """Answer one clip, so that what an engine does once is in no measurement."""
        build = prompt_function(self.builder, questions.data, ray.put)
        usable = usable_prompts(questions.examples, build, questions.data.bad_clips)
        prompts = self._in_mode(islice(usable, 1))
        if prompts:
            evaluate(self.engines, prompts, self._reader(questions), may_lack=True)
        self.engines.activate(0)  # nothing of it stays in a cache

    def answer(self, questions: QuestionSet) -> AnsweredSet:
        """Answer a set: greedily, judged, sampled, and with altered clips, as configured.

        Rows whose clips cannot be used, and prompts that no engine can sample, are left out and
        counted; a clip is an error instead unless `data.bad_clips` says so.

        Raises:
            AudioError: A clip cannot be used, or nothing of the set is left.
        """
        prompts = self._prompts(questions, questions.examples)
        start = time.perf_counter()
        answers = self._answers(questions, prompts)
        elapsed_s = time.perf_counter() - start
        num_rows = questions.num_left_out + len(questions.examples)
        answered = {group.prompt.example.id for group in answers.groups}
        prompts = [prompt for prompt in prompts if prompt.example.id in answered]
        questions = replace(questions, examples=[prompt.example for prompt in prompts])
        judged, judged_rows = self._judged(questions, answers.groups)
        sampled, sampled_rows = self._sampled(questions, prompts)
        levels = self._levels(prompts, "")
        rows = [
            row
            | self._set_fields(questions, example)
            | judged_rows.get(example.id, {})
            | sampled_rows.get(example.id, {})
            | _levels_field(levels, example)
            for row, example in zip(answers.rows, questions.examples, strict=True)
        ]
        controls = self._controls(questions)
        left_out = num_rows - len(rows)
        of_all = f" of {num_rows} ({left_out} left out)" if left_out else ""
        logger.info(
            f"{questions.name}: {len(rows)}{of_all} clips, accuracy {answers.report.accuracy:.3f}, "
            f"UA {answers.report.ua:.3f}, {len(rows) / elapsed_s:.1f} clips/s"
        )
        return AnsweredSet(
            name=questions.name,
            is_benchmark=questions.is_benchmark,
            is_probe=questions.is_probe,
            choices=questions.choices,
            rows=rows,
            metrics={"skipped_clips": float(left_out)}
            | token_metrics(rows)
            | throughput_metrics(rows, elapsed_s)
            | judged
            | sampled
            | faithfulness_metrics(evaluated(rows))
            | control_metrics(rows, controls)
            | shift_metrics(level_shifts(rows, controls)),
            controls=controls,
        )

    def latency(self, sets: Sequence[QuestionSet]) -> dict[str, Any] | None:
        """Ask about a few clips of all sets one at a time, as if nothing had been asked before.

        None if that is not asked for, or there is no second clip beside one for the warm-up.
        """
        every = [(questions, example) for questions in sets for example in questions.examples]
        chosen = evenly_spaced(every, self.config.eval.latency_clips + 1)
        if not self.config.eval.latency_clips or len(chosen) < 2:
            return None
        prompts = [prompt for test_set, row in chosen for prompt in self._prompts(test_set, [row])]
        if len(prompts) < 2:
            return None
        self.engines.activate(0)
        measured = latency_metrics(self.engines, prompts)
        logger.info(
            f"single requests: median {measured['p50_s']:.3f} s, p95 {measured['p95_s']:.3f} s"
        )
        return {**measured, "device": device_name(self.config)}

    @property
    def _is_direct(self) -> bool:
        return self.config.eval.mode == "direct"

    def _reader(self, questions: QuestionSet) -> AnswerReader:
        aliases = aliases_beside(questions.choices, self.config.rewards.aliases)
        return AnswerReader.of(questions.choices, aliases, prefilled=self._is_direct)

    def _prompts(self, questions: QuestionSet, examples: Sequence[Example]) -> list[Prompt]:
        build = prompt_function(self.builder, questions.data, ray.put)
        with ThreadPoolExecutor(questions.data.num_workers) as pool:
            bad_clips = questions.data.bad_clips
            return self._in_mode(usable_in_threads(pool, examples, build, bad_clips))

    def _answers(self, questions: QuestionSet, prompts: Sequence[Prompt]) -> Answers:
        if not prompts:
            raise AudioError(
                f"{questions.name}: none of its {len(questions.examples)} clips can be used any "
                f"more; see the lines above, and data.audio_root: {questions.data.audio_root}"
            )
        return evaluate(self.engines, prompts, self._reader(questions), may_lack=True)

    def _in_mode(self, prompts: Iterable[Prompt]) -> list[Prompt]:
        if self._is_direct:
            return [prefilled_prompt(prompt, self.builder) for prompt in prompts]
        return list(prompts)

    def _set_fields(self, questions: QuestionSet, example: Example) -> Row:
        benchmark = questions.name if questions.is_benchmark else None
        task = {"task": example.task} if example.task else {}
        fields = {"benchmark": benchmark, "probe": questions.is_probe}
        return {**fields, **example_fields(example), **task}

    def _judged(
        self, questions: QuestionSet, groups: Sequence[Group]
    ) -> tuple[dict[str, float], Mapping[str, Row]]:
        """Return metrics of the judges, and what they say of each answer."""
        terms = [term for term in self.config.rewards.terms if term.judged]
        names = [term.name for term in terms]
        if not (self.config.eval.judged and names) or self._is_direct or questions.is_probe:
            return {}, {}
        rooted = [self._rooted(group, questions) for group in groups]
        by_id = ask_judges(self.judges, terms, rooted)
        metrics = judged_evaluation("eval", names, list(by_id.values()))
        if self.config.eval.other_clips:
            others = ask_judges(self.judges, terms, beside_other_clips(rooted))
            metrics |= other_clip_metrics("eval", names, by_id, others)
        return (
            {key.partition("/")[2]: value for key, value in metrics.items()},
            {name: judge_fields(scores, names) for name, scores in by_id.items()},
        )

    def _rooted(self, group: Group, questions: QuestionSet) -> Group:
        """Return a group with its clip's path relative to the judges' audio root."""
        example = group.prompt.example
        if not example.audio:
            return group
        path = Path(os.path.abspath(questions.data.audio_root)) / example.audio
        here = structs.replace(example, audio=path.relative_to(self.root).as_posix())
        return replace(group, prompt=replace(group.prompt, example=here))

    def _sampled(
        self, questions: QuestionSet, prompts: Sequence[Prompt]
    ) -> tuple[dict[str, float], Mapping[str, Row]]:
        """Return metrics of the samples, and each clip's votes."""
        num_samples = self.config.eval.samples
        if not num_samples:
            return {}, {}
        reader = self._reader(questions)
        groups = self._sample(prompts, num_samples)
        if reader.prefilled:
            groups = [prefilled_group(group) for group in groups]
        votes = {group.prompt.example.id: votes_of(group, reader) for group in groups}
        claims = {
            group.prompt.example.id: [
                claims_of(completion.text) for completion in group.completions
            ]
            for group in groups
            if not reader.prefilled
        }
        return (
            vote_metrics(list(votes.values())),
            {
                id: vote_row(v) | ({"vote_claims": claims[id]} if id in claims else {})
                for id, v in votes.items()
            },
        )

    def _sample(self, prompts: Sequence[Prompt], num_completions: int) -> list[Group]:
        """Return sampled groups. A clip's seeds are its own, the same in every call."""
        groups = self.engines.generate(
            prompts, seed=self.config.seed, num_completions=num_completions
        )
        return ordered(groups, prompts, may_lack=True)

    @cached_property
    def _sampled_controls(self) -> Collection[str]:
        """Controls of which texts are sampled; empty = the clips as they are."""
        if not self.config.eval.control_samples or self._is_direct:
            return ()
        moves = moving(self.config.eval.controls)
        return {*moves, *(CONTROLS[name].baseline for name in moves)}

    def _levels(self, prompts: Sequence[Prompt], control: str) -> dict[str, Levels]:
        """Return id -> what sampled texts claim, of controls that are sampled."""
        if control not in self._sampled_controls:
            return {}
        groups = self._sample(prompts, self.config.eval.control_samples)
        return {group.prompt.example.id: sampled_levels(group) for group in groups}

    def _controls(self, questions: QuestionSet) -> dict[str, list[Row]]:
        """Return the answers to altered clips; what judges say of those is not asked."""
        names = with_baselines(self.config.eval.controls)
        rows: dict[str, list[Row]] = {name: [] for name in names}
        chunks = altered_prompts(
            names,
            questions.examples,
            self.builder,
            questions.data,
            self.config.seed,
            measured=bool(self._sampled_controls),
        )
        for name, prompts, clean in chunks:
            if not prompts:
                continue
            reader, prompts = self._reader(questions), self._in_mode(prompts)
            answers = evaluate(self.engines, prompts, reader, may_lack=True)
            levels = self._levels(prompts, name)
            rows[name] += [
                row
                | self._set_fields(questions, group.prompt.example)
                | _levels_field(levels, group.prompt.example)
                | ({"clean": row["id"] in clean} if levels and CONTROLS[name].attribute else {})
                for row, group in zip(answers.rows, answers.groups, strict=True)
            ]
        return rows


def _levels_field(levels: Mapping[str, Levels], example: Example) -> Row:
    """Return what sampled texts claim, and what is so; nothing where none were sampled."""
    if example.id not in levels:
        return {}
    measured = {key: (example.prosody or {}).get(key) for key in levels[example.id]}
    return {"levels": levels[example.id], "measured": measured}


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
