"""A webhook on loopback for tests of alerts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "T0PSECRET-hook"


class Hook(ThreadingHTTPServer):
    """A webhook that answers with the codes it is given, then with 200; it keeps what it got."""

    daemon_threads = True

    def __init__(self, codes: tuple[int, ...] = (), hang: float = 0) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.codes, self.hang = list(codes), hang
        self.got: list[dict[str, Any]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/services/{TOKEN}"


class Answer(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        self.server.got.append(json.loads(body))
        time.sleep(self.server.hang)
        code = self.server.codes.pop(0) if self.server.codes else 200
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: Any) -> None:
        """Not on the tests' stderr."""


@contextmanager
def listening(*codes: int, hang: float = 0) -> Iterator[Hook]:
    with Hook(codes, hang) as hook:
        thread = threading.Thread(target=hook.serve_forever, daemon=True)
        thread.start()
        try:
            yield hook
        finally:
            hook.shutdown()
