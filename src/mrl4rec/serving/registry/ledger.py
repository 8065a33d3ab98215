"""The ledger: table ``promotions``, to which rows are added and in which none is ever changed.

A row is added by compare-and-swap: what the newest row says is read from one version of the table,
and the insert must be the very next version. Whoever comes second reads again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError

from mrl4rec.core import commits
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import METADATA, LostRace, canonical, numbered
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.tables import store
from mrl4rec.tables.promotions import DECISIONS, PROMOTIONS, PROMOTIONS_PROPERTIES, Decision

CHANGES = ("promoted", "rolled_back", "by_hand")
"""Decisions that name a champion anew; the others leave it as it was."""
ATTEMPTS = 12
NOTE = "ledger_seq"
"""What a commit of ours says in its userMetadata: the number of the row it added."""
JSON = ("evidence", "versions")

log = logging.getLogger("mrl4rec.serving.registry")


class Conflict(Mrl4recError):
    """The champion is no longer the one that the decision was made against."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the ledger. Raises Mrl4recError where it contradicts itself."""

    decision: Decision
    why: str
    """Reason, for people."""
    champion: str | None = None
    """Stage key of the champion from then on; None: there is none."""
    champion_before: str | None = None
    challenger: str | None = None
    """Stage key of the model that was judged."""
    run: str = ""
    """Key of the retraining that decided; empty: a person, by a command."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What the decision rests on: JSON values only."""
    evidence_file: str | None = None
    """Parquet of per-user values, within the data set's folder."""
    versions: Mapping[str, Any] = field(default_factory=dict)
    """Versions of the tables that the champion was made from, as its card has them."""
    seq: int = -1
    """Number of the row; −1 until it is in the ledger."""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it was decided."""

    def __post_init__(self) -> None:
        problem = None
        if self.decision not in DECISIONS:
            problem = f"unknown decision {self.decision!r}"
        elif not self.why.strip():
            problem = "no reason is given"
        elif self.at.tzinfo is None:
            problem = "its time has no zone"
        elif self.decision in ("promoted", "by_hand") and self.champion is None:
            problem = f"{self.decision!r} needs a champion"
        elif not self.changes and self.champion != self.champion_before:
            problem = f"{self.decision!r} cannot change the champion"
        if problem:
            raise Mrl4recError(f"this cannot stand in the ledger: {problem}")

    @property
    def changes(self) -> bool:
        """Whether the decision names a champion anew."""
        return self.decision in CHANGES


class Reign(NamedTuple):
    """One model's time as champion."""

    champion: str | None
    since: datetime
    until: datetime | None
    """None: still."""
    seq: int
    """The row it began with."""


def entries(settings: Settings, dataset: str) -> list[Entry]:
    """Every row, oldest first; none where there is no ledger yet.

    Raises Mrl4recError where the table cannot be read, or was changed by hand: a number is missing
    or there twice, a row is gone, a row does not go on from the one before.
    """
    uri = _uri(settings, dataset)
    return _read(uri)[1] if open_table(uri) is not None else []


def champion(settings: Settings, dataset: str) -> str | None:
    """The stage key of the model in service, or None."""
    rows = entries(settings, dataset)
    return rows[-1].champion if rows else None


def reigns(rows: Sequence[Entry]) -> list[Reign]:
    """Who was champion from when to when, oldest first; times without one are there too."""
    out: list[Reign] = []
    for row in rows:
        if out and out[-1].champion == row.champion:
            continue
        if out:
            out[-1] = out[-1]._replace(until=row.at)
        if out or row.champion is not None:
            out.append(Reign(row.champion, row.at, None, row.seq))
    return out


def append(settings: Settings, dataset: str, entry: Entry, expected_champion: str | None) -> Entry:
    """Add a row on condition that the champion is still the expected one; the row as it stands.

    ``entry.seq`` and ``entry.champion_before`` are filled in. Where a row of the same non-empty
    ``run`` is there already, that one is given and nothing is added. Raises Conflict where the
    champion changed meanwhile, Mrl4recError where the table cannot be read or written.
    """
    uri = _uri(settings, dataset)
    wanted = replace(
        entry,
        champion_before=expected_champion,
        champion=entry.champion if entry.changes else expected_champion,
        evidence=_plain(entry.evidence),
        versions=_plain(entry.versions),
    )
    for attempt in range(ATTEMPTS):
        delta, rows = _read(uri)
        known = next((row for row in rows if _same(row, wanted)), None)
        if known is not None:
            return known
        _check(rows, wanted, uri)
        try:
            _insert(delta, replace(wanted, seq=len(rows)))
        except LostRace:  # another row came first: read it, then judge again
            time.sleep(0.02 * 2 ** min(attempt, 6))
    raise Mrl4recError(
        f"the ledger took no row in {ATTEMPTS} tries: others write to it all the time",
        where=uri,
        todo="see what else writes there, then run the same command again",
    )


def _same(row: Entry, wanted: Entry) -> bool:
    """Whether the row is the wanted one: of the same run, or our own whose answer was lost."""
    return row.run == wanted.run if wanted.run else row == replace(wanted, seq=row.seq)


def _check(rows: Sequence[Entry], wanted: Entry, uri: str) -> None:
    now = rows[-1].champion if rows else None
    if now == wanted.champion_before:
        return
    newest = f"row {rows[-1].seq} ({rows[-1].decision}, {rows[-1].at:%Y-%m-%d %H:%M:%S} UTC)"
    raise Conflict(
        f"the champion changed meanwhile: it was {short(wanted.champion_before)}, it is "
        f"{short(now)} since {newest if rows else 'the ledger was emptied'}",
        where=uri,
        todo="see `mrl4rec ledger`, then decide anew",
    )


def _insert(delta: DeltaTable, entry: Entry) -> None:
    """Insert as the very next version of the table; LostRace where that is taken."""
    row = {**asdict(entry), **{name: canonical(getattr(entry, name)) for name in JSON}}

    def merge(told: CommitProperties) -> None:
        (
            delta.merge(
                pa.Table.from_pylist([row], schema=PROMOTIONS.schema),
                predicate="old.seq = new.seq",
                source_alias="new",
                target_alias="old",
                commit_properties=told,
            )
            .when_not_matched_insert_all()
            .execute()
        )

    commits.once(delta.table_uri, merge, canonical({NOTE: entry.seq}))


def _read(uri: str) -> tuple[DeltaTable, list[Entry]]:
    """The table at one version, and its rows at that version, checked."""
    try:
        while True:
            delta = store.create(uri, PROMOTIONS, PROMOTIONS_PROPERTIES)
            table = read_table(delta)
            rows = table.sort_by("seq").to_pylist()
            history = numbered(delta)
            if history is not None:  # else another row came meanwhile
                break
        found = [Entry(**{**row, **{name: json.loads(row[name]) for name in JSON}}) for row in rows]
    except (DeltaError, pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise _amiss(f"it cannot be read: {error}", uri) from error
    except Mrl4recError as error:
        raise _amiss(error.what, uri) from error
    written = [seq for entry in history if (seq := _seq(entry)) is not None]
    _check_chain(found, max(written, default=-1) + 1, uri)
    return delta, found


def _check_chain(rows: Sequence[Entry], written: int, uri: str) -> None:
    numbers = [row.seq for row in rows]
    if numbers != list(range(len(rows))):
        first = next(n for n, seq in enumerate([*numbers, -1]) if seq != n)
        twice = first > 0 and numbers[first : first + 1] == [first - 1]
        raise _amiss(f"row {first - twice} is {'there twice' if twice else 'missing'}", uri)
    if len(rows) < written:
        raise _amiss(f"rows {len(rows)} to {written - 1} were written and are gone", uri)
    for before, row in zip([None, *rows], rows, strict=False):
        was = before.champion if before else None
        if row.champion_before != was:
            raise _amiss(
                f"row {row.seq} says the champion before was {short(row.champion_before)}, "
                f"the row before it says {short(was)}",
                uri,
            )


def _amiss(what: str, uri: str) -> Mrl4recError:
    return Mrl4recError(
        f"the ledger is damaged or was changed by hand: {what}",
        where=uri,
        todo="see `mrl4rec tables promotions`; bring back its last good version "
        "(deltalake: DeltaTable(where).restore(version)), or its files from a backup",
    )


def _seq(entry: Mapping[str, Any]) -> int | None:
    try:
        body = json.loads(entry.get(METADATA) or "null")
        return int(body[NOTE])
    except (ValueError, TypeError, KeyError):  # a commit of somebody else
        return None


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back, so that a row read equals the row written."""
    try:
        plain: dict[str, Any] = json.loads(canonical(value))
    except (ValueError, TypeError) as error:
        raise Mrl4recError(f"this cannot stand in the ledger: {error}") from error
    return plain


def short(key: str | None) -> str:
    """A stage key as people read it."""
    return key[:12] if key else "none"


def _uri(settings: Settings, dataset: str) -> str:
    return settings.storage.table_uri(dataset, PROMOTIONS.name)
