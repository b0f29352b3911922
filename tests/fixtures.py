"""Small real clips, manifests and corpora, written into a test's own folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from data.manifest import read_manifest
from data.records import Example, FloatArray

LABELS = ("neutral", "happy", "sad", "angry")
QUESTION = "Which emotion? Choose from: {choices}."


def tone(
    frequency_hz: float, *, sample_rate: int = 16_000, duration_s: float = 0.5, peak: float = 0.5
) -> FloatArray:
    """Return [S] float32, a sine of the given frequency."""
    time_s = np.arange(round(duration_s * sample_rate)) / sample_rate
    return (peak * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def write_tone(
    path: Path,
    *,
    frequency_hz: float = 440.0,
    sample_rate: int = 16_000,
    duration_s: float = 0.5,
    channels: int = 1,
    subtype: str = "PCM_16",
) -> Path:
    """Write a tone; the suffix of the path picks the format. Return the path."""
    samples = tone(frequency_hz, sample_rate=sample_rate, duration_s=duration_s)
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.stack([samples] * channels, axis=1), sample_rate, subtype=subtype)
    return path


def write_manifest(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as JSON Lines. Return the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make_example(number: int = 0, **fields: Any) -> Example:
    """Return an example named after its number; fields override the defaults."""
    defaults: dict[str, Any] = {
        "id": f"clip-{number}",
        "audio": f"clip-{number}.wav",
        "label": LABELS[number % len(LABELS)],
        "question": "Which emotion?",
        "choices": LABELS,
    }
    return Example(**(defaults | fields))


def make_corpus(folder: Path, num_clips: int, *, duration_s: float = 0.5) -> Path:
    """Write tones of 200, 250, 300... Hz and a manifest of them, one in four of split `eval`.

    Return the path of the manifest; the folder is the audio root.
    """
    rows = []
    for number in range(num_clips):
        example = make_example(number)
        write_tone(
            folder / example.audio, frequency_hz=200.0 + 50.0 * number, duration_s=duration_s
        )
        rows.append(
            {
                "id": example.id,
                "audio": example.audio,
                "label": example.label,
                "text": f"sentence {number}",
                "speaker": f"speaker-{number % 3}",
                "split": "eval" if number % 4 == 3 else "train",
                "reasoning": f"the tone lies at {200 + 50 * number} hertz",
            }
        )
    return write_manifest(folder / "manifest.jsonl", rows)


def read_corpus(manifest: Path) -> list[Example]:
    """Return the examples of a corpus that `make_corpus` wrote."""
    return read_manifest(
        manifest, audio_root=manifest.parent, choices=LABELS, question_template=QUESTION
    )
