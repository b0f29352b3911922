"""A TensorBoard event file: scalars in a layout of charts, the configuration, completions, clips.

docs/metrics.md says where TensorBoard shows them.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from tensorboard.compat.proto.summary_pb2 import (
    Summary,  # pyright: ignore[reportAttributeAccessIssue] (generated at import)
)
from tensorboard.plugins.audio import metadata as audio_plugin
from tensorboard.plugins.text import metadata as text_plugin
from tensorboard.util.tensor_util import make_tensor_proto
from torch.utils.tensorboard import SummaryWriter

from trainer.trackers.base import (
    CLIPS,
    COMPLETIONS,
    Completions,
    TrackedRun,
    Tracker,
)

LINE_WIDTH = 110

CONFIG_TAG = "config"

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


class EventFile(Tracker):
    """A TensorBoard event file."""

    # A file cannot be gone on with: TensorBoard hides what an earlier one has of a repeated step.
    has_memory = False

    def open(self, run: TrackedRun) -> None:
        """See `Tracker`; the file itself comes with the first step."""
        self._run = run
        self._writer: SummaryWriter | None = None

    def begin(self, first_step: int) -> None:
        """Start a file with the layout and the configuration of the run; see `Tracker`."""
        settings = self._run.settings
        terms = [str(term["name"]) for term in settings["rewards"]["terms"]]
        self._writer = SummaryWriter(self._run.home, purge_step=first_step)
        self._writer.add_custom_scalars(charts_of(settings["loss"]["kind"], terms))
        text = self._run.config_path.read_text(encoding="utf-8")
        self._summarize(first_step, _text_value(CONFIG_TAG, text))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        scalars = [Summary.Value(tag=key, simple_value=value) for key, value in values.items()]
        self._summarize(step, *scalars)

    def log_completions(self, completions: Completions) -> None:
        """Write those that are shown first as text, and the clips; see `Tracker`."""
        shown = [completions.rows[place] for place in completions.shown]
        values = [_text_value(COMPLETIONS, completions_text(shown))]
        sounds = list(completions.clips.values())
        self._summarize(completions.step, *values, *([_clips_value(sounds)] if sounds else []))

    def close(self) -> None:
        """See `Tracker`."""
        if self._writer is not None:
            self._writer.close()

    def _summarize(self, step: int, *values: Any) -> None:
        """Write one event: `add_scalar` makes one per key, which took 14 times as long."""
        assert self._writer is not None, "begin comes first"
        file = self._writer.file_writer
        assert file is not None
        file.add_summary(Summary(value=values), step)
        file.flush()  # a kill loses nothing, and an error shows here


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


def completions_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return completions with their scores as lines for a person.

    Args:
        rows: Of a sample file.
    """
    lines: list[str] = []
    for number, row in enumerate(rows, start=1):
        answer = "nothing readable" if row["answer"] is None else row["answer"]
        verdict = {True: "right", False: "wrong", None: "the clip was moved"}[row["correct"]]
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
        description=f"The clips of {COMPLETIONS} of the same step, in its order.",
        encoding=audio_plugin.Encoding.Value("WAV"),
    )
    tensor = make_tensor_proto([[sound, b""] for sound in sounds])
    return Summary.Value(tag=CLIPS, metadata=metadata, tensor=tensor)
