"""The options of ``mrl4rec retrain``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from flows import data_engine, reading
from flows.request import DEVICES
from flows.retrain_request import DEFAULT_SEEDS, FIRST_METHOD, STARTS

Command = Callable[[Any, str, str], argparse.ArgumentParser]


def add(
    commands: Any,
    command: Command,
    names: Callable[[str], list[str]],
    seeds: Callable[[str], list[int]],
) -> None:
    """Give the command line ``retrain``."""
    retrain = command(
        commands, "retrain", "fresh dumps → challenger → into service if it is really better"
    )
    option = retrain.add_argument
    option("--dataset", required=True, help="folder in the warehouse")
    option(
        "--dumps",
        nargs="+",
        action="extend",
        required=True,
        metavar="PATH",
        help="files, folders or globs; what was taken in before is passed over",
    )
    _data(retrain)
    _models(retrain, names, seeds)
    _decision(retrain)


def _data(retrain: argparse.ArgumentParser) -> None:
    option = retrain.add_argument
    option("--kcore", type=int, help="least pairs of each user and item; unset: as before, else 5")
    option("--min-rating", type=float, help="reviews rated below are left out; unset: as before")
    option("--as-of", metavar="TIME", help="reviews after this ISO time are in the future")
    option(
        "--retry-set-aside",
        action="store_true",
        help="take in again what a gate has stopped before",
    )
    data_engine.add_option(retrain)
    reading.add_options(retrain)


def _models(
    retrain: argparse.ArgumentParser,
    names: Callable[[str], list[str]],
    seeds: Callable[[str], list[int]],
) -> None:
    option = retrain.add_argument
    option(
        "--methods",
        type=names,
        default=[],
        help=f"to challenge with, comma-separated, the best on valid does; unset: the champion's "
        f"own recipe, else {FIRST_METHOD}",
    )
    option("--levels", action="append", default=[], metavar="N,N,…", help="a nested level set")
    option(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="METHOD.NAME=VALUE",
        help="change one value of a method that --methods names",
    )
    option(
        "--seeds",
        type=seeds,
        default=",".join(map(str, DEFAULT_SEEDS)),
        help="training seeds, of which the decision takes account",
    )
    option(
        "--start",
        choices=STARTS,
        default="both",
        help="from the champion's vectors (warm), afresh (cold), or the better of both on valid",
    )
    option("--epochs", type=int, default=300, help="most epochs of a training")
    option("--device", choices=DEVICES, default="auto", help="where to train")
    option(
        "--no-refit",
        action="store_true",
        help="let the winner serve as it was judged, not fitted again on everything",
    )


def _decision(retrain: argparse.ArgumentParser) -> None:
    option = retrain.add_argument
    option(
        "--window",
        default="auto",
        metavar="WINDOW",
        help="what both are judged on: auto, champion, a share of pairs (10%%) or days (30d)",
    )
    option("--alpha", type=float, default=0.05, help="1 − level of the interval of the gain")
    option(
        "--min-gain",
        type=float,
        default=0.0,
        help="share of the champion's NDCG@20 that the interval must lie above",
    )
    option("--width-margin", type=float, default=0.05, help="most that a width may fall, a share")
    option("--slice-margin", type=float, default=0.1, help="most that a slice may fall, a share")
    option("--dry-run", action="store_true", help="decide, and change nothing")
