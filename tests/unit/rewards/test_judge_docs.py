"""docs/judges.md: its configurations load, its options are the real ones, its example works."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from configs.load import load_config
from configs.schema import RewardTermConfig
from launch.preflight import ROOT
from rewards.judges.base import JudgeContext, load_judge
from rewards.judges.http import HttpJudge
from rewards.judges.local import LocalJudge
from rewards.judges.measured import MeasuredJudge
from rewards.judges.prompt import PLACEHOLDERS
from tests.unit.make_groups import make_group

PAGE = (ROOT / "docs" / "judges.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
JUDGES = {"measured": MeasuredJudge, "local": LocalJudge, "http": HttpJudge}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def judged_term(example: str, folder: Path) -> RewardTermConfig:
    path = folder / "run.yaml"
    path.write_text(f"defaults: {ROOT / 'configs' / 'tiny.yaml'}\n{example}")
    (term,) = [term for term in load_config(path).rewards.terms if term.judged]
    return term


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_configurations_load(tmp_path: Path, example: str):
    options = judged_term(example, tmp_path).options
    known = {f"{kind.__module__}:{kind.__name__}": kind for kind in JUDGES.values()}
    kind: Any = known.get(options["judge"])
    if kind is None:
        assert options["judge"] == "mine.judges:LengthJudge"
    else:
        inspect.signature(kind).bind(JudgeContext(""), **options["judge_options"])


def test_every_judge_has_an_example():
    # One of their own, and one of a trained judge.
    assert len(EXAMPLES) == len(JUDGES) + 2


@pytest.mark.parametrize("title", JUDGES)
def test_the_tables_name_every_option_and_no_other(title: str):
    first_cells = re.findall(r"^\| (`[^|]+) \|", section(title), re.MULTILINE)
    named = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(list(inspect.signature(JUDGES[title]).parameters)[1:])


def test_the_page_names_every_placeholder():
    named = re.findall(r"^\| (`\{[^|]+) \|", section("The prompt"), re.MULTILINE)
    assert sorted(re.findall(r"\{(\w+)\}", " ".join(named))) == sorted(PLACEHOLDERS)


def test_the_example_of_a_judge_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (source,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "judges.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    context = JudgeContext("", packages=("rewards", "mine"))
    judge = load_judge("mine.judges:LengthJudge", {"words": 3}, context)
    found = judge.judge(make_group([""]).prompt, ["one two three", "one", ""])
    judge.close()
    assert [j.scores["caption_completeness"] for j in found] == [5.0, 1.0, None]
    assert [j.missing for j in found] == ["", "", "empty"]
