"""States to plant faults into, and what the facts of them break."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from mrl4rec.tables import TABLES, Suite
from mrl4rec.tables.expectation import fill, sql_ranges, sql_session_place, sql_time
from mrl4rec.transforms import facts
from mrl4rec.transforms.engine import Engine

State = dict[str, pd.DataFrame]
Plant = Callable[[State], None]
NOW = datetime(2014, 7, 23, tzinfo=UTC)
TEXT = {
    "as_of": sql_time(NOW),
    "rating_ranges": sql_ranges({"a": (1.0, 5.0), "b": (0.5, 5.0)}),
    "session_place": sql_session_place([]),
    "strategy": "'random'",
    "split_seed": "0",
    "k": "2",
}


def bind(engine: Engine, state: State) -> Engine:
    """Make the tables of a state relations, with the types they have inside a query."""
    for name, rows in state.items():
        table = arrow(name, rows)
        for n, column in enumerate(table.schema):
            if pa.types.is_timestamp(column.type):
                table = table.set_column(n, column.name, table[n].cast(pa.int64()))
        engine.add(name, table)
    return engine


def arrow(name: str, rows: pd.DataFrame) -> pa.Table:
    """Rows with the declared types, except where a column is not declared."""
    columns = TABLES[name].columns
    arrays = [pa.array(rows[c], columns[c].type if c in columns else None, from_pandas=True)
              for c in rows.columns]  # fmt: skip
    return pa.table(arrays, names=list(rows.columns))


def broken(suite: Suite, found: Mapping[str, Any], values: Mapping[str, float]) -> dict[str, float]:
    """Expectation → what was seen, of those that the facts do not meet."""
    names = {}
    for expectation in suite.expectations:
        low, high = expectation.limits(values)
        seen = found.get(expectation.fact, 0 if expectation.fact == "columns_amiss" else None)
        if not ((low is None or seen >= low) and (high is None or seen <= high)):
            names[expectation.name] = seen
    return names


def planted(state: State, plants: Sequence[Plant]) -> State:
    for plant in plants:
        plant(state)
    return state


def add(table: str, **values: Any) -> Plant:
    """One more row: the first one with some values changed."""

    def plant(state: State) -> None:
        row = state[table].iloc[[0]].assign(**values)
        state[table] = pd.concat([state[table], row], ignore_index=True)

    return plant


def put(table: str, row: int, **values: Any) -> Plant:
    """Other values in a row."""

    def plant(state: State) -> None:
        state[table] = state[table].astype(object)
        for column, value in values.items():
            state[table].at[row, column] = value

    return plant


def drop(table: str, *rows: int) -> Plant:
    """Rows fewer."""

    def plant(state: State) -> None:
        state[table] = state[table].drop(index=list(rows)).reset_index(drop=True)

    return plant


def clear(state: State) -> None:
    """No row in any table."""
    for name in state:
        state[name] = state[name].iloc[:0]


EARLY, LATE = (
    datetime(1989, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2014, 7, 23, 0, 0, 1, tzinfo=UTC),
)


def offenders(
    engine: Engine, suite: Suite, name: str, state: State, text: Mapping[str, str] = TEXT
) -> list[dict[str, Any]]:
    """The rows that the listing of one expectation shows."""
    expectation = next(e for e in suite.expectations if e.name == name)
    query = expectation.offenders()
    assert query is not None
    return facts.sample(bind(engine, state), fill(query, text), rows=10)


def listed(
    engine: Engine,
    suite: Suite,
    state: Callable[[], State],
    cases: Mapping[str, tuple[Sequence[Plant], Mapping[str, float]]],
    text: Mapping[str, str] = TEXT,
) -> set[str]:
    """Expectations whose listing shows rows in the first case that breaks them; it must."""
    found = set()
    for expectation in suite.expectations:
        plants = next((p for p, wanted in cases.values() if expectation.name in wanted), None)
        if plants is not None and expectation.offenders() is not None:
            rows = offenders(engine, suite, expectation.name, planted(state(), plants), text)
            assert rows, expectation.name
            found.add(expectation.name)
    return found


def same(
    engines: Sequence[Engine],
    suite: Suite,
    state: State,
    count: Callable[[Engine], dict[str, Any]],
    text: Mapping[str, str] = TEXT,
) -> dict[str, Any]:
    """The facts of a state, which must be the same on all engines, as must be all listings."""
    found = [count(bind(engine, state)) for engine in engines]
    assert all(each == found[0] for each in found)
    for expectation in suite.expectations:
        for query in (expectation.offenders(), expectation.example):
            if query is not None:
                rows = [facts.sample(engine, fill(query, text), 1000) for engine in engines]
                sides = [sorted(map(repr, side)) for side in rows]
                assert all(side == sides[0] for side in sides), expectation.name
    return found[0]
