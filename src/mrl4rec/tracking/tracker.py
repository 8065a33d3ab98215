"""The door itself: spool, then push; a server that is away costs a warning, never a training."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mrl4rec.core import lazy, network
from mrl4rec.core.masking import masked, scrub
from mrl4rec.core.settings import Settings
from mrl4rec.tracking.record import RunRecord, file_name
from mrl4rec.tracking.spool import Place, Spool

with lazy.imports():
    from mrl4rec.tracking import push

if TYPE_CHECKING:
    from mrl4rec.tracking.push import Pusher

log = logging.getLogger(__name__)

_T = TypeVar("_T")

SQLITE = "sqlite:///"
PROBE_SECONDS = 2.0
"""How long a server may take to accept a connection."""
AWAY_SECONDS, MOST_AWAY_SECONDS = 30.0, 600.0
"""How long a tracker does not ask a server again that it found away; doubled each time."""


class Tracker:
    """Logs records to the settings' tracking server, or keeps them until it is back."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.uri = settings.mlflow_uri()
        self.place = masked(self.uri)
        """The server as it may be told: in log lines, and in the spool."""
        self.spool = Spool(settings.storage.spool_dir)
        self._asked_again_at, self._pause = 0.0, AWAY_SECONDS
        self._warned = False
        self._pusher: Pusher | None = None
        self._connecting = threading.Lock()

    def log(self, record: RunRecord) -> str | None:
        """Push one record; answer its MLflow run id, or None where it has to wait in the spool.

        Raises Mrl4recError only where the record cannot even be written to disk.
        """
        note = self._arrival(record.file_name)
        known = note["run_id"] if note.get("digest") == record.digest else None
        if known is not None and self._away():
            return known
        return self._push(self.spool.put(record), known)

    def connect(self, experiment: str) -> None:
        """Import MLflow and open its store (SQLite is made where it is missing), ahead of a log.

        Raises what MLflow raises.
        """
        if not self._away():
            self._connected().experiment_id(experiment)

    def known(self, experiment: str, key: str) -> Place | None:
        """Where a record went on this server, as far as the spool remembers."""
        note = self._arrival(file_name(experiment, key))
        return Place(note["run_id"], note["experiment_id"]) if note else None

    def finished(self, experiment: str, key: str) -> Mapping[str, str] | None:
        """The tags of the record of this place that the server took last, if its run is finished.

        MLflow is not asked: importing its client takes seconds.
        """
        note = self._arrival(file_name(experiment, key))
        return note.get("tags") if note.get("status") == "FINISHED" else None

    def replay(self) -> int:
        """Push every record that waits, oldest first; answer how many arrived.

        Runs of this machine whose process died before their record was written are closed.
        """
        pushed = 0
        waiting = self.spool.waiting()
        for path in waiting:
            if self._away():
                return pushed
            pushed += self._push(path) is not None
        if waiting:
            self._ask(lambda pusher: pusher.close_orphans())
        return pushed

    def exists(self) -> bool:
        """Whether there is a store to ask: False where its SQLite file is not made yet.

        Raises OSError where its server cannot be reached.
        """
        if self.uri.startswith(SQLITE):
            return Path(self.uri.removeprefix(SQLITE)).exists()
        if reason := network.refused(self.uri, PROBE_SECONDS):
            raise OSError(reason)
        return True

    def reachable(self) -> bool:
        """Whether the server can be asked now, as far as one bare connection tells."""
        return not self._away()

    def client(self) -> Any:
        """MLflow's client. Raises what MLflow raises."""
        return self._connected().client

    def experiments(self) -> dict[str, str]:
        """The ids of our experiments, by name; none where the server is away."""
        return self._ask(lambda pusher: pusher.experiments()) or {}

    def _arrival(self, name: str) -> dict[str, Any]:
        if self.uri.startswith(SQLITE) and not self.exists():
            return {}  # somebody deleted the local store: what went there is logged again
        return self.spool.arrival(name, self.place)

    def _ask(self, question: Callable[[Pusher], _T]) -> _T | None:
        """What the server answers; None where it is away."""
        if self._away():
            return None
        try:
            return question(self._connected())
        except Exception as error:  # whatever MLflow raises
            self._pusher = None
            self._set_away(_reason(error))
            return None

    def _push(self, path: Path, known: str | None = None) -> str | None:
        if self._away():
            return None
        with self.spool.lock():
            record = self.spool.read(path)
            if record is None:  # pushed by another process meanwhile, or damaged
                return self._arrival(path.name).get("run_id")
            try:
                place = self._connected().push(record, known)
            except Exception as error:  # whatever MLflow raises, the training must not fail by it
                self._note(error, record)
                return None
            self.spool.arrived(path, record, place, self.place)
        self._warned, self._pause = False, AWAY_SECONDS
        return place.run_id

    def _connected(self) -> push.Pusher:
        with self._connecting:
            pusher = self._pusher
            if pusher is None:
                pusher = self._pusher = push.Pusher(self.settings)
            return pusher

    def _note(self, error: Exception, record: RunRecord) -> None:
        self._pusher = None
        if push.is_refusal(error):
            log.warning(
                "MLflow refused the run %s: %s. Its record stays in %s",
                record.name,
                scrub(_reason(error), self.settings),
                self.spool.folder / record.file_name,
            )
        else:
            self._set_away(_reason(error))

    def _away(self) -> bool:
        if time.monotonic() < self._asked_again_at:
            return True
        # MLflow's client retries for minutes; a laptop without its server should not wait for it.
        refused = network.refused(self.uri, PROBE_SECONDS)
        if refused:
            self._set_away(refused)
        return bool(refused)

    def _set_away(self, reason: str) -> None:
        self._asked_again_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, MOST_AWAY_SECONDS)  # a hung server costs a time-out each
        if not self._warned:  # one warning an outage, not one a run
            log.warning(
                "MLflow did not take a run (%s): %s. Runs are kept in %s and pushed by the next "
                "`mrl4rec run`",
                self.place,
                scrub(reason, self.settings),
                self.spool.folder,
            )
            self._warned = True


def _reason(error: Exception) -> str:
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0][:300]}" if first else type(error).__name__
