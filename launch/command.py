"""What every command shares: arguments, exit codes, lines of progress, one line for a mistake."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence

from cadence_rl.names import PACKAGES
from configs.errors import UserError
from configs.secrets import hiding_output
from data.files import DiskFullError

EXIT_DONE, EXIT_CONFIG, EXIT_PREFLIGHT, EXIT_FAILED, EXIT_PREEMPTED = 0, 2, 3, 4, 75
"""Done; settings or data; not on this machine; failed; stopped, and the same command goes on."""

ROOMS = PACKAGES
"""Our packages, whose log lines are shown; of libraries only the warnings are."""

WHOLE_MODELS = (
    "model.adapter: found {}, but an engine without a learner loads whole checkpoints; merge "
    "the two (launch/merge.py), and give model.path=MERGED model.adapter=''"
)
"""What a command says that starts engines alone."""

QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # Features and weights are read-only views of shared memory, and nobody writes to them.
    "PYTHONWARNINGS": "ignore:The given NumPy array is not writable",
}
"""Environment of the driver and, through it, of local workers: no hub, no bars, no false alarms."""


def add_run_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add `--config FILE` and `key=value ...`, which say what a run is."""
    what = "YAML file of the run" if required else "YAML file of a run; without: the machine"
    parser.add_argument("--config", required=required, metavar="FILE", help=what)
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="dotted settings over the file, such as train.num_steps=10; docs/configuration.md",
    )


def run_command(
    parser: argparse.ArgumentParser,
    body: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None,
) -> int:
    """Run the body of a command and return its exit code, one of those above.

    Keys stay out of what it prints, see `configs.secrets`.

    Args:
        parser: Of its arguments.
        body: Parsed arguments -> exit code.
        argv: Arguments without the program name; None = those of this process.
    """
    arguments = parser.parse_intermixed_args(argv)
    with hiding_output():
        show_log()
        try:
            return body(arguments)
        except UserError as error:
            return fail(EXIT_CONFIG, error)
        except DiskFullError as error:
            return fail(EXIT_FAILED, error)


def be_quiet() -> None:
    """Set `QUIET` for this process and its workers, where it is not set otherwise."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


class _Formatter(logging.Formatter):
    """Plain lines for a terminal and for Ray job logs: no colours, no cursor movement."""

    def format(self, record: logging.LogRecord) -> str:
        """Put the local date and time in front, and the level of what is not in order."""
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return f"{self.formatTime(record, '%Y-%m-%d %H:%M:%S')}  {level}{super().format(record)}"


def show_log() -> None:
    """Print this process's log lines on stdout from now on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter())
    for room in (*ROOMS, "__main__"):  # the script itself is of no room
        logger = logging.getLogger(room)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.INFO)


def fail(code: int, error: object) -> int:
    """Print an error as one line and return the exit code."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    return code
