"""Alerts: a log line always, and a JSON POST to the settings' webhook, if there is one.

::

    {"event": "gate_failed", "subject": "phones", "facts": {…}, "time": "2026-01-31T03:00:12+00:00"}

The post is sent by a thread of its own and tried again with growing pauses, so that neither a slow
nor a dead server holds up the run or fails it. The address may hold a token: it is in no message.
"""

from __future__ import annotations

import atexit
import functools
import json
import logging
import os
import queue
import textwrap
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from mrl4rec.core import lazy
from mrl4rec.core.masking import scrub
from mrl4rec.core.settings import Settings

with lazy.imports():
    import requests
    import requests.adapters

log = logging.getLogger("mrl4rec.core.alerts")

Event = Literal["gate_failed", "promotion_refused", "run_died", "drift_warning"]

RETRIES = 3
BACKOFF = 5.0
"""Seconds: the retries come after 0, twice and four times as many."""
POST_SECONDS = 5.0
"""How long the server may take to accept a connection, and to answer."""
MOST_WAITING = 100
"""Alerts that wait; one more is dropped, and its log line says so."""
MOST_TEXT = 4_000
"""Characters of facts that are sent; the log line holds the first 300."""
EXIT_SECONDS = 5.0
"""How long the end of the process waits for alerts that are on their way."""
WORTH_A_RETRY = (408, 425, 429, *range(500, 600))

_waiting: queue.Queue[tuple[str, bytes, Event]] = queue.Queue()
"""Address, body and event of each post."""


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
    if _waiting.qsize() >= MOST_WAITING:
        log.warning("alert %s was not sent: %d others wait already", event, MOST_WAITING)
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    content = json.dumps({"event": event, **body, "time": now}).encode()
    _waiting.put((settings.alert_webhook.get_secret_value(), content, event))
    _start(os.getpid())


def flush(seconds: float) -> bool:
    """Wait until every alert is delivered or given up, at most so long; whether that is so."""
    with _waiting.all_tasks_done:
        return _waiting.all_tasks_done.wait_for(lambda: not _waiting.unfinished_tasks, seconds)


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
    text = ", ".join(f"{name}={value}" for name, value in facts.items())
    return textwrap.shorten(text, 300, placeholder="…")


@functools.cache
def _start(_process: int) -> None:
    """Start the thread that posts, once a process: a fork comes without."""
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):  # they log the address
        logging.getLogger(name).addFilter(lambda record: record.threadName != "alerts")
    threading.Thread(target=_run, name="alerts", daemon=True).start()
    atexit.register(flush, EXIT_SECONDS)


def _run() -> None:
    while True:
        address, body, event = _waiting.get()
        try:
            why = _deliver(address, body)
        except Exception as error:  # its words hold the address, its type does not
            why = type(getattr(next(iter(error.args), None), "reason", error)).__name__
        if why:
            log.warning("alert %s was not delivered (MRL4REC_ALERT_WEBHOOK): %s", event, why)
        _waiting.task_done()


def _deliver(address: str, body: bytes) -> str | None:
    """None where the server took it, else its answer. Raises what requests raises."""
    retry = requests.adapters.Retry(
        RETRIES,
        allowed_methods=None,
        status_forcelist=WORTH_A_RETRY,
        backoff_factor=BACKOFF,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    headers = {"Content-Type": "application/json", "User-Agent": "mrl4rec"}
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retry))
        reply = session.post(  # the token in the address is for this server alone
            address, body, headers=headers, timeout=POST_SECONDS, allow_redirects=False
        )
    return None if 200 <= reply.status_code < 300 else f"HTTP {reply.status_code}"
