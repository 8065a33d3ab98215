"""``mrl4rec up``: servers and deployments on loopback."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings

with lazy.imports():
    from flows.server import stack
    from flows.team import stack as team


def add_options(command: argparse.ArgumentParser) -> None:
    """The ports, and the team's stack."""
    command.add_argument(
        "--team", action="store_true",
        help="all that a team runs, on loopback: Postgres, an S3 server, Prefect with work pools "
        "and workers, MLflow, Spark; parts that a setting names are left out",
    )  # fmt: skip
    command.add_argument(
        "--folder", type=Path, help="with --team: where its servers keep what they have; unset: "
        "~/.local/state/mrl4rec/team",
    )  # fmt: skip
    command.add_argument(
        "--isolate", action="store_true", help="with --team: workers that see nothing of this "
        "machine's warehouse, home and temporary files (Linux)",
    )  # fmt: skip
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
    if arguments.team:
        return team.up(Settings(), arguments.folder, arguments.isolate, arguments.json)
    for name in ("folder", "isolate"):
        if getattr(arguments, name):
            raise UsageError(f"--{name} goes with --team", todo="give --team too, or leave it out")
    wanted = stack.Ports(arguments.prefect_port, arguments.mlflow_port, arguments.pages_port)
    return stack.up(Settings(), wanted, arguments.json)
