"""Three renditions in a row: the label is the order that can be measured in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotate.tasks.comparison import ORDERS, PAUSE_S, STEPS, Compared, comparison_rows
from configs.errors import UserError
from data.audio import read_audio
from data.prosody.measure import measure
from tests.unit.task_clips import RATE, noise, speech, write_corpus

Row = dict[str, Any]
ATTRIBUTES = ("pitch", "energy", "rate")
MEASURED = {"pitch": "f0_median_hz", "energy": "energy_dbfs", "rate": "speech_s"}


def compare(
    rows: list[Row],
    root: Path,
    attributes: tuple[str, ...] = ATTRIBUTES,
    *,
    folder: str = "tasks",
    max_duration_s: float = 30,
    seed: int = 1,
    workers: int = 1,
) -> Compared:
    return comparison_rows(
        rows,
        attributes,
        audio_root=root,
        folder=root / folder,
        max_duration_s=max_duration_s,
        seed=seed,
        num_workers=workers,
    )


def parts_of(samples: np.ndarray, attribute: str, label: str, num_samples: int) -> list[np.ndarray]:
    """Cut a joined file at the lengths that its label implies."""
    heard = [0, 0, 0]
    for step, position in enumerate(label.split(", ")):
        heard[int(position) - 1] = step
    parts, start = [], 0
    for step in heard:
        size = round(num_samples / STEPS[attribute][step].rate)
        parts.append(samples[start : start + size])
        start += size + round(PAUSE_S * RATE)
    assert start - round(PAUSE_S * RATE) == len(samples)
    return parts


@pytest.mark.slow
def test_the_label_is_the_order_that_is_measured(tmp_path: Path):
    clips = {"a": speech("en-us+m3"), "b": speech("en-gb-x-rp+f4", pitch=60)}
    rows = write_corpus(tmp_path, clips)
    found = compare(rows, tmp_path)
    assert not found.failed and found.num_written == 6
    assert [row["id"] for row in found.rows[:3]] == [f"compare_{name}/a" for name in ATTRIBUTES]
    for row in found.rows:
        attribute = row["task"].removeprefix("compare_")
        path = tmp_path / row["audio"]
        samples = read_audio(path, min_duration_s=0, max_duration_s=30)
        assert np.abs(samples).max() <= 0.9901
        parts = parts_of(samples, attribute, row["label"], len(clips[row["source"]]))
        values = []
        for part in parts:
            value = measure(part, None).as_json()[MEASURED[attribute]]
            values.append(-value if attribute == "rate" else value)
        label = ", ".join(str(index + 1) for index in np.argsort(values))
        assert row["label"] == label and row["target"] == f"<answer>{label}</answer>"
        assert tuple(row["choices"]) == ORDERS and len(set(ORDERS)) == 6
        assert "; ".join(ORDERS) in row["question"]
        assert (row["speaker"], row["split"], row["dataset"]) == ("s1", "train", "toy")


def test_no_rendition_is_the_clip_itself(tmp_path: Path):
    """The unchanged one has gone through the vocoder as well: it is not the clip's own wave."""
    clip = speech()
    (row,) = compare(write_corpus(tmp_path, {"a": clip}), tmp_path, ("energy",)).rows
    samples = read_audio(tmp_path / row["audio"], min_duration_s=0, max_duration_s=30)
    for part in parts_of(samples, "energy", row["label"], len(clip)):
        assert np.corrcoef(part, clip)[0, 1] < 0.99


def test_a_second_run_writes_nothing_and_a_killed_one_goes_on(tmp_path: Path):
    rows = write_corpus(tmp_path, {"a": speech(text="we are going home now.")})
    first = compare(rows, tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.glob("tasks/*/*")}
    assert len(files) == 3
    for path in files:
        path.touch()
    second = compare(rows, tmp_path)
    assert second.rows == first.rows and second.num_written == 0
    (missing,) = tmp_path.glob("tasks/rate/*.wav")
    missing.unlink()
    assert compare(rows, tmp_path).num_written == 1
    assert {path: path.read_bytes() for path in tmp_path.glob("tasks/*/*")} == files


@pytest.mark.slow
def test_processes_change_nothing(tmp_path: Path):
    rows = write_corpus(tmp_path, {"a": speech(text="home now."), "b": speech(text="at nine.")})
    one = compare(rows, tmp_path, ("pitch",), folder="one")
    two = compare(rows, tmp_path, ("pitch",), folder="two", workers=2)
    for a, b in zip(one.rows, two.rows, strict=True):
        assert a["audio"].removeprefix("one") == b["audio"].removeprefix("two")
        assert a | {"audio": ""} == b | {"audio": ""}
        assert (tmp_path / a["audio"]).read_bytes() == (tmp_path / b["audio"]).read_bytes()


def test_clips_that_cannot_be_compared_are_left_out(tmp_path: Path):
    hiss, words = noise(1.0), speech(text="we are going home now.")
    rows = write_corpus(tmp_path, {"hiss": hiss, "words": words})
    assert rows[0]["prosody"]["f0_median_hz"] is None
    rows[1]["prosody"]["voiced_frac"] = 0.29
    rows.append({**rows[1], "id": "failed", "prosody": None})
    found = compare(rows, tmp_path, ("pitch", "energy"))
    assert [row["id"] for row in found.rows] == ["compare_energy/hiss", "compare_energy/words"]
    # Three renditions of the hiss and two pauses last 3.6 s; slow, plain and fast ones 3.685 s.
    assert [row["id"] for row in compare(rows[:1], tmp_path, max_duration_s=3.65).rows] == [
        "compare_energy/hiss"
    ]


def test_a_clip_that_cannot_be_read_is_named(tmp_path: Path):
    rows = write_corpus(tmp_path, {"a": speech(text="at nine."), "b": speech(text="home now.")})
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-100])
    found = compare(rows, tmp_path, ("energy",))
    assert [row["source"] for row in found.rows] == ["b"]
    assert [entry["id"] for entry in found.failed] == ["a"]
    assert "promises" in found.failed[0]["reason"]


def test_all_orders_come_up_and_the_seed_draws_them(tmp_path: Path):
    (row,) = write_corpus(tmp_path, {"a": speech(text="at nine.")})
    rows = [{**row, "id": f"a{index}"} for index in range(40)]
    labels = {seed: [r["label"] for r in compare(rows, tmp_path, ("energy",), seed=seed).rows]
              for seed in (1, 2)}  # fmt: skip
    assert set(labels[1]) == set(ORDERS)
    assert labels[1] != labels[2]


def test_files_lie_below_the_audio_root(tmp_path: Path):
    with pytest.raises(UserError, match="not below the audio root"):
        compare([], tmp_path / "corpus", folder="../elsewhere")
