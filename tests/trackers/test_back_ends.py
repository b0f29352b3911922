"""A run in all five trackers, in two lives: what each store gives back is what the run wrote."""

from __future__ import annotations

import io
import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from configs.load import dump_config, load_config
from tests.fixtures import tone, write_tone
from tests.trackers import stores
from tests.trackers.stores import Rows
from trainer.metrics_writer import MetricsWriter
from trainer.run_folder import RunFolder
from trainer.trackers.sink import Trackers

# Not imported here: Trackio asks the environment for its folder when it is.
pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("wandb", "mlflow", "trackio", "swanlab")),
    reason="needs requirements/trackers.lock: make test-trackers",
)

ROOT = Path(__file__).parents[2]
SAMPLED = (2, 4, 6, 8)
KEY = "0123456789abcdef0123456789abcdef01234567"


def sample(step: int, group: int) -> dict[str, Any]:
    return {
        "id": f"clip-{group}",
        "group": group,
        "audio": f"clip-{group}.wav",
        "label": "happy",
        "answer": None if group else "sad",
        "correct": False,
        "text": f"<think>It is loud, {step}.</think><answer>sad</answer>",
        "terms": {"format": 1.0, "reasoning": 0.25 if group else None},
        "reward": 0.3,
        "advantage": -0.5,
        "trust": 1.0,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A run of 8 steps that was killed after step 6 and went on from step 4."""
    root = tmp_path_factory.mktemp("tracked")
    for number in range(3):
        write_tone(root / f"clip-{number}.wav", frequency_hz=300.0 + 100 * number)
    config = load_config(
        ROOT / "configs" / "tiny.yaml",
        [
            f"data.audio_root={root}",
            "name=voice",
            "log.trackers=[tensorboard,wandb,mlflow,trackio,swanlab]",
            "log.clips=2",
        ],
    )
    folder = RunFolder(root / "run")
    reached: list[Any] = []
    connect = socket.socket.connect

    def watched(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            reached.append(address)
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", watched)
        patch.setenv("HOME", str(root / "home"))
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("SWANLAB_MODE", "offline")
        # Keys are there, as on a machine that sends as well.
        patch.setenv("WANDB_API_KEY", KEY)
        patch.setenv("SWANLAB_API_KEY", KEY)
        for name in ("TRACKIO_DIR", "MLFLOW_TRACKING_URI", "WANDB_DATA_DIR"):
            patch.delenv(name, raising=False)
        for first_step, last_step in ((1, 6), (5, 8)):
            folder.open(dump_config(config), lambda old: [])
            folder.truncate_after(first_step - 1)
            with Trackers(config, folder) as trackers:
                trackers.open(resumed=False)
                writer = MetricsWriter(folder, trackers, first_step)
                for step in range(first_step, last_step + 1):
                    if step in SAMPLED:
                        rows = [sample(step, group) for group in range(3)]
                        writer.write_samples(step, rows)
                    writer.write(step, {"reward/mean": 1 / (step + 2), "eval/recall_what?": step})
                if last_step == 8:
                    folder.report_path.write_text("<p>all of it</p>")
                    trackers.log_report(folder.report_path)
            (folder.checkpoints_dir / "step_000004").mkdir(exist_ok=True)
            folder.close()
        yield folder
    assert not reached


def written(folder: RunFolder) -> Rows:
    return {row.pop("step"): row for row in folder.rows()}


def check(
    stored: list[tuple[int, dict[str, float]]],
    folder: RunFolder,
    named: Callable[[str], str] = str,
) -> None:
    """All metrics of all steps, each step once and in order."""
    expected = {
        step: {named(key): np.float32(value) for key, value in row.items()}
        for step, row in written(folder).items()
    }
    assert [step for step, _ in stored] == list(range(1, 9))
    assert {s: {k: np.float32(v) for k, v in row.items()} for s, row in stored} == expected


def check_clip(content: bytes, number: int) -> None:
    samples, rate = sf.read(io.BytesIO(content), dtype="float32")
    assert rate == 16_000
    np.testing.assert_allclose(samples, tone(300.0 + 100 * number), atol=2e-4)


def test_wandb(folder: RunFolder) -> None:
    files = sorted((folder.root / "trackers" / "wandb").glob("wandb/offline-run-*/*.wandb"))
    assert len({file.name for file in files}) == 1 and len(files) == 2, "one run, two lives"
    artifacts: list[tuple[str, dict[str, Path]]] = []
    settings: dict[str, Any] = {}
    for record in stores.wandb_records(folder.root):
        if record.HasField("run"):
            update = record.run.config.update
            settings |= {entry.key: json.loads(entry.value_json) for entry in update}
        if record.HasField("artifact"):
            contents = record.artifact.manifest.contents
            files_in = {entry.path: Path(entry.local_path) for entry in contents}
            artifacts.append((record.artifact.name, files_in))
    stored = stores.wandb_steps(folder.root)
    assert settings["log"]["clips"] == 2 and artifacts[-1][0].startswith("report-")
    assert artifacts[-1][1]["report.html"].read_text() == "<p>all of it</p>"
    keys = ("reward/mean", "eval/recall_what?")
    check([(step, {key: row[key] for key in keys}) for step, row in stored.items()], folder)
    paths = {s: row.get("samples/completions:path") for s, row in stored.items()}
    assert [step for step, path in paths.items() if path] == list(SAMPLED)
    _, parts = artifacts[0]  # of step 2
    (place,) = (path for name, path in parts.items() if name.endswith(".table.json"))
    table = json.loads(place.read_text())
    assert table["columns"][:5] == ["id", "label", "answer", "correct", "text"]
    assert [row[2] for row in table["data"]] == ["sad", None, None]
    assert table["data"][0][9] is None, "not scored"
    clips = [row[-1] for row in table["data"]]
    assert clips[2] is None
    for number, clip in enumerate(clips[:2]):
        check_clip(parts[clip["path"]].read_bytes(), number)


def test_mlflow(folder: RunFolder, tmp_path: Path) -> None:
    client, run = stores.mlflow_run(folder.root)
    assert run.info.run_name == "voice" and run.info.status == "FINISHED"
    assert run.data.params["log.clips"] == "2"
    steps = stores.mlflow_steps(folder.root)
    check(list(steps.items()), folder, stores.mlflow_name)
    place = Path(client.download_artifacts(run.info.run_id, "", str(tmp_path)))
    assert (place / "report.html").read_text() == "<p>all of it</p>"
    assert (place / "config.yaml").read_text() == folder.config_path.read_text()
    tables = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert [re.findall(r"\d+", table["path"]) for table in tables] == [
        [f"{step:06d}"] for step in SAMPLED
    ]
    table = json.loads((place / tables[0]["path"]).read_text())
    assert [row[2] for row in table["data"]] == ["sad", None, None]
    for number, row in enumerate(table["data"][:2]):
        check_clip((place / row[-1]).read_bytes(), number)


def test_trackio(folder: RunFolder) -> None:
    from trackio.sqlite_storage import SQLiteStorage
    from trackio.utils import MEDIA_DIR

    (name,) = SQLiteStorage.get_runs("cadence")
    assert name.startswith("voice-")
    logs = stores.trackio_logs()
    tables = [log["samples/completions"] for log in logs if "samples/completions" in log]
    scalars = [log for log in logs if "reward/mean" in log]
    keys = ("reward/mean", "eval/recall_what?")
    check([(log["step"], {key: log[key] for key in keys}) for log in scalars], folder)
    assert len(tables) == 4
    rows = tables[0]["_value"]
    assert [row["answer"] for row in rows] == ["sad", None, None]
    for number, row in enumerate(rows[:2]):
        check_clip((MEDIA_DIR / row["clip"]["file_path"]).read_bytes(), number)
    assert SQLiteStorage.get_run_config("cadence", name)["log"]["clips"] == 2
    stored = (p for p in (folder.root / "trackers" / "trackio").rglob("*") if p.is_file())
    assert any(path.read_bytes() == b"<p>all of it</p>" for path in stored)


def test_swanlab(folder: RunFolder) -> None:
    home = folder.root / "trackers" / "swanlab"
    files = sorted(home.glob("run-*/*.swanlab"))
    assert len({file.name for file in files}) == 1 and len(files) == 2, "one run, two lives"
    media: dict[tuple[str, int], list[str]] = {}
    saved: list[str] = []
    for record in stores.swanlab_records(folder.root):
        if record.HasField("media"):
            names = [item.filename for item in record.media.value.items]
            media[record.media.key, record.media.step] = names
        elif record.HasField("save"):
            saved.append(record.save.name)
    check(list(stores.swanlab_steps(folder.root).items()), folder)
    assert "report.html" in saved
    assert [step for key, step in media if key == "samples/completions"] == list(SAMPLED)
    (table,) = media["samples/completions", 2]
    (text,) = (path.read_text() for path in home.rglob(table))
    assert "It is loud, 2." in text and "clip-2" in text
    for number, name in enumerate(media["samples/clips", 2]):
        (clip,) = home.rglob(name)
        check_clip(clip.read_bytes(), number)
    assert len(media["samples/clips", 2]) == 2


def test_no_store_holds_a_key(folder: RunFolder) -> None:
    files = [path for path in folder.root.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert os.environ["WANDB_API_KEY"] == KEY
