"""Secrets that must not be read by others: taken out of what is logged, printed, sent or kept."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from mrl4rec.core.errors import UsageError

if TYPE_CHECKING:
    from pydantic import SecretStr

HIDDEN = "***"
SHORTEST = 6
"""Characters from which on a secret is looked for by itself: a shorter one would hit words."""
_USER_INFO = re.compile(r"(?<=://)([^\s/?#@:]*):[^\s/?#]*(?=@)")
_TOKEN = re.compile(r"(?<=://)[^\s/?#@:]+(?=@)")
_PARAMETER = re.compile(
    r"(?i)(?<=[?&])([^\s=&#]*(?:amz-|goog-|sig|token|key|secret|passw|pwd|auth|cred|policy|expires)"
    r"[^\s=&#]*)=[^\s&#'\"]*(?<![:;,.)])"
)
"""What a presigned address holds, and what else its name calls a secret."""
_whole: dict[str, str] = {}
"""Addresses as they were given, by what is shown of them."""


class WithSecrets(Protocol):
    """What of the settings may hold a secret."""

    @property
    def alert_webhook(self) -> SecretStr | None:
        """An address whose path is its key."""

    @property
    def tracking_uri(self) -> str | None:
        """An address that may hold a password."""


def masked(address: str) -> str:
    """The address, without the password in it and the secrets in its query."""
    return _PARAMETER.sub(rf"\1={HIDDEN}", _USER_INFO.sub(rf"\1:{HIDDEN}", address))


def put_away(addresses: Sequence[str]) -> tuple[str, ...]:
    """The addresses without their secrets, which stay in the memory of this process alone: for
    ``given``. What is no address of http is as it was.

    Raises UsageError where two differ in their secrets alone.
    """
    found: dict[str, str] = {}
    shown = []
    for address in addresses:
        is_web = address.lower().startswith(("http://", "https://"))
        shown.append(_TOKEN.sub(HIDDEN, masked(address)) if is_web else address)
        if found.setdefault(shown[-1], address) != address:
            raise UsageError(
                "two addresses differ in nothing but their secrets",
                where=shown[-1],
                todo="download one of them and name the file",
            )
    _whole.update((known, whole) for known, whole in found.items() if known != whole)
    return tuple(shown)


def given(shown: str) -> str:
    """The address that ``put_away`` was given. Raises UsageError where it was another process."""
    whole = _whole.get(shown, shown)
    if HIDDEN in whole:
        raise UsageError(
            "the secrets of this address are kept nowhere",
            where=shown,
            todo="give it whole again; for a deployment or another machine, name an s3:// address "
            "whose keys are in the environment",
        )
    return whole


def scrub(text: str, settings: WithSecrets | None = None) -> str:
    """The text without the passwords of the addresses in it, and without the secrets of the
    settings: those of the environment, and of ``settings`` where they were set otherwise.
    """
    found = {secret for secret in _secrets(settings) if len(secret) >= SHORTEST}
    for secret in sorted(found, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for shown, whole in _whole.items():
        text = text.replace(whole, shown)
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
