"""The command line: one file a command, with its options and its handler."""

from flows.cli.main import main

__all__ = ["main"]
