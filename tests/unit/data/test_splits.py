"""What a run reads: its splits, the tasks it trains on, and benchmarks with labels of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from configs.load import ConfigError, load_config
from configs.schema import RunConfig
from data.manifest import ManifestError
from data.splits import benchmark_data, read_data
from tests.fixtures import LABELS, make_corpus, write_manifest, write_tone


def load(folder: Path, kind: str, *overrides: str) -> RunConfig:
    config = folder / "run.yaml"
    config.write_text(
        "defaults: " + str(Path(__file__).parents[3] / "configs/tiny.yaml") + "\n"
        f"loss: {{kind: {kind}}}\neval: {{every_steps: 0, test_split: ''}}\n"
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
