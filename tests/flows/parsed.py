"""Command lines as they are parsed, and what they come to."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from flows.cli import parser
from flows.cli.commands import module
from flows.config.run import RunConfig, with_dataset


def parsed(*words: str) -> Namespace:
    """The arguments of a command line, which begins with the command."""
    return parser.build_parser(words).parse_args(words)


def answer(*words: str) -> Any:
    """What a command returns."""
    arguments = parsed(*words)
    return module(arguments.command).run(arguments)


def run_config(*words: str) -> RunConfig:
    """The configuration of ``mrl4rec run`` and of the commands of one stage."""
    return RunConfig(**with_dataset(parser.given(parsed(*words), RunConfig)))
