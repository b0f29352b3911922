"""Full disks, quotas and file limits under the files of a run, without the real stack."""

from __future__ import annotations

import argparse
import copy
import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from configs.schema import ModelConfig, RunConfig
from data.files import DiskFullError, append_row, overwrite, write_atomically
from launch.command import run_command
from trainer.learner import Learner
from trainer.learner_group import LearnerGroup
from trainer.learner_spec import LearnerSpec
from trainer.metrics_writer import MetricsWriter
from trainer.run_folder import RunFolder

WHAT = {errno.ENOSPC: "a full disk", errno.EDQUOT: "a quota", errno.EFBIG: "a file limit"}


def opened(root: Path) -> RunFolder:
    folder = RunFolder(root)
    folder.open("seed: 1\n", lambda old: [])
    return folder


@contextmanager
def file_limit(num_bytes: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def no_new_blocks(monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
    """New files cannot be synced to disk any more. Returns what was tried."""
    fired: list[str] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if ".tmp-" in name:
            fired.append(name)
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return fired


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(
            number,
            marks=pytest.mark.fault(
                f"{what} when the status of a failed run is written",
                happens="it is rewritten within its own block: `failed`, with the reason",
                lost="nothing",
            ),
        )
        for number, what in WHAT.items()
    ],
)
def test_the_status_can_be_written_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    folder = opened(tmp_path)
    folder.write_status("running", 3, "", "python launch/rl.py --config " + "x" * 600)
    fired = no_new_blocks(monkeypatch, number)
    folder.write_status("failed", 4, "the disk is full", "again")
    assert fired
    assert folder.read_status() == {
        "state": "failed",
        "step": 4,
        "reason": "the disk is full",
        "resume_cmd": "again",
    }
    assert not list(tmp_path.glob(".*.tmp-*")), "the temporary file is removed"


@pytest.mark.fault(
    "a file limit so low that the reason of a failure does not fit",
    happens="the status is written with as much of the reason as fits",
    lost="the end of the reason",
)
def test_a_reason_that_does_not_fit_is_cut(tmp_path: Path):
    folder = opened(tmp_path)
    with file_limit(230):
        folder.write_status("failed", 4, "the disk is full " + "x" * 900, "again")
    status = folder.read_status()
    assert (status["state"], status["step"], status["resume_cmd"]) == ("failed", 4, "again")
    assert status["reason"].startswith("the disk is full xxx") and len(status["reason"]) == 130


@pytest.mark.fault(
    "a file limit below any status",
    happens="the error names the file; the caller says it",
    lost="the status",
)
def test_a_status_that_fits_nowhere_is_an_error(tmp_path: Path):
    folder = opened(tmp_path)
    with file_limit(20), pytest.raises(DiskFullError, match=r"run_status\.json: File too large"):
        folder.write_status("failed", 4, "why", "again")


def write_metrics(folder: RunFolder, writer: MetricsWriter) -> None:
    writer.write(2, {f"reward/term_{n}": 0.5 for n in range(200)})


def write_samples(folder: RunFolder, writer: MetricsWriter) -> None:
    writer.write_samples(2, [{"text": "x" * 5000}])


def write_start(folder: RunFolder, writer: MetricsWriter) -> None:
    for _ in range(50):
        folder.record_start(2)


def write_config(folder: RunFolder, writer: MetricsWriter) -> None:
    write_atomically(folder.config_path, "x: " + "y" * 5000)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        pytest.param(
            write,
            name,
            id=name,
            marks=pytest.mark.fault(
                f"a file limit is reached while {name} is written",
                happens="one line: which file, why, how much is needed and free; no half line",
                lost="what was being written",
            ),
        )
        for write, name in (
            (write_metrics, "metrics.jsonl"),
            (write_samples, "step_000002.jsonl"),
            (write_start, "starts.jsonl"),
            (write_config, "config.yaml"),
        )
    ],
)
def test_a_full_disk_is_named_and_no_file_is_torn(
    tmp_path: Path, write: Callable[[RunFolder, MetricsWriter], None], name: str
):
    folder = opened(tmp_path)
    writer = MetricsWriter(folder, trackers=None, first_step=1)
    writer.write(1, {"x": 1.0})
    with file_limit(2000), pytest.raises(DiskFullError) as caught:
        write(folder, writer)
    message = str(caught.value)
    assert f"{name}: File too large: the disk is full" in message and "are free" in message
    assert "\n" not in message and caught.value.errno == errno.EFBIG
    assert folder.rows() == [{"step": 1, "x": 1.0}]
    for path in (folder.metrics_path, folder.starts_path):
        assert path.read_bytes().endswith(b"\n")
        for line in path.read_text().splitlines():
            json.loads(line)
    assert not [path for path in tmp_path.rglob("*") if ".tmp-" in path.name]
    write(folder, writer)  # there is room again


@pytest.mark.fault(
    "the disk is full when run_status.json is to follow a step",
    happens="rewritten in its place; a warning if even that fails, and the run goes on",
    lost="nothing: the row of the step says it too",
)
def test_a_step_whose_status_cannot_be_written_is_still_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    folder = opened(tmp_path)
    writer = MetricsWriter(folder, trackers=None, first_step=1)
    fired: list[int] = []

    def refuse(*_: Any) -> None:
        fired.append(1)
        raise DiskFullError.of(folder.status_path, errno.ENOSPC)

    monkeypatch.setattr("trainer.run_folder.write_atomically", refuse)
    monkeypatch.setattr("trainer.run_folder.overwrite", refuse)
    writer.write(1, {"x": 1.0})
    assert fired and folder.last_step() == 1
    assert "the run's status could not be written" in caplog.text


@pytest.mark.fault(
    "`/dev/full` in place of a log of rows",
    happens="one line that says that the disk is full and where",
    lost="the row",
)
def test_a_device_that_is_always_full():
    with pytest.raises(DiskFullError, match=r"/dev/full: No space left on device: the disk is"):
        overwrite(Path("/dev/full"), "text")


def test_a_row_after_a_cut_off_line_starts_a_line_of_its_own(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"b"')
    append_row(path, {"c": 3})
    assert path.read_text() == '{"a": 1}\n{"b"\n{"c": 3}\n'


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Return a checkpoint of one weight of 40 kB."""
    folder = tmp_path / "start"
    folder.mkdir()
    save_file({"weight": torch.zeros(10_000)}, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text("{}" * 5_000)
    return folder


class Rank(Learner):
    """A learner that has its weights already."""

    def __init__(self, start: Path, number: int) -> None:
        self._config = replace(RunConfig(), model=ModelConfig(path=str(start)))
        self._spec = LearnerSpec(self._config, number, 2, ())
        self._thinker = torch.nn.Identity()  # which has no adapters

    def full_weights(self) -> dict[str, Any]:
        return {"weight": torch.ones(10_000)}


class Ranks(LearnerGroup):
    """Two of them; what comes back has been taken apart and built again, as Ray does."""

    def __init__(self, start: Path) -> None:
        self._ranks = [Rank(start, number) for number in range(2)]

    def _all(self, method: str, *args: Any) -> list[Any]:
        return [copy.copy(getattr(rank, method)(*args)) for rank in self._ranks]


@pytest.mark.parametrize(
    ("num_bytes", "where"),
    [
        pytest.param(
            num_bytes,
            where,
            id=where,
            marks=pytest.mark.fault(
                f"a file limit is reached while the learner exports {where}",
                happens="exit 4 with one line: folder, why, what to do; an older export stays",
                lost="nothing: the last checkpoint has the weights",
            ),
        )
        for num_bytes, where in ((20_000, "the weights"), (5_000, "the weights' other files"))
    ],
)
def test_an_export_that_finds_no_room(
    tmp_path: Path, start: Path, num_bytes: int, where: str, capsys: pytest.CaptureFixture[str]
):
    if "other" in where:
        (start / "added.json").write_text("{}" * 5_000)  # before the weights
    target = tmp_path / "run" / "export"
    group = Ranks(start)
    group.export(target)
    before = (target / "model.safetensors").read_bytes()

    def body(arguments: argparse.Namespace) -> int:
        with file_limit(num_bytes):
            group.export(target)
        return 0

    assert run_command(argparse.ArgumentParser(), body, []) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {target.with_name('.export.partial')}: File too large: ")
    assert "are free" in line and line.endswith("; make room, then run the same command again")
    assert (target / "model.safetensors").read_bytes() == before
    assert [path.name for path in target.parent.iterdir()] == ["export"]
    group.export(target)  # there is room again
