"""Where the pages of a warehouse are, while ``mrl4rec up`` serves it: links for Prefect's pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from mrl4rec.core.files import AnyPath, relative, write_whole
from mrl4rec.core.processes import is_running, this_process
from mrl4rec.core.settings import Settings


@dataclass(frozen=True)
class Addresses:
    """Servers of a warehouse; None for one that does not run."""

    warehouse: AnyPath
    pages: str | None = None
    """Report and Data Docs (``flows.server.pages``)."""
    mlflow: str | None = None

    def page(self, file: AnyPath) -> str | None:
        """The address of a page that lies in the warehouse."""
        if self.pages is None:
            return None
        return f"{self.pages}/{quote(relative(file.absolute(), self.warehouse.absolute()))}"

    def link(self, name: str, file: AnyPath) -> str:
        """Markdown that leads to a page: a link where it is served, else its path."""
        address = self.page(file)
        return f"[{name}]({address})" if address else f"{name}: `{file.absolute()}`"


def addresses(settings: Settings) -> Addresses:
    """The servers that can be reached now: those of ``mrl4rec up``, and MLflow where one is set."""
    up = _running(settings)
    named = settings.mlflow_uri()
    mlflow = _without_password(named) if named.startswith(("http://", "https://")) else None
    return Addresses(settings.warehouse, up.get("pages"), mlflow or up.get("mlflow"))


@contextmanager
def announced(settings: Settings, pages: str, mlflow: str | None) -> Iterator[None]:
    """Let the runs of other processes know the servers of this one, while it lives."""
    file = settings.storage.servers_file
    pid, started = this_process()
    body = {"pid": pid, "started": started, "pages": pages, "mlflow": mlflow}
    write_whole(file, json.dumps(body), durable=False)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _running(settings: Settings) -> dict[str, str]:
    try:
        body = json.loads(settings.storage.servers_file.read_text(encoding="utf-8"))
        alive = is_running(int(body["pid"]), float(body["started"]))
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return body if alive else {}


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
