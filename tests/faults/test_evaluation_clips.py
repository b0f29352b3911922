"""Clips that go bad before and during an evaluation, and prompts that no engine takes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import ray
import soundfile as sf

from configs.load import load_config
from configs.schema import RunConfig
from data.audio import AudioError
from data.files import read_rows
from data.prompts import PromptBuilder
from data.records import Completion, Group, Prompt
from evaluation.files import write_evaluation
from evaluation.run import SetEvaluator
from evaluation.test_sets import QuestionSet, read_test_sets
from tests.fixtures import LABELS, make_corpus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"


class Right:
    """Engines whose answers are right; after a number of calls a clip goes bad.

    Args:
        spoil: Clip, and the number of the call after which it does.
        refused: Id of an example that no engine can sample.
    """

    def __init__(self, spoil: tuple[Path, int] | None, refused: str = "") -> None:
        self.spoil = spoil
        self.refused = refused
        self.asked: list[list[str]] = []

    def generate(
        self, prompts: Sequence[Prompt], *, num_completions: int = 1, **_: Any
    ) -> Iterator[Group]:
        self.asked.append([prompt.example.id for prompt in prompts])
        if self.spoil and len(self.asked) == self.spoil[1]:
            silence(self.spoil[0])
        for index, prompt in enumerate(prompts):
            if prompt.example.id != self.refused:
                text = f"<think>x</think><answer>{prompt.example.label}</answer>"
                answer = Completion.unsampled(np.arange(3), text)
                yield Group(prompt, (answer,) * num_completions, index)

    def activate(self, version: int) -> None:
        """Nothing to drop."""


def silence(clip: Path) -> None:
    sf.write(clip, np.zeros(16_000, np.float32), 16_000)


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def settings(tmp_path: Path, tiny_checkpoint: Path) -> list[str]:
    """Return the settings of an evaluation of six clips."""
    manifest = make_corpus(tmp_path, 6)
    rows = [{**json.loads(line), "split": "test"} for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        f"model.path={tiny_checkpoint}",
        f"data.manifest={manifest}",
        f"data.audio_root={tmp_path}",
        f"data.choices=[{', '.join(LABELS)}]",
        "rewards.aliases={}",
        "data.num_workers=1",
        "eval.test_split=test",
        "eval.judged=false",
        "eval.samples=2",
        "eval.controls=[silence, shuffle, energy_up]",
        "eval.latency_clips=0",
    ]


def evaluator(
    settings: list[str], engines: Right, *more: str
) -> tuple[RunConfig, SetEvaluator, QuestionSet]:
    config = load_config(TINY, [*settings, *more])
    (questions,) = read_test_sets(config)
    builder = PromptBuilder(config.model.path, config.data)
    root = Path(config.data.audio_root)
    judges = cast(Any, None)
    return config, SetEvaluator(config, builder, cast(Any, engines), judges, root), questions


@pytest.mark.fault(
    "clips are bad before and go bad during launch/evaluate.py, with data.bad_clips=skip",
    happens="left out of all numbers, each with a line in the log; counted, and said in the report",
    lost="the answers to these clips",
)
def test_bad_clips_are_left_out_and_counted(
    local_ray: None, settings: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    silence(tmp_path / "clip-1.wav")  # before: the check of the corpus finds it
    engines = Right(spoil=(tmp_path / "clip-3.wav", 1))  # during: while the set is warmed up
    config, evaluate, questions = evaluator(settings, engines, "data.bad_clips=skip")
    assert questions.num_left_out == 1 and len(questions.examples) == 5
    evaluate.warm_up(questions)
    answered = evaluate.answer(questions)
    left = ["clip-0", "clip-2", "clip-4", "clip-5"]
    assert engines.asked[0] == ["clip-0"] and engines.asked[1] == left
    assert [row["id"] for row in answered.rows] == left
    assert all(len(row["votes"]) == 2 for row in answered.rows)
    assert answered.all_metrics()["test_after/skipped_clips"] == 2
    assert answered.all_metrics()["test_after/accuracy"] == 1
    assert all([row["id"] for row in rows] == left for rows in answered.controls.values())
    assert "left out example 'clip-3'" in caplog.text
    assert "test: 4 of 6 (2 left out) clips, accuracy 1.000" in caplog.text
    write_evaluation(tmp_path / "run", config, [answered], model="m")
    page = (tmp_path / "run" / "evaluation" / "report.md").read_text()
    assert "2 rows of this set could not be used" in page
    assert len(read_rows(tmp_path / "run" / "evaluation" / "answers.jsonl")) == 4


@pytest.mark.fault(
    "a clip goes bad between its answer and its altered versions, with data.bad_clips=skip",
    happens="left out of the controls, with a line in the log; its answer stays",
    lost="its rows in the controls",
)
def test_a_clip_that_goes_bad_before_its_controls(
    local_ray: None, settings: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    engines = Right(spoil=(tmp_path / "clip-3.wav", 2))  # the answers, then the samples
    _, evaluate, questions = evaluator(settings, engines, "data.bad_clips=skip")
    answered = evaluate.answer(questions)
    assert len(answered.rows) == 6 and answered.metrics["skipped_clips"] == 0
    for name, rows in answered.controls.items():
        assert len(rows) == 5, name
        labels = {row["id"]: row["label"] for row in answered.rows}
        assert all(row["label"] == labels[row["id"]] for row in rows)
    assert "clip-3" not in {row["id"] for row in answered.controls["energy_up"]}
    assert answered.metrics["control_energy_up_accuracy"] == 1
    assert "left out example 'clip-3' of the controls" in caplog.text


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(
            call,
            marks=pytest.mark.fault(
                f"a clip goes bad during launch/evaluate.py, {when}, with data.bad_clips=error",
                happens="one line with the clip, what is wrong, and how to go on without it",
                lost="the evaluation",
            ),
        )
        for call, when in ((1, "before its answer"), (3, "before its altered versions"))
    ],
)
def test_by_default_a_bad_clip_is_one_clear_line(
    local_ray: None, settings: list[str], tmp_path: Path, call: int
):
    engines = Right(spoil=(tmp_path / "clip-3.wav", call))
    _, evaluate, questions = evaluator(settings, engines)
    with pytest.raises(AudioError, match=r"example .*clip-3\.wav: is silent") as caught:
        evaluate.warm_up(questions)
        evaluate.answer(questions)
    message = str(caught.value)
    assert "data.bad_clips=skip" in message and "\n" not in message


@pytest.mark.fault(
    "every clip of a test set goes bad during launch/evaluate.py",
    happens="one line with the set and its folder",
    lost="the evaluation",
)
def test_a_set_of_which_nothing_is_left(local_ray: None, settings: list[str], tmp_path: Path):
    _, evaluate, questions = evaluator(settings, Right(None), "data.bad_clips=skip")
    for clip in tmp_path.glob("*.wav"):
        silence(clip)
    evaluate.warm_up(questions)
    with pytest.raises(AudioError, match="test: none of its 6 clips can be used any more"):
        evaluate.answer(questions)


@pytest.mark.fault(
    "no engine can sample a prompt of launch/evaluate.py",
    happens="left out of all numbers, and counted",
    lost="the answer to this clip",
)
def test_a_prompt_that_no_engine_can_sample(local_ray: None, settings: list[str]):
    _, evaluate, questions = evaluator(settings, Right(None, refused="clip-2"))
    answered = evaluate.answer(questions)
    assert "clip-2" not in {row["id"] for row in answered.rows} and len(answered.rows) == 5
    assert answered.metrics["skipped_clips"] == 1
    assert all(len(rows) == 5 for rows in answered.controls.values())
