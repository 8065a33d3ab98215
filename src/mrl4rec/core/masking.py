"""Secrets that must not be read by others: taken out of what is logged, printed or sent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pydantic import SecretStr

HIDDEN = "***"
SHORTEST = 6
"""Characters from which on a secret is looked for by itself: a shorter one would hit words."""
_USER_INFO = re.compile(r"(?<=://)([^\s/?#@:]*):[^\s/?#@]*(?=@)")


class WithSecrets(Protocol):
    """What of the settings may hold a secret."""

    @property
    def alert_webhook(self) -> SecretStr | None:
        """An address whose path is its key."""

    @property
    def tracking_uri(self) -> str | None:
        """An address that may hold a password."""


def masked(address: str) -> str:
    """The address, without the password in it."""
    return _USER_INFO.sub(rf"\1:{HIDDEN}", address)


def scrub(text: str, settings: WithSecrets | None = None) -> str:
    """The text without the passwords of the addresses in it, and without the secrets of the
    settings: those of the environment, and of ``settings`` where they were set otherwise.
    """
    found = {secret for secret in _secrets(settings) if len(secret) >= SHORTEST}
    for secret in sorted(found, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return masked(text)


def _secrets(settings: WithSecrets | None) -> Iterator[str]:
    """Passwords and tokens, and the webhook as a whole: its path is its key."""
    webhooks, servers = [os.environ.get("MRL4REC_ALERT_WEBHOOK", "")], []
    for name in ("MRL4REC_TRACKING_URI", "MLFLOW_TRACKING_URI"):
        servers.append(os.environ.get(name, ""))
    if settings is not None:
        webhooks.append(settings.alert_webhook.get_secret_value() if settings.alert_webhook else "")
        servers.append(settings.tracking_uri or "")
    for address in webhooks:
        yield from (address, *_parts(address))
    for address in servers:
        yield _parts(address)[1]
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY",
                 "AWS_SESSION_TOKEN"):  # fmt: skip
        yield os.environ.get(name, "")


def _parts(address: str) -> tuple[str, str]:
    """Path with query, and password, of an address; empty where it is none."""
    try:
        parts = urlsplit(address)
        place = parts.path + (f"?{parts.query}" if parts.query else "")
        return place, unquote(parts.password or "")
    except ValueError:  # brackets that do not close
        return "", ""
