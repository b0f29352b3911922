"""Tables from evaluations on disk: every figure by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.files import write_rows
from evaluation.paper_numbers import BENCHMARKS, TABLE_4, paper_variant
from evaluation.paper_tables import tables
from evaluation.summary import AnsweredSet, summary_of_sets
from launch.tables import main


def evaluation(
    folder: Path,
    right: dict[str, str],
    *,
    scores: float = 0.0,
    nulls: dict[str, Any] | None = None,
    **more: Any,
) -> Path:
    """Write an evaluation: benchmark -> a `1` or `0` for each clip; names in small are probes."""
    sets = []
    for name, told in right.items():
        rows = [
            {
                "id": str(i),
                "benchmark": name,
                "label": "a",
                "answer": "a" if one == "1" else "b",
                "correct": one == "1",
                **({"scores": {"reasoning": {"facts": scores}}} if scores else {}),
            }
            for i, one in enumerate(told)
        ]
        is_probe = name.islower()
        sets.append(AnsweredSet(name, True, is_probe, ("a", "b"), rows, nulls=nulls))
    summary = summary_of_sets(sets, seed=0) | {
        "mode": "reasoned",
        "judges": {"reasoning": "HttpJudge (gpt-x)"},
        **more,
    }
    (folder / "evaluation").mkdir(parents=True)
    (folder / "evaluation" / "summary.json").write_text(json.dumps(summary))
    write_rows(folder / "evaluation" / "answers.jsonl", [row for s in sets for row in s.rows])
    return folder


def lines_of(*named: str, probes: list[Path] | None = None) -> list[str]:
    return tables(named, probes or []).splitlines()


def test_table_2(tmp_path: Path):
    base = evaluation(tmp_path / "base", {"IEMOCAP": "1100", "Savee": "10", "pitch": "1"})
    ptr = evaluation(tmp_path / "ptr", {"IEMOCAP": "1110"}, scores=3.5, mode="direct")
    lines = lines_of(f"base|x={base}", f"ptr={ptr}")
    assert "| model | IEMOCAP | Savee | Avg (micro) | macro | quality |" in lines
    # Micro: 3 of 6; macro: the mean of 1/2 and 1/2. The second run lacks a benchmark.
    assert r"| base\|x | 50.00 | 50.00 | 50.00 | 50.00 | - |" in lines
    assert "| ptr | 75.00 | - | - | - | 3.50 |" in lines
    # The paper's mean is over benchmarks that are not all here.
    assert "| EmotionThinker (paper) | 77.68 | 73.96 | - | - | 3.98 |" in lines
    assert "- ptr: quality by HttpJudge (gpt-x) over 4 answers, 1 to 5, mean of facts." in lines
    assert "- ptr: direct answers, without reasoning." in lines


def test_the_papers_mean_stands_beside_all_of_its_benchmarks(tmp_path: Path):
    right: dict[str, str] = dict.fromkeys(BENCHMARKS, "10")
    lines = lines_of(f"mine={evaluation(tmp_path, right)}")
    assert "| EmotionThinker (paper) | 77.68 | 59.71 | 71.56 | 73.96 | 68.89 | - | 3.98 |" in lines
    other = lines_of(f"mine={evaluation(tmp_path / 'other', {'CREMA': '10'})}")
    assert not any("(paper)" in line for line in other)


def test_what_needs_no_listening_stands_below_our_rows(tmp_path: Path):
    nulls = {"majority": 0.5, "loudness_length": 0.6, "without_f0": None, "measured": 0.75}
    old = evaluation(tmp_path / "old", {"IEMOCAP": "10", "Savee": "11"})
    assert not any("without listening" in line for line in lines_of(f"old={old}"))
    new = evaluation(tmp_path / "new", {"IEMOCAP": "11"}, nulls=nulls)
    newer = evaluation(tmp_path / "newer", {"IEMOCAP": "11"}, nulls=nulls | {"majority": 0.1})
    lines = lines_of(f"old={old}", f"new={new}", f"newer={newer}")
    # Of the first run that has them; nothing of a set that none has them of.
    assert [line for line in lines if "*without" in line] == [
        "| *without listening: most frequent label* | 50.00 | - | - | - | - |",
        "| *without listening: loudness and length* | 60.00 | - | - | - | - |",
        "| *without listening: all but F0* | - | - | - | - | - |",
        "| *without listening: all measurements* | 75.00 | - | - | - | - |",
    ]


def test_table_4(tmp_path: Path):
    first = evaluation(tmp_path / "first", {"IEMOCAP": "0" * 9 + "1" * 91})
    second = evaluation(tmp_path / "second", {"IEMOCAP": "1" * 9 + "0" + "1" * 90}, scores=4.0)
    other = evaluation(tmp_path / "other", {"IEMOCAP": "10"})
    lines = lines_of(f"Baseline 2={first}", f"v6_full={second}", f"mine={other}")
    assert "| Baseline 2 | 91.00 | - | - | - | 52.63 | 3.41 |" in lines
    (row,) = (line for line in lines if line.startswith("| v6_full | 99.00 | +8.0 (+"))
    # McNemar, 9 gained and 1 lost: 22 / 1024.
    assert row.endswith("| 0.021 | 4.00 | 68.89 | 3.98 |")
    assert "| mine | 50.00 | - | - | - | - | - |" in lines


def test_table_5_of_two_evaluations(tmp_path: Path):
    before = evaluation(tmp_path / "before", {"IEMOCAP": "1", "pitch": "1000", "words": "0"})
    after = evaluation(tmp_path / "after", {"pitch": "1110", "rate": "10"})
    lines = lines_of(probes=[before, after])
    assert "| pitch | 25.00 | 75.00 | 25.71 | 75.11 |" in lines
    assert "| rate | - | 50.00 | 29.94 | 68.70 |" in lines
    assert "| stress | - | - | 30.24 | 71.50 |" in lines
    assert "| words | 0.00 | - | - | - |" in lines
    assert not any("Table 2" in line or "IEMOCAP" in line for line in lines)


def test_table_5_of_a_supervised_run(tmp_path: Path):
    told = [
        {"step": 0, "probe/pitch_accuracy": 0.25, "probe/pitch_ua": 0.1},
        {"step": 50, "probe/pitch_accuracy": 0.5},
        {"step": 100, "probe/pitch_accuracy": 0.75, "sft/nll": 1.0},
        {"step": 101, "sft/nll": 1.0},
    ]
    write_rows(tmp_path / "metrics.jsonl", told)
    assert "| pitch | 25.00 | 75.00 | 25.71 | 75.11 |" in lines_of(probes=[tmp_path])
    write_rows(tmp_path / "metrics.jsonl", told[1:])
    with pytest.raises(ValueError, match="no probes before and after"):
        lines_of(probes=[tmp_path])


def test_variants_of_the_paper():
    assert paper_variant("V6 PTR, full") is TABLE_4["v6"]
    assert paper_variant("v2_grpo") is TABLE_4["v2"]
    assert paper_variant("baseline_1") is paper_variant("Baseline 1, base") is TABLE_4["baseline1"]
    assert paper_variant("GRPO-PTR") is TABLE_4["v6"] and paper_variant("Base") is not None
    assert paper_variant("V60") is paper_variant("V7") is paper_variant("grpo v2") is None


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = evaluation(tmp_path / "run", {"IEMOCAP": "10"})
    output = tmp_path / "new" / "tables.md"
    assert main([f"mine={run}", "--output", str(output)]) == 0
    assert "| mine | 50.00 |" in output.read_text()
    for bad, message in (
        ([f"mine={tmp_path}"], "evaluate with launch/evaluate.py first"),
        ([f"a={run}", f"a={run}"], "the same label"),
        ([], "name evaluations"),
        (["--probes", str(run)], "no probes before and after"),
        (["--probes", str(run), str(run), str(run)], "one supervised run, or two evaluations"),
    ):
        assert main(bad) == 2
        assert message in capsys.readouterr().err
    old = run / "evaluation" / "summary.json"
    old.write_text("{}")
    assert main([str(run)]) == 2
    assert "older version" in capsys.readouterr().err
