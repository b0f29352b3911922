"""The calibration of judges as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from evaluation.markdown import table

Summary = Mapping[str, Any]

HEAD = """\
# Calibration

Judged against known scores of held-out texts, 1 to 5. Intervals: 95 %, bootstrap over clips.
Calibration error: how far the mean known score of the texts that are judged alike (bins of half
a point) is from what they are called, on average. Spread: standard deviation, and share of each
digit.
"""


def calibration_page(summary: Mapping[str, Summary]) -> str:
    """Return the report.

    Args:
        summary: Name of a judge -> its numbers, as `evaluation.calibration.summary` gives them.
    """
    lines = [HEAD]
    for name, found in summary.items():
        missing = ", ".join(f"{n} {reason}" for reason, n in found["missing"].items())
        lines += [f"- `{name}`: {found['num']} texts scored; missing: {missing or 'none'}"]
    for dimension in next(iter(summary.values()))["dimensions"]:
        lines += ["", f"## {dimension}", "", *_dimension(summary, dimension)]
    lines += ["", "## Biases", "", *_biases(summary)]
    lines += ["", "## Injections", "", *_attacks(summary)]
    for title, key, part in (
        ("Agreement with accuracy", "accuracy", _accuracy),
        ("Drift", "drift", _drift),
        ("People", "human", _people),
    ):
        known = {name: found[key] for name, found in summary.items() if key in found}
        if known:
            lines += ["", f"## {title}", "", *part(known)]
    return "\n".join([*lines, ""])


def _dimension(summary: Mapping[str, Summary], name: str) -> list[str]:
    """Return a row per judge, and then the known scores' own spread."""
    columns: dict[str, Callable[[Summary], str]] = {
        "Spearman": lambda d: _number(d["spearman"]) + _interval(d["spearman_interval"]),
        "Kendall": lambda d: _number(d["kendall"]) + _interval(d["kendall_interval"]),
        "kappa": lambda d: _number(d["kappa"]),
        "mean error": lambda d: _number(d["mae"]),
        "bias": lambda d: _signed(d["bias"]),
        "calibration error": lambda d: _number(d["calibration_error"]),
        "spread": lambda d: _spread(d["judged"]),
    }
    found = {judge: one["dimensions"][name] for judge, one in summary.items()}
    rows = [[f"`{judge}`", *(show(d) for show in columns.values())] for judge, d in found.items()]
    known = next(iter(found.values()))["gold"]
    rows.append(["known scores", *[""] * (len(columns) - 1), _spread(known)])
    return table(["", *columns], rows)


def _biases(summary: Mapping[str, Summary]) -> list[str]:
    """Return what moves scores that it should not move."""
    head = [
        "",
        "error and length",
        "judged and length, given the score",
        "by fluency 1 to 5",
        "lower case",
        "filler sentence",
    ]
    rows = [
        [
            f"`{judge}`, {name}",
            _number(d["length"]["error"]),
            _number(d["length"]["partial"]),
            " ".join(_signed(value) for value in d["by_fluency"].values()),
            _signed(found["style"]["lower"].get(name)),
            _signed(found["style"]["filler"].get(name)),
        ]
        for judge, found in summary.items()
        for name, d in found["dimensions"].items()
    ]
    return [
        "Rank correlations with the number of words; mean of judged - known for texts of each",
        "known fluency; mean change when the same text is put in lower case, or gets a sentence",
        "that says nothing of the clip. All in points but the correlations; 0 is no bias. (Lower",
        "case is a change of fluency by one, by the definition of that score.)",
        "",
        *table(head, rows),
    ]


def _attacks(summary: Mapping[str, Summary]) -> list[str]:
    rows = [
        [
            f"`{judge}`, {kind}",
            str(one["num"]),
            f"{100 * one['raised_frac']:.0f} %",
            _signed(one["mean_rise"]),
            f"{_signed(one['rise'])} (line {one['payload']})",
            _signed(one["largest"]),
        ]
        for judge, found in summary.items()
        for kind, one in found["attacks"].items()
        if one
    ]
    head = ["", "payloads", "raise by 0.5", "mean rise", "worst payload", "largest rise of a text"]
    return [
        "Rise of the mean score by what `rewards/judges/injections.txt` tries. `bare`: the payload",
        "alone, against a sentence without content; `padded`: in the middle of a held-out text,",
        "against the text.",
        "",
        *table(head, rows),
    ]


def _accuracy(known: Mapping[str, Summary]) -> list[str]:
    head = ["", "completions", "mean, right", "mean, wrong", "AUC", "AUC within prompts", "prompts"]
    rows = [
        [
            f"`{judge}`",
            str(d["num"]),
            *(_number(d[key]) for key in ("right", "wrong", "auc", "within")),
            str(d["groups"]),
        ]
        for judge, d in known.items()
    ]
    return [
        "Mean score of a run's completions with right and with wrong answers. Within prompts is",
        "what trust sees; 0.5 is chance.",
        "",
        *table(head, rows),
    ]


def _drift(known: Mapping[str, Summary]) -> list[str]:
    head = ["", "texts", "shift", "mean change", "moved by 0.5", "Spearman"]
    return table(
        head,
        [
            [
                f"`{judge}`, {name}",
                str(found["num"]),
                _signed(d["shift"]),
                _number(d["mean_change"]),
                f"{100 * d['moved']:.0f} %",
                _number(d["spearman"]),
            ]
            for judge, found in known.items()
            for name, d in found["dimensions"].items()
        ],
    )


def _people(known: Mapping[str, Summary]) -> list[str]:
    head = ["", "texts", "Spearman", "kappa", "mean error", "bias"]
    return [
        "Against the mean rating of each text. A rater is compared with the mean of the others: no",
        "judge can be expected to agree better.",
        "",
        *table(head, [row for judge, found in known.items() for row in _ratings(judge, found)]),
    ]


def _ratings(judge: str, found: Summary) -> Iterator[list[str]]:
    for name, d in found["dimensions"].items():
        for who, one in (
            (f"`{judge}`", d["judge"]),
            ("known scores", d["prescribed"]),
            ("one rater", d["rater"]),
        ):
            if one:
                num = d["several"] if who == "one rater" else one["num"]
                cells = [_number(one["spearman"]), _number(one["kappa"]), _number(one["mae"])]
                yield [f"{name}, {who}", str(num), *cells, _signed(one["bias"])]


def _spread(found: Summary) -> str:
    shares = " ".join(f"{100 * share:.0f}" for share in found["shares"].values())
    return f"{found['std']:.2f} ({shares} %)"


def _interval(found: Sequence[float] | None) -> str:
    return "" if found is None else f" [{found[0]:.2f}, {found[1]:.2f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
