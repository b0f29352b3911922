"""One thread that owns a batching engine; requests of any number of threads join its batch."""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from itertools import count
from threading import Lock, Thread
from typing import Any, Protocol


class StepEngine(Protocol):
    """An engine that is advanced step by step, always by the thread that made it."""

    def add(self, request_id: str, request: Any) -> None:
        """Queue a request.

        Raises:
            ValueError: The engine refuses this one; it goes on with the others.
        """
        ...

    def step(self) -> Iterable[tuple[str, Any]]:
        """Advance what is queued; return (request id, output) of the requests that ended."""
        ...

    def abort(self, request_ids: Sequence[str]) -> None:
        """Forget requests that have not ended."""
        ...

    def close(self) -> None:
        """Free what the engine holds."""
        ...


class EngineStoppedError(RuntimeError):
    """The engine has failed or was closed: nothing more is answered."""


class EngineThread:
    """Futures for requests to an engine that only one thread may touch.

    A request whose future is cancelled is aborted. Whatever ends the thread, every future it leaves
    behind holds an `EngineStoppedError`: nobody waits for ever.
    """

    def __init__(self, start: Callable[[], StepEngine]) -> None:
        """Start the thread and wait for its engine.

        Args:
            start: Makes the engine; called in the thread.

        Raises:
            BaseException: What `start` raised.
        """
        self._inbox: queue.SimpleQueue[list[tuple[Any, Future[Any]]] | None] = queue.SimpleQueue()
        self._ids = map(str, count())
        self._pending: dict[str, Future[Any]] = {}
        self._stopped: str | None = None
        self._lock = Lock()
        self._started: Future[None] = Future()
        self._thread = Thread(target=self._main, args=[start], name="judge-engine", daemon=True)
        self._thread.start()
        error = self._started.exception()
        if error is not None:
            self._thread.join()
            raise error

    def submit(self, requests: Sequence[Any]) -> list[Future[Any]]:
        """Queue requests, next to each other; return their futures, in order."""
        futures: list[Future[Any]] = [Future() for _ in requests]
        with self._lock:
            if self._stopped is None:
                self._inbox.put(list(zip(requests, futures, strict=True)))
            else:
                _fail(futures, self._stopped)
        return futures

    @property
    def stopped(self) -> bool:
        """Whether nothing is answered any more."""
        return self._stopped is not None

    def close(self) -> None:
        """End the thread and its engine; what is outstanding fails."""
        self._inbox.put(None)
        self._thread.join()

    def _main(self, start: Callable[[], StepEngine]) -> None:
        try:
            engine = start()
            self._started.set_result(None)
            self._serve(engine)
            engine.close()
        finally:
            # Not an except: the error still ends the thread and shows in the worker's log.
            self._stop(sys.exception())

    def _serve(self, engine: StepEngine) -> None:
        while self._admit(engine):
            for request_id, output in engine.step():
                future = self._pending.pop(request_id)
                if future.set_running_or_notify_cancel():
                    future.set_result(output)
            cancelled = [i for i, future in self._pending.items() if future.cancelled()]
            if cancelled:
                engine.abort(cancelled)
                for request_id in cancelled:
                    del self._pending[request_id]

    def _admit(self, engine: StepEngine) -> bool:
        """Hand new requests to the engine, waiting for some if it is idle; False: close."""
        while True:
            try:
                batch = self._inbox.get(block=not self._pending)
            except queue.Empty:
                return True
            if batch is None:
                return False
            for request, future in batch:
                request_id = next(self._ids)
                try:
                    engine.add(request_id, request)
                except ValueError as error:
                    if future.set_running_or_notify_cancel():
                        future.set_exception(error)
                else:
                    self._pending[request_id] = future

    def _stop(self, error: BaseException | None) -> None:
        if error is not None and not self._started.done():
            self._started.set_exception(error)
        reason = "closed" if error is None else f"{type(error).__name__}: {error}"
        with self._lock:
            self._stopped = reason
        left = list(self._pending.values())
        while not self._inbox.empty():
            left += [future for _, future in self._inbox.get() or ()]
        _fail(left, reason)


def _fail(futures: Iterable[Future[Any]], reason: str) -> None:
    for future in futures:
        if future.set_running_or_notify_cancel():
            future.set_exception(EngineStoppedError(reason))
