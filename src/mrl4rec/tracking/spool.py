"""The local spool: a record is on disk before anything is sent, and leaves when it has arrived."""

from __future__ import annotations

import json
import logging
import os
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import write_whole
from mrl4rec.core.locks import locked
from mrl4rec.tracking.record import RunRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a server has a run."""

    run_id: str
    experiment_id: str


class Spool:
    """Records waiting in ``<folder>``; those that arrived in ``<folder>/done``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.done = folder, folder / "done"

    def put(self, record: RunRecord) -> Path:
        """Write the record, atomically and durably; answer its file.

        Raises Mrl4recError where the disk refuses it.
        """
        path = self.folder / record.file_name
        _write(path, record.to_json())
        return path

    def waiting(self) -> list[Path]:
        """The files that have not arrived yet, oldest first."""
        return sorted(self.folder.glob("*.json"), key=lambda p: (p.stat().st_mtime_ns, p.name))

    def read(self, path: Path) -> RunRecord | None:
        """The record in a file; None where it is damaged: then it is set aside, with a warning."""
        try:
            return RunRecord.from_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:  # another process pushed it meanwhile
            return None
        except (ValueError, TypeError, AttributeError, RecursionError, Mrl4recError) as error:
            bad = path.with_suffix(".damaged")
            os.replace(path, bad)
            log.warning("a record in the spool cannot be read (%s); set aside as %s", error, bad)
            return None

    def arrived(self, path: Path, record: RunRecord, place: Place, uri: str) -> None:
        """Note in ``done`` where the record in ``path`` went, then drop it from those that wait."""
        body: dict[str, Any] = {**asdict(place), "uri": uri, "digest": record.digest}
        for name in ("name", "key", "experiment", "parent_key", "status", "tags"):
            body[name] = getattr(record, name)
        _write(self.done / record.file_name, json.dumps(body, indent=1, ensure_ascii=False))
        current = self.read(path)
        if current is not None and current.digest == record.digest:  # else a newer one came in
            path.unlink(missing_ok=True)

    def arrival(self, file_name: str, uri: str) -> dict[str, Any]:
        """The note of the record in this file that this server took last; empty where none is."""
        try:
            body: dict[str, Any] = json.loads((self.done / file_name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return body if body.get("uri") == uri else {}

    def lock(self) -> AbstractContextManager[None]:
        """Hold the spool: two processes that push at once would make two runs of one record."""
        return locked(self.folder / ".lock")


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text)
    except OSError as error:
        raise Mrl4recError(
            f"the record of a run could not be written: {error.strerror or error}",
            where=str(path),
            todo="free some disk space, or set MRL4REC_WAREHOUSE to a folder that can be written",
        ) from error
