"""Which objects of a bucket a URL means: an object, a folder or a glob; none is read."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from mrl4rec.core import object_store
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.object_store import SCHEME, TODO
from mrl4rec.formats import sources

TRIES = 3
"""Of a request: somebody waits for the answer, unlike within a stage."""
SIGNED_SECONDS = 24 * 3600


class Object(NamedTuple):
    """An object as it was listed."""

    fs: Any
    path: str
    """``bucket/key``."""
    bytes: int
    tag: str
    """ETag: names this writing of it."""

    def url(self) -> str:
        """An address by which it is read over HTTP for a day. It holds a secret."""
        signed: str = self.fs.sign(self.path, expiration=SIGNED_SECONDS)
        return signed


def find(address: str) -> list[Object]:
    """The objects, in the order in which files of a folder have them.

    Raises UsageError where there is no such bucket or object, or access is denied, Mrl4recError
    where the server fails.
    """
    path = address.removeprefix(SCHEME)
    bucket, _, key = path.partition("/")
    if not bucket:
        raise UsageError("it names no bucket", where=address, todo="write it like s3://bucket/file")
    with _refusals(address):
        object_store.reach(address)
        system = object_store.opened(SCHEME + bucket, TRIES).fs
        if key and not key.endswith("/"):
            with suppress(FileNotFoundError):
                told = system.info(path)
                if told["type"] == "file":
                    return [_object(system, told)]
                key += "/"
        is_glob = glob.has_magic(key) and not key.endswith("/")
        fixed = glob.escape(key).partition("[")[0]
        system.call_s3("list_objects_v2", Bucket=bucket, Prefix=fixed, MaxKeys=1)  # is it there
        if is_glob:
            found = _matches(system, path, f"{bucket}/{fixed}")
            what = "the glob matches no file"
        else:
            found, what = _folder(system, f"{bucket}/{key}"), "the folder holds no file"
    if not found:
        if key and not key.endswith("/") and not is_glob:
            what = "the bucket holds no such object"
        raise UsageError(what, where=address, todo="check the name; a folder ends in /")
    return found


def _folder(system: Any, prefix: str) -> list[Object]:
    try:
        listed = system.ls(prefix, detail=True)
    except FileNotFoundError:
        return []
    files = {told["name"].removeprefix(prefix): told for told in listed if told["type"] == "file"}
    return [_object(system, files[name]) for name in sources.meant(filter(None, files))]


def _matches(system: Any, pattern: str, fixed: str) -> list[Object]:
    found = system.glob(pattern, detail=True)
    return [
        _object(system, told)
        for name, told in sorted(found.items())
        if told["type"] == "file" and "/." not in f"/{name.removeprefix(fixed)}"
    ]


def _object(system: Any, told: dict[str, Any]) -> Object:
    return Object(system, told["name"], told["size"], told["ETag"])


@contextmanager
def _refusals(address: str) -> Iterator[None]:
    try:
        with object_store.asking():
            yield
    except FileNotFoundError as error:
        raise UsageError("there is no such bucket", where=address, todo=TODO) from error
    except PermissionError as error:
        raise UsageError(f"access is denied: {error}", where=address, todo=TODO) from error
    except OSError as error:
        raise Mrl4recError(f"it cannot be read: {error}", where=address, todo=TODO) from error
