"""Alerts: a log line always, and a JSON POST to the settings' webhook, if there is one.

::

    {"event": "gate_failed", "subject": "phones", "facts": {…}, "time": "2026-01-31T03:00:12+00:00"}

The post is sent by a thread of its own and tried again with growing pauses, so that neither a slow
nor a dead server holds up the run or fails it. The address may hold a token: it is in no message.
"""

from __future__ import annotations

import atexit
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any, Literal
from urllib.parse import urlsplit

from mrl4rec.masking import scrub
from mrl4rec.settings import Settings

log = logging.getLogger("mrl4rec.alerts")

Event = Literal["gate_failed", "promotion_refused", "run_died", "drift_warning"]

PAUSES = (1.0, 5.0, 25.0)
"""Seconds before each further try."""
POST_SECONDS = 5.0
"""How long the server may take to accept a connection, and to answer."""
MOST_WAITING = 100
"""Alerts that wait; one more is dropped, and its log line says so."""
MOST_TEXT = 4_000
"""Characters of facts that are sent; the log line holds the first 300."""
EXIT_SECONDS = 5.0
"""How long the end of the process waits for alerts that are on their way."""
WORTH_A_RETRY = (408, 425, 429)


def send(
    settings: Settings, event: Event, subject: str, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Log an alert and, where ``settings.alert_webhook`` is set, post it in the background.

    ``subject`` is what it is about: a data set, or a run. ``facts`` are JSON values, or what can
    be spelled by ``str``. Returns at once, with the facts as they were told, and raises nothing.
    """
    told: dict[str, Any] = {}
    try:
        told = _facts(facts, settings)
        log.warning("alert %s: %s: %s", event, subject, _short(told))
        _post(settings, event, {"subject": subject, "facts": told})
    except Exception as error:  # an alert is a courtesy: what it tells of matters more
        log.warning("alert %s could not be made: %s", event, type(error).__name__)
    return told


def _post(settings: Settings, event: Event, body: dict[str, Any]) -> None:
    if settings.alert_webhook is None:
        return
    address = settings.alert_webhook.get_secret_value()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    content = json.dumps({"event": event, **body, "time": now}).encode()
    if urlsplit(address).scheme not in ("http", "https"):
        log.warning("alert %s was not sent: MRL4REC_ALERT_WEBHOOK is no http address", event)
    elif not _sender.put(_Post(address, content, event)):
        log.warning("alert %s was not sent: %d others wait already", event, MOST_WAITING)


def flush(seconds: float) -> bool:
    """Wait until every alert is delivered or given up, at most so long; whether that is so."""
    return _sender.flush(seconds)


def _facts(facts: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Facts as JSON has them: no NaN, nothing secret, nothing endless."""
    plain = json.loads(json.dumps(dict(facts), default=str), parse_constant=str)
    told: dict[str, Any] = _scrubbed(plain, settings)
    text = json.dumps(told, ensure_ascii=False)
    return told if len(text) <= MOST_TEXT else {"facts": text[:MOST_TEXT] + "…"}


def _scrubbed(value: Any, settings: Settings) -> Any:
    if isinstance(value, dict):
        return {scrub(k, settings): _scrubbed(v, settings) for k, v in value.items()}
    if isinstance(value, list):
        return [_scrubbed(v, settings) for v in value]
    return scrub(value, settings) if isinstance(value, str) else value


def _short(facts: Mapping[str, Any]) -> str:
    text = ", ".join(f"{name}={value}" for name, value in facts.items()).replace("\n", " ")
    return text if len(text) <= 300 else text[:300] + "…"


class _Post:
    """One body on its way."""

    def __init__(self, address: str, body: bytes, event: str) -> None:
        self._address, self._body, self.event = address, body, event

    def send(self) -> str | None:
        """None where the server took it, else why not, without the address."""
        headers = {"Content-Type": "application/json", "User-Agent": "mrl4rec"}
        try:
            request = urllib.request.Request(self._address, self._body, headers)
            opener = urllib.request.build_opener(_NoRedirects)
            with opener.open(request, timeout=POST_SECONDS):
                return None
        except urllib.error.HTTPError as error:
            error.close()
            return f"HTTP {error.code}"
        except (OSError, HTTPException, ValueError) as error:
            # The words of some of these errors hold the address; their kind does not.
            return type(getattr(error, "reason", error)).__name__


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """The token in the address is for this server alone."""


class _Sender:
    """Posts in the order they came, by a daemon thread that starts with the first."""

    def __init__(self) -> None:
        self._waiting: deque[_Post] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False

    def put(self, post: _Post) -> bool:
        """Take a post to be sent; False where too many wait."""
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                return False
            self._waiting.append(post)
            if self._thread is None:
                atexit.register(self.flush, EXIT_SECONDS)
            if self._thread is None or not self._thread.is_alive():  # a forked child has none
                self._busy = False
                self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return True

    def flush(self, seconds: float) -> bool:
        """Wait until nothing is on its way, at most so long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                post = self._waiting.popleft()
                self._busy = True
            try:
                _deliver(post, PAUSES)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()


def _deliver(post: _Post, pauses: Sequence[float]) -> None:
    for pause in (*pauses, None):
        why = post.send()
        if why is None:
            return
        if pause is None or _is_final(why):
            break
        time.sleep(pause)
    log.warning("alert %s was not delivered: %s", post.event, why)


def _is_final(why: str) -> bool:
    """Whether the server answered, and will not answer otherwise: most of the codes below 500."""
    code = int(why.removeprefix("HTTP ")) if why.startswith("HTTP ") else 500
    return code < 500 and code not in WORTH_A_RETRY


_sender = _Sender()
