"""One file over HTTP: resumed where it was cut, with progress, verified by its checksum."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Progress = Callable[[str, int, int | None], None]
"""Told what is fetched, bytes so far, and all bytes where known."""

CONNECT_SECONDS = 5.0
"""Short, so that without a network the next source is tried within seconds."""
READ_SECONDS = 30.0
TRIES = 4
"""Tries in a row that bring nothing before a source counts as failed."""
CHUNK = 1 << 16


class FetchFailed(Exception):
    """One source could not give the file; the message says why in few words."""


class Again(Exception):
    """The connection was cut: worth another try from where it stopped."""


def retrieve(url: str, checksum: str | None, target: Path, progress: Progress) -> None:
    """Bring ``target`` from ``url``: pooch checks the hash and moves it into place.

    What was received stays beside it as ``….part`` until it is whole, so that the next call goes
    on from there. Raises FetchFailed.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    downloader = Resuming(target.with_name(target.name + ".part"), checksum is not None, progress)
    try:
        pooch.retrieve(url, checksum, target.name, target.parent, downloader=downloader)
    except requests.RequestException as error:
        raise FetchFailed(_why(error)) from error
    except ValueError as error:  # pooch's word for a hash that differs
        raise FetchFailed(f"what it serves is not the known file ({checksum} expected)") from error


@dataclass
class Resuming:
    """A pooch downloader that goes on where an earlier try, or an earlier run, was cut."""

    part: Path
    verified: bool
    """A checksum follows, so parts may be joined even where the server names no version."""
    progress: Progress

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        """Fill ``output_file``. Raises requests' errors or FetchFailed."""
        idle = 0
        while True:
            before = self._size()
            try:
                self._receive(url)
                break
            except Again as cut:
                idle = 0 if self._size() > before else idle + 1
                if idle >= TRIES:
                    raise FetchFailed(f"cut {TRIES} times without a byte: {cut}") from cut
                time.sleep(0.2 * 2**idle)
        os.replace(self.part, output_file)
        self._note.unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        return self.part.with_name(self.part.name + ".json")

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _receive(self, url: str) -> None:
        """One request. Raises Again where it was cut, requests' errors where it never began."""
        import requests
        from urllib3.exceptions import HTTPError

        headers = {"Accept-Encoding": "identity", **self._range(url)}
        timeout = (CONNECT_SECONDS, READ_SECONDS)
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as reply:
            if reply.status_code == 416 and self._size():  # not a byte more there, or another file
                self.part.unlink()
                raise Again("the server does not know that part")
            reply.raise_for_status()
            start = self._size() if reply.status_code == 206 else 0
            if reply.status_code == 206 and _begin(reply.headers) != start:
                self.part.unlink()
                raise Again("the server answered another part")
            length = reply.headers.get("Content-Length")
            total = start + int(length) if length else None
            version = reply.headers.get("ETag") or reply.headers.get("Last-Modified")
            self._note.write_text(json.dumps({"url": url, "version": version}))
            try:
                self._pour(reply.raw, url, start, total)
            except (HTTPError, OSError) as error:
                if (
                    isinstance(error, OSError)
                    and error.errno is not None
                    and not _is_network(error)
                ):
                    raise  # the disk, not the line
                raise Again(str(error)) from error
            if total is not None and self._size() < total:
                raise Again(f"{self._size():,} of {total:,} bytes came")

    def _pour(self, raw: Any, url: str, start: int, total: int | None) -> None:
        name = url.rsplit("/", 1)[-1]
        done = start
        with self.part.open("ab" if start else "wb") as out:
            self.progress(name, done, total)
            while block := raw.read(CHUNK, decode_content=False):
                out.write(block)
                done += len(block)
                self.progress(name, done, total)

    def _range(self, url: str) -> dict[str, str]:
        """The header that asks for the rest, if what lies here is a part of this very file."""
        if not self._size():
            return {}
        try:
            note = json.loads(self._note.read_text())
        except (OSError, ValueError):
            note = {}
        version = note.get("version")
        if note.get("url") != url or not (version or self.verified):
            return {}
        asked = {"Range": f"bytes={self._size()}-"}
        weak = not version or version.startswith("W/")  # a weak tag may not be used with If-Range
        return asked if weak else {**asked, "If-Range": version}


def _begin(headers: Any) -> int:
    """The first byte of a 206 answer, from ``Content-Range: bytes 5-9/10``; -1 where it is odd."""
    first = headers.get("Content-Range", "").removeprefix("bytes ").split("-")[0]
    return int(first) if first.isdigit() else -1


def _is_network(error: OSError) -> bool:
    return isinstance(error, ConnectionError | TimeoutError)


def _why(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.ConnectTimeout):
        return f"no answer within {CONNECT_SECONDS:g} s"
    if isinstance(error, requests.ConnectionError):
        cause = str(error)
        known = {"resolve": "its name cannot be resolved", "refused": "connection refused",
                 "unreachable": "network unreachable"}  # fmt: skip
        said = next((words for key, words in known.items() if key in cause), cause)
        return f"cannot be reached: {said}"
    return str(error)
