"""What a run reads: its splits, the tasks it trains on, and benchmarks with labels of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from configs.load import ConfigError, load_config
from configs.schema import CounterfactualConfig, RunConfig
from data.audio import AudioInfo
from data.manifest import ManifestError
from data.records import Example
from data.splits import benchmark_data, most_clips, read_data
from tests.fixtures import LABELS, make_corpus, write_manifest, write_tone


def load(folder: Path, kind: str, *overrides: str) -> RunConfig:
    config = folder / "run.yaml"
    config.write_text(
        "defaults: " + str(Path(__file__).parents[3] / "configs/tiny.yaml") + "\n"
        f"loss: {{kind: {kind}}}\ntrain: {{prompts_per_step: 1}}\n"
        "eval: {every_steps: 0, test_split: ''}\n"
        f"data: {{manifest: {folder}/manifest.jsonl, audio_root: {folder}, "
        f"choices: [{', '.join(LABELS)}]}}\n"
    )
    return load_config(str(config), list(overrides))


def tasks(folder: Path) -> None:
    """Write a manifest of three tasks, one clip each."""
    rows: list[dict[str, Any]] = []
    for task in ("pitch", "stress", "asr"):
        write_tone(folder / f"{task}.wav")
        rows.append(
            {"id": task, "task": task, "audio": f"{task}.wav", "split": "train", "label": "x",
             "choices": ["x", "y"], "target": "<answer>x</answer>"}
        )  # fmt: skip
    write_manifest(folder / "manifest.jsonl", rows)


def test_only_rows_of_the_named_tasks_are_trained_on(tmp_path: Path):
    tasks(tmp_path)
    assert [row.id for row in read_data(load(tmp_path, "sft")).train] == ["pitch", "stress", "asr"]
    config = load(tmp_path, "sft", "data.tasks=[asr, pitch]")
    assert [row.id for row in read_data(config).train] == ["pitch", "asr"]
    with pytest.raises(ManifestError, match=r"has the task 'rate'; there are asr, pitch, stress"):
        read_data(load(tmp_path, "sft", "data.tasks=[rate]"))


def benchmark(folder: Path, **more: Any) -> Path:
    """Write a benchmark of two clips of other labels, in two splits."""
    folder.mkdir()
    rows = []
    for name, split in (("a", "dev"), ("b", "test")):
        write_tone(folder / f"{name}.wav")
        rows.append({"id": name, "audio": f"{name}.wav", "label": "calm", "split": split, **more})
    return write_manifest(folder / "bench.jsonl", rows)


def test_a_benchmark_has_its_own_labels_root_and_split(tmp_path: Path):
    make_corpus(tmp_path, 8)
    manifest = benchmark(tmp_path / "other")
    entry = (
        f"eval.benchmarks=[{{name: other, manifest: {manifest}, audio_root: {tmp_path}/other, "
        "choices: [calm, tense]}]"
    )
    config = load(tmp_path, "policy", "data.train_split=train", entry)
    (rows,) = read_data(config).benchmarks.values()
    assert [row.id for row in rows] == ["a", "b"]
    assert rows[0].choices == ("calm", "tense") and rows[0].label == "calm"
    data = benchmark_data(config, config.eval.benchmarks[0])
    assert data.audio_root == f"{tmp_path}/other" and config.data.audio_root == str(tmp_path)
    one = load(tmp_path, "policy", entry, "eval.benchmarks.0.split=test")
    assert [row.id for row in read_data(one).benchmarks["other"]] == ["b"]


def test_a_row_that_cannot_be_answered_is_refused(tmp_path: Path):
    make_corpus(tmp_path, 8)
    manifest = benchmark(
        tmp_path / "other", choices=["tense", "sad"], target="<answer>calm</answer>"
    )
    entry = f"eval.benchmarks=[{{name: other, manifest: {manifest}, audio_root: {tmp_path}/other}}]"
    with pytest.raises(ManifestError, match=r"2 rows cannot be evaluated, such as 'a'"):
        read_data(load(tmp_path, "policy", entry))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{name: a b, manifest: x}", "letters, digits and _"),
        ("{name: a}", r"benchmarks.0.manifest: is empty"),
        ("{name: a, manifest: x}, {name: a, manifest: y}", "a names 2 benchmarks"),
    ],
)
def test_benchmarks_need_a_name_of_their_own_and_a_manifest(
    tmp_path: Path, entry: str, message: str
):
    make_corpus(tmp_path, 8)
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, "policy", f"eval.benchmarks=[{entry}]")


def spoiled(folder: Path) -> None:
    """Write a corpus of eight clips whose third is silent and whose fifth is cut."""
    make_corpus(folder, 8)
    sf.write(folder / "clip-2.wav", np.zeros(8_000), 16_000)
    whole = (folder / "clip-4.wav").read_bytes()
    (folder / "clip-4.wav").write_bytes(whole[:-1000])


def refuse_first(example: Example, headers: Sequence[AudioInfo]) -> str:
    assert headers == [AudioInfo(8_000, 16_000, 1)]
    return "is too long" if example.id == "clip-0" else ""


def test_all_rows_that_cannot_be_used_make_one_list(tmp_path: Path):
    spoiled(tmp_path)
    manifest = benchmark(tmp_path / "other")
    (tmp_path / "other" / "a.wav").write_bytes(b"x")
    entry = (
        f"eval.benchmarks=[{{name: other, manifest: {manifest}, audio_root: {tmp_path}/other, "
        "choices: [calm, tense]}]"
    )
    with pytest.raises(ManifestError) as caught:
        read_data(load(tmp_path, "policy", entry), lambda row, _: "x" * (row.id == "clip-0"))
    text = str(caught.value)
    assert "3 rows cannot be used (data.bad_clips=skip leaves them out)" in text
    assert "clip-0: x" in text and "clip-2: " in text and "clip-4: " in text
    assert "is silent" in text and "the file is cut" in text
    assert "1 clips cannot be used" in text and "a.wav: is not a readable audio file" in text


def test_rows_that_are_left_out_keep_their_place(tmp_path: Path):
    make_corpus(tmp_path, 8)
    whole = read_data(load(tmp_path, "policy")).train
    spoiled(tmp_path)
    config = load(tmp_path, "policy", "data.bad_clips=skip")
    found = read_data(config, refuse_first)
    assert [row.id for row in found.train] == ["clip-1", "clip-5", "clip-6"]
    assert [(place, row.id) for place, row in found.left_out] == [
        (0, "clip-0"),
        (2, "clip-2"),
        (3, "clip-4"),
    ]
    assert found.all_train == whole


def test_a_large_corpus_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spoiled(tmp_path)
    monkeypatch.setattr("data.splits.DECODED_S", 1.0)
    with pytest.raises(ManifestError, match="1 clips cannot be used") as caught:
        read_data(load(tmp_path, "policy"))
    assert "clip-4" in str(caught.value) and "silent" not in str(caught.value)


def test_too_few_rows_for_a_step_and_a_split_without_any(tmp_path: Path):
    make_corpus(tmp_path, 8)
    for number in (3, 7):  # the eval split
        sf.write(tmp_path / f"clip-{number}.wav", np.zeros(8_000), 16_000)
    config = load(
        tmp_path, "policy", "train.prompts_per_step=7", "data.bad_clips=skip",
        "eval.every_steps=1", "eval.split=eval",
    )  # fmt: skip
    with pytest.raises(ManifestError) as caught:
        read_data(config)
    assert "split 'train' has 6 usable rows and a step takes 7; lower" in str(caught.value)
    assert "no row of split 'eval' can be used" in str(caught.value)


def test_rows_of_one_label_teach_nothing(tmp_path: Path):
    make_corpus(tmp_path, 8)
    rows = [json.loads(line) for line in (tmp_path / "manifest.jsonl").open()]
    write_manifest(tmp_path / "manifest.jsonl", [row | {"label": "sad"} for row in rows])
    with pytest.raises(ManifestError, match="every row of split 'train' has the label 'sad'"):
        read_data(load(tmp_path, "policy"))


def mixed(folder: Path) -> None:
    """Write rows of no clip, one, two, and three of which one stands in a turn."""
    manifest = make_corpus(folder, 4)
    clips: list[Any] = [
        [],
        "clip-1.wav",
        ["clip-0.wav", "clip-1.wav"],
        ["clip-2.wav", "clip-3.wav"],
    ]
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows = [
        row | {"audio": audio, "split": "train"} for row, audio in zip(rows, clips, strict=True)
    ]
    rows[3]["turns"] = [{"role": "user", "audio": "clip-0.wav"}]
    write_manifest(manifest, rows)


def test_a_policy_may_be_asked_about_any_number_of_clips(tmp_path: Path):
    mixed(tmp_path)
    num_headers: dict[str, int] = {}

    def check(example: Example, headers: Sequence[AudioInfo]) -> str:
        num_headers[example.id] = len(headers)
        return ""

    found = read_data(load(tmp_path, "policy"), check)
    assert list(num_headers.values()) == [len(row.clips) for row in found.train] == [0, 1, 2, 3]
    assert found.num_clips == 3
    assert most_clips(found.train[:1]) == 1  # engines have to allow one at least


def test_a_row_is_left_out_for_any_of_its_clips(tmp_path: Path):
    mixed(tmp_path)
    sf.write(tmp_path / "clip-0.wav", np.zeros(8_000), 16_000)
    with pytest.raises(ManifestError, match="2 clips cannot be used") as caught:
        read_data(load(tmp_path, "policy"))
    assert f"clip-2: {tmp_path}/clip-0.wav: is silent" in str(caught.value)
    assert f"clip-3: {tmp_path}/clip-0.wav: is silent" in str(caught.value)
    found = read_data(load(tmp_path, "policy", "data.bad_clips=skip"))
    assert [row.id for row in found.train] == ["clip-0", "clip-1"]


def test_text_tasks_are_not_for_a_policy(tmp_path: Path):
    row = {"id": "t", "audio": None, "split": "train", "label": "x", "target": "so"}
    write_manifest(tmp_path / "manifest.jsonl", [row])
    assert read_data(load(tmp_path, "sft")).train[0].clips == ()
    with pytest.raises(ManifestError, match=r"1 rows have no clip, such as 't'; text-only tasks"):
        read_data(load(tmp_path, "policy"))


def test_pairs_need_a_clip_in_every_row_that_is_trained_on(tmp_path: Path):
    mixed(tmp_path)
    config = load(tmp_path, "policy")
    pairs = CounterfactualConfig(moves=["pitch"])
    moving = replace(config, rollout=replace(config.rollout, counterfactual=pairs))
    with pytest.raises(ManifestError, match=r"1 rows have no clip, such as 'clip-0'; .*moves"):
        read_data(moving)
