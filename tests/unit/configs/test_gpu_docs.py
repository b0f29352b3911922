"""docs/gpu.md: every command on it can be given as it stands."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import at_size, rollout, setup, step, weight_sync
from configs.load import load_config
from demo.random_checkpoint import SIZES
from launch.cli import check_kind, run_parser

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
COMMANDS = [shlex.split(line, comments=True) for line in LINES if line.startswith("python ")]


def given(script: str) -> list[list[str]]:
    """Arguments of every command of a script."""
    return [words[2:] for words in COMMANDS if words[1] == script]


def test_scripts_exist_and_every_kind_is_tested_here():
    scripts = {words[1] for words in COMMANDS} - {"-m"}
    assert scripts >= {"launch/rl.py", "launch/sft.py", "benchmarks/at_size.py"}
    assert all((ROOT / script).is_file() for script in scripts)
    assert len(COMMANDS) == len(LINES) - 2  # all but the installation and the look at the machine


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (kind, words)
        for kind, script in (("policy", "launch/rl.py"), ("sft", "launch/sft.py"))
        for words in given(script)
    ],
    ids=" ".join,
)
def test_configurations_load(kind: str, words: list[str]):
    parsed = run_parser("").parse_intermixed_args(words)
    config = load_config(ROOT / parsed.config, parsed.overrides)
    check_kind(kind, parsed.config, config)
    assert config.device == "cuda"


@pytest.mark.parametrize("words", given("benchmarks/at_size.py"), ids=" ".join)
def test_parts_and_sizes_exist(words: list[str]):
    parsed = at_size.parse(words)
    assert parsed.parts
    assert parsed.out == Path("runs/gpu/at_size.jsonl")


@pytest.mark.parametrize(
    ("parse", "words"),
    [
        (module.parse, words)
        for module in (rollout, step, weight_sync)
        for words in given(f"benchmarks/{module.__name__.rpartition('.')[2]}.py")
    ],
)
def test_settings_of_the_other_benchmarks_load(
    parse: Callable[[list[str]], Namespace], words: list[str]
):
    overrides = parse(words).overrides
    assert setup.device_of(overrides) == "cuda"
    config = load_config(setup.CONFIG, [*setup.ON_CUDA, *overrides])
    assert config.model.dtype == "bfloat16"
    assert config.rollout.colocate == (config.sync.transport == "ipc")


def test_sizes_of_the_checkpoints_exist():
    made = given("launch/random_checkpoint.py")
    assert made
    assert {words[0] for words in made} <= SIZES.keys()
    used = set(re.findall(r"model\.path=(/tmp/\w+)", PAGE))
    assert used == {words[1] for words in made}
