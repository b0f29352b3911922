"""Classes that a configuration names: each way in which one cannot be used is found early."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.load import load_config
from launch.preflight import ROOT, Problem
from launch.preflight.plugins import Plugin, faults
from launch.preflight.rewards import check_rewards

TINY = ROOT / "configs" / "tiny.yaml"
ACCURACY = "rewards.accuracy:AccuracyReward"


def problems(*overrides: str) -> list[Problem]:
    return list(check_rewards(load_config(TINY, overrides)))


def test_the_shipped_terms_can_be_used() -> None:
    assert problems() == []
    assert list(check_rewards(load_config(ROOT / "configs" / "omni_7b.yaml"))) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["rewards.terms.1.target=rewards.accuracy:AccuracyRewrad"],
            "rewards.terms.1.target: rewards.accuracy:AccuracyRewrad: rewards.accuracy has no "
            "class AccuracyRewrad with a score method; did you mean AccuracyReward?",
        ),
        (
            ["rewards.terms.1.target=rewards.accuracyy:AccuracyReward"],
            "rewards.terms.1.target: rewards.accuracyy:AccuracyReward: cannot be imported: "
            "No module named 'rewards.accuracyy'; did you mean rewards.accuracy?",
        ),
        (
            ["rewards.terms.1.target=rewards.trust:mean"],
            "rewards.terms.1.target: rewards.trust:mean: rewards.trust has no class mean with a",
        ),
        (
            ["rewards.terms.1.options.alias={}"],
            f"rewards.terms.1.target: {ACCURACY}: options do not fit AccuracyReward(",
        ),
        (
            ["rewards.terms.2.options.judge=rewards.judges.measured:MesuredJudge"],
            "rewards.terms.2.options.judge: rewards.judges.measured:MesuredJudge: "
            "rewards.judges.measured has no class MesuredJudge with a judge method; did you mean",
        ),
        (
            [
                "rewards.terms.2.options.judge=rewards.judges.http:HttpJudge",
                "rewards.terms.2.options.judge_options={url: 'http://x/v1', model: m, "
                "max_token: 3}",
            ],
            "rewards.terms.2.options.judge: rewards.judges.http:HttpJudge: options do not fit",
        ),
    ],
)
def test_what_cannot_be_used_is_named(overrides: list[str], message: str) -> None:
    (problem,) = problems(*overrides)
    assert problem.level == "error"
    assert problem.what.startswith(message)


def test_a_misspelled_option_has_its_nearest_name() -> None:
    (problem,) = problems("rewards.terms.1.options.aliases2={}")
    assert problem.what.endswith("did you mean aliases?")


def test_all_problems_come_at_once() -> None:
    found = problems(
        "rewards.terms.0.target=rewards.format:Format",
        "rewards.terms.1.options.x=1",
        "rewards.terms.2.options.judge=rewards.judges.gone:Judge",
    )
    assert [problem.what.partition(": ")[0] for problem in found] == [
        "rewards.terms.0.target",
        "rewards.terms.1.target",
        "rewards.terms.2.options.judge",
    ]


def test_supervised_runs_and_evaluations_without_judges_build_no_reward() -> None:
    bad = ["rewards.terms.1.target=rewards.accuracy:Wrong"]
    assert list(check_rewards(load_config(ROOT / "configs" / "tiny_sft.yaml"))) == []
    assert list(check_rewards(load_config(TINY, bad), learns=False)) == []


FOREIGN = {
    "raises": ("raise NameError(\"name 'x' is not defined\")", "its import fails: NameError: name"),
    "syntax": ("def broken(:", "its import fails: SyntaxError"),
    "exits": ("import sys; sys.exit(3)", "its import fails: its process ended with 3"),
    "dies": ("import os; os._exit(0)", "its import fails: its process ended with 0"),
    "misses": ("import no_such_library", "cannot be imported: No module named 'no_such_library'"),
    "function": ("def Mine(): ...", "function has no class Mine with a score method"),
    "talks": ("print('hello')\nclass Mine:\n    def score(self, group): ...", ""),
}


@pytest.mark.slow
def test_foreign_code_is_imported_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, (code, _) in FOREIGN.items():
        (tmp_path / f"toy_{name}.py").write_text(code + "\n", encoding="utf-8")
    found = faults([Plugin(f"toy_{name}:Mine", "score", []) for name in FOREIGN])
    for (name, (_, message)), problem in zip(FOREIGN.items(), found, strict=True):
        expected = message.replace("function has", f"toy_{name} has")
        assert problem.startswith(expected) if message else problem == "", (name, problem)


@pytest.mark.slow
def test_a_package_that_is_not_there_has_the_places_where_it_may_lie() -> None:
    (problem,) = problems(
        "rewards.packages=[rewards,nobodys]", "rewards.terms.1.target=nobodys.short:Short"
    )
    assert problem.what.endswith(
        "cannot be imported: No module named 'nobodys'; a package lies beside rewards/ or is "
        "installed, the working folder does not count"
    )
