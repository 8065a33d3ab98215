"""How a command fails: what, where and what to do, in three lines, once; and its exit code."""

from __future__ import annotations

import errno
import json
import os
import select
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from upath import UPath

from flows.cli.commands import COMMANDS
from mrl4rec.core import store_errors
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.masking import scrub
from mrl4rec.core.storage import Storage, opened

CLOSED_PIPE = 141
"""Exit code where nobody reads the output any more: that of a process ended by SIGPIPE."""
STOPPED = 130
"""Exit code after Ctrl-C."""

ROOM = "make room and run the same command again; what is finished is kept"
RIGHTS = "change its permissions, or name another place (--warehouse DIR, --out PATH)"
SYSTEM = {
    errno.ENOSPC: ("the disk is full", ROOM),
    errno.EDQUOT: ("the disk quota is used up", ROOM),
    errno.EROFS: ("the file system is read-only", "name another place: --warehouse DIR, --out"),
    errno.EACCES: ("permission denied", RIGHTS),
    errno.EPERM: ("operation not permitted", RIGHTS),
    errno.ENOTDIR: ("a file is in the place of a folder", "move it, or name another place"),
    errno.EISDIR: ("a folder is in the place of a file", "move it, or name another place"),
    errno.ENAMETOOLONG: ("the name is too long for the file system", "name a shorter one"),
}
"""What the system refuses, and what to do. delta-rs, DuckDB and Spark say it in the same words."""


@dataclass(frozen=True)
class Call:
    """What was typed, as far as messages need it."""

    words: Sequence[str]

    @property
    def name(self) -> str:
        """``mrl4rec run``; without a known command ``mrl4rec``."""
        known = self.words and self.words[0] in COMMANDS
        return f"mrl4rec {self.words[0]}" if known else "mrl4rec"

    def failed(self, error: Exception) -> int:
        """Print an error; its exit code. ``--debug`` prints the traceback before it."""
        debug = "--debug" in self.words
        if debug:
            _to_stderr(_traceback(error))
        told = error if isinstance(error, Mrl4recError) else explained(error, debug=debug)
        return self.say(self._complete(told), told.exit_code)

    def say(self, message: str, code: int) -> int:
        """Print a message, with ``--json`` on stdout too; the code."""
        message = scrub(message)
        if "--json" in self.words:
            try:
                print(json.dumps({"error": message}), flush=True)
            except BrokenPipeError:
                close_output()
        _to_stderr(f"{self.name}: {message}")
        return code

    def _complete(self, error: Mrl4recError) -> str:
        """The error's lines; wrong usage without a place was typed here."""
        if not isinstance(error, UsageError):
            return str(error)
        typed = shlex.join(["mrl4rec", *self.words])
        where = error.where or (typed if len(typed) <= 200 else typed[:200] + "…")
        return str(UsageError(error.what, where=where, todo=error.todo or f"see `{self.name} -h`"))


def explained(error: Exception, *, debug: bool = False) -> Mrl4recError:
    """An error that nobody foresaw, as what, where and what to do.

    Its traceback is written to a file, unless it is printed (``debug``) or the system's refusal
    says enough.
    """
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):
        where = f"TMPDIR={os.environ.get('TMPDIR', '')}, /tmp, /var/tmp, the working directory"
        return Mrl4recError("no folder of temporary files can be written", where=where,
                            todo="set TMPDIR to a folder that can")  # fmt: skip
    warehouse = _warehouse().root.absolute()
    if isinstance(warehouse, UPath):
        of_store = store_errors.explained(error, str(warehouse))
        if of_store is not None:
            return of_store
    number = _refusal(error)
    if number is not None:
        what, todo = SYSTEM[number]
        place = getattr(error, "filename", None) or warehouse
        return Mrl4recError(what, where=str(place), todo=todo)
    first = str(error).strip().partition("\n")[0][:300]
    what = f"unexpected {type(error).__name__}: {first}".rstrip(": ")
    if debug:
        return Mrl4recError(what, todo="report it, with the traceback above")
    log = _keep(_traceback(error))
    return Mrl4recError(
        what,
        where=f"the traceback is in {log}" if log else "no place for a log of the traceback",
        todo="report it with this file, or see the traceback here: the same command and --debug",
    )


def output_is_closed() -> bool:
    """Whether nobody reads stdout any more, as after ``| head``."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # stdout is none of the system's
        return False


def close_output() -> int:
    """Write nothing more to stdout, at exit neither; the exit code of a closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return CLOSED_PIPE


def _refusal(error: Exception) -> int | None:
    """The number of what the system refuses, by the error's own or its words."""
    number = error.errno if isinstance(error, OSError) else None
    if number is not None:
        return number if number in SYSTEM else None
    said = str(error)
    ours = (
        isinstance(error, OSError) or "os error" in said or "IO Error" in said
    )  # Rust's, DuckDB's
    numbers = SYSTEM if ours else (errno.ENOSPC,)  # a server may deny a permission too
    return next((n for n in numbers if os.strerror(n) in said), None)


def _traceback(error: Exception) -> str:
    return scrub("".join(traceback.format_exception(error)))


def _keep(text: str) -> Path | None:
    """Write a traceback into the warehouse's logs, else where temporary files lie; the file."""
    name = f"error-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    warehouse = _warehouse()
    for folder in (warehouse.logs_dir if warehouse.here.is_dir() else None, _temporary()):
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text, encoding="utf-8", errors="replace")
                return folder / name
            except OSError:
                continue
    return None


def _warehouse() -> Storage:
    return Storage(opened(os.environ.get("MRL4REC_WAREHOUSE") or "warehouse"))


def _temporary() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except OSError:  # TMPDIR, /tmp and the working directory cannot be written
        return None


def _to_stderr(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # nobody reads it: the exit code says it
        return
