"""The options of ``mrl4rec compare A B``."""

from __future__ import annotations

import argparse

from flows.request import PROTOCOLS


def add(command: argparse.ArgumentParser) -> None:
    """The models, and what is compared of them."""
    option = command.add_argument
    option(
        "models",
        nargs="*",
        metavar="MODEL",
        help="two or more: methods, rows of the leaderboard, or the beginning of a stage key",
    )
    option("--metric", default="ndcg", help="which metric of each user is compared")
    option("--k", type=int, default=20, help="length of the ranked list")
    option("--width", type=int, help="first so many dimensions; unset: all that a model has")
    option("--protocol", choices=PROTOCOLS, help="unset: clean where all have it, else paper")
    option("--draws", type=int, help="bootstrap samples and sign flips; unset: up to 10,000")
    option("--seed", type=int, default=0, help="of the draws")
