"""Tables of several runs in a report: runs side by side, and a sweep's."""

from __future__ import annotations

import base64
from pathlib import Path

from launch.report import main
from report.page import write_report
from report.runs import differences, markdown_blocks
from tests.unit.report.test_page import make_run, sample, words_of


def test_runs_side_by_side(tmp_path: Path):
    run = make_run(tmp_path, [sample(0)])
    other = make_run(
        tmp_path, [sample(0)], name="other", overrides=("seed=3", "rewards.trust.enabled=false")
    )
    assert main([str(run), "--compare", str(other)]) == 0
    words = words_of((run / "report.html").read_text())
    row = "finished {} 2 40.0 % 65.0 % 6s"
    assert f"mine {row.format(0)} other {row.format(3)}" in words
    assert "seed: 3; rewards.trust.enabled: False" in words


def test_differences_are_cut_when_there_are_many():
    first = {"a": {str(n): n for n in range(9)}, "name": "x"}
    second = {"a": {str(n): -n for n in range(9)}, "name": "y"}
    listed = differences(first, second)
    assert listed.startswith("a.1: -1; a.2: -2") and listed.endswith("and 2 more")
    assert differences(first, {**first, "name": "y"}) == ""
    assert differences({"t": [{"w": 1}]}, {"t": [{"w": 2}]}) == "t.0.w: 2"


RESULTS_MD = """\
# mine

Mean over the finished seeds.

| trial | seeds | accuracy |
|---|--:|--:|
| with \\| trust | 2 | 0.600 [0.500, 0.700] |

## Differences to base

![results](results.png)
"""


def make_sweep(folder: Path) -> Path:
    """A sweep of one trial with two seeds, one of them done."""
    run = make_run(folder, [sample(0)], name="sweep/full/seed_0")
    sweep = folder / "runs" / "sweep"
    (sweep / "results.md").write_text(RESULTS_MD)
    (sweep / "results.png").write_bytes(b"a picture")
    (sweep / "results.csv").write_text(
        "trial,label,seed,state,wall_s,test_after/accuracy\n"
        "full,with | trust,0,done,90.0,0.6\nfull,with | trust,1,new,,\n"
    )
    return run


def test_the_tables_of_a_sweep_are_in_its_own_page(tmp_path: Path):
    run = make_sweep(tmp_path)
    write_report(run)
    sweep = run.parents[1]
    assert main([str(sweep)]) == 0
    page = (sweep / "report.html").read_text()
    words = words_of(page)
    assert "A sweep: 1 of 2 runs are done." in words
    assert "trial seeds accuracy with | trust 2 0.600 [0.500, 0.700]" in words
    assert "with | trust 0 done 1m30s 0.600 with | trust 1 new" in words
    assert '<a href="full/seed_0/report.html">with | trust</a>' in page
    assert "data:image/png;base64," + base64.b64encode(b"a picture").decode() in page
    assert 'aria-label="accuracy of the rollouts, mean over seeds"' in page


def test_a_run_of_a_sweep_shows_the_sweeps_tables(tmp_path: Path):
    words = words_of(write_report(make_sweep(tmp_path)).read_text())
    assert "This run is with | trust, seed 0, in the sweep sweep:" in words
    assert "with | trust 2 0.600 [0.500, 0.700]" in words


def test_pieces_of_a_results_page():
    assert markdown_blocks(RESULTS_MD) == [
        {"heading": "mine"},
        {"text": "Mean over the finished seeds."},
        {
            "heads": ["trial", "seeds", "accuracy"],
            "rows": [["with | trust", "2", "0.600 [0.500, 0.700]"]],
        },
        {"heading": "Differences to base"},
    ]
