"""One file over HTTP: resumed where it was cut, with progress, verified by its checksum."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from mrl4rec.core import lazy, network
from mrl4rec.core.masking import masked

with lazy.imports():
    import pooch  # warns in a notebook without widgets, and mostly the file is there

Progress = Callable[[str, int, int | None], None]
"""Told what is fetched, bytes so far, and all bytes where known."""

TIMEOUT = httpx.Timeout(30.0, connect=5.0)
"""Seconds; short to connect, so that without a network the next source is tried soon."""
TRIES = 4
"""Tries in a row that bring nothing before a source counts as failed."""


class FetchFailed(Exception):
    """One source could not give the file; the message says why in few words."""

    status: int | None = None
    """That of the answer, where the server refused."""


class Cut(Exception):
    """The connection was cut: worth another try from where it stopped."""


def retrieve(url: str, checksum: str | None, target: Path, progress: Progress) -> None:
    """Bring ``target`` from ``url``: pooch checks the hash and moves it into place.

    What was received stays beside it as ``….part`` until it is whole, so that the next call goes
    on from there. Raises FetchFailed, and UsageError where the proxy that is named cannot be used.
    """
    network.check()
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = Resuming(target.with_name(target.name + ".part"), checksum is not None, progress)
    try:
        with failures():
            pooch.retrieve(url, checksum, target.name, target.parent, downloader=downloader)
    except ValueError as error:  # pooch's word for a hash that differs
        raise FetchFailed(f"what it serves is not the known file ({checksum} expected)") from error


@contextmanager
def failures() -> Iterator[None]:
    """What httpx raises, as FetchFailed."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        reply = error.response
        failed = FetchFailed(f"HTTP {reply.status_code} {reply.reason_phrase}")
        failed.status = reply.status_code
        raise failed from None  # its words hold the address
    except httpx.InvalidURL as error:
        raise FetchFailed(f"no address: {error}") from None
    except httpx.HTTPError as error:
        raise FetchFailed(f"cannot be reached: {error or type(error).__name__}") from error


@contextmanager
def answer(url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
    """The answer to a GET, its body still to be read as it is served. Raises httpx's errors, and
    FetchFailed where an address of https is redirected to one of http.
    """
    secure = url.lower().startswith("https:")

    def check(request: httpx.Request) -> None:
        if secure and request.url.scheme != "https":
            raise FetchFailed("it leads from https to http, which anybody on the way can change")

    log = logging.getLogger("httpx")
    if _without_secrets not in log.filters:  # it tells every address
        log.addFilter(_without_secrets)
    hooks = {"request": [check]}
    headers = {"Accept-Encoding": "identity", **headers}
    with (
        httpx.Client(timeout=TIMEOUT, follow_redirects=True, event_hooks=hooks) as client,
        client.stream("GET", url, headers=headers) as reply,
    ):
        yield reply


def _without_secrets(record: logging.LogRecord) -> bool:
    record.msg, record.args = masked(record.getMessage()), ()
    return True


def headers(url: str) -> httpx.Headers:
    """Those of the answer, whose body is not read. Raises FetchFailed."""
    network.check()
    with failures(), answer(url, {}) as reply:
        reply.raise_for_status()
        return reply.headers


def beginning(url: str, size: int, target: Path) -> None:
    """Write the first ``size`` bytes, or all where they are fewer. Raises FetchFailed."""
    with failures(), answer(url, {"Range": f"bytes=0-{size - 1}"}) as reply:
        reply.raise_for_status()
        with target.open("wb") as out:
            for block in reply.iter_raw():  # a server may send all
                out.write(block[: size - out.tell()])
                if out.tell() == size:
                    break


@dataclass
class Resuming:
    """A pooch downloader that goes on where an earlier try, or an earlier run, was cut."""

    part: Path
    verified: bool
    """A checksum follows, so parts are joined without asking which version they are of."""
    progress: Progress
    address: str | None = None
    """What it is known by from one run to the next, where its URL changes."""
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    """Those of the last answer."""

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        """Fill ``output_file``. Raises httpx's errors or FetchFailed."""
        idle = 0
        while True:
            before = self._size()
            try:
                self._receive(url)
                break
            except Cut as cut:
                idle = 0 if self._size() > before else idle + 1
                if idle >= TRIES:
                    raise FetchFailed(f"cut {TRIES} times without a byte: {cut}") from cut
                time.sleep(0.2 * 2**idle)
        os.replace(self.part, output_file)
        self._version.unlink(missing_ok=True)

    @property
    def _version(self) -> Path:
        """The file with the address and the version of what the part is of."""
        return self.part.with_name(self.part.name + ".version")

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _receive(self, url: str) -> None:
        """One request. Raises Cut once there was an answer, httpx's errors before."""
        address = self.address or masked(url)
        with answer(url, self._range(address)) as reply:
            if reply.status_code == 416:  # not a byte more there, or another file
                self.part.unlink(missing_ok=True)
                raise Cut("the server does not know that part")
            reply.raise_for_status()
            start = self._size() if reply.status_code == 206 else 0
            self.headers = reply.headers
            self._version.write_text(f"{address} {_version(reply.headers)}")
            try:
                self._pour(reply, unquote(urlsplit(address).path.rsplit("/", 1)[-1]), start)
            except httpx.TransportError as error:
                raise Cut(str(error)) from error

    def _pour(self, reply: httpx.Response, name: str, start: int) -> None:
        length = reply.headers.get("Content-Length")
        total = start + int(length) if length else None
        free = shutil.disk_usage(self.part.parent).free
        if length and int(length) > free:
            raise FetchFailed(
                f"{int(length) / 1e9:,.2f} GB are to come, and {free / 1e9:,.2f} GB are free in "
                f"{self.part.parent}"
            )
        with self.part.open("ab" if start else "wb") as out:
            self.progress(name, start, total)
            for block in reply.iter_raw():  # as served: a .gz stays one
                out.write(block)
                self.progress(name, start + reply.num_bytes_downloaded, total)

    def _range(self, address: str) -> dict[str, str]:
        """The headers that ask for the rest, if what lies here is a part of this very file."""
        if not self._size():
            return {}
        asked = {"Range": f"bytes={self._size()}-"}
        if self.verified:
            return asked
        known = self._version.read_text() if self._version.exists() else ""
        of, _, version = known.partition(" ")
        return {**asked, "If-Range": version} if of == address and version else {}


def _version(headers: httpx.Headers) -> str:
    """What If-Range may name: no weak tag."""
    tag = headers.get("ETag", "W/")
    return headers.get("Last-Modified", "") if tag.startswith("W/") else tag
