"""What people read while a command works: progress on stderr, results on stdout."""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrl4rec.core import lazy
from mrl4rec.core.masking import scrub

with lazy.imports():
    import rich.console
    import rich.table

if TYPE_CHECKING:
    from mrl4rec.core.settings import Settings

log = logging.getLogger("mrl4rec")


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Time and message; the level only where it is more than information."""
        text = f"{self.formatTime(record, '%H:%M:%S')}  {scrub(record.getMessage())}"
        if record.levelno > logging.INFO:
            text = text.replace("  ", f"  {record.levelname.lower()}: ", 1)
        return text


class _ToStderr(logging.Handler):
    """Writes to what stderr is at the time: whoever runs us may have put another in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; one that cannot be written is dropped.

        Python's own handler would tell of it with the line's arguments as they are, unmasked.
        """
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except (OSError, ValueError):
            return


def start_logging() -> None:
    """Send the project's own log lines to stderr, once."""
    if not any(isinstance(handler, _ToStderr) for handler in log.handlers):
        handler = _ToStderr()
        handler.setFormatter(_Line())
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print one table to stdout; numbers to the right."""
    grid = rich.table.Table(title=title, title_justify="left", header_style="bold")
    for number, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
        grid.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(_text(value) for value in row))
    width = None if sys.stdout.isatty() else 140
    # Cells are data: shown as they are.
    rich.console.Console(width=width, markup=False, emoji=False).print(grid)


def command(settings: Settings, *words: str) -> str:
    """A command to paste: quoted where a shell needs it, with the warehouse where it is another."""
    usual = settings.warehouse == Path("warehouse")
    place = [] if usual else ["--warehouse", str(settings.warehouse)]
    return shlex.join(["mrl4rec", *words, *place])


def shown(text: str, most: int = 200) -> str:
    """The beginning of a text on one line, what cannot be printed escaped."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:most])
    return line + ("…" if len(text) > most else "")


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else str(value)
