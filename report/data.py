"""What the report shows of a run folder, as plain data."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import UserError
from data.audio import SAMPLE_RATE_HZ, wav_bytes
from data.clips import read_clip
from data.files import Row, read_rows
from data.prosody.claims import claim_pieces
from data.prosody.measure import pitch_curve
from data.records import FloatArray
from evaluation.faithfulness import Faithfulness, recorded
from report.run_facts import RunFacts, manifest_rows, read_facts
from trainer.run_folder import RunFolder

WAVE_POINTS = 240
"""Points of a clip's drawn waveform."""

PITCH_POINTS = 600
"""Most points of a clip's drawn pitch."""

MAX_SOUND_S = 150.0
"""Sound in the page, over all clips: 6.4 MB. Clips beyond have waveform and pitch, no player."""

LEVELS = ("pitch", "energy", "rate", "intonation")


def collect(run: Path, *, num_samples: int, num_clips: int) -> dict[str, Any]:
    """Return everything that the page needs.

    Args:
        run: Folder of a run.
        num_samples: Most completions in the browser, the newest first.
        num_clips: Clips that are embedded with audio, waveform and pitch: the most frequent ones
            among the samples.

    Raises:
        UserError: No run_status.json or config.yaml, or no metrics.
    """
    facts = read_run(run)
    if not facts.rows:
        raise UserError(f"{RunFolder(run).metrics_path}: holds no step yet")
    samples, source = _samples(run, num_samples)
    sources = sources_of(facts.config, {sample.get("benchmark") for sample in samples})
    heard = Counter((row.get("benchmark"), audio) for row in samples for audio in heard_in(row))
    wanted = {
        clip_name(benchmark, audio): (sources[benchmark].root, audio)
        for (benchmark, audio), _ in heard.most_common(num_clips)
    }
    stored = run / "evaluation" / "summary.json"
    shown: list[dict[str, Any]] = []
    measured: dict[str, str] = {}
    for sample in samples:
        prosody = sources[sample.get("benchmark")].prosody.get(sample["id"])
        shown.append(shown_sample(sample, prosody))
        if prosody is not None:
            measured[shown[-1]["audio"]] = levels(prosody)
    return {
        "facts": facts,
        "config": RunFolder(run).config_path.read_text(encoding="utf-8"),
        "samples": shown,
        "samples_of": source,
        "levels": measured,
        # A run of an older version does not have the key.
        "clips": shown_clips(
            wanted, MAX_SOUND_S, follow_links=bool(facts.config["data"].get("follow_links"))
        ),
        "evaluation": json.loads(stored.read_text(encoding="utf-8")) if stored.is_file() else None,
        "faithful": _faithful(run, num_samples),
    }


@dataclass(frozen=True, slots=True)
class Source:
    """Where the clips of some samples come from."""

    root: Path
    """Folder of the clips."""
    prosody: Mapping[str, Mapping[str, Any]]
    """Example id -> measurements, where its manifest is still here and has some."""


def sources_of(config: Mapping[str, Any], names: Iterable[str | None]) -> dict[str | None, Source]:
    """Return benchmark -> source, of those named; None stands for the run's own data."""
    sources: dict[str | None, Source] = {None: _source(config["data"], config["data"])}
    for benchmark in config["eval"]["benchmarks"]:
        if benchmark["name"] in names:
            sources[benchmark["name"]] = _source(benchmark, config["data"])
    return sources


def _source(data: Mapping[str, Any], default: Mapping[str, Any]) -> Source:
    rows = manifest_rows(Path(data["manifest"]))
    root = Path(data["audio_root"] or default["audio_root"])
    return Source(root, {row["id"]: row["prosody"] for row in rows if row.get("prosody")})


def heard_in(sample: Row) -> list[str]:
    """Return all clips that were heard with a question, in order."""
    return sample.get("clips") or ([sample["audio"]] if sample["audio"] else [])


def clip_names(sample: Row) -> dict[str, Any]:
    """Return `audio` and, of several clips, `clips`: their names in the page."""
    benchmark = sample.get("benchmark")
    names = [clip_name(benchmark, audio) for audio in sample.get("clips") or ()]
    return {"audio": clip_name(benchmark, sample["audio"]), **({"clips": names} if names else {})}


def clip_name(benchmark: str | None, audio: str) -> str:
    """Return the name of a clip in the page; paths of two benchmarks may be the same."""
    return audio if benchmark is None else f"{benchmark}: {audio}"


def read_run(run: Path) -> RunFacts:
    """Return the facts of a run folder.

    Raises:
        UserError: No run_status.json, config.yaml or metrics.jsonl.
    """
    folder = RunFolder(run)
    for path in (folder.config_path, folder.status_path, folder.metrics_path):
        if not path.is_file():
            raise UserError(f"{path}: no such file; name the folder of a run or of a sweep")
    return read_facts(run)


def _samples(run: Path, num: int) -> tuple[list[dict[str, Any]], str]:
    """Return the newest completions, whole files at a time, cut at `num`, and what they are."""
    samples: list[dict[str, Any]] = []
    for path in sorted(RunFolder(run).samples_dir.glob("step_*.jsonl"), reverse=True):
        samples += read_rows(path)
        if len(samples) >= num:
            break
    if samples:
        return samples[:num], "sampled in training, the newest first"
    answers = run / "evaluation" / "answers.jsonl"
    if answers.is_file():
        return read_rows(answers)[:num], "greedy answers of the evaluation"
    return [], ""


def _faithful(run: Path, num: int) -> list[tuple[str, Faithfulness]]:
    """Return steps -> how far answers depend on claims, of the first and of the newest completions.

    Args:
        run: The run folder.
        num: Completions of each that are read, whole files at a time.
    """
    paths = sorted(RunFolder(run).samples_dir.glob("step_*.jsonl"))
    parts: list[tuple[str, Faithfulness]] = []
    for ordered in (paths, paths[::-1]):
        rows: list[Row] = []
        for path in ordered:
            rows += read_rows(path)
            if len(rows) >= num:
                break
        if rows:
            steps = [row["step"] for row in rows]
            parts.append((f"{min(steps)} to {max(steps)}", recorded(rows)))
    return parts[:1] if parts[:1] == parts[1:] else parts


def shown_sample(sample: Row, prosody: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a completion as the browser shows it; of a moved clip with how it was moved.

    Args:
        sample: Row of a sample file, or of an evaluation's answers.
        prosody: Measurements of its clip as it is, where known.

    Returns:
        The row's facts without those that it lacks, and `pieces`: the text cut at its claims, each
        with `true`, `half`, `false` or `unknown`, and with an empty class for what claims nothing.
    """
    kept = ("id", "step", "group", "label", "answer", "correct")
    credit = ("trust", "reward", "advantage", "weights")
    move = sample.get("move") or {}
    way = {1: "up", -1: "down"}.get(move.get("direction", 0))
    moved = f"{move['attribute']} {way} by {move['size']:g}" if way else ""
    scores = {
        name: detail["scores"]
        for name, detail in (sample.get("details") or {}).items()
        if detail.get("scores")
    } or sample.get("scores")  # as an evaluation's answers have them
    return {
        **{key: sample.get(key) for key in kept},
        **clip_names(sample),
        **{key: _rounded(sample[key]) for key in credit if key in sample},
        **({"scores": scores} if scores else {}),
        "terms": _rounded(sample.get("terms") or {}),
        "pieces": claim_pieces(sample["text"], {} if moved else prosody or {}),
        **({"move": moved} if moved else {}),
    }


def _rounded(value: Any) -> Any:
    """Return numbers with four decimals, which is what can be told apart in the page."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def levels(prosody: Mapping[str, Any]) -> str:
    """Return the measured levels of a clip in words."""
    return ", ".join(f"{name} {prosody.get(name) or 'not measured'}" for name in LEVELS)


def shown_clips(
    wanted: Mapping[str, tuple[Path, str]], max_sound_s: float, *, follow_links: bool = False
) -> dict[str, dict[str, Any]]:
    """Return name -> clip as the browser shows it; those that cannot be read are left out.

    Args:
        wanted: Name -> root folder and path below it, the most wanted first.
        max_sound_s: Sound of all clips together; one that does not fit has no `source`.
        follow_links: Whether links below a root may lead out of it.
    """
    clips: dict[str, dict[str, Any]] = {}
    left_s = max_sound_s
    for name, (root, audio) in wanted.items():
        pair = _drawn_clip(root, audio, follow_links)
        if pair is None:
            continue
        clip, source = pair
        fits = clip["duration_s"] <= left_s
        left_s -= clip["duration_s"] if fits else 0.0
        clips[name] = {**clip, "source": source} if fits else clip
    return clips


@lru_cache(maxsize=256)  # a page that is written again shows mostly the same ones
def _drawn_clip(root: Path, audio: str, follow_links: bool) -> tuple[dict[str, Any], str] | None:
    """Return a clip and its sound as an address; None if it cannot be read."""
    samples = read_clip(root, audio, follow_links=follow_links)
    if samples is None:
        return None
    packed = base64.b64encode(wav_bytes(samples)).decode("ascii")
    return shown_clip(samples), f"data:audio/wav;base64,{packed}"


def shown_clip(samples: FloatArray) -> dict[str, Any]:
    """Return the length, waveform and pitch curve of a clip, without its sound.

    Args:
        samples: [S] at 16 kHz.

    Returns:
        `duration_s`; `wave`, peaks of WAVE_POINTS equal parts, 0 to 1 of the loudest; `pitch`,
        pairs of time in 10 ms and Hz, where the voice has one.
    """
    frames, pitch_hz = pitch_curve(samples)
    points = [[int(f), round(float(hz), 1)] for f, hz in zip(frames, pitch_hz, strict=True)]
    parts = np.array_split(np.abs(samples), min(WAVE_POINTS, len(samples)))
    peaks = np.array([part.max() for part in parts])
    return {
        "duration_s": round(len(samples) / SAMPLE_RATE_HZ, 3),
        "wave": np.round(peaks / max(float(peaks.max()), 1e-9), 3).tolist(),
        "pitch": points[:: max(1, -(-len(points) // PITCH_POINTS))],
    }
