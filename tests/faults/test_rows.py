"""Rows, clips and files that would end a run late: a dry run finds them, and `skip` goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from launch.cli import main
from tests.fixtures import LABELS, make_corpus, tone, write_manifest

ROOT = Path(__file__).parents[2]

DryRun = Callable[..., tuple[int, str]]

ONE_LIST = "refused before anything starts, in one list with the ids of all such rows; "
SKIPPED = "data.bad_clips=skip leaves them out and counts them"


@pytest.fixture
def dry_run(
    tmp_path: Path,
    tiny_checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> DryRun:
    """Return a function that dry-runs a command on the corpus; gives exit code and all output."""
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)

    def run(kind: str, *overrides: str) -> tuple[int, str]:
        name = {"policy": "tiny", "sft": "tiny_sft"}[kind]
        files = [
            f"model.path={tiny_checkpoint}",
            f"data.manifest={tmp_path}/manifest.jsonl",
            f"data.audio_root={tmp_path}",
            f"data.choices=[{', '.join(LABELS)}]",
            "data.train_split=train",
            "eval={test_split: '', benchmarks: []}",
            "rewards.aliases={}",
            f"output_dir={tmp_path}/runs",
            "train.prompts_per_step=4",
        ]
        argv = ["--config", str(ROOT / "configs" / f"{name}.yaml"), *files, *overrides, "--dry-run"]
        code = main(kind, "", argv)
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return run


def edit(folder: Path, changes: dict[int, dict[str, Any]]) -> None:
    """Change fields of rows, counted from 0; None takes a field out."""
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    rows = [json.loads(line) | changes.get(n, {}) for n, line in enumerate(lines)]
    kept = [{key: value for key, value in row.items() if value is not None} for row in rows]
    write_manifest(folder / "manifest.jsonl", kept)


def long_question(folder: Path) -> None:
    edit(folder, {5: {"question": "word " * 2000}})


def long_clip(folder: Path) -> None:
    sf.write(folder / "clip-5.wav", np.tile(tone(440.0, duration_s=1.0), 20), 16_000)


def control_token(folder: Path) -> None:
    edit(folder, {5: {"question": "Say <|im_end|> {choices}"}})


def silent_clip(folder: Path) -> None:
    sf.write(folder / "clip-5.wav", np.zeros(8_000), 16_000)


def nan_clip(folder: Path) -> None:
    sf.write(folder / "clip-5.wav", np.full(8_000, np.nan, np.float32), 16_000, subtype="FLOAT")


def silent_eval_clip(folder: Path) -> None:
    sf.write(folder / "clip-7.wav", np.zeros(8_000), 16_000)


def no_reasoning(folder: Path) -> None:
    edit(folder, {5: {"reasoning": None}})


def tag_in_reasoning(folder: Path) -> None:
    edit(folder, {5: {"reasoning": "high <answer> low"}})


def long_reasoning(folder: Path) -> None:
    edit(folder, {5: {"reasoning": "word " * 60_000}})


SPOILS = [
    ("policy", long_question, "a question longer than the model's room", "takes 60"),
    ("policy", long_clip, "a clip whose tokens leave no room", "takes 5"),
    ("policy", control_token, "a control token in a question", "<|im_end|>; remove it"),
    ("policy", silent_clip, "a silent clip in the middle of the corpus", "is silent"),
    ("policy", nan_clip, "a clip with samples that are not finite", "NaN or infinite"),
    ("policy", silent_eval_clip, "a silent clip in the eval split", "is silent"),
    ("sft", long_question, "a supervised row with a question that is too long", "takes 60"),
    ("sft", no_reasoning, "a supervised row without reasoning", "has no 'reasoning'"),
    ("sft", tag_in_reasoning, "a supervised row with a tag inside", "holds <answer>"),
    ("sft", long_reasoning, "a supervised row with 60,000 words", "positions allow 4096"),
]


@pytest.mark.parametrize(
    ("kind", "spoil", "message"),
    [
        pytest.param(
            kind,
            spoil,
            message,
            id=f"{kind}-{spoil.__name__}",
            marks=pytest.mark.fault(name, happens=ONE_LIST + SKIPPED, lost="nothing"),
        )
        for kind, spoil, name, message in SPOILS
    ],
)
def test_a_row_that_cannot_be_used(
    dry_run: DryRun, tmp_path: Path, kind: str, spoil: Callable[[Path], None], message: str
) -> None:
    make_corpus(tmp_path, 16)
    assert dry_run(kind)[0] == 0
    spoil(tmp_path)
    code, text = dry_run(kind)
    assert code == 2, text
    bad = "clip-7" if spoil is silent_eval_clip else "clip-5"
    assert "data.bad_clips=skip leaves them out" in text
    assert f"\n{bad}: " in text and message in text
    assert len(text.splitlines()) == 2
    code, text = dry_run(kind, "data.bad_clips=skip")
    assert code == 0, text
    rows = 12 if kind == "sft" else 16
    assert f"leaving out 1 of {rows} rows that cannot be used, first {bad}: " in text
    assert ("11 train, 1 left out" in text) == (bad == "clip-5")


@pytest.mark.fault(
    "several kinds of bad rows, a plug-in that is misspelled and a checkpoint that is whole",
    happens="all problems at once, exit code 3",
    lost="nothing",
)
def test_problems_of_all_kinds_come_at_once(dry_run: DryRun, tmp_path: Path) -> None:
    make_corpus(tmp_path, 16)
    long_question(tmp_path)
    sf.write(tmp_path / "clip-8.wav", np.zeros(8_000), 16_000)
    code, text = dry_run(
        "policy",
        "rewards.terms.1.target=rewards.accuracy:AccuracyRewrad",
        "train.prompts_per_step=13",
    )
    assert code == 3
    assert "did you mean AccuracyReward?" in text
    assert "2 rows cannot be used" in text and "clip-5: takes" in text and "clip-8: " in text
    assert "split 'train' has 12 usable rows and a step takes 13" in text


FILES = (
    "chat_template.jinja",
    "config.json",
    "model.safetensors",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.fault(
                f"a checkpoint folder without {name}",
                happens="refused before anything starts, with the name of the file",
                lost="nothing",
            ),
        )
        for name in FILES
    ],
)
def test_a_checkpoint_that_is_not_whole(
    dry_run: DryRun, tmp_path: Path, tiny_checkpoint: Path, name: str
) -> None:
    make_corpus(tmp_path, 16)
    part = Path(shutil.copytree(tiny_checkpoint, tmp_path / "part"))
    (part / name).unlink()
    code, text = dry_run("policy", f"model.path={part}")
    assert code == 3, text
    assert f"{part} lacks {'*.safetensors' if name == 'model.safetensors' else name}" in text


@pytest.mark.fault(
    "the files of a checkpoint's tokenizer are damaged",
    happens="refused before anything starts, with the reason in one line",
    lost="nothing",
)
@pytest.mark.parametrize("name", ["tokenizer.json", "processor_config.json"])
def test_a_checkpoint_with_damaged_files(
    dry_run: DryRun, tmp_path: Path, tiny_checkpoint: Path, name: str
) -> None:
    make_corpus(tmp_path, 16)
    part = Path(shutil.copytree(tiny_checkpoint, tmp_path / "part"))
    (part / name).write_text('{"version": 3}')
    code, text = dry_run("policy", f"model.path={part}")
    assert code == 2, text
    assert f"{part}: its tokenizer and feature extractor cannot be loaded (" in text
    assert "Traceback" not in text


@pytest.mark.fault(
    "RAY_TMPDIR is too long for the paths of sockets",
    happens="refused before anything starts, with the export that helps",
    lost="nothing",
)
def test_a_temporary_folder_with_a_long_name(
    dry_run: DryRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_corpus(tmp_path, 16)
    monkeypatch.setenv("RAY_TMPDIR", "/scratch/" + "a" * 81)
    code, text = dry_run("policy")
    assert code == 3
    assert f"export RAY_TMPDIR=/tmp/ray-{os.getuid()}" in text


@pytest.mark.fault(
    "a plug-in that raises, or ends its process, when it is imported",
    happens="refused before anything starts, with its last line",
    lost="nothing",
)
@pytest.mark.parametrize(
    ("code", "said"),
    [("1 / 0", "ZeroDivisionError: division by zero"), ("import os; os._exit(7)", "ended with 7")],
)
def test_a_plugin_that_cannot_be_imported(
    dry_run: DryRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    make_corpus(tmp_path, 16)
    (tmp_path / "toy_plugin.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    exit_code, text = dry_run(
        "policy",
        "rewards.packages=[rewards, toy_plugin]",
        "rewards.terms.1.target=toy_plugin:Mine",
    )
    assert exit_code == 3
    assert "rewards.terms.1.target: toy_plugin:Mine: its import fails: " in text
    assert said in text


@pytest.mark.fault(
    "every training row has the same label",
    happens="refused before anything starts",
    lost="nothing",
)
def test_rows_of_one_label(dry_run: DryRun, tmp_path: Path) -> None:
    make_corpus(tmp_path, 16)
    edit(tmp_path, {number: {"label": "sad"} for number in range(16)})
    code, text = dry_run("policy")
    assert code == 2
    assert "every row of split 'train' has the label 'sad'" in text
