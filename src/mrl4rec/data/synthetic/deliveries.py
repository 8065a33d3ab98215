"""What lands of a world's weeks: a dump a week, with rows that come late, twice, or poisoned.

A row belongs to the dump that it lands in, whole; a poisoned dump takes the place of the good one,
and what was good in it never lands again. Shapes: N rows of a dump.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.files import write_whole
from mrl4rec.core.hashing import chain, chain_array, permutation
from mrl4rec.data.synthetic.dump import format_rows, opened
from mrl4rec.data.synthetic.weeks import LATE, POISON, ROOM, TWICE, Rows, Week, Weekly, play
from mrl4rec.data.synthetic.world import ITEM_ID, USER_ID, spelled, unit

LATEST = 3
"""Dumps by which a late row is late, at most."""
Told = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Delivery:
    """One dump as it lands, and what is true of it."""

    number: int
    rows: Rows
    """Late ones, then those of its own weeks in the order of time, then the repeated ones."""
    late: int
    """Rows of earlier weeks' dumps."""
    repeated: int
    """Rows that were delivered before, exactly so, in it or in the dump before."""
    users: int
    """That have come so far."""
    items: int
    moved_users: int
    """That changed their leaf in the weeks of the dump."""
    moved_items: int
    away: float
    """Share of the users of the history whose taste is no longer where it was at its end."""
    poison: str | None = None
    spoilt: int = 0
    """Rows that the poison changed."""

    def as_dict(self) -> dict[str, object]:
        """The truth without the rows, as JSON values."""
        values = {name: value for name, value in vars(self).items() if name != "rows"}
        return {**values, "rows": len(self.rows)}


def deliveries(spec: Weekly) -> Iterator[Delivery]:
    """Dump after dump, without end: the history, then a week each."""
    weeks = play(spec)
    waiting: dict[int, list[Rows]] = {}
    home_U: NDArray[np.int32] | None = None
    last: Rows | None = None
    for number in count():
        of_it = [next(weeks) for _ in range(spec.history if number == 0 else 1)]
        home_U = of_it[-1].user_leaf_U if home_U is None else home_U
        for week in of_it:
            _post(spec, week, waiting)
        parts = waiting.pop(number)
        clean = Rows.joined(parts)
        late = sum(map(len, parts[:-1])) if number else 0  # the last part is the week's own
        rows = _poisoned(spec, clean, number) if number == spec.poisoned else clean
        pool = rows if last is None else Rows.joined([last, rows])
        twice = _repeated(spec, pool, number)
        now_U = of_it[-1].user_leaf_U[: len(home_U)]
        yield Delivery(
            number,
            Rows.joined([rows, twice]),
            late,
            len(twice),
            users=len(of_it[-1].user_leaf_U),
            items=len(of_it[-1].item_leaf_I),
            moved_users=sum(week.moved_users for week in of_it),
            moved_items=sum(week.moved_items for week in of_it),
            away=float((now_U != home_U).mean()),
            poison=spec.poison if number == spec.poisoned else None,
            spoilt=int((rows.item_N != clean.item_N).sum()),
        )
        last = None if number == spec.poisoned else rows


def _post(spec: Weekly, week: Week, waiting: dict[int, list[Rows]]) -> None:
    """Put a week's rows where they are due, the dump's own after what is late in it."""
    n = np.arange(len(week.rows))
    late = unit(chain(ROOM, spec.seed, LATE, week.number), n) < spec.late
    words = chain_array(chain(ROOM, spec.seed, LATE, week.number, 1), n)
    due = np.where(late, week.number + 1 + (words % np.uint64(LATEST)).astype(np.int64),
                   week.number)  # fmt: skip
    for later in range(LATEST, -1, -1):
        dump = spec.dump_of(week.number + later)
        waiting.setdefault(dump, []).append(week.rows.at(due == week.number + later))


def _poisoned(spec: Weekly, rows: Rows, number: int) -> Rows:
    """The same rows, with wrong items."""
    place = (ROOM, spec.seed, POISON, number)
    if spec.poison == "shuffled":
        return replace(rows, item_N=rows.item_N[permutation(len(rows), *place)])
    flooded = unit(chain(*place), np.arange(len(rows))) < spec.flood
    target = rows.item_N[chain(*place) % len(rows)]
    return replace(rows, item_N=np.where(flooded, target, rows.item_N))


def _repeated(spec: Weekly, pool: Rows, number: int) -> Rows:
    """Rows of the pool once more, none twice."""
    n = min(round(spec.repeated * spec.reviews), len(pool))
    return pool.at(permutation(len(pool), ROOM, spec.seed, TWICE, number)[:n])


# ---------------------------------------------------------------------------------------- files


@dataclass(frozen=True)
class Landed:
    """The dumps in a folder, and the truth about them."""

    spec: Weekly
    folder: Path
    dumps: tuple[Mapping[str, object], ...] = field(default_factory=tuple)
    """What ``Delivery.as_dict`` says of each."""

    def file(self, number: int) -> Path:
        """Where a dump lies."""
        return self.folder / f"week-{number:02}.json.gz"

    @property
    def truth(self) -> Path:
        """Where the truth lies: beside the folder, in which there are dumps alone."""
        return self.folder.with_name(f"{self.folder.name}.truth.json")


def land(spec: Weekly, folder: Path, weeks: int, told: Told | None = None) -> Landed:
    """Write dumps 0 … ``weeks`` into a folder, each by rename; one that is there stays.

    The bytes are a function of ``spec`` alone (and of zlib). ``told`` hears how many of them there
    are. Raises UsageError where the folder holds dumps of another spec.
    """
    found = Landed(spec, folder)
    weeks = max(weeks, len(_known(found)) - 1)
    folder.mkdir(parents=True, exist_ok=True)
    if not found.truth.exists():
        _write_truth(found)  # before any dump: of what spec they are must be known first
    known: list[Mapping[str, object]] = []
    for delivery in deliveries(spec):
        path = found.file(delivery.number)
        if not path.exists():
            _write(spec, delivery, path)
        known.append(delivery.as_dict())
        if told is not None:
            told(delivery.number, weeks)
        if delivery.number >= weeks:
            break
    found = replace(found, dumps=tuple(known))
    _write_truth(found)
    return found


def _write(spec: Weekly, delivery: Delivery, path: Path) -> None:
    ids = {"user": spelled(spec.seed, USER_ID, delivery.users),
           "item": spelled(spec.seed, ITEM_ID, delivery.items)}  # fmt: skip
    part = path.with_name(f".{path.name}.part")
    with opened(part, zipped=True) as out:
        out.write("\n".join([*format_rows(ids, *delivery.rows.columns), ""]).encode())
    part.replace(path)


def _write_truth(found: Landed) -> None:
    body = {"spec": found.spec.as_dict(), "dumps": list(found.dumps)}
    write_whole(found.truth, json.dumps(body, indent=1), durable=False)


def _known(wanted: Landed) -> list[Mapping[str, object]]:
    """What is told of the dumps that lie there, once their spec is found to be the same."""
    if not wanted.truth.exists():
        return []
    try:
        body = json.loads(wanted.truth.read_text())
        there, dumps = dict(body["spec"]), list(body["dumps"])
    except (ValueError, KeyError, TypeError) as error:
        raise Mrl4recError(
            "the truth of these dumps cannot be read",
            where=str(wanted.truth),
            todo="take another --dataset or --warehouse",
        ) from error
    here = json.loads(json.dumps(wanted.spec.as_dict()))
    other = sorted(name for name in here if there.get(name) != here[name])
    if other:
        told = ", ".join(f"{name} {there.get(name)!r}, not {here[name]!r}" for name in other)
        raise UsageError(
            f"other weekly dumps have landed here: {told}",
            where=str(wanted.folder),
            todo="ask for the same again, or take another --dataset or --warehouse",
        )
    return dumps
