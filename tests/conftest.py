"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from demo.checkpoint import build_checkpoint

# A deadline would be a timed assertion: on a busy machine it fails whatever the code does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the demo's checkpoint with random weights; do not write into it."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny"
    build_checkpoint(path)
    return path
