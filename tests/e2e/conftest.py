"""One corpus, and for every test or file its own home, Ray folder and small configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.corpus import build_corpus
from demo.designs import LOUDNESS
from demo.material import annotate_manifest
from launch.preflight import ROOT
from tests.conftest import MakeOnce
from tests.e2e.command import RunFiles, Shell, command, open_shell

CONFIG = """\
defaults: {base}
name: run
output_dir: {folder}/runs
model:
  path: {checkpoint}
data:
  manifest: {corpus}/manifest.jsonl
  audio_root: {corpus}
rollout:
  group_size: 4
  max_completion_tokens: 24
rewards:
  packages: [rewards, tests]
  terms:
    - {{name: format, target: "rewards.format:FormatReward", weight: 0.3}}
    - {{name: accuracy, target: "rewards.accuracy:AccuracyReward", weight: 1.0}}
    - name: letters
      target: tests.e2e.toy_reward:Letters
      weight: 0.5
      schedule: {{kind: linear, num_steps: 4, start_frac: 1.0, end_frac: 0.5}}
      options: {{trace: {folder}/trace}}
    - name: gated
      target: tests.e2e.toy_reward:Letters
      weight: 0.1
      schedule:
        {{kind: gate, threshold: 0.0, window: 1, flatness: 1.0, min_steps: 2, ramp_steps: 2}}
      options: {{trace: /dev/null}}
optim:
  lr: 1e-3
  warmup_steps: 1
train:
  num_steps: 4
  prompts_per_step: 6
eval:
  every_steps: 2
  test_split: test
checkpoint:
  every_steps: 2
parity:
  num_clips: 4
log:
  report: false
"""

WriteConfig = Callable[[Path], Path]


def fill_corpus(folder: Path) -> None:
    sizes = {"num_train": 60, "num_eval": 18, "num_test": 18, "num_cold_start": 40}
    # Few voices and loud cues: learnt in the few steps of a test.
    manifest = build_corpus(folder / "corpus", **sizes, seed=0, design=LOUDNESS)
    annotate_manifest(manifest, folder / "corpus")


@pytest.fixture(scope="session")
def corpus(make_once: MakeOnce) -> Path:
    """Return the folder of a corpus of speech; do not write into it."""
    return make_once("corpus", fill_corpus) / "corpus"


@pytest.fixture(scope="session")
def write_config(corpus: Path, tiny_checkpoint: Path) -> WriteConfig:
    """Return a function that writes a small RL configuration into a folder.

    Its run folder is `runs/run` there, and `trace` there grows by a byte with every group.
    """

    def write(folder: Path) -> Path:
        path = folder / "small.yaml"
        base = ROOT / "configs" / "tiny.yaml"
        path.write_text(
            CONFIG.format(base=base, folder=folder, checkpoint=tiny_checkpoint, corpus=corpus)
        )
        return path

    return write


@pytest.fixture(scope="session")
def home(make_once: MakeOnce) -> Path:
    """Return the home folder of all commands; vLLM keeps what it learns about a model there."""
    return make_once("home", lambda folder: None)


@pytest.fixture(scope="module")
def shell(home: Path) -> Iterator[Shell]:
    """Return a shell whose Ray folder is the file's own."""
    with open_shell(home) as shell:
        yield shell


@pytest.fixture(scope="session")
def finished_run(make_once: MakeOnce, home: Path, write_config: WriteConfig) -> RunFiles:
    """Return a run of the small configuration that nobody disturbed."""

    def fill(folder: Path) -> None:
        with open_shell(home) as shell:
            done = shell.run(*command("rl", write_config(folder)))
            assert done.returncode == 0, done.stderr
            assert shell.has_used_ray  # what test_errors.py relies on

    return RunFiles(make_once("finished", fill))
