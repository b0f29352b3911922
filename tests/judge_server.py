"""A scripted OpenAI-compatible server on a real socket: what goes wrong is what is tested.

As a command it answers every request after a pause: `python -m tests.judge_server --port P
--delay 0.2 --concurrency 32`.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rewards.judges.base import DIMENSIONS

Script = Callable[[int, dict[str, Any]], str]
"""(number of the request from 0, its body) -> what to do, such as `ok 4` or `hang`; see `_act`."""

HUGE_REPLY_BYTES = 50_000_000


def scores_text(score: Any) -> str:
    """Return a reply with the same score in all dimensions; anything JSON takes."""
    return json.dumps(dict.fromkeys(DIMENSIONS, score))


class JudgeServer(ThreadingHTTPServer):
    """Counts its requests and how many it had at a time."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, script: Script, port: int = 0, concurrency: int = 1_000) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.slots = threading.BoundedSemaphore(concurrency)
        self.script = script
        self.lock = threading.Lock()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.now = self.most = 0
        self.bytes_sent = 0
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: JudgeServer

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            number = len(server.bodies)
            server.bodies.append(body)
            server.headers.append(dict(self.headers))
            server.now += 1
            server.most = max(server.most, server.now)
        try:
            with server.slots:
                self._act(server.script(number, body))
        finally:
            with server.lock:
                server.now -= 1

    def _act(self, item: str) -> None:
        word, _, rest = item.partition(" ")
        if word == "ok":
            self._reply(scores_text(json.loads(rest or "4")))
        elif word == "slow":
            time.sleep(float(rest))
            self._reply(scores_text(4))
        elif word == "later":
            seconds, _, text = rest.partition(" ")
            time.sleep(float(seconds))
            self._reply(text)
        elif word == "text":
            self._reply(rest)
        elif word == "raw":
            self._send(200, rest.encode())
        elif word == "echo":  # the headers of the request, key included
            echoed = json.dumps({"error": dict(self.headers)})
            if rest == "200":
                self._reply(echoed)
            else:
                self._send(int(rest), echoed.encode())
        elif word == "429":
            self._send(429, b"{}", {"Retry-After": rest} if rest else {})
        elif word.isdigit():
            self._send(
                int(word), b"{}", {"Location": "http://127.0.0.1:9/"} if word == "302" else {}
            )
        elif word == "hang":
            self.server.released.wait(30)
            self.close_connection = True
        elif word == "drop":
            self.close_connection = True
            self.connection.close()
        elif word == "cut":
            self._head(200, 5_000)
            self.wfile.write(b'{"choices": [{"message"')
            self.close_connection = True
        elif word == "usage":
            self._reply(scores_text(4), {"prompt_tokens": int(rest), "completion_tokens": True})
        elif word == "gzip":
            self._send(200, b"\x1f\x8b", {"Content-Encoding": "gzip"})
        elif word == "huge":
            self._head(200, HUGE_REPLY_BYTES)
            with suppress(OSError):
                for _ in range(HUGE_REPLY_BYTES // 50_000):
                    self.server.bytes_sent += self.wfile.write(b" " * 50_000)
            self.close_connection = True
        else:
            raise AssertionError(f"unknown script item {item!r}")

    def _reply(self, text: str, usage: dict[str, Any] | None = None) -> None:
        reply = {
            "choices": [{"message": {"role": "assistant", "content": text}}],
            "usage": usage or {"prompt_tokens": 300, "completion_tokens": 40},
        }
        self._send(200, json.dumps(reply).encode())

    def _send(self, code: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        with suppress(OSError):
            self._head(code, len(content), headers)
            self.wfile.write(content)

    def _head(self, code: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        self.end_headers()


@contextmanager
def running(script: Script, port: int = 0) -> Iterator[JudgeServer]:
    """Run a server in a thread."""
    server = JudgeServer(script, port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def always(item: str) -> Script:
    """Return a script that does the same for every request."""
    return lambda number, body: item


def message_of(body: dict[str, Any]) -> str:
    """Return the text of a request's message."""
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


_FENCE = re.compile(r"^reasoning-fence-[0-9a-f]{16}$", re.MULTILINE)
_ORDER = re.compile(
    r"<\||\|>|\[/?INST\]|</?(?:think|answer|system|response|reasoning)>|\b(?:5/5|all fives"
    r"|[gG]ive \w+ (?:the )?(?:full|highest|maximum|top))|\":\s*5"
)


def obedient(number: int, body: dict[str, Any]) -> str:
    """A judge that finds 2 right, and does what it is told by anything outside the fenced block.

    The block lies between the first and the last line that is a fence and nothing else. Inside it,
    only a chat token, a tag or a forged fence gets through to it.
    """
    text = message_of(body)
    fences = list(_FENCE.finditer(text))
    if len(fences) < 2:
        return "ok 5" if _ORDER.search(text) else "ok 2"
    first, last = fences[0], fences[-1]
    inside = text[first.end() : last.start()]
    outside = text[: first.start()] + text[last.end() :]
    breaks_out = len(fences) != 2 or re.search(r"<\||</?\w+>|\[/?INST\]|\{\"", inside)
    # What the template itself says is no order.
    outside = outside.replace("1 (worst) to 5 (best)", "")
    return "ok 5" if breaks_out or _ORDER.search(outside) else "ok 2"


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="A judge that takes its time.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=0.2, help="seconds a call")
    parser.add_argument(
        "--concurrency", type=int, default=1_000, help="calls answered at a time; others queue"
    )
    parsed = parser.parse_args()
    script = always(f"slow {parsed.delay}")
    JudgeServer(script, parsed.port, parsed.concurrency).serve_forever()


if __name__ == "__main__":
    main()
