"""What the demo prints and draws of a run, from rows written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib import image

from demo.results import before_and_after, describe_run, draw_curve, gate_step
from demo.seeds import seeds_page

pytestmark = pytest.mark.slow


def write_run(folder: Path, *, opened: int | None, after: float = 0.6) -> Path:
    """A run of 30 steps whose gate opened, or did not."""
    folder.mkdir(parents=True)
    test = {"ua": 0.4, "format_frac": 0.99, "reasoning_factual_alignment": 3.5}
    test |= {"accuracy": 0.4, "reasoning_caption_completeness": 4.25, "macro_f1": 0.35}
    test |= {"recall_sad": 0.15, "recall_happy": 0.6}
    rows = [{"step": 0, **{f"test_before/{name}": value for name, value in test.items()}}]
    for step in range(1, 31):
        row = {"step": step, "rollout/accuracy": step / 60}
        judged = opened is not None and step > opened
        row["schedule/reasoning"] = 0.5 if judged else 0.0
        if judged:
            row |= {"trust/mean": 0.97, "trust/applied_frac": 0.5}
            row |= {"judge/reasoning_factual_alignment": 3.6, "gate/reasoning_opened_at": opened}
        if step % 10 == 0:
            row |= {"eval/accuracy": 0.4, "eval/reasoning_factual_alignment": 3.4}
        rows.append(row)
    end = test | {"accuracy": after, "reasoning_factual_alignment": 3.9}
    rows[-1] |= {f"test_after/{name}": value for name, value in end.items()}
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


def test_the_text(tmp_path: Path):
    run = write_run(tmp_path / "run", opened=12)
    assert [test["accuracy"] for test in before_and_after(run)] == [0.4, 0.6]
    assert gate_step(run) == 12
    assert describe_run(run).splitlines() == [
        "held-out test speakers, greedy answers:",
        "  accuracy               before RL  40.0%   after RL  60.0%",
        "  UA                     before RL  40.0%   after RL  40.0%",
        "  well-formed            before RL  99.0%   after RL  99.0%",
        "  facts of reasoning     before RL   3.50   after RL   3.90   (1 to 5)",
        "  coverage of reasoning  before RL   4.25   after RL   4.25   (1 to 5)",
        "the reasoning gate opened after step 12",
    ]


def test_the_text_has_what_needs_no_listening(tmp_path: Path):
    run = write_run(tmp_path / "run", opened=12)
    nulls = {
        "majority": 1 / 9,
        "loudness_length": 0.35,
        "without_f0": 0.44,
        "measured": None,
        "facts": {"gold": 3.5, "answer": None},
        "levels": {"pitch": 0.7, "rate": 0.625},
    }
    (run / "evaluation").mkdir()
    summary = {"sets": {"test": {"nulls": nulls}}}
    (run / "evaluation" / "summary.json").write_text(json.dumps(summary))
    assert describe_run(run).splitlines()[6:-1] == [
        "without listening: the label's own frequency, and random forests on measurements:",
        "  most frequent label    accuracy 11.1 %",
        "  loudness and length    accuracy 35.0 %",
        "  all but F0             accuracy 44.0 %",
        "  all measurements       accuracy -",
        "  facts of reciting the levels typical of a label: 3.50 (right label), "
        "- (policy's answer)",
        "  levels that the right label's stereotype gets right: pitch 70.0%, rate 62.5%",
    ]


def test_a_gate_that_stayed_closed(tmp_path: Path):
    run = write_run(tmp_path / "run", opened=None)
    assert gate_step(run) is None
    assert describe_run(run).splitlines()[-1] == "the reasoning gate stayed closed"


@pytest.mark.parametrize("opened", [12, None])
def test_the_figure_of_one_run_and_of_several(tmp_path: Path, opened: int | None):
    runs = [write_run(tmp_path / str(n), opened=opened) for n in range(2)]
    for number in (1, 2):
        path = tmp_path / f"{number}.png"
        draw_curve(runs[:number], path)
        pixels = image.imread(path)
        assert pixels.shape[1] > 2 * pixels.shape[0] > 400  # three panels side by side
        assert 0.02 < (pixels[..., :3].min(axis=2) < 0.9).mean() < 0.5


def hears(shift: float) -> dict[str, float]:
    moves = ("pitch_up_shift_pitch", "rate_up_shift_rate", "energy_up_shift_energy")
    shifts = {f"control_{move}": n * shift for n, move in enumerate(moves, start=1)}
    return shifts | {"faithful_gap": 4 * shift}


def test_the_page_of_the_seeds(tmp_path: Path):
    runs = [write_run(tmp_path / str(n), opened=12, after=0.5 + 0.1 * n) for n in range(3)]
    heard = [(hears(0.0), hears(0.1 * n)) for n in range(3)]
    page = seeds_page([0, 1, 2], runs, heard)
    cells = "40.0 → 60.0 | 35.0 → 35.0 | 15.0 → 15.0 | 3.50 → 3.90 | 4.25 → 4.25"
    assert f"| 1 | {cells} | 12 |" in page
    # t(0.975, 2) = 4.3027, times 10 points over the root of 3.
    assert "| change | +20.0 (-4.8 to +44.8) | +0.0 (+0.0 to +0.0) | " in page
    assert "| 2 | 0.00 → 0.20 | 0.00 → 0.40 | 0.00 → 0.60 | 0.00 → 0.80 |" in page
    assert "| change | +0.10 (-0.15 to +0.35) | +0.20 (" in page
    closed = write_run(tmp_path / "closed", opened=None)
    lone = seeds_page([7], [closed], heard[:1])
    rows = [line for line in lone.splitlines() if line.startswith("| 7 |")]
    assert rows[0].endswith("| closed |")
    assert "| change | +20.0 | " in lone
