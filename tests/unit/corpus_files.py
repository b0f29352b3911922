"""Small corpora for the readers: real audio, in the names and folders of the real ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from annotate.corpora.convert import build_rows

GOLDEN = Path(__file__).parents[1] / "data" / "corpora"


def write_clip(path: Path, *, hz: float, rate_hz: int = 16000, duration_s: float = 0.4) -> None:
    """Write a tone with a little level movement; different `hz` give different files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    wave = 0.3 * np.sin(2 * np.pi * hz * time_s) * (1 + 0.3 * np.sin(2 * np.pi * 3 * time_s))
    sf.write(path, wave.astype(np.float32), rate_hz, subtype="PCM_16")


def write_lines(path: Path, lines: Sequence[str], **options: Any) -> None:
    """Write a text file, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", **options)


def check_golden(corpus: str, root: Path, build: Callable[[Path], None]) -> list[dict[str, Any]]:
    """Build a corpus, convert it with its own labels, and compare with the committed manifest.

    To write a new golden file: delete the old one, run the test, and read what it wrote.
    """
    build(root)
    rows = build_rows(corpus, root, labels="own", num_workers=1).rows
    path = GOLDEN / f"{corpus}.jsonl"
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if not path.exists():
        path.write_text(lines, encoding="utf-8")
        raise AssertionError(f"{path} was written; read it, and run the test again")
    assert lines == path.read_text(encoding="utf-8")
    return rows
