"""What the report shows of a run folder, as plain data."""

from __future__ import annotations

import base64
import io
import json
import wave
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from data.audio import SAMPLE_RATE_HZ, AudioError, read_audio
from data.cot.review import claim_pieces
from data.jsonl import read_rows
from data.prosody import pitch_curve
from data.records import FloatArray
from trainer.run_folder import RunFolder

WAVE_POINTS = 240
"""Points of a clip's drawn waveform."""

Row = Mapping[str, Any]


class ReportError(ValueError):
    """A folder that holds no run; the message says which."""


def collect(run: Path, *, num_samples: int, num_clips: int) -> dict[str, Any]:
    """Return everything that the page needs.

    Args:
        run: Folder of a run.
        num_samples: Most completions in the browser, the newest first.
        num_clips: Clips that are embedded with audio, waveform and pitch: the most frequent ones
            among the samples.

    Raises:
        ReportError: No run_status.json or config.yaml, or no metrics.
    """
    folder = RunFolder(run)
    for path in (folder.config_path, folder.status_path, folder.metrics_path):
        if not path.is_file():
            raise ReportError(f"{path}: no such file; name the folder of a run")
    rows = read_rows(folder.metrics_path)
    if not rows:
        raise ReportError(f"{folder.metrics_path}: holds no step yet")
    config = yaml.safe_load(folder.config_path.read_text(encoding="utf-8"))
    prosody = _prosody(Path(str(config["data"]["manifest"])))
    samples = _samples(folder.samples_dir, num_samples)
    heard = Counter(sample["audio"] for sample in samples)
    wanted = [audio for audio, _ in heard.most_common(num_clips)]
    root = Path(str(config["data"]["audio_root"]))
    clips = {audio: clip for audio in wanted if (clip := _clip(root, audio)) is not None}
    return {
        "name": str(config["name"]),
        "status": folder.read_status(),
        "config": folder.config_path.read_text(encoding="utf-8"),
        "rows": sorted(rows, key=lambda row: row["step"]),
        "samples": [shown_sample(sample, prosody.get(sample["id"])) for sample in samples],
        "clips": clips,
        "evaluation": _evaluation(run),
    }


def _prosody(manifest: Path) -> dict[str, Mapping[str, Any]]:
    """Return id -> measured prosody; empty if the manifest is not here any more."""
    if not manifest.is_file():
        return {}
    return {row["id"]: row["prosody"] for row in read_rows(manifest) if row.get("prosody")}


def _samples(folder: Path, num: int) -> list[Row]:
    """Return the newest completions, whole files at a time, cut at `num`."""
    found: list[Row] = []
    for path in sorted(folder.glob("step_*.jsonl"), reverse=True):
        found += read_rows(path)
        if len(found) >= num:
            break
    return found[:num]


def _evaluation(run: Path) -> dict[str, Any] | None:
    path = run / "evaluation" / "summary.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def shown_sample(sample: Row, prosody: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a completion as the browser shows it.

    Args:
        sample: Row of a sample file.
        prosody: Measurements of its clip, where known.

    Returns:
        The row's facts, and `pieces`: the text cut at its claims, each with `true`, `half`, `false`
        or `unknown`, and with an empty class for what claims nothing.
    """
    kept = ("id", "step", "group", "audio", "label", "answer", "correct", "reward", "advantage")
    return {
        **{key: sample.get(key) for key in kept},
        "trust": sample.get("trust"),
        "terms": sample.get("terms") or {},
        "pieces": claim_pieces(sample["text"], prosody or {}),
        "levels": _levels(prosody),
    }


def _levels(prosody: Mapping[str, Any] | None) -> str:
    if prosody is None:
        return ""
    names = ("pitch", "energy", "rate", "intonation")
    return ", ".join(f"{name} {prosody.get(name) or 'not measured'}" for name in names)


def _clip(root: Path, audio: str) -> dict[str, Any] | None:
    """Return a clip with its sound, waveform and pitch curve; None if it cannot be read."""
    path = (root / audio).resolve()
    if not path.is_relative_to(root.resolve()):
        return None
    try:
        samples = read_audio(path, min_duration_s=0.0, max_duration_s=300.0)
    except AudioError:
        return None
    frames, pitch_hz = pitch_curve(samples)
    return {
        "source": _data_uri(samples),
        "duration_s": round(len(samples) / SAMPLE_RATE_HZ, 3),
        "wave": _envelope(samples),
        "pitch": [[int(f), round(float(hz), 1)] for f, hz in zip(frames, pitch_hz, strict=True)],
    }


def _data_uri(samples: FloatArray) -> str:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        pcm = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")
        file.writeframes(pcm.tobytes())
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _envelope(samples: FloatArray) -> list[float]:
    """Return the peak of each of WAVE_POINTS equal parts, 0 to 1 of the loudest."""
    parts = np.array_split(np.abs(samples), min(WAVE_POINTS, len(samples)))
    peaks = np.array([part.max() for part in parts])
    return np.round(peaks / max(float(peaks.max()), 1e-9), 3).tolist()


def label_counts(samples: Iterable[Row]) -> list[str]:
    """Return the labels of the samples, sorted."""
    return sorted({str(sample["label"]) for sample in samples})


def last_with(rows: Sequence[Row], prefix: str) -> dict[str, float]:
    """Return the newest values of a metric area, `prefix/` taken off the keys."""
    found: dict[str, float] = {}
    for row in rows:
        for key, value in row.items():
            if key.startswith(f"{prefix}/"):
                found[key.removeprefix(f"{prefix}/")] = value
    return found
