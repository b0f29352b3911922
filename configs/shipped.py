"""Files that come with our packages: found from any folder, under the names of the docs."""

from __future__ import annotations

import logging
from pathlib import Path

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[1]
"""The folder of our packages: the repository, or where they are installed."""

FOLDERS = ("configs", "demo")
"""Packages with files that are named on command lines and in configurations."""


def find_shipped(path: str | Path) -> Path:
    """Return a file as it is named, or else the shipped one of that name, which is logged.

    Args:
        path: Such as `configs/tiny.yaml`. Where it exists, or is none of ours, it is returned as it
            is.
    """
    path = Path(path)
    if path.is_absolute() or path.parts[:1] not in {(name,) for name in FOLDERS} or path.exists():
        return path
    shipped = ROOT / path
    if ".." in path.parts or not shipped.is_file():
        return path
    logger.info(f"{path} is not in {Path.cwd()}: taking {shipped}")
    return shipped
