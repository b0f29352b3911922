"""`cadence COMMAND` is `python launch/COMMAND.py`."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from cadence_rl import __version__
from cadence_rl.console import commands, main
from cadence_rl.names import ROOT
from configs.load import ConfigError, load_config
from configs.shipped import find_shipped
from rewards.judges.prompt import JudgePrompt


def scripts() -> set[str]:
    """Files of launch/ that a person starts."""
    return {
        path.stem
        for path in (ROOT / "launch").glob("*.py")
        if "\n    sys.exit(main(" in path.read_text(encoding="utf-8")
    }


def test_every_script_is_a_command_and_says_what_it_does() -> None:
    found = commands()
    assert found.keys() == scripts() > {"rl", "sft", "annotate", "report"}
    assert all(about.endswith((".", ":", ";")) or len(about) > 20 for about in found.values())


@pytest.mark.parametrize("name", sorted(scripts()))
def test_a_command_has_a_main_that_takes_the_arguments_of_the_process(name: str) -> None:
    tree = ast.parse((ROOT / "launch" / f"{name}.py").read_text(encoding="utf-8"))
    (main_,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main")
    assert [argument.arg for argument in main_.args.args] == ["argv"]
    assert [ast.literal_eval(default) for default in main_.args.defaults] == [None]


def test_help_names_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["cadence"])
    assert main([]) == main(["--help"]) == 0
    assert "\n  compare " in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["compare", "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: cadence compare [-h]")


def test_the_exit_code_is_the_commands_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["cadence"])
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 2
    assert "evaluate with launch/evaluate.py first" in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cadence {__version__}\n"


def test_a_misspelled_command_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluat"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "error: unknown command 'evaluat'; did you mean evaluate? `cadence --help` lists all"
    )


def test_a_shipped_configuration_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")
    config = load_config("configs/pipeline/grpo.yaml", ["name=mine"])
    assert config.name == "mine" and config.loss.kind == "policy"
    assert f"taking {ROOT / 'configs/pipeline/grpo.yaml'}" in caplog.text
    assert JudgePrompt("demo/judge_checks.txt").digest != JudgePrompt().digest
    with pytest.raises(ConfigError, match=r"configs/tinny\.yaml: cannot be read"):
        load_config("configs/tinny.yaml")


def test_a_file_of_ones_own_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("configs/tiny.yaml")
    own.parent.mkdir()
    own.write_text("name: own\n")
    assert find_shipped("configs/tiny.yaml") == own
    assert load_config("configs/tiny.yaml").name == "own"
    for other in ("tiny.yaml", "configs/../setup.cfg", "/configs/tiny_sft.yaml", "launch/rl.py"):
        assert find_shipped(other) == Path(other)
