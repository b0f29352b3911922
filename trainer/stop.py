"""A request to save and leave: a signal, or a file `stop` in the run folder."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger(__name__)

POLL_S = 1.0
"""Seconds between two looks for the stop file."""

SAME_REQUEST_S = 0.5
"""Signals within so many seconds of the first are one request: GNU `timeout` signals the command
and then its group, a sweep passes on what its runs may have got as well."""


class Stopped(Exception):
    """The run was asked to stop and leaves; what is sound has been saved."""

    step = 0
    """Loop steps that are saved."""


class StopRequest:
    """Turns the first SIGTERM, Ctrl-C or stop file into a request; a later signal kills.

    Until `hold` is called there is nothing to save, and a request raises KeyboardInterrupt in the
    main thread. From then on it waits to be asked for, except within `interruptible`.
    """

    def __init__(self) -> None:
        """Take the signals."""
        self._asked_at: float | None = None
        self._owner = os.getpid()
        self._delay_s: float | None = 0.0
        self.install()

    def watch(self, stop_file: Path) -> None:
        """Look for a file from now on, which asks to stop once it exists."""
        threading.Thread(target=self._watch, args=(stop_file,), daemon=True).start()

    def install(self) -> None:
        """Take SIGTERM, SIGINT and SIGALRM."""
        signal.signal(signal.SIGALRM, self._on_alarm)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let a library take the signals, one that raises SystemExit at them; take them back.

        Where Python can raise nothing (in the hooks of a fork, in `__del__`), that exception is
        lost. So the interpreter notes in a socket which signals came.

        Raises:
            KeyboardInterrupt: one did, which was a request to stop.
        """
        notes, ours = socket.socketpair()
        with notes, ours:
            notes.setblocking(False)
            ours.setblocking(False)
            before = signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
            try:
                yield
            except SystemExit as error:
                self._asked_at = time.monotonic()
                raise KeyboardInterrupt from error
            finally:
                try:
                    self.install()
                finally:
                    signal.set_wakeup_fd(before)
            with suppress(BlockingIOError):
                if {signal.SIGTERM, signal.SIGINT} & {*notes.recv(4096)}:
                    self._asked_at = self._asked_at or time.monotonic()
                    raise KeyboardInterrupt

    def __call__(self) -> bool:
        """Return whether the run was asked to stop."""
        return self._asked_at is not None

    def hold(self) -> None:
        """From now on a request does not interrupt: there is something to save."""
        self._delay_s = None

    @contextmanager
    def interruptible(self, after_s: float = 0.0) -> Iterator[None]:
        """Let a request interrupt the block, at once or some seconds after it came.

        Raises:
            Stopped: it did.
        """
        before, self._delay_s = self._delay_s, after_s
        try:
            if self._asked_at is not None:
                self._interrupt()
            yield
        except KeyboardInterrupt as error:
            # Ray, asked to wait, turns every exception of a handler into this one or nothing.
            raise Stopped("asked to stop") from error
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._delay_s = before

    def _interrupt(self) -> None:
        assert self._asked_at is not None
        if self._delay_s is None:
            return
        left_s = self._asked_at + self._delay_s - time.monotonic()
        if left_s > 0:
            signal.setitimer(signal.ITIMER_REAL, left_s)
        else:
            raise KeyboardInterrupt

    def _on_alarm(self, _number: int, _frame: object) -> None:
        if self._delay_s is not None:
            raise KeyboardInterrupt

    def _on_signal(self, number: int, _frame: object) -> None:
        is_owner = os.getpid() == self._owner
        if is_owner and self._asked_at and time.monotonic() - self._asked_at < SAME_REQUEST_S:
            return
        if not is_owner or self._asked_at is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._asked_at = time.monotonic()
        print("stop requested: saving after this step; once more to leave at once", flush=True)
        self._interrupt()

    def _watch(self, path: Path) -> None:
        while self._asked_at is None:
            if path.exists():
                logger.info(f"{path} asks to stop")
                os.kill(self._owner, signal.SIGTERM)
                return
            time.sleep(POLL_S)
