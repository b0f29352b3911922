"""What an evaluation reads: the test split, benchmarks, their labels; no training rows needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from configs.load import ConfigError, load_config
from configs.schema import RunConfig
from data.manifest import ManifestError
from data.splits import Splits, read_data
from evaluation.run import common_root
from evaluation.test_sets import read_test_sets
from launch.cli import check_kind
from launch.plan import describe_plan
from launch.preflight import check_data
from tests.fixtures import LABELS, write_manifest, write_tone


def load(folder: Path, *overrides: str) -> RunConfig:
    config = folder / "run.yaml"
    config.write_text(
        "defaults: " + str(Path(__file__).parents[3] / "configs/tiny.yaml") + "\n"
        f"eval: {{every_steps: 0, test_split: ''}}\n"
        f"data: {{manifest: {folder}/manifest.jsonl, audio_root: {folder}, "
        f"choices: [{', '.join(LABELS)}]}}\n"
    )
    return load_config(str(config), list(overrides))


def corpus(folder: Path, name: str, *rows: dict[str, Any]) -> Path:
    """Write a manifest of a clip for every row."""
    folder.mkdir(exist_ok=True)
    write_tone(folder / "clip.wav")
    told = [{"id": str(i), "audio": "clip.wav", **row} for i, row in enumerate(rows)]
    return write_manifest(folder / name, told)


def benchmark(name: str, manifest: Path, **more: Any) -> str:
    told = {"name": name, "manifest": manifest, **more}
    return "{" + ", ".join(f"{key}: {value}" for key, value in told.items()) + "}"


def test_a_split_and_benchmarks_of_other_labels_and_roots(tmp_path: Path):
    corpus(tmp_path, "manifest.jsonl", {"label": "sad", "split": "test"}, {"label": "sad"})
    root = tmp_path / "other"
    calm = corpus(root, "calm.jsonl", {"label": "calm"})
    target = {"target": "<answer>high</answer>", "label": "high", "task": "pitch"}
    pitch = corpus(
        root,
        "pitch.jsonl",
        {**target, "choices": ["low", "high"]},
        {**target, "choices": ["High", "normal", "high"]},
    )
    entries = [
        benchmark("calm", calm, audio_root=root, choices="[calm, sad]"),
        benchmark("pitch", pitch, audio_root=root),
    ]
    config = load(tmp_path, "eval.test_split=test", f"eval.benchmarks=[{', '.join(entries)}]")
    found = read_test_sets(config)
    assert [(s.name, s.is_benchmark, s.is_probe, len(s.examples)) for s in found] == [
        ("test", False, False, 1),
        ("calm", True, False, 1),
        ("pitch", True, True, 2),
    ]
    assert found[0].choices == LABELS
    assert found[1].choices == ("calm", "sad")
    assert found[2].choices == ("low", "high", "normal")
    assert common_root(found) == tmp_path and common_root(found[1:]) == root
    plan = describe_plan(config, found)
    assert "test set     pitch: 2 clips, 3 labels" in plan and "greedy, reasoned" in plan
    assert list(check_data(config, learns=False)) == []


def test_benchmarks_alone_need_no_manifest_of_a_training(tmp_path: Path):
    manifest = corpus(tmp_path, "bench.jsonl", {"label": "sad"}, {"label": "angry"})
    config = load(tmp_path, f"eval.benchmarks=[{benchmark('mine', manifest)}]")
    check_kind("evaluate", "run.yaml", config)
    assert [len(found.examples) for found in read_test_sets(config)] == [2]
    assert list(check_data(config, learns=False)) == []
    assert "data.manifest: no file" in str(next(iter(check_data(config))))
    missing = load(tmp_path, f"eval.benchmarks=[{benchmark('mine', tmp_path / 'x')}]")
    (problem,) = check_data(missing, learns=False)
    assert problem.what.startswith("eval.benchmarks.0.manifest: no file")


def test_a_plan_names_the_splits_that_a_training_reads(tmp_path: Path):
    labels = ["sad", "angry", "sad"]
    rows = [{"label": label, "split": "train"} for label in labels]
    corpus(tmp_path, "manifest.jsonl", *rows, {"label": "sad", "split": "test"})
    extra = corpus(tmp_path / "other", "calm.jsonl", {"label": "calm"}, {"label": "calm"})
    entry = benchmark("calm", extra, audio_root=tmp_path / "other", choices="[calm, sad]")
    few = ["eval.test_split=test", "train.prompts_per_step=2"]
    config = load(tmp_path, *few, f"eval.benchmarks=[{entry}]")
    data = read_data(config)
    assert "data         3 train, 1 test, 2 calm clips\n" in describe_plan(config, data)
    alone = Splits(data.train, [], [], left_out=[(1, data.train[0])])
    assert "data         3 train, 1 left out clips\n" in describe_plan(config, alone)


def test_nothing_to_ask_about(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"test_split and eval\.benchmarks are empty"):
        check_kind("evaluate", "run.yaml", load(tmp_path))


def test_rows_without_a_clip_are_refused(tmp_path: Path):
    text = {"audio": None, "target": "x", "label": "a", "choices": ["a", "b"]}
    manifest = corpus(tmp_path, "text.jsonl", text)
    config = load(tmp_path, f"eval.benchmarks=[{benchmark('text', manifest)}]")
    with pytest.raises(ManifestError, match="1 rows have no clip, such as '0'"):
        read_test_sets(config)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{name: micro, manifest: x}", "micro is taken"),
        ("{name: dev, manifest: x}", "dev is taken"),
        ("{name: a, manifest: x, choices: [sad]}", "needs at least two labels"),
        ("{name: a, manifest: x, choices: [sad, Sad]}", "listed more than once: sad"),
    ],
)
def test_benchmarks_that_cannot_be(tmp_path: Path, entry: str, message: str):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, "eval.test_split=dev", f"eval.benchmarks=[{entry}]")
