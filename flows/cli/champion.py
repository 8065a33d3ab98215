"""What the commands about the champion share: the data set, options, and how a state is shown."""

from __future__ import annotations

import argparse
from argparse import Namespace
from dataclasses import asdict
from typing import Any

from flows import console
from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.models import model_folder

ONLY_ONE = "unset: the only one in the warehouse"
OF_DATASET = "only among the models of this data set"
A_MODEL = (
    "MRL-M, MRL-M@lightgcn-1, MRL-M#256 …, champion, the first digits of a stage key, an MLflow "
    "run id or address, or a model folder; `mrl4rec models` lists them"
)


def add_model(command: argparse.ArgumentParser) -> None:
    """The name of one model."""
    command.add_argument("model", metavar="MODEL", help=A_MODEL)


def add_dataset(command: argparse.ArgumentParser, text: str = ONLY_ONE) -> None:
    """``--dataset``."""
    command.add_argument("--dataset", help=text)


def add_why(command: argparse.ArgumentParser) -> None:
    """``--why``."""
    command.add_argument("--why", required=True, metavar="TEXT", help="reason, kept in the ledger")


def add_lists(command: argparse.ArgumentParser) -> None:
    """``--n`` and ``--widths`` of the recommendations table."""
    add = command.add_argument
    text = "items in each user's list; unset: as the table has, else 20"
    add("--n", type=positive, help=text)
    text = "widths to make lists of besides the full one; unset: as the table has, else none"
    add("--widths", type=widths, metavar="W,W…", help=text)


def widths(text: str) -> list[int]:
    """``8,16`` as numbers; empty: none."""
    return [positive(part) for part in text.split(",") if part.strip()]


def positive(text: str) -> int:
    """A whole number from 1 on."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return number


def dataset_of(settings: Settings, name: str | None) -> str:
    """The data set that is meant: the one named, else the only one there is."""
    names = settings.storage.chosen([name] if name else None)
    if len(names) > 1:
        raise UsageError("there are several data sets", todo=f"--dataset {' | '.join(names)}")
    return names[0]


def show_change(arguments: Namespace, settings: Settings, done: Any) -> Any:
    """Print what a change came to, or return it for ``--json``."""
    answer = {
        "note": done.note,
        "row": done.entry.seq if done.entry else None,
        **as_dict(settings, done.agreement),
    }
    if arguments.json:
        return answer
    print(done.note)
    show("", answer)
    return None


def as_dict(settings: Settings, agreement: Any) -> dict[str, Any]:
    """An agreement as JSON, with the champion's method where its folder is there."""
    method = None
    if agreement.champion is not None:
        try:
            folder = settings.storage.model_dir(agreement.dataset, agreement.champion)
            method = model_folder.read_card(folder).method_name
        except Mrl4recError:
            method = None  # the folder is gone, which agreement.problems says
    return {**asdict(agreement), "method": method}


def show(title: str, answer: dict[str, Any]) -> None:
    """Print a state as a table."""
    rows = [
        ["champion", answer["champion"] or "none yet"],
        ["method", answer["method"]],
        ["MLflow", f"version {answer['model_version']}" if answer["model_version"] else None],
        ["aliases agree", "yes" if answer["alias_ok"] else "no"],
        ["recommendations", _version(answer["recommendations_version"])],
        ["recommendations agree", "yes" if answer["recommendations_ok"] else "no"],
        *[["repaired", text] for text in answer["repaired"]],
        *[["problem", text] for text in answer["problems"]],
    ]
    console.table(title, ["fact", "value"], rows)


def _version(number: int | None) -> str | None:
    return None if number is None else f"version {number}"
