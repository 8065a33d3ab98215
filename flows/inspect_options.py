"""The options of ``mrl4rec inspect`` and ``quarantine``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from flows import reading

Command = Callable[..., argparse.ArgumentParser]
SAMPLE = 1000


def add(commands: Any, command: Command) -> None:
    """Give the command line both commands."""
    text = "what would be read of a dump and how; nothing is written"
    inspect = command(commands, "inspect", text)
    inspect.add_argument("files", nargs="+", metavar="FILE", help="files, folders or globs")
    inspect.add_argument(
        "--dataset", help="as a later dump of this data set, whose first dump says how to read it"
    )
    inspect.add_argument("--rows", type=int, default=SAMPLE, help="records of each file to look at")
    reading.add_options(inspect)
    text = "records that broke a rule, by rule, with what was seen"
    option = command(commands, "quarantine", text).add_argument
    option("--dataset", required=True, help="folder in the warehouse")
    option("--rule", help="only records that broke this one")
    option("--rows", type=int, default=20, help="most records to list")
