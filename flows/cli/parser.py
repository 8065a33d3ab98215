"""The parser of the command line; options of a configuration come from its typed fields."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from flows.cli.commands import COMMANDS, RENAMED, module
from mrl4rec.core import lazy

with lazy.imports():
    import mrl4rec
    from flows.config import base as config

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from flows.config.base import Config

EPILOG = "Exit codes: 0 done, 1 failed with a reason, 2 wrong usage, 3 stopped by a gate."


class Parser(argparse.ArgumentParser):
    """Wrong usage exits with code 2, and as JSON on stdout where ``--json`` is given."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and how to see the options, then exit 2."""
        if "--json" in sys.argv:
            print(json.dumps({"error": message}))
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\n  what to do: see `{self.prog} --help`\n")


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        # The help text itself says what no value means.
        unset: tuple[Any, ...] = (None, False, [], argparse.SUPPRESS)
        return action.help if action.default in unset else super()._get_help_string(action)


def build_parser(argv: Sequence[str]) -> Parser:
    """The parser of all commands; only that of the command in ``argv`` has its options."""
    parser = Parser(
        prog="mrl4rec",
        description="From a review dump to compared, servable nested recommenders (MRL4Rec).",
        epilog=EPILOG,
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"mrl4rec {mrl4rec.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    called = next((word for word in argv if not word.startswith("-")), None)
    if called in RENAMED:
        parser.error(f"{called!r} is now: {RENAMED[called]}")
    for name, (_, text) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=EPILOG,
            formatter_class=_Help,
        )
        if name == called:
            _add_common(command)
            module(name).add_options(command)
    return parser


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--warehouse", help="folder of all tables, models and reports; unset: ./warehouse"
    )
    command.add_argument("--json", action="store_true", help="one JSON document on stdout")


def add_fields(
    command: argparse.ArgumentParser,
    kind: type[Config],
    only: Iterable[str] | None = None,
    required: Sequence[str] = (),
    notes: dict[str, str] | None = None,
) -> None:
    """Add an option for each field of a configuration.

    An option that is not given is absent from the parsed arguments, so that presets and
    ``--config`` files can say otherwise. ``notes`` are help texts that replace a field's own.
    """
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name in kind.model_fields if only is None else only:
        field = kind.model_fields[name]
        _add_field(command, groups, name, field, name in required, (notes or {}).get(name))


def _add_field(
    command: argparse.ArgumentParser,
    groups: dict[str, argparse._ArgumentGroup],
    name: str,
    field: FieldInfo,
    required: bool,
    note: str | None,
) -> None:
    how = config.cli(field)
    place: Any = command
    if how.group is not None:
        if how.group not in groups:
            groups[how.group] = command.add_argument_group(
                how.group, "Unset: seen from their content; `mrl4rec inspect FILE` shows it."
            )
        place = groups[how.group]
    options: dict[str, Any] = {
        "dest": name,
        "default": argparse.SUPPRESS,
        "help": _help(field, note),
    }
    flag = config.option(name, field)
    if field.annotation is bool:
        if field.default is True:
            flag = "--no-" + flag[2:]
        options["action"] = "store_false" if field.default is True else "store_true"
    else:
        # The configuration checks choices: it names the nearest, and takes an empty text as unset.
        choices = config.choices(field.annotation)
        shown = "{" + ",".join(choices) + "}" if choices else how.metavar
        options |= {"metavar": shown, "required": required}
        if how.flag is not None:
            options["action"] = "append"
        elif how.repeat:
            options |= {"nargs": "+", "action": "extend"}
    place.add_argument(flag, **options)


def _help(field: FieldInfo, note: str | None) -> str:
    text = (note or field.description or "").replace("%", "%%")
    default = field.default
    if field.annotation is bool:
        return f"do not {text}" if default is True else text
    if field.is_required() or default in (None, ()):
        return text
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{text} (default: {shown})"


def given(arguments: argparse.Namespace, kind: type[Config]) -> dict[str, Any]:
    """The values of a configuration that are given: in its ``--config`` file, then as options."""
    file = getattr(arguments, "config", None)
    values = config.read_file(file, kind) if file else {}
    return values | {n: getattr(arguments, n) for n in kind.model_fields if hasattr(arguments, n)}


def add_config(command: argparse.ArgumentParser) -> None:
    """Add ``--config FILE``."""
    command.add_argument(
        "--config", metavar="FILE", help="YAML file of these options; options given here win"
    )
