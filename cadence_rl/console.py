"""The console script: `cadence COMMAND ...` is `python launch/COMMAND.py ...`."""

from __future__ import annotations

import ast
import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence

from cadence_rl import __version__
from cadence_rl.names import ROOT, clashes

EXIT_USAGE, EXIT_CLASH = 2, 3
"""As the commands': what was typed; not in this environment."""

SHEBANG = "#!/usr/bin/env python\n"
"""First line of the files in `launch/` that are commands."""


def commands() -> Mapping[str, str]:
    """Return every command and what it does: a script of `launch/`, first line of its docstring."""
    summaries: dict[str, str] = {}
    for path in sorted((ROOT / "launch").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if text.startswith(SHEBANG):
            summaries[path.stem] = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return summaries


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Its name and its arguments; None = those of this process.

    Returns:
        The command's own exit code; 2 for an unknown command, 3 if other modules stand in the
        place of ours.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["--version"]:
        print(f"cadence {__version__}")
        return 0
    summaries = commands()
    if not words or words[0] in ("-h", "--help"):
        print(_usage(summaries))
        return 0
    name = words[0]
    if name not in summaries:
        near = difflib.get_close_matches(name, summaries, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return _fail(EXIT_USAGE, f"unknown command {name!r}; {hint}`cadence --help` lists all")
    problems = clashes()
    if problems:
        return _fail(
            EXIT_CLASH,
            f"{'; '.join(problems)}. Modules of other software have the names of ours: install "
            "cadence-rl again in an environment of its own, and take their folder off PYTHONPATH",
        )
    # What argparse calls the program; `sys.orig_argv` keeps the line as it was typed.
    sys.argv = [f"cadence {name}", *words[1:]]
    return importlib.import_module(f"launch.{name}").main()


def _usage(summaries: Mapping[str, str]) -> str:
    width = max(map(len, summaries))
    lines = [f"  {name:<{width}}  {about}" for name, about in summaries.items()]
    return "\n".join(
        [
            "usage: cadence COMMAND [ARGUMENT ...]",
            "       cadence --version",
            "",
            "A command is the script of the same name in `launch/`; `cadence COMMAND --help` says "
            "more.",
            "A file such as configs/tiny.yaml that is not in the current folder is taken from the "
            "package.",
            "",
            *lines,
        ]
    )


def _fail(code: int, message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
