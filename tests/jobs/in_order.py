"""Sequences and their splits in plain Python, from the definitions in ``transforms.sequences``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pyarrow as pa

from mrl4rec.transforms import sequences
from mrl4rec.transforms.engine import Engine

Event = tuple[str, str, float, int | None]
"""user, item, rating, µs; one without a time is of a list, whose order is that of the rows."""
Rows = dict[str, list[tuple[str, int | None]]]
"""User → items with their times, oldest first."""
Order = Callable[[list[str]], list[str]]
"""Puts ids in the order of their numbers."""
SOURCE = "a" * 64


@dataclass(frozen=True)
class Options:
    """What the stage is asked for."""

    min_rating: float | None = None
    repeats: bool = True
    max_length: int | None = None
    ties: str = "hash"


def ordered(events: Sequence[Event], options: Options) -> Rows:
    """The sequences of these events."""
    found: Rows = {}
    low = options.min_rating
    for user in {event[0] for event in events}:
        mine = [(item, at) for name, item, rating, at in events
                if name == user and (low is None or rating >= low)]  # fmt: skip
        ties = {item: digest(f"0|tie|{len(user)}|{user}|{item}") for item, _ in mine}
        if options.ties == "file":
            mine.sort(key=lambda e: e[1] or 0)
        else:
            mine.sort(key=lambda e: e[1] is not None and (e[1], ties[e[0]], e[0]))
        if not options.repeats:
            items = [item for item, _ in mine]
            mine = [event for n, event in enumerate(mine) if event[0] not in items[:n]]
        if mine:
            found[user] = mine[-(options.max_length or len(mine)) :]
    return found


def digest(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def bind(engine: Engine, events: Sequence[Event], number: Order) -> None:
    """Events as ``reviews``, all of their pairs as the core."""
    users, items, ratings, times = zip(*events, strict=True) if events else ((),) * 4
    engine.add("reviews", pa.table({
        "user_id": pa.array(users, pa.string()), "item_id": pa.array(items, pa.string()),
        "rating": pa.array(ratings, pa.float64()), "reviewed_at": pa.array(times, pa.int64()),
        "source_sha256": pa.array([SOURCE] * len(events), pa.string()),
        "record_no": pa.array(range(len(events)), pa.int64()),
    }))  # fmt: skip
    pairs = sorted({event[:2] for event in events})
    numbers = []
    for side, name in enumerate(("user", "item")):
        ids = number(sorted({pair[side] for pair in pairs}))
        idx = pa.array(range(len(ids)), pa.int32())
        engine.add(
            f"{name}s", pa.table({f"{name}_idx": idx, f"{name}_id": pa.array(ids, pa.string())})
        )
        places = {id_: n for n, id_ in enumerate(ids)}
        numbers.append(pa.array([places[pair[side]] for pair in pairs], pa.int32()))
    times_of = {event[:2]: event[3] for event in sorted(events, key=lambda e: -(e[3] or 0))}
    first = [times_of[pair] for pair in pairs]
    names = ["user_idx", "item_idx", "reviewed_at"]
    engine.add("interactions", pa.table([*numbers, pa.array(first, pa.int64())], names))


def built(engine: Engine, events: Sequence[Event], options: Options, number: Order = list) -> Rows:
    """What the engine makes of the events, by external ids."""
    bind(engine, events, number)
    counts = sequences.build(
        engine, min_rating=options.min_rating, repeats=options.repeats,
        max_length=options.max_length, ties=options.ties,
    )  # fmt: skip
    rows = by_name(engine, "ordered", "item_id, reviewed_at")
    found: Rows = {user: list(zip(*columns, strict=True)) for user, columns in rows.items()}
    assert counts["events"] == sum(map(len, found.values()))
    assert counts["sequences"] == len(found)
    assert counts["repeated"] == sum(len(r) - len({i for i, _ in r}) for r in found.values())
    assert (counts["longest"] or 0) == max(map(len, found.values()), default=0)
    return found


def by_name(engine: Engine, table: str, columns: str) -> dict[str, list[list[object]]]:
    """User → columns of the events in the order of their positions, which are 0, 1, 2 …"""
    rows = engine.query(f"""
        SELECT user_id, position, {columns} FROM (
          SELECT t.*, u.user_id, i.item_id FROM
            (SELECT sequence_id, position, item_idx AS n, reviewed_at,
              {"fold" if "fold" in columns else "1 AS one"} FROM {table}) AS t
            JOIN users AS u ON t.sequence_id = u.user_idx JOIN items AS i ON t.n = i.item_idx) AS e
        """).to_pylist()  # fmt: skip
    found: dict[str, list[list[object]]] = {}
    for row in sorted(rows, key=lambda row: (row["user_id"], row["position"])):
        user, position, *values = row.values()
        columns_ = found.setdefault(user, [[] for _ in values])
        assert position == len(columns_[0])
        for column, value in zip(columns_, values, strict=True):
            column.append(value)
    return found


# ---------------------------------------------------------------------- folds


@dataclass(frozen=True)
class Split:
    """What the split is asked for."""

    strategy: str
    seed: int = 0
    share: float = 0.2
    since: int | None = None
    """µs."""

    @property
    def moment(self) -> datetime | None:
        """``since`` as a time."""
        if self.since is None:
            return None
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.since)


def folds(rows: Rows, split: Split) -> dict[str, list[str]]:
    """User → the folds of the events."""
    times = [at for events in rows.values() for _, at in events]
    if split.strategy == "last_out":
        return {user: _last_out(len(events)) for user, events in rows.items()}
    if split.strategy == "by_user":
        return {user: _by_user(user, len(events), split.seed) for user, events in rows.items()}
    test_from = newest(times, split.share) if split.since is None else split.since
    assert test_from is not None
    before = newest([at for at in times if at < test_from], 0.1)
    valid_from = test_from if before is None else before
    return {user: _in_time([at for _, at in events], valid_from, test_from)
            for user, events in rows.items()}  # fmt: skip


def newest(times: list[int | None], share: float) -> int | None:
    """Where the newest share begins: the first time up to which there are more than the others."""
    for time in sorted(set(times)):  # type: ignore[type-var]
        if sum(at <= time for at in times) > len(times) * (1 - share):  # type: ignore[operator]
            return time
    return None


def _last_out(n: int) -> list[str]:
    return ["train"] * n if n < 3 else ["train"] * (n - 2) + ["valid", "test"]


def _by_user(user: str, n: int, seed: int) -> list[str]:
    place = int(digest(f"{seed}|users|{len(user)}|{user}")[:16], 16)
    if place < int(Fraction(0.8) * 2**64) or n < 2:
        return ["train"] * n
    role = "valid" if place < int(Fraction(0.9) * 2**64) else "test"
    history = min(n - 1, max(1, 8 * n // 10))
    return [f"{role}_history"] * history + [role] * (n - history)


def _in_time(times: list[int], valid_from: int, test_from: int) -> list[str]:
    found = []
    for at in times:
        if at < valid_from:
            found.append("train")
        elif at < test_from:
            found.append("valid" if times[0] < valid_from else "valid_history")
        else:
            found.append("test" if times[0] < test_from else "test_history")
    return found


def pair_folds(
    rows: Rows, of_events: dict[str, list[str]], events: Sequence[Event]
) -> dict[tuple[str, str], str]:
    """(user, item) → fold of the first event; of pairs that have none, test_history."""
    found = {event[:2]: "test_history" for event in events}
    for user, sequence in rows.items():
        for (item, _), fold in reversed(list(zip(sequence, of_events[user], strict=True))):
            found[user, item] = fold
    return found


Divided = tuple[dict[str, list[str]], dict[tuple[str, str], str], dict[str, int]]
"""The folds of events by user, those of pairs, and the counts."""


def divided(
    engine: Engine, events: Sequence[Event], split: Split, options: Options, number: Order = list
) -> Divided:
    """What the engine makes of the events."""
    built(engine, events, options, number)
    engine.materialise("sequences", sequences.TABLE)
    return divided_again(engine, split)


def divided_again(engine: Engine, split: Split) -> Divided:
    """The same of events that are there from before."""
    counts = sequences.split(engine, split.strategy, split.seed, split.share, split.moment)
    of_events = {user: [str(fold) for fold in columns[0]]
                 for user, columns in by_name(engine, "event_folds", "fold").items()}  # fmt: skip
    rows = engine.query("""
        SELECT user_id, item_id, fold FROM folded JOIN users USING (user_idx)
          JOIN items USING (item_idx)""").to_pylist()  # fmt: skip
    of_pairs = {(row["user_id"], row["item_id"]): row["fold"] for row in rows}
    assert len(of_pairs) == len(rows)
    return of_events, of_pairs, counts
