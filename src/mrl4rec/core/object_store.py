"""A warehouse in an object store: S3, or a server that speaks its protocol.

It is reached by the usual variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
AWS_REGION, AWS_ENDPOINT_URL, or by a profile or a role of the machine. delta-rs reads them itself;
s3fs, for all that is no table, is told the region, and Arrow the server too.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from upath import UPath

from mrl4rec.core import lazy, network
from mrl4rec.core.errors import UsageError

with lazy.imports():
    import botocore.exceptions
    import s3fs
    from fsspec import asyn
    from pyarrow import fs

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

SCHEME = "s3://"
RACERS = 16
"""Writers of one object in ``race``."""
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""They belong together."""
SERVER = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
HAS_KEYS = any(os.environ.get(name) for name in KEYS)
"""Whether this process was started with keys."""
TODO = "see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL"
FOR_DELTA_RS = {
    "max_retries": "100",
    "retry_timeout": "180s",
    "backoff_config.init_backoff": "500ms",
    "backoff_config.max_backoff": "10s",
}
"""Its requests are made again for three minutes; as it comes, for 2 s."""
TRIES = 16
"""Of a request: again after at most 1, 2, 4 … 20 s, half of it on average, so that a server may be
away for a minute."""


def opened(url: str, tries: int = TRIES) -> UPath:
    """The place of a URL ``s3://bucket/prefix``, each of whose requests is made so many times.
    Nothing is asked of the server.
    """
    _for_delta_rs()
    return UPath(
        url.rstrip("/"),
        use_listings_cache=False,
        config_kwargs={
            "retries": {"mode": "standard", "max_attempts": tries},
            "connect_timeout": 10,
            "read_timeout": 60,
            "signature_version": "s3v4",  # of presigned addresses too
        },
        client_kwargs={"region_name": _region()},
    )


def check_address(root: UPath) -> None:
    """Raise UsageError where the address is none of a folder in a bucket. Nobody is asked."""
    where = str(root)
    if not root.drive or "//" in where.removeprefix(SCHEME) or any(c in where for c in "#?[]|^\\%"):
        raise UsageError(
            "the warehouse's address is none of a folder in a bucket",
            where=where,
            todo="write it like --warehouse s3://bucket/mrl4rec",
        )


def check(root: UPath) -> None:
    """Raise UsageError where the bucket is not there or cannot be read."""
    where = str(root)
    reach(where)
    try:
        with asking():
            root.fs.call_s3("list_objects_v2", Bucket=root.drive, MaxKeys=1)
    except OSError as error:
        raise UsageError(
            f"the warehouse cannot be read: {error}", where=where, todo=TODO
        ) from error


def reach(where: str) -> None:
    """Raise UsageError where the extra is missing, or the server that is named does not answer."""
    try:
        s3fs.__version__  # noqa: B018 - a lazy module is imported where it is first asked
    except ImportError as error:
        raise UsageError(
            "an object store needs s3fs",
            where=where,
            todo="pip install 'mrl4rec[s3]'",
        ) from error
    if (refused := network.refused(_endpoint() or "", 5)) is not None:  # without the long patience
        raise UsageError(
            f"the object store cannot be reached: {refused}", where=str(_endpoint()), todo=TODO
        )


def check_writable(root: UPath) -> None:
    """Raise UsageError where no file can be written and removed; ``check`` comes before."""
    probe = root / f".probe-{uuid.uuid4().hex}"
    try:
        put(probe, probe.name.encode(), None)
        probe.unlink()
    except OSError as error:
        raise UsageError(f"it cannot be written: {error}", where=str(root), todo=TODO) from error


def race(place: UPath) -> str | None:
    """What is wrong where so many write one object at once, each where there is none; None: one
    of them won, and its content is there.
    """
    contents = [f"{place.name} {n}".encode() for n in range(RACERS)]
    try:
        with ThreadPoolExecutor(RACERS) as threads:
            tags = list(threads.map(lambda content: put(place, content, None), contents))
        won = [content for content, tag in zip(contents, tags, strict=True) if tag is not None]
        found = read(place)
        place.unlink()
    except OSError as error:
        return f"conditional writing fails: {error}"
    if len(won) != 1 or found is None or found.content != won[0]:
        return f"{len(won)} of {RACERS} writers of one object were told that they were the first"
    return None


def clock_behind(root: UPath) -> float:
    """Seconds that the server's clock is behind this machine's; to the second. Raises OSError."""
    with asking():
        answer = root.fs.call_s3("list_objects_v2", Bucket=root.drive, MaxKeys=1)
    said = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    return time.time() - said.timestamp()


def arrow(uri: str) -> tuple[FileSystem, str]:
    """The file system by which Arrow's threads read, and the path of ``uri`` in it."""
    parts = urlsplit(_endpoint() or "")
    server = {"endpoint_override": parts.netloc, "scheme": parts.scheme} if parts.netloc else {}
    again = fs.AwsStandardS3RetryStrategy(max_attempts=TRIES)
    system = fs.S3FileSystem(region=_region(), retry_strategy=again, **server)
    return system, uri.removeprefix(SCHEME)


def access() -> dict[str, str]:
    """The variables by which this process reaches the store, for one on another machine."""
    return {name: os.environ[name] for name in (*KEYS, *SERVER) if name in os.environ}


def take(access: Mapping[str, str]) -> None:
    """Reach the store as another process does, but by the keys that this one was started with."""
    os.environ.update((n, v) for n, v in access.items() if not (HAS_KEYS and n in KEYS))


class Found(NamedTuple):
    """A small object as it was read."""

    content: bytes
    tag: str
    """ETag: names this writing of it."""


def read(place: UPath) -> Found | None:
    """A small object, or None where there is none. Raises OSError."""

    async def asked() -> Found:
        answer = await place.fs._call_s3("get_object", **_named(place))
        async with answer["Body"] as body:
            return Found(await body.read(), answer["ETag"])

    for _ in range(TRIES):
        try:
            with asking():
                found: Found = asyn.sync(place.fs.loop, asked)
            return found
        except FileNotFoundError:
            return None
        except OSError as error:  # some servers give the bytes of one writing, the sum of another
            if not isinstance(error.__cause__, botocore.exceptions.FlexibleChecksumError):
                raise
    raise OSError(f"{place} is being rewritten all the time")


def put(place: UPath, content: bytes, tag: str | None) -> str | None:
    """Write a small object where it still is as ``tag`` names it, or (None) where there is none.

    Its new tag, or None where somebody else wrote. A request that was carried out and whose answer
    was lost is made again and then refused: what is there is ours by its content, which is
    therefore never the same twice. Raises OSError.
    """
    condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
    try:
        with asking():
            answer = place.fs.call_s3("put_object", **_named(place), Body=content, **condition)
    except FileNotFoundError:  # If-Match of what is gone
        return None
    except OSError as error:
        if not _is_refused(error):
            raise
        found = read(place)
        return found.tag if found is not None and found.content == content else None
    written: str = answer["ETag"]
    return written


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _for_delta_rs() -> None:
    """A server by http:// is meant, and a profile too: delta-rs asks for a word more."""
    os.environ.setdefault("AWS_REGION", _region())
    if "AWS_ACCESS_KEY_ID" not in os.environ:
        os.environ.setdefault("AWS_FORCE_CREDENTIAL_LOAD", "true")
    if (endpoint := _endpoint()) is not None:
        os.environ.setdefault("AWS_ENDPOINT_URL", endpoint)
        if endpoint.startswith("http://"):
            os.environ.setdefault("AWS_ALLOW_HTTP", "true")


@contextmanager
def asking() -> Iterator[None]:
    """What botocore raises for a server that does not answer, as OSError; s3fs does the rest."""
    try:
        yield
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise OSError(str(error)) from error


def _named(place: UPath) -> dict[str, str]:
    return {"Bucket": place.drive, "Key": place.path.removeprefix(f"{place.drive}/")}


def _is_refused(error: OSError) -> bool:
    """Whether a condition did not hold, by the code that S3 gave."""
    cause = error.__cause__ or error
    code = getattr(cause, "response", {}).get("Error", {}).get("Code", "")
    return isinstance(error, FileExistsError) or code in (
        "PreconditionFailed", "ConditionalRequestConflict", "412", "409"
    )  # fmt: skip
