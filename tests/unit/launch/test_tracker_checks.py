"""What preflight says of trackers without a package or a key."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from configs.load import load_config
from launch.preflight.trackers import check_trackers

TINY = Path(__file__).parents[3] / "configs" / "tiny.yaml"


def texts(*settings: str) -> list[str]:
    return [str(problem) for problem in check_trackers(load_config(TINY, settings))]


def test_packages_and_keys_are_asked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert texts() == [], "TensorBoard is there"
    (tmp_path / "swanlab").mkdir()
    (tmp_path / "swanlab" / "__init__.py").touch()
    (tmp_path / "trackio").mkdir()  # what a tracker leaves, and no package
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SWANLAB_API_KEY", "SWANLAB_MODE"):
        monkeypatch.delenv(name, raising=False)
    (missing,) = texts("log.trackers=[trackio]")
    assert "trackio is not installed" in missing and "cadence-rl[trackio]" in missing
    (keyless,) = texts("log.trackers=[swanlab]")
    assert "swanlab has no key" in keyless and "set SWANLAB_API_KEY" in keyless
    monkeypatch.setenv("SWANLAB_MODE", "offline")
    assert texts("log.trackers=[swanlab]") == []
    assert texts("log.trackers=[swanlab]", "log.project=''")[0].startswith("error: log.project")
