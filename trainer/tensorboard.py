"""A TensorBoard event file: scalars in a layout of charts, the configuration, completions, clips.

docs/metrics.md says where TensorBoard shows them.
"""

from __future__ import annotations

import logging
import re
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from tensorboard.compat.proto.summary_pb2 import (
    Summary,  # pyright: ignore[reportAttributeAccessIssue] (generated at import)
)
from tensorboard.plugins.audio import metadata as audio_plugin
from tensorboard.plugins.text import metadata as text_plugin
from tensorboard.util.tensor_util import make_tensor_proto
from torch.utils.tensorboard import SummaryWriter

from data.audio import SAMPLE_RATE_HZ, wav_bytes
from data.clips import read_clip
from trainer.run_folder import RunFolder

logger = logging.getLogger(__name__)

NUM_SHOWN = 4
"""Completions of a sample file that are shown, each of another clip."""

MAX_CLIP_S = 10.0
"""Clips are cut here: 320 kB."""

CLIP_GROWTH = 1.25
"""Clips are written again once the step has grown by this factor: 30 times in 1,000 steps, where
TensorBoard shows 10."""

LINE_WIDTH = 110

CONFIG_TAG, COMPLETIONS_TAG, CLIPS_TAG = "config", "samples/completions", "samples/clips"

Layouts = dict[str, dict[str, list[str]]]
"""Category -> title of a chart -> patterns of its metrics, each for the whole key."""

LAYOUTS: dict[str, Layouts] = {
    "policy": {
        "Learning": {
            "Accuracy": ["rollout/accuracy", "eval/accuracy", "eval/ua"],
            "Reward": ["reward/mean", "reward/std"],
            "Reward terms": ["reward/TERM_mean"],
            "Recall by emotion": [r"eval/recall_\w+"],
        },
        "Judges and trust": {
            "Weights": ["reward/TERM_weight", "schedule/TERM"],
            "Trust": ["trust/mean", "trust/min", "trust/below_one_frac"],
            "Right and wrong answers": ["judge/TERM_right_mean", "judge/TERM_wrong_mean"],
            "Gate": ["gate/TERM_open", "gate/TERM_accuracy_ema"],
        },
        "Policy": {
            "KL and entropy": ["policy/kl", "policy/entropy"],
            "Gap of engine and learner": ["policy/logprob_gap", "policy/logprob_gap_max"],
            "Length of completions": [
                "rollout/completion_tokens_mean",
                "rollout/completion_tokens_max",
            ],
            "Unusable": ["advantage/flat_frac", "rollout/truncated_frac"],
            "Gradient norm": ["optim/grad_norm"],
        },
        "Time": {
            "Parts of a step": [r"time/(rollout|reward|update|sync|eval|checkpoint|data)_s"],
            "Throughput": ["perf/completion_tokens_per_s"],
        },
    },
    "sft": {
        "Learning": {
            "Loss": ["sft/nll"],
            "Benchmarks": [r"probe/\w+_accuracy"],
            "Gradient norm": ["optim/grad_norm"],
            "Learning rate": ["optim/lr"],
        },
        "Time": {"Parts of a step": [r"time/(update|eval|checkpoint|data)_s"]},
    },
}
"""`loss.kind` -> the charts of the custom scalars page; TERM is any reward term of the run."""


class EventFile:
    """A TensorBoard event file; the first failure costs a warning and ends it."""

    def __init__(self, folder: RunFolder, first_step: int) -> None:
        """Start a file with the layout and the configuration of the run.

        Args:
            folder: Open; its config.yaml is the run's.
            first_step: First step that will be written; TensorBoard hides what an earlier life of
                the run wrote for this step and later ones.
        """
        self._writer: SummaryWriter | None = None
        self._next_clips = first_step
        text = folder.config_path.read_text(encoding="utf-8")
        config = yaml.safe_load(text)
        self._audio_root = Path(config["data"]["audio_root"])
        # A run folder of an older version does not have it.
        self._follow_links = bool(config["data"].get("follow_links"))
        terms = [str(term["name"]) for term in config["rewards"]["terms"]]
        try:
            self._writer = SummaryWriter(folder.tb_dir, purge_step=first_step)
            self._writer.add_custom_scalars(charts_of(config["loss"]["kind"], terms))
        except OSError as err:
            self._give_up(err)
        self._summarize(first_step, _text_value(CONFIG_TAG, text))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars.

        Args:
            step: Loop step.
            values: Key -> finite number.
        """
        scalars = [Summary.Value(tag=key, simple_value=value) for key, value in values.items()]
        self._summarize(step, *scalars)

    def write_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a few completions as text and, at growing distances, their clips.

        Args:
            step: Loop step.
            rows: Of its sample file; see `trainer.metrics.sample_rows`.
        """
        if self._writer is None or not rows:
            return
        shown = shown_rows(rows)
        values = [_text_value(COMPLETIONS_TAG, completions_text(shown))]
        if step >= self._next_clips:
            self._next_clips = max(step + 1, round(step * CLIP_GROWTH))
            root, follow = self._audio_root, self._follow_links
            clips = [read_clip(root, row["audio"], follow_links=follow) for row in shown]
            num = round(MAX_CLIP_S * SAMPLE_RATE_HZ)
            sounds = [wav_bytes(clip[:num]) for clip in clips if clip is not None]
            values += [_clips_value(sounds)] if sounds else []
        self._summarize(step, *values)

    def close(self) -> None:
        """Finish the file."""
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.close()
        except OSError as err:  # of the last write, as the thread that writes has said it late
            self._give_up(err)

    def _summarize(self, step: int, *values: Any) -> None:
        """Write one event: `add_scalar` makes one per key, which took 14 times as long."""
        file = self._writer.file_writer if self._writer else None
        if file is None:
            return
        try:
            file.add_summary(Summary(value=values), step)
            file.flush()  # a kill loses nothing, and an error shows here
        except OSError as err:
            self._give_up(err)

    def _give_up(self, err: OSError) -> None:
        logger.warning(f"no more TensorBoard events, the run goes on: {err}")
        writer, self._writer = self._writer, None
        with suppress(OSError):
            if writer is not None:
                writer.close()


def charts_of(kind: str, terms: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    """Return the custom scalars page of a run, as `add_custom_scalars` takes it.

    Args:
        kind: `loss.kind`.
        terms: Names of the reward terms.
    """
    names = "|".join(map(re.escape, terms)) or "[^/]+"
    return {
        category: {
            title: ["Multiline", [f"^{p.replace('TERM', f'({names})')}$" for p in patterns]]
            for title, patterns in charts.items()
        }
        for category, charts in LAYOUTS[kind].items()
    }


def shown_rows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the first completion of some groups, spread evenly over the step, NUM_SHOWN at most.

    Args:
        rows: Of a sample file, at least one; the completions of a group stand together.
    """
    first = list({row["group"]: row for row in reversed(rows)}.values())[::-1]
    num = min(NUM_SHOWN, len(first))
    return [first[place * len(first) // num] for place in range(num)]


def completions_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return completions with their scores as lines for a person.

    Args:
        rows: Of a sample file.
    """
    lines: list[str] = []
    for number, row in enumerate(rows, start=1):
        answer = "nothing readable" if row["answer"] is None else row["answer"]
        verdict = "right" if row["correct"] else "wrong"
        terms = ", ".join(
            f"{name} {'not scored' if value is None else f'{value:.3f}'}"
            for name, value in row["terms"].items()
        )
        lines += [
            f"{number}. {row['id']}: gold {row['label']}, answered {answer} ({verdict})",
            f"   {terms}",
            f"   reward {row['reward']:.3f}, advantage {row['advantage']:+.3f}, trust "
            f"{row['trust']:.3f}",
            row["text"],
            "",
        ]
    return "\n".join(lines)


def _text_value(tag: str, text: str) -> Any:
    """Return a text as a Markdown code block: nothing in it is markup, whoever wrote it."""
    # Not `add_text`, which puts `/text_summary` after the tag.
    # Indented and not fenced: no text can end such a block.
    lines = [
        f"    {part}"
        for line in text.splitlines()
        for part in textwrap.wrap(line, LINE_WIDTH) or [""]
    ]
    return Summary.Value(
        tag=tag,
        metadata=text_plugin.create_summary_metadata(display_name="", description=""),
        tensor=make_tensor_proto("\n".join(lines).encode("utf-8", errors="replace")),
    )


def _clips_value(sounds: Sequence[bytes]) -> Any:
    """Return WAV files as the samples of one audio summary; `add_audio` holds only one."""
    metadata = audio_plugin.create_summary_metadata(
        display_name="",
        description=f"The clips of {COMPLETIONS_TAG} of the same step, in its order.",
        encoding=audio_plugin.Encoding.Value("WAV"),
    )
    tensor = make_tensor_proto([[sound, b""] for sound in sounds])
    return Summary.Value(tag=CLIPS_TAG, metadata=metadata, tensor=tensor)
