"""``mrl4rec recommend``: the list of a user or a history, looked up or computed."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from flows import console
from flows.cli import champion
from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.evaluation import from_history
    from mrl4rec.serving import models
    from mrl4rec.serving.registry import ledger, personal


def add_options(command: argparse.ArgumentParser) -> None:
    """The user or the history, and the form of the list."""
    add = command.add_argument
    champion.add_dataset(command)
    add("--model", metavar="MODEL", help=f"{champion.A_MODEL}; unset: the model in service")
    who = command.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", metavar="ID", help="the dump's user id")
    who.add_argument(
        "--history",
        metavar="ITEM,ITEM,…",
        help="the dump's item ids, oldest first, for models that score by what a user had; a JSON "
        "list where ids have commas",
    )
    add("--n", type=champion.positive, help="items; unset: as many as the table has")
    add("--width", type=champion.positive, help="first so many dimensions; unset: all")


def run(arguments: argparse.Namespace) -> Any:
    """The list."""
    settings = Settings()
    dataset = champion.dataset_of(settings, arguments.dataset)
    key = models.find(settings, arguments.model, dataset).key if arguments.model else None
    form = (arguments.n, arguments.width)
    if arguments.history is None:
        found = personal.for_user(settings, dataset, arguments.user, *form, model=key)
    else:
        found = personal.for_history(settings, dataset, _items(arguments.history), *form, model=key)
    if arguments.json:
        answer = asdict(found)
        if arguments.history is None:
            del answer["left_out"]
        return answer
    model = ledger.short(found.model)
    whom = "this history" if found.user_id is None else found.user_id
    print(f"for {whom}, by {found.by} of {model}, from the {found.source}")
    scores = [None if row["score"] is None else f"{row['score']:.4f}" for row in found.rows]
    console.table(
        "" if found.width is None else f"width {found.width}",
        ["rank", "item", "score"],
        [[r["rank"], r["item_id"], score] for r, score in zip(found.rows, scores, strict=True)],
    )
    if found.user_id is None:
        _tell_of_history(found)
    elif not found.known:
        print("nobody of this id is among the users: this is what most people took")
    elif found.by == "popularity":
        print("the model has seen nothing of this user: this is what most people took")
    return None


def _items(text: str) -> list[str]:
    """The ids of ``--history``. No id begins with a bracket: it is one of a JSON list."""
    if not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        items = from_history.item_ids(json.loads(text))
    except ValueError:
        items = None
    if items is None:
        raise UsageError(
            f"{text[:60]!r} is no JSON list of item ids",
            where="--history",
            todo="""give --history 12,7 or --history '["12", "7"]'""",
        )
    return items


def _tell_of_history(found: Any) -> None:
    if found.left_out:
        print(f"items of the history that the model does not know, left out: {found.left_out}")
    if not found.known:
        print("the history has no item that the model knows: this is what most people took")
