"""An S3 server on loopback (versitygw), for the warehouse of a stack on one machine."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

from flows.server import services
from flows.server.services import HOST, Service
from mrl4rec.core import home
from mrl4rec.core.errors import Mrl4recError

BUCKET = "lake"
WAREHOUSE = f"s3://{BUCKET}/mrl4rec"
ARTIFACTS = f"s3://{BUCKET}/mlflow"
KEY = "mrl4rec"


def program() -> Path:
    """Where `make object-store` has put versitygw, else where PATH has it.

    Raises Mrl4recError where there is none.
    """
    built = home.cache() / "bin" / "versitygw"
    if built.exists():
        return built
    found = shutil.which("versitygw")
    if found:
        return Path(found)
    raise Mrl4recError(
        "there is no S3 server on this machine",
        where=f"{built}, PATH",
        todo="`make object-store` builds one (it needs Go), or name a bucket that is there: "
        "--warehouse s3://bucket/prefix with AWS_ENDPOINT_URL",
    )


def environment(secret: str, port: int) -> dict[str, str]:
    """What a client needs."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "MLFLOW_S3_ENDPOINT_URL": f"http://{HOST}:{port}",
    }


def start(stack: ExitStack, folder: Path, secret: str, port: int, logs: Path) -> Service:
    """Start it over ``folder``, with the bucket."""
    objects, facts = folder / "objects", folder / "facts"
    (objects / BUCKET).mkdir(parents=True, exist_ok=True)
    facts.mkdir(exist_ok=True)
    command = [str(program()), "--quiet", "--port", f"{HOST}:{port}",
               "posix", "--sidecar", str(facts), str(objects)]  # fmt: skip
    root = {"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": secret}
    service = services.start(stack, "object-store", command, os.environ | root, logs)

    def answers() -> bool:
        with suppress(OSError), socket.create_connection((HOST, port), 1):
            return True
        return False

    services.until(service, answers)
    return service
