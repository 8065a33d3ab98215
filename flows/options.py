"""The options of ``mrl4rec``, each with its default in ``--help``. Imports nothing heavy."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from flows import (
    compare_options,
    data_engine,
    inspect_options,
    reading,
    registry_options,
    retrain_options,
)
from flows.request import DEFAULT_LEVELS, DEFAULT_METHODS, DEVICES, ENGINES, PROTOCOLS, STRATEGIES
from mrl4rec.presets import PRESETS

EPILOG = "Exit codes: 0 done, 1 failed with a reason, 2 wrong usage, 3 stopped by a gate."


class Parser(argparse.ArgumentParser):
    """Wrong usage ends with exit code 2, as JSON on stdout where ``--json`` was asked for."""

    def error(self, message: str) -> NoReturn:
        """Print what was wrong and how to see the options, then exit 2."""
        if "--json" in sys.argv:
            print(json.dumps({"error": message}))
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\n  what to do: see `{self.prog} --help`\n")


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        # A default of None is told in words by the option's own help.
        return (
            action.help if action.default in (None, False, []) else super()._get_help_string(action)
        )


class _Told(argparse.Action):
    """Stores a value and remembers that it was given, so that it wins over a preset's."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Keep the value under its option's name, and the name in ``told``."""
        setattr(namespace, self.dest, values)
        namespace.told = {*getattr(namespace, "told", ()), self.dest}


class _ToldTrue(_Told):
    """The same for a flag."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store True."""
        super().__call__(parser, namespace, True, option_string)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in _names(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of whole numbers like 0,1,2"
        ) from None


def build_parser() -> Parser:
    """The whole command line."""
    parser = Parser(
        prog="mrl4rec",
        description="From a review dump to compared, servable nested recommenders (MRL4Rec).",
        epilog=EPILOG,
        formatter_class=_Help,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    helps = {
        "run": "the main job: dump → tables → models → leaderboard, MLflow runs, report",
        "ingest": "read a dump into reviews, with quarantine and counts",
        "kcore": "…and filter it to its k-core",
        "split": "…and split it into train, valid and test",
        "train": "…and train the models",
        "evaluate": "…and evaluate them",
    }
    for name, text in helps.items():
        _pipeline_options(_command(commands, name, text), name)
    _tune(commands)
    inspect_options.add(commands, _command)
    text = "the leaderboard of what has been run; with names, are these models really different?"
    _compare(_command(commands, "compare", text))
    report = _command(commands, "report", "one self-contained HTML page of what has been run")
    report.add_argument("--dataset", help="only this data set; unset: every one in the warehouse")
    report.add_argument("--out", help="where to write it; unset: report.html in the warehouse")
    report.add_argument(
        "--markdown", metavar="FILE", help="write its tables there instead, as docs/results.md is"
    )
    _command(commands, "datasets", "the catalogue of known data sets")
    tables = _command(commands, "tables", "tables, their versions, rows and stage keys")
    tables.add_argument("name", nargs="?", help="one table: its whole history")
    tables.add_argument("--dataset", help="only this data set")
    text = "clusters of each prefix against planted groups, and against each other"
    _hierarchy(_command(commands, "hierarchy", text))
    _export(_command(commands, "export", "the vectors to serve, at a width you can afford"))
    retrain_options.add(commands, _command, _names, _seeds)
    _simulate(commands)
    registry_options.add(commands, _command)
    _up(_command(commands, "up", "Prefect server, MLflow UI and the deployments, on loopback"))
    _bench(commands)
    _command(commands, "doctor", "what is missing on this machine, and what to type")
    _command(commands, "setup", "resolve Delta's JARs, which Spark needs, once; needs Java 17")
    return parser


def _command(
    commands: Any, name: str, text: str, *, warehouse: bool = True
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=EPILOG,
        formatter_class=_Help,
    )
    command.set_defaults(warehouse=None, data_engine=None)
    if warehouse:
        command.add_argument(
            "--warehouse", help="folder of all tables, models and reports; unset: ./warehouse"
        )
    command.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return command


def _pipeline_options(command: argparse.ArgumentParser, name: str) -> None:
    add = command.add_argument
    _data_options(command, name)
    add(
        "--preset",
        metavar="NAME",
        help="methods, levels, protocol and seeds by name, what is given beside it wins: "
        + ", ".join(PRESETS),
    )
    add(
        "--methods",
        type=_names,
        action=_Told,
        default=",".join(DEFAULT_METHODS),
        help="comma-separated",
    )
    add(
        "--levels",
        nargs="+",
        action=_Told,
        default=list(DEFAULT_LEVELS),
        metavar="SET",
        help="level sets like 4,8,16,32,64, several apart by spaces",
    )
    add(
        "--seeds",
        type=_seeds,
        action=_Told,
        default="0",
        help="training seeds, comma-separated",
    )
    add(
        "--protocol",
        choices=PROTOCOLS,
        action=_Told,
        default="clean",
        help="clean: epoch chosen on valid, then refit; paper: stopped on test, as the authors do",
    )
    add(
        "--widths",
        type=_seeds,
        action=_Told,
        default=[],
        metavar="LIST",
        help="evaluate every model with vectors at these widths, like 4,8,16; unset: the method's",
    )
    add(
        "--rotate",
        action=_ToldTrue,
        default=False,
        help="evaluate it once more after the exact SVD rotation, under the name `… rotated`",
    )
    _training_options(command)
    add("--devices", type=int, default=1, help="processes to train with (DDP)")


def _data_options(command: argparse.ArgumentParser, name: str) -> None:
    """Which data, and how they are split."""
    add = command.add_argument
    add(
        "--dataset",
        required=name != "run",
        help="folder in the warehouse; without --source also the entry of the catalogue"
        + ("; unset: named after the source, or ml-100k" if name == "run" else ""),
    )
    add(
        "--source",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="files, folders or globs of the dump; unset: the catalogue's",
    )
    add(
        "--kcore",
        type=int,
        help="least pairs of every user and item; unset: the catalogue's, else 5 (authors': 0)",
    )
    add(
        "--split",
        choices=STRATEGIES,
        help="unset: the catalogue's, else random (predefined for authors' files)",
    )
    add("--split-files", metavar="DIR", help="train.txt and test.txt of --split predefined")
    add("--since", metavar="TIME", help="ISO time: with --split since, pairs from then on are test")
    add("--split-seed", type=int, default=0, help="seed of the split, not of the training")
    add("--min-rating", type=float, help="reviews rated below are no interactions; unset: all are")
    add(
        "--as-of",
        metavar="TIME",
        help="reviews after this ISO time are in the future; unset: the time of ingestion",
    )
    data_engine.add_option(command)
    reading.add_options(command)


def _training_options(command: argparse.ArgumentParser) -> None:
    """How a model is trained."""
    add = command.add_argument
    add(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="METHOD.NAME=VALUE",
        help="change one value of a method, as EASE.lam=500; may be repeated",
    )
    add("--epochs", type=int, default=300, help="most epochs of a training")
    add("--device", choices=DEVICES, default="auto", help="where to train")
    add("--engine", choices=ENGINES, default="auto", help="how training steps are taken")


def _tune(commands: Any) -> None:
    text = "settings of one method tried on valid, the same number for each method you compare"
    command = _command(commands, "tune", text)
    add = command.add_argument
    _data_options(command, "tune")
    add("--method", required=True, help="the method to tune; what --set fixes is not searched")
    add("--trials", type=int, default=20, help="settings in all, those of earlier calls counted")
    add("--levels", default=DEFAULT_LEVELS[0], metavar="SET", help="level set, if it takes one")
    add("--seed", type=int, default=0, help="training seed of every trial, and of the proposals")
    _training_options(command)


def _compare(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dataset", help="only this data set; unset: every one")
    command.add_argument("--markdown", action="store_true", help="as Markdown, with all widths")
    compare_options.add(command)


def _hierarchy(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "models",
        nargs="*",
        default=["MRL-M", "BPR-D"],
        metavar="MODEL",
        help="methods that were run, or stage keys of models",
    )
    add("--dataset", default="planted", help="data set they were run on")


def _export(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("model", help="a model folder, or its stage key (or the beginning of it)")
    add("--width", type=int, help="first so many dimensions; unset: all")
    add("--rotate", action="store_true", help="rotate first (exact SVD): better narrow prefixes")
    add("--format", choices=("npy", "parquet", "faiss"), default="npy", help="form of the files")
    add("--out", help="folder to write; unset: export/<key>-<width> in the warehouse")


def _simulate(commands: Any) -> None:
    text = "weekly dumps whose tastes shift, one of them poisoned, retrained week by week"
    command = _command(commands, "simulate", text)
    add = command.add_argument
    add("--dataset", default="planted", help="folder in the warehouse")
    add("--weeks", type=int, default=12, help="weeks after the history, which is the first dump")
    add("--poisoned-week", type=int, default=7, metavar="N", help="0: none is")
    add(
        "--poison",
        default="shuffled",
        metavar="KIND",
        help="shuffled: item ids permuted among the rows; flood: one item takes 40%% of them",
    )
    add("--seed", type=int, default=0, help="of the planted world")
    data_engine.add_option(command)


def _up(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "--prefect-port", type=int, default=4200, help="the next free one is taken where it is busy"
    )
    add("--mlflow-port", type=int, default=5000, help="the next free one is taken where it is busy")


def _bench(commands: Any) -> None:
    text = "seconds and memory beside other tools, at every target"
    command = _command(commands, "bench", text, warehouse=False)
    add = command.add_argument
    add(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="one measurement, printed and not written; may be repeated; unset: all of them",
    )
    add("--size", choices=("full", "small"), default="full", help="small: a smoke on planted data")
    add("--data", metavar="DIR", help="where planted data are kept; unset: ~/.cache/mrl4rec/bench")
    add("--out", metavar="FILE", help="page to write; unset: docs/performance.md where all ran")
