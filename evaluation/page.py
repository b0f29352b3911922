"""The page of an evaluation: its summary as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.controls import CONTROLS
from evaluation.summary import NUMBERS

Summary = Mapping[str, Any]


def evaluation_page(summary: Summary) -> str:
    """Return the report as Markdown.

    Args:
        summary: Of `evaluation.summary.summary_of_sets`, with `model`, `mode`, `judges`
            (term -> who judges) and `latency` (with `device`, or None).
    """
    sets: Mapping[str, Summary] = summary["sets"]
    by_speaker = any(found["overall"]["interval_speakers"] for found in sets.values())
    lines = [
        "# Evaluation",
        "",
        f"`{summary['model'].replace('`', ' ')}`, greedy answers, {MODES[summary['mode']]}.",
        "",
        "Intervals: 95 %, bootstrap over clips"
        + (", and over speakers" if by_speaker else "")
        + ".",
        "",
        *_overview(summary),
        *_latency(summary["latency"]),
    ]
    for name, found in sets.items():
        lines += ["", f"## {cell(name)}", *_one_set(found, summary)]
    return "\n".join([*lines, ""])


MODES = {
    "reasoned": "with their reasoning",
    "direct": "direct: begun with `<answer>`, without reasoning, and therefore not judged",
}
"""`eval.mode` in words."""


def _overview(summary: Summary) -> list[str]:
    """Return the table of all test sets and their means."""
    lines = [
        "| test set | " + " | ".join(NUMBERS.values()) + " | readable | clips |",
        "|---|" + "--:|" * (len(NUMBERS) + 2),
    ]
    lines += [_numbers_row(name, found["overall"]) for name, found in summary["sets"].items()]
    means = summary["means"]
    if means and len(means["sets"]) > 1:
        micro, macro = means["micro"], means["macro"]
        lines += [
            f"| all clips of {_listed(means['sets'])} (micro) | "
            f"{percent(micro['accuracy'])}{_interval(micro['interval'])} | | | | "
            f"{means['examples']} |",
            f"| mean of these sets (macro) | {percent(macro['accuracy'])}"
            f"{_interval(macro['interval'])} | {percent(macro['ua'])} | "
            f"{percent(macro['macro_f1'])} | | |",
        ]
    return lines


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(cell, names))


def _one_set(found: Summary, summary: Summary) -> list[str]:
    return [
        *_corpora(found),
        *_classes(found),
        *_confusion(found),
        *_quality(found, summary["judges"]),
        *_controls(found["metrics"]),
        *_votes(found, summary),
        *_costs(found["metrics"]),
    ]


def _corpora(found: Summary) -> list[str]:
    if not found["datasets"]:
        return []
    means = " | ".join(percent(found["macro"].get(name)) for name in NUMBERS)
    return [
        "",
        "### By corpus",
        "",
        "| corpus | " + " | ".join(NUMBERS.values()) + " | readable | clips |",
        "|---|" + "--:|" * (len(NUMBERS) + 2),
        *[_numbers_row(name, numbers) for name, numbers in found["datasets"].items()],
        f"| mean of the corpora (macro) | {means} | | |",
    ]


def _classes(found: Summary) -> list[str]:
    if not found["classes"]:
        return ["", "Too many labels to count as classes: accuracy is the only number."]
    lines = ["", "### By label", "", "| label | clips | precision | recall | F1 |"]
    lines.append("|---|--:|--:|--:|--:|")
    for name, numbers in found["classes"].items():
        cells = " | ".join(percent(numbers[key]) for key in ("precision", "recall", "f1"))
        lines.append(f"| {cell(name)} | {numbers['examples']} | {cells} |")
    return lines


def _confusion(found: Summary) -> list[str]:
    if not found["confusion"]:
        return []
    head = [*map(cell, found["choices"]), "-"]
    lines = ["", "### Confusion", "", "Rows: gold; columns: answer; `-`: none or another.", ""]
    lines += ["| | " + " | ".join(head) + " |", "|---|" + "--:|" * len(head)]
    for name, counts in zip(found["choices"], found["confusion"], strict=True):
        lines.append(f"| {cell(name)} | " + " | ".join(map(str, counts)) + " |")
    return lines


def _quality(found: Summary, judges: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for term, numbers in found["quality"].items():
        lines += ["", f"### Reasoning: {cell(term)}", ""]
        lines.append(
            f"Judged by {cell(judges.get(term, term))}, 1 to 5: {numbers['mean']:.2f} in the mean "
            f"of its dimensions, over {numbers['scored']} answers."
        )
        lines += ["", "| dimension | mean |", "|---|--:|"]
        lines += [f"| {cell(k)} | {value:.2f} |" for k, value in numbers["dimensions"].items()]
    return lines


def _controls(metrics: Mapping[str, float]) -> list[str]:
    """Return the table of the grounding controls; nothing if there were none."""
    names = [name for name in CONTROLS if f"control_{name}_accuracy" in metrics]
    if not names:
        return []
    lines = [
        "",
        "### Grounding",
        "",
        "The same questions with altered clips. Follow, against: of the examples that claim a",
        "level before and after, those whose claim moved with the clip, or the other way.",
        "",
        "| clips | accuracy | answers changed | claims follow | against |",
        "|---|--:|--:|--:|--:|",
    ]
    for name in names:
        kinds = ("accuracy", "changed_frac", "follow_frac", "against_frac")
        cells = [percent(metrics.get(f"control_{name}_{kind}")) for kind in kinds]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _votes(found: Summary, summary: Summary) -> list[str]:
    metrics = found["metrics"]
    if "vote_accuracy" not in metrics:
        return []
    return [
        "",
        "### Self-consistency",
        "",
        f"{summary['samples']} samples a clip at temperature {summary['temperature']:g}. Vote: the",
        "most frequent readable answer; of several, the one sampled first.",
        "",
        "| accuracy of the vote | of single samples | of at least one (pass@N) | agreement |",
        "|--:|--:|--:|--:|",
        f"| {percent(metrics['vote_accuracy'])}{_interval(found['vote_interval'])} | "
        + " | ".join(
            percent(metrics[key]) for key in ("sampled_accuracy", "pass_at_n", "vote_agreement")
        )
        + " |",
    ]


def _costs(metrics: Mapping[str, float]) -> list[str]:
    if "completion_tokens_mean" not in metrics:
        return []
    tokens = [metrics[f"completion_tokens_{kind}"] for kind in ("mean", "p50", "p95", "max")]
    lines = [
        "",
        "### Tokens",
        "",
        "| completion tokens: mean | median | p95 | longest | cut at the limit | prompt tokens |",
        "|--:|--:|--:|--:|--:|--:|",
        "| "
        + " | ".join(f"{number:.1f}" for number in tokens)
        + f" | {percent(metrics['truncated_frac'])} | {metrics['prompt_tokens_mean']:.1f} |",
    ]
    if "clips_per_s" in metrics:
        lines += [
            "",
            f"As one batch: {metrics['clips_per_s']:.1f} clips and "
            f"{metrics['completion_tokens_per_s']:.0f} completion tokens a second.",
        ]
    return lines


def _latency(found: Summary | None) -> list[str]:
    if found is None:
        return []
    return [
        "",
        f"Latency of a single request, {found['clips']:.0f} clips one after another on "
        f"{cell(found['device'])}: median {found['p50_s']:.3f} s, p95 {found['p95_s']:.3f} s "
        "(reading the clip and its features not counted).",
    ]


def _numbers_row(name: str, found: Summary) -> str:
    cells = []
    for key in NUMBERS:
        shown = percent(found[key])
        if key in found["interval"]:
            shown += _interval(found["interval"][key])
        if key in found["interval_speakers"]:
            shown += " / " + _interval(found["interval_speakers"][key]).strip()
        cells.append(shown)
    readable = percent(found["format_frac"])
    return f"| {cell(name)} | {' | '.join(cells)} | {readable} | {found['examples']} |"


def _interval(found: Mapping[str, float]) -> str:
    return f" [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def percent(value: float | None) -> str:
    """Return a share as a percentage; what was not measured is a dash."""
    return "-" if value is None else f"{100 * value:.1f} %"


def cell(text: str) -> str:
    """Return a text for a table or a line of Markdown: one line, no markup of its own."""
    flat = " ".join(text.split())
    for mark in ("\\", "|", "`", "*", "<", "[", "#"):
        flat = flat.replace(mark, "\\" + mark)
    return flat
