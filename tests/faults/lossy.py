"""A proxy on loopback that loses answers: the server has carried a request out, and who asked sees
the connection end. A process of its own, ``python -m tests.faults.lossy PORT WHICH``, as delta-rs
lets no other thread of Python run while it waits.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections import Counter
from contextlib import closing, suppress
from email.message import Message
from email.parser import Parser
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, BinaryIO

from tests.faults.scene import ROOT

CONDITIONS = ("If-None-Match", "If-Match")


class Proxy:
    """The proxy as tests have it; ``log``: a file of its own."""

    def __init__(self, port: int, which: str, log: Path) -> None:
        self._log = log
        command = [sys.executable, "-m", "tests.faults.lossy", str(port), which, str(log)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        """Where it is asked."""

    def lost(self) -> Counter[str]:
        """The paths of objects, and how many answers each lost."""
        return Counter(self._log.read_text().splitlines())

    def end(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()


class Server(ThreadingTCPServer):
    """Passes HTTP on to a port of this machine and back, but for answers to PUT that are lost: of
    each object whose path fits ``which`` that of the first success, and of every success where the
    request had a condition.
    """

    daemon_threads, block_on_close, request_queue_size = True, False, 128

    def __init__(self, port: int, which: str, log: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.behind, self._which, self._log = port, re.compile(which), log.open("a", buffering=1)
        self._lost: set[str] = set()

    def loses(self, first: str, headers: Message, status: int) -> bool:
        """Whether this answer is lost; counted if it is."""
        method, path, _ = first.split(" ", 2)
        path = path.partition("?")[0]
        fits = method == "PUT" and status == 200 and self._which.search(path)
        if not fits or (path in self._lost and not any(name in headers for name in CONDITIONS)):
            return False
        self._lost.add(path)
        self._log.write(f"{path}\n")
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked, or the server, has gone: nothing to say."""


class _Connection(StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        there = socket.create_connection(("127.0.0.1", self.server.behind))
        with closing(there), there.makefile("rb") as answers:
            while head := _head(self.rfile):
                first, headers = _parsed(head)
                if headers.get("Expect", "").lower() == "100-continue":
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                there.sendall(head + _body(self.rfile, headers, until_end=False))
                answer, told = self._answer(answers, first.startswith("HEAD "))
                if self.server.loses(first, headers, told):
                    with suppress(OSError):
                        self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.wfile.write(answer)

    def _answer(self, answers: BinaryIO, without_body: bool) -> tuple[bytes, int]:
        """The bytes of the next answer, and its status; what only says "go on" is passed over."""
        while True:
            head = _head(answers)
            if not head:
                raise ConnectionError("the server has gone")
            first, headers = _parsed(head)
            status = int(first.split(" ")[1])
            if status >= 200:
                break
        if without_body or status in (204, 304):
            return head, status
        return head + _body(answers, headers, until_end=True), status


def _head(stream: BinaryIO) -> bytes:
    """The lines up to the empty one; nothing at the end of the connection."""
    lines = []
    while (line := stream.readline()) not in (b"", b"\r\n"):
        lines.append(line)
    return b"".join(lines) + b"\r\n" if lines else b""


def _parsed(head: bytes) -> tuple[str, Message]:
    first, _, rest = head.decode("latin-1").partition("\r\n")
    return first, Parser().parsestr(rest, headersonly=True)


def _body(stream: BinaryIO, headers: Message, *, until_end: bool) -> bytes:
    """What follows a head, as it came."""
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        return _chunks(stream)
    length = headers.get("Content-Length")
    if length is not None:
        return stream.read(int(length))
    return stream.read() if until_end else b""


def _chunks(stream: BinaryIO) -> bytes:
    parts = []
    while True:
        line = stream.readline()
        size = int(line.partition(b";")[0], 16)
        parts.append(line)
        if size == 0:
            break
        parts.append(stream.read(size + 2))
    while (line := stream.readline()) not in (b"", b"\r\n"):
        parts.append(line)
    return b"".join([*parts, b"\r\n"])


if __name__ == "__main__":
    server = Server(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
