"""Tables: the k-core and the reading of a dump, against Polars and DuckDB, at two sizes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from mrl4rec.bench import child, probe
from mrl4rec.bench.context import Context
from mrl4rec.bench.row import Row, Target
from mrl4rec.bench.rows.beside import Measured, against

K = 5
GROWTH = Target("ratio", 11.0)


def kcore(context: Context) -> Iterator[Row]:
    """From the Delta table ``reviews`` to users, items and interactions in Delta."""

    def ours(rows: int) -> Measured:
        warehouse = context.reviews(rows)
        for name in ("users", "items", "interactions"):
            shutil.rmtree(warehouse / "planted" / name, ignore_errors=True)
        arguments = ["-m", "jobs.filter_kcore", "--dataset", "planted", "--kcore", str(K)]
        outcome = child.python(*arguments, env={"MRL4REC_WAREHOUSE": str(warehouse)})
        return outcome.answer(), outcome

    def polars(rows: int) -> Measured:
        reviews = context.reviews(rows) / "planted" / "reviews"
        return probe.ask("kcore-polars", reviews=reviews, k=K)

    def work(rows: int) -> str:
        return f"{K}-core of {rows:,} reviews, from Delta to Delta"

    ours(context.sizes[0])  # kernels are compiled
    target = Target("ratio", 4.0)
    what = "Polars, in memory from the same files, not written"
    yield from _two_sizes("kcore", context, work, ours, [(what, polars, target)])


def ingest(context: Context) -> Iterator[Row]:
    """From JSON lines to reviews, quarantine and counts in Delta; processes as a whole."""

    def ours(rows: int) -> Measured:
        dump, warehouse = context.dump(rows), context.scratch / f"ingest-{rows}"
        shutil.rmtree(warehouse, ignore_errors=True)
        outcome = child.python(
            "-m", "jobs.ingest_reviews", "--dataset", "planted", "--source", str(dump),
            "--warehouse", str(warehouse),
        )  # fmt: skip
        shutil.rmtree(warehouse)
        return {"seconds": outcome.seconds, **outcome.answer()}, outcome

    def peer(kind: str, dump: Callable[[int], Path]) -> Callable[[int], Measured]:
        def measured(rows: int) -> Measured:
            out = context.scratch / kind
            out.mkdir(exist_ok=True)
            answer, outcome = probe.ask(kind, dump=dump(rows), out=out)
            if "missing" not in answer:
                answer["seconds"] = outcome.seconds
            return answer, outcome

        return measured

    def work(rows: int) -> str:
        return f"{rows:,} JSON lines → reviews, quarantine, counts in Delta"

    does = "three keys, unique, to Parquet"
    peers = [
        (
            f"Polars, {does}; without the lines that are no JSON, at which it stops",
            peer("ingest-polars", context.valid_dump),
            Target("ratio", 3.0),
        ),
        (f"DuckDB, {does}", peer("ingest-duckdb", context.dump), None),
    ]
    yield from _two_sizes("ingest", context, work, ours, peers)


def _two_sizes(
    name: str,
    context: Context,
    work: Callable[[int], str],
    ours: Callable[[int], Measured],
    peers: list[tuple[str, Callable[[int], Measured], Target | None]],
) -> Iterator[Row]:
    """Rows at both sizes against each peer, and how the cost grows from one to the other.

    Targets are for the larger size.
    """
    found = []
    for rows in context.sizes:
        mine = ours(rows)
        found.append(mine)
        for who, measure, target in peers:
            asked = target if rows == context.sizes[-1] else None
            yield against(name, work(rows), mine, (who, measure(rows)), asked)
    small, large = context.sizes
    peer = (f"the same with {small:,}", found[0])
    yield against(name, f"growth: {work(large)}", found[1], peer, GROWTH)
