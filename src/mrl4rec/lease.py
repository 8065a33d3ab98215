"""One at a time: a lease on a stage of a data set, so that a second run waits instead of racing.

A lease is a file, created exclusively, that says who holds it; a thread touches it as long as its
holder lives. One that is no longer touched, or whose holder is dead on this host, may be taken
over. Looking and taking are one step under a file lock that dies with its process, so of two takers
one wins. Whoever slept and lost its lease is told so by ``confirm``, which stages call right before
each of their commits.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from mrl4rec.errors import Mrl4recError

BEATS = 6
"""Heartbeats in the time after which a lease is stale."""
TELL_EVERY = 30.0
"""Seconds between two lines that say what is waited for."""

log = logging.getLogger("mrl4rec.lease")


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, as its file says."""

    pid: int
    host: str
    started: str
    """UTC, when the lease was taken."""
    born: float
    """When the process began, seconds since 1970: its number may be given to another later."""
    token: str

    @classmethod
    def here(cls) -> Holder:
        """This process, with a token of its own."""
        return cls(
            pid=os.getpid(),
            host=socket.gethostname(),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            born=psutil.Process().create_time(),
            token=uuid.uuid4().hex,
        )

    def is_dead(self) -> bool:
        """True where it is known to be gone: only a process on this host can be asked."""
        if self.host != socket.gethostname():
            return False
        try:
            process = psutil.Process(self.pid)
            gone = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
            return gone or abs(process.create_time() - self.born) > 1
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.started}"


class Lost(Mrl4recError):
    """A lease was taken over while its holder slept: another goes on with the work."""


class Lease:
    """``with Lease(path, stale_seconds): …`` runs the block while nobody else holds ``path``.

    The same thread may enter again what it holds already. ``timeout`` is how many seconds to wait;
    None: for ever. Raises Mrl4recError when the time is over, saying who holds it.
    """

    _held: dict[tuple[Path, int, int], Lease] = {}  # noqa: RUF012  # of this process, by thread
    _changing = threading.Lock()

    def __init__(self, path: Path, stale_seconds: float, timeout: float | None = None) -> None:
        self.path = Path(path).absolute()
        self.stale_seconds, self.timeout = stale_seconds, timeout
        self._me: Holder | None = None
        self._depth = 0
        self._done = threading.Event()
        self._beat: threading.Thread | None = None

    @property
    def held(self) -> bool:
        """Whether the file still names this lease: a process that slept may have lost it."""
        holder = _read(self.path)
        return self._me is not None and holder is not None and holder.token == self._me.token

    def __enter__(self) -> Self:
        outer = self._held.get(self._place)
        if outer is not None:
            outer._depth += 1
            return self
        self._wait()
        with self._changing:
            self._held[self._place] = self
        self._depth = 1
        self._done.clear()
        self._beat = threading.Thread(
            target=self._keep, name=f"lease {self.path.name}", daemon=True
        )
        self._beat.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        holding = self._held[self._place]
        holding._depth -= 1
        if holding._depth == 0:
            with self._changing:
                del self._held[self._place]
            holding._release()

    @property
    def _place(self) -> tuple[Path, int, int]:
        return self.path, os.getpid(), threading.get_ident()

    def _wait(self) -> None:
        began, told = time.monotonic(), -TELL_EVERY
        pause = min(0.3, self.stale_seconds / 20)
        while (other := self._take()) is not None:
            waited = time.monotonic() - began
            if self.timeout is not None and waited >= self.timeout:
                raise Mrl4recError(
                    f"{self.path.stem} is held by {other}; waited {waited:.0f} s for it",
                    where=str(self.path),
                    todo="wait for the other run to end, or end it, then run this again",
                )
            if waited - told >= TELL_EVERY:
                log.warning("waiting for %s, held by %s", self.path.stem, other)
                told = waited
            time.sleep(pause)

    def _take(self) -> str | None:
        """Take the lease and give None, or give who holds it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.path.parent):
            me = Holder.here()
            if self._create(me):
                self._me = me
                return None
            other = _read(self.path)
            age = _age(self.path)
            if age is None:
                return "nobody"  # let go just now: try again
            dead = other is not None and other.is_dead()
            if not dead and age <= self.stale_seconds:
                return str(other) if other else "a process that is just taking it"
            log.warning(
                "taking over %s from %s: %s", self.path.stem, other or "an unknown process",
                "it is dead" if dead else f"no heartbeat for {age:.0f} s",
            )  # fmt: skip
            _replace(self.path, me)
            self._me = me
            return None

    def _create(self, me: Holder) -> bool:
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(me), file)
        return True

    def _keep(self) -> None:
        while not self._done.wait(self.stale_seconds / BEATS):
            if not self.held:
                log.warning("%s was taken over by %s", self.path.stem, _read(self.path))
                return
            with suppress(FileNotFoundError):
                os.utime(self.path)

    def _release(self) -> None:
        self._done.set()
        if self._beat is not None:
            self._beat.join(timeout=self.stale_seconds)
        with _locked(self.path.parent):
            if self.held:
                self.path.unlink(missing_ok=True)
        self._me = None


def confirm() -> None:
    """Raise Lost where another has taken over a lease that this process holds, in any thread.

    Called right before a commit, so that a process that was stopped for longer than its lease lasts
    commits nothing when it wakes.
    """
    with Lease._changing:  # nobody lets go of one while it is looked at
        lost = [path for (path, pid, _), lease in Lease._held.items()
                if pid == os.getpid() and not lease.held]  # fmt: skip
    for path in lost:
        raise Lost(
            f"{path.stem} was taken over by {_read(path) or 'another process'}: this one was "
            "silent for too long, and commits nothing",
            where=str(path),
            todo="nothing: the other goes on; run the same command again for its result",
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's file lock, which the system lets go when the process dies."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> Holder | None:
    """The holder a lease file names; None where there is no file or it is being written."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _age(path: Path) -> float | None:
    """Seconds since the last heartbeat; None where there is no file."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None


def _replace(path: Path, holder: Holder) -> None:
    partial = path.with_suffix(f".{holder.token}.tmp")
    partial.write_text(json.dumps(asdict(holder)), encoding="utf-8")
    partial.replace(path)
