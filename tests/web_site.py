"""A web server on loopback with one file: it cuts, refuses, redirects and changes as tests say."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = bytes(range(256)) * 4000  # 1 MB


@dataclass
class Site:
    """What the server does; tests change it as they go."""

    url: str = ""
    body: bytes = BODY
    etag: str | None = '"one"'
    ranges: bool = True
    status: int = 200
    kind: str | None = None
    """Content-Type."""
    location: str | None = None
    """Where every request is sent on to."""
    seconds: float = 0.0
    """Before each answer."""
    cuts: list[int] = field(default_factory=list)
    """Bytes after which each of the next answers is cut."""
    asked: list[str | None] = field(default_factory=list)
    """The Range header of every request so far."""
    users: list[str | None] = field(default_factory=list)
    """The Authorization header of every request so far."""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.asked.append(asked)
        self.users.append(request.headers.get("Authorization"))
        time.sleep(self.seconds)
        if self.location is not None:
            request.send_response(302)
            request.send_header("Location", self.location)
            request.end_headers()
            return
        if self.status != 200:
            request.send_error(self.status)
            return
        start, end = 0, len(self.body)
        same = request.headers.get("If-Range") in (None, self.etag)
        if asked and self.ranges and same:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or end) + bool(last), end)
        if start >= len(self.body):
            request.send_error(416)
            return
        sent = self.body[start:end]
        request.send_response(206 if len(sent) < len(self.body) else 200)
        if self.etag:
            request.send_header("ETag", self.etag)
        if self.kind:
            request.send_header("Content-Type", self.kind)
        if len(sent) < len(self.body):
            request.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(self.body)}")
        request.send_header("Content-Length", str(len(sent)))
        request.end_headers()
        request.wfile.write(sent[: self.cuts.pop(0)] if self.cuts else sent)


@contextmanager
def served(tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """The site, for the while; by https with ``tls``."""
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name http.server calls
            try:
                state.answer(self)
            except OSError:  # who asked has read enough
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/data.bin"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()
