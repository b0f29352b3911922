"""Our plain names beside other software: what an import gets is ours, or a start is refused."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from cadence_rl.names import DISTRIBUTION, PACKAGES, ROOT, clashes
from tests.unit.test_architecture import MAY_IMPORT


def test_the_packages_are_the_rooms() -> None:
    assert {*PACKAGES, "cadence_rl"} == MAY_IMPORT.keys()


def test_no_distribution_of_the_environment_has_a_name_of_ours() -> None:
    owners = packages_distributions()
    for name in (*PACKAGES, "cadence_rl"):
        assert set(owners.get(name, ())) <= {DISTRIBUTION}, name


def test_ours_are_found_here() -> None:
    assert clashes() == []


def cadence(*words: str, path: list[Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `cadence` in a process whose Python path begins with these folders."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "cadence_rl", *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["package", "module", "bare folder"])
def test_a_package_before_ours_is_refused(tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    if kind == "module":
        other.mkdir()
        place = other / "data.py"
        place.touch()
    else:
        (other / "data").mkdir(parents=True)
        place = other / "data" / "__init__.py"
        if kind == "package":
            place.touch()
    done = cadence("compare", "--help", path=[other, ROOT], cwd=tmp_path)
    if kind == "bare folder":  # any regular package comes before it
        assert (done.returncode, done.stderr) == (0, "")
        return
    (line,) = done.stderr.splitlines()
    assert done.returncode == 3
    assert line.startswith(f"error: `data` is found in {place}, ours is {ROOT / 'data'}. ")
    assert "an environment of its own" in line and "PYTHONPATH" in line


def installed_copy(folder: Path) -> Path:
    """Lay out our packages as pip does, with nothing in them, and return an `__init__.py`."""
    metadata = folder / "cadence_rl-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\n")
    rows = []
    for name in PACKAGES:
        file = folder / name / "__init__.py"
        file.parent.mkdir()
        file.write_text(f'"""Ours: {name}."""\n')
        digest = base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest())
        rows.append(f"{name}/__init__.py,sha256={digest.rstrip(b'=').decode()},1")
    (metadata / "RECORD").write_text("\n".join(rows))
    (folder / "cadence_rl").mkdir()
    for name in ("__init__.py", "names.py"):
        (folder / "cadence_rl" / name).write_text((ROOT / "cadence_rl" / name).read_text())
    return folder / "data" / "__init__.py"


def clashes_in(folder: Path) -> list[str]:
    code = "from cadence_rl.names import clashes\nfor clash in clashes(): print(clash)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_distribution_that_was_installed_over_ours_is_named(tmp_path: Path) -> None:
    file = installed_copy(tmp_path)
    assert clashes_in(tmp_path) == []
    file.write_text('"""Tools for data."""\n')
    other = tmp_path / "data_tools-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: data-tools\n")
    (other / "RECORD").write_text("data/__init__.py,,")
    (line,) = clashes_in(tmp_path)
    assert line == (
        f"{file} is not the file that was installed with us: it was overwritten (by data-tools)"
    )


def test_a_package_that_was_removed_is_seen(tmp_path: Path) -> None:
    file = installed_copy(tmp_path)
    file.unlink()
    file.parent.rmdir()
    lines = clashes_in(tmp_path)
    assert any(line.startswith("`data` is found in nowhere") for line in lines)
