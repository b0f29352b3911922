"""What all commands share: a mistake is one line and exit code 2, anything else a traceback."""

from __future__ import annotations

import argparse

import pytest

from configs.errors import UserError
from launch.command import add_run_arguments, run_command


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    add_run_arguments(made)
    made.add_argument("--dry-run", action="store_true")
    return made


def test_arguments_may_stand_in_any_order():
    given: list[argparse.Namespace] = []

    def body(arguments: argparse.Namespace) -> int:
        given.append(arguments)
        return 75

    assert (
        run_command(parser(), body, ["seed=1", "--config", "a.yaml", "--dry-run", "name=b"]) == 75
    )
    assert vars(given[0]) == {
        "config": "a.yaml",
        "overrides": ["seed=1", "name=b"],
        "dry_run": True,
    }


def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str]):
    def body(arguments: argparse.Namespace) -> int:
        raise UserError("a.yaml: no such key; the nearest is seed")

    assert run_command(parser(), body, ["--config", "a.yaml"]) == 2
    assert capsys.readouterr().err == "error: a.yaml: no such key; the nearest is seed\n"


def test_any_other_error_is_one_of_ours():
    def body(arguments: argparse.Namespace) -> int:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run_command(parser(), body, ["--config", "a.yaml"])
