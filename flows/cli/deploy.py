"""``mrl4rec deploy``: work pools, deployments and automations on a team's Prefect server."""

from __future__ import annotations

import argparse
import os
from typing import Any

from flows.pools import dispatch as pools
from flows.server import ephemeral
from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.settings import Settings

with lazy.imports():
    from flows.team import register


def add_options(command: argparse.ArgumentParser) -> None:
    """Limits of the pools."""
    command.add_argument(
        "--limit", action="append", default=[], metavar="POOL=N", type=limit,
        help="most runs of a pool at once, as gpu=4; may be repeated; unset: as many as its "
        "workers take",
    )  # fmt: skip


def limit(text: str) -> tuple[str, int]:
    """A pool and a number of runs. Raises ArgumentTypeError."""
    name, _, number = text.partition("=")
    if name not in pools.POOLS:
        raise argparse.ArgumentTypeError(f"no pool {name!r}: {nearest(name, pools.POOLS)}")
    if not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: write POOL=N, N at least 1")
    return name, int(number)


def run(arguments: argparse.Namespace) -> Any:
    """Register them and print what to start. Raises UsageError without a server to register at."""
    if not os.environ.get(ephemeral.URL):
        raise UsageError(
            "no Prefect server is named",
            where=f"the environment variable {ephemeral.URL}",
            todo="set it, as http://host:4200/api; or try all of it here: `mrl4rec up --team`",
        )
    ephemeral.check()
    found = register.register(Settings(), dict(arguments.limit))
    if arguments.json:
        return found
    for pool, names in found.items():
        print(f"{pool:6}{', '.join(names)}\n      {pools.POOLS[pool]}")
    print(
        "\nOn each machine, with the settings of docs/team.md:\n"
        "  prefect worker start --type process --pool POOL"
    )
    return None
