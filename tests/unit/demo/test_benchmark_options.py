"""Arguments of the benchmarks: types follow the defaults, and `--quick` sets its own values."""

from __future__ import annotations

import pytest

from benchmarks.options import Option, parse_options

OPTIONS = {
    "rounds": Option(5, "rounds that count", quick=1),
    "clips": Option((1.3, 8.0), "clip lengths in seconds"),
    "ways": Option(("a", "b"), "what is compared", choices=("a", "b")),
    "profile": Option(False, "profile instead"),
}


def test_defaults_quick_values_and_what_is_given():
    parsed = parse_options("Title.\n\nMore.", OPTIONS, ["device=cuda"])
    assert (parsed.rounds, parsed.clips, parsed.profile) == (5, (1.3, 8.0), False)
    assert parsed.overrides == ["device=cuda"]
    given = ["--clips", "2", "3", "--ways", "b", "--profile"]
    parsed = parse_options("Title.", OPTIONS, given, takes_settings=False)
    assert (parsed.clips, parsed.ways, parsed.profile) == ([2.0, 3.0], ["b"], True)
    quick = parse_options("Title.", OPTIONS, ["--quick", "--rounds", "9"])
    assert (quick.rounds, quick.clips) == (1, (1.3, 8.0))


def test_a_choice_that_does_not_exist(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parse_options("Title.", OPTIONS, ["--ways", "c"])
    assert "invalid choice: 'c'" in capsys.readouterr().err
