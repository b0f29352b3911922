"""Arguments of every benchmark, each with its value for a quick run. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Option(NamedTuple):
    """An argument of a benchmark."""

    default: Any
    """Its type is the argument's; a tuple takes several, False is a switch."""
    help: str
    quick: Any = None
    """With `--quick`; None = no difference."""
    choices: Sequence[Any] | None = None


def parse_options(
    description: str,
    options: Mapping[str, Option],
    argv: Sequence[str] | None = None,
    *,
    takes_settings: bool = True,
) -> argparse.Namespace:
    """Parse `--quick`, the options of a benchmark, and `key=value` settings.

    Args:
        argv: None = the arguments of this process.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="few rounds and small sizes: only shows that it runs"
    )
    if takes_settings:
        parser.add_argument(
            "overrides",
            nargs="*",
            metavar="key=value",
            help="settings over configs/tiny.yaml; device=cuda runs on a GPU, and "
            "model.path=FOLDER takes a checkpoint, such as one of launch/random_checkpoint.py, "
            "instead of a tiny one",
        )
    for name, option in options.items():
        if option.default is False:
            parser.add_argument(f"--{name}", action="store_true", help=option.help)
            continue
        several = isinstance(option.default, tuple)
        parser.add_argument(
            f"--{name}",
            default=option.default,
            type=type(option.default[0] if several else option.default),
            nargs="+" if several else None,
            choices=option.choices,
            help=option.help,
        )
    parsed = parser.parse_intermixed_args(argv)
    if parsed.quick:
        quick = {name: option.quick for name, option in options.items()}
        vars(parsed).update((name, value) for name, value in quick.items() if value is not None)
    return parsed
