"""``mrl4rec up``: servers and deployments on loopback."""

from __future__ import annotations

import argparse
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from flows.server import stack


def add_options(command: argparse.ArgumentParser) -> None:
    """The ports."""
    text = "the next free one is taken where it is busy"
    command.add_argument("--prefect-port", type=port, default=4200, help=text)
    command.add_argument("--mlflow-port", type=port, default=5000, help=text)
    command.add_argument(
        "--pages-port", type=port, default=8300, help=f"of the report and the gates' pages; {text}"
    )


def port(text: str) -> int:
    """A number of a port. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is no port, which is a number from 1 to 65535")
    return int(text)


def run(arguments: argparse.Namespace) -> Any:
    """Start them, and wait until they are stopped."""
    wanted = stack.Ports(arguments.prefect_port, arguments.mlflow_port, arguments.pages_port)
    return stack.up(Settings(), wanted, arguments.json)
