"""The pages of a warehouse over HTTP on loopback, read-only: its report and the gates' Data Docs.

Nothing else of the warehouse can be asked for: a path is looked up among these pages, as they lie
in the warehouse, and one that leads out of them, by dots or by a link, is not found.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from mrl4rec.checks.gate import data_docs
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import FOLDER_NAME

HOST = "127.0.0.1"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".js": "text/javascript; charset=utf-8", ".png": "image/png", ".svg": "image/svg+xml",
         ".ico": "image/x-icon", ".gif": "image/gif", ".otf": "font/otf"}  # fmt: skip
"""What is served, by the end of the name."""
NAMES = (HOST, "localhost")
"""What this server may be called: a page elsewhere that has its own name lead here gets nothing."""


class Pages(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    settings: ClassVar[Settings]
    links: ClassVar[dict[str, str]]
    """Other addresses that the first page names."""
    server_version, sys_version = "mrl4rec", ""

    def do_GET(self) -> None:
        """The page, or 404."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """The same without the page."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """No line a request: stderr is for people."""

    def _answer(self, with_body: bool) -> None:
        body, kind = self._body()
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body and body:
            self.wfile.write(body)

    def _body(self) -> tuple[bytes | None, str]:
        nothing = None, "text/plain"
        if self.headers.get("Host", "").rpartition(":")[0] not in NAMES:
            return nothing
        path = unquote(urlsplit(self.path).path)
        if path == "/":
            return first_page(self.settings, self.links).encode(), TYPES[".html"]
        file = find(self.settings, path)
        try:
            return nothing if file is None else (file.read_bytes(), TYPES[file.suffix])
        except OSError:
            return nothing


def find(settings: Settings, path: str) -> AnyPath | None:
    """The file of a decoded path such as ``/ml-100k/gx/data_docs/index.html``; None: no page."""
    if "\0" in path or "\\" in path:
        return None
    storage, parts = settings.storage, path.strip("/").split("/")
    if parts == [storage.report_file.name]:
        home, file = storage.root.resolve(), storage.report_file
    elif parts[1:3] == ["gx", "data_docs"] and FOLDER_NAME.fullmatch(parts[0]):
        home = storage.data_docs_dir(parts[0]).resolve() / "data_docs"
        file = home.joinpath(*parts[3:])
    else:
        return None
    if not isinstance(file, Path) or not isinstance(home, Path):
        return _in_store(file)
    try:
        there = (file / "index.html" if file.is_dir() else file).resolve(strict=True)
        inside = there.is_relative_to(home) and there.is_file() and there.suffix in TYPES
    except OSError:  # not there, or no name that a file can have
        return None
    return there if inside else None


def _in_store(file: AnyPath) -> AnyPath | None:
    """The page in an object store, which has no links that lead elsewhere."""
    if ".." in str(file).split("/"):
        return None
    there = file if file.suffix else file / "index.html"
    return there if there.suffix in TYPES and there.is_file() else None


def first_page(settings: Settings, links: dict[str, str]) -> str:
    """What there is to see: the report, the gates of each data set, the other servers."""
    storage = settings.storage
    rows = []
    if storage.report_file.is_file():
        rows.append((f'<a href="/{storage.report_file.name}">Report</a>', "all data sets"))
    for name in storage.datasets("gates"):
        rows.append((f'<a href="/{name}/gx/data_docs/index.html">Gates of {name}</a>', "Data Docs"))
    for name, address in links.items():
        rows.append((f'<a href="{html.escape(address)}">{html.escape(name)}</a>', ""))
    body = "\n".join(f"<tr><td>{link}</td><td>{what}</td></tr>" for link, what in rows)
    style = data_docs.STATIC[data_docs.STYLE].read_text(encoding="utf-8")
    title = f"Warehouse {html.escape(str(settings.warehouse.absolute()))}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>mrl4rec</title>'
        f"<style>{style}</style></head>\n<body><main><h1>{title}</h1>"
        f'<table class="table">{body}</table></main></body></html>\n'
    )


@contextmanager
def serving(settings: Settings, port: int, links: dict[str, str]) -> Iterator[str]:
    """Serve the pages in a thread; yields their address, without a slash at its end.

    ``links`` may be filled later. Raises OSError where the port is taken; 0 is any free one.
    """
    handler = type("WarehousePages", (Pages,), {"settings": settings, "links": links})
    with ThreadingHTTPServer((HOST, port), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="pages", daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_address[1]}"
        finally:
            server.shutdown()
