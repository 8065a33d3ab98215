"""What a stage is: its key, the versions it read, and the one commit that says it is done.

A stage is a function of (input table versions, parameters, code version); its *stage key* is the
SHA-256 of the three. It commits its marker table last, with the key and the versions of its other
outputs in the commit's ``userMetadata``. To ask whether a stage is done is to look for its key in
the marker's history: nothing else holds state, so a killed run resumes by being run again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import wraps
from typing import Any, ParamSpec

from deltalake import CommitProperties, DeltaTable

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.storage import open_table

log = logging.getLogger("mrl4rec")

METADATA = "userMetadata"
ATTEMPT = "attempt"
"""In a commit's information: which of all attempts made it."""
TRIES = 3
P = ParamSpec("P")


class LostRace(Mrl4recError):
    """Another commit was made to a stage's table while the stage ran."""

    def __init__(self, uri: str) -> None:
        super().__init__(
            "another commit was made while this stage ran; nothing is half-visible",
            where=uri,
            todo="see what else writes there, then run the same command again",
        )


def again_after_lost_race(run: Callable[P, Commit]) -> Callable[P, Commit]:
    """A stage's function that is run again where it lost a race: it looks for its key first, so
    that what the other made of the same inputs is found, and anything else is computed anew.
    """

    @wraps(run)
    def retried(*args: P.args, **kwargs: P.kwargs) -> Commit:
        for _ in range(TRIES - 1):
            try:
                return run(*args, **kwargs)
            except LostRace as error:
                log.warning("%s: %s; run again", error.where, error.what)
        return run(*args, **kwargs)

    return retried


@dataclass(frozen=True)
class Commit:
    """A reference to a finished stage: small, serialisable, and enough to read what it made."""

    stage: str
    """Name of the stage: ingest, kcore, split, train or evaluate."""
    key: str
    """The stage key, 64 hex digits."""
    table: str
    """Name of the marker table."""
    version: int
    """Version of the marker table."""
    outputs: Mapping[str, int] = field(default_factory=dict)
    """Versions of the stage's other tables, by name."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """Small facts to print (counts, rounds): JSON only, never data."""
    found: bool = False
    """True when the stage was found done and nothing ran."""

    def metadata(self) -> str:
        """The JSON that goes into ``userMetadata`` of the marker's commit."""
        body = {k: v for k, v in asdict(self).items() if k not in {"version", "found", "table"}}
        return json.dumps(body, sort_keys=True)

    def table_version(self, table: str) -> int:
        """The version of one of the stage's tables, the marker included."""
        return self.version if table == self.table else self.outputs[table]


def canonical(value: Any) -> str:
    """JSON with one spelling for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=str)


def json_digest(value: Any) -> str:
    """The SHA-256 of a value's canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def stage_key(stage: str, code: int, inputs: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """The SHA-256 of what a stage's output is a function of, as 64 hex digits.

    ``inputs`` are keys of earlier stages or digests of files, never paths; ``code`` is the stage's
    code version, raised whenever its output changes for the same inputs.
    """
    return json_digest({"stage": stage, "code": code, "inputs": inputs, "params": params})


def properties(metadata: str | None, attempt: str | None = None) -> CommitProperties:
    """Commit properties under which delta-rs writes what Spark calls ``userMetadata``, and the
    attempt, which it is then told to make once.
    """
    told = {METADATA: metadata, ATTEMPT: attempt}
    return CommitProperties(
        custom_metadata={name: value for name, value in told.items() if value is not None},
        max_commit_retries=None if attempt is None else 0,
    )


def log_entries(uri: str) -> list[dict[str, Any]]:
    """Every entry of a table's log, newest first, each with its ``version``; none without a table.

    delta-rs (1.6) lists the log as it is now, but numbers it down from the version that was
    opened: where somebody commits between the two, every number is wrong. So it is read again.
    """
    while (delta := open_table(uri)) is not None:
        entries = numbered(delta)
        if entries is not None:
            return entries
    return []


def numbered(delta: DeltaTable) -> list[dict[str, Any]] | None:
    """The log of a table that is opened at its newest version; None where it has moved on.

    Afterwards ``delta`` is at the newest version in any case.
    """
    opened = delta.version()
    entries: list[dict[str, Any]] = delta.history()
    delta.update_incremental()
    return entries if delta.version() == opened else None


def history(uri: str, table: str) -> list[Commit]:
    """The stage commits of a marker table, newest first; other commits (restores) are left out."""
    found = (commit_of(entry, table) for entry in log_entries(uri))
    return [commit for commit in found if commit is not None]


def commit_of(entry: Mapping[str, Any], table: str) -> Commit | None:
    """The stage commit that an entry of a table's log is, or None where no stage made it."""
    body = _body(entry)
    return None if body is None else Commit(table=table, version=int(entry["version"]), **body)


def find(uri: str, table: str, key: str) -> Commit | None:
    """The newest commit with this stage key whose version can still be opened, or None."""
    for commit in history(uri, table):
        if commit.key == key and open_table(uri, commit.version) is not None:
            return Commit(**{**asdict(commit), "found": True})
    return None


def _body(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    raw = entry.get(METADATA)
    if not isinstance(raw, str):
        return None
    try:
        body = json.loads(raw)
    except ValueError:  # somebody else's metadata: not one of our stages
        return None
    names = {"stage", "key", "outputs", "summary"}
    return {k: body[k] for k in names} if isinstance(body, dict) and names <= body.keys() else None
