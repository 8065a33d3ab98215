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
    command.add_argument("--prefect-port", type=int, default=4200, help=text)
    command.add_argument("--mlflow-port", type=int, default=5000, help=text)


def run(arguments: argparse.Namespace) -> Any:
    """Start them, and wait until they are stopped."""
    return stack.up(Settings(), arguments.prefect_port, arguments.mlflow_port, arguments.json)
