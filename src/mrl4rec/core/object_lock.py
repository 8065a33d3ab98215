"""A lock that reaches other machines: an object that its holder creates and keeps writing.

It is created where there is none, and written again where nobody else wrote (HTTP
``If-None-Match`` and ``If-Match``). A waiter that sees it unchanged for ``STALE`` seconds of its
own clock takes it over under the same condition; clocks are never compared. A holder that was
stopped for so long has lost it, says so and goes on: tables stay right, as each commit is made
against exactly the version that was read.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime

from upath import UPath

from mrl4rec.core import object_store
from mrl4rec.core.object_store import Found

BEAT = 10.0
"""Seconds between two writings."""
STALE = 60.0
log = logging.getLogger("mrl4rec.core.locks")


class ObjectLock:
    """The lock of one holder: ``attempt`` until it is taken, then ``release``."""

    def __init__(self, place: UPath) -> None:
        self.place, self._number = place, 0
        self._who = {
            "holder": f"process {os.getpid()} on {socket.gethostname()}",
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "nonce": uuid.uuid4().hex,
        }
        self._tag: str | None = None
        self._seen: tuple[str, float] | None = None
        self._ended = threading.Event()
        self._beats: threading.Thread | None = None

    def attempt(self) -> str | None:
        """Take it where it is free, or its holder silent; else who holds it."""
        self._tag = object_store.put(self.place, self._next(), None)
        if self._tag is None:
            found = object_store.read(self.place)
            if found is None:  # released between the two
                return "another process"
            if not self._is_silent(found):
                return holder(found)
            self._tag = object_store.put(self.place, self._next(), found.tag)
            if self._tag is None:
                return holder(found)
            log.warning("%s is silent: its lock on %s is taken", holder(found), self.place.name)
        self._beats = threading.Thread(target=self._beat, daemon=True)
        self._beats.start()
        return None

    def release(self) -> None:
        """Let the next one in. An object that cannot be removed is taken over after ``STALE``."""
        self._ended.set()
        if self._beats is not None:
            self._beats.join()
        with suppress(OSError):
            found = object_store.read(self.place)
            if found is not None and found.tag == self._tag:
                self.place.unlink()

    def _is_silent(self, found: Found) -> bool:
        now = time.monotonic()
        if self._seen is None or self._seen[0] != found.tag:
            self._seen = (found.tag, now)
        return now - self._seen[1] > STALE

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            try:
                tag = object_store.put(self.place, self._next(), self._tag)
            except OSError:  # the store is away: the next beat asks again
                continue
            if tag is None:
                log.warning("the lock %s was taken over by another machine", self.place.name)
                return
            self._tag = tag

    def _next(self) -> bytes:
        self._number += 1
        return json.dumps({**self._who, "number": self._number}).encode()


def holder(found: Found) -> str:
    """Who wrote a lock's object."""
    try:
        body = json.loads(found.content)
        return f"{body['holder']}, since {body['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
