"""One clip in, answer and reasoning out: all but the engine, which test_listen.py of e2e runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.audio import wav_bytes
from data.records import Completion
from launch import listen
from launch.listen import main
from launch.preflight import ROOT

GOOD = "<think>The pitch is high\x1b[2J, the rate fast.</think><answer> Joy! </answer>"


def clip_in(folder: Path, seconds: float = 1.0, level: float = 0.3) -> Path:
    """A tone of 150 Hz."""
    time = np.arange(int(16_000 * seconds)) / 16_000
    path = folder / "mine.wav"
    path.write_bytes(wav_bytes(level * np.sin(2 * np.pi * 150 * time)))
    return path


@pytest.fixture
def run_folder(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """A run with an export, and labels of its own."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "export").symlink_to(tiny_checkpoint)
    (run / "config.yaml").write_text(
        f"defaults: {ROOT / 'configs' / 'tiny.yaml'}\n"
        "data: {choices: [Happy, sad]}\nrewards: {aliases: {joy: Happy}}\n"
    )
    return run


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Any]]:
    """Let the engine write a text; returns what it is asked."""

    def write(text: str) -> list[Any]:
        asked: list[Any] = []

        def ask(config: Any, builder: Any, prompt: Any) -> Completion:
            asked.append((config, prompt))
            return Completion.unsampled(np.zeros(1, np.int64), text)

        monkeypatch.setattr(listen, "ask", ask)
        return asked

    return write


def test_answer_reasoning_and_prosody_are_printed(
    tmp_path: Path,
    run_folder: Path,
    answers: Callable[[str], list[Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = answers(GOOD)
    assert main([str(clip_in(tmp_path)), "--run", str(run_folder), "seed=3"]) == 0
    out = capsys.readouterr().out
    assert f"clip:      {tmp_path}/mine.wav (1.00 s)\n" in out
    # As evaluation reads it: an alias counts, spelled as in the choices.
    assert "answer:    Happy\n" in out
    # What a policy writes cannot steer the terminal.
    assert "reasoning: The pitch is high [2J, the rate fast.\n" in out
    assert "median pitch 150" in out and "dBFS" in out
    ((config, prompt),) = asked
    assert (config.seed, config.model.path) == (3, str(run_folder / "export"))
    assert (config.rollout.num_engines, config.rewards.terms) == (1, [])
    assert prompt.num_frames == 100 and prompt.features.shape == (128, 100)
    assert "Which emotion does the speaker express?" in prompt.text


def test_clips_before_it_are_heard_and_the_last_one_is_measured(
    tmp_path: Path,
    run_folder: Path,
    answers: Callable[[str], list[Any]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    asked = answers(GOOD)
    clip, calm = clip_in(tmp_path), tmp_path / "calm"
    calm.mkdir()
    calm = clip_in(calm, seconds=0.5)
    words = [str(clip), "--before", str(calm), "--before", str(clip), "--run", str(run_folder)]
    assert main(words) == 0
    out = capfd.readouterr().out
    assert out.startswith(f"before:    {calm}\nbefore:    {clip}\nclip:      {clip} (1.00 s)\n")
    assert main([*words, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["before"] == [str(calm), str(clip)]
    prompt = asked[0][1]
    assert [array.shape[1] for array in prompt.clips] == [50, 100, 100]
    assert prompt.text.count("<|AUDIO|>") == 3


@pytest.mark.slow
def test_json_stands_alone_on_standard_output(tmp_path: Path, run_folder: Path) -> None:
    code = (
        "import os, sys, numpy as np\n"
        "from data.records import Completion\n"
        "from launch import listen\n"
        "def ask(config, builder, prompt):\n"
        "    os.write(1, b'a library talks'); print('and so do we')\n"
        f"    return Completion.unsampled(np.zeros(1, np.int64), {GOOD!r})\n"
        "listen.ask = ask\n"
        "sys.exit(listen.main(sys.argv[1:]))"
    )
    words = [str(clip_in(tmp_path)), "--run", str(run_folder), "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "a library talks" in done.stderr and "and so do we" in done.stderr
    assert (found["answer"], found["format"], found["choices"]) == ("Happy", "ok", ["Happy", "sad"])
    assert found["reasoning"].startswith("The pitch is high")
    assert found["prosody"]["f0_median_hz"] == pytest.approx(150, abs=2)
    assert found["prosody"]["duration_s"] == 1.0


def test_a_malformed_output_is_no_answer(
    tmp_path: Path,
    run_folder: Path,
    answers: Callable[[str], list[Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers("<answer>sad</answer>")
    assert main([str(clip_in(tmp_path)), "--run", str(run_folder)]) == 0
    out = capsys.readouterr().out
    assert "answer:    none, its output is malformed (missing <think>)\n" in out
    assert "it wrote:  <answer>sad</answer>\n" in out


def test_a_refusal_of_the_engine_is_an_error(
    tmp_path: Path,
    run_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(listen, "ask", lambda *_: "ValueError: no")
    clip = clip_in(tmp_path)
    assert main([str(clip), "--run", str(run_folder)]) == 4
    assert capsys.readouterr().err == f"error: {clip}: the engine refused it: ValueError: no\n"


def bad_clips(folder: Path) -> dict[str, Path]:
    """Name of what is wrong -> a clip."""
    text = folder / "notes.wav"
    text.write_text("not sound at all, but long enough to be read")
    empty = folder / "empty.wav"
    empty.touch()
    silent = folder / "silent.wav"
    silent.write_bytes(wav_bytes(np.zeros(16_000)))
    short = folder / "short.wav"
    short.write_bytes(wav_bytes(0.3 * np.sin(np.arange(800))))
    return {
        "No such file": folder / "nowhere.wav",
        "not a regular file": folder,
        "is not a readable audio file": text,
        "is empty (0 bytes)": empty,
        "is silent": silent,
        "shorter than data.min_duration_s": short,
    }


@pytest.mark.parametrize(
    "problem",
    [
        "No such file",
        "not a regular file",
        "is not a readable audio file",
        "is empty (0 bytes)",
        "is silent",
        "shorter than data.min_duration_s",
    ],
)
def test_a_clip_that_cannot_be_heard_is_one_line_and_no_engine_starts(
    tmp_path: Path,
    run_folder: Path,
    answers: Callable[[str], list[Any]],
    capsys: pytest.CaptureFixture[str],
    problem: str,
) -> None:
    asked = answers(GOOD)
    clip = bad_clips(tmp_path)[problem]
    assert main([str(clip), "--run", str(run_folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {clip}: ") and problem in line
    assert asked == []


def test_a_clip_that_leaves_no_room_for_an_answer(
    tmp_path: Path,
    run_folder: Path,
    answers: Callable[[str], list[Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = answers(GOOD)
    clip = clip_in(tmp_path, seconds=3.0)
    words = [str(clip), "--run", str(run_folder), "rollout.max_model_len=128"]
    assert main([*words, "rollout.max_completion_tokens=100"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {clip}: its prompt has ") and "leaves 28" in line
    assert asked == []


def test_a_folder_that_is_no_run_and_a_run_without_export(
    tmp_path: Path, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = str(clip_in(tmp_path))
    assert main([clip, "--run", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: holds no config.yaml; name the folder of a run\n"
    )
    (run_folder / "export").unlink()
    assert main([clip, "--run", str(run_folder)]) == 3
    assert f"error: model.path: no folder {run_folder}/export" in capsys.readouterr().err


def test_a_run_or_a_configuration_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["mine.wav"])
    assert ended.value.code == 2
    assert "one of the arguments --run --config is required" in capsys.readouterr().err


def test_a_run_is_asked_without_its_adapter_and_others_must_be_merged(
    run_folder: Path, tmp_path: Path, answers: Callable[[str], list[Any]], capsys: Any
) -> None:
    settings = "model: {adapter: somewhere/adapter}\n"
    with (run_folder / "config.yaml").open("a") as file:
        file.write(settings)
    asked = answers("<think>x</think><answer>sad</answer>")
    clip = str(clip_in(tmp_path))
    assert main([clip, "--run", str(run_folder)]) == 0
    ((config, _),) = asked
    assert config.model.adapter == "" and config.model.path == str(run_folder / "export")
    assert main([clip, "--config", str(run_folder / "config.yaml")]) == 2
    assert "model.adapter: found somewhere/adapter, but an engine" in capsys.readouterr().err
