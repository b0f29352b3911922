"""What the demo shows: accuracy before and after RL, and the learning curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from evaluation.files import FOLDER
from evaluation.formats import number, percent
from evaluation.nulls import NULLS
from trainer.run_folder import RunFolder


def before_and_after(run: Path) -> list[dict[str, float]]:
    """Return the test metrics of a run before its first and after its last step."""
    rows = RunFolder(run).rows()
    return [
        {key.partition("/")[2]: value for key, value in row.items() if key.startswith("test_")}
        for row in (rows[0], rows[-1])
    ]


def gate_step(run: Path) -> int | None:
    """Return the step after which the reasoning gate opened; None if it did not."""
    opened = RunFolder(run).rows()[-1].get("gate/reasoning_opened_at")
    return None if opened is None else int(opened)


def describe_run(run: Path) -> str:
    """Return the demo's result in a few lines."""
    lines = ["held-out test speakers, greedy answers:"]
    before, after = before_and_after(run)
    for name, label, form, unit in (
        ("accuracy", "accuracy", "6.1%", ""),
        ("ua", "UA", "6.1%", ""),
        ("format_frac", "well-formed", "6.1%", ""),
        ("reasoning_factual_alignment", "facts of reasoning", "6.2f", "   (1 to 5)"),
        ("reasoning_caption_completeness", "coverage of reasoning", "6.2f", "   (1 to 5)"),
    ):
        scores = f"before RL {before[name]:{form}}   after RL {after[name]:{form}}"
        lines.append(f"  {label:22} {scores}{unit}")
    lines += describe_nulls(run)
    opened = gate_step(run)
    lines.append(
        "the reasoning gate stayed closed"
        if opened is None
        else f"the reasoning gate opened after step {opened}"
    )
    return "\n".join(lines)


def describe_nulls(run: Path) -> list[str]:
    """Return what the same clips give without listening, as the run's last test has it."""
    path = run / FOLDER / "summary.json"
    if not path.is_file():
        return []
    (test,) = json.loads(path.read_text(encoding="utf-8"))["sets"].values()
    nulls = test.get("nulls")
    if nulls is None:
        return []
    facts = ", ".join(
        f"{number(nulls['facts'][key])} ({label})"
        for key, label in (("gold", "right label"), ("answer", "policy's answer"))
    )
    levels = ", ".join(f"{name} {share:.1%}" for name, share in nulls["levels"].items())
    return [
        "without listening: the label's own frequency, and random forests on measurements:",
        *(f"  {label:22} accuracy {percent(nulls[name])}" for name, label in NULLS.items()),
        f"  facts of reciting the levels typical of a label: {facts}",
        f"  levels that the right label's stereotype gets right: {levels or '-'}",
    ]


ACCURACY = (
    ("training rollouts (sampled)", "rollout/accuracy", "tab:gray", "-"),
    ("evaluation speakers (greedy)", "eval/accuracy", "tab:blue", "o-"),
)
FACTS = (
    ("training rollouts (sampled)", "judge/reasoning_factual_alignment", "tab:gray", "-"),
    ("evaluation speakers (greedy)", "eval/reasoning_factual_alignment", "tab:blue", "o-"),
)
SCHEDULE = (
    ("trust, mean over groups", "trust/mean", "tab:purple", "-"),
    ("groups in which the judge counted", "trust/applied_frac", "tab:orange", "-"),
    ("weight of the reasoning term, where it counts", "schedule/reasoning", "tab:gray", "-"),
)


def draw_curve(runs: Sequence[Path], target: Path) -> None:
    """Draw accuracy, the judge's factual score, weight and trust over the steps of RL runs."""
    figure, panels = plt.subplots(1, 3, figsize=(14.4, 4.0), layout="constrained")
    left, middle, right = panels
    _draw(left, runs, ACCURACY)
    _draw_test(left, runs, "accuracy")
    _draw(middle, runs, FACTS)
    _draw_test(middle, runs, "reasoning_factual_alignment")
    _draw(right, runs, SCHEDULE)
    left.axhline(1 / 9, color="black", linewidth=0.8, linestyle=":", label="chance (1 of 9)")
    left.set(title="answers", ylabel="accuracy", ylim=(0, 1))
    middle.set(title="reasoning", ylabel="factual alignment (1 to 5)", ylim=(1, 5))
    right.set(title="the judge's say", ylabel="weight, share", ylim=(0, 1.05))
    for axes in panels:
        axes.set_xlabel("RL step")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="lower right")
    figure.savefig(target, dpi=150)
    plt.close(figure)


def _draw(axes: Axes, runs: Sequence[Path], series: Sequence[tuple[str, str, str, str]]) -> None:
    """Draw the series of all runs, and where their gates opened."""
    for index, run in enumerate(runs):
        rows = RunFolder(run).rows()
        for label, key, colour, style in series:
            points = [(row["step"], row[key]) for row in rows if key in row]
            axes.plot(
                [step for step, _ in points],
                [value for _, value in points],
                style,
                color=colour,
                markersize=3.5,
                linewidth=1.2,
                alpha=1 if len(runs) == 1 else 0.55,
                label=label if index == 0 else None,
            )
        opened = gate_step(run)
        if opened is not None:
            label = "reasoning gate opens" if index == 0 else None
            axes.axvline(opened, color="tab:green", linewidth=1, linestyle="--", label=label)


def _draw_test(axes: Axes, runs: Sequence[Path], name: str) -> None:
    """Draw a test metric of all runs before their first and after their last step."""
    for index, run in enumerate(runs):
        steps = [row["step"] for row in RunFolder(run).rows()]
        axes.plot(
            [steps[0], steps[-1]],
            [test[name] for test in before_and_after(run)],
            "D",
            color="tab:red",
            markersize=5,
            label="test speakers (greedy), before and after" if index == 0 else None,
        )
