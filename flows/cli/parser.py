"""The parser of the command line; options of a configuration come from its typed fields."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from flows.cli.commands import COMMANDS, RENAMED, module
from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError, nearest

with lazy.imports():
    import mrl4rec
    from flows.config import base as config

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from flows.config.base import Config

EPILOG = "Exit codes: 0 done, 1 failed with a reason, 2 wrong usage, 3 stopped by a gate."


class Parser(argparse.ArgumentParser):
    """Wrong usage raises UsageError, which names the nearest option or value."""

    called: Parser | None = None
    """The parser of the command that is called."""

    def error(self, message: str) -> NoReturn:
        """What argparse itself finds wrong."""
        what = message.removeprefix("argument ")
        todo = self._see
        if "expected one argument" in what:  # it looks like an option of its own
            todo = f"{what.partition(':')[0]}=VALUE, also where the value begins with '-'"
        raise UsageError(what, todo=todo)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The arguments. Raises UsageError for a word that belongs to no option."""
        known, extra = self.parse_known_args(args, namespace)
        if not extra:
            return known
        parser, word = self.called or self, extra[0].partition("=")[0]
        if not word.startswith("-"):
            raise UsageError(f"{word!r} belongs to no option", todo=parser._see)
        options = [option for option in parser._option_string_actions if option.startswith("--")]
        todo = nearest(word, options, otherwise=parser._see)
        raise UsageError(f"there is no option {word}", todo=todo)

    @property
    def _see(self) -> str:
        return f"see `{self.prog} --help`"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            name = "/".join(action.option_strings) or action.metavar or action.dest
            todo = nearest(str(value), map(str, action.choices))
            raise UsageError(f"{name} {value!r} is unknown", todo=todo)


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
    called = argv[0] if argv else None
    if called in RENAMED:
        raise UsageError(f"there is no command {called!r} any more", todo=RENAMED[called])
    if len(argv) > 1 and argv[0].startswith("--"):
        raise UsageError("options stand after the command", todo="mrl4rec COMMAND [OPTION …]")
    for name, (_, text) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=EPILOG,
            formatter_class=_Help,
        )
        if name == called:
            parser.called = command
            _add_common(command)
            module(name).add_options(command)
    return parser


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--warehouse",
        help="folder of all tables, models and reports, or s3://bucket/prefix; unset: ./warehouse",
    )
    command.add_argument("--json", action="store_true", help="one JSON document on stdout")
    command.add_argument(
        "--debug", action="store_true", help="print the traceback where the command fails"
    )


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
