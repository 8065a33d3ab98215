"""The options of the commands of the registry. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Command = Callable[[Any, str, str], argparse.ArgumentParser]


def add(commands: Any, command: Command) -> None:
    """Give the command line ``registry``, ``promote``, ``rollback`` and the rest."""
    registry = command(
        commands, "registry", "who is in service, and whether all agrees; what does not is repaired"
    )
    _dataset(registry)
    _shape(registry)
    promote = command(commands, "promote", "put a model into service")
    promote.add_argument(
        "model", metavar="RUN", help="stage key of a model (or its beginning), or MLflow run id"
    )
    _dataset(promote, "only among the models of this data set")
    _why(promote)
    _shape(promote)
    rollback = command(commands, "rollback", "put back into service who was there before")
    _dataset(rollback)
    _why(rollback)
    rollback.add_argument(
        "--to",
        type=int,
        metavar="N",
        help="the champion of row N of the ledger; unset: the last one",
    )
    _shape(rollback)
    _dataset(command(commands, "ledger", "who was in service, when and why"))
    recommend = command(commands, "recommend", "one user's list, looked up or computed")
    _dataset(recommend)
    recommend.add_argument("--user", required=True, metavar="ID", help="the dump's user id")
    recommend.add_argument("--n", type=_whole, help="items; unset: as many as the table has")
    recommend.add_argument("--width", type=_whole, help="first so many dimensions; unset: all")
    vacuum = command(commands, "vacuum", "remove files that no version in use needs")
    _dataset(vacuum)
    vacuum.add_argument(
        "--keep-days",
        type=float,
        default=30.0,
        metavar="DAYS",
        help="what was replaced, or made by a champion, within these days stays",
    )
    vacuum.add_argument("--dry-run", action="store_true", help="say what would go, remove nothing")


def widths(text: str) -> list[int]:
    """``8,16`` as numbers; empty: none."""
    return [_whole(part) for part in text.split(",") if part.strip()]


def _whole(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return number


def _dataset(
    command: argparse.ArgumentParser, text: str = "unset: the only one in the warehouse"
) -> None:
    command.add_argument("--dataset", help=text)


def _why(command: argparse.ArgumentParser) -> None:
    command.add_argument("--why", required=True, metavar="TEXT", help="reason, kept in the ledger")


def _shape(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--n", type=_whole, help="items in each user's list; unset: as the table has, else 20"
    )
    command.add_argument(
        "--widths",
        type=widths,
        metavar="W,W…",
        help="widths to make lists of besides the full one; unset: as the table has, else none",
    )
