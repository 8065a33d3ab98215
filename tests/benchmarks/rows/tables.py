"""Tables: k-core, sequences and the reading of a dump, against Polars and DuckDB, and on Spark."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks import child, probe
from tests.benchmarks.context import Context
from tests.benchmarks.row import Row, Target
from tests.benchmarks.rows.beside import Measured, against, row

K = 5
GROWTH = Target("ratio", 11.0)


def kcore(context: Context) -> Iterator[Row]:
    """From the Delta table ``reviews`` to users, items and interactions in Delta."""

    def ours(rows: int) -> Measured:
        warehouse = context.reviews(rows)
        for name in ("users", "items", "interactions"):
            shutil.rmtree(warehouse / "planted" / name, ignore_errors=True)
        arguments = ["-m", "jobs.kcore", "--dataset", "planted", "--kcore", str(K)]
        outcome = child.python(*arguments, env={"MRL4REC_WAREHOUSE": str(warehouse)})
        return outcome.answer(), outcome

    def polars(rows: int) -> Measured:
        reviews = context.reviews(rows) / "planted" / "reviews"
        return probe.ask("kcore-polars", reviews=reviews, k=K)

    def work(rows: int) -> str:
        return f"{K}-core of {rows:,} reviews, from Delta to Delta"

    what = "Polars, in memory from the same files, not written"
    yield from _two_sizes("kcore", context, work, ours, [(what, polars, (4.0, 3.0))])


def sequences(context: Context) -> Iterator[Row]:
    """From the reviews of all users and items to sequences in Delta, the process as a whole."""
    rows = context.sizes[-1]
    warehouse = context.reviews(rows)
    for name in ("users", "items", "interactions", "sequences"):
        shutil.rmtree(warehouse / "planted" / name, ignore_errors=True)
    env = {"MRL4REC_WAREHOUSE": str(warehouse)}
    child.python("-m", "jobs.kcore", "--dataset", "planted", "--kcore", "0", env=env)
    outcome = child.python("-m", "jobs.sequences", "--dataset", "planted", env=env)
    events = outcome.answer()["events"]
    work = f"sequences of {events:,} reviews, from Delta to Delta"
    yield row("sequences", work, ({"seconds": outcome.seconds}, outcome), Target("seconds", 60))


def ingest(context: Context) -> Iterator[Row]:
    """From JSON lines to reviews, quarantine and counts in Delta; processes as a whole."""
    yield from _two_sizes(
        "ingest", context, _work("JSON lines"), lambda rows: _ingested(context, context.dump(rows)),
        [(POLARS, lambda rows: _peer(context, "ingest-polars", context.valid_dump(rows)),
          (2.5, 2.5)),
         (DUCKDB, lambda rows: _peer(context, "ingest-duckdb", context.dump(rows)), (None, 4.0))],
    )  # fmt: skip


def ingest_other(context: Context) -> Iterator[Row]:
    """The same reviews as ratings CSV and as Python literals, beside Polars on JSON lines."""
    rows = context.sizes[-1]
    peer = f"{POLARS} (JSON lines)", _peer(context, "ingest-polars", context.valid_dump(rows))
    for kind, words, limit in (("csv", "rows of ratings CSV", 2.5), ("loose", "literals", 8.0)):
        dump = context.respelled(rows, kind)
        ours = _ingested(context, dump)
        yield against("ingest-other", _work(words)(rows), ours, peer, Target("ratio", limit))
        dump.unlink()  # as large as the others together


def on_spark(context: Context) -> Iterator[Row]:
    """The smaller planted dump to splits on Spark local[2], gates included."""
    rows = context.sizes[0]
    outcome = context.mrl4rec(
        "split", "--dataset", "planted", "--source", str(context.dump(rows)), "--kcore", "5",
        "--json", "--warehouse", str(context.scratch / "spark"), "--data-engine", "spark",
        env={"MRL4REC_SPARK_MASTER": "local[2]"},
    )  # fmt: skip
    work = f"{rows:,} JSON lines → splits on Spark local[2], with gates"
    measured = {"seconds": outcome.seconds}, outcome
    yield row("spark", work, measured, Target("seconds", 120))


DOES = "three keys, unique, to Parquet"
POLARS = f"Polars, {DOES}; without the lines that are no JSON, at which it stops"
DUCKDB = f"DuckDB, {DOES}"


def _work(words: str) -> Callable[[int], str]:
    return lambda rows: f"{rows:,} {words} → reviews, quarantine, counts in Delta"


def _ingested(context: Context, dump: Path) -> Measured:
    warehouse = context.scratch / "ingest"
    shutil.rmtree(warehouse, ignore_errors=True)
    outcome = child.python(
        "-m", "jobs.ingest", "--dataset", "planted", "--source", str(dump),
        "--warehouse", str(warehouse),
    )  # fmt: skip
    shutil.rmtree(warehouse)
    return {"seconds": outcome.seconds, **outcome.answer()}, outcome


def _peer(context: Context, kind: str, dump: Path) -> Measured:
    out = context.scratch / kind
    out.mkdir(exist_ok=True)
    answer, outcome = probe.ask(kind, dump=dump, out=out)
    if "missing" not in answer:
        answer["seconds"] = outcome.seconds
    return answer, outcome


Limits = tuple[float | None, float | None]
"""The most times a peer's seconds that the smaller and the larger size may take."""


def _two_sizes(
    name: str,
    context: Context,
    work: Callable[[int], str],
    ours: Callable[[int], Measured],
    peers: list[tuple[str, Callable[[int], Measured], Limits]],
) -> Iterator[Row]:
    """Rows at both sizes against each peer, and how the cost grows from one to the other."""
    found = []
    for place, rows in enumerate(context.sizes):
        mine = ours(rows)
        found.append(mine)
        for who, measure, limits in peers:
            limit = limits[place]
            target = None if limit is None else Target("ratio", limit)
            yield against(name, work(rows), mine, (who, measure(rows)), target)
    small, large = context.sizes
    peer = (f"the same with {small:,}", found[0])
    yield against(name, f"growth: {work(large)}", found[1], peer, GROWTH)
