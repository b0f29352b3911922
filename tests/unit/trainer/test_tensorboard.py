"""What TensorBoard shows of a run, read back with its own reader and plugins."""

from __future__ import annotations

import re
import resource
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugin_util import markdown_to_safe_html
from tensorboard.plugins.custom_scalar.layout_pb2 import (
    Layout,  # pyright: ignore[reportAttributeAccessIssue]
)

from configs.load import dump_config, load_config
from tests.fixtures import write_tone
from tests.unit.trainer.test_metrics import documented_keys
from trainer.metrics_writer import MetricsWriter
from trainer.run_folder import RunFolder
from trainer.trackers.base import shown_places
from trainer.trackers.sink import Trackers

ROOT = Path(__file__).parents[3]
EVIL = "# head\n```\n</code><script>alert(1)</script>\n\n- [x](javascript:alert(2))"


class Run:
    """A run folder with TensorBoard, in the place of a whole run."""

    def __init__(self, root: Path, config: str = "tiny.yaml", *overrides: str) -> None:
        settings = [f"data.audio_root={root}", "log.trackers=[tensorboard]", *overrides]
        self.config = load_config(ROOT / "configs" / config, settings)
        self.folder = RunFolder(root / "run")
        self.folder.open(dump_config(self.config), lambda old: [])

    @contextmanager
    def life(self, first_step: int = 1) -> Iterator[MetricsWriter]:
        with Trackers(self.config, self.folder) as trackers:
            trackers.open(resumed=False)
            yield MetricsWriter(self.folder, trackers, first_step)


def row(group: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"clip-{group}",
        "group": group,
        "audio": f"clip-{group}.wav",
        "label": "happy",
        "answer": "sad",
        "correct": False,
        "text": "<think>It is loud.</think><answer>sad</answer>",
        "terms": {"format": 1.0, "reasoning": None},
        "reward": 0.3,
        "advantage": -0.5,
        "trust": 1.0,
        **fields,
    }


def read(run: Run) -> EventAccumulator:
    return EventAccumulator(str(run.folder.tb_dir), size_guidance={"tensors": 0}).Reload()


def text_of(events: EventAccumulator, tag: str) -> str:
    return events.Tensors(tag)[-1].tensor_proto.string_val[0].decode()


def layout_of(run: Run) -> dict[str, dict[str, list[str]]]:
    (event,) = read(run).Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    return {
        category.title: {chart.title: list(chart.multiline.tag) for chart in category.chart}
        for category in layout.category
    }


@pytest.mark.parametrize(("config", "number"), [("tiny.yaml", 15), ("tiny_sft.yaml", 5)])
def test_every_chart_of_the_layout_shows_documented_metrics(
    tmp_path: Path, config: str, number: int
) -> None:
    run = Run(tmp_path, config)
    with run.life(0):
        pass
    charts = {
        title: patterns
        for category in layout_of(run).values()
        for title, patterns in category.items()
    }
    assert len(charts) == number
    known = [p.pattern.replace("[a-z_]+", "reasoning") for p in documented_keys(_metrics_page())]
    for title, patterns in charts.items():
        for pattern in patterns:
            assert any(re.match(pattern, key) for key in known), (title, pattern)


def _metrics_page() -> str:
    return (ROOT / "docs" / "metrics.md").read_text()


def test_terms_are_shown_without_their_labels(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with run.life(0):
        pass
    (pattern,) = layout_of(run)["Learning"]["Reward terms"]
    keys = ["reward/format_mean", "reward/reasoning_mean", "reward/mean", "reward/format_mean_sad"]
    assert [bool(re.match(pattern, key)) for key in keys] == [True, True, False, False]


def test_the_configuration_is_shown_as_it_is(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with run.life(0):
        pass
    lines = text_of(read(run), "config").splitlines()
    assert all(line.startswith("    ") for line in lines)
    assert "\n".join(line[4:] for line in lines) + "\n" == run.folder.config_path.read_text()


def test_completions_and_their_clips(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for number in range(8):
        write_tone(tmp_path / f"clip-{number}.wav", duration_s=0.5)
    write_tone(tmp_path / "clip-4.wav", duration_s=11.0)
    (tmp_path / "clip-2.wav").unlink()
    with run.life() as writer:
        writer.write_samples(1, [row(group) for group in range(8) for _ in range(2)])
    events = read(run)
    lines = [line.strip() for line in text_of(events, "samples/completions").splitlines()]
    assert lines[:4] == [
        "1. clip-0: gold happy, answered sad (wrong)",
        "format 1.000, reasoning not scored",
        "reward 0.300, advantage -0.500, trust 1.000",
        "<think>It is loud.</think><answer>sad</answer>",
    ]
    heads = [line for line in lines if re.match(r"\d\.", line)]
    assert [head.split(":")[0] for head in heads] == [
        "1. clip-0",
        "2. clip-2",
        "3. clip-4",
        "4. clip-6",
    ]
    (clips,) = events.Tensors("samples/clips")
    assert events.SummaryMetadata("samples/clips").plugin_data.plugin_name == "audio"
    sounds, labels = clips.tensor_proto.string_val[::2], clips.tensor_proto.string_val[1::2]
    assert set(labels) == {b""}
    assert [_seconds(sound) for sound in sounds] == [0.5, 10.0, 0.5]  # one is gone, one was cut


@pytest.mark.parametrize(("follow_links", "number"), [("true", 1), ("false", 0)])
def test_a_clip_that_is_a_link_out_is_shown_if_links_are_followed(
    tmp_path: Path, follow_links: str, number: int
) -> None:
    (tmp_path / "root").mkdir()
    write_tone(tmp_path / "store.wav")
    (tmp_path / "root" / "clip-0.wav").symlink_to(tmp_path / "store.wav")
    run = Run(tmp_path / "root", "tiny.yaml", f"data.follow_links={follow_links}")
    with run.life() as writer:
        writer.write_samples(1, [row(0)])
    assert read(run).Tags()["tensors"].count("samples/clips") == number


def _seconds(sound: bytes) -> float:
    """The length of a WAV file with one channel of 16 bits at 16 kHz."""
    channels, rate = struct.unpack("<HI", sound[22:28])
    (bits,) = struct.unpack("<H", sound[34:36])
    (size,) = struct.unpack("<I", sound[40:44])
    assert (sound[:4], channels, rate, bits, len(sound) - 44) == (b"RIFF", 1, 16_000, 16, size)
    return size / 32_000


def test_nothing_that_a_model_writes_is_markup(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with run.life() as writer:
        writer.write_samples(1, [row(0, id=EVIL, text=EVIL, answer=EVIL, label=EVIL)])
    shown = markdown_to_safe_html(text_of(read(run), "samples/completions"))
    assert set(re.findall(r"<(\w+)", shown)) == {"pre", "code"}
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 4


def test_clips_are_written_ever_more_rarely(tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_tone(tmp_path / "clip-0.wav")
    with run.life() as writer:
        for step in range(1, 41):
            writer.write_samples(step, [row(0)])
    events = read(run)
    assert len(events.Tensors("samples/completions")) == 40
    steps = [event.step for event in events.Tensors("samples/clips")]
    assert steps == [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 19, 24, 30, 38]


def test_shown_completions_are_of_different_groups() -> None:
    rows = [row(group) for group in range(3) for _ in range(2)]
    assert shown_places(rows, 4) == [0, 2, 4]
    assert shown_places([row(group) for group in range(10)], 4) == [0, 2, 5, 7]


def test_a_resumed_run_has_one_clean_curve_in_tensorboard(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for first, last in ((1, 6), (4, 8)):
        time.sleep(1 - time.time() % 1)  # names of event files are told apart by their second
        with run.life(first) as writer:
            for step in range(first, last + 1):
                writer.write(step, {"reward/mean": first + step / 100})
    events = EventAccumulator(str(run.folder.tb_dir)).Reload().Scalars("reward/mean")
    assert [event.step for event in events] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [round(event.value, 2) for event in events][2:5] == [1.03, 4.04, 4.05]


def test_tensorboard_that_cannot_start_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path)
    run.folder.tb_dir.write_text("a file where the folder should be")
    with run.life() as writer:
        writer.write(1, {"reward/mean": 1.0})
        writer.write(2, {"reward/mean": 1.0})
    assert caplog.text.count("nothing more goes to tensorboard, the run goes on") == 1
    assert len(run.folder.metrics_path.read_text().splitlines()) == 2


def size_of_begun(run: Run) -> int:
    """Wait until the event file has its layout and configuration; return its size in bytes."""
    while "config" not in read(run).Tags()["tensors"]:
        time.sleep(0.05)
    (events,) = run.folder.tb_dir.iterdir()
    return events.stat().st_size


@pytest.mark.parametrize(("room", "num_steps"), [(1000, 40), (0, 1)])
def test_tensorboard_that_fails_midway_costs_one_warning(
    room: int,
    num_steps: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The thread that writes ends with the error, after leaving it to the next call.
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    run = Run(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with run.life() as writer:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size_of_begun(run) + room, limits[1]))
            for step in range(1, num_steps + 1):
                writer.write(step, {"x": 1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caplog.text.count("nothing more goes to tensorboard, the run goes on") == 1
    assert len(run.folder.metrics_path.read_text().splitlines()) == num_steps
