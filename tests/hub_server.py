"""A hub on a real socket: what is pushed to it is kept, with the headers that it came with."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGE_BYTES = 10_000
"""Files from here on go the way of large files."""


class HubServer(ThreadingHTTPServer):
    """Keeps requests and files; answers 401 to any token but its own."""

    daemon_threads = True

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.requests: list[tuple[str, str]] = []
        """Method and path, in order."""
        self.made: list[dict[str, Any]] = []
        """Bodies of the requests that make repositories."""
        self.files: dict[str, bytes] = {}
        """Path in the repository -> content that was committed."""
        self.stored: dict[str, bytes] = {}
        """SHA-256 -> content of a large file."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        """Return status and reply to a POST."""
        if path == "/api/repos/create":
            self.made.append(json.loads(body))
            return 200, {"url": f"{self.url}/me/it", "id": "me/it"}
        if path == "/api/validate-yaml":
            return 200, {"warnings": [], "errors": []}
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = {f["path"]: "lfs" if f["size"] >= LARGE_BYTES else "regular" for f in files}
            plan = [
                {"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": None}
                for name, mode in modes.items()
            ]
            return 200, {"files": plan}
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                entry | {"actions": {"upload": {"href": f"{self.url}/store/{entry['oid']}"}}}
                for entry in json.loads(body)["objects"]
            ]
            return 200, {"transfer": "basic", "objects": objects}
        if "/commit/" in path:
            for line in body.splitlines():
                self.commit(**json.loads(line))
            return 200, {"commitUrl": f"{self.url}/me/it/commit/abc", "commitOid": "abc"}
        return 404, {"error": f"no such endpoint {path}"}

    def commit(self, key: str, value: dict[str, Any]) -> None:
        """Take one line of a commit."""
        if key == "file":
            self.files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            self.files[value["path"]] = self.stored[value["oid"]]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_POST(self) -> None:
        body = self._body()
        path = self.path.partition("?")[0]
        self.server.requests.append(("POST", path))
        if self.headers["Authorization"] != f"Bearer {self.server.token}":
            self._reply(401, {"error": "Invalid credentials"})
            return
        self._reply(*self.server.answer(path, body))

    def do_PUT(self) -> None:
        self.server.requests.append(("PUT", self.path))
        self.server.stored[self.path.rpartition("/")[2]] = self._body()
        self._reply(200, {})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _reply(self, status: int, reply: Any) -> None:
        content = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def hub(token: str) -> Iterator[HubServer]:
    """Run a hub that takes one token."""
    server = HubServer(token)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
