"""``mrl4rec recommend``: one user's list, looked up or computed."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from flows import console
from flows.cli import champion
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.serving import models
    from mrl4rec.serving.registry import ledger, personal


def add_options(command: argparse.ArgumentParser) -> None:
    """The user, and the form of the list."""
    add = command.add_argument
    champion.add_dataset(command)
    add("--model", metavar="MODEL", help=f"{champion.A_MODEL}; unset: the model in service")
    add("--user", required=True, metavar="ID", help="the dump's user id")
    add("--n", type=champion.positive, help="items; unset: as many as the table has")
    add("--width", type=champion.positive, help="first so many dimensions; unset: all")


def run(arguments: argparse.Namespace) -> Any:
    """One user's list."""
    settings = Settings()
    dataset = champion.dataset_of(settings, arguments.dataset)
    key = models.find(settings, arguments.model, dataset).key if arguments.model else None
    found = personal.for_user(
        settings, dataset, arguments.user, arguments.n, arguments.width, model=key
    )
    if arguments.json:
        return asdict(found)
    model = ledger.short(found.model)
    print(f"for {found.user_id}, by {found.by} of {model}, from the {found.source}")
    scores = [None if row["score"] is None else f"{row['score']:.4f}" for row in found.rows]
    console.table(
        "" if found.width is None else f"width {found.width}",
        ["rank", "item", "score"],
        [[r["rank"], r["item_id"], score] for r, score in zip(found.rows, scores, strict=True)],
    )
    if not found.known:
        print("nobody of this id is among the users: this is what most people took")
    elif found.by == "popularity":
        print("the model has seen nothing of this user: this is what most people took")
    return None
