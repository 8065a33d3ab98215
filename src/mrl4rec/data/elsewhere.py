"""Dumps named by URL: each is copied into the downloads folder before anything else looks at it.

A copy is known by the address that it came from, and found again while the file there is the same:
by its ETag, else by when it was changed, and by its size.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from mrl4rec.core import files, lazy, masking
from mrl4rec.core.errors import Mrl4recError, UsageError, nearest
from mrl4rec.core.settings import Settings
from mrl4rec.formats import sources
from mrl4rec.formats.copies import Copy
from mrl4rec.formats.packing import packing_of

with lazy.imports():
    from mrl4rec.core import locks, object_store
    from mrl4rec.data.downloads import bar, s3, web

log = logging.getLogger("mrl4rec.data.downloads")

FOLDER = "from-urls"
"""Of the downloads folder."""
SCHEMES = ("s3", "http", "https")
AT_THE_END = ("zip", "parquet")
"""Packings whose directory is at the file's end: no beginning tells what they hold."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_once: set[Path] = set()
"""Copies that this process has made of files of which nothing says whether they have changed."""


@dataclass(frozen=True)
class _File:
    """A file elsewhere, as its server told of it."""

    address: str
    """Without secrets."""
    url: Callable[[], str]
    """The address over HTTP, which may hold secrets."""
    bytes: int | None
    tag: str
    """ETag or time of change; empty: neither was told."""


def is_url(text: object) -> bool:
    """Whether a file or folder is named by a URL."""
    return _URL.match(str(text)) is not None


def path_of(url: str) -> str:
    """Bucket or host, and the path, as an absolute path."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() == "s3":
        return f"/{rest}"
    host, slash, path = rest.partition("?")[0].partition("/")
    return f"/{host.rpartition('@')[2].partition(':')[0]}{slash}{unquote(path)}"


def expand(
    specs: Sequence[str | Path], settings: Settings, beginning: int | None = None
) -> tuple[Path, ...]:
    """The files that ``--source`` values mean, as ``formats.expand``; those named by URL as copies.

    All are found before the first is copied. ``beginning``: of a larger file no more than so many
    bytes are needed. Raises UsageError where a value means no file or may not be read, Mrl4recError
    where a server fails or there is no room.
    """
    if not any(map(is_url, specs)):
        return sources.expand(specs)
    found: list[Path | _File] = []
    for spec in masking.put_away([str(spec) for spec in specs]):
        found += _find(spec) if is_url(spec) else sources.expand([spec])
    return tuple(
        _copy(file, settings, beginning) if isinstance(file, _File) else file for file in found
    )


def folder(spec: str, settings: Settings) -> Path:
    """The folder of files that a path or URL names; of copies, the one that holds them all."""
    return expand([spec], settings)[0].parent if is_url(spec) else Path(spec)


def _find(address: str) -> list[_File]:
    scheme = address.partition(":")[0].lower()
    if scheme == "s3":
        return [
            _File(f"s3://{found.path}", found.url, found.bytes, found.tag)
            for found in s3.find(f"s3{address[2:]}")
        ]
    if scheme not in SCHEMES:
        todo = nearest(scheme, SCHEMES)
        raise UsageError(f"nothing can be read from {scheme}://", where=address, todo=todo)
    return [_on_the_web(address)]


def _on_the_web(address: str) -> _File:
    try:
        parts = urlsplit(address)
        what = None if parts.hostname and parts.port != 0 else "the address names no host"
    except ValueError as error:
        raise UsageError(f"it is no address: {error}", where=address) from error
    if what is None and not parts.path.rpartition("/")[2]:
        what = "a folder cannot be listed over http"
    elif what is None and any(mark in parts.path for mark in "*["):
        what = "no glob can be matched over http"
    if what is not None:
        raise UsageError(what, where=address, todo="name each file by its own address")
    url = masking.given(address)
    with _failures(address):
        told = web.headers(url)
    if told.get("Content-Type", "").startswith("text/html"):
        raise UsageError(
            "an HTML page is served there, and no dump",
            where=address,
            todo="name the file itself; a page to log in needs a user, or a presigned address",
        )
    size = told.get("Content-Length")
    return _File(address, lambda: url, int(size) if size else None, _tag(told))


def _tag(headers: Mapping[str, str]) -> str:
    return headers.get("ETag") or headers.get("Last-Modified", "")


def _copy(file: _File, settings: Settings, beginning: int | None) -> Copy:
    place = _place(file.address, settings.downloads.absolute() / FOLDER)
    files.check_folder(place.parent, "the downloads folder", "name another: MRL4REC_DOWNLOADS")
    place.parent.mkdir(parents=True, exist_ok=True)
    with locks.locked(place.with_name(f".{place.name}.lock")), _failures(file.address):
        if _is_there(place, file):
            return Copy.of(place, file.address)
        if beginning is not None and file.bytes is not None and file.bytes > beginning:
            start = place.with_name(f".{place.name}.beginning")
            web.beginning(file.url(), beginning, start)
            if packing_of(start) not in AT_THE_END:
                return Copy.of(start, file.address, file.bytes)
            start.unlink()
            log.info("%s is read from its end, so all of it is copied", file.address)
        _bring(file, place)
    return Copy.of(place, file.address)


def _bring(file: _File, place: Path) -> None:
    log.info("copying %s to %s", file.address, place)
    with bar.shown(None) as progress, web.failures():
        part = place.with_name(f".{place.name}.part")
        loader = web.Resuming(part, False, progress, file.address)
        loader(file.url(), str(place), None)
    if file.address.startswith("s3:") and _tag(loader.headers) != file.tag:
        place.unlink()
        raise Mrl4recError(
            "it was changed after it was listed", where=file.address, todo="run it again"
        )
    tag = _tag(loader.headers)
    if not tag:
        _once.add(place)
    _receipt(place).write_text(json.dumps({"address": file.address, "tag": tag, **_state(place)}))


def _place(address: str, root: Path) -> Path:
    """Where the copy lies: those of one folder in one folder, by names that cannot lead out."""
    base, mark, query = address, "", ""
    if not address.startswith("s3:"):
        base, mark, query = address.partition("?")
    parent = base.rpartition("/")[0] + mark + query
    name = quote(base.rpartition("/")[2], safe="")
    if name.startswith(".") or len(name) > 200:
        name = hashlib.sha256(name.encode()).hexdigest()
    return root / hashlib.sha256(parent.encode()).hexdigest()[:16] / name


def _receipt(place: Path) -> Path:
    return place.with_name(f".{place.name}.json")


def _state(place: Path) -> dict[str, int]:
    stat = place.stat()
    return {"bytes": stat.st_size, "changed": stat.st_mtime_ns}


def _is_there(place: Path, file: _File) -> bool:
    """Whether the copy is whole, as it was made, and of the file that is there now."""
    try:
        told = json.loads(_receipt(place).read_text())
        same = told == {"address": file.address, "tag": file.tag, **_state(place)}
        return same and file.bytes in (None, told["bytes"]) and bool(file.tag or place in _once)
    except (OSError, ValueError):
        return False


@contextmanager
def _failures(address: str) -> Iterator[None]:
    """What the download raises, as errors that name the address and what to do."""
    is_s3 = address.startswith("s3:")
    try:
        yield
    except web.FetchFailed as error:
        if error.status in (401, 403) or (is_s3 and error.status in (301, 400)):  # another region
            web_todo = "give a user, as https://user:password@host/…, or a presigned address"
            todo = object_store.TODO if is_s3 else web_todo
            raise UsageError(f"access is denied: {error}", where=address, todo=todo) from error
        if error.status in (404, 410):
            what, todo = f"there is no such file: {error}", "check the address"
            raise UsageError(what, where=address, todo=todo) from error
        todo = "check the address and the network, then run it again: what has come is kept"
        raise Mrl4recError(f"it cannot be copied: {error}", where=address, todo=todo) from error
    except OSError as error:
        what = f"the copy cannot be written: {error.strerror or error}"
        todo = "make room, or name another folder: MRL4REC_DOWNLOADS"
        raise Mrl4recError(what, where=str(error.filename or address), todo=todo) from error
