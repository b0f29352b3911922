"""Texts that try to win a judge over instead of saying something about the clip."""

from __future__ import annotations

from pathlib import Path

_FILE = Path(__file__).with_name("injections.txt")


def injections() -> list[str]:
    """Return the corpus, one payload per line of its file, whose escapes are resolved."""
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    return [line.encode("latin-1", "backslashreplace").decode("unicode_escape") for line in lines]
